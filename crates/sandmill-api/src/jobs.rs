use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sandmill_api_types::{
    Job, JobFunctions, JobList, JobPlan, LogPage, NewJob, OnResultLimit, Problem,
};
use sandmill_jobs::Validation;
use sandmill_model::{ErrorCode, JobId, JobState, Parameter};
use sandmill_store::{JobFilter, JobRecord};
use serde::Deserialize;

use crate::extract::{Body, Caller, Params, Path, duration};
use crate::problem::ApiError;
use crate::state::State;
use crate::versions::invalid;

/// Longest wait of one request.
const WAIT: Duration = Duration::from_secs(30);

/// An id in a path. What is no id is answered like an id that does not exist.
pub(crate) fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::NotFound, "The job does not exist."))
}

pub(crate) fn body(job: JobRecord) -> Job {
    Job::new(
        job.id,
        job.spec,
        job.state,
        job.reason,
        (job.attempt, job.revision),
        (job.created_at, job.started_at, job.finished_at),
        job.error,
        job.result.as_ref(),
        job.progress,
        job.usage,
        job.retry_of,
    )
}

fn tagged(status: StatusCode, job: JobRecord) -> Response {
    let tag = format!("\"{}\"", job.revision);
    let location = format!("/api/v1/jobs/{}", job.id);
    let ended = job.state.is_terminal();
    let mut response = (status, Json(body(job))).into_response();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, &tag);
    if status == StatusCode::ACCEPTED {
        set(header::LOCATION, &location);
    }
    if !ended {
        set(header::RETRY_AFTER, "1");
    }
    response
}

fn wait(text: Option<&str>) -> Result<Duration, ApiError> {
    let wait = text
        .map(|text| duration("wait", text))
        .transpose()?
        .unwrap_or_default();
    if wait > WAIT {
        return Err(ApiError::new(
            ErrorCode::RequestInvalid,
            "`wait` is at most 30s.",
        ));
    }
    Ok(wait)
}

fn job(new: NewJob) -> Result<sandmill_jobs::NewJob, ApiError> {
    let param = |p: sandmill_api_types::Param| Parameter {
        name: p.name,
        sql_type: p.sql_type,
        value: p.value,
    };
    Ok(sandmill_jobs::NewJob {
        sql: new.sql,
        params: new.params.into_iter().map(param).collect(),
        functions: new
            .functions
            .into_iter()
            .map(|(name, version)| Ok((name, version.try_into().map_err(invalid)?)))
            .collect::<Result<_, ApiError>>()?,
        timeout: new
            .timeout
            .map(|text| duration("timeout", &text))
            .transpose()?,
        result_bytes: new.limits.result_bytes,
        on_result_limit: match new.on_result_limit {
            OnResultLimit::Fail => sandmill_model::OnResultLimit::Fail,
            OnResultLimit::Truncate => sandmill_model::OnResultLimit::Truncate,
        },
        labels: new.labels,
        show_values: new.show_values,
    })
}

fn plan(validation: Validation) -> Json<JobPlan> {
    let columns = validation.columns.into_iter().map(Into::into).collect();
    Json(JobPlan {
        columns,
        plan: validation.plan,
    })
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// How long to wait for the end of the job, at most 30s.
    wait: Option<String>,
}

