use sandmill_model::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error (RFC 9457, `application/problem+json`); also the `error` of a failed job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where the error is explained: `/docs/errors/<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means; the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable code for programs.
    pub code: String,
    /// Who can act on it: `user`, `quota`, `resource`, `external` or `internal`.
    pub category: String,
    /// SQLSTATE, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sqlstate: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Which function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionPlace>,
    /// Which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Id of the request, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A place in the statement, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// A place in a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionPlace {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Row, counted from 0 over the rows that one partition gave this function, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// File of the function's source, where the module carries debug information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The function's own call stack, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
    /// Arguments of the row, for jobs with `show_values`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ShownValue>,
}

/// An argument of a row that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownValue {
    /// Name of the argument.
    pub name: String,
    /// Its value as text, cut after 200 bytes, control characters removed.
    pub value: String,
}

/// A limit that was hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// Name.
    pub name: String,
    /// Its value.
    pub value: u64,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<u64>,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let code = failure.code;
        let category = serde_json::to_value(code.category()).ok();
        Self {
            kind: format!("/docs/errors/{code}"),
            title: code.title().into(),
            status: code.http_status(),
            detail: failure.message,
            code: code.as_str().into(),
            category: category
                .and_then(|c| c.as_str().map(Into::into))
                .unwrap_or_default(),
            sqlstate: code.sqlstate().into(),
            retryable: code.retryable(),
            hint: failure.hint,
            position: failure.position.map(|p| Position {
                line: p.line,
                column: p.column,
            }),
            function: failure.function.map(|f| {
                let values = f.values.into_iter().map(|v| ShownValue {
                    name: v.name,
                    value: v.value,
                });
                FunctionPlace {
                    name: f.name,
                    version: f.version,
                    row: f.row,
                    file: f.file,
                    line: f.line,
                    frames: f.frames,
                    values: values.collect(),
                }
            }),
            limit: failure.limit.map(|l| Limit {
                name: l.name,
                value: l.value,
                observed: l.observed,
            }),
            request_id: None,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let code = ErrorCode::ALL
            .iter()
            .find(|code| code.as_str() == problem.code);
        let mut failure = Self::new(code.copied().unwrap_or(ErrorCode::Internal), problem.detail);
        failure.hint = problem.hint;
        failure.position = problem.position.map(|p| sandmill_model::Position {
            line: p.line,
            column: p.column,
        });
        failure.function = problem.function.map(|f| {
            let values = f.values.into_iter().map(|v| sandmill_model::ShownValue {
                name: v.name,
                value: v.value,
            });
            sandmill_model::FunctionSite {
                name: f.name,
                version: f.version,
                row: f.row,
                file: f.file,
                line: f.line,
                frames: f.frames,
                values: values.collect(),
            }
        });
        failure.limit = problem.limit.map(|l| sandmill_model::LimitHit {
            name: l.name,
            value: l.value,
            observed: l.observed,
        });
        failure
    }
}
