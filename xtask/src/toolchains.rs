//! Compilers for guest modules: those of the machine if they can, else installed.

pub mod declared;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::run::{Home, apt, output, run};

/// What guests are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Says what is used.
pub fn report(home: &Home) -> Outcome {
    println!("rustc for {TARGET}: {}", rustc(home)?.display());
    println!("clang for wasm32: {}", clang()?);
    println!("zig: {}", zig(home)?.display());
    declared::report(home)?;
    Ok(())
}

fn has_target(rustc: &Path) -> bool {
    let folder = output(rustc, &["--print", "target-libdir", "--target", TARGET]);
    folder
        .and_then(|folder| fs::read_dir(folder).ok())
        .is_some_and(|mut entries| {
            entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libcore")))
        })
}

/// A Rust compiler with the WebAssembly target: the machine's, rustup's, or one from Debian's
/// packages that is set up below the cache.
pub fn rustc(home: &Home) -> Outcome<PathBuf> {
    let installed = home.cache.join("toolchains/rust-wasm/rustc");
    let named = std::env::var_os("SANDMILL_WASM_RUSTC").map(PathBuf::from);
    let candidates = [named, Some("rustc".into()), Some(installed.clone())];
    if let Some(found) = candidates
        .into_iter()
        .flatten()
        .find(|rustc| has_target(rustc))
    {
        return Ok(found);
    }
    println!("no Rust compiler here has the target {TARGET}; trying rustup");
    if run(Command::new("rustup").args(["target", "add", TARGET])).is_ok()
        && has_target(Path::new("rustc"))
    {
        return Ok("rustc".into());
    }
    println!(
        "setting up a compiler from Debian's packages in {}",
        installed.display()
    );
    from_debian(home).map_err(|e| {
        format!("{e}\n  install a Rust compiler with the target {TARGET} and name it in SANDMILL_WASM_RUSTC")
    })?;
    if has_target(&installed) {
        return Ok(installed);
    }
    Err(format!(
        "{} was set up but has no {TARGET}",
        installed.display()
    ))
}

/// Debian's Rust compiler with its library's source, unpacked beside the system, and the library
/// built once for WebAssembly.
fn from_debian(home: &Home) -> Outcome {
    let failed = |e: std::io::Error| format!("the toolchain folder: {e}");
    let last = home.cache.join("toolchains/rust-wasm");
    let prefix = home.cache.join("toolchains/rust-wasm.new");
    let debs = home.cache.join("toolchains/debs");
    for folder in [&prefix, &debs] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(failed)?;
        }
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let version = newest_rustc()?;
    let packages = [
        format!("rustc-web={version}*"),
        format!("libstd-rust-web-{version}"),
        format!("libstd-rust-web-dev={version}*"),
        format!("rust-web-src={version}*"),
        "lld-22".to_owned(),
        "libllvm22".to_owned(),
    ];
    run(Command::new("apt-get")
        .args(["-qq", "download"])
        .args(&packages)
        .current_dir(&debs))?;
    for deb in fs::read_dir(&debs).map_err(failed)? {
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(deb.map_err(failed)?.path())
            .arg(&prefix))?;
    }
    let wrapper = "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n\
        export LD_LIBRARY_PATH=\"$here/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n\
        exec \"$here/usr/bin/rustc\" \"$@\"\n";
    let rustc = prefix.join("rustc");
    fs::write(&rustc, wrapper).map_err(failed)?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let libraries = prefix.join("usr/lib/rustlib");
    let tools = libraries.join("x86_64-unknown-linux-gnu/bin");
    let target = libraries.join(TARGET).join("lib");
    fs::create_dir_all(&tools).map_err(failed)?;
    fs::create_dir_all(&target).map_err(failed)?;
    let linker = tools.join("rust-lld");
    if !linker.exists() {
        symlink("../../../llvm-22/bin/lld", &linker).map_err(failed)?;
    }
    // A crate with nothing in it makes Cargo build the library.
    let seed = home.cache.join("toolchains/seed");
    fs::create_dir_all(seed.join("src")).map_err(failed)?;
    let manifest =
        "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n";
    fs::write(seed.join("Cargo.toml"), manifest).map_err(failed)?;
    fs::write(seed.join("src/lib.rs"), "").map_err(failed)?;
    let built = seed.join("target");
    run(Command::new("cargo")
        .args(["build", "-q", "--release", "--target", TARGET])
        .args([
            "-Z",
            "build-std=std,panic_abort",
            "-Z",
            "build-std-features=",
        ])
        .current_dir(&seed)
        // Building the library asks for an unstable option of a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", &rustc)
        .env("RUSTFLAGS", "-C embed-bitcode=yes")
        .env("CARGO_TARGET_DIR", &built))?;
    let mut folders = vec![built.join(TARGET)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("lib")
                && name.ends_with(".rlib")
                && !name.starts_with("libseed")
            {
                fs::copy(&path, target.join(name)).map_err(failed)?;
            }
        }
    }
    for folder in [&seed, &debs] {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    if last.exists() {
        fs::remove_dir_all(&last).map_err(failed)?;
    }
    fs::rename(&prefix, &last).map_err(failed)
}

