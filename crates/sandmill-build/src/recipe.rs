//! How each language is compiled: sources, SDK and glue in a temporary folder, then its compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use include_dir::{Dir, include_dir};

use crate::declaration::Declarations;
use crate::pack::{Program, pack};
use crate::{Error, glue};

static GO_SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/go/sandmill");
static ASSEMBLYSCRIPT_SDK: Dir<'_> =
    include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/assemblyscript/assembly");

/// A language that this crate builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `*.ts`, compiled by asc.
    AssemblyScript,
    /// `go.mod` and `*.go`.
    Go,
    /// One `*.js`, run by QuickJS.
    JavaScript,
}

/// The compilers of this machine.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// The command of AssemblyScript's compiler; `asc` when it is not set.
    pub asc: Option<PathBuf>,
    /// Go's command; `go` when it is not set.
    pub go: Option<PathBuf>,
    /// Go's cache of compiled packages, where it is not the usual one.
    pub go_cache: Option<PathBuf>,
    /// QuickJS as a module, which `cargo xtask toolchains` makes.
    pub quickjs: Option<PathBuf>,
}

impl Language {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AssemblyScript => "assemblyscript",
            Self::Go => "go",
            Self::JavaScript => "javascript",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::AssemblyScript => "ts",
            Self::Go => "go",
            Self::JavaScript => "js",
        }
    }
}

/// The language of the project in a folder, if it is one that this crate builds.
pub fn detect(folder: &Path) -> Option<Language> {
    if folder.join("go.mod").exists() {
        return Some(Language::Go);
    }
    [Language::AssemblyScript, Language::JavaScript]
        .into_iter()
        .find(|language| sources(folder, language.ending()).is_ok_and(|found| !found.is_empty()))
}

/// Compiles the project in `folder` and gives the module, packed.
///
/// # Errors
/// What is wrong with a declaration, or what the compiler says.
pub fn build(
    folder: &Path,
    name: &str,
    language: Language,
    tools: &Tools,
) -> Result<Vec<u8>, Error> {
    let files = sources(folder, language.ending())?;
    let mut declarations = Declarations::default();
    for (file, text) in &files {
        declarations.read(file, text)?;
    }
    if declarations.functions.is_empty() {
        return Err(Error::Tool(format!(
            "no file in {} declares a function\n  hint: write `//sandmill:scalar NAME(ARGUMENT TYPE, …) -> TYPE` above one",
            folder.display()
        )));
    }
    let manifest = declarations.manifest(name, language.as_str());
    if language == Language::JavaScript {
        return javascript(&files, &declarations, &manifest, tools);
    }
    let staging = tempfile::tempdir().map_err(Error::file(folder))?;
    let place = staging.path();
    let out = place.join("module.wasm");
    for (file, text) in &files {
        write(&place.join(file), text)?;
    }
    match language {
        Language::Go => go(folder, place, &out, &declarations, tools)?,
        _ => assemblyscript(place, &out, &declarations, tools)?,
    }
    let wasm = fs::read(&out).map_err(Error::file(&out))?;
    pack(&wasm, &manifest, None)
}

/// Names and texts of the files of a project's folder, in the order of their names.
fn sources(folder: &Path, ending: &str) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        let fits = path.extension().is_some_and(|e| e == ending);
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let skipped = name.ends_with("_test.go") || name.ends_with(".d.ts");
        if fits && !skipped && path.is_file() {
            let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
            found.push((name.to_owned(), text));
        }
    }
    found.sort();
    Ok(found)
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
    }
    fs::write(path, text).map_err(Error::file(path))
}

fn sdk(dir: &Dir<'_>, to: &Path) -> Result<(), Error> {
    dir.files().try_for_each(|file| {
        let name = file.path().file_name().unwrap_or_default();
        write(&to.join(name), file.contents())
    })
}

/// Folders of a project beside its own sources: packages of its own, and what it vendors.
fn folders(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let path = entry.map_err(Error::file(from))?.path();
        let name = path.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() && !path.is_symlink() {
            folders(&path, &target)?;
        } else if path.is_file() && !target.exists() {
            let bytes = fs::read(&path).map_err(Error::file(&path))?;
            write(&target, bytes)?;
        }
    }
    Ok(())
}

fn run(command: &mut Command, hint: &str) -> Result<(), Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|e| Error::Tool(format!("{name} cannot be run: {e}\n  hint: {hint}")))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Tool(format!(
            "{name} failed; its messages are above"
        ))),
    }
}

