use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandmill_model::{
    ErrorCode, Failure, JobId, JobSpec, JobState, LogLine, OnResultLimit, Parameter, TableSpec,
    TenantId, VersionRef,
};
use sandmill_store::{Change, Error, JobFilter, JobRecord, Page, Shared, blobs::Blobs};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::translate;
use crate::runner::{Runner, Validation};
use crate::suggestions::suggest;
use crate::totals::Numbers;
use crate::totals::Totals;
use crate::worker;

/// Limits of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Jobs that run at a time.
    pub slots: usize,
    /// Jobs of a tenant that may wait.
    pub queue_limit: u64,
    /// How long a claim holds without a heartbeat.
    pub lease: Duration,
    /// How often a job is started when its worker dies.
    pub max_attempts: u32,
    /// Wall-clock limit of a job that names none.
    pub timeout: Duration,
    /// Longest wall-clock limit that a job may name.
    pub max_timeout: Duration,
    /// Bytes of a result that a job may name at most, and the default.
    pub result_bytes: u64,
    /// Bytes of a statement.
    pub sql_bytes: usize,
    /// Functions that are tried on single rows at a time.
    pub trials: usize,
    /// Wall-clock limit of such a trial.
    pub trial_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 4,
            queue_limit: 1000,
            lease: Duration::from_secs(30),
            max_attempts: 3,
            timeout: Duration::from_secs(3600),
            max_timeout: Duration::from_secs(24 * 3600),
            result_bytes: 1 << 30,
            sql_bytes: 1 << 20,
            trials: 2,
            trial_timeout: Duration::from_secs(10),
        }
    }
}

/// A job as a user asks for it.
#[derive(Debug, Clone, Default)]
pub struct NewJob {
    /// The statement.
    pub sql: String,
    /// Values for its parameters.
    pub params: Vec<Parameter>,
    /// Versions of functions where the statement names none.
    pub functions: BTreeMap<String, VersionRef>,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// Limit of the result in bytes.
    pub result_bytes: Option<u64>,
    /// What happens at that limit.
    pub on_result_limit: OnResultLimit,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether errors may show the values of the row that failed.
    pub show_values: bool,
}

/// The jobs of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Service(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub store: Shared,
    pub blobs: Blobs,
    pub runner: Arc<dyn Runner>,
    pub settings: Settings,
    /// Name of this process in claims.
    pub owner: String,
    /// Rings when a job was queued.
    pub queued: Notify,
    /// Counts changes of any job, for those who wait.
    pub changes: watch::Sender<u64>,
    /// Jobs that run in this process.
    pub running: Mutex<HashMap<JobId, CancellationToken>>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
    /// What functions used since the start.
    pub totals: Totals,
    /// Held while modules come and go: a file must not vanish between its upload and its row.
    pub modules: tokio::sync::Mutex<()>,
    pub trials: Arc<Semaphore>,
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

impl Service {
    /// Takes over what an earlier process left behind and starts the workers. Only one process may
    /// use a data folder at a time.
    pub async fn start(
        store: Shared,
        blobs: Blobs,
        runner: Arc<dyn Runner>,
        settings: Settings,
    ) -> Result<Self, Error> {
        blobs.discard_all()?;
        let trials = settings.trials.max(1);
        let service = Self(Arc::new(Inner {
            store,
            blobs,
            runner,
            settings,
            owner: JobId::generate().to_string(),
            queued: Notify::new(),
            changes: watch::Sender::new(0),
            running: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            totals: Totals::default(),
            modules: tokio::sync::Mutex::default(),
            trials: Arc::new(Semaphore::new(trials)),
        }));
        for orphan in service.0.store.job_orphans(i64::MAX).await? {
            worker::recover(&service.0, &orphan).await?;
        }
        service
            .0
            .tasks
            .spawn(worker::dispatch(Arc::clone(&service.0)));
        service.0.tasks.spawn(worker::watch(Arc::clone(&service.0)));
        Ok(service)
    }

