//! House rules that a compiler does not know.

use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::Outcome;
use crate::run::Home;

/// Layers: a crate may depend on crates of lower layers only.
const LAYERS: &[(&str, u32)] = &[
    ("sandmill-abi", 0),
    ("sandmill-model", 0),
    ("sandmill-sandbox", 1),
    ("sandmill-signing", 1),
    ("sandmill-build", 1),
    ("sandmill-store", 1),
    ("sandmill-api-types", 1),
    ("sandmill-functions", 2),
    ("sandmill-jobs", 2),
    ("sandmill-engine", 3),
    ("sandmill-api", 4),
    ("sandmill-app", 5),
    ("sandmill-tests", 6),
    ("sandmill-macros", 0),
    ("sandmill", 1),
    ("xtask", 6),
];

/// Libraries that occur in one version only.
const SINGLE: &[&str] = &[
    "arrow",
    "datafusion",
    "wasmtime",
    "object_store",
    "parquet",
    "sqlx",
];

/// Libraries that only these crates may use.
const OWNED: &[(&str, &[&str])] = &[
    ("sqlx", &["sandmill-store"]),
    ("wasmtime", &["sandmill-sandbox"]),
    (
        "datafusion",
        &["sandmill-functions", "sandmill-engine", "sandmill-tests"],
    ),
    ("ed25519-dalek", &["sandmill-signing"]),
    ("axum", &["sandmill-api", "sandmill-app"]),
];

/// Lines of a source file.
const LINES: usize = 650;

/// Checks all rules and lists everything that breaks one.
pub fn run(home: &Home) -> Outcome {
    let metadata = MetadataCommand::new()
        .manifest_path(home.root.join("Cargo.toml"))
        .exec()
        .map_err(|e| e.to_string())?;
    let mut wrong = Vec::new();
    layers(&metadata, &mut wrong);
    versions(&metadata, &mut wrong);
    manifests(&metadata, &mut wrong);
    for folder in ["crates", "tests", "udf-sdk", "xtask"] {
        sources(&home.root, &home.root.join(folder), &mut wrong);
    }
    if wrong.is_empty() {
        println!("tidy");
        return Ok(());
    }
    Err(format!(
        "{} rules are broken:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    ))
}

fn layer(name: &str) -> Option<u32> {
    LAYERS
        .iter()
        .find(|(crate_name, _)| *crate_name == name)
        .map(|(_, layer)| *layer)
}

fn layers(metadata: &Metadata, wrong: &mut Vec<String>) {
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let Some(own) = layer(name) else {
            wrong.push(format!(
                "{name} has no layer; add it to LAYERS in xtask/src/tidy.rs"
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind != DependencyKind::Development)
        {
            if let Some(other) = layer(&dependency.name).filter(|other| *other >= own) {
                wrong.push(format!(
                    "{name} (layer {own}) depends on {} (layer {other}): only lower layers",
                    dependency.name
                ));
            }
            let owners = OWNED
                .iter()
                .find(|(library, _)| *library == dependency.name);
            if let Some((library, owners)) = owners.filter(|(_, owners)| !owners.contains(&name)) {
                wrong.push(format!(
                    "{name} depends on {library}, which only {} may",
                    owners.join(", ")
                ));
            }
        }
    }
}

fn versions(metadata: &Metadata, wrong: &mut Vec<String>) {
    for name in SINGLE {
        let versions: Vec<_> = metadata
            .packages
            .iter()
            .filter(|p| p.name.as_str() == *name)
            .map(|p| p.version.to_string())
            .collect();
        if versions.len() > 1 {
            wrong.push(format!(
                "{name} occurs in the versions {}",
                versions.join(", ")
            ));
        }
    }
}

fn manifests(metadata: &Metadata, wrong: &mut Vec<String>) {
    for package in metadata.workspace_packages() {
        let text = fs::read_to_string(&package.manifest_path).unwrap_or_default();
        if !text.contains("[lints]\nworkspace = true") {
            wrong.push(format!(
                "{} does not take the workspace's lints",
                package.name
            ));
        }
    }
}

fn sources(root: &Path, folder: &Path, wrong: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                sources(root, &path, wrong);
            }
            continue;
        }
        if !path
            .extension()
            .is_some_and(|e| ["rs", "c", "h", "slt"].iter().any(|known| e == *known))
        {
            continue;
        }
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().count();
        if lines > LINES && !name.ends_with(".h") {
            wrong.push(format!(
                "{name} has {lines} lines; split it ({LINES} at most)"
            ));
        }
        let stem = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        if ["util", "utils", "common", "helpers"].contains(&stem.as_str()) {
            wrong.push(format!("{name}: a module is named after what it does"));
        }
        // Written apart, so that this file keeps its own rule.
        for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            if text.contains(word) {
                wrong.push(format!("{name} has a {word}"));
            }
        }
    }
}
