use sandmill_model::{
    ErrorCode, Failure, JobId, JobState, LogLine, Progress, TenantId, UsedVersion,
};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};

use super::{json, parse};
use crate::{Change, Error, JobFilter, JobRecord, Page};

const ALL: &str = "SELECT tenant_id, id, spec, state, reason, attempt, revision, created_at, \
    started_at, finished_at, error, result, progress, usage, retry_of FROM jobs WHERE tenant_id = ? AND id = ?";

fn record(row: &SqliteRow) -> Result<JobRecord, Error> {
    let damaged = |reason: String| Error::Damaged {
        what: "job",
        reason,
    };
    let text = |name: &str| row.try_get::<Option<String>, _>(name);
    let required = |name: &str| row.try_get::<String, _>(name);
    Ok(JobRecord {
        tenant: TenantId::new(required("tenant_id")?).map_err(|e| damaged(e.to_string()))?,
        id: required("id")?
            .parse()
            .map_err(|e: sandmill_model::IdError| damaged(e.to_string()))?,
        spec: parse("job", &required("spec")?)?,
        state: required("state")?
            .parse()
            .map_err(|e| damaged(format!("{e}")))?,
        reason: text("reason")?,
        attempt: row.try_get("attempt")?,
        revision: row.try_get::<i64, _>("revision")?.cast_unsigned(),
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        error: text("error")?.map(|t| parse("error", &t)).transpose()?,
        result: text("result")?.map(|t| parse("result", &t)).transpose()?,
        progress: parse("progress", &required("progress")?)?,
        usage: parse("usage", &required("usage")?)?,
        retry_of: text("retry_of")?.and_then(|t| t.parse().ok()),
    })
}

pub(super) async fn insert(pool: &SqlitePool, job: &JobRecord, limit: u64) -> Result<(), Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let waiting: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'queued' AND tenant_id = ?")
            .bind(job.tenant.as_str())
            .fetch_one(&mut *tx)
            .await?;
    if waiting.cast_unsigned() >= limit {
        return Err(Error::QueueFull(waiting.cast_unsigned()));
    }
    sqlx::query("INSERT INTO jobs (tenant_id, id, spec, state, created_at, retry_of) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(job.tenant.as_str())
        .bind(job.id.to_string())
        .bind(json("job", &job.spec)?)
        .bind(job.state.as_str())
        .bind(job.created_at)
        .bind(job.retry_of.map(|id| id.to_string()))
        .execute(&mut *tx)
        .await?;
    for pin in &job.spec.functions {
        // A version that was deleted meanwhile has no module any more.
        let there = sqlx::query(
            "INSERT OR IGNORE INTO job_functions
             SELECT tenant_id, name, ?4, version FROM functions
             WHERE tenant_id = ?1 AND name = ?2 AND version = ?3 AND digest = ?5
               AND deleted_at IS NULL",
        )
        .bind(job.tenant.as_str())
        .bind(pin.function())
        .bind(pin.version)
        .bind(job.id.to_string())
        .bind(pin.digest.to_string())
        .execute(&mut *tx)
        .await?;
        let twice = |other: &&sandmill_model::FunctionPin| {
            (other.function(), other.version) == (pin.function(), pin.version)
        };
        let again = job.spec.functions.iter().find(twice) != Some(pin);
        if there.rows_affected() == 0 && !again {
            return Err(Error::Conflict(format!(
                "Version {} of the function {} is deleted.",
                pin.version,
                pin.function()
            )));
        }
    }
    Ok(tx.commit().await?)
}

async fn fetch(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    id: JobId,
) -> Result<JobRecord, Error> {
    let row = sqlx::query(ALL).bind(tenant.as_str()).bind(id.to_string());
    let row = row.fetch_optional(connection).await?;
    record(&row.ok_or_else(|| Error::NotFound(format!("The job {id}")))?)
}

pub(super) async fn get(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: JobId,
) -> Result<JobRecord, Error> {
    fetch(&mut *pool.acquire().await?, tenant, id).await
}

pub(super) async fn list(
    pool: &SqlitePool,
    tenant: &TenantId,
    filter: &JobFilter,
    limit: u32,
    cursor: Option<&str>,
) -> Result<Page<JobRecord>, Error> {
    let (name, value) = filter.label.clone().unzip();
    // Ids rise with time, so the id of the last item is where the next page starts.
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE tenant_id = ?1
           AND (?2 IS NULL OR id < ?2)
           AND (?3 IS NULL OR state = ?3)
           AND (?4 IS NULL OR instr(lower(spec ->> 'sql'), lower(?4)) > 0)
           AND (?5 IS NULL OR EXISTS (SELECT 1 FROM json_each(spec, '$.labels') WHERE key = ?5 AND value = ?6))
         ORDER BY id DESC LIMIT ?7",
    )
    .bind(tenant.as_str())
    .bind(cursor)
    .bind(filter.state.map(JobState::as_str))
    .bind(filter.text.as_deref())
    .bind(name)
    .bind(value)
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await?;
    let mut items = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|job| job.id.to_string());
    Ok(Page { items, next })
}

pub(super) async fn claim(
    pool: &SqlitePool,
    owner: &str,
    now: i64,
    lease: i64,
) -> Result<Option<JobRecord>, Error> {
    let row = sqlx::query(
        "UPDATE jobs SET state = 'planning', owner = ?1, lease_until = ?2, started_at = ?3,
             usage = '[]', attempt = attempt + 1, revision = revision + 1
         WHERE (tenant_id, id) = (SELECT tenant_id, id FROM jobs WHERE state = 'queued'
                                  ORDER BY created_at, id LIMIT 1)
         RETURNING *",
    )
    .bind(owner)
    .bind(lease)
    .bind(now)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(record).transpose()
}

