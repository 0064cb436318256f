//! The embedded store: one SQLite file.

mod aliases;
mod catalog;
mod functions;
mod jobs;
mod keys;
mod policies;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sandmill_model::{
    Digest, HttpRule, JobId, JobState, LogLine, ModuleDescription, Progress, TenantId, TokenId,
    UsedVersion, VersionRef,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::{
    AliasRecord, Change, Error, FunctionRecord, JobFilter, JobRecord, KeyRecord, Origin, Page,
    Store, TableRecord, TokenRecord, UsingJob, VersionUsage,
};

/// A store in one SQLite file.
pub struct Sqlite {
    read: SqlitePool,
    /// Commits that must survive a power cut.
    durable: SqlitePool,
    /// Commits that need only survive the process: claims, heartbeats, log lines. The next durable
    /// commit carries them along.
    relaxed: SqlitePool,
}

impl Sqlite {
    /// Opens or makes the file and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        // SQLite gives the files beside it the mode of this one. It holds what users sent.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let path = path.display().to_string();
                return Err(Error::File { path, error });
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(20))
            .synchronous(SqliteSynchronous::Full);
        // One connection for each kind of writer: SQLite has one writer at a time anyway.
        let one = || SqlitePoolOptions::new().max_connections(1);
        let durable = one().connect_with(options.clone()).await?;
        migrate(&durable).await?;
        let normal = options.clone().synchronous(SqliteSynchronous::Normal);
        Ok(Self {
            read: SqlitePoolOptions::new()
                .max_connections(4)
                .connect_with(options)
                .await?,
            relaxed: one().connect_with(normal).await?,
            durable,
        })
    }
}

/// Schema changes in order; the file's `user_version` counts those that it has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_start.sql"),
    include_str!("../migrations/sqlite/0002_versions.sql"),
    include_str!("../migrations/sqlite/0003_usage.sql"),
    include_str!("../migrations/sqlite/0004_http.sql"),
];

async fn migrate(pool: &SqlitePool) -> Result<(), Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let seen: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *tx)
        .await?;
    let seen = usize::try_from(seen).unwrap_or(usize::MAX);
    if seen > MIGRATIONS.len() {
        let reason = "a newer version of Sandmill made it; start that version".to_owned();
        return Err(Error::Damaged {
            what: "database",
            reason,
        });
    }
    for migration in &MIGRATIONS[seen..] {
        sqlx::raw_sql(*migration).execute(&mut *tx).await?;
    }
    let version = format!("PRAGMA user_version = {}", MIGRATIONS.len());
    sqlx::raw_sql(sqlx::AssertSqlSafe(version))
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// A document as stored.
fn json<T: Serialize>(what: &'static str, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| Error::Damaged {
        what,
        reason: e.to_string(),
    })
}

/// A stored document.
fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::Damaged {
        what,
        reason: e.to_string(),
    })
}

