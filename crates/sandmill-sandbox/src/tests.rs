//! Guests written by hand, good and hostile, through the whole sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int64Type};
use sandmill_model::{LogLevel, TenantId};

use crate::testing::{ECHO, RUNTIME, guest, manifest, module};
use crate::*;

fn sandbox() -> Sandbox {
    Sandbox::new(Settings {
        instances: 4,
        ..Settings::default()
    })
    .expect("starts")
}

fn load(sandbox: &Sandbox, wasm: &[u8]) -> Module {
    sandbox.load(&TenantId::single(), wasm).expect("loads")
}

fn instance(wasm: &[u8]) -> Result<Instance, Error> {
    let context = Context {
        call_deadline: Some(Duration::from_millis(200)),
        ..Context::default()
    };
    load(&sandbox(), wasm).instantiate(&Arc::new(context))
}

fn call(wasm: &[u8], array: &dyn Array) -> Result<ArrayRef, Error> {
    instance(wasm)?.call(0, &[Argument::Column(array)], array.len())
}

fn cause(result: Result<ArrayRef, Error>) -> Trap {
    match result {
        Err(Error::Trap { cause, .. }) => cause,
        other => unreachable!("{other:?}"),
    }
}

fn longs() -> Int64Array {
    Int64Array::from(vec![Some(1), None, Some(3), Some(-4)])
}

#[test]
fn every_type_comes_back_as_it_went() {
    let nulls = NullBuffer::from(vec![true, false, true, true, true, false, true, true, true]);
    let numbers = Int64Array::from_iter_values(-4..5);
    let cast = |ty: &DataType| arrow::compute::cast(&numbers, ty).expect("casts");
    let texts = StringArray::from(vec![
        "a",
        "",
        "ü",
        "long enough for a view",
        "b",
        "",
        "x",
        "y",
        "🌍",
    ]);
    for (format, array) in [
        (
            "b",
            Arc::new(BooleanArray::from_iter((0..9).map(|n| Some(n % 3 == 0)))) as ArrayRef,
        ),
        ("c", cast(&DataType::Int8)),
        (
            "C",
            Arc::new(UInt8Array::from_iter_values(250..=255).slice(0, 6)) as ArrayRef,
        ),
        ("s", cast(&DataType::Int16)),
        ("i", cast(&DataType::Int32)),
        ("l", Arc::new(numbers.clone())),
        ("L", Arc::new(UInt64Array::from(vec![u64::MAX; 9]))),
        ("f", cast(&DataType::Float32)),
        ("g", cast(&DataType::Float64)),
        (
            "tdD",
            cast(&DataType::Int32)
                .as_primitive::<arrow::datatypes::Int32Type>()
                .reinterpret_cast::<arrow::datatypes::Date32Type>()
                .slice(0, 9)
                .into_data()
                .into_array(),
        ),
        ("tsu:UTC", cast(&parse_format("tsu:UTC").expect("known"))),
        ("tsn:", cast(&parse_format("tsn:").expect("known"))),
        ("d:10,2", cast(&DataType::Decimal128(10, 2))),
        ("u", Arc::new(texts.clone())),
        (
            "z",
            arrow::compute::cast(&texts, &DataType::Binary).expect("casts"),
        ),
    ] {
        let wasm = guest("echo", format, format, ECHO);
        let sandbox = sandbox();
        let module = load(&sandbox, &wasm);
        let mut instance = module.instantiate(&Arc::default()).expect("starts");
        let with_nulls = if array.len() == 9 {
            let data = array.to_data().into_builder().nulls(Some(nulls.clone()));
            make_array(data.build().expect("valid"))
        } else {
            Arc::clone(&array)
        };
        for array in [Arc::clone(&array), with_nulls] {
            for (start, length) in [(0, array.len()), (1, array.len() - 2), (3, 2), (2, 0)] {
                let part = array.slice(start, length);
                let back = instance
                    .call(0, &[Argument::Column(&part)], length)
                    .expect(format);
                assert_eq!(&back, &part, "{format} {start} {length}");
                back.to_data().validate_full().expect("valid");
            }
        }
        assert_eq!(sandbox.stats().instances, 1);
        drop(instance);
        assert_eq!(sandbox.stats().instances, 0);
    }
}

trait IntoArray {
    fn into_array(self) -> ArrayRef;
}

impl IntoArray for arrow::array::ArrayData {
    fn into_array(self) -> ArrayRef {
        make_array(self)
    }
}