/// `1.96` and the like: the newest compiler that Debian offers with its library's source.
fn newest_rustc() -> Outcome<String> {
    // Brings the lists up to date, too: old ones name packages that are no longer there.
    apt(&["binaryen"])?;
    let text = output("apt-cache", &["madison", "rustc-web"]).unwrap_or_default();
    let versions = text
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    let minor = |v: &str| v.split('.').nth(1).and_then(|n| n.parse::<u32>().ok());
    let newest = versions.filter_map(minor).max();
    newest
        .map(|minor| format!("1.{minor}"))
        .ok_or_else(|| "Debian offers no package rustc-web".to_owned())
}

/// A clang that builds for WebAssembly; installed when there is none.
pub fn clang() -> Outcome<String> {
    if let Some(found) = find_clang() {
        return Ok(found);
    }
    println!("no clang here builds for WebAssembly");
    apt(&["clang-22", "lld-22"])
        .or_else(|_| apt(&["clang", "lld"]))
        .and_then(|()| {
            find_clang()
                .ok_or_else(|| "clang was installed but cannot build for WebAssembly".into())
        })
}

/// The version of Zig that is installed where there is none. Zig changes from one to the next, and
/// the SDK is written for this one.
const ZIG: &str = "0.17";

/// A Zig compiler: the machine's, or the one that PyPI offers, below the cache.
pub fn zig(home: &Home) -> Outcome<PathBuf> {
    let folder = home.cache.join("toolchains/ziglang");
    let named = std::env::var_os("SANDMILL_ZIG").map(PathBuf::from);
    let candidates = || {
        let known = [named.clone(), Some("zig".into()), packaged_zig(&folder)];
        known.into_iter().flatten()
    };
    let fits = |zig: &PathBuf| {
        output(zig, &["version"]).is_some_and(|v| v.starts_with(&format!("{ZIG}.")))
    };
    if let Some(found) = candidates().find(fits) {
        return Ok(found);
    }
    println!(
        "no Zig {ZIG} here; installing PyPI's ziglang in {}",
        folder.display()
    );
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args([
        "install",
        "-q",
        &format!("ziglang=={ZIG}.*"),
    ]))?;
    candidates()
        .find(fits)
        .ok_or_else(|| format!("install Zig {ZIG} and name it in SANDMILL_ZIG"))
}

/// The compiler inside of the installed package.
fn packaged_zig(folder: &Path) -> Option<PathBuf> {
    let mut versions = fs::read_dir(folder.join("lib")).ok()?.flatten();
    versions.find_map(|version| {
        let zig = version.path().join("site-packages/ziglang/zig");
        zig.exists().then_some(zig)
    })
}

fn find_clang() -> Option<String> {
    let named = std::env::var("SANDMILL_CLANG").ok();
    let versions = (15..=24).rev().map(|n| format!("clang-{n}"));
    named
        .into_iter()
        .chain(["clang".to_owned()])
        .chain(versions)
        .find(|clang| {
            let targets = output(clang, &["--print-targets"]).unwrap_or_default();
            let linker =
                output(clang, &["--target=wasm32", "-print-prog-name=wasm-ld"]).unwrap_or_default();
            targets.contains("wasm32") && linker.starts_with('/')
        })
}
