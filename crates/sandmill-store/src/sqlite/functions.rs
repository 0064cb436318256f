use sandmill_model::{Digest, ModuleDescription, Provenance, SignatureInfo, TenantId, VersionRef};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};

use super::catalog::damaged;
use super::{json, parse};
use crate::{Error, FunctionRecord, Origin, UsingJob};

/// A version with its module, the key of its signature and its aliases. `latest` is the newest
/// version of the name; `default` is the same until somebody sets it.
const RECORD: &str = "
    SELECT f.name, f.version, f.digest, f.package, f.info, f.created_at, f.published_by,
        json_remove(m.description, '$.functions') AS module, m.signature,
        k.id AS key_id, k.name AS key_name, k.revoked_at AS key_revoked_at,
        (SELECT json_group_array(alias) FROM
            (SELECT a.alias FROM function_aliases a
                WHERE a.tenant_id = f.tenant_id AND a.name = f.name AND a.version = f.version
             UNION SELECT 'latest' WHERE f.version = (SELECT n.version FROM functions n
                WHERE n.tenant_id = f.tenant_id AND n.name = f.name AND n.deleted_at IS NULL
                ORDER BY n.version DESC LIMIT 1)
             UNION SELECT 'default' WHERE d.version IS NULL AND f.version =
                (SELECT n.version FROM functions n
                WHERE n.tenant_id = f.tenant_id AND n.name = f.name AND n.deleted_at IS NULL
                ORDER BY n.version DESC LIMIT 1)
             ORDER BY 1)) AS aliases
    FROM functions f
    JOIN modules m ON m.tenant_id = f.tenant_id AND m.digest = f.digest
    LEFT JOIN function_aliases d
        ON d.tenant_id = f.tenant_id AND d.name = f.name AND d.alias = 'default'
    LEFT JOIN signing_keys k ON k.tenant_id = f.tenant_id
        AND k.id = substr(m.signature, 1, instr(m.signature, ':') - 1)
    WHERE f.tenant_id = ?1 AND f.deleted_at IS NULL ";

fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|e| damaged("function", e))
}

fn record(row: &SqliteRow) -> Result<FunctionRecord, Error> {
    let mut provenance: Provenance = parse("module", row.try_get("module")?)?;
    provenance.published_by = row.try_get("published_by")?;
    if let (Some(signature), Some(key)) = (row.try_get("signature")?, row.try_get("key_id")?) {
        provenance.signature = Some(SignatureInfo {
            key,
            key_name: row.try_get("key_name")?,
            trusted: row.try_get::<Option<i64>, _>("key_revoked_at")?.is_none(),
            signature,
        });
    }
    Ok(FunctionRecord {
        version: row.try_get("version")?,
        digest: digest(row.try_get("digest")?)?,
        package: row.try_get("package")?,
        info: parse("function", row.try_get("info")?)?,
        created_at: row.try_get("created_at")?,
        aliases: parse("alias", row.try_get("aliases")?)?,
        provenance,
    })
}

/// Whether the tenant's rules let the module in. Asked where it is published, so that no change of
/// the rules falls in between.
async fn admit(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    origin: &Origin,
) -> Result<(), Error> {
    match &origin.signature {
        Some((_, key)) => {
            let trusted: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM signing_keys WHERE tenant_id = ? AND id = ? AND revoked_at IS NULL",
            )
            .bind(tenant.as_str())
            .bind(key)
            .fetch_optional(connection)
            .await?;
            trusted
                .map(|_| ())
                .ok_or_else(|| Error::Untrusted(key.clone()))
        }
        None if super::keys::require_signed(connection, tenant).await? => Err(Error::Unsigned),
        None => Ok(()),
    }
}

