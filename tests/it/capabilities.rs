//! Functions that ask for the network, and a server that counts who comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sandmill_api_types::{ClientError, HttpGrant, HttpPolicy, Problem};
use sandmill_tests::{House, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A module whose manifest names these hosts at this port.
fn fetch(hosts: &[&str], port: u16) -> Vec<u8> {
    let place =
        |host: &&str| format!(r#"{{"host":"{host}","port":{port},"methods":["GET","POST"]}}"#);
    let places: Vec<_> = hosts.iter().map(place).collect();
    let manifest = format!(
        r#"{{"package":{{"abi":"1.1","name":"net","version":"1","capabilities":{{"http":[{}]}}}}}}
{{"function":{{"name":"fetch","kind":"scalar","arguments":[{{"name":"a","type":"u"}}],"returns":"u"}}}}"#,
        places.join(",")
    );
    let escaped: String = manifest.bytes().map(|b| format!("\\{b:02x}")).collect();
    let body = include_str!("../guests/fetch.wat");
    let text = format!("(module {body} (@custom \"sandmill.manifest\" \"{escaped}\"))");
    wat::parse_str(&text).unwrap_or_else(|e| unreachable!("{e}"))
}

/// A server on this machine: `/hello` answers, `/moved` leads back to `/secret`. Counts requests.
async fn server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = vec![0; 8192];
            let mut read = 0;
            while !request[..read].windows(4).any(|w| w == b"\r\n\r\n") {
                match socket.read(&mut request[read..]).await {
                    Ok(n) if n > 0 => read += n,
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
            let host = text.lines().find_map(|l| l.strip_prefix("host: "));
            let (status, extra, body) = if text.starts_with("get /moved ") {
                (
                    "302 Found",
                    format!("location: http://localhost:{port}/secret\r\n"),
                    String::new(),
                )
            } else {
                (
                    "200 OK",
                    String::new(),
                    format!("hello {}", host.unwrap_or("nobody")),
                )
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (port, hits)
}

fn ask(method: &str, url: &str) -> String {
    format!(r#"SELECT fetch('{{"method":"{method}","url":"{url}"}}')"#)
}

fn grant(host: &str, port: u16, methods: &[&str]) -> HttpGrant {
    HttpGrant {
        host: host.into(),
        port,
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
    }
}

async fn refused(house: &House, method: &str, url: &str) -> Problem {
    let problem = house.rows(&ask(method, url)).await.expect_err(url);
    assert_eq!(problem.code, "function.capability", "{problem:?}");
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_manifest_policy_and_operator_permit_is_reached() {
    let (port, hits) = server().await;
    let house = House::with(|settings| {
        settings.http_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    house.publish(fetch(&["127.0.0.1"], port)).await;
    let hello = format!("http://127.0.0.1:{port}/hello");

    let problem = refused(&house, "GET", &hello).await;
    assert!(
        problem.detail.contains("no network here"),
        "{}",
        problem.detail
    );
    let policy = HttpPolicy {
        allow: vec![grant("127.0.0.1", port, &["GET"])],
    };
    let set = house.client.set_http_policy(&policy).await.expect("set");
    assert_eq!(
        (set, house.client.http_policy().await.expect("kept")),
        (policy.clone(), policy)
    );

    let rows = house.rows(&ask("GET", &hello)).await.expect("reached");
    assert!(rows.starts_with("{\"status\":200,"), "{rows}");
    assert!(
        rows.ends_with(&format!("\nhello 127.0.0.1:{port}")),
        "{rows}"
    );
    assert_eq!(hits.load(Ordering::SeqCst), 1);
    // A redirect is an answer like others.
    let moved = format!("http://127.0.0.1:{port}/moved");
    let rows = house.rows(&ask("GET", &moved)).await.expect("reached");
    assert!(
        rows.starts_with("{\"status\":302,") && rows.contains("/secret"),
        "{rows}"
    );
    assert_eq!(hits.load(Ordering::SeqCst), 2);

    // The manifest names POST, the policy does not; the policy names GET, the manifest another host.
    let problem = refused(&house, "POST", &hello).await;
    assert!(
        problem.detail.contains("policy does not permit POST"),
        "{}",
        problem.detail
    );
    let problem = refused(&house, "GET", &hello.replace("127.0.0.1", "localhost")).await;
    assert!(
        problem.detail.contains("manifest does not name"),
        "{}",
        problem.detail
    );
    refused(&house, "GET", &hello.replace("http:", "https:")).await;
    assert_eq!(hits.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_and_metadata_are_out_of_reach() {
    let (port, hits) = server().await;
    let house = House::start().await;
    // Names and spellings of addresses that nobody may reach.
    let hosts = [
        "localhost",
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "0.0.0.0",
        "2130706433",
        "127.1",
    ];
    house.publish(fetch(&hosts, port)).await;
    let policy = HttpPolicy {
        allow: hosts.map(|host| grant(host, port, &["GET"])).to_vec(),
    };
    house.client.set_http_policy(&policy).await.expect("set");
    for host in hosts {
        let problem = refused(&house, "GET", &format!("http://{host}:{port}/hello")).await;
        assert!(
            problem.detail.contains("functions never reach"),
            "{}",
            problem.detail
        );
        assert!(problem.function.is_some_and(|f| f.name == "fetch"));
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn policies_are_checked_and_kept_by_the_command_line() {
    let house = House::start().await;
    for bad in [
        vec![grant("*.example.org", 80, &["GET"])],
        vec![grant("a", 0, &["GET"])],
        vec![grant("a", 80, &[])],
        vec![grant("a", 80, &["GET"]), grant("a", 80, &["POST"])],
        vec![grant("a", 80, &["GET"]); 201],
    ] {
        let refused = house
            .client
            .set_http_policy(&HttpPolicy { allow: bad })
            .await;
        let Err(ClientError::Problem(problem)) = refused else {
            unreachable!("{refused:?}")
        };
        assert_eq!(problem.code, "request.invalid");
    }
    let (url, token) = (house.server.url(), house.server.token().to_owned());
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(program());
        command.args(["policy", "http"]).args(arguments);
        command
            .env("SANDMILL_URL", &url)
            .env("SANDMILL_TOKEN", &token);
        let output = command.output().await.expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let allowed = run(&["allow", "API.example.org:80", "get", "POST"]).await;
    assert_eq!(allowed.0, Some(0), "{}", allowed.1);
    let policy = house.client.http_policy().await.expect("kept");
    assert_eq!(
        policy.allow,
        [grant("api.example.org", 80, &["GET", "POST"])]
    );
    let (_, listed) = run(&["list", "-o", "csv"]).await;
    assert_eq!(listed, "host,port,methods\napi.example.org,80,GET POST\n");
    assert_eq!(run(&["remove", "api.example.org:80"]).await.0, Some(0));
    assert_eq!(run(&["remove", "api.example.org:80"]).await.0, Some(1));
    assert!(
        house
            .client
            .http_policy()
            .await
            .expect("kept")
            .allow
            .is_empty()
    );
}