#[test]
fn views_and_large_offsets_are_taken_as_they_are() {
    let texts = vec![
        Some("short"),
        None,
        Some("a text of more than twelve bytes"),
        Some(""),
        Some("twelve bytes"),
    ];
    let expected = StringArray::from(texts.clone());
    let wasm = guest("echo", "u", "u", ECHO);
    let mut instance = instance(&wasm).expect("starts");
    let views: ArrayRef = Arc::new(StringViewArray::from(texts.clone()));
    let large: ArrayRef = Arc::new(LargeStringArray::from(texts));
    for array in [views, large] {
        for (start, length) in [(0, 5), (1, 3)] {
            let part = array.slice(start, length);
            let back = instance
                .call(0, &[Argument::Column(&part)], length)
                .expect("echoes");
            assert_eq!(back.as_string::<i32>(), &expected.slice(start, length));
        }
    }
}

#[test]
fn batches_that_do_not_fit_are_computed_in_parts() {
    let wasm = guest("echo", "u", "u", ECHO);
    let array = StringArray::from_iter_values((0..60).map(|n| "x".repeat((1 << 20) + n)));
    let back = call(&wasm, &array).expect("fits in parts");
    assert_eq!(back.as_string::<i32>(), &array);
    let single = StringArray::from(vec!["x".repeat(70 << 20)]);
    assert_eq!(
        cause(call(&wasm, &single)),
        Trap::Memory { limit: 64 << 20 }
    );
}

#[test]
fn strict_functions_take_over_nulls_and_constants_are_one_value() {
    // Returns a buffer of its own without a bitmap: the host adds the nulls.
    let wasm = guest(
        "twice",
        "l",
        "l",
        "(memory.copy (local.get $out) (local.get $args) (i32.const 64))
         (i64.store (i32.add (local.get $out) (i32.const 8)) (i64.const 0))
         (i32.store (i32.load (i32.add (local.get $out) (i32.const 40))) (i32.const 0))
         (i32.const 0)",
    );
    let back = call(&wasm, &longs()).expect("works");
    assert_eq!(back.as_primitive::<Int64Type>(), &longs());

    let sandbox = sandbox();
    let mut instance = load(&sandbox, &wasm)
        .instantiate(&Arc::default())
        .expect("starts");
    let null = Int64Array::from(vec![None]);
    let back = instance
        .call(0, &[Argument::Constant(&null)], 3)
        .expect("no call");
    assert_eq!(back.null_count(), 3);
    assert_eq!(instance.timings().calls, 0);
    // An echo of a constant has one row instead of three.
    let one = Int64Array::from(vec![7]);
    let error = instance
        .call(0, &[Argument::Constant(&one)], 3)
        .expect_err("one row");
    assert!(matches!(error, Error::Output(_)), "{error}");
    assert!(matches!(
        instance.call(0, &[Argument::Constant(&one)], 3),
        Err(Error::Poisoned)
    ));
}