pub(super) async fn publish(
    pool: &SqlitePool,
    tenant: &TenantId,
    module: &ModuleDescription,
    origin: &Origin,
    now: i64,
) -> Result<Vec<FunctionRecord>, Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    admit(&mut tx, tenant, origin).await?;
    // The module never changes; a signature may come later than the module.
    sqlx::query(
        "INSERT INTO modules (tenant_id, digest, description, created_at, signature)
         VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant_id, digest)
         DO UPDATE SET signature = coalesce(excluded.signature, signature)",
    )
    .bind(tenant.as_str())
    .bind(module.digest.to_string())
    .bind(json("module", module)?)
    .bind(now)
    .bind(origin.signature.as_ref().map(|(signature, _)| signature))
    .execute(&mut *tx)
    .await?;
    let mut published = Vec::new();
    for info in &module.functions {
        let newest = sqlx::query(
            "SELECT version, digest, package FROM functions
             WHERE tenant_id = ? AND name = ? AND deleted_at IS NULL
             ORDER BY version DESC LIMIT 1",
        );
        let newest = newest
            .bind(tenant.as_str())
            .bind(&info.name)
            .fetch_optional(&mut *tx)
            .await?;
        let mut same = false;
        if let Some(row) = &newest {
            let package: String = row.try_get("package")?;
            if package != module.package {
                return Err(Error::Conflict(format!(
                    "The function {} belongs to the package {package}; this module is the package {}.",
                    info.name, module.package
                )));
            }
            same = digest(row.try_get("digest")?)? == module.digest;
        }
        if !same {
            // Deleted versions count: a number means one module for ever.
            sqlx::query(
                "INSERT INTO functions
                     (tenant_id, name, version, digest, package, info, created_at, published_by)
                 SELECT ?1, ?2, coalesce(max(version), 0) + 1, ?3, ?4, ?5, ?6, ?7
                 FROM functions WHERE tenant_id = ?1 AND name = ?2",
            )
            .bind(tenant.as_str())
            .bind(&info.name)
            .bind(module.digest.to_string())
            .bind(&module.package)
            .bind(json("function", info)?)
            .bind(now)
            .bind(&origin.by)
            .execute(&mut *tx)
            .await?;
        }
        let versions = of_name(&mut tx, tenant, &info.name).await?;
        published.extend(versions.into_iter().next());
    }
    tx.commit().await?;
    Ok(published)
}

/// The default version of each function.
pub(super) async fn list(
    pool: &SqlitePool,
    tenant: &TenantId,
) -> Result<Vec<FunctionRecord>, Error> {
    let sql = format!(
        "{RECORD} AND f.version = coalesce(d.version, (SELECT n.version FROM functions n
             WHERE n.tenant_id = f.tenant_id AND n.name = f.name AND n.deleted_at IS NULL
             ORDER BY n.version DESC LIMIT 1)) ORDER BY f.name"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql));
    rows.bind(tenant.as_str())
        .fetch_all(pool)
        .await?
        .iter()
        .map(record)
        .collect()
}

pub(super) async fn names(pool: &SqlitePool, tenant: &TenantId) -> Result<Vec<String>, Error> {
    // From name to name along the index, past their versions, however many there are.
    let names = sqlx::query_scalar(
        "WITH RECURSIVE names(name) AS (
             SELECT min(name) FROM functions WHERE tenant_id = ?1 AND deleted_at IS NULL
             UNION ALL
             SELECT (SELECT min(f.name) FROM functions f
                     WHERE f.tenant_id = ?1 AND f.deleted_at IS NULL AND f.name > names.name)
             FROM names WHERE names.name IS NOT NULL)
         SELECT name FROM names WHERE name IS NOT NULL",
    );
    Ok(names.bind(tenant.as_str()).fetch_all(pool).await?)
}

/// One statement: all names are looked up at one moment, between two uploads and never within one.
pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    wanted: &[(String, VersionRef)],
) -> Result<Vec<Option<(u32, Digest)>>, Error> {
    let pairs: Vec<_> = wanted
        .iter()
        .map(|(name, version)| (name, version.to_string()))
        .collect();
    let rows = sqlx::query(
        "WITH wanted AS (
             SELECT w.key AS n, w.value ->> 0 AS name, w.value ->> 1 AS asked,
                 (SELECT f.version FROM functions f WHERE f.tenant_id = ?1
                      AND f.name = w.value ->> 0 AND f.deleted_at IS NULL
                      ORDER BY f.version DESC LIMIT 1) AS newest
             FROM json_each(?2) w)
         SELECT w.n, f.version, f.digest FROM wanted w
         LEFT JOIN function_aliases a
             ON a.tenant_id = ?1 AND a.name = w.name AND a.alias = w.asked
         JOIN functions f ON f.tenant_id = ?1 AND f.name = w.name AND f.deleted_at IS NULL
             AND f.version = CASE
                 WHEN w.asked = 'latest' THEN w.newest
                 WHEN w.asked = 'default' THEN coalesce(a.version, w.newest)
                 WHEN w.asked GLOB '[0-9]*' THEN CAST(w.asked AS INTEGER)
                 ELSE a.version END",
    )
    .bind(tenant.as_str())
    .bind(json("function", &pairs)?)
    .fetch_all(connection)
    .await?;
    let mut found = vec![None; wanted.len()];
    for row in rows {
        let place = found.get_mut(row.try_get::<u32, _>("n")? as usize);
        if let Some(place) = place {
            *place = Some((row.try_get("version")?, digest(row.try_get("digest")?)?));
        }
    }
    Ok(found)
}

