//! The project's own commands.
#![allow(clippy::print_stdout, reason = "printing is what this program does")]

mod codegen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a step leaves: nothing, or a message that says what to do.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    match codegen::run(Path::new(&root), std::env::args().any(|a| a == "--check")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
