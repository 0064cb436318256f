//! Runs user functions: WebAssembly modules that compute Arrow columns, without any authority.
//!
//! A [`Sandbox`] turns bytes into a [`Module`] (inspected, compiled in a limited process, cached),
//! a module into [`Instance`]s (one for each partition of a job), and an instance computes columns.
//!
//! Invariants:
//! - Nothing that a guest says is believed: every returned array is checked before arrow sees it.
//! - A guest that does not come back is stopped by its deadline or by the job's [`Cancellation`].
//! - After a trap an instance is never called again.
//! - Machine code is loaded only if this installation compiled and authenticated it.
//! - No pointer into guest memory outlives a call into the guest.
#![deny(missing_docs)]

mod artifacts;
mod compile;
mod context;
mod error;
mod function;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod http;
mod inspect;
mod instance;
mod machine;
mod manifest;
mod places;
mod read;
mod sandbox;
mod slots;
mod trap;
mod types;
mod usage;
mod write;

#[cfg(test)]
mod aggregate_tests;
#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod crossing_tests;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod isolation_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod window_tests;

pub use compile::{CompilerSettings, compile_role};
pub use context::{Cancellation, Context, LogSink};
pub use error::{Error, Frame, Trap};
pub use function::{Function, FunctionKind, Monotonic, Parameter, ParameterType};
pub use http::{HttpFailure, HttpRequest, HttpResponse, HttpSink};
pub use inspect::{Inspection, digest, inspect};
pub use instance::{
    Argument, Groups, Instance, Loaded, Operand, Pulled, Rows, States, Step, Stream, Timings,
    can_chain,
};
pub use manifest::{Capabilities, HttpPlace, Manifest};
pub use sandbox::{CompileCounts, Module, Sandbox, Settings, Stats};
/// Steps of a chain of functions.
pub const CHAIN: usize = sandmill_abi::limits::CHAIN;

pub use types::{format_of, parse_format, sql_name};
pub use usage::UsageSink;
