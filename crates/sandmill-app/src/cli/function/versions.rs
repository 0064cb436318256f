use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use sandmill_api_types::{Function as FunctionBody, NewTrial, Rows};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Each, short, versioned};
use crate::cli::fault::Fault;
use crate::cli::output::{self, Output};
use crate::cli::session::{Named, Target};
use crate::cli::terminal::plain;

fn signer(function: &FunctionBody) -> String {
    match &function.provenance.signature {
        Some(s) if s.trusted => format!("{} ({})", s.key_name, s.key),
        Some(s) => format!("{} ({}), no longer trusted", s.key_name, s.key),
        None => String::new(),
    }
}

pub(super) async fn list(one: &Each) -> Result<(), Fault> {
    let session = one.target.open().await?;
    let versions = session.client.function_versions(&one.name).await?;
    let row = |f: &FunctionBody| {
        vec![
            f.version.to_string(),
            f.aliases.join(", "),
            short(&f.created_at),
            f.provenance.published_by.clone().unwrap_or_default(),
            signer(f),
            f.provenance.size.to_string(),
            f.digest.get(..12).unwrap_or(&f.digest).to_owned(),
        ]
    };
    let headers = [
        "version",
        "aliases",
        "published",
        "by",
        "signed by",
        "bytes",
        "digest",
    ];
    let right = [true, false, false, false, false, true];
    let rows = versions.items.iter().map(row).collect();
    output::list(one.output, &versions, &headers, &right, rows)
}

pub(super) async fn show(one: &Named) -> Result<(), Fault> {
    let (name, version) = versioned(&one.name);
    let session = one.target.open().await?;
    let function = session.client.function_version(name, version).await?;
    if one.output == Output::Json {
        return output::json(&function);
    }
    println!("{}", plain(&function.signature));
    if !function.doc.is_empty() {
        println!("  {}", plain(&function.doc).replace('\n', "\n  "));
    }
    for example in &function.examples {
        println!("  example: {}", plain(example));
    }
    let from = &function.provenance;
    let line = |name: &str, value: &str| println!("  {name:<10} {}", plain(value));
    line("version", &function.version.to_string());
    line("aliases", &function.aliases.join(", "));
    line(
        "package",
        &format!("{} {}", function.package, from.package_version),
    );
    line("digest", &function.digest);
    line("size", &format!("{} bytes", from.size));
    line("abi", &from.abi);
    line("language", &from.language);
    if !from.build.is_empty() {
        line("build", &from.build);
    }
    line("sdk", &from.sdk);
    let imports = match from.imports.is_empty() {
        true => "none".to_owned(),
        false => from.imports.join(", "),
    };
    line("imports", &imports);
    line("published", &short(&function.created_at));
    line("by", from.published_by.as_deref().unwrap_or("unknown"));
    let signer = signer(&function);
    line(
        "signed by",
        if signer.is_empty() { "nobody" } else { &signer },
    );
    Ok(())
}

pub(super) async fn delete(one: &Named) -> Result<(), Fault> {
    let session = one.target.open().await?;
    match one.name.split_once('@') {
        None => session.client.function_delete(&one.name).await?,
        Some((name, version)) => {
            let number = version.parse().map_err(|_| {
                Fault::usage(format!(
                    "a version is deleted by its number, not as `{version}`"
                ))
            })?;
            session.client.version_delete(name, number).await?;
        }
    }
    println!("{} is deleted", one.name);
    Ok(())
}

#[derive(Args)]
pub(crate) struct Download {
    /// NAME or NAME@VERSION.
    name: String,
    /// Where the module goes; by default NAME-VERSION.wasm. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Download {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (name, version) = versioned(&self.name);
        let client = self.target.open().await?.client;
        let function = client.function_version(name, version).await?;
        // By number: an alias may move in between.
        let number = function.version.to_string();
        let wasm = client.function_module(name, &number).await?;
        let found = sandmill_model::Digest::new(Sha256::digest(&wasm).into());
        if found.to_string() != function.digest {
            let message = format!("the server sent other bytes than {}", function.digest);
            return Err(Fault::failed(message));
        }
        let path = self
            .out
            .unwrap_or_else(|| format!("{name}-{number}.wasm").into());
        if path.as_os_str() == "-" {
            return Ok(std::io::stdout().write_all(&wasm)?);
        }
        std::fs::write(&path, &wasm)
            .map_err(|e| Fault::failed(format!("{} cannot be written: {e}", path.display())))?;
        println!(
            "{}: {} bytes, version {number}, SHA-256 {found}",
            path.display(),
            wasm.len()
        );
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct Usage {
    /// NAME.
    name: String,
    /// How many jobs to list.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

impl Usage {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let client = self.target.open().await?.client;
        let usage = client.function_usage(&self.name, self.limit, None).await?;
        if self.output == Output::Json {
            return output::json(&usage);
        }
        let versions = usage.versions.iter().map(|v| {
            vec![
                v.version.to_string(),
                v.jobs.to_string(),
                v.active.to_string(),
                v.succeeded.to_string(),
                short(&v.last_used_at),
            ]
        });
        let headers = ["version", "jobs", "active", "succeeded", "last used"];
        let right = [true, true, true, true];
        println!("{}", output::grid(&headers, &right, versions.collect()));
        let jobs = usage.jobs.iter().map(|job| {
            vec![
                job.id.clone(),
                job.version.to_string(),
                job.state.as_str().to_owned(),
                short(&job.created_at),
            ]
        });
        let headers = ["job", "version", "state", "created"];
        println!("{}", output::grid(&headers, &[false, true], jobs.collect()));
        Ok(())
    }
}

#[derive(Args)]
pub(crate) struct Test {
    /// NAME or NAME@VERSION.
    name: String,
    /// Rows as JSON: lists with a value for each argument, or objects by the arguments' names. None
    /// reads them from standard input, one a line.
    rows: Vec<String>,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

impl Test {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (name, version) = versioned(&self.name);
        let lines = match self.rows.is_empty() {
            false => self.rows.clone(),
            true => {
                if std::io::stdin().is_terminal() {
                    eprintln!("Reading rows from standard input; end them with Ctrl-D.");
                }
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                lines.map(str::to_owned).collect()
            }
        };
        let row = |line: &String| {
            serde_json::from_str::<Value>(line)
                .map_err(|e| Fault::usage(format!("`{line}` is not JSON: {e}")))
        };
        let trial = NewTrial {
            version: version.into(),
            rows: lines.iter().map(row).collect::<Result<_, _>>()?,
        };
        let session = self.target.open().await?;
        let result = session.client.function_test(name, &trial).await?;
        if self.output == Output::Json {
            return output::json(&result);
        }
        for log in &result.logs {
            eprintln!(
                "{:5} {}: {}",
                log.level,
                plain(&log.function),
                plain(&log.message)
            );
        }
        let total = result.rows.len() as u64;
        let page = Rows {
            columns: result.columns,
            rows: result.rows,
            offset: 0,
            total,
            truncated: false,
            next: None,
        };
        println!("{}", output::rows(&page));
        Ok(())
    }
}