#[async_trait]
impl Store for Sqlite {
    async fn job_insert(&self, job: &JobRecord, limit: u64) -> Result<(), Error> {
        jobs::insert(&self.durable, job, limit).await
    }
    async fn job_get(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Error> {
        jobs::get(&self.read, tenant, id).await
    }
    async fn job_list(
        &self,
        tenant: &TenantId,
        filter: &JobFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<JobRecord>, Error> {
        jobs::list(&self.read, tenant, filter, limit, cursor).await
    }
    async fn job_claim(
        &self,
        owner: &str,
        now: i64,
        lease: i64,
    ) -> Result<Option<JobRecord>, Error> {
        jobs::claim(&self.relaxed, owner, now, lease).await
    }
    async fn job_heartbeat(
        &self,
        tenant: &TenantId,
        id: JobId,
        owner: &str,
        lease: i64,
        progress: Progress,
        usage: &[UsedVersion],
    ) -> Result<JobState, Error> {
        let report = (progress, usage);
        jobs::heartbeat(&self.relaxed, tenant, id, owner, lease, report).await
    }
    async fn job_change(
        &self,
        tenant: &TenantId,
        id: JobId,
        change: Change,
        now: i64,
    ) -> Result<JobRecord, Error> {
        // The wish to cancel was acknowledged, so it must survive like an end.
        let lasting = change.state.is_terminal() || change.state == JobState::Canceling;
        let pool = if lasting {
            &self.durable
        } else {
            &self.relaxed
        };
        jobs::change(pool, tenant, id, change, now).await
    }
    async fn job_orphans(&self, before: i64) -> Result<Vec<JobRecord>, Error> {
        jobs::orphans(&self.durable, before).await
    }
    async fn job_counts(&self) -> Result<Vec<(JobState, u64)>, Error> {
        jobs::counts(&self.read).await
    }
    async fn job_active(&self, tenant: &TenantId) -> Result<Vec<JobRecord>, Error> {
        jobs::active(&self.read, tenant).await
    }
    async fn log_append(
        &self,
        tenant: &TenantId,
        id: JobId,
        lines: &[LogLine],
    ) -> Result<(), Error> {
        jobs::log_append(&self.relaxed, tenant, id, lines).await
    }
    async fn log_read(
        &self,
        tenant: &TenantId,
        id: JobId,
        function: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(u64, LogLine)>, Error> {
        jobs::log_read(&self.read, tenant, id, function, from, limit).await
    }
    async fn function_publish(
        &self,
        tenant: &TenantId,
        module: &ModuleDescription,
        origin: &Origin,
        now: i64,
    ) -> Result<Vec<FunctionRecord>, Error> {
        functions::publish(&self.durable, tenant, module, origin, now).await
    }
    async fn function_list(&self, tenant: &TenantId) -> Result<Vec<FunctionRecord>, Error> {
        functions::list(&self.read, tenant).await
    }
    async fn function_names(&self, tenant: &TenantId) -> Result<Vec<String>, Error> {
        functions::names(&self.read, tenant).await
    }
    async fn function_resolve(
        &self,
        tenant: &TenantId,
        wanted: &[(String, VersionRef)],
    ) -> Result<Vec<Option<(u32, Digest)>>, Error> {
        functions::resolve(&mut *self.read.acquire().await?, tenant, wanted).await
    }
    async fn function_versions(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<FunctionRecord>, Error> {
        functions::versions(&self.read, tenant, name).await
    }
    async fn function_delete(
        &self,
        tenant: &TenantId,
        name: &str,
        version: Option<u32>,
        now: i64,
    ) -> Result<Vec<Digest>, Error> {
        functions::delete(&self.durable, tenant, name, version, now).await
    }
    async fn function_usage(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<VersionUsage>, Error> {
        aliases::usage(&self.read, tenant, name).await
    }
    async fn function_jobs(
        &self,
        tenant: &TenantId,
        name: &str,
        limit: u32,
        cursor: Option<JobId>,
    ) -> Result<Page<UsingJob>, Error> {
        aliases::jobs(&self.read, tenant, name, limit, cursor).await
    }
    async fn alias_list(&self, tenant: &TenantId, name: &str) -> Result<Vec<AliasRecord>, Error> {
        aliases::list(&self.read, tenant, name).await
    }
    async fn alias_put(
        &self,
        tenant: &TenantId,
        name: &str,
        alias: &str,
        version: &VersionRef,
        by: Option<&str>,
        now: i64,
    ) -> Result<AliasRecord, Error> {
        aliases::put(&self.durable, tenant, name, alias, version, by, now).await
    }
    async fn alias_delete(&self, tenant: &TenantId, name: &str, alias: &str) -> Result<(), Error> {
        aliases::delete(&self.durable, tenant, name, alias).await
    }
    async fn key_put(&self, tenant: &TenantId, key: &KeyRecord) -> Result<(), Error> {
        keys::put(&self.durable, tenant, key).await
    }
    async fn key_list(&self, tenant: &TenantId) -> Result<Vec<KeyRecord>, Error> {
        keys::list(&self.read, tenant).await
    }
    async fn key_revoke(&self, tenant: &TenantId, id: &str, now: i64) -> Result<KeyRecord, Error> {
        keys::revoke(&self.durable, tenant, id, now).await
    }
    async fn require_signed(&self, tenant: &TenantId) -> Result<bool, Error> {
        keys::require_signed(&mut *self.read.acquire().await?, tenant).await
    }
    async fn require_signed_put(&self, tenant: &TenantId, require: bool) -> Result<(), Error> {
        keys::require_signed_put(&self.durable, tenant, require).await
    }
    async fn http_policy(&self, tenant: &TenantId) -> Result<Vec<HttpRule>, Error> {
        policies::http(&self.read, tenant).await
    }
    async fn http_policy_put(
        &self,
        tenant: &TenantId,
        rules: &[HttpRule],
        by: Option<&str>,
        now: i64,
    ) -> Result<(), Error> {
        policies::http_put(&self.durable, tenant, rules, by, now).await
    }
    async fn module_get(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> Result<ModuleDescription, Error> {
        functions::module(&self.read, tenant, digest).await
    }
    async fn table_put(
        &self,
        tenant: &TenantId,
        table: &TableRecord,
        replace: bool,
    ) -> Result<(), Error> {
        catalog::table_put(&self.durable, tenant, table, replace).await
    }
    async fn table_get(&self, tenant: &TenantId, name: &str) -> Result<TableRecord, Error> {
        catalog::table_get(&self.read, tenant, name).await
    }
    async fn table_list(&self, tenant: &TenantId) -> Result<Vec<TableRecord>, Error> {
        catalog::table_list(&self.read, tenant).await
    }
    async fn table_delete(&self, tenant: &TenantId, name: &str) -> Result<(), Error> {
        catalog::table_delete(&self.durable, tenant, name).await
    }
    async fn token_insert(&self, token: &TokenRecord) -> Result<(), Error> {
        catalog::token_insert(&self.durable, token).await
    }
    async fn token_find(&self, id: TokenId) -> Result<Option<TokenRecord>, Error> {
        catalog::token_find(&self.read, id).await
    }
    async fn ready(&self) -> Result<(), Error> {
        // Takes the write lock and gives it back: fails on a full disk or a read-only folder.
        let mut connection = self.relaxed.acquire().await?;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await?;
        sqlx::query("ROLLBACK").execute(&mut *connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn raw(path: &Path) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        SqlitePool::connect_with(options).await.expect("opens")
    }

    /// A file as the first version of the schema left it.
    const OLD: &str = r#"
        INSERT INTO modules VALUES ('default', 'DIGEST', '{"digest":"DIGEST","size":4,"abi":"1.0",
            "package":"p","package_version":"1","language":"rust","sdk":"s","functions":[],"imports":[]}', 1);
        INSERT INTO functions VALUES ('default', 'f', 1, 'DIGEST', 'p', '{"name":"f","kind":"scalar",
            "arguments":[],"returns":"BIGINT","returns_format":"l","nullable":true,"strict":true,
            "volatility":"immutable","doc":"","examples":[]}', 1, NULL);
        INSERT INTO jobs (tenant_id, id, spec, state, created_at) VALUES
            ('default', 'JOB', '{"sql":"f()","timeout_ms":1,"result_bytes":1,"max_attempts":1,
                "functions":[{"name":"f","version":1,"digest":"DIGEST"}]}', 'queued', 7);
        INSERT INTO jobs (tenant_id, id, spec, state, created_at) VALUES
            ('default', 'OTHER', '{"sql":"1","timeout_ms":1,"result_bytes":1,"max_attempts":1}', 'succeeded', 8);
        PRAGMA user_version = 1"#;

    #[tokio::test]
    async fn an_old_file_is_brought_up_to_date_with_its_jobs_and_versions() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("db");
        let pool = raw(&path).await;
        let (job, other) = (JobId::generate(), JobId::generate());
        let old = OLD
            .replace("DIGEST", &Digest::new([7; 32]).to_string())
            .replace("JOB", &job.to_string())
            .replace("OTHER", &other.to_string());
        for sql in [MIGRATIONS[0], &old] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
                .execute(&pool)
                .await
                .expect("made");
        }
        pool.close().await;

        let tenant = TenantId::single();
        // Opening twice must not migrate twice.
        for opened in 0..2 {
            let store = Sqlite::open(&path).await.expect("opens");
            let versions = store.function_versions(&tenant, "f").await.expect("there");
            assert_eq!(versions[0].aliases, ["default", "latest"]);
            assert_eq!(versions[0].provenance.language, "rust");
            assert_eq!(versions[0].provenance.signature, None);
            let usage = store.function_usage(&tenant, "f").await.expect("counts");
            assert_eq!((usage[0].jobs, usage[0].active), (1, 1));
            let refused = store.function_delete(&tenant, "f", None, 9).await;
            assert!(
                matches!(&refused, Err(Error::InUse { jobs, .. }) if jobs[0].id == job),
                "{refused:?}"
            );
            assert!(!store.require_signed(&tenant).await.expect("a rule"));
            let rules = store.http_policy(&tenant).await.expect("a policy");
            let places = [HttpRule {
                host: "a".into(),
                port: 1,
                methods: vec!["GET".into()],
            }];
            match opened {
                0 => assert!(rules.is_empty(), "{rules:?}"),
                _ => assert_eq!(rules, places),
            }
            store
                .http_policy_put(&tenant, &places, Some("me"), 5)
                .await
                .expect("kept");
            let other = TenantId::new("other").expect("legal");
            assert!(store.http_policy(&other).await.expect("none").is_empty());
        }

        let pool = raw(&path).await;
        sqlx::raw_sql("PRAGMA user_version = 99")
            .execute(&pool)
            .await
            .expect("set");
        pool.close().await;
        assert!(matches!(
            Sqlite::open(&path).await,
            Err(Error::Damaged { .. })
        ));
    }
}
