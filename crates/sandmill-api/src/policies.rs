//! What functions are permitted beside computing.

use axum::Json;
use axum::extract::State as Shared;
use sandmill_api_types::{HttpGrant, HttpPolicy, Problem};
use sandmill_model::HttpRule;

use crate::extract::{Body, Caller};
use crate::problem::ApiError;
use crate::state::State;

fn policy(rules: Vec<HttpRule>) -> HttpPolicy {
    let grant = |rule: HttpRule| HttpGrant {
        host: rule.host,
        port: rule.port,
        methods: rule.methods,
    };
    HttpPolicy {
        allow: rules.into_iter().map(grant).collect(),
    }
}

/// Shows the places that functions may call over HTTP, if their manifest names them, too.
#[utoipa::path(get, path = "/policies/http", operation_id = "http_policy_view", tag = "functions",
    responses((status = 200, body = HttpPolicy), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn http_view(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<HttpPolicy>, ApiError> {
    Ok(Json(policy(state.jobs.http_policy(&caller.tenant).await?)))
}

/// Says which places functions may call over HTTP, instead of those before. Jobs that run keep what
/// they started with.
#[utoipa::path(put, path = "/policies/http", operation_id = "http_policy_set", tag = "functions", request_body = HttpPolicy,
    responses((status = 200, body = HttpPolicy), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn http_set(
    Shared(state): Shared<State>,
    caller: Caller,
    Body(wanted): Body<HttpPolicy>,
) -> Result<Json<HttpPolicy>, ApiError> {
    let rule = |grant: HttpGrant| HttpRule {
        host: grant.host,
        port: grant.port,
        methods: grant.methods,
    };
    let rules: Vec<_> = wanted.allow.into_iter().map(rule).collect();
    let tenant = caller.engineer()?;
    state
        .jobs
        .set_http_policy(tenant, &rules, Some(&caller.token))
        .await?;
    Ok(Json(policy(rules)))
}
