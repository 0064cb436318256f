//! Takes jobs from the queue and sees each to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandmill_model::{ErrorCode, Failure, JobState, ResultManifest};
use sandmill_store::{Change, Error, JobRecord};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::translate;
use crate::runner::{Run, RunHandle, Shared};
use crate::service::{Inner, Service, now};
use crate::suggestions::suggest;

/// Time between heartbeats: how old progress and log lines are at most.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long a run may take to stop once it is told to.
pub(crate) const STOPPING: Duration = Duration::from_secs(20);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Claims jobs while there are slots.
pub(crate) async fn dispatch(inner: Arc<Inner>) {
    let slots = Arc::new(Semaphore::new(inner.settings.slots.max(1)));
    loop {
        let slot = tokio::select! {
            () = inner.stop.cancelled() => return,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let Ok(slot) = slot else { return };
        let claimed =
            inner
                .store
                .job_claim(&inner.owner, now(), now() + micros(inner.settings.lease));
        let job = match claimed.await {
            Ok(Some(job)) => job,
            result => {
                if let Err(error) = result {
                    tracing::error!(%error, "no job can be claimed");
                    sleep(Duration::from_millis(200)).await;
                }
                drop(slot);
                tokio::select! {
                    () = inner.stop.cancelled() => return,
                    // The bell is enough in one process; the clock finds jobs queued by others.
                    () = inner.queued.notified() => {}
                    () = sleep(Duration::from_secs(1)) => {}
                }
                continue;
            }
        };
        inner.changed();
        let worker = Arc::clone(&inner);
        inner.tasks.spawn(async move {
            run(&worker, job).await;
            drop(slot);
            // Another job may wait for this slot.
            worker.queued.notify_one();
        });
    }
}

/// Takes back jobs whose worker stopped its heartbeat.
pub(crate) async fn watch(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = sleep(inner.settings.lease / 3) => {}
        }
        match inner.store.job_orphans(now()).await {
            Ok(orphans) => {
                for orphan in orphans
                    .iter()
                    .filter(|job| !lock(&inner.running).contains_key(&job.id))
                {
                    if let Err(error) = recover(&inner, orphan).await {
                        tracing::error!(job = %orphan.id, %error, "a lost job cannot be recovered");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "lost jobs cannot be looked for"),
        }
    }
}

/// Decides what becomes of a job whose worker is gone.
pub(crate) async fn recover(inner: &Inner, job: &JobRecord) -> Result<(), Error> {
    inner.blobs.results_remove(&job.tenant, job.id)?;
    let (attempt, most) = (job.attempt, job.spec.max_attempts);
    let mut change = if job.state == JobState::Canceling {
        Change::to(JobState::Canceled)
    } else if attempt < most {
        let mut change = Change::to(JobState::Queued);
        change.reason = Some(format!(
            "The server stopped while the job was {} (attempt {attempt} of {most}); it starts again.",
            job.state
        ));
        change
    } else {
        let mut change = Change::to(JobState::Failed);
        let message =
            format!("The server stopped {attempt} times while the job ran; it is not tried again.");
        change.error = Some(
            Failure::new(ErrorCode::ExecutorLost, message)
                .hint("Retry it once the cause is found."),
        );
        change
    };
    if change.state == JobState::Canceled {
        change.reason = Some("The server stopped while the job was being canceled.".into());
    }
    let (from, to) = (job.state, change.state);
    inner
        .store
        .job_change(&job.tenant, job.id, change, now())
        .await?;
    tracing::warn!(job = %job.id, %from, %to, attempt, "recovered a job whose worker is gone");
    inner.queued.notify_one();
    inner.changed();
    Ok(())
}

/// Why a run was told to stop.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    No,
    Cancel,
    Deadline,
    Shutdown,
    /// The claim went to somebody else.
    Lost,
}

