//! The HTTP API: routes, authentication, bodies and formats. What jobs do is `sandmill_jobs`'s.
//!
//! Invariants:
//! - Every error is problem+json with a stable code; none shows the inside of the machine.
//! - The tenant comes from the token, never from the request.
//! - A body is sent only from sealed, checked chunks: a 200 does not turn into a failure.
#![deny(missing_docs)]

mod catalog;
mod documents;
mod encode;
mod extract;
mod jobs;
mod policies;
mod problem;
mod results;
mod router;
mod signing;
mod state;
pub mod tokens;
mod versions;

pub use router::{openapi, router};
pub use state::{Settings, State};
