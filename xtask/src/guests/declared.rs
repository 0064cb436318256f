//! Guests whose functions are declared in comments: AssemblyScript, Go, JavaScript.

use std::fs;
use std::path::Path;

use sandmill_build::Language;

use super::{is_fresh, newest};
use crate::Outcome;
use crate::run::Home;
use crate::toolchains::declared;

const GUESTS: &[(&str, &str, Language)] = &[
    (
        "conformance_assemblyscript",
        "tests/guests/conformance/assemblyscript",
        Language::AssemblyScript,
    ),
    (
        "conformance_go",
        "tests/guests/conformance/go",
        Language::Go,
    ),
    (
        "conformance_javascript",
        "tests/guests/conformance/javascript",
        Language::JavaScript,
    ),
];

/// Builds what is older than its sources into `folder`.
pub fn build(home: &Home, folder: &Path) -> Outcome {
    let sdk =
        newest(&home.root.join("udf-sdk")).max(newest(&home.root.join("crates/sandmill-build")));
    for (name, path, language) in GUESTS {
        let (source, out) = (home.root.join(path), folder.join(format!("{name}.wasm")));
        if is_fresh(&out, newest(&source).max(sdk)) {
            continue;
        }
        let tools = declared::tools(home, *language)?;
        println!("building {name}");
        let wasm =
            sandmill_build::build(&source, name, *language, &tools).map_err(|e| e.to_string())?;
        fs::write(&out, wasm).map_err(|e| format!("{}: {e}", out.display()))?;
    }
    Ok(())
}