async fn run(inner: &Arc<Inner>, job: JobRecord) {
    let cancel = CancellationToken::new();
    lock(&inner.running).insert(job.id, cancel.clone());
    let outcome = attempt(inner, &job, cancel).await;
    if let Err(error) = outcome {
        // The lease runs out and the watch takes the job back.
        tracing::error!(job = %job.id, %error, "the end of a job cannot be stored");
    }
    lock(&inner.running).remove(&job.id);
    inner.changed();
}

async fn attempt(
    inner: &Arc<Inner>,
    job: &JobRecord,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let shared = Arc::new(Shared::default());
    let (planned, mut planning) = mpsc::channel(1);
    let handle = RunHandle {
        cancel: cancel.clone(),
        shared: Arc::clone(&shared),
        planned,
    };
    let staging = inner.blobs.stage(job.id, job.attempt)?;
    let tables = Service(Arc::clone(inner)).specs(&job.tenant).await;
    let http = Service(Arc::clone(inner)).http_policy(&job.tenant).await;
    let work = tables.and_then(|tables| Ok((tables, http?)));
    let work = work.map(|(tables, http)| Run {
        tenant: job.tenant.clone(),
        job: job.id,
        spec: job.spec.clone(),
        tables,
        http,
        staging: staging.clone(),
        handle,
    });
    let runner = Arc::clone(&inner.runner);
    let mut task = tokio::spawn(async move {
        match work {
            Ok(work) => runner.run(work).await,
            Err(failure) => Err(failure),
        }
    });
    let deadline = Instant::now() + Duration::from_millis(job.spec.timeout_ms);
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await;
    let mut stop = Stop::No;
    let result = loop {
        tokio::select! {
            result = &mut task => break result,
            Some(()) = planning.recv() => {
                let mut change = Change::to(JobState::Running);
                change.owner = Some(inner.owner.clone());
                // It may be canceling already.
                if inner.store.job_change(&job.tenant, job.id, change, now()).await.is_ok() {
                    inner.changed();
                }
            }
            _ = beat.tick(), if stop != Stop::Lost => match heartbeat(inner, job, &shared).await {
                Ok(JobState::Canceling) if stop == Stop::No => stop = Stop::Cancel,
                Err(Error::NotFound(_)) => stop = Stop::Lost,
                _ => {}
            },
            () = tokio::time::sleep_until(deadline), if stop == Stop::No => stop = Stop::Deadline,
            () = inner.stop.cancelled(), if stop == Stop::No => stop = Stop::Shutdown,
            () = cancel.cancelled(), if stop == Stop::No => stop = Stop::Cancel,
        }
        if stop != Stop::No {
            cancel.cancel();
            break match timeout(STOPPING, &mut task).await {
                Ok(result) => result,
                Err(_) => {
                    tracing::error!(job = %job.id, "a run did not stop when it was told to");
                    task.abort();
                    Ok(Err(Failure::new(
                        ErrorCode::Internal,
                        "The job did not stop in time.",
                    )))
                }
            };
        }
    };
    let result = result.unwrap_or_else(|error| {
        tracing::error!(job = %job.id, %error, "a run ended by a panic");
        Err(Failure::new(
            ErrorCode::Internal,
            "Something went wrong inside Sandmill while the job ran.",
        ))
    });
    // A cancellation that arrived together with the end of the run.
    if stop == Stop::No && result.is_err() && cancel.is_cancelled() {
        stop = Stop::Cancel;
    }
    let lines = shared.take_lines(Some(now()));
    if !lines.is_empty()
        && let Err(error) = inner.store.log_append(&job.tenant, job.id, &lines).await
    {
        // Lost lines are no reason to lose the result.
        tracing::error!(job = %job.id, %error, "log lines cannot be stored");
    }
    inner.totals.add(&job.tenant, &shared.usage_now());
    if stop == Stop::Lost {
        return inner.blobs.discard(&staging);
    }
    let mut change = match (result, stop) {
        (Ok(result), Stop::No | Stop::Cancel) => {
            return seal(inner, job, &staging, &shared, result).await;
        }
        (_, Stop::Cancel) => Change::to(JobState::Canceled),
        (_, Stop::Deadline) => {
            let mut change = Change::to(JobState::TimedOut);
            let seconds = job.spec.timeout_ms as f64 / 1000.0;
            let message = format!("The job ran past its deadline of {seconds} s.");
            change.error = Some(
                Failure::new(ErrorCode::JobTimeout, message)
                    .hint("Give it a longer `timeout`, or let it do less.")
                    .limit("job.timeout_ms", job.spec.timeout_ms, None),
            );
            change
        }
        (_, Stop::Shutdown) => {
            let mut change = Change::to(JobState::Queued);
            change.not_an_attempt = true;
            change.reason = Some("The server shut down while the job ran; it starts again.".into());
            change
        }
        (Err(failure), _) => {
            let mut change = Change::to(JobState::Failed);
            change.error = Some(suggest(inner, &job.tenant, failure).await);
            change
        }
        (Ok(_), Stop::Lost) => return inner.blobs.discard(&staging),
    };
    inner.blobs.discard(&staging)?;
    change.progress = Some(shared.progress_now());
    change.usage = Some(shared.usage_now());
    change.owner = Some(inner.owner.clone());
    if change.state == JobState::Canceled {
        acknowledge(inner, job).await?;
    }
    inner
        .store
        .job_change(&job.tenant, job.id, change, now())
        .await
        .map(|_| ())
}