pub(super) async fn heartbeat(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: JobId,
    owner: &str,
    lease: i64,
    (progress, usage): (Progress, &[UsedVersion]),
) -> Result<JobState, Error> {
    let state: Option<String> = sqlx::query_scalar(
        "UPDATE jobs SET lease_until = ?, progress = ?, usage = ? WHERE tenant_id = ? AND id = ? AND owner = ?
           AND state IN ('planning', 'running', 'finalizing', 'canceling') RETURNING state",
    )
    .bind(lease)
    .bind(json("progress", &progress)?)
    .bind(json("usage", &usage)?)
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(owner)
    .fetch_optional(pool)
    .await?;
    let state = state.ok_or_else(|| Error::NotFound(format!("The claim of job {id}")))?;
    state.parse().map_err(|e| Error::Damaged {
        what: "job",
        reason: format!("{e}"),
    })
}

pub(super) async fn change(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: JobId,
    change: Change,
    now: i64,
) -> Result<JobRecord, Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let before = fetch(&mut tx, tenant, id).await?;
    before
        .state
        .to(change.state)
        .map_err(|e| Error::Conflict(format!("The job {id}: {e}")))?;
    let ended = change.state.is_terminal();
    let rows = sqlx::query(
        "UPDATE jobs SET state = ?1, reason = coalesce(?2, reason), error = ?3, result = ?4,
             progress = coalesce(?5, progress), usage = coalesce(?12, usage), revision = revision + 1,
             attempt = attempt - ?11,
             finished_at = CASE WHEN ?6 THEN ?7 ELSE finished_at END,
             owner = CASE WHEN ?6 OR ?1 = 'queued' THEN NULL ELSE owner END
         WHERE tenant_id = ?8 AND id = ?9 AND (?10 IS NULL OR owner = ?10)",
    )
    .bind(change.state.as_str())
    .bind(change.reason)
    .bind(
        change
            .error
            .as_ref()
            .map(|e| json("error", e))
            .transpose()?,
    )
    .bind(
        change
            .result
            .as_ref()
            .map(|r| json("result", r))
            .transpose()?,
    )
    .bind(
        change
            .progress
            .as_ref()
            .map(|p| json("progress", p))
            .transpose()?,
    )
    .bind(ended)
    .bind(now)
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(change.owner)
    .bind(change.not_an_attempt)
    .bind(change.usage.as_ref().map(|u| json("usage", u)).transpose()?)
    .execute(&mut *tx)
    .await?;
    if rows.rows_affected() == 0 {
        return Err(Error::NotOwner(id));
    }
    let after = fetch(&mut tx, tenant, id).await?;
    tx.commit().await?;
    Ok(after)
}

pub(super) async fn orphans(pool: &SqlitePool, before: i64) -> Result<Vec<JobRecord>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE state IN ('planning', 'running', 'finalizing', 'canceling')
           AND coalesce(lease_until, 0) < ? ORDER BY created_at",
    );
    let mut found = Vec::new();
    for row in rows.bind(before).fetch_all(pool).await? {
        match record(&row) {
            Ok(job) => found.push(job),
            // One row that cannot be read must not keep the others from being recovered.
            Err(error) => {
                let failure = Failure::new(ErrorCode::Internal, error.to_string());
                sqlx::query(
                    "UPDATE jobs SET state = 'failed', owner = NULL, error = ?
                     WHERE tenant_id = ? AND id = ?",
                )
                .bind(json("error", &failure)?)
                .bind(row.try_get::<String, _>("tenant_id")?)
                .bind(row.try_get::<String, _>("id")?)
                .execute(pool)
                .await?;
            }
        }
    }
    Ok(found)
}

pub(super) async fn counts(pool: &SqlitePool) -> Result<Vec<(JobState, u64)>, Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM jobs GROUP BY state")
            .fetch_all(pool)
            .await?;
    // A state of a newer version is not worth failing for.
    let known = rows.into_iter();
    Ok(known
        .filter_map(|(state, count)| Some((state.parse().ok()?, count.cast_unsigned())))
        .collect())
}

pub(super) async fn active(pool: &SqlitePool, tenant: &TenantId) -> Result<Vec<JobRecord>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM jobs WHERE tenant_id = ?
           AND state IN ('queued', 'planning', 'running', 'finalizing', 'canceling')",
    );
    rows.bind(tenant.as_str())
        .fetch_all(pool)
        .await?
        .iter()
        .map(record)
        .collect()
}

pub(super) async fn log_append(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: JobId,
    lines: &[LogLine],
) -> Result<(), Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    for line in lines {
        sqlx::query(
            "INSERT INTO job_logs SELECT ?1, ?2, coalesce(max(line) + 1, 0), ?3 FROM job_logs
             WHERE tenant_id = ?1 AND job_id = ?2",
        )
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(json("log line", line)?)
        .execute(&mut *tx)
        .await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn log_read(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: JobId,
    function: Option<&str>,
    from: u64,
    limit: u32,
) -> Result<Vec<(u64, LogLine)>, Error> {
    let lines: Vec<(i64, String)> = sqlx::query_as(
        "SELECT line, document FROM job_logs WHERE tenant_id = ?1 AND job_id = ?2 AND line >= ?3
           AND (?5 IS NULL OR document ->> 'function' = ?5)
         ORDER BY line LIMIT ?4",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .bind(limit)
    .bind(function)
    .fetch_all(pool)
    .await?;
    let line =
        |(number, line): &(i64, String)| Ok((number.cast_unsigned(), parse("log line", line)?));
    lines.iter().map(line).collect()
}
