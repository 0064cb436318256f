//! Jobs on a real store, with a runner that does what its statement says.
#![allow(clippy::panic, reason = "a runner that panics is one of the cases")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandmill_jobs::{NewJob, Run, Runner, Service, Settings, Validation};
use sandmill_model::{
    Chunk, ErrorCode, Failure, FunctionInfo, JobSpec, JobState, ModuleDescription, ResultManifest,
    TableDescription, TableFormat, TableSpec, TenantId, Volatility,
};
use sandmill_store::{Change, JobFilter, JobRecord, Sqlite, Store, blobs::Blobs};
use sha2::{Digest, Sha256};

/// `ok`, `fail`, `panic`, `hang` (stops when told to), `stuck` (does not).
struct Script;

fn digest(bytes: &[u8]) -> sandmill_model::Digest {
    sandmill_model::Digest::new(Sha256::digest(bytes).into())
}

#[async_trait]
impl Runner for Script {
    async fn inspect_module(
        &self,
        _: &TenantId,
        wasm: Vec<u8>,
    ) -> Result<ModuleDescription, Failure> {
        // `package name, name, …`
        let text = String::from_utf8(wasm.clone()).expect("text");
        let mut words = text.split_whitespace();
        let info = |name: &str| FunctionInfo {
            name: name.into(),
            kind: "scalar".into(),
            arguments: vec![],
            returns: "BIGINT".into(),
            returns_format: "l".into(),
            variadic: false,
            inputs: vec![],
            nullable: true,
            strict: true,
            volatility: Volatility::Immutable,
            doc: String::new(),
            examples: vec![],
        };
        Ok(ModuleDescription {
            digest: digest(&wasm),
            size: wasm.len() as u64,
            abi: "1.0".into(),
            package: words.next().expect("a package").into(),
            package_version: "1".into(),
            language: String::new(),
            sdk: String::new(),
            build: String::new(),
            functions: words.filter(|w| !w.starts_with('#')).map(info).collect(),
            imports: vec![],
        })
    }

    async fn describe_table(
        &self,
        _: &TenantId,
        spec: &TableSpec,
    ) -> Result<TableDescription, Failure> {
        Ok(TableDescription {
            spec: spec.clone(),
            columns: vec![],
            bytes: 0,
        })
    }

    async fn validate(
        &self,
        _: &TenantId,
        _: &JobSpec,
        _: Vec<TableSpec>,
    ) -> Result<Validation, Failure> {
        Ok(Validation {
            columns: vec![],
            plan: String::new(),
        })
    }

    async fn run(&self, run: Run) -> Result<ResultManifest, Failure> {
        run.handle.running();
        match run.spec.sql.split_whitespace().next() {
            Some("fail") => return Err(Failure::new(ErrorCode::SqlExecution, "as asked")),
            Some("panic") => panic!("as asked"),
            Some("hang") => {
                run.handle.cancelled().cancelled().await;
                return Err(Failure::new(ErrorCode::JobCanceled, "stopped"));
            }
            _ => {}
        }
        let bytes = b"rows".to_vec();
        std::fs::write(run.staging.join(Blobs::chunk_name(0)), &bytes).expect("written");
        let chunk = Chunk {
            rows: 1,
            bytes: 4,
            sha256: digest(&bytes).to_string(),
        };
        Ok(ResultManifest {
            columns: vec![],
            rows: 1,
            bytes: 4,
            truncated: false,
            chunks: vec![chunk],
        })
    }
}

async fn store(folder: &Path) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(&folder.join("db")).await.expect("opens"))
}

async fn start(folder: &Path, change: impl FnOnce(&mut Settings)) -> Service {
    let mut settings = Settings {
        slots: 2,
        lease: Duration::from_millis(600),
        ..Settings::default()
    };
    change(&mut settings);
    let blobs = Blobs::open(folder).expect("opens");
    Service::start(store(folder).await, blobs, Arc::new(Script), settings)
        .await
        .expect("starts")
}

