mod build;
mod pack;
mod project;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use sandmill_api_types::{Client, Column, Job, JobState, NewJob};
use sandmill_sandbox::{Inspection, inspect};
use sandmill_signing::{PublicKey, Signature};

use super::fault::Fault;
use super::output::{self, Output};
use super::session::Target;
use super::terminal::plain;

#[derive(Subcommand)]
pub(crate) enum Udf {
    /// Make a project for a function.
    New(New),
    /// Build the project in a folder into a module.
    Build(Build),
    /// Put a manifest into a module whose compiler cannot.
    Pack(pack::Pack),
    /// Show what a module offers and needs, without running it.
    Inspect(Inspect),
    /// Run a function of a module on a table, in this process.
    Test(Test),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust with the sandmill crate.
    Rust,
    /// C with sandmill.h.
    C,
    /// C++ with sandmill.hpp.
    Cpp,
    /// Zig with sandmill.zig.
    Zig,
    /// AssemblyScript, declared in comments.
    Assemblyscript,
    /// Go, declared in comments.
    Go,
    /// JavaScript for QuickJS, declared in comments.
    Javascript,
}

#[derive(Args)]
pub(crate) struct New {
    /// Name of the project: lower-case letters, digits and `_`.
    name: String,
    /// Language.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// Folder to make; by default the name.
    #[arg(long)]
    path: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Build {
    /// Folder of the project.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the module goes; by default NAME.wasm in the project.
    #[arg(short, long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep names and debug information (DWARF), so that errors name files and lines. The module is
    /// larger; its speed is the same but for what Binaryen would have added.
    #[arg(long)]
    debug: bool,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// The module. If MODULE.sig is there, it is shown who signed it.
    module: PathBuf,
    /// Check the signature with this public key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
}

#[derive(Args)]
pub(crate) struct Test {
    /// The module.
    module: PathBuf,
    /// The function.
    #[arg(long = "fn", value_name = "NAME")]
    function: String,
    /// A Parquet, CSV or JSON file.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Expressions over the file's columns, one for each argument; by default the columns named
    /// like the arguments, else the first columns.
    #[arg(long, value_delimiter = ',')]
    args: Vec<String>,
    /// Rows to compute.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    /// Compute this row only, counted from 0 in the file, and print its arguments first.
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    row: Option<u64>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

impl Udf {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::New(new) => {
                let path = new.path.clone().unwrap_or_else(|| PathBuf::from(&new.name));
                project::create(&new.name, new.lang, &path)?;
                println!("{} is ready. Next:", path.display());
                println!("  sandmill udf build {}", path.display());
                Ok(())
            }
            Self::Build(build) => built(&build::build(
                &build.path,
                build.out.as_deref(),
                build.debug,
            )?),
            Self::Pack(pack) => built(&pack.run()?),
            Self::Inspect(args) => {
                let found = read(&args.module)?;
                let signed = signed(&args, &found)?;
                show(&found, &signed, args.output)
            }
            Self::Test(test) => test.run().await,
        }
    }
}

/// Says what a new module offers.
fn built(out: &Path) -> Result<(), Fault> {
    let found = read(out)?;
    let functions = &found.description.functions;
    println!("{}: {} bytes", out.display(), found.description.size);
    functions
        .iter()
        .for_each(|f| println!("  {}", f.signature()));
    Ok(())
}

fn read(path: &Path) -> Result<Inspection, Fault> {
    let wasm = std::fs::read(path)
        .map_err(|e| Fault::failed(format!("{} cannot be read: {e}", path.display())))?;
    inspect(&wasm).map_err(|e| Fault::problem(&e.into_failure(None).into(), None))
}

/// A module with who signed it, as JSON.
#[derive(serde::Serialize)]
struct Inspected<'a> {
    #[serde(flatten)]
    module: &'a sandmill_model::ModuleDescription,
    signed_by: &'a str,
}

/// What the signature beside a module says.
fn signed(args: &Inspect, found: &Inspection) -> Result<String, Fault> {
    let file = super::key::beside(&args.module);
    if !file.exists() && args.key.is_none() {
        return Ok("nobody".into());
    }
    let wrong = |e: sandmill_signing::Error| Fault::failed(format!("{}: {e}", file.display()));
    let signature: Signature = super::key::read_text(&file)?.parse().map_err(wrong)?;
    let Some(key) = &args.key else {
        return Ok(format!(
            "{} (not checked: give its public key with --key)",
            signature.key
        ));
    };
    let key = PublicKey::from_pem(&super::key::read_text(key)?).map_err(wrong)?;
    key.verify(found.description.digest, &signature)
        .map_err(wrong)?;
    Ok(format!("{} (checked)", signature.key))
}

fn show(found: &Inspection, signed: &str, output: Output) -> Result<(), Fault> {
    let module = &found.description;
    if output == Output::Json {
        return output::json(&Inspected {
            module,
            signed_by: signed,
        });
    }
    println!(
        "package   {} {}",
        plain(&module.package),
        plain(&module.package_version)
    );
    println!("digest    {}", module.digest);
    println!("signed by {signed}");
    println!("size      {} bytes", module.size);
    println!("abi       {}", module.abi);
    println!("language  {}", plain(&module.language));
    println!("sdk       {}", plain(&module.sdk));
    let imports = if module.imports.is_empty() {
        "none".into()
    } else {
        module.imports.join(", ")
    };
    println!("imports   {}", plain(&imports));
    for function in &module.functions {
        println!("\n{}", plain(&function.signature()));
        let strict = if function.strict {
            "NULL in gives NULL out"
        } else {
            "called on NULL"
        };
        println!("  {:?}, {strict}", function.volatility);
        if !function.doc.is_empty() {
            println!("  {}", plain(&function.doc).replace('\n', "\n  "));
        }
        function
            .examples
            .iter()
            .for_each(|example| println!("  example: {}", plain(example)));
    }
    Ok(())
}

