use sandmill_model::{Digest, ModuleDescription, TenantId, TokenId};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{json, parse};
use crate::{Error, FunctionRecord, Role, TableRecord, TokenRecord};

fn damaged(what: &'static str, reason: impl ToString) -> Error {
    Error::Damaged {
        what,
        reason: reason.to_string(),
    }
}

fn function(row: &SqliteRow) -> Result<FunctionRecord, Error> {
    let digest: String = row.try_get("digest")?;
    Ok(FunctionRecord {
        version: row.try_get("version")?,
        digest: digest
            .parse()
            .map_err(|e: sandmill_model::IdError| damaged("function", e))?,
        package: row.try_get("package")?,
        info: parse("function", row.try_get("info")?)?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) async fn publish(
    pool: &SqlitePool,
    tenant: &TenantId,
    module: &ModuleDescription,
    now: i64,
) -> Result<Vec<FunctionRecord>, Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT OR IGNORE INTO modules VALUES (?, ?, ?, ?)")
        .bind(tenant.as_str())
        .bind(module.digest.to_string())
        .bind(json("module", module)?)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let mut published = Vec::new();
    for info in &module.functions {
        let newest = sqlx::query(
            "SELECT * FROM functions WHERE tenant_id = ? AND name = ? ORDER BY version DESC LIMIT 1",
        );
        let newest = newest
            .bind(tenant.as_str())
            .bind(&info.name)
            .fetch_optional(&mut *tx)
            .await?;
        let mut version = 1;
        if let Some(row) = &newest {
            let found = function(row)?;
            let deleted: Option<i64> = row.try_get("deleted_at")?;
            if deleted.is_none() && found.package != module.package {
                return Err(Error::Conflict(format!(
                    "The function {} belongs to the package {}; this module is the package {}.",
                    info.name, found.package, module.package
                )));
            }
            if deleted.is_none() && found.digest == module.digest {
                published.push(found);
                continue;
            }
            version = found.version + 1;
        }
        let row =
            sqlx::query("INSERT INTO functions VALUES (?, ?, ?, ?, ?, ?, ?, NULL) RETURNING *")
                .bind(tenant.as_str())
                .bind(&info.name)
                .bind(version)
                .bind(module.digest.to_string())
                .bind(&module.package)
                .bind(json("function", info)?)
                .bind(now)
                .fetch_one(&mut *tx)
                .await?;
        published.push(function(&row)?);
    }
    tx.commit().await?;
    Ok(published)
}

pub(super) async fn functions(
    pool: &SqlitePool,
    tenant: &TenantId,
) -> Result<Vec<FunctionRecord>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM functions f WHERE tenant_id = ?1 AND deleted_at IS NULL AND version =
            (SELECT max(version) FROM functions WHERE tenant_id = ?1 AND name = f.name)
         ORDER BY name",
    );
    rows.bind(tenant.as_str())
        .fetch_all(pool)
        .await?
        .iter()
        .map(function)
        .collect()
}

pub(super) async fn versions(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<FunctionRecord>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM functions WHERE tenant_id = ? AND name = ? AND deleted_at IS NULL
         ORDER BY version DESC",
    );
    let rows = rows
        .bind(tenant.as_str())
        .bind(name)
        .fetch_all(pool)
        .await?;
    if rows.is_empty() {
        return Err(Error::NotFound(format!("The function {name}")));
    }
    rows.iter().map(function).collect()
}

pub(super) async fn function_delete(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
    now: i64,
) -> Result<(), Error> {
    let query = sqlx::query(
        "UPDATE functions SET deleted_at = ? WHERE tenant_id = ? AND name = ? AND deleted_at IS NULL",
    );
    let done = query
        .bind(now)
        .bind(tenant.as_str())
        .bind(name)
        .execute(pool)
        .await?;
    gone(done.rows_affected(), || format!("The function {name}"))
}

fn gone(rows: u64, what: impl Fn() -> String) -> Result<(), Error> {
    if rows == 0 {
        Err(Error::NotFound(what()))
    } else {
        Ok(())
    }
}

pub(super) async fn module(
    pool: &SqlitePool,
    tenant: &TenantId,
    digest: Digest,
) -> Result<ModuleDescription, Error> {
    let query =
        sqlx::query_scalar("SELECT description FROM modules WHERE tenant_id = ? AND digest = ?");
    let text: Option<String> = query
        .bind(tenant.as_str())
        .bind(digest.to_string())
        .fetch_optional(pool)
        .await?;
    parse(
        "module",
        &text.ok_or_else(|| Error::NotFound(format!("The module {digest}")))?,
    )
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
