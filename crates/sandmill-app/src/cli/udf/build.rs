//! Builds a project with the compilers of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::fault::Fault;

const TARGET: &str = "wasm32-unknown-unknown";
/// What makes a folder a project of Zig.
const ZIG_ROOT: &str = "src/functions.zig";

/// Builds the project in `folder` and gives the module's path. With `debug` the module keeps names and
/// DWARF, and Binaryen, which would move code away from its DWARF, is left out.
pub(crate) fn build(folder: &Path, out: Option<&Path>, debug: bool) -> Result<PathBuf, Fault> {
    let folder = std::fs::canonicalize(folder)
        .map_err(|e| Fault::failed(format!("{}: {e}", folder.display())))?;
    if folder.join("Cargo.toml").exists() {
        return rust(&folder, out, debug);
    }
    if folder.join(ZIG_ROOT).exists() {
        return zig(&folder, out, debug);
    }
    if let Some(language) = sandmill_build::detect(&folder) {
        let name = name(&folder);
        let staging = tempfile::tempdir()?;
        let built = staging.path().join("module.wasm");
        std::fs::write(&built, super::pack::build(&folder, &name, language)?)?;
        return finish(&folder, &built, &name, out, debug);
    }
    let sources = sources(&folder)?;
    if sources.is_empty() {
        return Err(Fault::usage(format!(
            "{} has neither Cargo.toml nor go.mod nor files of C, C++, Zig, AssemblyScript or JavaScript\n  hint: make a project with `sandmill udf new`",
            folder.display()
        )));
    }
    c(&folder, &sources, out, debug)
}

/// Modules are called like their folder.
fn name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or("module".into(), |n| n.to_string_lossy().into_owned())
}

fn finish(
    folder: &Path,
    built: &Path,
    name: &str,
    out: Option<&Path>,
    debug: bool,
) -> Result<PathBuf, Fault> {
    let out = out.map_or_else(|| folder.join(format!("{name}.wasm")), Path::to_owned);
    if debug || !optimise(built, &out) {
        std::fs::copy(built, &out).map_err(|e| Fault::failed(format!("{}: {e}", out.display())))?;
    }
    // Shown as the user would write it.
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| out.strip_prefix(here).ok().map(Path::to_owned));
    Ok(short.unwrap_or(out))
}

/// Binaryen inlines across functions where compilers did not; without it modules are a little slower.
fn optimise(from: &Path, to: &Path) -> bool {
    let status = Command::new("wasm-opt")
        .args([
            "-O3",
            "--inlining-optimizing",
            "--enable-simd",
            "--enable-bulk-memory",
        ])
        .args([
            "--enable-sign-ext",
            "--enable-nontrapping-float-to-int",
            "--enable-mutable-globals",
        ])
        .arg(from)
        .arg("-o")
        .arg(to)
        .stderr(std::process::Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|e| Fault::failed(format!("{name} cannot be run: {e}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Fault::failed(format!(
            "{name} failed; its messages are above"
        )))
    }
}

fn has_target(rustc: &Path) -> bool {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let Ok(output) = output else { return false };
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success()
        && std::fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libcore")))
        })
}

/// A Rust compiler that has the WebAssembly target.
fn rustc() -> Result<PathBuf, Fault> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home)
        .unwrap_or_default();
    let named = std::env::var_os("SANDMILL_WASM_RUSTC").map(PathBuf::from);
    let candidates = [
        named,
        Some("rustc".into()),
        Some(cache.join("sandmill/toolchains/rust-wasm/rustc")),
    ];
    candidates.into_iter().flatten().find(|rustc| has_target(rustc)).ok_or_else(|| {
        Fault::failed(format!(
            "no Rust compiler here has the target {TARGET}\n  hint: run `rustup target add {TARGET}`, \
             or name a compiler that has it in SANDMILL_WASM_RUSTC"
        ))
    })
}

/// The name of the package's library, as Cargo understands the manifest.
fn library(folder: &Path) -> Result<String, Fault> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(folder)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|e| Fault::failed(format!("cargo cannot be run: {e}")))?;
    if !output.status.success() {
        return Err(Fault::failed(
            "cargo does not understand Cargo.toml; its messages are above",
        ));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|e| {
        Fault::failed(format!(
            "what cargo says of Cargo.toml is not understood: {e}"
        ))
    })?;
    let manifest = folder.join("Cargo.toml");
    let package = metadata
        .packages
        .into_iter()
        .find(|p| p.manifest_path == manifest);
    let targets = package.map(|p| p.targets).unwrap_or_default();
    let made = targets
        .into_iter()
        .find(|t| t.crate_types.iter().any(|c| c == "cdylib"));
    made.map(|target| target.name).ok_or_else(|| {
        Fault::failed(
            "Cargo.toml makes no module\n  hint: add a section [lib] with crate-type = [\"cdylib\"]",
        )
    })
}

