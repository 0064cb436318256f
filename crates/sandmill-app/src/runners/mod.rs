//! How jobs run: one file for each kind of job.

mod chunks;
mod lanes;
mod query;

pub(crate) use query::QueryRunner;

use sandmill_model::{ErrorCode, Failure};

/// What a user hears of a failure that is nobody's but ours.
fn internal(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "a query ended by a panic");
    Failure::new(ErrorCode::Internal, "Something went wrong inside Sandmill.")
}
