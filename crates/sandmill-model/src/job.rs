use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::FunctionPin;

/// Where a job stands. Terminal states never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for a slot.
    Queued,
    /// Claimed by a worker; the statement is parsed and planned.
    Planning,
    /// Executes.
    Running,
    /// Result chunks are being sealed.
    Finalizing,
    /// Asked to stop; its guests are being interrupted.
    Canceling,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped on request.
    Canceled,
    /// Ran past its deadline.
    TimedOut,
}

/// A change of state that the table forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot become {to}")]
pub struct IllegalTransition {
    /// Present state.
    pub from: JobState,
    /// Wanted state.
    pub to: JobState,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Planning,
        Self::Running,
        Self::Finalizing,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::TimedOut,
    ];

    /// The states that may follow this one. A worker that died sends its job back to `Queued`.
    pub fn next(self) -> &'static [Self] {
        use JobState::{
            Canceled, Canceling, Failed, Finalizing, Planning, Queued, Running, Succeeded, TimedOut,
        };
        match self {
            Queued => &[Planning, Canceled, Failed, TimedOut],
            Planning => &[Running, Failed, TimedOut, Canceling, Queued],
            Running => &[Finalizing, Failed, TimedOut, Canceling, Queued],
            Finalizing => &[Succeeded, Failed, TimedOut, Canceling, Queued],
            Canceling => &[Canceled, Succeeded, Failed, TimedOut],
            Succeeded | Failed | Canceled | TimedOut => &[],
        }
    }

    /// Checks a change of state against the table.
    pub fn to(self, to: Self) -> Result<Self, IllegalTransition> {
        if self.next().contains(&to) {
            Ok(to)
        } else {
            Err(IllegalTransition { from: self, to })
        }
    }

    /// Whether the job has ended.
    pub fn is_terminal(self) -> bool {
        self.next().is_empty()
    }

    /// The name in JSON, in the store and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Finalizing => "finalizing",
            Self::Canceling => "canceling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no job state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job state")]
pub struct UnknownState(pub String);

impl FromStr for JobState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.into()))
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// One SQL query.
    #[default]
    Sql,
}

/// What happens when the result outgrows its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnResultLimit {
    /// The job fails with `limit.result_bytes`.
    #[default]
    Fail,
    /// The result ends at the limit and says so.
    Truncate,
}

/// A value for `$name` (or `$1`) in the statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name without the `$`; positions are `1`, `2`, …
    pub name: String,
    /// SQL type; by default what the JSON value suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
    /// The value; a text is converted to the type.
    pub value: serde_json::Value,
}

/// A job as it was submitted; never changes afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What to do.
    #[serde(default)]
    pub kind: JobKind,
    /// The statement.
    pub sql: String,
    /// Values for its parameters.
    #[serde(default)]
    pub params: Vec<Parameter>,
    /// Function versions, fixed at submission.
    #[serde(default)]
    pub functions: Vec<FunctionPin>,
    /// Wall-clock limit in milliseconds, counted from the claim.
    pub timeout_ms: u64,
    /// Limit of the result in bytes of Arrow data.
    pub result_bytes: u64,
    /// What happens at that limit.
    #[serde(default)]
    pub on_result_limit: OnResultLimit,
    /// How often a job is started at most when its worker dies.
    pub max_attempts: u32,
    /// Whether errors may show the values of the row that failed.
    #[serde(default)]
    pub show_values: bool,
    /// Labels for people and reports.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How far a running job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows read from tables so far.
    pub rows_read: u64,
    /// Rows of tables in total, where their files say.
    pub rows_total: Option<u64>,
    /// Rows of the result so far.
    pub rows_written: u64,
}

/// One column of a table or result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Name.
    pub name: String,
    /// SQL type.
    pub sql_type: String,
    /// Whether NULL can occur.
    pub nullable: bool,
}

/// One sealed piece of a result: a file in the Arrow IPC stream format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Rows in it.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// A sealed result. Chunk `n` lies in `chunk-{n:05}.arrows` of the job's result folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultManifest {
    /// Columns in order.
    pub columns: Vec<ColumnInfo>,
    /// Rows in all chunks.
    pub rows: u64,
    /// Bytes of all chunks.
    pub bytes: u64,
    /// Whether the result was cut at its limit.
    pub truncated: bool,
    /// The chunks in order; at least one, which carries the schema of an empty result.
    pub chunks: Vec<Chunk>,
}

/// How urgent a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the function's author.
    Debug,
    /// Normal.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// One line that a function logged, control characters removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Microseconds since 1970.
    pub at: i64,
    /// Urgency.
    pub level: LogLevel,
    /// Function that logged it.
    pub function: String,
    /// The text, at most 8 KiB.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_end_and_terminal_states_stay() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            let mut reached = vec![state];
            while let Some(more) = reached
                .iter()
                .flat_map(|s| s.next())
                .find(|s| !reached.contains(s))
                .copied()
            {
                reached.push(more);
            }
            assert!(
                reached.iter().any(|s| s.is_terminal()),
                "{state} never ends"
            );
        }
        assert!(JobState::Succeeded.to(JobState::Running).is_err());
    }
}
