use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sandmill_model::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{ApiError, REQUEST_ID};
use crate::state::State;
use crate::{catalog, documents, jobs, policies, results, signing, versions};

#[derive(OpenApi)]
#[openapi(
    info(title = "Sandmill", description = "Jobs in SQL with functions in WebAssembly.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "jobs", description = "Run SQL and read results."),
        (name = "functions", description = "Publish functions as WebAssembly modules."),
        (name = "catalog", description = "Tables on files."),
        (name = "service", description = "About the service."),
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token: `sm_…`."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn api() -> OpenApiRouter<State> {
    let api = OpenApiRouter::new()
        .routes(routes!(jobs::job_submit, jobs::job_list))
        .routes(routes!(jobs::job_validate))
        .routes(routes!(jobs::job_view))
        .routes(routes!(jobs::job_cancel))
        .routes(routes!(jobs::job_retry))
        .routes(routes!(jobs::job_plan))
        .routes(routes!(jobs::job_functions))
        .routes(routes!(jobs::job_logs))
        .routes(routes!(results::job_results))
        .routes(routes!(results::job_manifest))
        .routes(routes!(results::job_chunk))
        .routes(routes!(results::job_download))
        .routes(routes!(catalog::function_upload, catalog::function_list))
        .routes(routes!(catalog::function_view, catalog::function_delete))
        .routes(routes!(versions::function_versions))
        .routes(routes!(versions::version_view, versions::version_delete))
        .routes(routes!(versions::version_module))
        .routes(routes!(versions::alias_list))
        .routes(routes!(versions::alias_set, versions::alias_delete))
        .routes(routes!(versions::function_usage))
        .routes(routes!(versions::function_test))
        .routes(routes!(signing::key_list, signing::key_trust))
        .routes(routes!(signing::key_revoke))
        .routes(routes!(signing::policy_view, signing::policy_set))
        .routes(routes!(policies::http_view, policies::http_set))
        .routes(routes!(catalog::table_create, catalog::table_list))
        .routes(routes!(catalog::table_view, catalog::table_delete))
        .routes(routes!(documents::me));
    OpenApiRouter::with_openapi(Document::openapi())
        .nest("/api/v1", api)
        .routes(routes!(documents::healthz))
        .routes(routes!(documents::readyz))
}

/// The OpenAPI 3.1 document of everything that the router serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().into_openapi()
}

/// The whole API.
pub fn router(state: State) -> Router {
    let (router, document) = api().split_for_parts();
    let document = document.to_pretty_json().unwrap_or_default();
    let json = move || {
        let document = document.clone();
        async move { ([("content-type", "application/json")], document) }
    };
    router
        .route("/api/v1/openapi.json", get(json.clone()))
        .route("/openapi.json", get(json))
        .route("/", get(documents::front))
        .route("/docs/errors/{code}", get(documents::error_page))
        .fallback(async || ApiError::new(ErrorCode::NotFound, "There is nothing at this address."))
        .method_not_allowed_fallback(async || {
            ApiError::new(
                ErrorCode::RequestMethod,
                "This address does not answer to this method.",
            )
        })
        // Handlers read bodies themselves, each with its own limit.
        .layer(DefaultBodyLimit::disable())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(observe))
        .with_state(state)
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    ApiError::new(ErrorCode::Internal, "Something went wrong inside Sandmill.").into_response()
}

/// Gives the request an id, logs it, and sets the headers that every response has.
async fn observe(request: Request, next: Next) -> Response {
    static ID: HeaderName = HeaderName::from_static("x-request-id");
    let given = request.headers().get(&ID).and_then(|v| v.to_str().ok());
    let sane = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let id = given
        .filter(sane)
        .map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), Into::into);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = Instant::now();
    let mut response = REQUEST_ID.scope(id.clone(), next.run(request)).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(ID.clone(), value);
    }
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    let status = response.status().as_u16();
    tracing::debug!(request = id, %method, path, status, elapsed = ?started.elapsed(), "request");
    response
}
