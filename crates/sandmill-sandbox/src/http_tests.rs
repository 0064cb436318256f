//! Outbound HTTP with a sink that reaches nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, StringArray};
use sandmill_model::{ErrorCode, TenantId};

use crate::testing::{RUNTIME, module};
use crate::*;

/// Sends its argument, the text of a request, and gives the response as it is. The room at first is
/// `room` bytes; a longer response is asked for again.
fn fetch(capabilities: &str, room: u32) -> Vec<u8> {
    let manifest = format!(
        r#"{{"package":{{"abi":"1.1","name":"test","version":"1"{capabilities}}}}}
{{"function":{{"name":"fetch","kind":"scalar","arguments":[{{"name":"a","type":"u"}}],"returns":"u"}}}}"#
    );
    let body = format!(
        r#"(import "sandmill" "http" (func $http (param i32 i32 i32 i32) (result i32))) {RUNTIME}
        (func (export "sm_scalar.fetch") (param $args i32) (param $rows i32) (param $out i32) (result i32)
            (local $buffers i32) (local $offsets i32) (local $from i32) (local $got i32)
            (local.set $buffers (i32.load offset=40 (local.get $args)))
            (local.set $offsets (i32.load offset=4 (local.get $buffers)))
            (local.set $from (i32.load (local.get $offsets)))
            (local.set $got (call $http
                (i32.add (i32.load offset=8 (local.get $buffers)) (local.get $from))
                (i32.sub (i32.load offset=4 (local.get $offsets)) (local.get $from))
                (i32.const 1024) (i32.const {room})))
            (if (i32.gt_u (local.get $got) (i32.const {room}))
                (then (local.set $got
                    (call $http (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 32768)))))
            (i32.store (i32.const 512) (i32.const 0))
            (i32.store (i32.const 516) (i32.const 576))
            (i32.store (i32.const 520) (i32.const 1024))
            (i32.store (i32.const 576) (i32.const 0))
            (i32.store (i32.const 580) (local.get $got))
            (memory.fill (local.get $out) (i32.const 0) (i32.const 64))
            (i64.store (local.get $out) (i64.const 1))
            (i64.store offset=24 (local.get $out) (i64.const 3))
            (i32.store offset=40 (local.get $out) (i32.const 512))
            (i32.const 0))"#
    );
    module(Some(&manifest), &body)
}

const PLACE: &str =
    r#","capabilities":{"http":[{"host":"api.example.org","port":80,"methods":["GET","POST"]}]}"#;

/// Keeps what it is asked and answers as it is told.
struct Fake {
    seen: Mutex<Vec<HttpRequest>>,
    answer: fn(Instant, &Cancellation) -> Result<HttpResponse, HttpFailure>,
}

impl HttpSink for Fake {
    fn send(
        &self,
        request: HttpRequest,
        deadline: Instant,
        cancellation: &Cancellation,
        _: usize,
    ) -> Result<HttpResponse, HttpFailure> {
        self.seen.lock().expect("whole").push(request);
        (self.answer)(deadline, cancellation)
    }
}

fn fake(answer: fn(Instant, &Cancellation) -> Result<HttpResponse, HttpFailure>) -> Arc<Fake> {
    Arc::new(Fake {
        seen: Mutex::default(),
        answer,
    })
}

fn hello(_: Instant, _: &Cancellation) -> Result<HttpResponse, HttpFailure> {
    Ok(HttpResponse {
        status: 201,
        headers: vec![("x".into(), "y".into())],
        body: b"hello\nthere".to_vec(),
    })
}

fn send(wasm: &[u8], context: Context, request: &str) -> Result<String, Error> {
    let sandbox = Sandbox::new(Settings {
        instances: 2,
        ..Settings::default()
    })?;
    let module = sandbox.load(&TenantId::single(), wasm)?;
    let mut instance = module.instantiate(&Arc::new(context))?;
    let text = StringArray::from(vec![request]);
    let array = instance.call(0, &[Argument::Column(&text)], text.len())?;
    Ok(array.as_string::<i32>().value(0).to_owned())
}

fn with(sink: &Arc<Fake>) -> Context {
    Context {
        http: Some(Arc::clone(sink) as Arc<dyn HttpSink>),
        ..Context::default()
    }
}

const GET: &str = r#"{"method":"GET","url":"http://api.example.org/a?b=c"}"#;