/// A job that is canceled passes through `canceling`, also when it was told by other means.
async fn acknowledge(inner: &Inner, job: &JobRecord) -> Result<(), Error> {
    match inner
        .store
        .job_change(&job.tenant, job.id, Change::to(JobState::Canceling), now())
        .await
    {
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn heartbeat(inner: &Inner, job: &JobRecord, shared: &Shared) -> Result<JobState, Error> {
    let lines = shared.take_lines(None);
    if !lines.is_empty() {
        inner.store.log_append(&job.tenant, job.id, &lines).await?;
    }
    let lease = now() + micros(inner.settings.lease);
    let progress = shared.progress_now();
    inner
        .store
        .job_heartbeat(
            &job.tenant,
            job.id,
            &inner.owner,
            lease,
            progress,
            &shared.usage_now(),
        )
        .await
}

/// Makes the result visible: the folder first, then the row. A crash in between leaves a folder
/// that recovery removes.
async fn seal(
    inner: &Inner,
    job: &JobRecord,
    staging: &std::path::Path,
    shared: &Shared,
    result: ResultManifest,
) -> Result<(), Error> {
    let to = async |state, result, progress| {
        let owner = Some(inner.owner.clone());
        let change = Change {
            usage: Some(shared.usage_now()),
            result,
            progress,
            owner,
            ..Change::to(state)
        };
        inner
            .store
            .job_change(&job.tenant, job.id, change, now())
            .await
    };
    // Small jobs end before the service hears that they were planned.
    for state in [JobState::Running, JobState::Finalizing] {
        if let Err(error) = to(state, None, None).await
            && !matches!(error, Error::Conflict(_))
        {
            return Err(error);
        }
    }
    inner.blobs.seal(&job.tenant, job.id, staging)?;
    let mut progress = shared.progress_now();
    progress.rows_written = result.rows;
    match to(JobState::Succeeded, Some(result), Some(progress)).await {
        Ok(_) => Ok(()),
        // Another worker has the job, and perhaps a result of its own in this place.
        Err(error @ Error::NotOwner(_)) => Err(error),
        Err(error) => {
            inner.blobs.results_remove(&job.tenant, job.id)?;
            let mut change = Change::to(JobState::Failed);
            change.error = Some(translate(error));
            change.owner = Some(inner.owner.clone());
            inner
                .store
                .job_change(&job.tenant, job.id, change, now())
                .await
                .map(|_| ())
        }
    }
}
