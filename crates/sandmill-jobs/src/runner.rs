use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sandmill_model::{
    ColumnInfo, Failure, HttpRule, JobId, JobSpec, LogLevel, LogLine, ModuleDescription, Progress,
    ResultManifest, TableDescription, TableSpec, TenantId, UsedVersion,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What does the work: the layer above plugs the engine in.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Checks a module and makes it ready, in the limited compiler process.
    async fn inspect_module(
        &self,
        tenant: &TenantId,
        wasm: Vec<u8>,
    ) -> Result<ModuleDescription, Failure>;
    /// Looks at a table's files.
    async fn describe_table(
        &self,
        tenant: &TenantId,
        spec: &TableSpec,
    ) -> Result<TableDescription, Failure>;
    /// Plans a statement without running it.
    async fn validate(
        &self,
        tenant: &TenantId,
        spec: &JobSpec,
        tables: Vec<TableSpec>,
    ) -> Result<Validation, Failure>;
    /// Runs a job and leaves its chunks, synced, in `run.staging`. Must come back soon after
    /// `run.handle.cancelled()`.
    async fn run(&self, run: Run) -> Result<ResultManifest, Failure>;
}

/// What planning a statement shows.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Columns of the result.
    pub columns: Vec<ColumnInfo>,
    /// The physical plan, one node a line.
    pub plan: String,
}

/// One attempt of a job.
pub struct Run {
    /// Owner.
    pub tenant: TenantId,
    /// Job.
    pub job: JobId,
    /// The job as it was submitted.
    pub spec: JobSpec,
    /// The tenant's tables.
    pub tables: Vec<TableSpec>,
    /// Places that the tenant's functions may call over HTTP.
    pub http: Vec<HttpRule>,
    /// An empty folder for the result.
    pub staging: PathBuf,
    /// The way back to the service.
    pub handle: RunHandle,
}

/// How a run tells the service how it goes.
#[derive(Clone)]
pub struct RunHandle {
    pub(crate) cancel: CancellationToken,
    pub(crate) shared: Arc<Shared>,
    pub(crate) planned: mpsc::Sender<()>,
}

/// What a run reports, collected until the next heartbeat.
#[derive(Default)]
pub(crate) struct Shared {
    progress: Mutex<Progress>,
    usage: Mutex<Vec<UsedVersion>>,
    logs: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<LogLine>,
    taken: u64,
    bytes: usize,
    dropped: u64,
}

/// Log lines kept of one attempt.
const LOG_LINES: u64 = 10_000;
/// Bytes of all those lines.
const LOG_BYTES: usize = 4 << 20;
/// Lines that wait for the store at a time: a rate, because each heartbeat takes those that wait.
const LOG_WAITING: usize = 2_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunHandle {
    /// Fires when the job must stop: cancelled, past its deadline, or the server ends.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Says that the statement is planned and rows begin to flow.
    pub fn running(&self) {
        // A full channel has been told already.
        let _ = self.planned.try_send(());
    }

    /// Reports progress.
    pub fn progress(&self, progress: Progress) {
        *lock(&self.shared.progress) = progress;
    }

    /// Reports what functions used so far, over all of the attempt.
    pub fn usage(&self, usage: Vec<UsedVersion>) {
        *lock(&self.shared.usage) = usage;
    }

    /// Adds a line to the job's log. Beyond 10,000 lines or 4 MiB of an attempt, or 2,000 lines in a
    /// quarter of a second, they are counted only.
    pub fn log(&self, line: LogLine) {
        let mut lines = lock(&self.shared.logs);
        let bytes = lines.bytes + line.message.len();
        if lines.taken < LOG_LINES && bytes <= LOG_BYTES && lines.waiting.len() < LOG_WAITING {
            lines.taken += 1;
            lines.bytes = bytes;
            lines.waiting.push(line);
        } else {
            lines.dropped += 1;
        }
    }
}

impl Shared {
    pub(crate) fn progress_now(&self) -> Progress {
        *lock(&self.progress)
    }

    pub(crate) fn usage_now(&self) -> Vec<UsedVersion> {
        lock(&self.usage).clone()
    }

    /// Takes the lines that wait; at the end with a note about those that were dropped.
    pub(crate) fn take_lines(&self, end: Option<i64>) -> Vec<LogLine> {
        let mut lines = lock(&self.logs);
        let mut taken = std::mem::take(&mut lines.waiting);
        if let (Some(at), true) = (end, lines.dropped > 0) {
            let message = format!("{} more lines were dropped", lines.dropped);
            taken.push(LogLine {
                at,
                level: LogLevel::Warn,
                function: String::new(),
                message,
            });
        }
        taken
    }
}
