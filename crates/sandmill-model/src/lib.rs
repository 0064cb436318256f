//! Plain data that every layer of Sandmill shares: ids, job states and their table of legal
//! transitions, error codes, limits.
//!
//! Invariant: no I/O, no clock, no heavy dependency. A type belongs here only when two crates
//! that may not import each other both need it.

mod failure;
mod function;
mod ids;
mod job;
mod names;
mod policy;
mod table;
mod usage;
mod version;

pub use failure::{Category, ErrorCode, Failure, FunctionSite, LimitHit, Position, ShownValue};
pub use function::{ArgumentInfo, FunctionInfo, FunctionPin, ModuleDescription, Volatility};
pub use ids::{Digest, IdError, JobId, TenantId, TokenId};
pub use job::{
    Chunk, ColumnInfo, IllegalTransition, JobKind, JobSpec, JobState, LogLevel, LogLine,
    OnResultLimit, Parameter, Progress, ResultManifest,
};
pub use names::{distance, is_near};
pub use policy::HttpRule;
pub use table::{TableDescription, TableFormat, TableSpec};
pub use usage::{FunctionUsage, UsedVersion};
pub use version::{DEFAULT, LATEST, NoVersion, Provenance, SignatureInfo, VersionRef};
