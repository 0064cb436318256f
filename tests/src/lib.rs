//! What end-to-end tests and benchmarks share: where programs and guests are, a server in process.

use std::path::PathBuf;
use std::time::Duration;

use sandmill_api_types::{Client, ClientError, Job, NewJob, NewTable, Problem};
use sandmill_app::{Server, Settings};

/// Cargo's build folder of this very test.
fn target() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let folder = exe.ancestors().find(|p| p.join("CACHEDIR.TAG").exists());
    folder.map(PathBuf::from).unwrap_or_default()
}

/// The program `sandmill`; `cargo xtask test` builds it.
pub fn program() -> PathBuf {
    let named = std::env::var_os("SANDMILL_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| target().join("debug/sandmill"))
}

/// Bytes of a guest module; `cargo xtask guests` builds them.
pub fn guest(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("SANDMILL_GUESTS").map(PathBuf::from);
    let path = folder
        .unwrap_or_else(|| target().join("guests"))
        .join(format!("{name}.wasm"));
    match std::fs::read(&path) {
        Ok(wasm) => wasm,
        Err(e) => unreachable!("{}: {e}; run `cargo xtask guests`", path.display()),
    }
}

/// A server in this process on a free port, with a folder for its data and one for tables.
pub struct House {
    /// Data and tables.
    pub folder: tempfile::TempDir,
    /// The server.
    pub server: Server,
    /// A client of its first user.
    pub client: Client,
}

impl House {
    /// Starts a server with small limits.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts a server after a change of its settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|e| unreachable!("{e}"));
        let tables = folder.path().join("tables");
        std::fs::create_dir(&tables).unwrap_or_else(|e| unreachable!("{e}"));
        let mut settings = Settings::new(folder.path().join("data"));
        settings.listen.set_port(0);
        settings.allow = vec![tables];
        settings.compiler = Some(program());
        settings.sandbox.instances = 48;
        settings.sandbox.call_deadline = Duration::from_secs(1);
        change(&mut settings);
        let server = Server::start(settings)
            .await
            .unwrap_or_else(|e| unreachable!("{e}"));
        let client = Client::new(&server.url(), server.token());
        Self {
            folder,
            server,
            client,
        }
    }

    /// Writes a table's file and registers it.
    pub async fn table(&self, name: &str, file: &str, content: &[u8]) {
        let path = self.folder.path().join("tables").join(file);
        std::fs::write(path, content).unwrap_or_else(|e| unreachable!("{e}"));
        let table = NewTable {
            name: name.into(),
            path: file.into(),
            format: None,
            replace: true,
        };
        if let Err(e) = self.client.table_create(&table).await {
            unreachable!("{e}")
        }
    }

    /// Publishes a module.
    pub async fn publish(&self, wasm: Vec<u8>) {
        if let Err(e) = self.client.function_upload(wasm).await {
            unreachable!("{e}")
        }
    }

    /// Runs a job to its end.
    pub async fn job(&self, sql: &str) -> Result<Job, ClientError> {
        self.run(NewJob {
            sql: sql.into(),
            ..NewJob::default()
        })
        .await
    }

    /// Runs a job with limits of its own to its end.
    pub async fn run(&self, job: NewJob) -> Result<Job, ClientError> {
        let mut job = self
            .client
            .job_submit(&job, Duration::from_secs(20))
            .await?;
        while !job.state.is_terminal() {
            job = self
                .client
                .job_view(&job.id, Duration::from_secs(20), Some(job.revision))
                .await?;
        }
        Ok(job)
    }

    /// Rows of a query as text, cells joined by `,` and rows by a space; else the problem.
    pub async fn rows(&self, sql: &str) -> Result<String, Problem> {
        let job = match self.job(sql).await {
            Ok(job) => job,
            Err(ClientError::Problem(problem)) => return Err(*problem),
            Err(other) => unreachable!("{other}"),
        };
        if let Some(problem) = job.error {
            return Err(problem);
        }
        let page = self
            .client
            .job_rows(&job.id, 0, 1000)
            .await
            .unwrap_or_else(|e| unreachable!("{e}"));
        let cell = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let rows = page
            .rows
            .into_iter()
            .map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join(","));
        Ok(rows.collect::<Vec<_>>().join(" "))
    }
}
