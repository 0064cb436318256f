//! What functions use, what they log, and where they fail.

use std::process::Command;
use std::time::Duration;

use sandmill_api_types::{Job, NewJob, Problem};
use sandmill_tests::{House, guest, program};

/// The line of a debug guest that is marked, counted from 1.
fn marked(source: &str, mark: &str) -> Option<u32> {
    let n = source.lines().position(|line| line.contains(mark))?;
    u32::try_from(n + 1).ok()
}

const RUST: &str = include_str!("../guests/debug/rust/src/lib.rs");
const C: &str = include_str!("../guests/debug/c/debug.c");

async fn house() -> House {
    let house = House::with(|settings| settings.metrics = Some(([127, 0, 0, 1], 0).into())).await;
    house.publish(guest("debug_rust")).await;
    house.publish(guest("debug_c")).await;
    let rows = "x,note\n7,fine\n-3,\x1b[31mred\n0,\n";
    house.table("notes", "notes.csv", rows.as_bytes()).await;
    house
}

async fn job(house: &House, sql: &str, show_values: bool) -> Job {
    let job = NewJob {
        sql: sql.into(),
        show_values,
        ..NewJob::default()
    };
    let mut job = house
        .client
        .job_submit(&job, Duration::from_secs(20))
        .await
        .expect("accepted");
    while !job.state.is_terminal() {
        let wait = Duration::from_secs(20);
        let seen = Some(job.revision);
        job = house
            .client
            .job_view(&job.id, wait, seen)
            .await
            .expect("there");
    }
    job
}

