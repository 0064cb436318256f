//! Versions of functions: show, download, name, try, delete.

use std::fmt::Display;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sandmill_api_types::{
    Alias, AliasList, Function, FunctionUsage, NewAlias, NewTrial, Problem, Trial, UsingJob,
    VersionList, VersionUsage,
};
use sandmill_model::{ErrorCode, JobId, VersionRef};
use sandmill_store::AliasRecord;
use serde::Deserialize;

use crate::catalog::function;
use crate::encode::{decode, json_rows};
use crate::extract::{Body, Caller, Params, Path};
use crate::problem::ApiError;
use crate::state::State;

/// The header that a signature travels in.
pub(crate) const SIGNATURE: &str = "sandmill-signature";

pub(crate) fn invalid(error: impl Display) -> ApiError {
    ApiError::new(ErrorCode::RequestInvalid, format!("{error}."))
}

/// A version in a path.
fn version(text: &str) -> Result<VersionRef, ApiError> {
    text.parse().map_err(invalid)
}

fn alias(record: AliasRecord) -> Alias {
    Alias::new(
        record.alias,
        record.version,
        record.changed_at,
        record.changed_by,
    )
}

/// Lists all versions of a function, newest first.
#[utoipa::path(get, path = "/functions/{name}/versions", operation_id = "function_versions", tag = "functions", params(("name" = String, Path)),
    responses((status = 200, body = VersionList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_versions(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<VersionList>, ApiError> {
    let items = state.jobs.versions(&caller.tenant, &name).await?;
    Ok(Json(VersionList {
        items: items.into_iter().map(function).collect(),
    }))
}

/// Shows one version of a function, by number or alias.
#[utoipa::path(get, path = "/functions/{name}/versions/{version}", operation_id = "version_view", tag = "functions",
    params(("name" = String, Path), ("version" = String, Path, description = "A number or an alias.")),
    responses((status = 200, body = Function), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn version_view(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((name, asked)): Path<(String, String)>,
) -> Result<Json<Function>, ApiError> {
    let asked = version(&asked)?;
    let record = state.jobs.version(&caller.tenant, &name, &asked).await?;
    Ok(Json(function(record)))
}

/// Deletes one version of a function, unless an alias names it or a job that has not ended uses it.
/// Its number is never given again.
#[utoipa::path(delete, path = "/functions/{name}/versions/{version}", operation_id = "version_delete", tag = "functions",
    params(("name" = String, Path), ("version" = String, Path, description = "A number.")),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn version_delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((name, asked)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let tenant = caller.engineer()?;
    let VersionRef::Number(number) = version(&asked)? else {
        // What an alias names may change between look and request.
        return Err(invalid("A version is deleted by its number"));
    };
    state
        .jobs
        .function_delete(tenant, &name, Some(number))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Downloads the module of a version. `ETag` is its SHA-256, `Sandmill-Signature` its signature.
#[utoipa::path(get, path = "/functions/{name}/versions/{version}/module", operation_id = "version_module", tag = "functions",
    params(("name" = String, Path), ("version" = String, Path, description = "A number or an alias.")),
    responses((status = 200, content((Vec<u8> = "application/wasm"))), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn version_module(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((name, asked)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let asked = version(&asked)?;
    let record = state.jobs.version(&caller.tenant, &name, &asked).await?;
    let wasm = state.jobs.module(&caller.tenant, &record).await?;
    let mut response = wasm.into_response();
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE.as_str(), "application/wasm");
    set(header::ETAG.as_str(), &format!("\"{}\"", record.digest));
    let file = format!("attachment; filename=\"{name}-{}.wasm\"", record.version);
    set(header::CONTENT_DISPOSITION.as_str(), &file);
    if let Some(signature) = &record.provenance.signature {
        set(SIGNATURE, &signature.signature);
    }
    Ok(response)
}

/// Lists the aliases of a function: `default`, `latest` and those that were set.
#[utoipa::path(get, path = "/functions/{name}/aliases", operation_id = "alias_list", tag = "functions", params(("name" = String, Path)),
    responses((status = 200, body = AliasList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn alias_list(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<AliasList>, ApiError> {
    let items = state.jobs.aliases(&caller.tenant, &name).await?;
    Ok(Json(AliasList {
        items: items.into_iter().map(alias).collect(),
    }))
}

/// Lets an alias name a version. `default` is what a call without a version means: setting it to an
/// earlier version rolls back.
#[utoipa::path(put, path = "/functions/{name}/aliases/{alias}", operation_id = "alias_set", tag = "functions",
    params(("name" = String, Path), ("alias" = String, Path)), request_body = NewAlias,
    responses((status = 200, body = Alias), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn alias_set(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((name, set)): Path<(String, String)>,
    Body(new): Body<NewAlias>,
) -> Result<Json<Alias>, ApiError> {
    let tenant = caller.engineer()?;
    let version = new.version.try_into().map_err(invalid)?;
    let by = Some(caller.token.as_str());
    let record = state
        .jobs
        .alias_set(tenant, &name, &set, &version, by)
        .await?;
    Ok(Json(alias(record)))
}

/// Forgets an alias. Without it `default` follows the newest version again.
#[utoipa::path(delete, path = "/functions/{name}/aliases/{alias}", operation_id = "alias_delete", tag = "functions",
    params(("name" = String, Path), ("alias" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn alias_delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((name, old)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let tenant = caller.engineer()?;
    state.jobs.alias_delete(tenant, &name, &old).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageParams {
    /// Jobs of a page, 1 to 500; 50 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Shows which jobs used a function, also a deleted one. A job uses what its statement names.
#[utoipa::path(get, path = "/functions/{name}/usage", operation_id = "function_usage", tag = "functions", params(("name" = String, Path), UsageParams),
    responses((status = 200, body = FunctionUsage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_usage(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
    Params(params): Params<UsageParams>,
) -> Result<Json<FunctionUsage>, ApiError> {
    let limit = params.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(invalid("`limit` must be 1 to 500"));
    }
    let cursor = params.cursor.as_deref().map(str::parse::<JobId>);
    let cursor = cursor
        .transpose()
        .map_err(|_| invalid("`cursor` is not the `next` of a page"))?;
    let (versions, page) = state
        .jobs
        .usage(&caller.tenant, &name, limit, cursor)
        .await?;
    let count = |v: sandmill_store::VersionUsage| {
        VersionUsage::new(v.version, (v.jobs, v.active, v.succeeded), v.last_used_at)
    };
    let job = |j: sandmill_store::UsingJob| UsingJob::new(j.id, j.state, j.version, j.created_at);
    Ok(Json(FunctionUsage {
        versions: versions.into_iter().map(count).collect(),
        jobs: page.items.into_iter().map(job).collect(),
        next: page.next,
    }))
}

/// Tries a function on rows, without a job. An error of the function is the answer.
#[utoipa::path(post, path = "/functions/{name}/test", operation_id = "function_test", tag = "functions", params(("name" = String, Path)), request_body = NewTrial,
    responses((status = 200, body = Trial), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_test(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
    Body(new): Body<NewTrial>,
) -> Result<Json<Trial>, ApiError> {
    let tenant = caller.engineer()?;
    let trial = sandmill_jobs::Trial {
        version: new.version.try_into().map_err(invalid)?,
        rows: new.rows,
    };
    let result = state.jobs.try_function(tenant, &name, trial).await?;
    let mut rows = Vec::new();
    for chunk in &result.chunks {
        rows.extend(json_rows(&decode(chunk)?.1)?);
    }
    Ok(Json(Trial {
        version: result.version,
        columns: result.columns.into_iter().map(Into::into).collect(),
        rows,
        logs: result.logs.into_iter().map(Into::into).collect(),
    }))
}
