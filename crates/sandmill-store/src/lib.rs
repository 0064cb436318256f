//! State that survives: jobs, functions, tables and tokens in a database, modules and results in
//! files.
//!
//! Invariants:
//! - Every query is about one tenant, but for the queue and the lookup of a token.
//! - A change of state is checked against the table of `sandmill_model::JobState` in the transaction
//!   that makes it.
//! - What was acknowledged is on disk. Progress and claims may lag behind a power cut, never behind
//!   the end of the process.
#![deny(missing_docs)]

pub mod blobs;
mod records;
mod sqlite;

pub use records::{
    AliasRecord, Change, FunctionRecord, JobFilter, JobRecord, KeyRecord, Origin, Page, Role,
    TableRecord, TokenRecord, UsingJob, VersionUsage,
};
pub use sqlite::Sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use sandmill_model::{
    Digest, HttpRule, JobId, JobState, LogLine, ModuleDescription, Progress, TenantId, TokenId,
    UsedVersion, VersionRef,
};

/// Why the store cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thing is not there, or is another tenant's.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The present state does not permit it.
    #[error("{0}")]
    Conflict(String),
    /// Another worker has the job.
    #[error("the job {0} is not this worker's any more")]
    NotOwner(JobId),
    /// A job that has not ended uses what would be deleted.
    #[error("jobs that have not ended use {what}")]
    InUse {
        /// What would be deleted.
        what: String,
        /// Some of the jobs.
        jobs: Vec<UsingJob>,
        /// How many there are.
        count: u64,
    },
    /// The tenant takes signed modules only.
    #[error("the module carries no signature")]
    Unsigned,
    /// The key is not among those that the tenant trusts.
    #[error("the key {0} is not trusted")]
    Untrusted(String),
    /// The queue is full.
    #[error("{0} jobs wait already")]
    QueueFull(u64),
    /// A stored document cannot be read.
    #[error("a stored {what} is damaged: {reason}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A store shared by everything that needs it.
pub type Shared = Arc<dyn Store>;

