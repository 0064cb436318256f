use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt;
use sandmill_engine::{Engine, Plan, Query};
use sandmill_functions::Version;
use sandmill_jobs::{Run, RunHandle, Runner, Validation};
use sandmill_model::{
    ErrorCode, Failure, FunctionPin, JobSpec, LogLevel, LogLine, ModuleDescription, OnResultLimit,
    Progress, ResultManifest, TableDescription, TableSpec, TenantId, UsedVersion,
};
use sandmill_sandbox::{Cancellation, Context, LogSink, Module, Sandbox, UsageSink};
use sandmill_store::blobs::Blobs;
use tokio::time::timeout;

use super::chunks::ChunkWriter;
use super::internal;
use super::lanes::Lanes;
use crate::outbound::Outbound;

/// Runs SQL queries: plans them with the functions they pin and writes their rows.
#[derive(Clone)]
pub(crate) struct QueryRunner(Arc<Inner>);

struct Inner {
    engine: Engine,
    sandbox: Sandbox,
    blobs: Blobs,
    outbound: Outbound,
    /// Queries keep threads busy for long; requests are answered on others.
    lanes: Lanes,
}

/// How long a job may take to stop by itself before its threads are given up.
const STOPPING: Duration = Duration::from_secs(3);

fn micros() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// The longest start of a module at its upload.
const STARTING: Duration = Duration::from_secs(3);

impl QueryRunner {
    pub(crate) fn new(
        engine: Engine,
        sandbox: Sandbox,
        blobs: Blobs,
        outbound: Outbound,
        threads: usize,
    ) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            engine,
            sandbox,
            blobs,
            outbound,
            lanes: Lanes::new(threads)?,
        })))
    }

    async fn load(&self, tenant: &TenantId, pin: &FunctionPin) -> Result<Module, Failure> {
        if let Some(module) = self.0.sandbox.loaded(tenant, pin.digest) {
            return Ok(module);
        }
        let (inner, tenant, digest) = (Arc::clone(&self.0), tenant.clone(), pin.digest);
        let load = move || {
            let wasm = inner
                .blobs
                .module_get(&tenant, digest)
                .map_err(sandmill_jobs::translate)?;
            inner
                .sandbox
                .load(&tenant, &wasm)
                .map_err(|e| e.into_failure(None))
        };
        tokio::task::spawn_blocking(load).await.map_err(internal)?
    }

    async fn plan(
        &self,
        tenant: &TenantId,
        spec: &JobSpec,
        tables: Vec<TableSpec>,
        context: Context,
    ) -> Result<Plan, Failure> {
        let mut functions = Vec::with_capacity(spec.functions.len());
        for pin in &spec.functions {
            let module = self.load(tenant, pin).await?;
            let index = module.function(pin.function()).ok_or_else(|| {
                let message = format!("The module {} has no function {}.", pin.digest, pin.name);
                Failure::new(ErrorCode::FunctionInvalid, message)
            })?;
            functions.push(Version {
                pin: pin.clone(),
                module,
                index,
            });
        }
        let query = Query {
            sql: spec.sql.clone(),
            params: spec.params.clone(),
            tables,
            functions,
            context: Arc::new(context),
        };
        self.0.engine.plan(query).await
    }

    async fn execute(
        self,
        run: Run,
        cancellation: Cancellation,
    ) -> Result<ResultManifest, Failure> {
        let cancelled = run.handle.cancelled();
        let seed = run
            .job
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                // FNV-1a: the same job draws the same random numbers when it is tried again.
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let usage = Usage {
            sink: Arc::default(),
            pins: run.spec.functions.clone(),
            handle: run.handle.clone(),
        };
        let context = Context {
            cancellation,
            seed,
            now_micros: micros(),
            logs: Some(Arc::new(JobLog(run.handle.clone()))),
            usage: Some(Arc::clone(&usage.sink)),
            show_values: run.spec.show_values,
            http: self.0.outbound.granted(run.http),
            ..Context::default()
        };
        let work = async {
            let plan = self
                .plan(&run.tenant, &run.spec, run.tables, context)
                .await?;
            run.handle.running();
            write(Arc::new(plan), &run.spec, run.staging, &run.handle, &usage).await
        };
        let result = tokio::select! {
            result = work => result,
            () = cancelled.cancelled() => Err(Failure::new(ErrorCode::JobCanceled, "The job was canceled.")),
        };
        usage.settle().await;
        usage.report();
        result
    }
}

