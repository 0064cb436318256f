//! Versions, aliases, signatures and trials as users see them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use sandmill_api_types::{
    ClientError, JobState, NewJob, NewSigningKey, NewTrial, Problem, SigningPolicy, VersionRef,
};
use sandmill_signing::{PrivateKey, module_digest};
use sandmill_tests::{House, guest, program};
use serde_json::{Value, json};

/// The same functions in a module with other bytes.
fn variant(name: &str) -> Vec<u8> {
    let mut wasm = guest("conformance_rust");
    // A custom section that nobody reads.
    wasm.extend([0, name.len() as u8 + 1, name.len() as u8]);
    wasm.extend(name.as_bytes());
    wasm
}

fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => *problem,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_live_side_by_side_and_jobs_keep_theirs() {
    let house = House::with(|settings| {
        settings.jobs.slots = 1;
        settings.sandbox.call_deadline = Duration::from_secs(600);
    })
    .await;
    let client = &house.client;
    let first = client.function_upload(guest("conformance_rust")).await;
    let first = first.expect("published").digest;
    let second = client.function_upload(variant("two")).await;
    let second = second.expect("published").digest;
    assert_ne!(first, second);

    // One statement, three ways to name a version.
    client
        .alias_set("root", "stable", 1.into())
        .await
        .expect("set");
    let sql = "SELECT root(4.0), \"root@1\"(9.0), \"root@stable\"(16.0), \"root@latest\"(25.0)";
    let job = house.job(sql).await.expect("runs");
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    let shown = |job: &sandmill_api_types::Job| {
        let pin = |p: &sandmill_api_types::Pin| {
            let asked = p.asked.clone().unwrap_or_default();
            assert_eq!(p.digest, if p.version == 1 { &*first } else { &*second });
            format!("{}@{asked}={}", p.name, p.version)
        };
        job.functions.iter().map(pin).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&job), "root@=2 root@1=1 root@latest=2 root@stable=1");
    let rows = client.job_rows(&job.id, 0, 10).await.expect("rows").rows;
    assert_eq!(rows, [[json!(2.0), json!(3.0), json!(4.0), json!(5.0)]]);
    let pinned = NewJob {
        sql: "SELECT root(4.0)".into(),
        functions: [("root".to_owned(), VersionRef::from("stable"))].into(),
        ..NewJob::default()
    };
    let wait = Duration::from_secs(20);
    let job = client.job_submit(&pinned, wait).await.expect("runs");
    assert_eq!(shown(&job), "root@=1");
    let unknown = house.rows("SELECT \"root@9\"(1.0)").await;
    let unknown = unknown.expect_err("no such version");
    assert_eq!(unknown.code, "sql.unknown_function");
    assert!(
        unknown
            .hint
            .expect("a hint")
            .contains("version or alias `9`")
    );

    // A running job keeps its version, and its version stays.
    let slow = "SELECT count(DISTINCT \"id_i64@default\"(a.value * 7919 + b.value)) \
                FROM generate_series(1, 20000) a, generate_series(1, 20000) b";
    let slow = NewJob {
        sql: slow.into(),
        ..NewJob::default()
    };
    let slow = client
        .job_submit(&slow, Duration::ZERO)
        .await
        .expect("queued");
    client
        .alias_set("id_i64", "default", 1.into())
        .await
        .expect("rolled back");
    let seen = client.job_view(&slow.id, Duration::ZERO, None).await;
    assert_eq!(shown(&seen.expect("there")), "id_i64@default=2");
    let refused = problem(client.version_delete("id_i64", 2).await);
    assert_eq!(
        (refused.code.as_str(), refused.status),
        ("state.conflict", 409)
    );
    assert!(refused.detail.contains(&slow.id), "{}", refused.detail);
    client.job_cancel(&slow.id).await.expect("told");
    let mut ended = slow;
    while !ended.state.is_terminal() {
        ended = client
            .job_view(&ended.id, wait, Some(ended.revision))
            .await
            .expect("there");
    }
    client.version_delete("id_i64", 2).await.expect("deleted");
    assert_eq!(
        problem(client.function_version("id_i64", "2").await).code,
        "not_found"
    );
    let usage = client.function_usage("id_i64", 10, None).await;
    let usage = usage.expect("counts");
    assert_eq!((usage.versions[0].version, usage.versions[0].jobs), (2, 1));
    assert_eq!(usage.jobs[0].id, ended.id);
}