async fn submit(service: &Service, sql: &str) -> JobRecord {
    let job = NewJob {
        sql: sql.into(),
        ..NewJob::default()
    };
    service
        .submit(&TenantId::single(), job)
        .await
        .expect("queued")
}

async fn end(service: &Service, job: &JobRecord) -> JobRecord {
    let ended = service
        .wait(&TenantId::single(), job.id, Duration::from_secs(30), None)
        .await;
    let ended = ended.expect("there");
    assert!(ended.state.is_terminal(), "{ended:?}");
    ended
}

async fn running(service: &Service, job: &JobRecord) {
    let mut seen = service
        .view(&TenantId::single(), job.id)
        .await
        .expect("there");
    while seen.state != JobState::Running {
        let wait = Duration::from_secs(10);
        seen = service
            .wait(&seen.tenant, job.id, wait, Some(seen.revision))
            .await
            .expect("there");
        assert!(!seen.state.is_terminal(), "{seen:?}");
    }
}

#[tokio::test]
async fn every_way_to_end() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    let ok = submit(&service, "ok").await;
    let ended = end(&service, &ok).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 1));
    let result = service.results(&tenant, ok.id).await.expect("a result");
    assert_eq!(
        service
            .chunk(&tenant, ok.id, &result, 0)
            .await
            .expect("bytes"),
        b"rows"
    );
    assert_eq!(
        service
            .chunk(&tenant, ok.id, &result, 1)
            .await
            .expect_err("none")
            .code,
        ErrorCode::NotFound
    );

    let failed = end(&service, &submit(&service, "fail").await).await;
    assert_eq!(
        failed.error.expect("an error").code,
        ErrorCode::SqlExecution
    );
    let panicked = end(&service, &submit(&service, "panic").await).await;
    assert_eq!(
        (panicked.state, panicked.error.expect("an error").code),
        (JobState::Failed, ErrorCode::Internal)
    );

    let late = NewJob {
        sql: "hang".into(),
        timeout: Some(Duration::from_millis(50)),
        ..NewJob::default()
    };
    let late = service.submit(&tenant, late).await.expect("queued");
    let ended = end(&service, &late).await;
    assert_eq!(
        (ended.state, ended.error.expect("an error").code),
        (JobState::TimedOut, ErrorCode::JobTimeout)
    );

    let hanging = submit(&service, "hang").await;
    running(&service, &hanging).await;
    assert_eq!(
        service
            .results(&tenant, hanging.id)
            .await
            .expect_err("running")
            .code,
        ErrorCode::ResultsNotReady
    );
    service.cancel(&tenant, hanging.id).await.expect("canceled");
    assert_eq!(end(&service, &hanging).await.state, JobState::Canceled);
    assert_eq!(service.running(), 0);
    service.shutdown().await;
}

#[tokio::test]
async fn the_queue_has_an_end_and_waiting_jobs_are_canceled_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| (s.slots, s.queue_limit) = (1, 2)).await;
    let tenant = TenantId::single();
    let first = submit(&service, "hang").await;
    running(&service, &first).await;
    let second = submit(&service, "ok").await;
    submit(&service, "ok").await;
    let full = service
        .submit(
            &tenant,
            NewJob {
                sql: "ok".into(),
                ..NewJob::default()
            },
        )
        .await;
    assert_eq!(full.expect_err("full").code, ErrorCode::QueueFull);
    let canceled = service.cancel(&tenant, second.id).await.expect("canceled");
    assert_eq!((canceled.state, canceled.attempt), (JobState::Canceled, 0));
    service.cancel(&tenant, first.id).await.expect("canceled");
    end(&service, &first).await;
    let other = TenantId::new("other").expect("legal");
    assert_eq!(
        service
            .view(&other, first.id)
            .await
            .expect_err("foreign")
            .code,
        ErrorCode::NotFound
    );
    assert_eq!(
        service
            .cancel(&other, first.id)
            .await
            .expect_err("foreign")
            .code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}

