//! Small queries in process and over HTTP, start-up, memory.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sandmill_api_types::{Client, NewJob};
use sandmill_engine::{Engine, Query, Settings};
use sandmill_functions::Version;
use sandmill_model::{FunctionPin, TenantId};
use sandmill_sandbox::{Context, Sandbox};
use sandmill_tests::{guest, program};

use crate::{head, line, quantile};

const SQL: &str =
    "SELECT sum(haversine(x, x, 48.9, 2.4)) FROM (VALUES (1.0), (2.0), (3.0)) AS t(x)";

pub fn run() {
    head("Small queries and start-up (release build)");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (median, worst) = runtime.block_on(in_process());
    line(
        "hot small query with a function, in process",
        &format!("p50 {median:.2} ms, p99 {worst:.2} ms"),
        "≤ 4 ms",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program; `cargo xtask bench` builds it");
    let lines = BufReader::new(server.stdout.take().expect("its output")).lines();
    let first = lines
        .map_while(Result::ok)
        .find(|l| l.contains(" runs at "))
        .expect("it starts");
    std::thread::sleep(Duration::from_secs(2));
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or("?")
        .trim()
        .to_owned();
    let token = std::fs::read_to_string(folder.path().join("token")).expect("a token");
    let client = Client::new(first.rsplit(' ').next().expect("an address"), token.trim());
    let (median, worst) = runtime.block_on(over_http(&client));
    line(
        "the same over HTTP: submit, wait, read the rows",
        &format!("p50 {median:.2} ms, p99 {worst:.2} ms"),
        "≤ 9 ms",
    );
    server.kill().expect("stopped");
    server.wait().expect("gone");
    line(
        "from a cold process to the first result of a function, compiled code cached",
        &format!("{:.0} ms", cold_start()),
        "≤ 300 ms",
    );
    line("`sandmill serve` idle, resident", &resident, "< 100 MiB");
}

fn spread(mut times: Vec<f64>) -> (f64, f64) {
    (quantile(&mut times, 0.5), quantile(&mut times, 0.99))
}

async fn in_process() -> (f64, f64) {
    let sandbox = Sandbox::new(Default::default()).expect("a sandbox");
    let module = sandbox
        .load(&TenantId::single(), &guest("bench"))
        .expect("a module");
    let index = module.function("haversine").expect("the function");
    let pin = FunctionPin {
        name: "haversine".into(),
        version: 1,
        digest: module.digest(),
    };
    let version = Version { pin, module, index };
    let engine = Engine::new(Settings::default()).expect("an engine");
    let mut times = Vec::new();
    for n in 0..300 {
        let start = Instant::now();
        let query = Query {
            sql: SQL.into(),
            params: vec![],
            tables: vec![],
            functions: vec![version.clone()],
            context: Arc::new(Context::default()),
        };
        let plan = engine.plan(query).await.expect("a plan");
        let batches: Vec<_> = plan
            .execute()
            .expect("a stream")
            .try_collect()
            .await
            .expect("rows");
        assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
        if n >= 50 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    spread(times)
}

async fn over_http(client: &Client) -> (f64, f64) {
    client
        .function_upload(guest("bench"))
        .await
        .expect("published");
    let job = NewJob {
        sql: SQL.into(),
        ..NewJob::default()
    };
    let mut times = Vec::new();
    for n in 0..300 {
        let start = Instant::now();
        let ended = client
            .job_submit(&job, Duration::from_secs(10))
            .await
            .expect("a job");
        let page = client.job_rows(&ended.id, 0, 10).await.expect("rows");
        assert_eq!(page.total, 1);
        if n >= 50 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    spread(times)
}

/// Milliseconds of `sandmill job submit --local` with a function, as a shell sees it.
fn cold_start() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("bench.wasm");
    std::fs::write(&module, guest("bench")).expect("written");
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let start = Instant::now();
            let output = Command::new(program())
                .args(["job", "submit", "--local", "-o", "csv", SQL, "--function"])
                .arg(&module)
                .env("XDG_CACHE_HOME", folder.path())
                .output()
                .expect("the program");
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(1)
        .collect();
    quantile(&mut times, 0.5)
}
