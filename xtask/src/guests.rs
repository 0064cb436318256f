//! Builds the guest modules into `<target>/guests`.

mod declared;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::Outcome;
use crate::run::{Home, run};
use crate::toolchains;

/// A language and what makes a module of a folder of it.
struct Language {
    name: &'static str,
    /// Names of modules and the folders of their sources.
    modules: &'static [(&'static str, &'static str)],
    /// Builds the module with this name from this folder to this path.
    build: fn(&Home, &str, &Path, &Path) -> Outcome,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "Rust",
        modules: &[
            ("conformance_rust", "tests/guests/conformance/rust"),
            ("bench", "tests/guests/bench"),
            ("debug_rust", "tests/guests/debug/rust"),
        ],
        build: rust,
    },
    Language {
        name: "C",
        modules: &[
            ("conformance_c", "tests/guests/conformance/c"),
            ("debug_c", "tests/guests/debug/c"),
            ("demo_text", "udf-sdk/templates/c/src"),
        ],
        build: c,
    },
    Language {
        name: "C++",
        modules: &[
            ("conformance_cpp", "tests/guests/conformance/cpp"),
            ("demo_cpp", "udf-sdk/templates/cpp/src"),
        ],
        build: cpp,
    },
    Language {
        name: "Zig",
        modules: &[
            ("conformance_zig", "tests/guests/conformance/zig"),
            ("demo_zig", "udf-sdk/templates/zig/src"),
        ],
        build: zig,
    },
];

/// Guests that keep names and DWARF, so Binaryen does not touch them.
const DEBUG: &[&str] = &["debug_rust", "debug_c"];

/// Builds what is older than its sources and gives the folder.
pub fn build(home: &Home) -> Outcome<PathBuf> {
    let folder = home.target.join("guests");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // C++ builds the C guest's source, too.
    let shared = newest(&home.root.join("udf-sdk"))
        .max(newest(&home.root.join("tests/guests/conformance/c")));
    for language in LANGUAGES {
        for (name, path) in language.modules {
            let (source, out) = (home.root.join(path), folder.join(format!("{name}.wasm")));
            if is_fresh(&out, newest(&source).max(shared)) {
                continue;
            }
            println!("building {name} ({})", language.name);
            (language.build)(home, name, &source, &out)?;
        }
    }
    declared::build(home, &folder)?;
    Ok(folder)
}

fn rust(home: &Home, name: &str, source: &Path, out: &Path) -> Outcome {
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
        .current_dir(source)
        .env("RUSTC", toolchains::rustc(home)?)
        .env("RUSTFLAGS", "-C target-feature=+simd128,+bulk-memory")
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    let built = target.join(toolchains::TARGET).join("release");
    finish(name, &built.join(format!("{name}.wasm")), out)
}

fn c(home: &Home, name: &str, source: &Path, out: &Path) -> Outcome {
    clang(home, name, source, out, &["-std=c11"])
}

fn cpp(home: &Home, name: &str, source: &Path, out: &Path) -> Outcome {
    let language = ["-std=c++17", "-fno-exceptions", "-fno-rtti"];
    clang(home, name, source, out, &language)
}

fn clang(home: &Home, name: &str, source: &Path, out: &Path, language: &[&str]) -> Outcome {
    let files = copies(home, name, source, &["c", "cpp"])?;
    let built = out.with_extension("new");
    run(Command::new(toolchains::clang()?)
        .args(language)
        .args([
            "--target=wasm32",
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
            match DEBUG.contains(&name) {
                true => "-gline-tables-only",
                false => "-Wl,--strip-debug",
            },
        ])
        .arg("-I")
        .arg(home.root.join("udf-sdk/c/include"))
        .arg("-I")
        .arg(home.root.join("udf-sdk/cpp/include"))
        .arg("-I")
        .arg(source)
        .args(files)
        .arg("-o")
        .arg(&built))?;
    finish(name, &built, out)?;
    let _ = fs::remove_file(&built);
    Ok(())
}

fn zig(home: &Home, name: &str, source: &Path, out: &Path) -> Outcome {
    let files = copies(home, name, source, &["zig"])?;
    let [root] = files.as_slice() else {
        return Err(format!("{} must hold one file of Zig", source.display()));
    };
    let sdk = home.root.join("udf-sdk/zig/src/sandmill.zig");
    let built = out.with_extension("new");
    run(Command::new(toolchains::zig(home)?)
        .args([
            "build-exe",
            "-target",
            "wasm32-freestanding",
            "-mcpu=generic+simd128+bulk_memory",
            "-O",
            "ReleaseFast",
            "-fno-entry",
            "-rdynamic",
            "-fstrip",
            "--dep",
            "sandmill",
        ])
        .arg(format!("-Mroot={}", root.display()))
        .arg(format!("-Msandmill={}", sdk.display()))
        .arg("--cache-dir")
        .arg(home.target.join("guest-build/zig-cache"))
        .arg(format!("-femit-bin={}", built.display())))?;
    finish(name, &built, out)?;
    let _ = fs::remove_file(&built);
    Ok(())
}

/// Copies of the sources of a folder, with the name filled in as `sandmill udf new` does.
fn copies(home: &Home, name: &str, source: &Path, extensions: &[&str]) -> Outcome<Vec<PathBuf>> {
    let failed = |e: std::io::Error| format!("{}: {e}", source.display());
    let folder = home.target.join("guest-build").join(name);
    fs::create_dir_all(&folder).map_err(failed)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(source).map_err(failed)? {
        let file = entry.map_err(failed)?;
        let copy = folder.join(file.file_name());
        let extension = copy.extension().and_then(|e| e.to_str());
        if extension.is_some_and(|e| extensions.contains(&e)) {
            let text = fs::read_to_string(file.path()).map_err(failed)?;
            let text = text.replace("\"NAME\"", &format!("\"{name}\""));
            fs::write(&copy, text).map_err(failed)?;
            files.push(copy);
        }
    }
    Ok(files)
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
