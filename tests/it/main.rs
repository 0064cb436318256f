//! End-to-end tests: real servers, real files, real guests.

mod capabilities;
mod cli;
mod conformance;
mod crash;
mod hostile;
mod http;
mod languages;
mod observe;
mod sql;
mod start;
mod versions;