#[tokio::test]
async fn modules_are_shown_and_downloaded_as_they_were_uploaded() {
    let house = House::start().await;
    let client = &house.client;
    let wasm = variant("one");
    let digest = client
        .function_upload(wasm.clone())
        .await
        .expect("published")
        .digest;
    house.publish(variant("two")).await;
    let shown = client.function_version("root", "1").await.expect("there");
    assert_eq!(shown.digest, digest);
    assert!(shown.aliases.is_empty());
    let from = &shown.provenance;
    assert_eq!(
        (from.language.as_str(), from.size, from.signature.is_none()),
        ("rust", wasm.len() as u64, true)
    );
    assert_eq!(from.published_by.as_deref(), Some("first"));
    let bytes = client.function_module("root", "1").await.expect("bytes");
    assert_eq!(bytes, wasm);
    assert_eq!(
        problem(client.function_module("root", "stable").await).code,
        "not_found"
    );
    assert_eq!(
        problem(client.function_module("root", "No").await).code,
        "request.invalid"
    );
    let list = client.alias_list("root").await.expect("a list").items;
    let names: Vec<_> = list.iter().map(|a| (a.alias.as_str(), a.version)).collect();
    assert_eq!(names, [("default", 2), ("latest", 2)]);
}

#[tokio::test]
async fn functions_are_tried_on_rows_of_every_type() {
    let house = House::start().await;
    house.publish(guest("conformance_rust")).await;
    let go = async |name: &str, rows: Vec<Value>| {
        let trial = NewTrial {
            rows,
            ..NewTrial::default()
        };
        house.client.function_test(name, &trial).await
    };
    let same = [
        ("id_bool", json!(true)),
        ("id_i8", json!(-3)),
        ("id_u64", json!("18446744073709551615")),
        ("id_i64", json!("-9007199254740993")),
        ("id_f64", json!(-1.5)),
        ("id_text", json!("it's; -- \\'")),
        ("id_bytes", json!("00ff")),
        ("id_date", json!("2024-02-29")),
        ("id_decimal", json!("-12.50")),
    ];
    for (name, value) in same {
        let rows = vec![json!([value]), json!([null])];
        let result = go(name, rows).await.expect(name);
        assert_eq!(result.rows, [[value], [Value::Null]], "{name}");
    }
    let result = go("id_timestamp", vec![json!(["2024-02-29T12:00:00Z"])]).await;
    let stamp = result.expect("runs").rows[0][0].to_string();
    assert!(
        stamp.contains("2024-02-29") && stamp.contains("12:00:00"),
        "{stamp}"
    );

    let rows = vec![json!({"b": 2, "a": 1}), json!({"a": 5}), json!([3, 4])];
    let result = go("add_or_zero", rows).await.expect("runs");
    assert_eq!(result.rows, [[json!(3)], [json!(5)], [json!(7)]]);
    assert_eq!((result.version, result.columns.len()), (1, 1));
    let many = (0..1000).map(|n| json!([n])).collect();
    let result = go("id_i64", many).await.expect("runs");
    assert_eq!(result.rows[999], [json!(999)]);

    let failed = problem(go("root", vec![json!([4.0]), json!([-1.0])]).await);
    assert_eq!(failed.code, "function.error");
    assert_eq!(failed.function.expect("a place").row, Some(1));
    for (rows, said) in [
        (vec![], "1 to 1000 rows"),
        (vec![json!([1, 2])], "Row 0"),
        (vec![json!({"y": 1})], "no argument `y`"),
    ] {
        let refused = problem(go("root", rows).await);
        assert_eq!(refused.code, "request.invalid");
        assert!(refused.detail.contains(said), "{}", refused.detail);
    }
    let jobs = house.client.job_list(None, 10, None).await.expect("a list");
    assert!(jobs.items.is_empty());
}

#[tokio::test]
async fn uploads_are_signed_where_the_tenant_wants() {
    let house = House::start().await;
    let client = &house.client;
    let key = PrivateKey::generate().expect("random bits");
    let wasm = guest("conformance_rust");
    let signature = key.sign(module_digest(&wasm)).to_string();
    let upload = async |wasm: &[u8], signature| {
        let done = client.function_upload_signed(wasm.to_vec(), signature);
        done.await.map(|u| u.functions.len())
    };
    let unknown = problem(upload(&wasm, Some(&signature)).await);
    assert_eq!(
        (unknown.code.as_str(), unknown.status),
        ("function.untrusted_key", 422)
    );
    let trusted = NewSigningKey {
        name: "release".into(),
        public_key: key.public().to_pem(),
    };
    let trusted = client.key_trust(&trusted).await.expect("trusted");
    let policy = SigningPolicy {
        require_signed_functions: true,
    };
    client.set_signing_policy(policy).await.expect("set");
    assert_eq!(client.signing_policy().await.expect("a rule"), policy);
    assert_eq!(problem(upload(&wasm, None).await).code, "function.unsigned");
    let other = problem(upload(&variant("two"), Some(&signature)).await);
    assert_eq!(other.code, "function.signature");
    // Nothing else looks at a module that is not signed.
    assert_eq!(
        problem(upload(b"junk", None).await).code,
        "function.unsigned"
    );
    upload(&wasm, Some(&signature)).await.expect("published");
    let shown = client.function_view("root").await.expect("there");
    let stored = shown.provenance.signature.expect("a signature");
    assert_eq!((&stored.signature, &stored.key), (&signature, &trusted.id));
    client.key_revoke(&trusted.id).await.expect("revoked");
    let keys = client.key_list().await.expect("a list").items;
    assert!(!keys[0].trusted && keys[0].revoked_at.is_some());
    let again = problem(upload(&wasm, Some(&signature)).await);
    assert_eq!(again.code, "function.untrusted_key");
    // What is there still runs.
    assert_eq!(house.rows("SELECT root(9.0)").await.expect("runs"), "3.0");
}

