//! Jobs: their lifecycle, the queue and its workers, functions and tables of a tenant.
//!
//! A [`Service`] keeps state in the store and leaves the work itself to a [`Runner`].
//!
//! Invariants:
//! - Every job ends: by its result, its error, its deadline, a cancellation, or its last attempt.
//! - A result is visible only when it is complete: one rename, then one transaction.
//! - What a job runs is fixed when it is submitted; publishing a function changes no queued job, and
//!   what a job that has not ended uses cannot be deleted.
#![deny(missing_docs)]

mod catalog;
mod error;
mod identifiers;
mod keys;
mod pins;
mod policies;
mod results;
mod runner;
mod service;
mod suggestions;
mod totals;
mod trial;
mod versions;
mod worker;

pub use error::translate;
pub use runner::{Run, RunHandle, Runner, Validation};
pub use service::{NewJob, Service, Settings};
pub use totals::{Numbers, Series};
pub use trial::{Trial, TrialResult};
pub use versions::Upload;
