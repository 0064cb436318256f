use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use sandmill_api::tokens::{self, Verdict};
use sandmill_engine::Engine;
use sandmill_model::TenantId;
use sandmill_sandbox::{CompilerSettings, Sandbox, Stats};
use sandmill_store::blobs::Blobs;
use sandmill_store::{Role, Shared, Sqlite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::outbound::{Network, Outbound};
use crate::runners::QueryRunner;

/// How a server runs. The defaults suit one machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics are served, if they are; port 0 takes a free one.
    pub metrics: Option<SocketAddr>,
    /// The data folder.
    pub data: PathBuf,
    /// Compiled code; `compiled` in the data folder when `None`.
    pub cache: Option<PathBuf>,
    /// Folders that tables may lie below.
    pub allow: Vec<PathBuf>,
    /// The program whose hidden role compiles modules; this very program when `None`.
    pub compiler: Option<PathBuf>,
    /// Jobs and their limits.
    pub jobs: sandmill_jobs::Settings,
    /// Instances, their memory and deadlines.
    pub sandbox: sandmill_sandbox::Settings,
    /// Partitions, batches and memory of queries.
    pub engine: sandmill_engine::Settings,
    /// Addresses that functions may reach although they are this machine's or a private network's.
    /// For tests: a function that its tenant lets go there reaches whatever answers.
    pub http_networks: Vec<Network>,
    /// Life of the first token.
    pub token_days: u32,
}

impl Settings {
    /// A server on the given data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8420)),
            metrics: None,
            data: data.into(),
            cache: None,
            allow: Vec::new(),
            compiler: None,
            jobs: sandmill_jobs::Settings::default(),
            sandbox: sandmill_sandbox::Settings::default(),
            engine: sandmill_engine::Settings::default(),
            http_networks: Vec::new(),
            token_days: 365,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used.
    #[error("the data folder {path} cannot be used: {error}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Another server uses it.
    #[error("another server uses the data folder {0}; stop it or name another folder with --data")]
    InUse(String),
    /// The address is taken or not this machine's.
    #[error("{address} cannot be listened on: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// Requests would travel in the clear.
    #[error(
        "{0} can be reached from other machines, and tokens would travel in the clear; \
         listen on 127.0.0.1 behind a proxy with TLS, or add --insecure-http"
    )]
    Insecure(SocketAddr),
    /// The store.
    #[error(transparent)]
    Store(#[from] sandmill_store::Error),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] sandmill_sandbox::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] sandmill_model::Failure),
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    token: String,
    /// Whether this start made the token.
    new_token: bool,
    jobs: sandmill_jobs::Service,
    sandbox: Sandbox,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    _lock: File,
}

impl Server {
    /// Starts a server: takes over its data folder, recovers jobs, listens.
    ///
    /// # Errors
    /// What keeps it from starting, each saying what to do.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let data = settings.data.clone();
        let failed = |error| Error::Folder {
            path: data.display().to_string(),
            error,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .map_err(failed)?;
        let data = fs::canonicalize(&data).map_err(failed)?;
        let lock = lock(&data)?;
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|error| Error::Listen {
            address: settings.listen,
            error,
        })?;
        let address = listener.local_addr().map_err(failed)?;

