//! A service on a real store, with a runner that does what its statement says.
#![allow(clippy::panic, reason = "a runner that panics is one of the cases")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sandmill_jobs::{NewJob, Run, Runner, Service, Settings, Validation};
use sandmill_model::{
    Chunk, ErrorCode, Failure, FunctionInfo, JobSpec, JobState, ModuleDescription, ResultManifest,
    TableDescription, TableSpec, TenantId, Volatility,
};
use sandmill_store::{JobRecord, Sqlite, blobs::Blobs};
use sha2::{Digest, Sha256};

/// `ok`, `fail`, `panic`, `hang` (stops when told to), `stuck` (does not).
pub struct Script;

pub fn digest(bytes: &[u8]) -> sandmill_model::Digest {
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
            variadic: false,
            inputs: vec![],
            returns: "BIGINT".into(),
            returns_format: "l".into(),
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
            build: String::new(),
            sdk: String::new(),
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
        // A trial calls the function that it is about.
        let trial = run.spec.sql.strip_prefix("SELECT \"");
        let word = trial.map_or_else(
            || run.spec.sql.split_whitespace().next(),
            |rest| rest.split('"').next(),
        );
        match word {
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

pub async fn store(folder: &Path) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(&folder.join("db")).await.expect("opens"))
}

pub async fn start(folder: &Path, change: impl FnOnce(&mut Settings)) -> Service {
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

pub async fn submit(service: &Service, sql: &str) -> JobRecord {
    let job = NewJob {
        sql: sql.into(),
        ..NewJob::default()
    };
    service
        .submit(&TenantId::single(), job)
        .await
        .expect("queued")
}

pub async fn end(service: &Service, job: &JobRecord) -> JobRecord {
    let ended = service
        .wait(&TenantId::single(), job.id, Duration::from_secs(30), None)
        .await;
    let ended = ended.expect("there");
    assert!(ended.state.is_terminal(), "{ended:?}");
    ended
}

pub async fn running(service: &Service, job: &JobRecord) {
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
