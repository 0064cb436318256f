//! Everything put together: the server and the command line.
//!
//! Invariant: no logic that another layer could have; here things are only connected and shown.
#![deny(missing_docs)]

pub mod cli;
mod metrics;
mod outbound;
mod runners;
mod server;

pub use outbound::Network;
pub use server::{Error, Server, Settings};
