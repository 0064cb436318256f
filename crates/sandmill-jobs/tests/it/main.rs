//! What jobs and versions promise.

mod lifecycle;
mod script;
mod signatures;
mod versions;
