//! Guests that mean harm: each ends in a typed error of its own job while a neighbour goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sandmill_api_types::{ClientError, JobState, NewJob};
use sandmill_tests::{House, guest};

#[path = "../guests/evil/attacks.rs"]
mod attacks;

/// What this process holds: file handles, and bytes in memory.
fn held() -> (usize, u64) {
    let handles = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    (
        handles,
        kib.expect("a line").parse::<u64>().expect("a number") << 10,
    )
}

/// Uploads a guest, runs its query, deletes it; the code that this ends with.
async fn attack(house: &House, evil: &attacks::Evil) -> String {
    let name = &evil.name;
    match house.client.function_upload(evil.wasm.clone()).await {
        Err(ClientError::Problem(problem)) => return problem.code,
        Err(other) => unreachable!("{name}: {other}"),
        Ok(_) => {}
    }
    let job = NewJob {
        sql: evil.sql.clone(),
        timeout: Some("5s".into()),
        ..NewJob::default()
    };
    let job = match house.run(job).await {
        Ok(job) => Ok(job),
        Err(ClientError::Problem(problem)) => Err(problem),
        Err(other) => unreachable!("{name}: {other}"),
    };
    let _ = house.client.function_delete("f").await;
    let job = match job {
        Ok(job) => job,
        Err(problem) => return problem.code,
    };
    let logs = house.client.job_logs(&job.id, 0).await.expect("logs");
    let Some(problem) = job.error else {
        assert_eq!(job.state, JobState::Succeeded, "{name}");
        return attacks::HARMLESS.into();
    };
    let said = logs.lines.iter().map(|line| &line.message);
    for text in said.chain([&problem.detail]) {
        let harmless = |c: char| !c.is_control() && c != '\u{202e}';
        assert!(text.chars().all(harmless), "{name}: {text:?}");
        assert!(text.len() <= 10_000, "{name}: {}", text.len());
    }
    if name == "log with an escape sequence" {
        let first = logs.lines.first().map(|l| l.message.as_str());
        assert_eq!(first, Some("[31mred der"));
    }
    problem.code
}

/// Bytes that a second round may add: less than what a single instance takes.
const SLACK: u64 = 48 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_ends_in_a_typed_error_while_a_neighbour_goes_on() {
    let house = House::with(|settings| {
        settings.sandbox.call_deadline = Duration::from_millis(300);
        settings.sandbox.compiler.cpu_seconds = 2;
        settings.engine.target_partitions = 2;
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
    // Every guest is tried before the test says which ones surprised it. The second round, of
    // every third one, shows what stays of an attack.
    let (mut others, mut first) = (Vec::new(), None);
    let evils = attacks::all();
    for round in 0..2 {
        for (n, evil) in evils.iter().enumerate() {
            if round == 1 && (n % 3 != 0 || evil.name.starts_with("compile bomb")) {
                continue;
            }
            let before = finished.load(Ordering::Relaxed);
            let code = attack(&house, evil).await;
            if code != evil.code {
                eprintln!("{}: {code} and not {}", evil.name, evil.code);
                others.push((round, evil.name.clone(), evil.code, code));
            }
            // The neighbour finishes a job after each attack.
            while finished.load(Ordering::Relaxed) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let well = !neighbour.is_finished();
                assert!(well, "the neighbour failed after {}", evil.name);
            }
        }
        first.get_or_insert_with(held);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(
        others.is_empty(),
        "round, guest, expected, found: {others:#?}"
    );
    neighbour.await.expect("the neighbour is well");
    // Nothing is left: no instance of all that were stopped, no file, no memory. The server says it
    // is ready.
    assert_eq!(house.server.sandbox_stats().instances, 0);
    let ready = reqwest::get(format!("{}/readyz", house.server.url())).await;
    assert_eq!(ready.expect("answers").status(), reqwest::StatusCode::OK);
    let ((handles, bytes), (handles_now, bytes_now)) = (first.expect("measured"), held());
    // A connection more or less.
    assert!(
        handles_now <= handles + 8,
        "{handles} files, then {handles_now}"
    );
    assert!(
        bytes_now <= bytes + SLACK,
        "{bytes} bytes, then {bytes_now}"
    );
}

/// How long a phase of a job may take before the test says that it does not end.
const WAIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_calls_are_cancelled_in_every_phase() {
    let house = House::with(|settings| {
        settings.sandbox.call_deadline = Duration::from_secs(600);
        settings.engine.target_partitions = 2;
    })
    .await;
    house.table("three", "three.csv", b"a\n1\n2\n3\n").await;
    // Uploads start a module once, so these never become a job.
    let started = ["sm_init", "_initialize", "start", "sm_release_index"];
    let endless = attacks::all().into_iter().filter(|evil| {
        let phase = evil.name.strip_prefix("endless ");
        evil.code == "function.timeout" && phase.is_some_and(|phase| !started.contains(&phase))
    });
    let endless: Vec<_> = endless.collect();
    assert!(endless.len() > 20, "{}", endless.len());
    let mut others = Vec::new();
    for evil in endless {
        eprintln!("{}", evil.name);
        house.publish(evil.wasm).await;
        let job = NewJob {
            sql: evil.sql,
            ..NewJob::default()
        };
        let job = house.client.job_submit(&job, Duration::ZERO).await;
        let mut job = job.expect("accepted");
        let since = std::time::Instant::now();
        while house.server.sandbox_stats().instances == 0 && !job.state.is_terminal() {
            if since.elapsed() > WAIT {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            let seen = house.client.job_view(&job.id, Duration::ZERO, None).await;
            job = seen.expect("there");
        }
        // It has an instance; what is left until it loops takes no time.
        tokio::time::sleep(Duration::from_millis(20)).await;
        job = house.client.job_cancel(&job.id).await.expect("asked");
        while !job.state.is_terminal() && since.elapsed() < WAIT * 2 {
            let (wait, seen) = (Duration::from_secs(10), Some(job.revision));
            let view = house.client.job_view(&job.id, wait, seen).await;
            job = view.expect("there");
        }
        if job.state != JobState::Canceled {
            eprintln!("{}: {:?} {:?}", evil.name, job.state, job.error);
            others.push((evil.name, job.state, job.error));
        }
        while house.server.sandbox_stats().instances > 0 && since.elapsed() < WAIT * 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(house.server.sandbox_stats().instances, 0, "{others:#?}");
        house.client.function_delete("f").await.expect("free");
    }
    assert!(others.is_empty(), "{others:#?}");
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
    for sql in [endless.sql.as_str(), HOURS] {
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
