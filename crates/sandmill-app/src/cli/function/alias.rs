use clap::{Args, Subcommand};
use sandmill_model::{DEFAULT, LATEST};

use super::short;
use crate::cli::fault::Fault;
use crate::cli::output;
use crate::cli::session::Target;

#[derive(Subcommand)]
pub(crate) enum Alias {
    /// Let an alias name a version: `set f stable 3`.
    Set(Set),
    /// List the aliases of a function.
    List(super::Each),
    /// Forget an alias.
    Delete(Forget),
}

#[derive(Args)]
pub(crate) struct Set {
    /// The function.
    name: String,
    /// The alias; `default` is what a call without a version means.
    alias: String,
    /// A version, or an alias whose present version is taken.
    version: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Forget {
    /// The function.
    name: String,
    /// The alias.
    alias: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Rollback {
    /// The function.
    name: String,
    /// The version to go to, by number or alias; by default the one before the present. `latest`
    /// ends the roll-back: calls without a version follow the newest version again.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Alias {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Set(set) => {
                let client = set.target.open().await?.client;
                let version = set.version.as_str().into();
                let done = client.alias_set(&set.name, &set.alias, version).await?;
                println!("{}@{} is version {}", set.name, done.alias, done.version);
                Ok(())
            }
            Self::Delete(old) => {
                let client = old.target.open().await?.client;
                client.alias_delete(&old.name, &old.alias).await?;
                println!("{}@{} is forgotten", old.name, old.alias);
                Ok(())
            }
            Self::List(one) => {
                let aliases = one
                    .target
                    .open()
                    .await?
                    .client
                    .alias_list(&one.name)
                    .await?;
                let rows = aliases.items.iter().map(|alias| {
                    vec![
                        alias.alias.clone(),
                        alias.version.to_string(),
                        alias
                            .changed_at
                            .as_deref()
                            .map_or_else(|| "follows the newest".to_owned(), short),
                        alias.changed_by.clone().unwrap_or_default(),
                    ]
                });
                let headers = ["alias", "version", "set", "by"];
                output::list(
                    one.output,
                    &aliases,
                    &headers,
                    &[false, true],
                    rows.collect(),
                )
            }
        }
    }
}

impl Rollback {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let client = self.target.open().await?.client;
        let name = &self.name;
        let before = client.function_view(name).await?.version;
        let after = match self.to.as_deref() {
            Some(LATEST) => {
                client.alias_delete(name, DEFAULT).await?;
                client.function_view(name).await?.version
            }
            Some(version) => {
                client
                    .alias_set(name, DEFAULT, version.into())
                    .await?
                    .version
            }
            None => {
                let versions = client.function_versions(name).await?.items;
                let earlier = versions.iter().map(|f| f.version).find(|v| *v < before);
                let earlier = earlier.ok_or_else(|| {
                    Fault::failed(format!("{name} has no version before {before}"))
                })?;
                client
                    .alias_set(name, DEFAULT, earlier.into())
                    .await?
                    .version
            }
        };
        println!("{name} means version {after}; before it was {before}");
        Ok(())
    }
}
