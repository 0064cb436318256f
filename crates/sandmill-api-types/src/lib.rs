//! Bodies of the HTTP API, for the server and for clients written in Rust.
//!
//! Invariant: what is here is what stands in `docs/openapi.json`; nothing is added on the way.
#![deny(missing_docs)]

mod catalog;
#[cfg(feature = "client")]
mod client;
mod job;
mod policy;
mod problem;
mod signing;
mod version;

pub use catalog::{
    Argument, Function, FunctionList, FunctionUpload, Me, NewTable, Table, TableFormat, TableList,
    VersionList,
};
#[cfg(feature = "client")]
pub use client::{Client, Error as ClientError, Format};
pub use job::{
    Chunk, Column, Job, JobFunctions, JobList, JobPlan, JobState, Limits, LogLine, LogPage, NewJob,
    OnResultLimit, Param, Pin, Progress, ResultManifest, ResultsState, Rows, UsedFunction,
};
pub use policy::{HttpGrant, HttpPolicy};
pub use problem::{FunctionPlace, Limit, Position, Problem, ShownValue};
pub use signing::{NewSigningKey, SigningKey, SigningKeyList, SigningPolicy};
pub use version::{
    Alias, AliasList, FunctionUsage, NewAlias, NewTrial, Pins, Provenance, Signature, Trial,
    UsingJob, VersionRef, VersionUsage,
};

/// A moment in ISO 8601, UTC, from microseconds since 1970.
fn moment(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
