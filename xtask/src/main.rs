//! The project's own commands: `cargo xtask --help`.
#![allow(clippy::print_stdout, reason = "printing is what this program does")]

mod codegen;
mod demo;
mod fuzz;
mod guests;
mod run;
mod steps;
mod tidy;
mod toolchains;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a step leaves: nothing, or a message that says what to do.
type Outcome<T = ()> = Result<T, String>;

/// Builds, tests, measures and shows Sandmill.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build, start a server, run a real job with Wasm functions and show the result.
    Demo {
        /// Leave the server running until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Install what the tests need and run every test; a filter runs only matching ones.
    Test {
        /// Passed on to the test runner.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Format, lints, layers, generated files, licences.
    Check,
    /// Layers, versions and house rules only.
    Tidy,
    /// Write the files that are made from the code.
    Codegen {
        /// Only say which ones are stale.
        #[arg(long)]
        check: bool,
    },
    /// Build everything for speed and print the tables of docs/performance.md.
    Bench {
        /// Passed on to `sandmill-bench`; nothing runs all.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Feed random input to everything that reads what strangers send (docs/fuzzing.md).
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Only this target.
        target: Option<String>,
    },
    /// Build the guest modules that tests, benchmarks and the demo use.
    Guests,
    /// Find or install the compilers for guest modules.
    Toolchains,
}

fn main() -> ExitCode {
    let home = run::Home::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."));
    let result = home.and_then(|home| match Arguments::parse().command {
        Command::Demo { keep } => demo::run(&home, keep),
        Command::Test { filter } => steps::test(&home, &filter),
        Command::Check => steps::check(&home),
        Command::Tidy => tidy::run(&home),
        Command::Codegen { check } => codegen::run(&home, check),
        Command::Bench { arguments } => steps::bench(&home, &arguments),
        Command::Fuzz { seconds, target } => fuzz::fuzz(&home, seconds, target.as_deref()),
        Command::Guests => {
            guests::build(&home).map(|folder| println!("guests are in {}", folder.display()))
        }
        Command::Toolchains => toolchains::report(&home),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
