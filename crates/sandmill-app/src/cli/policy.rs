use clap::{Args, Subcommand};
use sandmill_api_types::HttpGrant;

use super::fault::Fault;
use super::output;
use super::session::{Listing, Target};

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Places that functions may call over HTTP. None by default.
    #[command(subcommand)]
    Http(Http),
}

#[derive(Subcommand)]
pub(crate) enum Http {
    /// Permit methods at a place, instead of those permitted there before.
    Allow(Allow),
    /// List the places.
    List(Listing),
    /// Permit nothing at a place any more.
    Remove(Remove),
}

#[derive(Args)]
pub(crate) struct Allow {
    /// The place, like api.example.org:80. There are no wildcards.
    #[arg(value_name = "HOST:PORT", value_parser = place)]
    place: (String, u16),
    /// Methods, like GET.
    #[arg(required = true, value_name = "METHOD")]
    methods: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Remove {
    /// The place.
    #[arg(value_name = "HOST:PORT", value_parser = place)]
    place: (String, u16),
    #[command(flatten)]
    target: Target,
}

fn place(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("write HOST:PORT")?;
    let port = port.parse().map_err(|_| "the port is no number")?;
    Ok((host.to_ascii_lowercase(), port))
}

impl Policy {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let Self::Http(command) = self;
        match command {
            Http::Allow(allow) => {
                let client = allow.target.open().await?.client;
                let mut policy = client.http_policy().await?;
                let (host, port) = allow.place;
                policy.allow.retain(|g| (&g.host, g.port) != (&host, port));
                let mut methods = allow.methods;
                for method in &mut methods {
                    method.make_ascii_uppercase();
                }
                let done = format!("Functions may {} at {host}:{port}", methods.join(", "));
                policy.allow.push(HttpGrant {
                    host,
                    port,
                    methods,
                });
                client.set_http_policy(&policy).await?;
                println!("{done}");
            }
            Http::List(list) => {
                let policy = list.target.open().await?.client.http_policy().await?;
                let row =
                    |g: &HttpGrant| vec![g.host.clone(), g.port.to_string(), g.methods.join(" ")];
                let rows = policy.allow.iter().map(row).collect();
                let headers = ["host", "port", "methods"];
                output::list(list.output, &policy, &headers, &[false, true, false], rows)?;
            }
            Http::Remove(remove) => {
                let client = remove.target.open().await?.client;
                let mut policy = client.http_policy().await?;
                let (host, port) = remove.place;
                let before = policy.allow.len();
                policy.allow.retain(|g| (&g.host, g.port) != (&host, port));
                if policy.allow.len() == before {
                    return Err(Fault::failed(format!("{host}:{port} is not permitted")));
                }
                client.set_http_policy(&policy).await?;
                println!("Functions may not call {host}:{port} any more");
            }
        }
        Ok(())
    }
}