#[test]
fn a_place_that_the_manifest_names_is_reached_through_the_sink() {
    let request = r#"{"method":"POST","url":"http://api.example.org/a?b=c","headers":[["k","v"]]}
the
body"#;
    // With room at once, and asked for again.
    for room in [30_000, 10] {
        let sink = fake(hello);
        let context = Arc::new(with(&sink));
        let sandbox = Sandbox::new(Settings::default()).expect("starts");
        let module = sandbox.load(&TenantId::single(), &fetch(PLACE, room));
        let mut instance = module.expect("loads").instantiate(&context).expect("runs");
        let text = StringArray::from(vec![request]);
        let got = instance.call(0, &[Argument::Column(&text)], 1).expect("ok");
        let expected = "{\"status\":201,\"headers\":[[\"x\",\"y\"]]}\nhello\nthere";
        assert_eq!(got.as_string::<i32>().value(0), expected, "{room}");
        assert_eq!(context.http_requests.load(Ordering::Relaxed), 1);
        let seen = sink.seen.lock().expect("whole");
        assert_eq!(
            *seen,
            [HttpRequest {
                method: "POST".into(),
                tls: false,
                host: "api.example.org".into(),
                port: 80,
                path: "/a?b=c".into(),
                headers: vec![("k".into(), "v".into())],
                body: b"the\nbody".to_vec(),
            }]
        );
    }
}

#[test]
fn nothing_else_is_reached() {
    let wasm = fetch(PLACE, 30_000);
    let sink = fake(hello);
    for request in [
        &GET.replace("GET", "DELETE"),
        &GET.replace("api", "www"),
        &GET.replace("http:", "https:"),
        &GET.replace("org/", "org:8080/"),
    ] {
        let error = send(&wasm, with(&sink), request).expect_err(request);
        assert_eq!(error.code(), ErrorCode::FunctionCapability, "{error}");
        assert!(
            error.to_string().contains("manifest does not name"),
            "{error}"
        );
    }
    let error = send(&wasm, Context::default(), GET).expect_err("no network");
    assert!(error.to_string().contains("not permitted"), "{error}");
    let used_up = with(&sink);
    used_up.http_requests.store(10_000, Ordering::Relaxed);
    let error = send(&wasm, used_up, GET).expect_err("too many");
    assert!(error.to_string().contains("10000 requests"), "{error}");
    // What makes no sense is the guest's to handle.
    for bad in [
        "",
        "{}",
        "[]",
        &GET.replace("GET", "get"),
        &GET.replace("api.", "u@"),
    ] {
        // An empty request asks for a response that is not there.
        let answer = send(&wasm, with(&sink), bad).expect("an answer");
        assert!(
            bad.is_empty() || answer.starts_with("{\"status\":0,"),
            "{answer}"
        );
    }
    assert!(sink.seen.lock().expect("whole").is_empty());
}

#[test]
fn refusals_end_the_call_and_failures_do_not() {
    let wasm = fetch(PLACE, 30_000);
    let refusing = fake(|_, _| Err(HttpFailure::Refused("the address is private".into())));
    let error = send(&wasm, with(&refusing), GET).expect_err("refused");
    assert_eq!(error.code(), ErrorCode::FunctionCapability);
    let failing = fake(|_, _| Err(HttpFailure::Failed("nobody there".into())));
    let answer = send(&wasm, with(&failing), GET).expect("told");
    assert_eq!(
        answer,
        "{\"status\":0,\"headers\":[],\"error\":\"nobody there\"}\n"
    );
}

#[test]
fn waiting_ends_with_the_call_and_with_the_job() {
    let wasm = fetch(PLACE, 30_000);
    let slow = fake(|deadline, _| {
        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        Err(HttpFailure::Failed("too slow".into()))
    });
    let context = Context {
        call_deadline: Some(Duration::from_millis(50)),
        ..with(&slow)
    };
    let error = send(&wasm, context, GET).expect_err("late");
    assert_eq!(error.code(), ErrorCode::FunctionTimeout);
    let canceled = fake(|_, cancellation| {
        cancellation.cancel();
        Err(HttpFailure::Failed("canceled".into()))
    });
    let error = send(&wasm, with(&canceled), GET).expect_err("canceled");
    assert_eq!(error.code(), ErrorCode::JobCanceled);
}

#[test]
fn the_import_needs_a_manifest_that_names_places() {
    for none in ["", r#","capabilities":{"http":[]}"#] {
        let error = inspect(&fetch(none, 1)).expect_err("undeclared");
        assert_eq!(error.code(), ErrorCode::FunctionImport);
        assert!(error.to_string().contains("capabilities.http"), "{error}");
    }
    assert!(inspect(&fetch(PLACE, 1)).is_ok());
}
