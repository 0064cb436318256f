//! `kill -9` in the middle of work: nothing is lost, nothing is half there.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::TryStreamExt;
use sandmill_api_types::{Client, Format, Job, JobState, NewJob};
use sandmill_tests::{guest, program};

struct Process(Child, Client);

impl Process {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--slots", "2", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs; `cargo xtask test` builds it");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let first = lines
            .map_while(Result::ok)
            .find(|l| l.contains(" runs at "))
            .expect("it starts");
        let url = first.rsplit(' ').next().expect("an address").to_owned();
        let token = std::fs::read_to_string(data.join("token")).expect("a token");
        Self(child, Client::new(&url, token.trim()))
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    fn kill(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn submit(client: &Client, sql: &str) -> Job {
    let job = NewJob {
        sql: sql.into(),
        ..NewJob::default()
    };
    client
        .job_submit(&job, Duration::ZERO)
        .await
        .expect("accepted")
}

async fn end(client: &Client, id: &str) -> Job {
    let mut job = client
        .job_view(id, Duration::from_secs(30), None)
        .await
        .expect("there");
    while !job.state.is_terminal() {
        job = client
            .job_view(id, Duration::from_secs(30), Some(job.revision))
            .await
            .expect("there");
    }
    job
}

async fn bytes(client: &Client, id: &str) -> Vec<u8> {
    let stream = client
        .job_download(id, Format::Arrow)
        .await
        .expect("downloads");
    stream
        .try_collect::<Vec<_>>()
        .await
        .expect("all of it")
        .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_survive_a_kill_at_any_point() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Process::start(&data);
    server
        .1
        .function_upload(guest("conformance_rust"))
        .await
        .expect("published");
    let finished = submit(
        &server.1,
        "SELECT value, root(value) AS r FROM generate_series(1, 50000)",
    )
    .await;
    let finished = end(&server.1, &finished.id).await;
    assert_eq!(finished.state, JobState::Succeeded);
    let before = bytes(&server.1, &finished.id).await;

    let slow = "SELECT count(DISTINCT id_i64(a.value * 7919 + b.value)) FROM generate_series(1, 4000) a, generate_series(1, 1000) b";
    let quick = "SELECT sum(root(value)) FROM generate_series(1, 200000)";
    for wait in [0, 20, 150, 400] {
        let mut jobs = Vec::new();
        for sql in [slow, quick, quick, slow, quick] {
            jobs.push(submit(&server.1, sql).await);
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        server.kill();
        assert!(
            std::fs::read_dir(data.join("results/default"))
                .expect("results")
                .count()
                >= 1
        );
        server = Process::start(&data);
        for job in jobs {
            let ended = end(&server.1, &job.id).await;
            assert_eq!(ended.state, JobState::Succeeded, "{ended:?}");
            assert_eq!(ended.rows, Some(1));
            assert!((1..=2).contains(&ended.attempt), "{ended:?}");
            bytes(&server.1, &job.id).await;
        }
    }
    // A job that is interrupted says why it waits again.
    let job = submit(&server.1, slow).await;
    let mut seen = job.clone();
    while seen.state != JobState::Running {
        seen = server
            .1
            .job_view(&job.id, Duration::from_secs(10), Some(seen.revision))
            .await
            .expect("there");
    }
    server.kill();
    let database = data.join("sandmill.db");
    server = Process::start(&data);
    let seen = server
        .1
        .job_view(&job.id, Duration::ZERO, None)
        .await
        .expect("there");
    let says_why = |job: &Job| {
        let reason = job.state_reason.as_deref();
        reason.is_some_and(|r| r.contains("attempt 1 of 3"))
    };
    assert!(says_why(&seen), "{seen:?}");
    let again = end(&server.1, &job.id).await;
    assert!(again.attempt == 2 && says_why(&again), "{again:?}");
    assert!(database.exists());

    let again = end(&server.1, &finished.id).await;
    assert_eq!(
        (again.state, again.attempt, &again.finished_at),
        (finished.state, 1, &finished.finished_at)
    );
    assert_eq!(bytes(&server.1, &finished.id).await, before);
    let staged = std::fs::read_dir(data.join("staging"))
        .expect("there")
        .count();
    assert_eq!(staged, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_chunk_is_an_error_and_never_rows() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path());
    let job = submit(&server.1, "SELECT value FROM generate_series(1, 1000)").await;
    let job = end(&server.1, &job.id).await;
    let chunk = folder
        .path()
        .join("results/default")
        .join(&job.id)
        .join("chunk-00000.arrows");
    let mut content = std::fs::read(&chunk).expect("there");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&chunk, content).expect("written");
    let failed = server
        .1
        .job_rows(&job.id, 0, 10)
        .await
        .expect_err("damaged");
    let sandmill_api_types::ClientError::Problem(problem) = failed else {
        unreachable!("{failed}")
    };
    assert_eq!(
        (problem.code.as_str(), problem.status),
        ("results.corrupt", 500)
    );
    assert!(server.1.job_download(&job.id, Format::Csv).await.is_err());
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().expect("folder");
    let _first = Process::start(folder.path());
    let second = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path())
        .output()
        .expect("runs");
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another server uses"));
}
