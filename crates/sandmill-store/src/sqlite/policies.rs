//! What a tenant permits its functions.

use sandmill_model::{HttpRule, TenantId};
use sqlx::sqlite::SqlitePool;

use super::{json, parse};
use crate::Error;

pub(super) async fn http(pool: &SqlitePool, tenant: &TenantId) -> Result<Vec<HttpRule>, Error> {
    let rules: Option<String> =
        sqlx::query_scalar("SELECT rules FROM http_policies WHERE tenant_id = ?")
            .bind(tenant.as_str())
            .fetch_optional(pool)
            .await?;
    rules.map_or(Ok(Vec::new()), |rules| parse("policy", &rules))
}

pub(super) async fn http_put(
    pool: &SqlitePool,
    tenant: &TenantId,
    rules: &[HttpRule],
    by: Option<&str>,
    now: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO http_policies VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant_id) DO UPDATE SET rules = ?2, changed_at = ?3, changed_by = ?4",
    )
    .bind(tenant.as_str())
    .bind(json("policy", &rules)?)
    .bind(now)
    .bind(by)
    .execute(pool)
    .await?;
    Ok(())
}
