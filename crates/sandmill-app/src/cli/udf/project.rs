//! New projects, with the SDK inside, so that they build without anything from elsewhere.

use std::fs;
use std::path::Path;

use include_dir::{Dir, DirEntry, include_dir};

use super::Language;
use crate::cli::fault::Fault;

static RUST_SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/rust");
static RUST_MACROS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/rust-macros");
static C_HEADER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/c/include");
static CPP_HEADER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/cpp/include");
static ZIG_SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/zig/src");
static GO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/go/sandmill");
static ASSEMBLYSCRIPT: Dir<'_> =
    include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/assemblyscript/assembly");
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk/templates");

/// Makes a project folder, which must not exist yet.
pub(crate) fn create(name: &str, language: Language, path: &Path) -> Result<(), Fault> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !(1..=40).contains(&name.len())
        || !name.bytes().all(legal)
        || name.as_bytes()[0].is_ascii_digit()
    {
        return Err(Fault::usage(format!(
            "`{name}` cannot name a project: use lower-case letters, digits and `_`"
        )));
    }
    if path.exists() {
        return Err(Fault::failed(format!("{} exists already", path.display())));
    }
    let write = |dir: &Dir<'_>, to: &Path, change: &dyn Fn(&str) -> String| {
        copy(dir, dir.path(), to, change)
    };
    let named = |text: &str| text.replace("NAME", name);
    let result = match language {
        Language::Rust => part("rust").and_then(|template| {
            write(template, path, &named)?;
            write(&RUST_SDK, &path.join("sdk/rust"), &standalone)?;
            write(&RUST_MACROS, &path.join("sdk/rust-macros"), &standalone)
        }),
        Language::C => part("c").and_then(|template| {
            write(template, path, &named)?;
            write(&C_HEADER, &path.join("include"), &str::to_owned)
        }),
        Language::Cpp => part("cpp").and_then(|template| {
            write(template, path, &named)?;
            write(&C_HEADER, &path.join("include"), &str::to_owned)?;
            write(&CPP_HEADER, &path.join("include"), &str::to_owned)
        }),
        Language::Zig => part("zig").and_then(|template| {
            write(template, path, &named)?;
            write(&ZIG_SDK, &path.join("sdk"), &str::to_owned)
        }),
        Language::Go => part("go").and_then(|template| {
            write(template, path, &named)?;
            write(&GO, &path.join("sandmill"), &str::to_owned)
        }),
        Language::Assemblyscript => part("assemblyscript").and_then(|template| {
            write(template, path, &named)?;
            write(&ASSEMBLYSCRIPT, path, &str::to_owned)
        }),
        Language::Javascript => {
            part("javascript").and_then(|template| write(template, path, &named))
        }
    };
    result.map_err(|e| Fault::failed(format!("{} cannot be written: {e}", path.display())))
}

fn part(name: &str) -> std::io::Result<&'static Dir<'static>> {
    TEMPLATES
        .get_dir(name)
        .ok_or_else(|| std::io::Error::other("a template is missing"))
}

/// The SDK's manifests without what they inherit from their workspace.
fn standalone(text: &str) -> String {
    text.replace("[lints]\nworkspace = true\n", "")
}

fn copy(
    dir: &Dir<'_>,
    base: &Path,
    to: &Path,
    change: &dyn Fn(&str) -> String,
) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in dir.entries() {
        let relative = entry
            .path()
            .strip_prefix(base)
            .map_err(std::io::Error::other)?;
        // Templates carry their manifests under another name, so that Cargo leaves them alone here.
        let target = to.join(relative.to_string_lossy().replace(".template", ""));
        match entry {
            DirEntry::Dir(inner) => copy(inner, base, to, change)?,
            DirEntry::File(file) => {
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder)?;
                }
                match file.contents_utf8() {
                    Some(text) => fs::write(&target, change(text))?,
                    None => fs::write(&target, file.contents())?,
                }
            }
        }
    }
    Ok(())
}
