use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::fault::Fault;
use super::session::default_data;
use crate::{Network, Server, Settings};

/// Start a server on this machine. All its state lies in one data folder.
#[derive(Args)]
pub(crate) struct Serve {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8420")]
    listen: SocketAddr,
    /// Address of the metrics for Prometheus; without it there are none. It asks for no token.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Data folder; made when it is missing.
    #[arg(long, env = "SANDMILL_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder that tables may lie below; may be given several times.
    #[arg(long, value_name = "DIR")]
    allow: Vec<PathBuf>,
    /// Jobs that run at a time.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Memory of all queries together, in MiB; beyond it they spill to disk.
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    memory: usize,
    /// Memory of one function instance, in MiB.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    function_memory: usize,
    /// Longest call of a function on one batch, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    function_timeout: u64,
    /// Function instances that may exist at a time.
    #[arg(long, default_value_t = 128)]
    instances: u32,
    /// Listen on an address that other machines reach, although tokens travel in the clear.
    #[arg(long)]
    insecure_http: bool,
    /// Dangerous, for tests: let functions reach addresses of this network, like 127.0.0.0/8, although
    /// they are this machine's or private; may be given several times. Manifest and policy must still
    /// name the place.
    #[arg(long, value_name = "NETWORK")]
    http_allow_network: Vec<Network>,
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let filter =
            EnvFilter::try_from_env("SANDMILL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
        if !self.insecure_http {
            Server::check_loopback(self.listen)?;
            self.metrics.map_or(Ok(()), Server::check_loopback)?;
        }
        let data = self.data.unwrap_or_else(default_data);
        let mut settings = Settings::new(&data);
        settings.listen = self.listen;
        settings.metrics = self.metrics;
        settings.allow = self.allow;
        settings.jobs.slots = self.slots;
        settings.engine.memory_bytes = self.memory << 20;
        settings.sandbox.memory_bytes = self.function_memory << 20;
        settings.sandbox.call_deadline = Duration::from_secs(self.function_timeout);
        settings.sandbox.instances = self.instances;
        for network in &self.http_allow_network {
            tracing::warn!(%network, "functions may reach this network");
        }
        settings.http_networks = self.http_allow_network;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(settings).await?;
        let token = data.join("token");
        let token = match server.is_new() {
            true => format!(
                "First token (also in {}): {}",
                token.display(),
                server.token()
            ),
            false => format!("Token: in {}", token.display()),
        };
        // A closed standard output is no reason to stop serving.
        let _ = writeln!(
            std::io::stdout(),
            "Sandmill {} runs at {}\nData folder: {}\n{token}\nTry: sandmill job submit \"SELECT 1 + 1 AS two\"",
            env!("CARGO_PKG_VERSION"),
            server.url(),
            data.display(),
        );
        tokio::select! {
            _ = terminate.recv() => {}
            result = tokio::signal::ctrl_c() => result?,
        }
        tracing::info!("shutting down");
        server.shutdown().await;
        Ok(())
    }
}
