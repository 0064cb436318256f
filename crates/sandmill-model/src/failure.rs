use std::fmt;

use serde::{Deserialize, Serialize};

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// The caller: change the request.
    User,
    /// A limit of the tenant.
    Quota,
    /// The machine is short of something.
    Resource,
    /// Something outside Sandmill.
    External,
    /// Sandmill itself.
    Internal,
}

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $category:ident $sqlstate:literal $retry:literal $title:literal;)*) => {
        /// A stable error code. `docs/errors/<code>.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $(#[doc = $title] $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// HTTP status when a request (not a job) ends with it.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Who can act on it.
            pub fn category(self) -> Category {
                match self { $(Self::$variant => Category::$category,)* }
            }

            /// SQLSTATE, or an empty text.
            pub fn sqlstate(self) -> &'static str {
                match self { $(Self::$variant => $sqlstate,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// A short title that is the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    SqlSyntax            "sql.syntax"                400 User "42601" false "The statement cannot be parsed";
    SqlUnknownTable      "sql.unknown_table"         400 User "42P01" false "A table does not exist";
    SqlUnknownColumn     "sql.unknown_column"        400 User "42703" false "A column does not exist";
    SqlUnknownFunction   "sql.unknown_function"      400 User "42883" false "A function does not exist";
    SqlType              "sql.type"                  400 User "42804" false "Types do not fit";
    SqlForbidden         "sql.forbidden"             400 User "42501" false "The statement is not allowed";
    SqlUnsupported       "sql.unsupported"           400 User "0A000" false "The statement is not supported";
    SqlInvalid           "sql.invalid"               400 User "42000" false "The statement is not valid";
    SqlExecution         "sql.execution"             400 User "22000" false "A value could not be computed";
    ParamInvalid         "param.invalid"             400 User "" false "A parameter is not valid";
    RequestInvalid       "request.invalid"           400 User "" false "The request is not valid";
    RequestMethod        "request.method"            405 User "" false "The method is not allowed here";
    RequestNotAcceptable "request.not_acceptable"    406 User "" false "No offered format is acceptable";
    RequestMediaType     "request.media_type"        415 User "" false "The content type is not supported";
    AuthMissing          "auth.missing"              401 User "" false "A token is needed";
    AuthInvalid          "auth.invalid"              401 User "" false "The token is not valid";
    AuthExpired          "auth.expired"              401 User "" false "The token has expired";
    AuthForbidden        "auth.forbidden"            403 User "" false "The token does not permit this";
    NotFound             "not_found"                 404 User "" false "There is no such thing";
    StateConflict        "state.conflict"            409 User "" false "The present state does not permit this";
    ResultsNotReady      "results.not_ready"         409 User "" true "The result is not ready";
    ResultsExpired       "results.expired"           410 User "" false "The result has expired";
    ResultsCorrupt       "results.corrupt"           500 Internal "" false "The stored result is damaged";
    UploadTooLarge       "upload.too_large"          413 User "" false "The body is too large";
    RateLimited          "rate.limited"              429 Quota "" true "Too many requests";
    QueueFull            "queue.full"                429 Quota "" true "The queue is full";
    FunctionInvalid      "function.invalid"          422 User "" false "The module is not valid";
    FunctionManifest     "function.manifest"         422 User "" false "The module's manifest is missing or not valid";
    FunctionAbi          "function.abi"              422 User "" false "The module speaks another version of the ABI";
    FunctionType         "function.type"             422 User "" false "The manifest names an unknown type";
    FunctionImport       "function.import"           422 User "" false "The module imports what is not on offer";
    FunctionTooComplex   "function.too_complex"      422 User "" false "The module takes too much to compile";
    FunctionSignature    "function.signature"        422 User "" false "The module's signature is not valid";
    FunctionUntrustedKey "function.untrusted_key"    422 User "" false "The key that signed the module is not trusted";
    FunctionUnsigned     "function.unsigned"         422 User "" false "The module must be signed";
    FunctionArguments    "function.arguments"        400 User "42883" false "A function was called with wrong arguments";
    FunctionError        "function.error"            400 User "38000" false "A function reported an error";
    FunctionTrap         "function.trap"             400 User "38000" false "A function trapped";
    FunctionTimeout      "function.timeout"          400 User "57014" false "A function ran past its deadline";
    FunctionMemory       "function.memory_exceeded"  400 User "53200" false "A function used more memory than it may";
    FunctionCapability   "function.capability"       400 User "42501" false "A function did what it has no right to";
    FunctionOutput       "function.output"           400 User "38000" false "A function returned data that is not valid";
    TablePath            "table.path"                422 User "" false "The path is not below an allowed folder";
    TableMissing         "table.missing"             422 User "" false "The file does not exist";
    TableFormat          "table.format"              422 User "" false "The file cannot be read in this format";
    LimitResultBytes     "limit.result_bytes"        400 Quota "53400" false "The result is larger than it may be";
    ResourceMemory       "resource.memory"           503 Resource "53200" true "Memory ran out";
    JobTimeout           "job.timeout"               400 User "57014" false "The job ran past its deadline";
    JobCanceled          "job.canceled"              400 User "57014" false "The job was canceled";
    ExecutorLost         "executor.lost"             503 Internal "57P01" true "The worker that ran the job was lost";
    Unavailable          "service.unavailable"       503 Resource "" true "The service cannot answer at present";
    StorageFailed        "storage.failed"            500 External "58030" true "Reading or writing storage failed";
    Internal             "internal"                  500 Internal "XX000" false "Something went wrong inside Sandmill";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // A code of a newer version reads as `internal` rather than making a job unreadable.
        let text = String::deserialize(d)?;
        Ok(Self::ALL
            .iter()
            .copied()
            .find(|c| c.as_str() == text)
            .unwrap_or(Self::Internal))
    }
}

/// A place in the statement, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// Where in which function an error arose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSite {
    /// Name in SQL.
    pub name: String,
    /// Version: the tenant's number, or the module's short digest before it has one.
    pub version: String,
    /// Row, counted from 0 over the rows that one partition gave this function, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// File of the function's source, as its compiler knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Guest frames, innermost first; never host frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<String>,
    /// Arguments of the row, for jobs that asked to see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ShownValue>,
}

