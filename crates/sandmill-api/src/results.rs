use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use sandmill_api_types::{Problem, ResultManifest, Rows};
use sandmill_model::{ErrorCode, Failure, JobId, TenantId};
use serde::Deserialize;

use crate::encode::{Encoder, Format, decode, json_rows};
use crate::extract::{Caller, Params, Path};
use crate::jobs::job_id;
use crate::problem::ApiError;
use crate::state::State;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Rows before the page.
    #[serde(default)]
    offset: u64,
    /// Rows of the page, 1 to 100000; 1000 by default.
    limit: Option<u64>,
    /// `json`, `ndjson`, `csv` or `arrow`; counts before `Accept`.
    format: Option<String>,
}

/// Reads a page of rows, as JSON, NDJSON, CSV or Arrow.
#[utoipa::path(get, path = "/jobs/{id}/results", operation_id = "job_results", tag = "jobs",
    params(("id" = String, Path), PageParams),
    responses((status = 200, content((Rows = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"), (Vec<u8> = "application/vnd.apache.arrow.stream"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_results(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    let format = Format::negotiate(params.format.as_deref(), &headers)?;
    let (offset, limit) = (params.offset, params.limit.unwrap_or(1000));
    let most = state.settings.page_rows;
    if !(1..=most).contains(&limit) {
        return Err(ApiError::new(
            ErrorCode::RequestInvalid,
            format!("`limit` must be 1 to {most}."),
        ));
    }
    let result = state.jobs.results(&caller.tenant, id).await?;
    let (mut before, mut batches, mut schema) = (0u64, Vec::new(), None);
    let end = offset.saturating_add(limit);
    for (n, chunk) in result.chunks.iter().enumerate() {
        let wanted = before < end && before + chunk.rows > offset;
        // An empty page still has columns.
        if wanted || (schema.is_none() && n + 1 == result.chunks.len()) {
            let bytes = state.jobs.chunk(&caller.tenant, id, &result, n).await?;
            let (found, all) = decode(&bytes)?;
            schema = Some(found);
            let mut at = before;
            for batch in all {
                let rows = batch.num_rows() as u64;
                let (from, to) = (offset.max(at), end.min(at + rows));
                if from < to {
                    batches.push(batch.slice((from - at) as usize, (to - from) as usize));
                }
                at += rows;
            }
        }
        before += chunk.rows;
    }
    if format == Format::Json {
        let rows = json_rows(&batches)?;
        let reached = offset.saturating_add(rows.len() as u64);
        return Ok(Json(Rows {
            columns: result.columns.into_iter().map(Into::into).collect(),
            rows,
            offset,
            total: result.rows,
            truncated: result.truncated,
            next: (reached < result.rows).then_some(reached),
        })
        .into_response());
    }
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    let mut encoder = Encoder::new(format, &schema)?;
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    let mut bytes = Vec::new();
    for batch in &batches {
        bytes.extend(encoder.batch(batch)?);
    }
    bytes.extend(encoder.finish()?);
    let mut response = ([(header::CONTENT_TYPE, format.media_type())], bytes).into_response();
    response
        .headers_mut()
        .insert("x-total-rows", HeaderValue::from(result.rows));
    Ok(response)
}

/// Shows what a result consists of.
#[utoipa::path(get, path = "/jobs/{id}/results/manifest", operation_id = "job_manifest", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = ResultManifest), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_manifest(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ResultManifest>, ApiError> {
    let id = job_id(&id)?;
    Ok(Json(ResultManifest::new(
        id,
        state.jobs.results(&caller.tenant, id).await?,
    )))
}

/// Reads one chunk of a result: an Arrow IPC stream whose `ETag` is its SHA-256.
#[utoipa::path(get, path = "/jobs/{id}/results/chunks/{n}", operation_id = "job_chunk", tag = "jobs",
    params(("id" = String, Path), ("n" = usize, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/vnd.apache.arrow.stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_chunk(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((id, n)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    let n = n
        .parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "There is no such chunk."))?;
    let result = state.jobs.results(&caller.tenant, id).await?;
    let bytes = state.jobs.chunk(&caller.tenant, id, &result, n).await?;
    let tag = format!("\"{}\"", result.chunks[n].sha256);
    let headers = [
        (header::CONTENT_TYPE, Format::Arrow.media_type().to_owned()),
        (header::ETAG, tag),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DownloadParams {
    /// `json`, `ndjson`, `csv` or `arrow`; counts before `Accept`.
    format: Option<String>,
}

/// Downloads a whole result. JSON is an array of objects.
#[utoipa::path(get, path = "/jobs/{id}/results/download", operation_id = "job_download", tag = "jobs",
    params(("id" = String, Path), DownloadParams),
    responses((status = 200, content((String = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"), (Vec<u8> = "application/vnd.apache.arrow.stream"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_download(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    let format = Format::negotiate(params.format.as_deref(), &headers)?;
    let result = state.jobs.results(&caller.tenant, id).await?;
    // Everything is checked before the first byte goes out; a damaged chunk is a status, not a
    // body that breaks off.
    let mut schema = None;
    for n in 0..result.chunks.len() {
        let bytes = state.jobs.chunk(&caller.tenant, id, &result, n).await?;
        let (found, batches) = decode(&bytes)?;
        if n == 0 && format == Format::Csv {
            batches
                .iter()
                .take(1)
                .try_for_each(|batch| Encoder::Csv { header: true }.batch(batch).map(|_| ()))?;
        }
        schema.get_or_insert(found);
    }
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    let download = Download {
        encoder: Some(Encoder::new(format, &schema)?),
        tenant: caller.tenant,
        chunks: result.chunks.len(),
        next: 0,
        result,
        state,
        id,
    };
    let body = stream::unfold(download, |mut download| async move {
        let item = download.piece().await?;
        Some((item.map_err(std::io::Error::other), download))
    });
    let name = format!("attachment; filename=\"{id}.{}\"", format.name());
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(body.boxed())).into_response())
}

struct Download {
    state: State,
    tenant: TenantId,
    id: JobId,
    result: sandmill_model::ResultManifest,
    chunks: usize,
    next: usize,
    /// Gone once the end was sent.
    encoder: Option<Encoder>,
}

impl Download {
    async fn piece(&mut self) -> Option<Result<Vec<u8>, Failure>> {
        if self.next == self.chunks {
            return self.encoder.take().map(Encoder::finish);
        }
        let chunk = self
            .state
            .jobs
            .chunk(&self.tenant, self.id, &self.result, self.next)
            .await;
        self.next += 1;
        let encoder = self.encoder.as_mut()?;
        Some(chunk.and_then(|bytes| {
            let (schema, mut batches) = decode(&bytes)?;
            if batches.is_empty() {
                batches.push(RecordBatch::new_empty(schema));
            }
            let mut bytes = Vec::new();
            batches
                .iter()
                .try_for_each(|batch| encoder.batch(batch).map(|b| bytes.extend(b)))?;
            Ok(bytes)
        }))
    }
}
