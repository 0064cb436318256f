//! Aliases of versions, and the use of versions by jobs.

use sandmill_model::{DEFAULT, JobId, LATEST, TenantId, VersionRef};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::catalog::gone;
use super::functions::{resolve, using};
use crate::{AliasRecord, Error, Page, UsingJob, VersionUsage};

fn alias(row: &SqliteRow) -> Result<AliasRecord, Error> {
    Ok(AliasRecord {
        alias: row.try_get("alias")?,
        version: row.try_get("version")?,
        changed_at: row.try_get("changed_at")?,
        changed_by: row.try_get("changed_by")?,
    })
}

pub(super) async fn list(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<AliasRecord>, Error> {
    let rows = sqlx::query(
        "WITH newest AS (SELECT max(version) AS version FROM functions
             WHERE tenant_id = ?1 AND name = ?2 AND deleted_at IS NULL)
         SELECT alias, version, changed_at, changed_by FROM function_aliases
             WHERE tenant_id = ?1 AND name = ?2
         UNION ALL SELECT 'latest', version, NULL, NULL FROM newest WHERE version IS NOT NULL
         UNION ALL SELECT 'default', version, NULL, NULL FROM newest WHERE version IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM function_aliases
                 WHERE tenant_id = ?1 AND name = ?2 AND alias = 'default')
         ORDER BY alias",
    );
    let rows = rows
        .bind(tenant.as_str())
        .bind(name)
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        return Err(Error::NotFound(format!("The function {name}")));
    }
    rows.iter().map(alias).collect()
}

pub(super) async fn put(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
    new: &str,
    version: &VersionRef,
    by: Option<&str>,
    now: i64,
) -> Result<AliasRecord, Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let wanted = [(name.to_owned(), version.clone())];
    let Some((version, _)) = resolve(&mut tx, tenant, &wanted).await?[0] else {
        return Err(Error::NotFound(format!("The function {name}@{version}")));
    };
    let row = sqlx::query(
        "INSERT INTO function_aliases VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (tenant_id, name, alias)
         DO UPDATE SET version = ?4, changed_at = ?5, changed_by = ?6 RETURNING *",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(new)
    .bind(version)
    .bind(now)
    .bind(by)
    .fetch_one(&mut *tx)
    .await?;
    let record = alias(&row)?;
    tx.commit().await?;
    Ok(record)
}

pub(super) async fn delete(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
    old: &str,
) -> Result<(), Error> {
    let query =
        sqlx::query("DELETE FROM function_aliases WHERE tenant_id = ? AND name = ? AND alias = ?");
    let done = query
        .bind(tenant.as_str())
        .bind(name)
        .bind(old)
        .execute(pool)
        .await?;
    if old == DEFAULT || old == LATEST {
        // It follows the newest version already, if there is such a function.
        return list(pool, tenant, name).await.map(|_| ());
    }
    gone(done.rows_affected(), || {
        format!("The alias {old} of {name}")
    })
}

pub(super) async fn usage(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<VersionUsage>, Error> {
    let rows = sqlx::query(
        "SELECT p.version, count(*) AS jobs, max(j.created_at) AS last_used_at,
             count(*) FILTER (WHERE j.state = 'succeeded') AS succeeded,
             count(*) FILTER (WHERE j.state IN
                 ('queued', 'planning', 'running', 'finalizing', 'canceling')) AS active
         FROM job_functions p JOIN jobs j ON j.tenant_id = p.tenant_id AND j.id = p.job_id
         WHERE p.tenant_id = ? AND p.name = ? GROUP BY p.version ORDER BY p.version DESC",
    );
    let count = |row: &SqliteRow, name: &str| row.try_get::<i64, _>(name).map(i64::cast_unsigned);
    let rows = rows
        .bind(tenant.as_str())
        .bind(name)
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(VersionUsage {
                version: row.try_get("version")?,
                jobs: count(row, "jobs")?,
                active: count(row, "active")?,
                succeeded: count(row, "succeeded")?,
                last_used_at: row.try_get("last_used_at")?,
            })
        })
        .collect()
}

pub(super) async fn jobs(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
    limit: u32,
    cursor: Option<JobId>,
) -> Result<Page<UsingJob>, Error> {
    // A job that uses two versions has two rows; the page ends between jobs.
    let rows = sqlx::query(
        "SELECT j.id, j.state, p.version, j.created_at
         FROM job_functions p JOIN jobs j ON j.tenant_id = p.tenant_id AND j.id = p.job_id
         WHERE p.tenant_id = ?1 AND p.name = ?2 AND p.job_id IN
             (SELECT DISTINCT job_id FROM job_functions WHERE tenant_id = ?1 AND name = ?2
                AND (?3 IS NULL OR job_id < ?3) ORDER BY job_id DESC LIMIT ?4)
         ORDER BY p.job_id DESC, p.version DESC",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(cursor.map(|id| id.to_string()))
    .bind(i64::from(limit) + 1)
    .fetch_all(pool)
    .await?;
    let mut items = rows.iter().map(using).collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<JobId> = items.iter().map(|job| job.id).collect();
    ids.dedup();
    let mut next = None;
    if let (true, Some(over)) = (ids.len() > limit as usize, ids.last()) {
        items.retain(|job| job.id != *over);
        next = items.last().map(|job| job.id.to_string());
    }
    Ok(Page { items, next })
}
