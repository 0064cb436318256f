//! The engine: plans and runs one SQL query over registered tables, with user functions.
//!
//! Invariants:
//! - A statement reads registered tables below the allowed roots and nothing else; it never writes.
//! - Every query has a session of its own; queries share memory pool, spill folder and file caches.
//! - A statement that is too deep for the stack is refused before it is parsed or optimised.
//! - Errors leave as [`sandmill_model::Failure`]: typed, with a position where one is known.
#![deny(missing_docs)]

mod calls;
mod failure;
mod limits;
mod params;
mod pauses;
mod plan;
mod progress;
mod session;
mod tables;

pub use failure::failure;
pub use plan::Plan;
pub use session::{Engine, Query, Settings};
pub use tables::columns;
