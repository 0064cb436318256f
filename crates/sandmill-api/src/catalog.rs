use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use sandmill_api_types::{
    Function, FunctionList, FunctionUpload, NewTable, Problem, Table, TableList,
};
use sandmill_jobs::Upload;
use sandmill_model::{ErrorCode, TableSpec, VersionRef};
use sandmill_store::FunctionRecord;

use crate::extract::{Body, Caller, Path, bytes};
use crate::problem::ApiError;
use crate::state::State;
use crate::versions::{SIGNATURE, invalid};

pub(crate) fn function(record: FunctionRecord) -> Function {
    Function::new(
        record.info,
        record.version,
        record.package,
        record.digest,
        record.created_at,
        record.aliases,
        record.provenance,
    )
}

/// Publishes the functions of a module. The same module again changes nothing. A call without a
/// version means the newest, unless the alias `default` was set.
#[utoipa::path(post, path = "/functions", operation_id = "function_upload", tag = "functions",
    params(("sandmill-signature" = Option<String>, Header, description = "Detached signature of the module: `key_<16 hexadecimal digits>:<base64>`.")),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = FunctionUpload), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_upload(
    Shared(state): Shared<State>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<FunctionUpload>), ApiError> {
    let tenant = caller.engineer()?;
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    if !matches!(kind, Some("application/wasm" | "application/octet-stream")) {
        return Err(ApiError::new(
            ErrorCode::RequestMediaType,
            "The body must be a WebAssembly module.",
        )
        .hint("Send `Content-Type: application/wasm`."));
    }
    let signature = request.headers().get(SIGNATURE);
    let signature = signature.map(|value| value.to_str().map(str::to_owned));
    let signature = signature
        .transpose()
        .map_err(|_| invalid("The signature is no text"))?;
    let wasm = bytes(request, &state, state.settings.module_bytes).await?;
    let upload = Upload {
        wasm: wasm.into(),
        signature,
        by: Some(caller.token.clone()),
    };
    let (module, functions) = state.jobs.publish(tenant, upload).await?;
    let upload = FunctionUpload {
        digest: module.digest.to_string(),
        package: module.package,
        package_version: module.package_version,
        size: module.size,
        functions: functions.into_iter().map(function).collect(),
    };
    Ok((StatusCode::CREATED, Json(upload)))
}

/// Lists all functions, each in the version that a call without a version means.
#[utoipa::path(get, path = "/functions", operation_id = "function_list", tag = "functions",
    responses((status = 200, body = FunctionList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_list(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<FunctionList>, ApiError> {
    let items = state.jobs.functions(&caller.tenant).await?;
    Ok(Json(FunctionList {
        items: items.into_iter().map(function).collect(),
    }))
}

/// Shows the version of a function that a call without a version means.
#[utoipa::path(get, path = "/functions/{name}", operation_id = "function_view", tag = "functions", params(("name" = String, Path)),
    responses((status = 200, body = Function), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_view(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Function>, ApiError> {
    let default = VersionRef::default();
    let record = state.jobs.version(&caller.tenant, &name, &default).await?;
    Ok(Json(function(record)))
}

/// Deletes a function with all versions, unless a job that has not ended uses it.
#[utoipa::path(delete, path = "/functions/{name}", operation_id = "function_delete", tag = "functions", params(("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn function_delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state
        .jobs
        .function_delete(caller.engineer()?, &name, None)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Registers a table on files of the server.
#[utoipa::path(post, path = "/catalog/tables", operation_id = "table_create", tag = "catalog", request_body = NewTable,
    responses((status = 201, body = Table), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn table_create(
    Shared(state): Shared<State>,
    caller: Caller,
    Body(new): Body<NewTable>,
) -> Result<(StatusCode, Json<Table>), ApiError> {
    let tenant = caller.engineer()?;
    let named = new.format.map(Into::into);
    let format = named
        .or_else(|| sandmill_model::TableFormat::of_path(&new.path))
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::RequestInvalid,
                "The path's ending names no format.",
            )
            .hint("Give `format`: parquet, csv or json.")
        })?;
    let spec = TableSpec {
        name: new.name,
        path: new.path,
        format,
    };
    let record = state.jobs.table_register(tenant, spec, new.replace).await?;
    Ok((
        StatusCode::CREATED,
        Json(Table::new(record.description, record.created_at)),
    ))
}

/// Lists all tables.
#[utoipa::path(get, path = "/catalog/tables", operation_id = "table_list", tag = "catalog",
    responses((status = 200, body = TableList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn table_list(
    Shared(state): Shared<State>,
    caller: Caller,
) -> Result<Json<TableList>, ApiError> {
    let tables = state.jobs.tables(&caller.tenant).await?;
    let items = tables
        .into_iter()
        .map(|t| Table::new(t.description, t.created_at))
        .collect();
    Ok(Json(TableList { items }))
}

/// Shows a table.
#[utoipa::path(get, path = "/catalog/tables/{name}", operation_id = "table_view", tag = "catalog", params(("name" = String, Path)),
    responses((status = 200, body = Table), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn table_view(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Table>, ApiError> {
    let table = state.jobs.table(&caller.tenant, &name).await?;
    Ok(Json(Table::new(table.description, table.created_at)))
}

/// Forgets a table; its files stay.
#[utoipa::path(delete, path = "/catalog/tables/{name}", operation_id = "table_delete", tag = "catalog", params(("name" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn table_delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.jobs.table_delete(caller.engineer()?, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
