use std::path::{Path, PathBuf};

use clap::Args;
use sandmill_api_types::{Client, NewTable};

use super::fault::Fault;
use super::output::{self, Output};
use crate::{Server, Settings};

/// What a command takes that lists things.
#[derive(Args)]
pub(crate) struct Listing {
    #[arg(short, long, value_parser = output::many(), default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    pub target: Target,
}

/// What a command takes that is about one thing.
#[derive(Args)]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    pub target: Target,
}

/// Which server a command talks to.
#[derive(Args, Clone)]
pub(crate) struct Target {
    /// Address of the server; by default that of the data folder.
    #[arg(long, env = "SANDMILL_URL", global = true, value_name = "URL")]
    server: Option<String>,
    /// API token; by default that of the data folder.
    #[arg(
        long,
        env = "SANDMILL_TOKEN",
        global = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// Data folder of the server on this machine.
    #[arg(long, env = "SANDMILL_DATA", global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Run in this process, without a server. Tables may be any file that you can read.
    #[arg(long, global = true)]
    local: bool,
}

/// Where data lies when nobody says.
pub(crate) fn default_data() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(home);
    base.unwrap_or_else(|| PathBuf::from(".")).join("sandmill")
}

/// Where compiled code of local runs lies.
fn default_cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home);
    base.unwrap_or_else(std::env::temp_dir)
        .join("sandmill/compiled")
}

/// A client, and the server behind it when that lives in this process.
pub(crate) struct Session {
    pub client: Client,
    server: Option<Server>,
    _folder: Option<tempfile::TempDir>,
}

impl Target {
    /// A server in this process with nothing in it.
    pub(crate) fn here() -> Self {
        Self {
            server: None,
            token: None,
            data: None,
            local: true,
        }
    }

    /// Connects, or starts a server in this process.
    pub(crate) async fn open(&self) -> Result<Session, Fault> {
        if self.local {
            return self.start().await;
        }
        let data = self.data.clone().unwrap_or_else(default_data);
        let read = |name: &str| {
            std::fs::read_to_string(data.join(name))
                .ok()
                .map(|t| t.trim().to_owned())
        };
        let url = self.server.clone().or_else(|| read("address"));
        let Some(url) = url else {
            return Err(Fault::usage(format!(
                "no server is known: {} has no address\n  hint: start one with `sandmill serve`, name one with --server, or use --local.",
                data.display()
            )));
        };
        let Some(token) = self.token.clone().or_else(|| read("token")) else {
            return Err(Fault::usage(
                "no token is known\n  hint: give --token or set SANDMILL_TOKEN.",
            ));
        };
        Ok(Session {
            client: Client::new(&url, &token),
            server: None,
            _folder: None,
        })
    }

    async fn start(&self) -> Result<Session, Fault> {
        let folder = match &self.data {
            Some(_) => None,
            None => Some(tempfile::tempdir()?),
        };
        let temporary = folder.as_ref().map(|f| f.path().to_owned());
        let data = self.data.clone().or(temporary).unwrap_or_else(default_data);
        let mut settings = Settings::new(data);
        settings.listen.set_port(0);
        settings.allow = vec!["/".into()];
        settings.cache = Some(default_cache());
        let server = Server::start(settings).await?;
        let client = Client::new(&server.url(), server.token());
        Ok(Session {
            client,
            server: Some(server),
            _folder: folder,
        })
    }
}

impl Session {
    /// Registers `name=path` tables; on a server the path is the server's.
    pub(crate) async fn add_table(&self, text: &str) -> Result<(), Fault> {
        let (name, path) = text
            .split_once('=')
            .ok_or_else(|| Fault::usage(format!("`{text}` is not name=path")))?;
        self.client
            .table_create(&self.table(name, path, None, true)?)
            .await?;
        Ok(())
    }

    /// A table to register, its path made absolute when this machine has such a file.
    pub(crate) fn table(
        &self,
        name: &str,
        path: &str,
        format: Option<sandmill_api_types::TableFormat>,
        replace: bool,
    ) -> Result<NewTable, Fault> {
        let found = std::fs::canonicalize(path);
        if let (Err(error), true) = (&found, self.server.is_some()) {
            return Err(Fault::failed(format!("{path} cannot be read: {error}")));
        }
        let absolute = found.ok().and_then(|p| p.to_str().map(str::to_owned));
        let path = absolute.unwrap_or_else(|| path.to_owned());
        Ok(NewTable {
            name: name.into(),
            path,
            format,
            replace,
        })
    }

    /// Publishes a module.
    pub(crate) async fn add_function(
        &self,
        path: &Path,
    ) -> Result<sandmill_api_types::FunctionUpload, Fault> {
        let wasm = std::fs::read(path)
            .map_err(|e| Fault::failed(format!("{} cannot be read: {e}", path.display())))?;
        Ok(self.client.function_upload(wasm).await?)
    }

    /// Stops the server if it lives here.
    pub(crate) async fn close(self) {
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}
