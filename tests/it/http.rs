//! The API as its users see it.

use std::time::Duration;

use futures::TryStreamExt;
use reqwest::{Method, StatusCode};
use sandmill_api_types::{Format, JobState, NewJob, NewTable};
use sandmill_tests::{House, guest};
use serde_json::{Value, json};

const CSV: &[u8] = b"id,name,x\n1,ann,1.5\n2,bob,\n3,,-4\n";

async fn house() -> House {
    let house = House::start().await;
    house.table("people", "people.csv", CSV).await;
    house.publish(guest("conformance_rust")).await;
    house
}

/// A request as curl would send it.
async fn call(
    house: &House,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Value, String) {
    let http = reqwest::Client::new();
    let mut request = http.request(method, format!("{}{path}", house.server.url()));
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.bearer_auth(house.server.token());
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let response = request.body(body.to_owned()).send().await.expect("answers");
    let status = response.status();
    assert!(response.headers().contains_key("x-request-id"), "{path}");
    let text = response.text().await.expect("a body");
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::Null),
        text,
    )
}

#[tokio::test]
async fn a_job_from_upload_to_download() {
    let house = house().await;
    let sql = "SELECT id, join_text(coalesce(name, '?'), '!') AS hello, root(abs(x)) AS r FROM people ORDER BY id";
    let job = house.job(sql).await.expect("runs");
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!((job.rows, job.attempt), (Some(3), 1));
    assert_eq!(job.functions.len(), 2);
    let id = &job.id;

    let page = house.client.job_rows(id, 1, 1).await.expect("a page");
    assert_eq!(page.rows, vec![vec![json!(2), json!("bob!"), Value::Null]]);
    assert_eq!((page.total, page.next), (3, Some(2)));
    let path = format!("/api/v1/jobs/{id}/results?offset=0&limit=2");
    let (_, _, csv) = call(&house, Method::GET, &path, &[("accept", "text/csv")], "").await;
    assert_eq!(csv, "id,hello,r\n1,ann!,1.224744871391589\n2,bob!,\n");
    let (_, _, lines) = call(
        &house,
        Method::GET,
        &path,
        &[("accept", "application/x-ndjson")],
        "",
    )
    .await;
    assert_eq!(lines.lines().count(), 2);
    let (status, problem, _) =
        call(&house, Method::GET, &path, &[("accept", "image/png")], "").await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (406, &json!("request.not_acceptable"))
    );

    let stream = house
        .client
        .job_download(id, Format::Arrow)
        .await
        .expect("downloads");
    let bytes = stream
        .try_collect::<Vec<_>>()
        .await
        .expect("all of it")
        .concat();
    let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).expect("arrow");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 3);
    let manifest = house.client.job_manifest(id).await.expect("a manifest");
    assert_eq!(
        (manifest.rows, manifest.chunks.len(), manifest.truncated),
        (3, 1, false)
    );
    assert_eq!(manifest.columns[2].sql_type, "DOUBLE");
}

#[tokio::test]
async fn long_poll_answers_changes_and_tags_save_answers() {
    let house = house().await;
    let job = house.job("SELECT 1").await.expect("runs");
    let tag = format!("\"{}\"", job.revision);
    let path = format!("/api/v1/jobs/{}", job.id);
    let (status, _, body) = call(&house, Method::GET, &path, &[("if-none-match", &tag)], "").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let (status, body, _) = call(
        &house,
        Method::GET,
        &format!("{path}?wait=1s"),
        &[("if-none-match", "\"0\"")],
        "",
    )
    .await;
    assert_eq!(
        (status, &body["state"]),
        (StatusCode::OK, &json!("succeeded"))
    );
}

#[tokio::test]
async fn a_running_job_is_canceled_and_its_slot_is_free_again() {
    let house = House::with(|settings| {
        settings.jobs.slots = 1;
        settings.sandbox.call_deadline = Duration::from_secs(600);
    })
    .await;
    house.publish(guest("bench")).await;
    let submit = async |sql: &str| {
        let job = NewJob {
            sql: sql.into(),
            ..NewJob::default()
        };
        house
            .client
            .job_submit(&job, Duration::ZERO)
            .await
            .expect("accepted")
    };
    let running = submit("SELECT spin(1)").await;
    let waiting = submit("SELECT 1").await;
    let mut seen = running.clone();
    while seen.state != JobState::Running {
        seen = house
            .client
            .job_view(&running.id, Duration::from_secs(5), Some(seen.revision))
            .await
            .expect("there");
    }
    // Rows begin to flow a moment after the job says that it runs.
    while house.server.sandbox_stats().instances == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house
        .client
        .job_cancel(&running.id)
        .await
        .expect("canceled");
    let ended = house
        .client
        .job_view(&running.id, Duration::from_secs(20), None)
        .await
        .expect("there");
    assert_eq!(ended.state, JobState::Canceled);
    assert_eq!(house.server.sandbox_stats().instances, 0);
    let next = house
        .client
        .job_view(&waiting.id, Duration::from_secs(20), None)
        .await
        .expect("there");
    assert_eq!(next.state, JobState::Succeeded);
    assert_eq!(
        house
            .client
            .job_cancel(&next.id)
            .await
            .expect("unchanged")
            .state,
        JobState::Succeeded
    );
    let listed = house
        .client
        .job_list(Some("canceled"), 10, None)
        .await
        .expect("a list");
    assert_eq!(listed.items.len(), 1);
    let again = house.client.job_retry(&next.id).await.expect("retried");
    assert_eq!(again.retry_of.as_deref(), Some(next.id.as_str()));
}

