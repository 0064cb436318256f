//! Benchmarks: each prints a table with ratios taken in one run. Build with `--release`.
#![allow(clippy::print_stdout, reason = "printing is what this program does")]

mod demo;
mod functions;
#[path = "../guests/bench/src/kernels.rs"]
mod kernels;
mod kinds;
mod service;
mod tpch;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Sandmill; run it through `cargo xtask bench`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The sandbox: boundary, kernels, start, kill.
    Functions,
    /// Aggregates, chains, idle modules.
    Kinds,
    /// The engine and the server: small queries, start-up, memory.
    Service,
    /// All TPC-H queries, checked against the expected answers.
    Tpch {
        /// Scale factor; answers are checked at 1.
        #[arg(long, default_value_t = 1.0)]
        sf: f64,
        /// Runs of each query; the median counts.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// The demo's query with functions in Wasm and written natively.
    Demo {
        /// Folder with flights-3m.parquet and airports.csv.
        #[arg(long)]
        data: PathBuf,
    },
    /// Everything but the demo.
    All,
}

/// Median nanoseconds of a call of `work`, after some warm-up.
fn nanos(runs: usize, mut work: impl FnMut()) -> f64 {
    for _ in 0..runs.div_ceil(5) {
        work();
    }
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    quantile(&mut times, 0.5)
}

/// The value below which this share lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// A line of a Markdown table: what, measured, wanted.
fn line(what: &str, measured: &str, wanted: &str) {
    println!("| {what} | {measured} | {wanted} |");
}

fn head(title: &str) {
    println!("\n### {title}\n\n| what | measured | target |\n|---|---|---|");
}

fn main() {
    match Arguments::parse().command {
        Command::Functions => functions::run(),
        Command::Kinds => kinds::run(),
        Command::Service => service::run(),
        Command::Tpch { sf, runs } => tpch::run(sf, runs),
        Command::Demo { data } => demo::run(&data),
        Command::All => {
            functions::run();
            kinds::run();
            service::run();
            tpch::run(1.0, 3);
        }
    }
}