/// The part of `cargo metadata` that names the module.
#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(serde::Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

fn rust(folder: &Path, out: Option<&Path>, debug: bool) -> Result<PathBuf, Fault> {
    let name = library(folder)?;
    let target = folder.join("target");
    let mut command = Command::new("cargo");
    if debug {
        // Whatever the project's profile says.
        command
            .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
            .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    }
    run(command
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .env("RUSTC", rustc()?)
        .env("RUSTFLAGS", "-C target-feature=+simd128,+bulk-memory")
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    finish(
        folder,
        &target
            .join(TARGET)
            .join("release")
            .join(format!("{}.wasm", name.replace('-', "_"))),
        &name.replace('-', "_"),
        out,
        debug,
    )
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    for place in [folder.to_owned(), folder.join("src")] {
        let Ok(entries) = std::fs::read_dir(&place) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "c" || e == "cpp") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A clang that can compile for WebAssembly.
fn clang() -> Result<PathBuf, Fault> {
    let named = std::env::var_os("SANDMILL_CLANG").map(PathBuf::from);
    let versions = (15..=24).rev().map(|n| PathBuf::from(format!("clang-{n}")));
    let candidates = named
        .into_iter()
        .chain([PathBuf::from("clang")])
        .chain(versions);
    let able = |clang: &PathBuf| {
        let output = Command::new(clang).arg("--print-targets").output();
        let linker = Command::new(clang)
            .args(["--target=wasm32", "-print-prog-name=wasm-ld"])
            .output();
        let text = |output: std::io::Result<std::process::Output>| {
            output
                .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
                .unwrap_or_default()
        };
        text(output).contains("wasm32") && text(linker).trim().starts_with('/')
    };
    candidates.into_iter().find(able).ok_or_else(|| {
        Fault::failed(
            "no clang here can build WebAssembly\n  hint: install clang and lld (on Debian: apt-get install clang lld), \
             or name one in SANDMILL_CLANG",
        )
    })
}

fn c(
    folder: &Path,
    sources: &[PathBuf],
    out: Option<&Path>,
    debug: bool,
) -> Result<PathBuf, Fault> {
    let name = name(folder);
    let staging = tempfile::tempdir()?;
    let built = staging.path().join("module.wasm");
    let cpp = sources
        .iter()
        .any(|s| s.extension().is_some_and(|e| e == "cpp"));
    let language: &[&str] = match cpp {
        true => &["-std=c++17", "-fno-exceptions", "-fno-rtti"],
        false => &["-std=c11"],
    };
    run(Command::new(clang()?)
        .args(language)
        .args([
            "--target=wasm32",
            "-O3",
            "-flto",
            "-msimd128",
            "-mbulk-memory",
            "-Wall",
            "-Wextra",
        ])
        .args([
            "-nostdlib",
            "-ffreestanding",
            "-fno-builtin-bcmp",
            "-Wl,--no-entry",
            "-Wl,-z,stack-size=65536",
            if debug {
                "-gline-tables-only"
            } else {
                "-Wl,--strip-debug"
            },
        ])
        .arg("-I")
        .arg(folder.join("include"))
        .args(sources)
        .arg("-o")
        .arg(&built))?;
    finish(folder, &built, &name, out, debug)
}

/// Zig is named in SANDMILL_ZIG or found on the path. Its versions differ too much to look further.
fn zig(folder: &Path, out: Option<&Path>, debug: bool) -> Result<PathBuf, Fault> {
    let strip = if debug { "-fno-strip" } else { "-fstrip" };
    let named = std::env::var_os("SANDMILL_ZIG").map(PathBuf::from);
    let zig = named.unwrap_or_else(|| "zig".into());
    if Command::new(&zig).arg("version").output().is_err() {
        return Err(Fault::failed(
            "there is no Zig here\n  hint: install Zig 0.17, or name one in SANDMILL_ZIG",
        ));
    }
    let staging = tempfile::tempdir()?;
    let built = staging.path().join("module.wasm");
    run(Command::new(zig)
        .args(["build-exe", "-target", "wasm32-freestanding"])
        .args(["-mcpu=generic+simd128+bulk_memory", "-O", "ReleaseFast"])
        .args(["-fno-entry", "-rdynamic", strip, "--dep", "sandmill"])
        .arg(format!("-Mroot={}", folder.join(ZIG_ROOT).display()))
        .arg(format!(
            "-Msandmill={}",
            folder.join("sdk/sandmill.zig").display()
        ))
        .arg("--cache-dir")
        .arg(folder.join("zig-cache"))
        .arg(format!("-femit-bin={}", built.display())))?;
    finish(folder, &built, &name(folder), out, debug)
}