        let metrics = match settings.metrics {
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|error| Error::Listen { address, error })?)
            }
            None => None,
        };
        let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose();
        let metrics_address = metrics_address.map_err(failed)?;

        let store: Shared = Arc::new(Sqlite::open(&data.join("sandmill.db")).await?);
        let (token, new_token) = first_token(&store, &data, settings.token_days).await?;
        let blobs = Blobs::open(&data)?;
        let spill = data.join("spill");
        // Left by a process that was killed.
        if spill.exists() {
            fs::remove_dir_all(&spill).map_err(failed)?;
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&spill)
            .map_err(failed)?;
        let program = settings.compiler.or_else(|| std::env::current_exe().ok());
        let sandbox = Sandbox::new(sandmill_sandbox::Settings {
            cache: Some(settings.cache.unwrap_or_else(|| data.join("compiled"))),
            compiler: CompilerSettings {
                program,
                ..settings.sandbox.compiler.clone()
            },
            ..settings.sandbox
        })?;
        let threads = settings.engine.target_partitions;
        let engine = Engine::new(sandmill_engine::Settings {
            allowed_roots: settings.allow,
            spill_dir: Some(spill),
            ..settings.engine
        })?;
        let outbound = Outbound::new(settings.http_networks);
        let runner = QueryRunner::new(engine, sandbox.clone(), blobs.clone(), outbound, threads);
        let runner = runner.map_err(failed)?;
        let jobs =
            sandmill_jobs::Service::start(store, blobs, Arc::new(runner), settings.jobs).await?;

        write_private(&data.join("address"), &format!("http://{address}\n")).map_err(failed)?;
        let state = sandmill_api::State {
            jobs: jobs.clone(),
            settings: Default::default(),
        };
        let stop = CancellationToken::new();
        let router = sandmill_api::router(state);
        let signal = stop.clone().cancelled_owned();
        if let Some(listener) = metrics {
            let router = metrics::router(jobs.clone(), sandbox.clone());
            let signal = stop.clone().cancelled_owned();
            tokio::spawn(async move {
                let served = axum::serve(listener, router).with_graceful_shutdown(signal);
                if let Err(error) = served.await {
                    tracing::error!(%error, "metrics are not served any more");
                }
            });
        }
        let serving = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(signal)
                .await
        });
        Ok(Self {
            address,
            metrics_address,
            token,
            new_token,
            jobs,
            sandbox,
            stop,
            serving,
            _lock: lock,
        })
    }

    /// Refuses addresses that other machines can reach.
    ///
    /// # Errors
    /// `Insecure`.
    pub fn check_loopback(address: SocketAddr) -> Result<(), Error> {
        if address.ip().is_loopback() {
            Ok(())
        } else {
            Err(Error::Insecure(address))
        }
    }

    /// Where it answers, like `http://127.0.0.1:8420`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where metrics are served, if they are.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics_address
            .map(|address| format!("http://{address}/metrics"))
    }

    /// The token of the first user.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether this start made the token.
    pub fn is_new(&self) -> bool {
        self.new_token
    }

    /// Counts of its sandbox.
    pub fn sandbox_stats(&self) -> Stats {
        self.sandbox.stats()
    }

    /// Stops: jobs that run go back to the queue, open requests get a moment to end.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.jobs.shutdown().await;
        if tokio::time::timeout(Duration::from_secs(5), self.serving)
            .await
            .is_err()
        {
            tracing::warn!("some requests did not end in time");
        }
    }
}

/// Keeps two servers off one folder; the system gives the lock back however the process ends.
fn lock(data: &Path) -> Result<File, Error> {
    let path = data.join("lock");
    let name = || data.display().to_string();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(|error| Error::Folder {
        path: name(),
        error,
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::InUse(name()))?;
    Ok(file)
}

/// The token in the data folder; makes one when there is none, or none that is still good.
async fn first_token(store: &Shared, data: &Path, days: u32) -> Result<(String, bool), Error> {
    let path = data.join("token");
    let failed = |error| Error::Folder {
        path: path.display().to_string(),
        error,
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    match fs::read_to_string(&path) {
        Ok(token) => {
            let token = token.trim();
            // An expired one, or one of a database that is gone, would lock its owner out for good.
            let verdict = tokens::verify(store.as_ref(), token, now).await?;
            if matches!(verdict, Verdict::Valid(_)) {
                return Ok((token.to_owned(), false));
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let end = now.saturating_add(i64::from(days) * 86_400_000_000);
    let (tenant, role) = (TenantId::single(), Role::Engineer);
    let token = tokens::issue(store.as_ref(), &tenant, "first", role, now, Some(end)).await?;
    write_private(&path, &format!("{token}\n")).map_err(failed)?;
    Ok((token, true))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let staged = path.with_extension("new");
    let _ = fs::remove_file(&staged);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, path)
}