#[test]
fn guests_that_trap_or_do_not_return_are_stopped_with_the_cause() {
    let deadline = Trap::Deadline {
        limit: Duration::from_millis(200),
    };
    for (body, expected) in [
        ("(loop $l (br $l)) (i32.const 0)", deadline),
        ("unreachable", Trap::Unreachable),
        ("(i32.div_s (i32.const 1) (i32.const 0))", Trap::Arithmetic),
        ("(i32.load (i32.const -4))", Trap::OutOfBounds),
        (
            "(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 9)) (br $l)) (i32.const 0)",
            deadline,
        ),
        (
            "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 10)) (i32.const -1)))) unreachable",
            Trap::Memory { limit: 64 << 20 },
        ),
        (
            "(call $fail (i32.const -2) (i64.const -1) (i32.const 0) (i32.const 0)) unreachable",
            Trap::Memory { limit: 64 << 20 },
        ),
    ] {
        assert_eq!(
            cause(call(&guest("f", "l", "l", body), &longs())),
            expected,
            "{body}"
        );
    }
    let recursion = format!(
        r#"{RUNTIME} (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
           (func (export "sm_scalar.f") (param i32 i32 i32) (result i32) (call $deep (i32.const 1)))"#
    );
    let wasm = module(Some(&manifest("f", "l", "l")), &recursion);
    match call(&wasm, &longs()) {
        Err(Error::Trap {
            cause: Trap::Stack,
            frames,
            ..
        }) => assert_eq!(frames[0].function, "deep"),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn loops_in_every_other_export_meet_the_deadline_too() {
    let endless = "(loop $l (br $l))";
    let scalar = r#"(func (export "sm_scalar.f") (param i32 i32 i32) (result i32)
        (memory.copy (local.get 2) (local.get 0) (i32.const 64)) (i32.const 0))"#;
    for extra in [
        format!(r#"(func $s {endless}) (start $s)"#),
        format!(r#"(func (export "sm_init") (result i32) {endless} (i32.const 0))"#),
        format!(r#"(func (export "_initialize") {endless})"#),
        format!(r#"(func (export "sm_release_index") (result i32) {endless} (i32.const 0))"#),
        format!(r#"(func (export "sm_out_free") (param i32) {endless})"#),
    ] {
        let wasm = module(
            Some(&manifest("f", "l", "l")),
            &format!("{RUNTIME}{scalar}{extra}"),
        );
        let deadline = Trap::Deadline {
            limit: Duration::from_millis(200),
        };
        assert_eq!(cause(call(&wasm, &longs())), deadline, "{extra}");
    }
}

#[test]
fn cancellation_stops_a_running_guest() {
    let wasm = guest("f", "l", "l", "(loop $l (br $l)) (i32.const 0)");
    let module = load(&sandbox(), &wasm);
    let context = Arc::new(Context::default());
    let cancellation = context.cancellation.clone();
    let mut instance = module.instantiate(&context).expect("starts");
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        cancellation.cancel();
    });
    assert_eq!(
        cause(instance.call(0, &[Argument::Column(&longs())], 4)),
        Trap::Cancelled
    );
    canceller.join().expect("ends");
    let context = Context {
        deadline: Some(Instant::now()),
        ..Context::default()
    };
    let mut instance = module.instantiate(&Arc::new(context)).expect("starts");
    assert_eq!(
        cause(instance.call(0, &[Argument::Column(&longs())], 4)),
        Trap::JobDeadline
    );
}

#[test]
fn a_full_pool_makes_instances_wait() {
    let wasm = guest("f", "l", "l", ECHO);
    let sandbox = sandbox();
    let module = load(&sandbox, &wasm);
    let held: Vec<_> = (0..4)
        .map(|_| module.instantiate(&Arc::default()).expect("starts"))
        .collect();
    assert_eq!(sandbox.stats().instances, 4);
    let context = Context {
        deadline: Some(Instant::now() + Duration::from_millis(20)),
        ..Context::default()
    };
    let waited = module.instantiate(&Arc::new(context)).map(|_| ());
    assert!(matches!(
        waited,
        Err(Error::Trap {
            cause: Trap::JobDeadline,
            ..
        })
    ));
    let waiting = std::thread::spawn(move || module.instantiate(&Arc::default()).map(|_| ()));
    drop(held);
    waiting.join().expect("ends").expect("gets a slot");
    assert_eq!(sandbox.stats().instances, 0);
}

#[test]
fn a_reused_slot_shows_nothing_of_its_last_user() {
    // The first guest fills memory with 0xAA; the second counts the bytes that are not zero.
    let fill = guest(
        "f",
        "l",
        "l",
        "(drop (memory.grow (i32.const 100)))
         (memory.fill (i32.const 70000) (i32.const 0xAA) (i32.const 6000000))
         (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0)",
    );
    let read = guest(
        "f",
        "l",
        "l",
        "(drop (memory.grow (i32.const 100)))
         (local.set $from (i32.const 140000))
         (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $from) (i32.const 6000000)))
            (if (i32.load8_u (local.get $from)) (then unreachable))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (br $next)))
         (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0)",
    );
    let sandbox = Sandbox::new(Settings {
        instances: 1,
        ..Settings::default()
    })
    .expect("starts");
    let other = TenantId::new("other").expect("legal");
    for (tenant, wasm) in [(TenantId::single(), &fill), (other, &read)] {
        let module = sandbox.load(&tenant, wasm).expect("loads");
        let mut instance = module.instantiate(&Arc::default()).expect("starts");
        instance
            .call(0, &[Argument::Column(&longs())], 4)
            .expect("no trace");
    }
}

#[test]
fn errors_carry_row_and_words() {
    let body = r#"(call $fail (i32.const -1) (i64.const 2) (i32.const 1000) (i32.const 10)) (i32.const 0)"#;
    let wasm = format!(
        r#"{RUNTIME} (data (i32.const 1000) "neg\1bative\00")
        (func (export "sm_scalar.f") (param i32 i32 i32) (result i32) {body})"#
    );
    let wasm = module(Some(&manifest("f", "l", "l")), &wasm);
    match call(&wasm, &longs()) {
        Err(Error::Guest {
            code: -1,
            row: Some(2),
            message,
            ..
        }) => assert_eq!(message, "neg ative"),
        other => unreachable!("{other:?}"),
    }
    let wasm = guest("f", "l", "l", "(i32.const -3)");
    assert!(matches!(
        call(&wasm, &longs()),
        Err(Error::Guest {
            code: -3,
            row: None,
            ..
        })
    ));
}

#[derive(Default)]
struct Lines(std::sync::Mutex<Vec<(LogLevel, String)>>);

impl LogSink for Lines {
    fn write(&self, level: LogLevel, function: &str, message: &str) {
        self.0
            .lock()
            .expect("whole")
            .push((level, format!("{function}: {message}")));
    }
}

