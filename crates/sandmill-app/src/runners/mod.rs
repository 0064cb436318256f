//! How jobs run: one file for each kind of job.

mod chunks;
mod query;

pub(crate) use query::QueryRunner;