#[tokio::test]
async fn logs_arrive_and_lists_are_paged() {
    let house = house().await;
    let job = house
        .job("SELECT logged(id) FROM people")
        .await
        .expect("runs");
    let page = house.client.job_logs(&job.id, 0).await.expect("logs");
    let lines: Vec<_> = page
        .lines
        .iter()
        .map(|l| (l.function.as_str(), l.message.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("logged", "value 1"),
            ("logged", "value 2"),
            ("logged", "value 3")
        ]
    );
    for _ in 0..4 {
        house.job("SELECT 1").await.expect("runs");
    }
    let first = house.client.job_list(None, 3, None).await.expect("a page");
    let second = house
        .client
        .job_list(None, 3, first.next.as_deref())
        .await
        .expect("a page");
    assert_eq!(
        (first.items.len(), second.items.len(), second.next),
        (3, 2, None)
    );
}

#[tokio::test]
async fn a_result_limit_fails_or_cuts() {
    let house = house().await;
    let ask = async |cut: &str| {
        let body = format!(
            r#"{{"sql":"SELECT value FROM generate_series(1, 100000)","limits":{{"result_bytes":1000}},"on_result_limit":"{cut}"}}"#
        );
        call(
            &house,
            Method::POST,
            "/api/v1/jobs?wait=20s",
            &[("content-type", "application/json")],
            &body,
        )
        .await
        .1
    };
    assert_eq!(ask("fail").await["error"]["code"], "limit.result_bytes");
    let cut = ask("truncate").await;
    assert_eq!(cut["state"], "succeeded");
    let rows = house
        .client
        .job_rows(cut["id"].as_str().expect("an id"), 0, 1000)
        .await
        .expect("rows");
    assert!(
        rows.truncated && rows.total > 0 && rows.total < 1000,
        "{rows:?}"
    );
}

#[tokio::test]
async fn versions_are_pinned_and_used_functions_stay() {
    let house = house().await;
    let before = house.client.function_view("answer").await.expect("there");
    house.publish(guest("conformance_rust")).await;
    assert_eq!(
        house
            .client
            .function_view("answer")
            .await
            .expect("there")
            .version,
        before.version
    );
    let upload = house.client.function_upload(guest("conformance_c")).await;
    let Err(sandmill_api_types::ClientError::Problem(problem)) = upload else {
        unreachable!("another package")
    };
    assert_eq!(problem.code, "state.conflict");
    house
        .client
        .function_delete("answer")
        .await
        .expect("deleted");
    assert_eq!(
        house.rows("SELECT answer()").await.expect_err("gone").code,
        "sql.unknown_function"
    );
}