/// Jobs, functions, tables and tokens. Times are microseconds since 1970.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Adds a queued job; `QueueFull` when `limit` jobs of the tenant wait already, `Conflict` when a
    /// version that it pins is deleted.
    async fn job_insert(&self, job: &JobRecord, limit: u64) -> Result<(), Error>;
    /// One job.
    async fn job_get(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Error>;
    /// Jobs, newest first.
    async fn job_list(
        &self,
        tenant: &TenantId,
        filter: &JobFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<JobRecord>, Error>;
    /// Takes the oldest queued job of any tenant and makes it `planning`.
    async fn job_claim(
        &self,
        owner: &str,
        now: i64,
        lease: i64,
    ) -> Result<Option<JobRecord>, Error>;
    /// Keeps a claim alive and stores progress and usage; gives the state, so that a worker learns of a wish
    /// to cancel. `NotFound` when the job is no longer the worker's.
    async fn job_heartbeat(
        &self,
        tenant: &TenantId,
        id: JobId,
        owner: &str,
        lease: i64,
        progress: Progress,
        usage: &[UsedVersion],
    ) -> Result<JobState, Error>;
    /// Changes a job's state; `Conflict` when the table of states forbids it.
    async fn job_change(
        &self,
        tenant: &TenantId,
        id: JobId,
        change: Change,
        now: i64,
    ) -> Result<JobRecord, Error>;
    /// Claimed jobs whose lease ended before `before`.
    async fn job_orphans(&self, before: i64) -> Result<Vec<JobRecord>, Error>;
    /// How many jobs of all tenants are in each state, for those states that have some.
    async fn job_counts(&self) -> Result<Vec<(JobState, u64)>, Error>;
    /// Jobs of a tenant that have not ended.
    async fn job_active(&self, tenant: &TenantId) -> Result<Vec<JobRecord>, Error>;
    /// Adds log lines behind those that are there.
    async fn log_append(
        &self,
        tenant: &TenantId,
        id: JobId,
        lines: &[LogLine],
    ) -> Result<(), Error>;
    /// Log lines from line `from` on (the first is 0) with their numbers; of one function if it is
    /// named.
    async fn log_read(
        &self,
        tenant: &TenantId,
        id: JobId,
        function: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(u64, LogLine)>, Error>;

    /// Adds a version of each function of a module, all at once. A function whose newest version is
    /// the same module keeps it. `Conflict` when a name belongs to another package; `Unsigned` and
    /// `Untrusted` when the tenant's rules do not let the module in.
    async fn function_publish(
        &self,
        tenant: &TenantId,
        module: &ModuleDescription,
        origin: &Origin,
        now: i64,
    ) -> Result<Vec<FunctionRecord>, Error>;
    /// The default version of each function, by name.
    async fn function_list(&self, tenant: &TenantId) -> Result<Vec<FunctionRecord>, Error>;
    /// Names of all functions.
    async fn function_names(&self, tenant: &TenantId) -> Result<Vec<String>, Error>;
    /// The versions that names stand for, all at one moment; `None` where there is none.
    async fn function_resolve(
        &self,
        tenant: &TenantId,
        wanted: &[(String, VersionRef)],
    ) -> Result<Vec<Option<(u32, Digest)>>, Error>;
    /// All versions of a function that are not deleted, newest first; at least one.
    async fn function_versions(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<FunctionRecord>, Error>;
    /// Deletes one version of a function, or all with their aliases; their numbers are never given
    /// again. Gives the modules that nothing names any more. `InUse` while a job that has not ended
    /// pins it, `Conflict` while an alias names it.
    async fn function_delete(
        &self,
        tenant: &TenantId,
        name: &str,
        version: Option<u32>,
        now: i64,
    ) -> Result<Vec<Digest>, Error>;
    /// How much each version was used, newest first.
    async fn function_usage(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<VersionUsage>, Error>;
    /// Jobs that use a function, newest first.
    async fn function_jobs(
        &self,
        tenant: &TenantId,
        name: &str,
        limit: u32,
        cursor: Option<JobId>,
    ) -> Result<Page<UsingJob>, Error>;
    /// Aliases of a function by name, with `default` and `latest`.
    async fn alias_list(&self, tenant: &TenantId, name: &str) -> Result<Vec<AliasRecord>, Error>;
    /// Lets an alias name a version.
    async fn alias_put(
        &self,
        tenant: &TenantId,
        name: &str,
        alias: &str,
        version: &VersionRef,
        by: Option<&str>,
        now: i64,
    ) -> Result<AliasRecord, Error>;
    /// Forgets an alias; without it `default` follows the newest version.
    async fn alias_delete(&self, tenant: &TenantId, name: &str, alias: &str) -> Result<(), Error>;

    /// Trusts a key. A key that was trusted before is trusted again.
    async fn key_put(&self, tenant: &TenantId, key: &KeyRecord) -> Result<(), Error>;
    /// All keys, newest first, also those that are trusted no longer.
    async fn key_list(&self, tenant: &TenantId) -> Result<Vec<KeyRecord>, Error>;
    /// Ends the trust in a key.
    async fn key_revoke(&self, tenant: &TenantId, id: &str, now: i64) -> Result<KeyRecord, Error>;
    /// Whether the tenant takes signed modules only.
    async fn require_signed(&self, tenant: &TenantId) -> Result<bool, Error>;
    /// Says whether the tenant takes signed modules only.
    async fn require_signed_put(&self, tenant: &TenantId, require: bool) -> Result<(), Error>;

    /// Places that the tenant's functions may call over HTTP.
    async fn http_policy(&self, tenant: &TenantId) -> Result<Vec<HttpRule>, Error>;
    /// Says which places these are, instead of those before.
    async fn http_policy_put(
        &self,
        tenant: &TenantId,
        rules: &[HttpRule],
        by: Option<&str>,
        now: i64,
    ) -> Result<(), Error>;

    /// What a module says of itself.
    async fn module_get(
        &self,
        tenant: &TenantId,
        digest: Digest,
    ) -> Result<ModuleDescription, Error>;

    /// Adds a table; `Conflict` when the name is taken and `replace` is false.
    async fn table_put(
        &self,
        tenant: &TenantId,
        table: &TableRecord,
        replace: bool,
    ) -> Result<(), Error>;
    /// One table.
    async fn table_get(&self, tenant: &TenantId, name: &str) -> Result<TableRecord, Error>;
    /// All tables by name.
    async fn table_list(&self, tenant: &TenantId) -> Result<Vec<TableRecord>, Error>;
    /// Forgets a table; its files stay.
    async fn table_delete(&self, tenant: &TenantId, name: &str) -> Result<(), Error>;

    /// Adds a token.
    async fn token_insert(&self, token: &TokenRecord) -> Result<(), Error>;
    /// The token with this public id, of any tenant.
    async fn token_find(&self, id: TokenId) -> Result<Option<TokenRecord>, Error>;
    /// Whether the database answers and can be written.
    async fn ready(&self) -> Result<(), Error>;
}
