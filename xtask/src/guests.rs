//! Builds the guest modules into `<target>/guests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::Outcome;
use crate::run::{Home, run};
use crate::toolchains;

const RUST: &[(&str, &str)] = &[
    ("conformance_rust", "tests/guests/conformance/rust"),
    ("bench", "tests/guests/bench"),
    ("debug_rust", "tests/guests/debug/rust"),
];
const C: &[(&str, &str)] = &[
    ("conformance_c", "tests/guests/conformance/c"),
    ("debug_c", "tests/guests/debug/c"),
    ("demo_text", "udf-sdk/templates/c/src"),
];

/// Guests that keep names and DWARF, so Binaryen does not touch them.
const DEBUG: &[&str] = &["debug_rust", "debug_c"];

/// Builds what is older than its sources and gives the folder.
pub fn build(home: &Home) -> Outcome<PathBuf> {
    let folder = home.target.join("guests");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let sdk = newest(&home.root.join("udf-sdk"));
    for (name, path) in RUST {
        let (source, out) = (home.root.join(path), folder.join(format!("{name}.wasm")));
        if is_fresh(&out, newest(&source).max(sdk)) {
            continue;
        }
        println!("building {name} (Rust)");
        let target = home.target.join("guest-build");
        run(Command::new("cargo")
            .args([
                "build",
                "-q",
                "--release",
                "--target",
                toolchains::TARGET,
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(&source)
            .env("RUSTC", toolchains::rustc(home)?)
            .env("RUSTFLAGS", "-C target-feature=+simd128,+bulk-memory")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
        finish(
            name,
            &target
                .join(toolchains::TARGET)
                .join("release")
                .join(format!("{name}.wasm")),
            &out,
        )?;
    }
    for (name, path) in C {
        let (source, out) = (home.root.join(path), folder.join(format!("{name}.wasm")));
        if is_fresh(&out, newest(&source).max(sdk)) {
            continue;
        }
        println!("building {name} (C)");
        let copies = home.target.join("guest-build").join(name);
        fs::create_dir_all(&copies).map_err(|e| format!("{}: {e}", copies.display()))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&source).map_err(|e| format!("{path}: {e}"))? {
            let file = entry.map_err(|e| format!("{path}: {e}"))?;
            let copy = copies.join(file.file_name());
            if copy.extension().is_some_and(|e| e == "c") {
                let text = fs::read_to_string(file.path()).map_err(|e| format!("{path}: {e}"))?;
                // As `sandmill udf new` fills in the template.
                fs::write(&copy, text.replace("\"NAME\"", &format!("\"{name}\"")))
                    .map_err(|e| format!("{}: {e}", copy.display()))?;
                files.push(copy);
            }
        }
        let built = folder.join(format!("{name}.new"));
        run(Command::new(toolchains::clang()?)
            .args([
                "--target=wasm32",
                "-std=c11",
                "-O3",
                "-flto",
                "-msimd128",
                "-mbulk-memory",
                "-Wall",
                "-Wextra",
                "-Werror",
            ])
            .args([
                "-nostdlib",
                "-ffreestanding",
                "-Wl,--no-entry",
                "-Wl,-z,stack-size=65536",
                match DEBUG.contains(name) {
                    true => "-gline-tables-only",
                    false => "-Wl,--strip-debug",
                },
            ])
            .arg("-I")
            .arg(home.root.join("udf-sdk/c/include"))
            .args(files)
            .arg("-o")
            .arg(&built))?;
        finish(name, &built, &out)?;
        let _ = fs::remove_file(&built);
    }
    Ok(folder)
}

/// Optimises with Binaryen where it is installed: it inlines across functions.
fn finish(name: &str, built: &Path, out: &Path) -> Outcome {
    let copy = || {
        let copied = fs::copy(built, out).map(|_| ());
        copied.map_err(|e| format!("{}: {e}", built.display()))
    };
    if DEBUG.contains(&name) {
        return copy();
    }
    let optimised = Command::new("wasm-opt")
        .args([
            "-O3",
            "--inlining-optimizing",
            "--enable-simd",
            "--enable-bulk-memory",
            "--enable-sign-ext",
        ])
        .args([
            "--enable-nontrapping-float-to-int",
            "--enable-mutable-globals",
            "--enable-reference-types",
            "--enable-multivalue",
        ])
        .arg(built)
        .arg("-o")
        .arg(out)
        .status();
    if optimised.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    copy()
}

fn is_fresh(out: &Path, sources: Option<SystemTime>) -> bool {
    let built = fs::metadata(out).and_then(|m| m.modified()).ok();
    built.is_some() && built > sources
}

/// When the newest file below a folder was changed.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .filter(|e| e.file_name() != "target")
        .filter_map(|e| {
            if e.path().is_dir() {
                newest(&e.path())
            } else {
                e.metadata().ok()?.modified().ok()
            }
        })
        .max()
}
