//! Guests that mean harm: each ends in a typed error of its own job while a neighbour goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sandmill_api_types::{ClientError, JobState, NewJob};
use sandmill_tests::{House, guest};

#[path = "../guests/evil/attacks.rs"]
mod attacks;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_ends_in_a_typed_error_while_a_neighbour_goes_on() {
    let house = House::with(|settings| {
        settings.sandbox.call_deadline = Duration::from_millis(300);
        settings.sandbox.compiler.cpu_seconds = 2;
    })
    .await;
    house.table("three", "three.csv", b"a\n1\n2\n3\n").await;
    house.publish(guest("conformance_c")).await;
    let house = Arc::new(house);
    let (stop, finished) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let neighbour = tokio::spawn({
        let (house, stop, finished) =
            (Arc::clone(&house), Arc::clone(&stop), Arc::clone(&finished));
        async move {
            while !stop.load(Ordering::Relaxed) {
                let rows = house.rows("SELECT sum(id_i64(a)) AS s, max(join_text('x', CAST(a AS VARCHAR))) FROM three").await;
                assert_eq!(rows, Ok("6,x3".into()));
                finished.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // Every guest is tried before the test says which ones surprised it.
    let mut others = Vec::new();
    for evil in attacks::all() {
        let before = finished.load(Ordering::Relaxed);
        let code = match house.client.function_upload(evil.wasm).await {
            Err(ClientError::Problem(problem)) => problem.code,
            Err(other) => unreachable!("{}: {other}", evil.name),
            Ok(_) => {
                let job = house.job(evil.sql).await.expect("accepted");
                let logs = house.client.job_logs(&job.id, 0).await.expect("logs");
                let _ = house.client.function_delete("f").await;
                let Some(problem) = job.error else {
                    unreachable!("{}: {job:?}", evil.name)
                };
                let said = logs.lines.iter().map(|line| &line.message);
                for text in said.chain([&problem.detail]) {
                    let harmless = |c: char| !c.is_control() && c != '\u{202e}';
                    assert!(text.chars().all(harmless), "{}: {text:?}", evil.name);
                    assert!(text.len() <= 10_000, "{}: {}", evil.name, text.len());
                }
                if evil.name == "log with an escape sequence" {
                    assert_eq!(
                        logs.lines.first().map(|l| l.message.as_str()),
                        Some("[31mred der")
                    );
                }
                problem.code
            }
        };
        if code != evil.code {
            others.push((evil.name, evil.code, code));
        }
        // The neighbour finishes a job after each attack.
        while finished.load(Ordering::Relaxed) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(
                !neighbour.is_finished(),
                "the neighbour failed after {}",
                evil.name
            );
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(others.is_empty(), "guest, expected, found: {others:#?}");
    neighbour.await.expect("the neighbour is well");
    // Nothing is left: not an instance of all that were stopped. The server says it is ready.
    assert_eq!(house.server.sandbox_stats().instances, 0);
    let ready = reqwest::get(format!("{}/readyz", house.server.url())).await;
    assert_eq!(ready.expect("answers").status(), reqwest::StatusCode::OK);
}

/// A join whose batches end in hours.
const HOURS: &str =
    "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 1000000) b";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_never_pause_hold_up_nobody_and_can_be_stopped() {
    let house = House::with(|settings| {
        settings.sandbox.call_deadline = Duration::from_secs(600);
        settings.engine.target_partitions = 2;
    })
    .await;
    house.table("three", "three.csv", b"a\n1\n2\n3\n").await;
    let endless = attacks::all()
        .into_iter()
        .find(|evil| evil.name == "endless loop");
    let endless = endless.expect("it is among the attacks");
    house.publish(endless.wasm).await;
    for sql in [endless.sql, HOURS] {
        // More of them than a query has threads.
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let job = NewJob {
                sql: sql.into(),
                ..NewJob::default()
            };
            let mut job = house
                .client
                .job_submit(&job, Duration::ZERO)
                .await
                .expect("accepted");
            while job.state != JobState::Running {
                let wait = Duration::from_secs(10);
                let seen = Some(job.revision);
                job = house
                    .client
                    .job_view(&job.id, wait, seen)
                    .await
                    .expect("there");
            }
            jobs.push(job);
        }
        assert_eq!(house.rows("SELECT sum(a) FROM three").await, Ok("6".into()));
        for job in jobs {
            let seen = house
                .client
                .job_view(&job.id, Duration::ZERO, None)
                .await
                .expect("there");
            assert_eq!(seen.state, JobState::Running, "{sql}");
            let mut job = house.client.job_cancel(&job.id).await.expect("asked");
            while !job.state.is_terminal() {
                let wait = Duration::from_secs(10);
                let seen = Some(job.revision);
                job = house
                    .client
                    .job_view(&job.id, wait, seen)
                    .await
                    .expect("there");
            }
            assert_eq!(job.state, JobState::Canceled, "{sql}");
        }
    }
    assert_eq!(house.server.sandbox_stats().instances, 0);
}
