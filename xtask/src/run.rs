//! Running programs, and where things lie.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::Outcome;

/// Where the project and its caches lie.
pub struct Home {
    /// The project.
    pub root: PathBuf,
    /// Cargo's build output, outside of the project.
    pub target: PathBuf,
    /// What is installed for the project.
    pub cache: PathBuf,
}

impl Home {
    /// Finds the folders; `CARGO_TARGET_DIR` and `XDG_CACHE_HOME` count.
    pub fn new(root: PathBuf) -> Outcome<Self> {
        let root = std::fs::canonicalize(&root).map_err(|e| format!("{}: {e}", root.display()))?;
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or(home);
        let cache = base.ok_or("HOME is not set")?.join("sandmill");
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        Ok(Self {
            target: target.unwrap_or_else(|| cache.join("target")),
            root,
            cache,
        })
    }

    /// Cargo in the project.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }
}

/// Runs a program to its end; its output goes where ours goes.
pub fn run(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|e| format!("{name} cannot be run: {e}"))?;
    if status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    Err(format!("`{name} {}` failed", arguments.join(" ")))
}

/// What a program prints, or `None` when it is not there or fails.
pub fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref())
        .args(arguments)
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Installs Debian packages, saying so.
pub fn apt(packages: &[&str]) -> Outcome {
    println!("installing from Debian's packages: {}", packages.join(" "));
    let sudo = output("id", &["-u"]).is_none_or(|id| id != "0");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.arg("apt-get");
        }
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null());
        command
    };
    let hint = |e| format!("{e}; install them by hand: {}", packages.join(" "));
    run(&mut command(&["update", "-q"])).map_err(hint)?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    run(&mut command(&arguments)).map_err(hint)
}

/// Runs a step and prints how long it took.
pub fn step<T>(name: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    println!("== {name}");
    let started = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "failed" };
    println!(
        "== {name}: {verdict} after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    result
}