/// Runs a plan to its end and writes its rows.
async fn write(
    plan: Arc<Plan>,
    spec: &JobSpec,
    staging: std::path::PathBuf,
    handle: &RunHandle,
    usage: &Usage,
) -> Result<ResultManifest, Failure> {
    let mut stream = plan.execute()?;
    let mut writer = ChunkWriter::new(staging, plan.schema());
    let rows_written = Arc::new(std::sync::atomic::AtomicU64::new(0));
    // On a task of its own: this one may be busy inside of an operator for long.
    let ticker = tokio::spawn({
        let (plan, handle, rows) = (Arc::clone(&plan), handle.clone(), Arc::clone(&rows_written));
        let usage = usage.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let rows_written = rows.load(std::sync::atomic::Ordering::Relaxed);
                handle.progress(Progress {
                    rows_written,
                    ..plan.progress()
                });
                usage.report();
            }
        }
    });
    let _stop = AbortOnDrop(ticker);
    let mut truncated = false;
    while let Some(batch) = stream.next().await {
        let mut batch = batch.map_err(|e| plan.failure(&e))?;
        let (bytes, rows) = writer.written();
        let size = batch.get_array_memory_size() as u64;
        let room = spec.result_bytes.saturating_sub(bytes);
        if size > room {
            if spec.on_result_limit == OnResultLimit::Fail {
                let message = format!("The result is larger than {} bytes.", spec.result_bytes);
                return Err(Failure::new(ErrorCode::LimitResultBytes, message)
                    .hint(
                        "Return fewer rows or columns, or submit with `on_result_limit: truncate`.",
                    )
                    .limit("job.result_bytes", spec.result_bytes, Some(bytes + size)));
            }
            // As many rows as fit, if rows are about equally long.
            let fits = batch.num_rows() as u128 * u128::from(room) / u128::from(size.max(1));
            batch = batch.slice(0, fits as usize);
            truncated = true;
        }
        rows_written.store(
            rows + batch.num_rows() as u64,
            std::sync::atomic::Ordering::Relaxed,
        );
        if batch.num_rows() > 0 {
            writer.write(&batch)?;
        }
        if truncated {
            break;
        }
    }
    drop(stream);
    let chunks = writer.finish()?;
    let rows = chunks.iter().map(|c| c.rows).sum();
    handle.progress(Progress {
        rows_written: rows,
        ..plan.progress()
    });
    Ok(ResultManifest {
        columns: plan.columns(),
        rows,
        bytes: chunks.iter().map(|c| c.bytes).sum(),
        truncated,
        chunks,
    })
}

/// What the functions of a run use, on its way to the service.
#[derive(Clone)]
struct Usage {
    sink: Arc<UsageSink>,
    pins: Vec<FunctionPin>,
    handle: RunHandle,
}

/// How long the end of a run waits for instances that threads of the engine still hold.
const SETTLING: Duration = Duration::from_millis(100);

impl Usage {
    fn report(&self) {
        let used = self.sink.snapshot().into_iter();
        let used = used.filter_map(|(digest, name, usage)| {
            let pin = self
                .pins
                .iter()
                .find(|p| p.digest == digest && p.name == name)?;
            Some(UsedVersion {
                name,
                version: pin.version,
                digest,
                usage,
            })
        });
        let mut used: Vec<_> = used.collect();
        used.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        self.handle.usage(used);
    }

    /// Tasks that the end of a plan aborts drop their instances a little later.
    async fn settle(&self) {
        let end = tokio::time::Instant::now() + SETTLING;
        while self.sink.open() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct JobLog(RunHandle);

impl LogSink for JobLog {
    fn write(&self, level: LogLevel, function: &str, message: &str) {
        self.0.log(LogLine {
            at: micros(),
            level,
            function: function.into(),
            message: message.into(),
        });
    }
}

#[async_trait]
impl Runner for QueryRunner {
    async fn inspect_module(
        &self,
        tenant: &TenantId,
        wasm: Vec<u8>,
    ) -> Result<ModuleDescription, Failure> {
        let (sandbox, tenant) = (self.0.sandbox.clone(), tenant.clone());
        let inspect = move || {
            let inspection = sandmill_sandbox::inspect(&wasm)?;
            let module = sandbox.load(&tenant, &wasm)?;
            // A module that cannot even start is refused now rather than in a job, and soon: nobody
            // can cancel an upload.
            let limit = sandbox.settings().call_deadline.min(STARTING);
            let context = Context {
                call_deadline: Some(limit),
                ..Context::default()
            };
            module.instantiate(&Arc::new(context))?;
            Ok(inspection.description)
        };
        let result = tokio::task::spawn_blocking(inspect)
            .await
            .map_err(internal)?;
        result.map_err(|e: sandmill_sandbox::Error| e.into_failure(None))
    }

    async fn describe_table(
        &self,
        _: &TenantId,
        spec: &TableSpec,
    ) -> Result<TableDescription, Failure> {
        let (engine, spec) = (self.0.engine.clone(), spec.clone());
        let describe = async move { engine.describe_table(&spec).await };
        self.0.lanes.run(describe).await
    }

    async fn validate(
        &self,
        tenant: &TenantId,
        spec: &JobSpec,
        tables: Vec<TableSpec>,
    ) -> Result<Validation, Failure> {
        let (this, tenant, spec) = (self.clone(), tenant.clone(), spec.clone());
        let plan = async move { this.plan(&tenant, &spec, tables, Context::default()).await };
        let plan = self.0.lanes.run(plan).await?;
        Ok(Validation {
            columns: plan.columns(),
            plan: plan.explain(),
        })
    }

    async fn run(&self, run: Run) -> Result<ResultManifest, Failure> {
        let (job, cancelled) = (run.job, run.handle.cancelled());
        // Asked for from here and not from the job's own threads, all of which may be inside of guests.
        let cancellation = Cancellation::default();
        // However the run ends, nothing of it goes on: another partition may still be in a guest.
        let _end = CancelOnDrop(cancellation.clone());
        let execution = self.clone().execute(run, cancellation.clone());
        let mut work = pin!(self.0.lanes.run(execution));
        tokio::select! {
            result = &mut work => result,
            () = cancelled.cancelled() => {
                cancellation.cancel();
                timeout(STOPPING, work).await.unwrap_or_else(|_| {
                    tracing::warn!(%job, "a job does not pause; its threads are given up");
                    Err(Failure::new(ErrorCode::JobCanceled, "The job was canceled."))
                })
            }
        }
    }
}
