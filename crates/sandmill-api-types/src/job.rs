use std::collections::BTreeMap;

use sandmill_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Pins, Problem, moment};

/// A job to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"sql": "SELECT origin, count(*) FROM flights GROUP BY origin", "timeout": "60s"}))]
pub struct NewJob {
    /// One SQL query.
    pub sql: String,
    /// Values for `$name` or `$1` in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Versions or aliases of functions, by name, for calls that name none: `{"f": 3, "g": "stable"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: Pins,
    /// Wall-clock limit: a number with `ms`, `s`, `m` or `h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "60s", pattern = "^[0-9]{1,9}(ms|s|m|h)$")]
    pub timeout: Option<String>,
    /// Other limits.
    #[serde(default)]
    pub limits: Limits,
    /// What happens when the result outgrows its limit.
    #[serde(default)]
    pub on_result_limit: OnResultLimit,
    /// Labels for people and reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether an error of a function may show the arguments of the row that failed. They are stored
    /// with the job and seen by everybody who may see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_values: bool,
}

/// Limits of a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
}

/// A value for a parameter.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Name without the `$`.
    pub name: String,
    /// SQL type; by default what the value suggests.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
    /// A text, number, boolean or null.
    #[schema(value_type = Value)]
    pub value: serde_json::Value,
}

/// What happens when a result outgrows its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnResultLimit {
    /// The job fails.
    #[default]
    Fail,
    /// The result is cut and says so.
    Truncate,
}

/// Where a job stands. `succeeded`, `failed`, `canceled` and `timed_out` never change again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of the states")]
pub enum JobState {
    Queued,
    Planning,
    Running,
    Finalizing,
    Canceling,
    Succeeded,
    Failed,
    Canceled,
    TimedOut,
}

impl JobState {
    /// Whether the job has ended.
    pub fn is_terminal(self) -> bool {
        model::JobState::from(self).is_terminal()
    }

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        model::JobState::from(self).as_str()
    }
}

macro_rules! same_states {
    ($($state:ident)*) => {
        impl From<model::JobState> for JobState {
            fn from(state: model::JobState) -> Self {
                match state { $(model::JobState::$state => Self::$state,)* }
            }
        }
        impl From<JobState> for model::JobState {
            fn from(state: JobState) -> Self {
                match state { $(JobState::$state => Self::$state,)* }
            }
        }
    };
}

same_states!(Queued Planning Running Finalizing Canceling Succeeded Failed Canceled TimedOut);

/// Whether a job has a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultsState {
    /// Not yet, or never.
    None,
    /// It can be read.
    Ready,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Rows read from tables.
    pub rows_read: u64,
    /// Rows of the tables, where their files say.
    pub rows_total: Option<u64>,
    /// Rows of the result.
    pub rows_written: u64,
}

/// The version of a function that a job uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pin {
    /// Name.
    pub name: String,
    /// The version or alias that the statement asks for, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Version.
    pub version: u32,
    /// SHA-256 of its module.
    pub digest: String,
}

/// What one version of a function used in a job. Times are nanoseconds, summed over partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedFunction {
    /// Name.
    pub name: String,
    /// Version.
    pub version: u32,
    /// SHA-256 of its module.
    pub digest: String,
    /// Instances that were made for it.
    pub instances: u64,
    /// Calls.
    pub calls: u64,
    /// Rows computed.
    pub rows: u64,
    /// Time of making instances.
    pub instantiate_nanos: u64,
    /// Time of copying arguments in.
    pub copy_nanos: u64,
    /// Time in the function.
    pub call_nanos: u64,
    /// CPU time in the function; for calls of less than 256 rows their time.
    pub cpu_nanos: u64,
    /// Time of checking results and copying them out.
    pub validate_nanos: u64,
    /// Largest memory of one instance in bytes.
    pub memory_bytes: u64,
    /// Calls that trapped or were stopped.
    pub traps: u64,
    /// Calls that reported an error or gave data that is not valid.
    pub errors: u64,
}

impl From<model::UsedVersion> for UsedFunction {
    fn from(used: model::UsedVersion) -> Self {
        let usage = used.usage;
        Self {
            name: used.name,
            version: used.version,
            digest: used.digest.to_string(),
            instances: usage.instances,
            calls: usage.calls,
            rows: usage.rows,
            instantiate_nanos: usage.instantiate_nanos,
            copy_nanos: usage.copy_nanos,
            call_nanos: usage.call_nanos,
            cpu_nanos: usage.cpu_nanos,
            validate_nanos: usage.validate_nanos,
            memory_bytes: usage.memory_bytes,
            traps: usage.traps,
            errors: usage.errors,
        }
    }
}

