//! Guests that mean harm: each ends in a typed error of its own job while a neighbour goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sandmill_api_types::ClientError;
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