    /// Stops taking jobs, interrupts those that run (they go back to the queue) and waits for them.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The store behind it.
    pub fn store(&self) -> &Shared {
        &self.0.store
    }

    /// Jobs that run in this process now.
    pub fn running(&self) -> usize {
        worker::lock(&self.0.running).len()
    }

    /// Numbers of the service at this moment, over all tenants.
    pub async fn numbers(&self) -> Result<Numbers, Failure> {
        let jobs = self.0.store.job_counts().await.map_err(translate)?;
        Ok(Numbers {
            jobs,
            running: self.running(),
            slots: self.0.settings.slots,
            functions: self.0.totals.all(),
        })
    }

    /// Fixes what a job will run.
    async fn spec(&self, tenant: &TenantId, job: NewJob) -> Result<JobSpec, Failure> {
        let settings = &self.0.settings;
        check(&job, settings)?;
        let functions = self.pins(tenant, &job).await?;
        let timeout = job.timeout.unwrap_or(settings.timeout);
        Ok(JobSpec {
            kind: Default::default(),
            sql: job.sql,
            params: job.params,
            functions,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            result_bytes: job.result_bytes.unwrap_or(settings.result_bytes),
            on_result_limit: job.on_result_limit,
            max_attempts: settings.max_attempts,
            show_values: job.show_values,
            labels: job.labels,
        })
    }

    /// Tables of a tenant, as a run sees them.
    pub(crate) async fn specs(&self, tenant: &TenantId) -> Result<Vec<TableSpec>, Failure> {
        let tables = self.0.store.table_list(tenant).await.map_err(translate)?;
        Ok(tables.into_iter().map(|t| t.description.spec).collect())
    }

    /// Plans a job without running it.
    pub async fn validate(&self, tenant: &TenantId, job: NewJob) -> Result<Validation, Failure> {
        let spec = self.spec(tenant, job).await?;
        self.planned(tenant, &spec).await
    }

    async fn planned(&self, tenant: &TenantId, spec: &JobSpec) -> Result<Validation, Failure> {
        let tables = self.specs(tenant).await?;
        match self.0.runner.validate(tenant, spec, tables).await {
            Ok(validation) => Ok(validation),
            Err(failure) => Err(suggest(&self.0, tenant, failure).await),
        }
    }

    /// The physical plan of a job as it would be made now.
    pub async fn plan(&self, tenant: &TenantId, id: JobId) -> Result<Validation, Failure> {
        let job = self.view(tenant, id).await?;
        self.planned(tenant, &job.spec).await
    }

    /// Queues a job. When this returns, the job survives the end of the process.
    pub async fn submit(&self, tenant: &TenantId, job: NewJob) -> Result<JobRecord, Failure> {
        let spec = self.spec(tenant, job).await?;
        self.queue(JobRecord::queued(tenant.clone(), spec, now()))
            .await
    }

    async fn queue(&self, job: JobRecord) -> Result<JobRecord, Failure> {
        let limit = self.0.settings.queue_limit;
        let inserted = self.0.store.job_insert(&job, limit).await;
        inserted.map_err(|error| {
            let failure = translate(error);
            match failure.code {
                ErrorCode::StateConflict => failure
                    .hint("Submit the statement as a new job; it takes the present versions."),
                _ => failure,
            }
        })?;
        self.0.queued.notify_one();
        Ok(job)
    }