#[tokio::test]
async fn a_shutdown_in_order_costs_no_attempt() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let job = submit(&service, "hang").await;
    service.shutdown().await;
    for _ in 0..4 {
        let service = start(folder.path(), |_| ()).await;
        running(&service, &job).await;
        service.shutdown().await;
        let seen = service
            .view(&TenantId::single(), job.id)
            .await
            .expect("there");
        assert_eq!((seen.state, seen.attempt), (JobState::Queued, 0));
        assert!(seen.reason.expect("a reason").contains("shut down"));
    }
}

#[tokio::test]
async fn jobs_of_dead_workers_are_tried_again_until_their_attempts_end() {
    let folder = tempfile::tempdir().expect("folder");
    let tenant = TenantId::single();
    let dead = store(folder.path()).await;
    let spec = |attempts| JobSpec {
        kind: Default::default(),
        sql: "ok".into(),
        params: vec![],
        functions: vec![],
        timeout_ms: 1000,
        result_bytes: 1000,
        on_result_limit: Default::default(),
        max_attempts: attempts,
        show_values: false,
        labels: BTreeMap::new(),
    };
    let insert = async |attempts| {
        let job = JobRecord::queued(tenant.clone(), spec(attempts), 1);
        dead.job_insert(&job, 100).await.expect("queued");
        dead.job_claim("dead", 1, i64::MAX - 1)
            .await
            .expect("claimed")
            .expect("a job")
    };
    let again = insert(3).await;
    let last = insert(1).await;
    let canceling = insert(3).await;
    dead.job_change(&tenant, canceling.id, Change::to(JobState::Canceling), 2)
        .await
        .expect("asked");
    // A result that was sealed before the row could say so.
    let half = folder
        .path()
        .join("results/default")
        .join(again.id.to_string());
    std::fs::create_dir_all(&half).expect("made");
    std::fs::write(half.join("chunk-00009.arrows"), "half").expect("written");
    let service = start(folder.path(), |_| ()).await;
    let ended = end(&service, &again).await;
    assert_eq!((ended.state, ended.attempt), (JobState::Succeeded, 2));
    assert!(!half.join("chunk-00009.arrows").exists());
    let lost = end(&service, &last).await;
    assert_eq!(lost.error.expect("an error").code, ErrorCode::ExecutorLost);
    assert_eq!(end(&service, &canceling).await.state, JobState::Canceled);
    service.shutdown().await;
}

#[tokio::test]
async fn the_watch_takes_back_jobs_whose_heartbeat_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let other = store(folder.path()).await;
    let mut job = JobRecord::queued(TenantId::single(), service_spec(&service).await, 1);
    // Claimed elsewhere before this service can.
    job.created_at = 0;
    other.job_insert(&job, 100).await.expect("queued");
    let _ = other.job_claim("elsewhere", 1, 1).await.expect("asked");
    assert_eq!(end(&service, &job).await.state, JobState::Succeeded);
    service.shutdown().await;
}

async fn service_spec(service: &Service) -> JobSpec {
    let job = submit(service, "ok").await;
    end(service, &job).await.spec
}