impl Test {
    async fn run(self) -> Result<(), Fault> {
        let found = read(&self.module)?;
        let functions = &found.description.functions;
        let function = functions
            .iter()
            .find(|f| f.name == self.function)
            .ok_or_else(|| {
                let names: Vec<_> = functions.iter().map(|f| f.name.as_str()).collect();
                Fault::usage(format!(
                    "the module has no function {}; it has {}",
                    self.function,
                    names.join(", ")
                ))
            })?;
        let session = Target::here().open().await?;
        let result = async {
            session.add_function(&self.module).await?;
            let path = self.input.to_string_lossy();
            let table = session.table("input", &path, None, true)?;
            let table = session.client.table_create(&table).await?;
            let names: Vec<_> = function.arguments.iter().map(|a| a.name.clone()).collect();
            let arguments = arguments(&self.args, &names, &table.columns)?;
            let call = format!(
                "{}({}) AS {}",
                function.name,
                arguments.join(", "),
                quote(&format!("{}()", function.name))
            );
            let from = match self.row {
                None => format!("input LIMIT {}", self.limit),
                Some(row) => {
                    // The limit keeps the call away from all other rows.
                    let from = format!("(SELECT * FROM input LIMIT 1 OFFSET {row}) AS input");
                    self.print_row(&session.client, &arguments, &names, &from, row)
                        .await?;
                    from
                }
            };
            let sql = format!("SELECT *, {call} FROM {from}");
            let job = run(&session.client, &sql).await?;
            for line in session.client.job_logs(&job.id, 0).await?.lines {
                eprintln!(
                    "{:5} {}: {}",
                    line.level,
                    line.function,
                    plain(&line.message)
                );
            }
            match (job.state, &job.error) {
                (JobState::Succeeded, _) => match self.output.format() {
                    None => {
                        println!(
                            "{}",
                            output::rows(
                                &session
                                    .client
                                    .job_rows(&job.id, 0, self.limit.clamp(1, 100_000))
                                    .await?
                            )
                        );
                        Ok(())
                    }
                    Some(format) => {
                        output::copy(session.client.job_download(&job.id, format).await?).await
                    }
                },
                (_, Some(problem)) => Err(Fault::problem(problem, Some(&sql))),
                (state, None) => Err(Fault::failed(format!("the job was {}", state.as_str()))),
            }
        };
        let result = result.await;
        session.close().await;
        result
    }
}

impl Test {
    /// Prints what the function is given in a row.
    async fn print_row(
        &self,
        client: &Client,
        arguments: &[String],
        names: &[String],
        from: &str,
        row: u64,
    ) -> Result<(), Fault> {
        if arguments.is_empty() {
            return Ok(());
        }
        let columns: Vec<_> = arguments
            .iter()
            .enumerate()
            .map(|(n, argument)| {
                let last = names.last().map_or("argument", String::as_str);
                let name = names.get(n).map_or(last, String::as_str);
                format!("{argument} AS {}", quote(&format!("{} {name}", n + 1)))
            })
            .collect();
        let sql = format!("SELECT {} FROM {from}", columns.join(", "));
        let job = run(client, &sql).await?;
        if let Some(problem) = &job.error {
            return Err(Fault::problem(problem, Some(&sql)));
        }
        let page = client.job_rows(&job.id, 0, 1).await?;
        let Some(values) = page.rows.first() else {
            return Err(Fault::usage(format!("the file has no row {row}")));
        };
        eprintln!("row {row}");
        for (column, value) in page.columns.iter().zip(values) {
            let name = column.name.split_once(' ').map_or("", |(_, name)| name);
            let mut text = plain(&value.to_string());
            if text.len() > SHOWN_BYTES {
                text = text.chars().take(SHOWN_BYTES).collect::<String>() + "…";
            }
            eprintln!("  {name} = {text}");
        }
        Ok(())
    }
}

/// Characters of a value that are printed.
const SHOWN_BYTES: usize = 1000;

/// Runs a job to its end.
async fn run(client: &Client, sql: &str) -> Result<Job, Fault> {
    let new = NewJob {
        sql: sql.into(),
        show_values: true,
        ..NewJob::default()
    };
    let wait = Duration::from_secs(30);
    let mut job = client.job_submit(&new, wait).await?;
    while !job.state.is_terminal() {
        job = client.job_view(&job.id, wait, Some(job.revision)).await?;
    }
    Ok(job)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What each argument is computed from.
fn arguments(given: &[String], names: &[String], columns: &[Column]) -> Result<Vec<String>, Fault> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let has = |name: &String| columns.iter().any(|c| c.name == *name);
    if names.iter().all(has) {
        return Ok(names.iter().map(|name| quote(name)).collect());
    }
    if columns.len() < names.len() {
        return Err(Fault::usage(format!(
            "the function takes {} arguments, the file has {} columns\n  hint: write the arguments with --args",
            names.len(),
            columns.len()
        )));
    }
    Ok(columns
        .iter()
        .take(names.len())
        .map(|c| quote(&c.name))
        .collect())
}