/// What the functions of a job used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobFunctions {
    /// The functions that were called, by name.
    pub items: Vec<UsedFunction>,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Id.
    #[schema(example = "job_0190f5b2c7d17a3e8c1d2e3f4a5b6c7d")]
    pub id: String,
    /// The statement.
    pub sql: String,
    /// Where it stands.
    pub state: JobState,
    /// Why it stands there, when that is worth saying.
    pub state_reason: Option<String>,
    /// Whether it has a result.
    pub results: ResultsState,
    /// Rows of the result.
    pub rows: Option<u64>,
    /// Bytes of the result.
    pub bytes: Option<u64>,
    /// Why it failed.
    pub error: Option<Problem>,
    /// How far it is.
    pub progress: Progress,
    /// How often it was started.
    pub attempt: u32,
    /// How often it is started at most when its worker dies.
    pub max_attempts: u32,
    /// Grows with every change; the `ETag` of the job.
    pub revision: u64,
    /// When it was submitted.
    pub created_at: String,
    /// When it was last started.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Milliseconds that it may run.
    pub timeout_ms: u64,
    /// Functions that its statement may use, fixed when it was submitted.
    pub functions: Vec<Pin>,
    /// What they used in the last attempt, so far or in all. Those that were not called are not here.
    #[serde(default)]
    pub usage: Vec<UsedFunction>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The job that it runs again.
    pub retry_of: Option<String>,
}

impl Job {
    /// Puts a job together from the parts that the store keeps. Times are microseconds since 1970.
    #[allow(
        clippy::too_many_arguments,
        reason = "the store's record cannot be named here"
    )]
    pub fn new(
        id: model::JobId,
        spec: model::JobSpec,
        state: model::JobState,
        reason: Option<String>,
        (attempt, revision): (u32, u64),
        (created, started, finished): (i64, Option<i64>, Option<i64>),
        error: Option<model::Failure>,
        result: Option<&model::ResultManifest>,
        progress: model::Progress,
        usage: Vec<model::UsedVersion>,
        retry_of: Option<model::JobId>,
    ) -> Self {
        let pins = spec.functions.into_iter().map(|pin| Pin {
            name: pin.function().to_owned(),
            asked: pin.asked().map(str::to_owned),
            version: pin.version,
            digest: pin.digest.to_string(),
        });
        Self {
            id: id.to_string(),
            sql: spec.sql,
            state: state.into(),
            state_reason: reason,
            results: if result.is_some() {
                ResultsState::Ready
            } else {
                ResultsState::None
            },
            rows: result.map(|r| r.rows),
            bytes: result.map(|r| r.bytes),
            error: error.map(Into::into),
            progress: Progress {
                rows_read: progress.rows_read,
                rows_total: progress.rows_total,
                rows_written: progress.rows_written,
            },
            attempt,
            max_attempts: spec.max_attempts,
            revision,
            created_at: moment(created),
            started_at: started.map(moment),
            finished_at: finished.map(moment),
            timeout_ms: spec.timeout_ms,
            functions: pins.collect(),
            usage: usage.into_iter().map(Into::into).collect(),
            labels: spec.labels,
            retry_of: retry_of.map(|id| id.to_string()),
        }
    }
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// The jobs.
    pub items: Vec<Job>,
    /// `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// How a job would run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobPlan {
    /// Columns of the result.
    pub columns: Vec<Column>,
    /// The physical plan, one node a line.
    pub plan: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// Name.
    pub name: String,
    /// SQL type.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// Whether NULL can occur.
    pub nullable: bool,
}

impl From<model::ColumnInfo> for Column {
    fn from(column: model::ColumnInfo) -> Self {
        Self {
            name: column.name,
            sql_type: column.sql_type,
            nullable: column.nullable,
        }
    }
}

/// A sealed result.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ResultManifest {
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows in all chunks.
    pub rows: u64,
    /// Bytes of all chunks.
    pub bytes: u64,
    /// Whether it was cut at its limit.
    pub truncated: bool,
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
}

/// One piece of a result, an Arrow IPC stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// Where it can be read.
    pub url: String,
}

impl ResultManifest {
    /// The manifest of a job's result.
    pub fn new(id: model::JobId, result: model::ResultManifest) -> Self {
        let chunk = |(n, chunk): (usize, model::Chunk)| Chunk {
            rows: chunk.rows,
            bytes: chunk.bytes,
            sha256: chunk.sha256,
            url: format!("/api/v1/jobs/{id}/results/chunks/{n}"),
        };
        Self {
            columns: result.columns.into_iter().map(Into::into).collect(),
            rows: result.rows,
            bytes: result.bytes,
            truncated: result.truncated,
            chunks: result.chunks.into_iter().enumerate().map(chunk).collect(),
        }
    }
}

/// A page of rows. Integers above 2^53 and decimals are texts, binary values hexadecimal texts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rows {
    /// Columns.
    pub columns: Vec<Column>,
    /// One list of values for each row.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Rows before this page.
    pub offset: u64,
    /// Rows in all.
    pub total: u64,
    /// Whether the result was cut at its limit.
    pub truncated: bool,
    /// `offset` of the next page, if there is one.
    pub next: Option<u64>,
}

/// A line that a function logged.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    pub at: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// Function.
    pub function: String,
    /// What it said.
    pub message: String,
}

impl From<model::LogLine> for LogLine {
    fn from(line: model::LogLine) -> Self {
        let level = match line.level {
            model::LogLevel::Debug => "debug",
            model::LogLevel::Info => "info",
            model::LogLevel::Warn => "warn",
            model::LogLevel::Error => "error",
        };
        Self {
            at: moment(line.at),
            level: level.into(),
            function: line.function,
            message: line.message,
        }
    }
}

/// A page of a job's log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The lines in order.
    pub lines: Vec<LogLine>,
    /// `from` of the next page.
    pub next: u64,
}
