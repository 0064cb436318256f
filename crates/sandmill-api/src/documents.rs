//! About the service: health, identity, error pages, the front page.

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{Html, IntoResponse, Response};
use include_dir::{Dir, include_dir};
use sandmill_api_types::{Me, Problem};
use sandmill_model::ErrorCode;

use crate::extract::{Caller, Path};
use crate::problem::ApiError;
use crate::state::State;

static ERRORS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docs/errors");

/// Who the token stands for.
#[utoipa::path(get, path = "/me", operation_id = "me_view", tag = "service",
    responses((status = 200, body = Me), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn me(caller: Caller) -> Json<Me> {
    let Caller {
        tenant,
        role,
        token,
        expires_at,
    } = caller;
    Json(Me::new(
        tenant.to_string(),
        role.as_str().into(),
        token,
        expires_at,
    ))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", operation_id = "health_view", tag = "service", security(()),
    responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the service can take jobs: its database answers and can be written.
#[utoipa::path(get, path = "/readyz", operation_id = "readiness_view", tag = "service", security(()),
    responses((status = 200, body = String), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn readyz(Shared(state): Shared<State>) -> Result<&'static str, ApiError> {
    match state.jobs.store().ready().await {
        Ok(()) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(ApiError::new(
                ErrorCode::Unavailable,
                "The database cannot be written at present.",
            ))
        }
    }
}

/// The page that a problem's `type` leads to.
pub(crate) async fn error_page(Path(code): Path<String>) -> Response {
    let name = format!("{}.md", code.trim_end_matches(".md"));
    match ERRORS.get_file(&name).and_then(|file| file.contents_utf8()) {
        Some(text) => ([("content-type", "text/markdown; charset=utf-8")], text).into_response(),
        None => ApiError::new(ErrorCode::NotFound, "There is no such error code.").into_response(),
    }
}

/// What a browser sees at the root.
pub(crate) async fn front() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Sandmill</title>\
         <style>body{font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>\
         <h1>Sandmill runs</h1>\
         <p>Jobs in SQL with functions in WebAssembly. Talk to it with <code>sandmill job submit</code> \
         or over HTTP below <code>/api/v1</code>.\
         <ul><li><a href=/api/v1/openapi.json>OpenAPI document</a>\
         <li><a href=/docs/errors/README>Error codes</a>\
         <li><a href=/readyz>Readiness</a></ul>",
    )
}
