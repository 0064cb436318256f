//! The command line.
#![allow(clippy::print_stdout, reason = "printing is what a command line does")]

mod fault;
mod function;
mod job;
mod key;
mod output;
mod policy;
mod serve;
mod session;
mod table;
mod terminal;
mod udf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fault::Fault;

const AFTER: &str = "\
Exit codes: 0 done, 1 the job or the command failed, 2 wrong usage, 3 there is no such thing,
4 the server cannot be reached, 5 a limit was hit, 130 interrupted or canceled.

Environment: SANDMILL_URL and SANDMILL_TOKEN name the server; SANDMILL_DATA the data folder;
SANDMILL_LOG sets the log filter of the server (default info).";

/// SQL jobs with functions in WebAssembly.
#[derive(Parser)]
#[command(name = "sandmill", version, after_help = AFTER, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a server on this machine.
    Serve(serve::Serve),
    /// Run SQL and read results.
    #[command(subcommand)]
    Job(job::Job),
    /// Publish functions, name and delete their versions.
    #[command(subcommand)]
    Function(function::Function),
    /// Sign modules, and say which signatures a server trusts.
    #[command(subcommand)]
    Key(key::Key),
    /// Permit functions what they may do beside computing.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Register tables on files.
    #[command(subcommand)]
    Table(table::Table),
    /// Write, build, inspect and try functions on this machine.
    #[command(subcommand)]
    Udf(udf::Udf),
    /// Print the OpenAPI document.
    #[command(hide = true)]
    Openapi,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("unknown");
        // The reader of a pipe has seen enough; shells give 128 + SIGPIPE.
        if message.starts_with("failed printing to stdout") {
            std::process::exit(141);
        }
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        eprintln!("sandmill: internal error at {place}: {message}");
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
        }
    }));
    let arguments = Arguments::parse();
    let threads = match &arguments.command {
        Command::Serve(_) => 2,
        _ => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(arguments.command));
            runtime.shutdown_background();
            result
        }
        Err(e) => Err(Fault::failed(format!("no threads: {e}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.show(),
    }
}

async fn run(command: Command) -> Result<(), Fault> {
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::Job(job) => job.run().await,
        Command::Function(function) => function.run().await,
        Command::Key(key) => key.run().await,
        Command::Policy(policy) => policy.run().await,
        Command::Table(table) => table.run().await,
        Command::Udf(udf) => udf.run().await,
        Command::Openapi => {
            let document = sandmill_api::openapi().to_pretty_json();
            println!("{}", document.map_err(|e| Fault::failed(e.to_string()))?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
