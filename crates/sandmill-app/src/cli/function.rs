use std::path::PathBuf;

use clap::{Args, Subcommand};
use sandmill_api_types::Function as FunctionBody;

use super::fault::Fault;
use super::output::{self, Output};
use super::session::{Listing, Named, Target};
use super::terminal::plain;

#[derive(Subcommand)]
pub(crate) enum Function {
    /// Publish the functions of a module.
    Upload(Upload),
    /// List functions.
    List(Listing),
    /// Show a function and its versions.
    Show(Named),
    /// Delete a function with all versions.
    Delete(Named),
}

#[derive(Args)]
pub(crate) struct Upload {
    /// The module.
    module: PathBuf,
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
            f.signature.clone(),
            f.volatility.clone(),
            f.package.clone(),
        ]
    };
    let headers = ["name", "version", "signature", "volatility", "package"];
    let rows = functions.iter().map(row).collect();
    output::list(output, value, &headers, &[false, true], rows)
}

impl Function {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Upload(upload) => {
                let session = upload.target.open().await?;
                let done = session.add_function(&upload.module).await?;
                print(upload.output, &done, &done.functions)?;
                session.close().await;
            }
            Self::List(list) => {
                let functions = list.target.open().await?.client.function_list().await?;
                print(list.output, &functions, &functions.items)?;
            }
            Self::Show(one) => {
                let versions = one
                    .target
                    .open()
                    .await?
                    .client
                    .function_versions(&one.name)
                    .await?;
                if one.output == Output::Json {
                    return output::json(&versions);
                }
                let Some(newest) = versions.items.first() else {
                    return Err(Fault::failed(format!("{} has no version", one.name)));
                };
                println!(
                    "{}\n  {}",
                    plain(&newest.signature),
                    plain(&newest.doc).replace('\n', "\n  ")
                );
                for example in &newest.examples {
                    println!("  example: {}", plain(example));
                }
                for version in &versions.items {
                    println!(
                        "  version {} of {}: module {}",
                        version.version, version.created_at, version.digest
                    );
                }
            }
            Self::Delete(one) => {
                one.target
                    .open()
                    .await?
                    .client
                    .function_delete(&one.name)
                    .await?;
                println!("{} is deleted", one.name);
            }
        }
        Ok(())
    }
}
