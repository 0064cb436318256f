use sandmill_model::{
    Digest, Failure, FunctionInfo, JobId, JobSpec, JobState, Progress, Provenance, ResultManifest,
    TableDescription, TenantId, TokenId, UsedVersion,
};
use serde::{Deserialize, Serialize};

/// A job with everything known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Owner.
    pub tenant: TenantId,
    /// Id.
    pub id: JobId,
    /// As it was submitted.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// Why it stands there, when that is worth saying.
    pub reason: Option<String>,
    /// How often it was started.
    pub attempt: u32,
    /// Grows with every change of state.
    pub revision: u64,
    /// When it was submitted.
    pub created_at: i64,
    /// When it was last claimed.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Its result.
    pub result: Option<ResultManifest>,
    /// How far it is.
    pub progress: Progress,
    /// What functions used in the last attempt, as far as it was reported.
    pub usage: Vec<UsedVersion>,
    /// The job that it runs again.
    pub retry_of: Option<JobId>,
}

impl JobRecord {
    /// A job that was just submitted.
    pub fn queued(tenant: TenantId, spec: JobSpec, now: i64) -> Self {
        Self {
            tenant,
            id: JobId::generate(),
            spec,
            state: JobState::Queued,
            reason: None,
            attempt: 0,
            revision: 1,
            created_at: now,
            started_at: None,
            finished_at: None,
            error: None,
            result: None,
            progress: Progress::default(),
            usage: Vec::new(),
            retry_of: None,
        }
    }
}

/// A change of a job's state with what belongs to it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The new state.
    pub state: JobState,
    /// Why; without it the last reason stays, so that a job that was begun again says so to its end.
    pub reason: Option<String>,
    /// For failed jobs.
    pub error: Option<Failure>,
    /// For succeeded jobs.
    pub result: Option<ResultManifest>,
    /// The last progress.
    pub progress: Option<Progress>,
    /// What functions used in this attempt.
    pub usage: Option<Vec<UsedVersion>>,
    /// The worker that asks: the change happens only while the job is its own.
    pub owner: Option<String>,
    /// The attempt that ends does not count: the server was shut down in order.
    pub not_an_attempt: bool,
}

impl Change {
    /// A change to a state with nothing else.
    pub fn to(state: JobState) -> Self {
        Self {
            state,
            reason: None,
            error: None,
            result: None,
            progress: None,
            usage: None,
            owner: None,
            not_an_attempt: false,
        }
    }
}

/// Which jobs a list shows.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only this state.
    pub state: Option<JobState>,
    /// Only jobs whose statement contains this text.
    pub text: Option<String>,
    /// Only jobs with this label.
    pub label: Option<(String, String)>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts, if there is one.
    pub next: Option<String>,
}

/// One version of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionRecord {
    /// Version, from 1.
    pub version: u32,
    /// Module.
    pub digest: Digest,
    /// Package that it belongs to.
    pub package: String,
    /// Signature and documentation.
    pub info: FunctionInfo,
    /// When it was published.
    pub created_at: i64,
    /// Aliases that name it now, `default` and `latest` among them.
    pub aliases: Vec<String>,
    /// Where it came from.
    pub provenance: Provenance,
}

/// What comes with a module when it is uploaded.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Name of the token.
    pub by: Option<String>,
    /// The signature, checked already, and the id of its key.
    pub signature: Option<(String, String)>,
}

/// An alias of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRecord {
    /// Its name.
    pub alias: String,
    /// The version that it names.
    pub version: u32,
    /// When it was set; `None` where it follows the newest version by itself.
    pub changed_at: Option<i64>,
    /// Name of the token that set it.
    pub changed_by: Option<String>,
}

/// How much one version of a function was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionUsage {
    /// The version, perhaps deleted by now.
    pub version: u32,
    /// Jobs whose statement names it.
    pub jobs: u64,
    /// Those that have not ended.
    pub active: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// When the last of them was submitted.
    pub last_used_at: i64,
}

/// A job that uses a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsingJob {
    /// The job.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The version that it uses.
    pub version: u32,
    /// When it was submitted.
    pub created_at: i64,
}

/// A key that may sign modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Id, from the key itself.
    pub id: String,
    /// For people.
    pub name: String,
    /// The 32 bytes of the public key.
    pub public_key: Vec<u8>,
    /// When it was trusted.
    pub created_at: i64,
    /// Name of the token that trusted it.
    pub created_by: Option<String>,
    /// When trust ended.
    pub revoked_at: Option<i64>,
}

/// A registered table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRecord {
    /// Where it lies and its columns when it was registered.
    pub description: TableDescription,
    /// When it was registered.
    pub created_at: i64,
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything of the tenant.
    Viewer,
    /// Also run jobs, publish functions and register tables.
    Engineer,
}

impl Role {
    /// The name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Engineer => "engineer",
        }
    }
}

/// A token: never the secret itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecord {
    /// Owner.
    pub tenant: TenantId,
    /// Public part.
    pub id: TokenId,
    /// For people.
    pub name: String,
    /// What it permits.
    pub role: Role,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it was issued.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: Option<i64>,
}