#[test]
fn log_lines_arrive_clean_and_floods_end() {
    let body = r#"(loop $l (call $log (i32.const 2) (i32.const 1000) (i32.const 6))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 3000))))
        (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0)"#;
    let text = format!(
        r#"{RUNTIME} (data (i32.const 1000) "a\1b[1mb")
        (func (export "sm_scalar.f") (param $args i32) (param $rows i32) (param $out i32) (result i32) (local $n i32) {body})"#
    );
    let wasm = module(Some(&manifest("f", "l", "l")), &text);
    let lines = Arc::new(Lines::default());
    let context = Context {
        logs: Some(Arc::clone(&lines) as Arc<dyn LogSink>),
        ..Context::default()
    };
    let mut instance = load(&sandbox(), &wasm)
        .instantiate(&Arc::new(context))
        .expect("starts");
    instance
        .call(0, &[Argument::Column(&longs())], 4)
        .expect("works");
    let lines = lines.0.lock().expect("whole");
    assert_eq!(lines.len(), sandmill_abi::limits::LOG_LINES + 1);
    assert_eq!(lines[0], (LogLevel::Warn, "f: a [1mb".into()));
    assert!(lines[1000].1.contains("dropped"));
}

#[test]
fn compiled_code_survives_a_restart_and_damage_is_repaired() {
    let folder = tempfile::tempdir().expect("folder");
    let settings = Settings {
        instances: 2,
        cache: Some(folder.path().into()),
        ..Settings::default()
    };
    let wasm = guest("f", "l", "l", ECHO);
    let first = Sandbox::new(settings.clone()).expect("starts");
    load(&first, &wasm);
    load(&first, &wasm);
    assert_eq!((first.stats().compiled, first.stats().loaded), (1, 0));
    let second = Sandbox::new(settings.clone()).expect("starts");
    load(&second, &wasm);
    assert_eq!((second.stats().compiled, second.stats().loaded), (0, 1));
    let tenant = folder.path().join("default");
    let file = std::fs::read_dir(tenant)
        .expect("there")
        .next()
        .expect("one")
        .expect("readable");
    let mut bytes = std::fs::read(file.path()).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(file.path(), bytes).expect("written");
    let third = Sandbox::new(settings).expect("starts");
    load(&third, &wasm);
    assert_eq!((third.stats().compiled, third.stats().loaded), (1, 0));
}

#[test]
fn a_module_that_needs_more_than_the_pool_is_refused() {
    let text = RUNTIME.replace("\"memory\") 2)", "\"memory\") 2000)");
    let wasm = module(
        Some(&manifest("f", "l", "l")),
        &format!(
            r#"{text} (func (export "sm_scalar.f") (param i32 i32 i32) (result i32) (i32.const 0))"#
        ),
    );
    let error = sandbox()
        .load(&TenantId::single(), &wasm)
        .expect_err("too large");
    assert!(
        matches!(&error, Error::Invalid(text) if text.contains("memory")),
        "{error}"
    );
}

#[test]
fn allocations_that_lie_are_refused() {
    for (given, expected) in [("-64", true), ("65537", true), ("64", false)] {
        let lying = RUNTIME.replace(
            "(local.get $at))\n    (func (export \"sm_free\")",
            &format!("(i32.const {given}))\n    (func (export \"sm_free\")"),
        );
        assert_ne!(lying, RUNTIME);
        let text = format!(
            r#"{lying} (func (export "sm_scalar.f") (param i32 i32 i32) (result i32)
               (memory.copy (local.get 2) (local.get 0) (i32.const 64)) (i32.const 0))"#
        );
        let wasm = module(Some(&manifest("f", "l", "l")), &text);
        let result = call(&wasm, &longs());
        assert_eq!(
            matches!(result, Err(Error::Output(_))),
            expected,
            "{given}: {result:?}"
        );
    }
}

#[test]
fn runtimes_that_wait_and_look_for_folders_go_on() {
    let text = format!(
        r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))
        {RUNTIME}
        (func (export "sm_scalar.f") (param $args i32) (param $rows i32) (param $out i32) (result i32)
            (i64.store (i32.const 1072) (i64.const 7))
            (if (call $yield) (then (return (i32.const 1))))
            (if (call $poll (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 4096)) (then (return (i32.const 2))))
            (if (i32.ne (i32.load (i32.const 4096)) (i32.const 2)) (then (return (i32.const 3))))
            (if (i64.ne (i64.load (i32.const 2080)) (i64.const 7)) (then (return (i32.const 4))))
            (if (i32.ne (call $folder (i32.const 3) (i32.const 0)) (i32.const 8)) (then (return (i32.const 5))))
            {ECHO})"#
    );
    let wasm = module(Some(&manifest("f", "l", "l")), &text);
    let result = call(&wasm, &longs()).expect("computed");
    assert_eq!(result.as_primitive::<Int64Type>(), &longs());
}