#[tokio::test]
async fn versions_grow_are_pinned_and_belong_to_one_package() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |s| s.slots = 1).await;
    let tenant = TenantId::single();
    let publish = async |text: &str| service.publish(&tenant, text.as_bytes().to_vec()).await;
    assert_eq!(publish("p f g").await.expect("published").1[0].version, 1);
    assert_eq!(publish("p f g").await.expect("the same").1[0].version, 1);
    assert_eq!(publish("p f #2").await.expect("newer").1[0].version, 2);
    assert_eq!(
        publish("q f").await.expect_err("another package").code,
        ErrorCode::StateConflict
    );
    let job = submit(&service, "hang F(1) 'g'").await;
    assert_eq!(
        job.spec
            .functions
            .iter()
            .map(|p| (p.name.as_str(), p.version))
            .collect::<Vec<_>>(),
        [("f", 2)]
    );
    assert_eq!(
        service
            .function_delete(&tenant, "f")
            .await
            .expect_err("in use")
            .code,
        ErrorCode::StateConflict
    );
    let old = NewJob {
        sql: "ok f()".into(),
        functions: [("f".into(), 1)].into(),
        ..NewJob::default()
    };
    assert_eq!(
        service
            .submit(&tenant, old)
            .await
            .expect("queued")
            .spec
            .functions[0]
            .version,
        1
    );
    let none = NewJob {
        sql: "ok f()".into(),
        functions: [("f".into(), 7)].into(),
        ..NewJob::default()
    };
    assert_eq!(
        service
            .submit(&tenant, none)
            .await
            .expect_err("no such version")
            .code,
        ErrorCode::NotFound
    );
    service.cancel(&tenant, job.id).await.expect("canceled");
    end(&service, &job).await;
    service
        .wait(&tenant, job.id, Duration::from_secs(5), None)
        .await
        .expect("there");
    while service.function_delete(&tenant, "f").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(publish("q f").await.expect("free again").1[0].version, 3);
    service.shutdown().await;
}

#[tokio::test]
async fn lists_filter_and_page_and_tables_have_names() {
    let folder = tempfile::tempdir().expect("folder");
    let service = start(folder.path(), |_| ()).await;
    let tenant = TenantId::single();
    for n in 0..5 {
        let labels = [("n".to_owned(), n.to_string())].into();
        let job = NewJob {
            sql: format!("ok number {n}"),
            labels,
            ..NewJob::default()
        };
        let job = service.submit(&tenant, job).await.expect("queued");
        end(&service, &job).await;
    }
    let list = async |filter: JobFilter, cursor: Option<&str>| {
        service
            .list(&tenant, &filter, 2, cursor)
            .await
            .expect("a page")
    };
    let first = list(JobFilter::default(), None).await;
    assert_eq!(first.items[0].spec.sql, "ok number 4");
    let second = list(JobFilter::default(), first.next.as_deref()).await;
    let third = list(JobFilter::default(), second.next.as_deref()).await;
    assert_eq!((third.items.len(), third.next), (1, None));
    let filter = JobFilter {
        text: Some("NUMBER 3".into()),
        ..JobFilter::default()
    };
    assert_eq!(list(filter, None).await.items.len(), 1);
    let filter = JobFilter {
        label: Some(("n".into(), "2".into())),
        ..JobFilter::default()
    };
    assert_eq!(list(filter, None).await.items[0].spec.sql, "ok number 2");
    let filter = JobFilter {
        state: Some(JobState::Failed),
        ..JobFilter::default()
    };
    assert!(list(filter, None).await.items.is_empty());

    let spec = |name: &str| TableSpec {
        name: name.into(),
        path: "x".into(),
        format: TableFormat::Csv,
    };
    service
        .table_register(&tenant, spec("t"), false)
        .await
        .expect("registered");
    let twice = service.table_register(&tenant, spec("t"), false).await;
    assert_eq!(twice.expect_err("taken").code, ErrorCode::StateConflict);
    service
        .table_register(&tenant, spec("t"), true)
        .await
        .expect("replaced");
    for bad in ["", "T", "1t", "a b", "ä", &"x".repeat(64)] {
        let refused = service.table_register(&tenant, spec(bad), false).await;
        assert_eq!(refused.expect_err(bad).code, ErrorCode::RequestInvalid);
    }
    let other = TenantId::new("other").expect("legal");
    assert!(service.tables(&other).await.expect("a list").is_empty());
    service.table_delete(&tenant, "t").await.expect("forgotten");
    assert_eq!(
        service.table(&tenant, "t").await.expect_err("gone").code,
        ErrorCode::NotFound
    );
    service.shutdown().await;
}