fn run(folder: &Path, house: &House, arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env("SANDMILL_DATA", folder.join("nowhere"))
        .env("SANDMILL_URL", house.server.url())
        .env("SANDMILL_TOKEN", house.server.token())
        .output()
        .expect("runs; `cargo xtask test` builds it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_manages_versions_and_keys() {
    let house = House::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    std::fs::write(folder.join("one.wasm"), variant("one")).expect("written");
    std::fs::write(folder.join("two.wasm"), variant("two")).expect("written");
    let end = |arguments: &[&str], code: i32| {
        let output = run(folder, &house, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    };
    let go = |line: &str| end(&line.split(' ').collect::<Vec<_>>(), 0);
    let fails = |line: &str| end(&line.split(' ').collect::<Vec<_>>(), 1);
    go("key generate release.pem");
    assert!(fails("key generate release.pem").contains("cannot be written"));
    // The private key is never sent.
    assert!(fails("key trust release.pem --name r").contains("no Ed25519 public key"));
    assert!(go("key trust release.pem.pub --name release").contains("is trusted"));
    assert!(go("key require signed").contains("must be signed"));
    assert!(fails("function upload one.wasm").contains("error[function.unsigned]"));
    go("function upload one.wasm --sign release.pem");
    assert!(go("key sign two.wasm --key release.pem").contains("two.wasm.sig"));
    assert!(go("key verify two.wasm --key release.pem.pub").contains("signed with key_"));
    assert!(
        fails("key verify one.wasm --key release.pem.pub --signature two.wasm.sig")
            .contains("does not fit")
    );
    assert!(go("udf inspect two.wasm --key release.pem.pub").contains("(checked)"));
    assert!(go("udf inspect two.wasm").contains("not checked"));
    assert!(go("udf inspect one.wasm").contains("signed by nobody"));
    go("function upload two.wasm --signature two.wasm.sig");
    let versions = go("function versions root");
    assert!(
        versions.contains("│       2 ┆ default, latest ┆") && versions.contains("release (key_"),
        "{versions}"
    );
    assert!(go("function rollback root").contains("root means version 1; before it was 2"));
    let list = go("function list");
    let line = list.lines().find(|line| line.contains(" root "));
    let line = line.unwrap_or_else(|| unreachable!("{list}"));
    assert!(line.contains("┆       1 ┆ default "), "{line}");
    assert!(go("function show root@latest").contains("version    2"));
    assert!(fails("function rollback root").contains("no version before 1"));
    assert!(go("function alias set root stable latest").contains("root@stable is version 2"));
    assert!(go("function alias list root").contains("follows the newest"));
    go("function rollback root --to latest");
    assert!(go("function test root@1 [4.0]").contains("2.0"));
    assert!(fails("function test root [-4.0]").contains("error[function.error]"));
    let sql = [
        "job",
        "submit",
        "-o",
        "csv",
        "--pin",
        "root=1",
        "SELECT root(9.0) AS r",
    ];
    assert_eq!(end(&sql, 0), "r\n3.0\n");
    assert!(go("function usage root").contains("succeeded"));
    assert!(fails("function delete root@2").contains("alias stable"));
    go("function alias delete root stable");
    go("function delete root@1");
    end(&["function", "show", "root@1"], 3);
    end(&["function", "delete", "root@latest"], 2);
    go("function download root");
    let bytes = std::fs::read(folder.join("root-2.wasm")).expect("downloaded");
    assert_eq!(bytes, variant("two"));
    let json: Value = serde_json::from_str(&go("key list -o json")).expect("JSON");
    let id = json["items"][0]["id"].as_str().expect("an id").to_owned();
    assert!(go(&format!("key revoke {id}")).contains("no longer"));
    assert!(go("function versions root").contains("no longer trusted"));
    assert!(go("key require any").contains("need not"));
}