#[tokio::test]
async fn bad_requests_are_problems_with_stable_codes() {
    let house = house().await;
    let json_type = ("content-type", "application/json");
    let token = house.server.token();
    let broken = format!("Bearer {}x", &token[..token.len() - 1]);
    let big = format!(r#"{{"sql":"{}"}}"#, "x".repeat(3 << 20));
    let cases = [
        (
            Method::GET,
            "/api/v1/jobs",
            vec![("authorization", "")],
            "",
            401,
            "auth.missing",
        ),
        (
            Method::GET,
            "/api/v1/jobs",
            vec![("authorization", "Bearer nonsense")],
            "",
            401,
            "auth.invalid",
        ),
        (
            Method::GET,
            "/api/v1/jobs",
            vec![("authorization", &broken)],
            "",
            401,
            "auth.invalid",
        ),
        (Method::GET, "/nowhere", vec![], "", 404, "not_found"),
        (
            Method::PUT,
            "/api/v1/jobs",
            vec![],
            "",
            405,
            "request.method",
        ),
        (Method::GET, "/api/v1/jobs/1", vec![], "", 404, "not_found"),
        (
            Method::GET,
            "/api/v1/jobs/job_00000000000000000000000000000000",
            vec![],
            "",
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/api/v1/jobs/%ff",
            vec![],
            "",
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/docs/errors/%ff",
            vec![],
            "",
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/api/v1/jobs?colour=red",
            vec![],
            "",
            400,
            "request.invalid",
        ),
        (
            Method::GET,
            "/api/v1/jobs?limit=0",
            vec![],
            "",
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![json_type],
            "{",
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![json_type],
            r#"{"sql":"SELECT 1","extra":1}"#,
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![json_type],
            r#"{"sql":"  "}"#,
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![("content-type", "text/plain")],
            "SELECT 1",
            415,
            "request.media_type",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![json_type],
            r#"{"sql":"SELECT 1","timeout":"soon"}"#,
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs?wait=1h",
            vec![json_type],
            r#"{"sql":"SELECT 1"}"#,
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/jobs",
            vec![json_type],
            &big,
            413,
            "upload.too_large",
        ),
        (
            Method::POST,
            "/api/v1/functions",
            vec![("content-type", "application/wasm")],
            "MZ",
            422,
            "function.invalid",
        ),
        (
            Method::POST,
            "/api/v1/functions",
            vec![json_type],
            "{}",
            415,
            "request.media_type",
        ),
        (
            Method::GET,
            "/api/v1/functions/none",
            vec![],
            "",
            404,
            "not_found",
        ),
        (
            Method::POST,
            "/api/v1/catalog/tables",
            vec![json_type],
            r#"{"name":"x","path":"/etc/passwd","format":"csv"}"#,
            422,
            "table.path",
        ),
        (
            Method::POST,
            "/api/v1/catalog/tables",
            vec![json_type],
            r#"{"name":"x","path":"gone.csv"}"#,
            422,
            "table.missing",
        ),
        (
            Method::POST,
            "/api/v1/catalog/tables",
            vec![json_type],
            r#"{"name":"x","path":"people.csv","format":"parquet"}"#,
            422,
            "table.format",
        ),
        (
            Method::POST,
            "/api/v1/catalog/tables",
            vec![json_type],
            r#"{"name":"X y","path":"people.csv"}"#,
            400,
            "request.invalid",
        ),
        (
            Method::POST,
            "/api/v1/catalog/tables",
            vec![json_type],
            r#"{"name":"people","path":"people.csv"}"#,
            409,
            "state.conflict",
        ),
        (
            Method::POST,
            "/api/v1/jobs/validate",
            vec![json_type],
            r#"{"sql":"SELECT nope FROM people"}"#,
            400,
            "sql.unknown_column",
        ),
    ];
    for (method, path, headers, body, status, code) in cases {
        let (found, problem, text) = call(&house, method.clone(), path, &headers, body).await;
        let short: String = body.chars().take(60).collect();
        assert_eq!(
            (found.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {short}: {text}"
        );
        assert!(
            problem["request_id"].is_string() && problem["detail"].is_string(),
            "{text}"
        );
        let page = problem["type"].as_str().expect("a type");
        let (found, _, _) = call(&house, Method::GET, page, &[], "").await;
        assert_eq!(found, StatusCode::OK, "{page}");
    }
}

#[tokio::test]
async fn every_documented_operation_answers_and_asks_for_a_token() {
    let house = House::start().await;
    let (_, document, _) = call(&house, Method::GET, "/api/v1/openapi.json", &[], "").await;
    assert!(
        document["openapi"]
            .as_str()
            .expect("a version")
            .starts_with("3.1")
    );
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 15);
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let path = path
                .replace("{id}", "x")
                .replace("{name}", "x")
                .replace("{version}", "1")
                .replace("{alias}", "x")
                .replace("{n}", "0");
            let (status, _, text) =
                call(&house, method.clone(), &path, &[("authorization", "")], "").await;
            let open = path == "/healthz" || path == "/readyz";
            let expected = if open {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(status, expected, "{method} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn files_of_all_formats_become_tables() {
    let house = house().await;
    house
        .table("lines", "lines.ndjson", b"{\"a\":1}\n{\"a\":2}\n")
        .await;
    house
        .table("list", "list.json", b"[{\"a\":1},{\"a\":5}]")
        .await;
    assert_eq!(house.rows("SELECT sum(a) FROM lines").await, Ok("3".into()));
    assert_eq!(house.rows("SELECT sum(a) FROM list").await, Ok("6".into()));
    let table = NewTable {
        name: "bad".into(),
        path: "people.csv".into(),
        format: None,
        replace: false,
    };
    house.client.table_create(&table).await.expect("registered");
    house.client.table_delete("bad").await.expect("forgotten");
    assert_eq!(
        house.client.table_list().await.expect("a list").items.len(),
        3
    );
}
