//! Keys that may sign modules, and whether modules must be signed.

use sandmill_model::TenantId;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};

use crate::{Error, KeyRecord};

fn key(row: &SqliteRow) -> Result<KeyRecord, Error> {
    Ok(KeyRecord {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        public_key: row.try_get("public_key")?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

pub(super) async fn put(
    pool: &SqlitePool,
    tenant: &TenantId,
    key: &KeyRecord,
) -> Result<(), Error> {
    let done = sqlx::query(
        "INSERT INTO signing_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)
         ON CONFLICT (tenant_id, id)
         DO UPDATE SET name = ?3, created_at = ?5, created_by = ?6, revoked_at = NULL
         WHERE public_key = ?4",
    )
    .bind(tenant.as_str())
    .bind(&key.id)
    .bind(&key.name)
    .bind(&key.public_key)
    .bind(key.created_at)
    .bind(&key.created_by)
    .execute(pool)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "Another key has the id {}.",
            key.id
        )));
    }
    Ok(())
}

pub(super) async fn list(pool: &SqlitePool, tenant: &TenantId) -> Result<Vec<KeyRecord>, Error> {
    let rows =
        sqlx::query("SELECT * FROM signing_keys WHERE tenant_id = ? ORDER BY created_at DESC, id");
    rows.bind(tenant.as_str())
        .fetch_all(pool)
        .await?
        .iter()
        .map(key)
        .collect()
}

pub(super) async fn revoke(
    pool: &SqlitePool,
    tenant: &TenantId,
    id: &str,
    now: i64,
) -> Result<KeyRecord, Error> {
    let row = sqlx::query(
        "UPDATE signing_keys SET revoked_at = coalesce(revoked_at, ?)
         WHERE tenant_id = ? AND id = ? RETURNING *",
    )
    .bind(now)
    .bind(tenant.as_str())
    .bind(id)
    .fetch_optional(pool)
    .await?;
    key(&row.ok_or_else(|| Error::NotFound(format!("The key {id}")))?)
}

pub(super) async fn require_signed(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
) -> Result<bool, Error> {
    let required: Option<bool> =
        sqlx::query_scalar("SELECT require_signed FROM upload_policies WHERE tenant_id = ?")
            .bind(tenant.as_str())
            .fetch_optional(connection)
            .await?;
    Ok(required.unwrap_or(false))
}

pub(super) async fn require_signed_put(
    pool: &SqlitePool,
    tenant: &TenantId,
    require: bool,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO upload_policies VALUES (?1, ?2)
         ON CONFLICT (tenant_id) DO UPDATE SET require_signed = ?2",
    )
    .bind(tenant.as_str())
    .bind(require)
    .execute(pool)
    .await?;
    Ok(())
}