/// An argument of a row that failed, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownValue {
    /// Name of the argument.
    pub name: String,
    /// Its value, cut to a few hundred bytes, control characters removed.
    pub value: String,
}

/// The limit that was hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitHit {
    /// Name of the limit.
    pub name: String,
    /// Its value.
    pub value: u64,
    /// What was seen, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<u64>,
}

/// An error as users see it: in problem+json, in a failed job and on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable code.
    pub code: ErrorCode,
    /// What happened, in a sentence, with the values that matter.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where in the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Which function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionSite>,
    /// Which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitHit>,
}

impl Failure {
    /// A failure with a message only.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            position: None,
            function: None,
            limit: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in the statement.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds the function.
    #[must_use]
    pub fn function(mut self, site: FunctionSite) -> Self {
        self.function = Some(site);
        self
    }

    /// Adds the limit.
    #[must_use]
    pub fn limit(mut self, name: impl Into<String>, value: u64, observed: Option<u64>) -> Self {
        self.limit = Some(LimitHit {
            name: name.into(),
            value,
            observed,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_survive_json() {
        for (n, code) in ErrorCode::ALL.iter().enumerate() {
            assert!(
                !ErrorCode::ALL[..n]
                    .iter()
                    .any(|c| c.as_str() == code.as_str()),
                "{code}"
            );
            let failure = Failure::new(*code, "m").hint("h").limit("l", 1, None);
            let json = serde_json::to_string(&failure).expect("serialises");
            assert_eq!(
                serde_json::from_str::<Failure>(&json).expect("reads back"),
                failure
            );
        }
    }
}
