//! Keys that modules are signed with, and whether they must be.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use sandmill_api_types::{NewSigningKey, Problem, SigningKey, SigningKeyList, SigningPolicy};
use sandmill_store::KeyRecord;

use crate::extract::{Body, Caller, Path};
use crate::problem::ApiError;
use crate::state::State;

fn key(state: &State, key: KeyRecord) -> SigningKey {
    let pem = state.jobs.key_pem(&key);
    SigningKey::new(
        key.id,
        key.name,
        pem,
        (key.created_at, key.created_by),
        key.revoked_at,
    )
}

/// Lists the keys, also those that are trusted no longer.
#[utoipa::path(get, path = "/signing/keys", operation_id = "signing_key_list", tag = "functions",
    responses((status = 200, body = SigningKeyList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn key_list(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<SigningKeyList>, ApiError> {
    let keys = state.jobs.keys(&caller.tenant).await?;
    Ok(Json(SigningKeyList {
        items: keys.into_iter().map(|k| key(&state, k)).collect(),
    }))
}

/// Trusts a public key: modules that it signed may be uploaded.
#[utoipa::path(post, path = "/signing/keys", operation_id = "signing_key_trust", tag = "functions", request_body = NewSigningKey,
    responses((status = 201, body = SigningKey), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn key_trust(
    Shared(state): Shared<State>,
    caller: Caller,
    Body(new): Body<NewSigningKey>,
) -> Result<(StatusCode, Json<SigningKey>), ApiError> {
    let tenant = caller.engineer()?;
    let by = Some(caller.token.clone());
    let record = state
        .jobs
        .key_trust(tenant, &new.name, &new.public_key, by)
        .await?;
    Ok((StatusCode::CREATED, Json(key(&state, record))))
}

/// Ends the trust in a key. Versions that it signed stay, and show that it is trusted no longer.
#[utoipa::path(delete, path = "/signing/keys/{id}", operation_id = "signing_key_revoke", tag = "functions", params(("id" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn key_revoke(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.jobs.key_revoke(caller.engineer()?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows whether modules must be signed.
#[utoipa::path(get, path = "/signing/policy", operation_id = "signing_policy_view", tag = "functions",
    responses((status = 200, body = SigningPolicy), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn policy_view(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<SigningPolicy>, ApiError> {
    Ok(Json(SigningPolicy {
        require_signed_functions: state.jobs.require_signed(&caller.tenant).await?,
    }))
}

/// Says whether modules must be signed. Versions that are there stay.
#[utoipa::path(put, path = "/signing/policy", operation_id = "signing_policy_set", tag = "functions", request_body = SigningPolicy,
    responses((status = 200, body = SigningPolicy), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn policy_set(
    Shared(state): Shared<State>,
    caller: Caller,
    Body(policy): Body<SigningPolicy>,
) -> Result<Json<SigningPolicy>, ApiError> {
    let require = policy.require_signed_functions;
    state
        .jobs
        .set_require_signed(caller.engineer()?, require)
        .await?;
    Ok(Json(policy))
}