    /// Runs an ended job again, with the same functions, as a new job.
    pub async fn retry(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Failure> {
        let old = self.view(tenant, id).await?;
        if !old.state.is_terminal() {
            let message = format!("The job {id} is {} and cannot be run again yet.", old.state);
            return Err(Failure::new(ErrorCode::StateConflict, message)
                .hint("Wait for its end or cancel it first."));
        }
        let mut job = JobRecord::queued(tenant.clone(), old.spec, now());
        job.retry_of = Some(id);
        self.queue(job).await
    }

    /// One job.
    pub async fn view(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Failure> {
        self.0.store.job_get(tenant, id).await.map_err(translate)
    }

    /// Waits until the job has ended or, with `seen`, until its revision is another one.
    pub async fn wait(
        &self,
        tenant: &TenantId,
        id: JobId,
        patience: Duration,
        seen: Option<u64>,
    ) -> Result<JobRecord, Failure> {
        let end = Instant::now() + patience;
        // Subscribed before the first look, so that no change falls in between.
        let mut changes = self.0.changes.subscribe();
        loop {
            let job = self.view(tenant, id).await?;
            if job.state.is_terminal() || seen.is_some_and(|seen| seen != job.revision) {
                return Ok(job);
            }
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(job),
                () = self.0.stop.cancelled() => return Ok(job),
                changed = changes.changed() => if changed.is_err() { return Ok(job) },
            }
        }
    }

    /// Jobs, newest first.
    pub async fn list(
        &self,
        tenant: &TenantId,
        filter: &JobFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<JobRecord>, Failure> {
        self.0
            .store
            .job_list(tenant, filter, limit, cursor)
            .await
            .map_err(translate)
    }

    /// Asks a job to stop. Ended jobs stay as they are.
    pub async fn cancel(&self, tenant: &TenantId, id: JobId) -> Result<JobRecord, Failure> {
        // The state may change between look and change; then look again.
        for _ in 0..5 {
            let job = self.view(tenant, id).await?;
            let change = match job.state {
                JobState::Queued => Change::to(JobState::Canceled),
                JobState::Planning | JobState::Running | JobState::Finalizing => {
                    Change::to(JobState::Canceling)
                }
                _ => return Ok(job),
            };
            match self.0.store.job_change(tenant, id, change, now()).await {
                Ok(job) => {
                    if let Some(token) = worker::lock(&self.0.running).get(&id) {
                        token.cancel();
                    }
                    self.0.changed();
                    return Ok(job);
                }
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(translate(error)),
            }
        }
        self.view(tenant, id).await
    }

    /// Log lines of a job from line `from` on with their numbers; of one function if it is named.
    pub async fn logs(
        &self,
        tenant: &TenantId,
        id: JobId,
        function: Option<&str>,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(u64, LogLine)>, Failure> {
        self.view(tenant, id).await?;
        self.0
            .store
            .log_read(tenant, id, function, from, limit)
            .await
            .map_err(translate)
    }
}

impl Inner {
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

fn check(job: &NewJob, settings: &Settings) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(ErrorCode::RequestInvalid, message));
    if job.sql.trim().is_empty() {
        return wrong("The statement is empty.".into());
    }
    if job.sql.len() > settings.sql_bytes {
        return wrong(format!(
            "The statement has more than {} KiB.",
            settings.sql_bytes >> 10
        ));
    }
    if job.sql.contains('\0') {
        return wrong("The statement contains a NUL character.".into());
    }
    if job.params.len() > 1000 {
        return wrong("There are more than 1000 parameters.".into());
    }
    if job
        .timeout
        .is_some_and(|t| t.is_zero() || t > settings.max_timeout)
    {
        let most = settings.max_timeout.as_secs();
        return wrong(format!(
            "The timeout must be more than 0 and at most {most} s."
        ));
    }
    if job
        .result_bytes
        .is_some_and(|b| b == 0 || b > settings.result_bytes)
    {
        return wrong(format!(
            "The result limit must be 1 to {} bytes.",
            settings.result_bytes
        ));
    }
    let long = |(name, value): (&String, &String)| {
        name.is_empty()
            || name.len() > 63
            || value.len() > 255
            || name.chars().any(char::is_control)
    };
    if job.labels.len() > 32 || job.labels.iter().any(long) {
        return wrong("Labels: at most 32, names of 1 to 63 bytes, values of at most 255.".into());
    }
    Ok(())
}