async fn of_name(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<FunctionRecord>, Error> {
    let sql = format!("{RECORD} AND f.name = ?2 ORDER BY f.version DESC");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(name)
        .fetch_all(connection)
        .await?;
    rows.iter().map(record).collect()
}

pub(super) async fn versions(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
) -> Result<Vec<FunctionRecord>, Error> {
    let found = of_name(&mut *pool.acquire().await?, tenant, name).await?;
    if found.is_empty() {
        return Err(Error::NotFound(format!("The function {name}")));
    }
    Ok(found)
}

/// Refuses while a job that has not ended pins the version, or any version.
async fn unused(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    name: &str,
    version: Option<u32>,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT j.id, j.state, p.version, j.created_at, count(*) OVER () AS number
         FROM jobs j JOIN job_functions p ON p.tenant_id = j.tenant_id AND p.job_id = j.id
         WHERE j.state IN ('queued', 'planning', 'running', 'finalizing', 'canceling')
           AND j.tenant_id = ?1 AND p.name = ?2 AND (?3 IS NULL OR p.version = ?3)
         ORDER BY j.id LIMIT 5",
    )
    .bind(tenant.as_str())
    .bind(name)
    .bind(version)
    .fetch_all(connection)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(());
    };
    Err(Error::InUse {
        what: version.map_or_else(
            || format!("the function {name}"),
            |version| format!("version {version} of the function {name}"),
        ),
        count: first.try_get::<i64, _>("number")?.cast_unsigned(),
        jobs: rows.iter().map(using).collect::<Result<_, _>>()?,
    })
}

pub(super) fn using(row: &SqliteRow) -> Result<UsingJob, Error> {
    let id: String = row.try_get("id")?;
    let state: String = row.try_get("state")?;
    Ok(UsingJob {
        id: id
            .parse()
            .map_err(|e: sandmill_model::IdError| damaged("job", e))?,
        state: state.parse().map_err(|e| damaged("job", format!("{e}")))?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) async fn delete(
    pool: &SqlitePool,
    tenant: &TenantId,
    name: &str,
    version: Option<u32>,
    now: i64,
) -> Result<Vec<Digest>, Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let done = sqlx::query_scalar::<_, String>(
        "UPDATE functions SET deleted_at = ?1 WHERE tenant_id = ?2 AND name = ?3
           AND (?4 IS NULL OR version = ?4) AND deleted_at IS NULL RETURNING digest",
    )
    .bind(now)
    .bind(tenant.as_str())
    .bind(name)
    .bind(version)
    .fetch_all(&mut *tx)
    .await?;
    if done.is_empty() {
        return Err(Error::NotFound(version.map_or_else(
            || format!("The function {name}"),
            |version| format!("Version {version} of the function {name}"),
        )));
    }
    unused(&mut tx, tenant, name, version).await?;
    if let Some(version) = version {
        let alias: Option<String> = sqlx::query_scalar(
            "SELECT alias FROM function_aliases WHERE tenant_id = ? AND name = ? AND version = ?",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(version)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(alias) = alias {
            return Err(Error::Conflict(format!(
                "The alias {alias} names version {version} of the function {name}."
            )));
        }
    } else {
        sqlx::query("DELETE FROM function_aliases WHERE tenant_id = ? AND name = ?")
            .bind(tenant.as_str())
            .bind(name)
            .execute(&mut *tx)
            .await?;
    }
    let orphans = sqlx::query_scalar::<_, String>(
        "DELETE FROM modules WHERE tenant_id = ?1 AND digest IN (SELECT value FROM json_each(?2))
           AND NOT EXISTS (SELECT 1 FROM functions f WHERE f.tenant_id = ?1
               AND f.digest = modules.digest AND f.deleted_at IS NULL) RETURNING digest",
    )
    .bind(tenant.as_str())
    .bind(json("digest", &done)?)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    orphans.iter().map(|text| digest(text)).collect()
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