async fn problem(house: &House, sql: &str, show_values: bool) -> Problem {
    job(house, sql, show_values).await.error.expect("it fails")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_file_line_row_and_on_request_values() {
    let house = house().await;
    let checked = "SELECT c_checked(x, coalesce(note, '')) FROM notes";
    let quiet = problem(&house, checked, false).await;
    let place = quiet.function.expect("a function");
    assert_eq!(
        (place.name.as_str(), place.version.as_str()),
        ("c_checked", "1")
    );
    assert!(
        place
            .file
            .as_deref()
            .is_some_and(|f| f.ends_with("debug.c")),
        "{place:?}"
    );
    assert_eq!(place.line, marked(C, "line: c fails"), "{place:?}");
    assert_eq!(place.row, Some(1));
    assert!(
        place.frames.iter().any(|f| f.contains("checked")),
        "{place:?}"
    );
    assert!(place.values.is_empty(), "nobody asked for them: {place:?}");

    let loud = problem(&house, checked, true).await;
    let values = loud.function.expect("a function").values;
    let shown: Vec<_> = values
        .iter()
        .map(|v| (v.name.as_str(), v.value.as_str()))
        .collect();
    assert_eq!(shown, [("x", "-3"), ("note", "[31mred")]);

    // Through the language's library and the SDK to the author's own line.
    let panic = problem(&house, "SELECT rust_share(1, x) FROM notes", true).await;
    let place = panic.function.expect("a function");
    assert!(
        place.file.as_deref().is_some_and(|f| f.ends_with("lib.rs")),
        "{place:?}"
    );
    assert_eq!(place.line, marked(RUST, "line: rust panics"), "{place:?}");
    let trap = problem(&house, "SELECT rust_stop(x) FROM notes", true).await;
    assert_eq!(trap.code, "function.trap");
    let place = trap.function.expect("a function");
    assert_eq!(place.line, marked(RUST, "line: rust traps"), "{place:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_in_the_job_the_plan_and_the_metrics() {
    let house = house().await;
    let sql = "SELECT sum(rust_share(value, 2)) FROM range(0, 100000)";
    let done = job(&house, sql, false).await;
    assert!(done.error.is_none(), "{:?}", done.error);
    let [used] = &done.usage[..] else {
        unreachable!("{:?}", done.usage)
    };
    assert_eq!((used.name.as_str(), used.version), ("rust_share", 1));
    assert_eq!((used.rows, used.traps, used.errors), (100_000, 0, 0));
    assert!(
        used.calls > 1 && used.instances > 0 && used.memory_bytes >= 64 << 10,
        "{used:?}"
    );
    assert!(
        used.call_nanos > 0 && used.cpu_nanos > 0 && used.copy_nanos > 0,
        "{used:?}"
    );
    assert!(
        used.validate_nanos > 0 && used.instantiate_nanos > 0,
        "{used:?}"
    );
    let again = house.client.job_functions(&done.id).await.expect("there");
    assert_eq!(again.items, done.usage);

    let failed = job(
        &house,
        "SELECT rust_stop(-1 - value) FROM range(0, 3)",
        false,
    )
    .await;
    assert_eq!((failed.usage[0].traps, failed.usage[0].rows), (1, 0));

    let explained = house
        .rows(&format!("EXPLAIN ANALYZE {sql}"))
        .await
        .expect("a plan");
    for metric in [
        "function_calls=",
        "rust_share.rows=100.0 K",
        "rust_share.cpu_time=",
        "rust_share.memory_bytes=",
    ] {
        assert!(explained.contains(metric), "{metric} in {explained}");
    }

    let url = house.server.metrics_url().expect("served");
    let text = reqwest::get(url)
        .await
        .expect("answers")
        .text()
        .await
        .expect("text");
    let labels = "{tenant=\"default\",function=\"rust_share\",version=\"1\"}";
    let rows = format!("sandmill_function_rows_total{labels} 200000");
    assert!(text.contains(&rows), "{text}");
    for line in [
        "sandmill_jobs{state=\"succeeded\"} 2",
        "sandmill_jobs{state=\"failed\"} 1",
        "sandmill_queue_jobs 0",
        "sandmill_instances 0",
        "sandmill_compiles_total{outcome=\"ok\"} 2",
        "sandmill_modules 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    // The API itself has none: they are for the operator.
    let inside = reqwest::get(format!("{}/metrics", house.server.url())).await;
    assert_eq!(inside.expect("answers").status().as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_clean_bounded_and_by_function() {
    let house = house().await;
    let done = job(
        &house,
        "SELECT c_talks(x), id FROM (SELECT x, 1 AS id FROM notes)",
        false,
    )
    .await;
    let all = house.client.job_logs(&done.id, 0).await.expect("lines");
    assert_eq!(all.lines.len(), 3);
    assert_eq!(all.lines[0].message, "a line with  [31mcolour");
    let of = async |name| {
        let logs = house.client.job_logs_of(&done.id, Some(name), 1);
        let page = logs.await.expect("lines");
        (page.lines.len(), page.next)
    };
    assert_eq!(of("c_talks").await, (2, 3));
    assert_eq!(of("rust_share").await, (0, 1));

    // Each instance has its limit, and so has the job.
    let flood = "SELECT max(c_talks(value)) FROM range(0, 20000)";
    let done = job(&house, flood, false).await;
    let (mut count, mut from, mut last) = (0, 0, String::new());
    loop {
        let page = house.client.job_logs(&done.id, from).await.expect("lines");
        let Some(line) = page.lines.last() else { break };
        (last, from) = (line.message.clone(), page.next);
        count += page.lines.len();
    }
    assert!((1000..=10_001).contains(&count), "{count}");
    assert!(last.contains("dropped"), "{last}");
}

#[test]
fn one_row_is_tried_again_on_the_command_line() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes);
    write("debug_c.wasm", &guest("debug_c")).expect("written");
    write("notes.csv", b"x,note\n7,fine\n-3,bad\n0,zero\n").expect("written");
    let go = |row: &str| {
        let output = Command::new(program())
            .args(["udf", "test", "debug_c.wasm", "--fn", "c_checked"])
            .args(["--input", "notes.csv", "--row", row])
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .output()
            .expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, out, err) = go("2");
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("zero") && err.contains("note = \"zero\""),
        "{out}{err}"
    );
    let (code, _, err) = go("1");
    assert_eq!(code, Some(1), "{err}");
    let line = marked(C, "line: c fails").expect("marked");
    let place = format!("debug.c, line {line}");
    for part in [
        "x = -3",
        "note = \"bad\"",
        "the argument is negative",
        &place,
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    let (code, _, err) = go("9");
    assert_eq!(code, Some(2), "{err}");
}