/// Submits a job.
#[utoipa::path(post, path = "/jobs", operation_id = "job_submit", tag = "jobs", params(Wait), request_body = NewJob,
    responses((status = 200, description = "It ended within `wait`.", body = Job),
        (status = 202, description = "It is queued; `Location` says where to look.", body = Job),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_submit(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(params): Params<Wait>,
    Body(new): Body<NewJob>,
) -> Result<Response, ApiError> {
    let tenant = caller.engineer()?;
    let patience = wait(params.wait.as_deref())?;
    let mut record = state.jobs.submit(tenant, job(new)?).await?;
    if !patience.is_zero() {
        record = state.jobs.wait(tenant, record.id, patience, None).await?;
    }
    let status = if record.state.is_terminal() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok(tagged(status, record))
}

/// Plans a job without running it.
#[utoipa::path(post, path = "/jobs/validate", operation_id = "job_validate", tag = "jobs", request_body = NewJob,
    responses((status = 200, body = JobPlan), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_validate(
    Shared(state): Shared<State>,
    caller: Caller,
    Body(new): Body<NewJob>,
) -> Result<Json<JobPlan>, ApiError> {
    Ok(plan(state.jobs.validate(&caller.tenant, job(new)?).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Only jobs in this state.
    state: Option<String>,
    /// Only jobs whose statement contains this text.
    text: Option<String>,
    /// Only jobs with this label: `name=value`.
    label: Option<String>,
    /// Jobs of a page, 1 to 500; 50 by default.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "/jobs", operation_id = "job_list", tag = "jobs", params(ListParams),
    responses((status = 200, body = JobList), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_list(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<JobList>, ApiError> {
    let wrong = |message: String| ApiError::new(ErrorCode::RequestInvalid, message);
    let limit = params.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(wrong("`limit` must be 1 to 500.".into()));
    }
    if params
        .cursor
        .as_deref()
        .is_some_and(|c| c.parse::<JobId>().is_err())
    {
        return Err(wrong("`cursor` is not the `next` of a page.".into()));
    }
    let label = params.label.map(|text| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(wrong("`label` must be written name=value.".into())),
    });
    let filter = JobFilter {
        state: params.state.map(|s| s.parse()).transpose().map_err(|e| {
            let states: Vec<_> = JobState::ALL.iter().map(|s| s.as_str()).collect();
            wrong(format!("{e}.")).hint(format!("There are {}.", states.join(", ")))
        })?,
        text: params.text,
        label: label.transpose()?,
    };
    let page = state
        .jobs
        .list(&caller.tenant, &filter, limit, params.cursor.as_deref())
        .await?;
    Ok(Json(JobList {
        items: page.items.into_iter().map(body).collect(),
        next: page.next,
    }))
}

/// Shows a job. With `wait` it answers when the job has ended or, with `If-None-Match`, has changed.
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "job_view", tag = "jobs",
    params(("id" = String, Path), Wait, ("if-none-match" = Option<String>, Header, description = "The `ETag` that was seen last.")),
    responses((status = 200, body = Job), (status = 304, description = "It is as `If-None-Match` says."),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_view(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<Wait>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = job_id(&id)?;
    let patience = wait(params.wait.as_deref())?;
    let seen = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok());
    let seen = seen.and_then(|tag| {
        tag.trim_start_matches("W/")
            .trim_matches('"')
            .parse::<u64>()
            .ok()
    });
    let record = match patience.is_zero() {
        true => state.jobs.view(&caller.tenant, id).await?,
        false => state.jobs.wait(&caller.tenant, id, patience, seen).await?,
    };
    if seen == Some(record.revision) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    Ok(tagged(StatusCode::OK, record))
}

/// Asks a job to stop. A job that has ended stays as it is.
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "job_cancel", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = Job), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_cancel(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let record = state.jobs.cancel(caller.engineer()?, job_id(&id)?).await?;
    Ok(tagged(StatusCode::OK, record))
}

/// Runs an ended job again, as a new job with the same functions.
#[utoipa::path(post, path = "/jobs/{id}/retry", operation_id = "job_retry", tag = "jobs", params(("id" = String, Path)),
    responses((status = 202, body = Job), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_retry(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let record = state.jobs.retry(caller.engineer()?, job_id(&id)?).await?;
    Ok(tagged(StatusCode::ACCEPTED, record))
}

/// Shows what the functions of a job used: calls, rows, time, memory, errors.
#[utoipa::path(get, path = "/jobs/{id}/functions", operation_id = "job_functions", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobFunctions), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_functions(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobFunctions>, ApiError> {
    let job = state.jobs.view(&caller.tenant, job_id(&id)?).await?;
    let items = job.usage.into_iter().map(Into::into).collect();
    Ok(Json(JobFunctions { items }))
}

/// Shows how a job would run now.
#[utoipa::path(get, path = "/jobs/{id}/plan", operation_id = "job_plan", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobPlan), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_plan(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobPlan>, ApiError> {
    Ok(plan(state.jobs.plan(&caller.tenant, job_id(&id)?).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParams {
    /// The first line, counted from 0.
    #[serde(default)]
    from: u64,
    /// Only lines of this function.
    function: Option<String>,
}

/// Reads what a job's functions logged.
#[utoipa::path(get, path = "/jobs/{id}/logs", operation_id = "job_logs", tag = "jobs", params(("id" = String, Path), LogParams),
    responses((status = 200, body = LogPage), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn job_logs(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<LogParams>,
) -> Result<Json<LogPage>, ApiError> {
    let lines = state
        .jobs
        .logs(
            &caller.tenant,
            job_id(&id)?,
            params.function.as_deref(),
            params.from,
            1000,
        )
        .await?;
    let next = lines
        .last()
        .map_or(params.from, |(last, _)| last.saturating_add(1));
    Ok(Json(LogPage {
        lines: lines.into_iter().map(|(_, line)| line.into()).collect(),
        next,
    }))
}
