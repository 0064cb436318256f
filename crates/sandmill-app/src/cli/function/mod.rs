mod alias;
mod versions;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandmill_api_types::Function as FunctionBody;

use super::fault::Fault;
use super::output::{self, Output};
use super::session::{Listing, Named, Target};
use super::terminal::plain;

/// Functions are named NAME or, where a version is meant, NAME@VERSION: a number or an alias.
#[derive(Subcommand)]
pub(crate) enum Function {
    /// Publish the functions of a module.
    Upload(Upload),
    /// List functions, each in the version that a call without a version means.
    List(Listing),
    /// Show a function, or NAME@VERSION, and where it came from.
    Show(Named),
    /// List the versions of a function.
    Versions(Each),
    /// Name versions.
    #[command(subcommand)]
    Alias(alias::Alias),
    /// Let calls without a version mean an earlier version.
    Rollback(alias::Rollback),
    /// Try a function, or NAME@VERSION, on rows.
    Test(versions::Test),
    /// Show which jobs used a function.
    Usage(versions::Usage),
    /// Write the module of a function, or of NAME@VERSION, to a file.
    Download(versions::Download),
    /// Delete a function with all versions, or NAME@NUMBER only.
    Delete(Named),
}

#[derive(Args)]
pub(crate) struct Upload {
    /// The module.
    module: PathBuf,
    /// Sign it with this private key.
    #[arg(long, value_name = "KEY", conflicts_with = "signature")]
    sign: Option<PathBuf>,
    /// A signature that was made before: a file of `sandmill key sign`.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[arg(short, long, value_parser = output::many(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

/// `NAME@VERSION`, the version `default` if there is none.
fn versioned(text: &str) -> (&str, &str) {
    text.split_once('@')
        .unwrap_or((text, sandmill_model::DEFAULT))
}

/// A moment for people: to the second.
fn short(moment: &str) -> String {
    moment.get(..19).unwrap_or(moment).replace('T', " ")
}

/// What a command takes that lists things of one function.
#[derive(Args)]
pub(crate) struct Each {
    /// The function.
    name: String,
    #[arg(short, long, value_parser = output::many(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

fn print(
    output: Output,
    value: &impl serde::Serialize,
    functions: &[FunctionBody],
) -> Result<(), Fault> {
    let row = |f: &FunctionBody| {
        vec![
            f.name.clone(),
            f.version.to_string(),
            f.aliases.join(", "),
            f.signature.clone(),
            f.volatility.clone(),
            f.package.clone(),
        ]
    };
    let headers = [
        "name",
        "version",
        "aliases",
        "signature",
        "volatility",
        "package",
    ];
    let rows = functions.iter().map(row).collect();
    output::list(output, value, &headers, &[false, true], rows)
}

impl Function {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Upload(upload) => upload.run().await,
            Self::List(list) => {
                let functions = list.target.open().await?.client.function_list().await?;
                print(list.output, &functions, &functions.items)
            }
            Self::Show(one) => versions::show(&one).await,
            Self::Versions(one) => versions::list(&one).await,
            Self::Alias(alias) => alias.run().await,
            Self::Rollback(rollback) => rollback.run().await,
            Self::Test(test) => test.run().await,
            Self::Usage(usage) => usage.run().await,
            Self::Download(download) => download.run().await,
            Self::Delete(one) => versions::delete(&one).await,
        }
    }
}

impl Upload {
    async fn run(self) -> Result<(), Fault> {
        let wasm = super::key::read(&self.module)?;
        let signature = match (&self.sign, &self.signature) {
            (Some(key), _) => Some(super::key::sign(&wasm, key)?.to_string()),
            (None, Some(path)) => Some(super::key::read_text(path)?),
            (None, None) => None,
        };
        let session = self.target.open().await?;
        let done = session
            .client
            .function_upload_signed(wasm, signature.as_deref())
            .await;
        session.close().await;
        let done = done?;
        print(self.output, &done, &done.functions)?;
        if self.output != Output::Table {
            return Ok(());
        }
        let default = |f: &&FunctionBody| !f.aliases.iter().any(|a| a == sandmill_model::DEFAULT);
        for function in done.functions.iter().filter(default) {
            let name = plain(&function.name);
            println!(
                "Calls of {name} without a version still mean an older one: it was set. \
                 To follow the newest: sandmill function rollback {name} --to latest"
            );
        }
        Ok(())
    }
}
