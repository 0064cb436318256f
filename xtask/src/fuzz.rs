//! `fuzz`: random input for everything that reads what strangers send.

use crate::Outcome;
use crate::run::{Home, output, run, step};

/// The targets, each a program in `fuzz/targets`.
const TARGETS: &[&str] = &["manifest", "module", "arrays", "smith"];

/// Builds the targets and runs each for so many seconds. What is found to be interesting stays in the
/// cache and is where the next run begins.
pub fn fuzz(home: &Home, seconds: u64, only: Option<&str>) -> Outcome {
    if let Some(unknown) = only.filter(|name| !TARGETS.contains(name)) {
        return Err(format!(
            "there is no target {unknown}, only {}",
            TARGETS.join(", ")
        ));
    }
    if output("cargo-fuzz", &["--version"]).is_none() {
        step("cargo-fuzz", || {
            run(&mut home.cargo(&["install", "--locked", "cargo-fuzz"]))
        })?;
    }
    let target = home.target.join("fuzz").to_string_lossy().into_owned();
    // Without a sanitizer this works with the stable toolchain; all of our code but a few lines is
    // safe Rust, whose own checks are on.
    let common = ["--sanitizer", "none", "--target-dir", &target];
    step("fuzz targets", || {
        run(home.cargo(&["fuzz", "build"]).args(common))
    })?;
    for name in TARGETS
        .iter()
        .filter(|name| only.is_none_or(|o| o == **name))
    {
        step(&format!("fuzz {name} for {seconds} s"), || {
            let corpus = home.cache.join("fuzz").join(name);
            std::fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
            let seeds = home.root.join("fuzz/seeds").join(name);
            let mut command = home.cargo(&["fuzz", "run"]);
            command.args(common).arg(name).arg(corpus);
            if seeds.exists() {
                command.arg(seeds);
            }
            command
                .arg("--")
                .arg(format!("-max_total_time={seconds}"))
                .args(["-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1"]);
            // Modules are made of many bytes, and each is run a dozen times.
            if *name == "smith" {
                command.args(["-max_len=16384", "-len_control=0"]);
            }
            run(&mut command)
        })?;
    }
    Ok(())
}
