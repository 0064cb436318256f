//! Write functions for Sandmill in Rust.
//!
//! ```ignore
//! sandmill::package!();
//!
//! /// Great-circle distance in kilometres.
//! #[sandmill::udf]
//! fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 { … }
//! ```
//!
//! The attribute leaves the function as it is, so that it can be tested natively, and adds what the
//! ABI asks for when the crate is built for `wasm32-unknown-unknown`. See the README for types,
//! NULL, errors and columns.
#![allow(
    unsafe_code,
    reason = "the glue reads and writes Arrow arrays in linear memory"
)]

// The macros write paths that begin with the crate's name.
extern crate self as sandmill;

#[allow(
    dead_code,
    reason = "generated: not every part is used on every target"
)]
mod abi;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue;
mod host;
pub mod http;
#[doc(hidden)]
pub mod manifest;
#[cfg(any(test, target_arch = "wasm32"))]
mod math;
#[cfg(target_arch = "wasm32")]
mod memory;
mod open;
mod sql;
mod types;
mod views;

pub use host::{Level, cancelled, log, metric, now, random};
pub use manifest::Record;
pub use open::{Any, Rows, Variadic};
pub use sandmill_macros::{
    Record, aggregate, cogrouped_map, grouped_map, map, package, table, udf, window,
};
pub use types::{
    Date, DayTime, Decimal, Decimal256, Duration, Error, Half, Interval, Large, Map, Micros,
    Millis, Months, Nanos, Null, Seconds, Time, Timestamp, Unit, View,
};
pub use views::{Batch, BatchRows, Column, Group, Items, List};

/// Writes a line to the job's log, like `format!`.
#[macro_export]
macro_rules! info {
    ($($arguments:tt)*) => { $crate::log($crate::Level::Info, &::std::format!($($arguments)*)) };
}

/// Writes a warning to the job's log, like `format!`.
#[macro_export]
macro_rules! warn {
    ($($arguments:tt)*) => { $crate::log($crate::Level::Warn, &::std::format!($($arguments)*)) };
}
