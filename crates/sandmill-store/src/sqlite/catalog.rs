use sandmill_model::{TenantId, TokenId};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{json, parse};
use crate::{Error, Role, TableRecord, TokenRecord};

pub(super) fn damaged(what: &'static str, reason: impl ToString) -> Error {
    Error::Damaged {
        what,
        reason: reason.to_string(),
    }
}

pub(super) fn gone(rows: u64, what: impl Fn() -> String) -> Result<(), Error> {
    if rows == 0 {
        Err(Error::NotFound(what()))
    } else {
        Ok(())
    }
}

fn table(row: &SqliteRow) -> Result<TableRecord, Error> {
    Ok(TableRecord {
        description: parse("table", row.try_get("description")?)?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) async fn table_put(
    pool: &SqlitePool,
    tenant: &TenantId,
    table: &TableRecord,
    replace: bool,
) -> Result<(), Error> {
    let name = &table.description.spec.name;
    let query = sqlx::query(
        "INSERT INTO tables VALUES (?1, ?2, ?3, ?4) ON CONFLICT (tenant_id, name)
         DO UPDATE SET description = ?3, created_at = ?4 WHERE ?5",
    );
    let done = query
        .bind(tenant.as_str())
        .bind(name)
        .bind(json("table", &table.description)?)
        .bind(table.created_at)
        .bind(replace)
        .execute(pool)
        .await?;
    if done.rows_affected() == 0 {
        return Err(Error::Conflict(format!("The table {name} exists already.")));
    }
    Ok(())
}

pub(super) async fn table_get(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<TableRecord, Error> {
    let query = sqlx::query("SELECT * FROM tables WHERE tenant_id = ? AND name = ?");
    let row = query
        .bind(tenant.as_str())
        .bind(name)
        .fetch_optional(pool)
        .await?;
    table(&row.ok_or_else(|| Error::NotFound(format!("The table {name}")))?)
}

pub(super) async fn table_list(
    pool: &SqlitePool,
    tenant: &TenantId,
) -> Result<Vec<TableRecord>, Error> {
    let rows = sqlx::query("SELECT * FROM tables WHERE tenant_id = ? ORDER BY name");
    rows.bind(tenant.as_str())
        .fetch_all(pool)
        .await?
        .iter()
        .map(table)
        .collect()
}

pub(super) async fn table_delete(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<(), Error> {
    let query = sqlx::query("DELETE FROM tables WHERE tenant_id = ? AND name = ?");
    let done = query.bind(tenant.as_str()).bind(name).execute(pool).await?;
    gone(done.rows_affected(), || format!("The table {name}"))
}

pub(super) async fn token_insert(pool: &SqlitePool, token: &TokenRecord) -> Result<(), Error> {
    sqlx::query("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(token.tenant.as_str())
        .bind(token.id.to_string())
        .bind(&token.name)
        .bind(token.role.as_str())
        .bind(&token.hash[..])
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn token_find(
    pool: &SqlitePool,
    id: TokenId,
) -> Result<Option<TokenRecord>, Error> {
    let row = sqlx::query("SELECT * FROM tokens WHERE id = ?").bind(id.to_string());
    let Some(row) = row.fetch_optional(pool).await? else {
        return Ok(None);
    };
    let hash: Vec<u8> = row.try_get("hash")?;
    let tenant: String = row.try_get("tenant_id")?;
    Ok(Some(TokenRecord {
        tenant: TenantId::new(tenant).map_err(|e| damaged("token", e))?,
        id,
        name: row.try_get("name")?,
        role: match row.try_get("role")? {
            "viewer" => Role::Viewer,
            "engineer" => Role::Engineer,
            other => return Err(damaged("token", format!("the role `{other}` is not known"))),
        },
        hash: hash
            .try_into()
            .map_err(|_| damaged("token", "its hash has a wrong length"))?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
    }))
}
