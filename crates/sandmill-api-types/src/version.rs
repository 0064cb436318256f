use std::collections::BTreeMap;

use sandmill_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{Column, JobState, LogLine};
use crate::moment;

/// A version of a function: its number, or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VersionRef {
    /// The number, from 1.
    Number(u32),
    /// An alias, or the number as a text.
    Alias(String),
}

impl Default for VersionRef {
    fn default() -> Self {
        model::VersionRef::default().into()
    }
}

impl From<u32> for VersionRef {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for VersionRef {
    fn from(text: &str) -> Self {
        Self::Alias(text.into())
    }
}

impl From<model::VersionRef> for VersionRef {
    fn from(version: model::VersionRef) -> Self {
        match version {
            model::VersionRef::Number(number) => Self::Number(number),
            model::VersionRef::Alias(alias) => Self::Alias(alias),
        }
    }
}

impl TryFrom<VersionRef> for model::VersionRef {
    type Error = model::NoVersion;
    fn try_from(version: VersionRef) -> Result<Self, model::NoVersion> {
        match version {
            VersionRef::Number(0) => Err(model::NoVersion("0".into())),
            VersionRef::Number(number) => Ok(Self::Number(number)),
            VersionRef::Alias(text) => text.parse(),
        }
    }
}

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provenance {
    /// Version of the package, as its author wrote it.
    pub package_version: String,
    /// Source language.
    pub language: String,
    /// What it was built from, as its author says; empty if they do not.
    pub build: String,
    /// SDK name and version.
    pub sdk: String,
    /// `major.minor` of the function ABI.
    pub abi: String,
    /// Bytes of the module.
    pub size: u64,
    /// Imports, as `module.name`.
    pub imports: Vec<String>,
    /// Name of the token that published it.
    pub published_by: Option<String>,
    /// Its signature, checked when it was uploaded.
    pub signature: Option<Signature>,
}

/// A signature that was checked at upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signature {
    /// Id of the key.
    #[schema(example = "key_0123456789abcdef")]
    pub key: String,
    /// Name of the key.
    pub key_name: String,
    /// Whether the key is still trusted.
    pub trusted: bool,
    /// The signature: the key's id, a colon, base64.
    pub signature: String,
}

impl From<model::Provenance> for Provenance {
    fn from(from: model::Provenance) -> Self {
        Self {
            package_version: from.package_version,
            language: from.language,
            build: from.build,
            sdk: from.sdk,
            abi: from.abi,
            size: from.size,
            imports: from.imports,
            published_by: from.published_by,
            signature: from.signature.map(|s| Signature {
                key: s.key,
                key_name: s.key_name,
                trusted: s.trusted,
                signature: s.signature,
            }),
        }
    }
}

/// An alias of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alias {
    /// Its name; `default` is what a call without a version means, `latest` the newest version.
    pub alias: String,
    /// The version that it names.
    pub version: u32,
    /// When it was set; absent where it follows the newest version by itself.
    pub changed_at: Option<String>,
    /// Name of the token that set it.
    pub changed_by: Option<String>,
}

impl Alias {
    /// `changed` is microseconds since 1970.
    pub fn new(alias: String, version: u32, changed: Option<i64>, by: Option<String>) -> Self {
        Self {
            alias,
            version,
            changed_at: changed.map(moment),
            changed_by: by,
        }
    }
}

/// All aliases of a function.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AliasList {
    /// The aliases by name.
    pub items: Vec<Alias>,
}

/// What an alias shall name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"version": 2}))]
pub struct NewAlias {
    /// The version, or an alias whose present version is taken.
    pub version: VersionRef,
}

/// How much one version of a function was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    pub last_used_at: String,
}

impl VersionUsage {
    /// `last_used` is microseconds since 1970.
    pub fn new(version: u32, (jobs, active, succeeded): (u64, u64, u64), last_used: i64) -> Self {
        Self {
            version,
            jobs,
            active,
            succeeded,
            last_used_at: moment(last_used),
        }
    }
}

/// A job that uses a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsingJob {
    /// The job.
    pub id: String,
    /// Where it stands.
    pub state: JobState,
    /// The version that it uses.
    pub version: u32,
    /// When it was submitted.
    pub created_at: String,
}

impl UsingJob {
    /// `created` is microseconds since 1970.
    pub fn new(id: model::JobId, state: model::JobState, version: u32, created: i64) -> Self {
        Self {
            id: id.to_string(),
            state: state.into(),
            version,
            created_at: moment(created),
        }
    }
}

/// Which jobs used a function.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FunctionUsage {
    /// Counts for each version that was used, newest first.
    pub versions: Vec<VersionUsage>,
    /// A page of the jobs, newest first.
    pub jobs: Vec<UsingJob>,
    /// `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// Rows to try a function on.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"rows": [[52.5, 13.4, 48.9, 2.4]]}))]
pub struct NewTrial {
    /// The version; by default the one that a call without a version means.
    #[serde(default)]
    pub version: VersionRef,
    /// 1 to 1000 rows: lists with a value for each argument, or objects by the arguments' names.
    /// Large integers, decimals and times are texts.
    #[schema(value_type = Vec<Value>)]
    pub rows: Vec<serde_json::Value>,
}

/// What a function made of the rows.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Trial {
    /// The version that was tried.
    pub version: u32,
    /// The column of the result.
    pub columns: Vec<Column>,
    /// The results in the order of the rows; one for all of them if the function aggregates.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub rows: Vec<Vec<serde_json::Value>>,
    /// What the function logged.
    pub logs: Vec<LogLine>,
}

/// Versions for functions, by name.
pub type Pins = BTreeMap<String, VersionRef>;
