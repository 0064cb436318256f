//! `test`, `check` and `bench`.

use crate::run::{Home, output, run, step};
use crate::{Outcome, codegen, guests, tidy, toolchains};

/// Format, lints, house rules, generated files, licences.
pub fn check(home: &Home) -> Outcome {
    step("format", || {
        run(home.cargo(&["fmt", "--all"]).arg("--check"))
    })?;
    step("tidy", || tidy::run(home))?;
    step("lints", || {
        run(&mut home.cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("generated files", || codegen::run(home, true))?;
    step("licences, bans, sources", || {
        if output("cargo-deny", &["--version"]).is_none() {
            println!("installing cargo-deny");
            run(&mut home.cargo(&["install", "--locked", "cargo-deny"]))?;
        }
        run(&mut home.cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
        if run(&mut home.cargo(&["deny", "fetch", "db"])).is_err() {
            println!("advisories are not checked: their database cannot be reached from here");
            return Ok(());
        }
        run(&mut home.cargo(&["deny", "check", "advisories"]))?;
        Ok(())
    })
}

/// Installs what is missing and runs every test.
pub fn test(home: &Home, filter: &[String]) -> Outcome {
    let guests = step("guest modules", || guests::build(home))?;
    step("the program", || {
        run(&mut home.cargo(&["build", "-p", "sandmill-app", "--bin", "sandmill"]))
    })?;
    let binary = home.target.join("debug/sandmill");
    let nextest = output("cargo-nextest", &["--version"]).is_some()
        || step("cargo-nextest", || {
            run(&mut home.cargo(&["install", "--locked", "cargo-nextest"]))
        })
        .is_ok();
    step("tests", || {
        let mut command = match nextest {
            true => home.cargo(&[
                "nextest",
                "run",
                "--workspace",
                "--exclude",
                "xtask",
                "--no-fail-fast",
            ]),
            false => home.cargo(&[
                "test",
                "--workspace",
                "--exclude",
                "xtask",
                "--no-fail-fast",
            ]),
        };
        run(command
            .args(filter)
            .env("SANDMILL_BIN", &binary)
            .env("SANDMILL_GUESTS", &guests)
            // Tests have a cache of their own, where no compiler lies.
            .env("SANDMILL_WASM_RUSTC", toolchains::rustc(home)?)
            .env("SANDMILL_ZIG", toolchains::zig(home)?))
    })
}

/// Builds for speed and measures.
pub fn bench(home: &Home, arguments: &[String]) -> Outcome {
    let guests = step("guest modules", || guests::build(home))?;
    step("release build", || {
        run(&mut home.cargo(&[
            "build",
            "--release",
            "-p",
            "sandmill-app",
            "-p",
            "sandmill-tests",
            "--bins",
        ]))
    })?;
    let release = home.target.join("release");
    let mut command = std::process::Command::new(release.join("sandmill-bench"));
    let all = ["all".to_owned()];
    command.args(if arguments.is_empty() {
        &all[..]
    } else {
        arguments
    });
    run(command
        .current_dir(&home.root)
        .env("SANDMILL_BIN", release.join("sandmill"))
        .env("SANDMILL_BENCH_DATA", home.cache.join("bench"))
        .env("SANDMILL_GUESTS", guests))
}