fn go(
    folder: &Path,
    place: &Path,
    out: &Path,
    declarations: &Declarations,
    tools: &Tools,
) -> Result<(), Error> {
    folders(folder, place)?;
    let path = folder.join("go.mod");
    let module = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let module = module
        .lines()
        .find_map(|line| line.strip_prefix("module "))
        .ok_or_else(|| Error::Tool(format!("{} names no module", path.display())))?;
    let package = place.join("sandmill");
    if !package.exists() {
        sdk(&GO_SDK, &package)?;
    }
    let import = format!("{}/sandmill", module.trim());
    let glue = glue::go(declarations, &import);
    write(&place.join("sandmill_functions.go"), glue)?;
    let mut command = Command::new(tools.go.as_deref().unwrap_or(Path::new("go")));
    if let Some(cache) = &tools.go_cache {
        command.env("GOCACHE", cache);
    }
    command
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
        ])
        .arg(out)
        .current_dir(place)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env_remove("GOFLAGS");
    run(
        &mut command,
        "install Go 1.24 or newer, or name its command in SANDMILL_GO",
    )
}

fn assemblyscript(
    place: &Path,
    out: &Path,
    declarations: &Declarations,
    tools: &Tools,
) -> Result<(), Error> {
    sdk(&ASSEMBLYSCRIPT_SDK, place)?;
    write(
        &place.join("functions_of_sandmill.ts"),
        glue::assemblyscript(declarations),
    )?;
    let mut command = Command::new(tools.asc.as_deref().unwrap_or(Path::new("asc")));
    command
        .args([
            "functions_of_sandmill.ts",
            "-O3",
            "--converge",
            "--runtime",
            "minimal",
        ])
        .args([
            "--use",
            "abort=sandmill/smAbort",
            "--use",
            "seed=sandmill/smSeed",
        ])
        .args(["--enable", "simd", "--outFile"])
        .arg(out)
        .current_dir(place);
    run(
        &mut command,
        "npm install --global assemblyscript, or name its command in SANDMILL_ASC",
    )
}

fn javascript(
    files: &[(String, String)],
    declarations: &Declarations,
    manifest: &str,
    tools: &Tools,
) -> Result<Vec<u8>, Error> {
    let [(file, source)] = files else {
        return Err(Error::Tool(
            "a module takes one JavaScript file; bundle several into one".into(),
        ));
    };
    let hint =
        "run `cargo xtask toolchains` in Sandmill's source, or name the file in SANDMILL_QUICKJS";
    let runtime = tools
        .quickjs
        .as_deref()
        .ok_or_else(|| Error::Tool(format!("QuickJS as a module is not here\n  hint: {hint}")))?;
    let wasm = fs::read(runtime).map_err(Error::file(runtime))?;
    let program = glue::javascript(declarations, file, source);
    let names: Vec<_> = declarations
        .functions
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    pack(
        &wasm,
        manifest,
        Some(&Program {
            bytes: &program,
            functions: &names,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(detect(folder.path()), None);
        write(&at("notes.d.ts"), "").expect("written");
        assert_eq!(detect(folder.path()), None);
        write(&at("f.js"), "export const f = 1;").expect("written");
        assert_eq!(detect(folder.path()), Some(Language::JavaScript));
        write(&at("f.ts"), "").expect("written");
        assert_eq!(detect(folder.path()), Some(Language::AssemblyScript));
        write(&at("go.mod"), "module m\n").expect("written");
        assert_eq!(detect(folder.path()), Some(Language::Go));
    }

    #[test]
    fn a_program_is_packed_into_its_runtime() {
        let folder = tempfile::tempdir().expect("folder");
        let runtime = folder.path().join("runtime.wasm");
        let text = r#"(module (memory (export "memory") 2)
            (global (export "sm_program") i32 (i32.const 1024)) (global (export "sm_program_end") i32 (i32.const 2048))
            (func (export "sm_slot_0") (param i32 i32 i32) (result i32) (i32.const 0)))"#;
        write(&runtime, wat::parse_str(text).expect("text")).expect("written");
        let project = folder.path().join("project");
        let tools = Tools {
            quickjs: Some(runtime),
            ..Tools::default()
        };
        let make = |source: &str| {
            write(&project.join("f.js"), source).expect("written");
            build(&project, "words", Language::JavaScript, &tools)
        };
        let error = make("export const f = 1;").expect_err("nothing declared");
        assert!(error.to_string().contains("declares a function"), "{error}");
        let wasm = make("//sandmill:scalar f(x INT) -> BIGINT\nexport const f = (x) => 1n;")
            .expect("built");
        let has = |part: &[u8]| wasm.windows(part.len()).any(|window| window == part);
        assert!(has(b"f l-i\n\nf.js\n//sandmill") && has(b"sm_scalar.f") && !has(b"sm_slot_"));
        write(&project.join("g.js"), "").expect("written");
        let error = make("//sandmill:scalar f(x INT) -> BIGINT").expect_err("two files");
        assert!(error.to_string().contains("one JavaScript file"), "{error}");
    }
}
