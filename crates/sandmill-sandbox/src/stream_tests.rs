//! Streams and groups with guests written by hand, good and hostile.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::Int64Type;
use sandmill_model::TenantId;

use crate::testing::{RUNTIME, module};
use crate::*;

const PACKAGE: &str = r#"{"package":{"abi":"1.1","name":"test","version":"1"}}"#;
const COLUMN: &str = r#"[{"name":"x","type":"l"}]"#;

/// `$column` fills a result's struct; the globals say what was pushed.
const STREAM: &str = r#"
    (global $columns (mut i32) (i32.const 0))
    (global $rows (mut i32) (i32.const 0))
    (global $finished (mut i32) (i32.const 0))
    (func $column (param $out i32) (param $length i32) (param $pointers i32) (param $data i32)
        (i64.store (local.get $out) (i64.extend_i32_s (local.get $length)))
        (i64.store (i32.add (local.get $out) (i32.const 24)) (i64.const 2))
        (i32.store (i32.add (local.get $out) (i32.const 40)) (local.get $pointers))
        (i32.store (local.get $pointers) (i32.const 0))
        (i32.store (i32.add (local.get $pointers) (i32.const 4)) (local.get $data)))
    (func (export "sm_push.f") (param i32) (param $columns i32) (param $rows i32) (result i32)
        (global.set $columns (local.get $columns))
        (global.set $rows (local.get $rows))
        (i32.const 0))
"#;

struct Guest<'a> {
    kind: &'a str,
    columns: &'a str,
    open: &'a str,
    pull: &'a str,
    close: &'a str,
}

const MAP: Guest<'static> = Guest {
    kind: "map",
    columns: COLUMN,
    open: "(i32.const 1)",
    pull: ECHO,
    close: "",
};

/// Hands each batch back.
const ECHO: &str = r#"
    (if (global.get $rows) (then
        (memory.copy (local.get $out) (global.get $columns) (i32.const 64))
        (global.set $rows (i32.const 0))
        (return (i32.const 1))))
    (if (global.get $finished) (then (return (i32.const 2))))
    (i32.const 0)"#;

/// Twice each value, with the number of its row.
const TWICE: &str = r#"
    (local $n i32)
    (if (global.get $rows) (then
        (loop $next
            (i32.store (i32.add (i32.const 4096) (i32.shl (local.get $n) (i32.const 2)))
                (i32.shr_u (local.get $n) (i32.const 1)))
            (i64.store (i32.add (i32.const 16384) (i32.shl (local.get $n) (i32.const 3)))
                (i64.load (i32.add
                    (i32.load (i32.add (i32.load (i32.add (global.get $columns) (i32.const 40))) (i32.const 4)))
                    (i32.shl (i32.shr_u (local.get $n) (i32.const 1)) (i32.const 3)))))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (i32.shl (global.get $rows) (i32.const 1)))))
        (call $column (local.get $out) (local.get $n) (i32.const 256) (i32.const 4096))
        (call $column (i32.add (local.get $out) (i32.const 64)) (local.get $n) (i32.const 264) (i32.const 16384))
        (global.set $rows (i32.const 0))
        (return (i32.const 1))))
    (if (global.get $finished) (then (return (i32.const 2))))
    (i32.const 0)"#;

impl Guest<'_> {
    fn wasm(&self) -> Vec<u8> {
        let input = match self.kind {
            "table" => format!(r#""arguments":{COLUMN}"#),
            _ => format!(r#""arguments":[],"input":{COLUMN}"#),
        };
        let manifest = format!(
            r#"{PACKAGE}
{{"function":{{"name":"f","kind":"{}",{input},"columns":{}}}}}"#,
            self.kind, self.columns
        );
        let body = format!(
            r#"{RUNTIME} {STREAM}
            (func (export "sm_open.f") (param i32 i32) (result i32) {})
            (func (export "sm_pull.f") (param i32) (param $out i32) (result i32) {})
            (func (export "sm_finish.f") (param i32) (result i32)
                (global.set $finished (i32.const 1)) (i32.const 0))
            (func (export "sm_close.f") (param i32) {})"#,
            self.open, self.pull, self.close
        );
        module(Some(&manifest), &body)
    }

    fn open(&self) -> Result<Stream, Error> {
        open(&sandbox(), &self.wasm())
    }
}

fn sandbox() -> Sandbox {
    Sandbox::new(Settings {
        instances: 4,
        ..Settings::default()
    })
    .expect("starts")
}

fn open(sandbox: &Sandbox, wasm: &[u8]) -> Result<Stream, Error> {
    let module = sandbox.load(&TenantId::single(), wasm).expect("loads");
    let context = Context {
        call_deadline: Some(Duration::from_millis(200)),
        ..Context::default()
    };
    Stream::open(&module, &Arc::new(context), 0, &[])
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Pushes `batches` when asked and gathers what comes back, with the rows that it belongs to.
fn drive(stream: &mut Stream, batches: &[ArrayRef]) -> Result<Vec<(u32, i64)>, Error> {
    let mut batches = batches.iter();
    let mut found = Vec::new();
    loop {
        match stream.pull()? {
            Pulled::Done => return Ok(found),
            Pulled::NeedsInput => match batches.next() {
                Some(batch) => stream.push(vec![Arc::clone(batch)], batch.len())?,
                None => stream.finish(),
            },
            Pulled::Batch { rows, origins } => {
                let values = rows.columns[0].as_primitive::<Int64Type>();
                assert_eq!(values.len(), rows.length);
                for (n, value) in values.values().iter().enumerate() {
                    found.push((origins.as_ref().map_or(0, |o| o.value(n)), *value));
                }
            }
        }
    }
}

#[test]
fn a_map_gives_batches_until_it_is_done() {
    let mut stream = MAP.open().expect("opens");
    let batches = [longs([1, 2]), longs([]), longs([3])];
    let rows = drive(&mut stream, &batches).expect("runs");
    assert_eq!(rows, [(0, 1), (0, 2), (0, 3)]);
    assert!(matches!(stream.pull(), Ok(Pulled::Done)));
    assert_eq!(stream.timings().rows, 3);
    stream.close().expect("closes");
    let mut stream = MAP.open().expect("opens");
    assert_eq!(drive(&mut stream, &[]).expect("runs"), []);
}

#[test]
fn a_table_function_says_where_its_rows_belong() {
    let guest = Guest {
        kind: "table",
        pull: TWICE,
        ..MAP
    };
    let mut stream = guest.open().expect("opens");
    let rows = drive(&mut stream, &[longs([5, 6]), longs([7])]).expect("runs");
    assert_eq!(rows, [(0, 5), (0, 5), (1, 6), (1, 6), (0, 7), (0, 7)]);
}

#[test]
fn what_does_not_fit_is_pushed_in_parts() {
    // Gives the first row of each part that reaches it.
    let pull = r#"
        (if (global.get $rows) (then
            (i32.store (i32.const 4096) (i32.const 0))
            (i64.store (i32.const 8192) (i64.extend_i32_u (global.get $rows)))
            (call $column (local.get $out) (i32.const 1) (i32.const 256) (i32.const 4096))
            (call $column (i32.add (local.get $out) (i32.const 64)) (i32.const 1) (i32.const 264) (i32.const 8192))
            (global.set $rows (i32.const 0))
            (return (i32.const 1))))
        (if (global.get $finished) (then (return (i32.const 2))))
        (i32.const 0)"#;
    let guest = Guest {
        kind: "table",
        pull,
        ..MAP
    };
    let small = Sandbox::new(Settings {
        instances: 1,
        memory_bytes: 4 << 20,
        ..Settings::default()
    })
    .expect("starts");
    let mut stream = open(&small, &guest.wasm()).expect("opens");
    let rows = drive(&mut stream, &[longs(0..400_000)]).expect("runs");
    assert!(rows.len() > 1, "{rows:?}");
    let mut start = 0;
    for (origin, length) in rows {
        assert_eq!(i64::from(origin), start);
        start += length;
    }
    assert_eq!(start, 400_000);
}

#[test]
fn hostile_streams_end_in_typed_errors() {
    let two = r#"[{"name":"x","type":"l"},{"name":"y","type":"l"}]"#;
    let column = |n: i32, length: &str, data: i32| {
        let out = format!("(i32.add (local.get $out) (i32.const {}))", n * 64);
        let pointers = 256 + n * 8;
        format!(
            "(call $column {out} (i32.const {length}) (i32.const {pointers}) (i32.const {data}))"
        )
    };
    let once = |body: String| {
        format!("(if (global.get $rows) (then {body} (return (i32.const 1)))) (i32.const 0)")
    };
    let table = |numbers: [i32; 2]| {
        once(format!(
            "(i32.store (i32.const 4096) (i32.const {})) (i32.store (i32.const 4100) (i32.const {})) {} {}",
            numbers[0],
            numbers[1],
            column(0, "2", 4096),
            column(1, "2", 8192)
        ))
    };
    for (what, guest, words) in [
        (
            "no handle",
            Guest {
                open: "(i32.const 0)",
                ..MAP
            },
            "handle 0",
        ),
        (
            "error as handle",
            Guest {
                open: "(i32.const -3)",
                ..MAP
            },
            "not what the manifest says",
        ),
        (
            "open traps",
            Guest {
                open: "unreachable",
                ..MAP
            },
            "unreachable",
        ),
        (
            "open loops",
            Guest {
                open: "(loop $l (br $l)) (i32.const 1)",
                ..MAP
            },
            "longer than",
        ),
        (
            "endless pull",
            Guest {
                pull: "(loop $l (br $l)) (i32.const 1)",
                ..MAP
            },
            "longer than",
        ),
        (
            "empty batches for ever",
            Guest {
                pull: "(i32.const 1)",
                ..MAP
            },
            "batches without a row",
        ),
        (
            "input after the end",
            Guest {
                pull: "(i32.const 0)",
                ..MAP
            },
            "input after its end",
        ),
        (
            "unknown status",
            Guest {
                pull: "(i32.const 7)",
                ..MAP
            },
            "number 7",
        ),
        (
            "trap in the middle",
            Guest {
                pull: &once("unreachable".into()),
                ..MAP
            },
            "unreachable",
        ),
        (
            "different lengths",
            Guest {
                columns: two,
                pull: &once(column(0, "2", 4096) + &column(1, "1", 8192)),
                ..MAP
            },
            "2 and 1 rows",
        ),
        (
            "no second column",
            Guest {
                columns: two,
                pull: &once(column(0, "2", 4096)),
                ..MAP
            },
            "2 and 0 rows",
        ),
        (
            "negative length",
            Guest {
                pull: &once(column(0, "-1", 4096)),
                ..MAP
            },
            "-1 rows",
        ),
        (
            "too many rows",
            Guest {
                pull: &once(column(0, "1048577", 4096)),
                ..MAP
            },
            "1048577 rows",
        ),
        (
            "outside",
            Guest {
                pull: &once(column(0, "1", -8)),
                ..MAP
            },
            "outside of its memory",
        ),
        (
            "another type",
            Guest {
                columns: r#"[{"name":"x","type":"u"}]"#,
                pull: &once(column(0, "1", 4096)),
                ..MAP
            },
            "buffers",
        ),
        (
            "falling rows",
            Guest {
                kind: "table",
                pull: &table([1, 0]),
                ..MAP
            },
            "row numbers fall",
        ),
        (
            "row out of range",
            Guest {
                kind: "table",
                pull: &table([0, 2]),
                ..MAP
            },
            "row 2 of 2",
        ),
        (
            "negative row",
            Guest {
                kind: "table",
                pull: &table([0, -1]),
                ..MAP
            },
            "of 2",
        ),
    ] {
        let sandbox = sandbox();
        let result = open(&sandbox, &guest.wasm()).and_then(|mut stream| {
            let result = drive(&mut stream, &[longs([1, 2])]);
            assert!(matches!(stream.pull(), Err(Error::Poisoned)), "{what}");
            result
        });
        let error = result.expect_err(what).to_string();
        assert!(error.contains(words), "{what}: {error}");
        assert_eq!(sandbox.stats().instances, 0, "{what}");
    }
}

#[test]
fn streams_end_early_and_late() {
    // Dropped in the middle: the guest is not asked.
    let endless = Guest {
        pull: "(call $column (local.get $out) (i32.const 1) (i32.const 256) (i32.const 4096)) (i32.const 1)",
        close: "(loop $l (br $l))",
        ..MAP
    };
    let sandbox = sandbox();
    let mut stream = open(&sandbox, &endless.wasm()).expect("opens");
    for _ in 0..1000 {
        assert!(matches!(stream.pull(), Ok(Pulled::Batch { .. })));
    }
    assert_eq!(sandbox.stats().instances, 1);
    drop(stream);
    assert_eq!(sandbox.stats().instances, 0);
    let stream = open(&sandbox, &endless.wasm()).expect("opens");
    let error = stream.close().expect_err("loops");
    assert!(
        matches!(
            error,
            Error::Trap {
                cause: Trap::Deadline { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(sandbox.stats().instances, 0);
}

#[test]
fn cancellation_reaches_a_stream_of_short_calls() {
    let endless = Guest {
        pull: "(call $column (local.get $out) (i32.const 1) (i32.const 256) (i32.const 4096)) (i32.const 1)",
        ..MAP
    };
    let module = sandbox().load(&TenantId::single(), &endless.wasm());
    let context = Arc::new(Context::default());
    let mut stream = Stream::open(&module.expect("loads"), &context, 0, &[]).expect("opens");
    assert!(matches!(stream.pull(), Ok(Pulled::Batch { .. })));
    context.cancellation.cancel();
    let error = stream.pull().expect_err("cancelled");
    assert!(matches!(
        error,
        Error::Trap {
            cause: Trap::Cancelled,
            ..
        }
    ));
}

#[test]
fn pushes_that_nobody_asked_for_are_refused() {
    let mut stream = MAP.open().expect("opens");
    let push = |stream: &mut Stream, array: ArrayRef| stream.push(vec![array], 1);
    assert!(matches!(
        push(&mut stream, longs([1])),
        Err(Error::Arguments(_))
    ));
    assert!(matches!(stream.pull(), Ok(Pulled::NeedsInput)));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert!(matches!(push(&mut stream, text), Err(Error::Arguments(_))));
    assert!(matches!(
        push(&mut stream, longs([1, 2])),
        Err(Error::Arguments(_))
    ));
    push(&mut stream, longs([1])).expect("asked for");
    assert!(matches!(
        push(&mut stream, longs([1])),
        Err(Error::Arguments(_))
    ));
}

/// Sums of each group; `right` adds those of the second input.
fn group_guest(kind: &str, body: &str) -> Vec<u8> {
    let right = match kind {
        "cogrouped_map" => format!(r#","right":{COLUMN}"#),
        _ => String::new(),
    };
    let manifest = format!(
        r#"{PACKAGE}
{{"function":{{"name":"f","kind":"{kind}","arguments":[],"input":{COLUMN}{right},"columns":{COLUMN}}}}}"#
    );
    let params = match kind {
        "cogrouped_map" => {
            r#"(func (export "sm_cogroup.f") (param i32) (param $left i32) (param $left_offsets i32)
                (param $right i32) (param $right_offsets i32) (param $groups i32) (param $out i32)"#
        }
        _ => {
            r#"(func (export "sm_group.f") (param i32) (param $left i32) (param $rows i32)
                (param $left_offsets i32) (param $groups i32) (param $out i32)"#
        }
    };
    let text = format!(
        r#"{RUNTIME} {STREAM}
        (func $sum (param $column i32) (param $offsets i32) (param $group i32) (result i64)
            (local $n i32) (local $end i32) (local $sum i64)
            (local.set $offsets (i32.add (local.get $offsets) (i32.shl (local.get $group) (i32.const 2))))
            (local.set $n (i32.load (local.get $offsets)))
            (local.set $end (i32.load (i32.add (local.get $offsets) (i32.const 4))))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $n) (local.get $end)))
                (local.set $sum (i64.add (local.get $sum) (i64.load (i32.add
                    (i32.load (i32.add (i32.load (i32.add (local.get $column) (i32.const 40))) (i32.const 4)))
                    (i32.shl (local.get $n) (i32.const 3))))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $next)))
            (local.get $sum))
        {params} (result i32) (local $n i32)
            {body}
            (call $column (local.get $out) (local.get $groups) (i32.const 256) (i32.const 4096))
            (i32.const 0))"#
    );
    module(Some(&manifest), &text)
}

fn sums(right: &str) -> String {
    format!(
        r#"(loop $next
            (i64.store (i32.add (i32.const 4096) (i32.shl (local.get $n) (i32.const 3)))
                (i64.add (call $sum (local.get $left) (local.get $left_offsets) (local.get $n)) {right}))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (local.get $groups))))"#
    )
}

fn groups(values: impl IntoIterator<Item = i64>, offsets: &[u32]) -> Groups {
    Groups {
        columns: vec![longs(values)],
        offsets: offsets.to_vec(),
    }
}

fn grouped(memory: usize, wasm: &[u8], inputs: &[Groups]) -> Result<Vec<Vec<i64>>, Error> {
    let sandbox = Sandbox::new(Settings {
        instances: 1,
        memory_bytes: memory,
        ..Settings::default()
    });
    let module = sandbox.expect("starts").load(&TenantId::single(), wasm);
    let mut instance = module.expect("loads").instantiate(&Arc::default())?;
    let results = instance.call_groups(0, &[], inputs)?;
    let values = |rows: &Rows| {
        rows.columns[0]
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    Ok(results.iter().map(values).collect())
}

#[test]
fn groups_are_computed_whole() {
    let wasm = group_guest("grouped_map", &sums("(i64.const 0)"));
    let input = groups(1..=6, &[0, 1, 1, 4, 6]);
    assert_eq!(
        grouped(64 << 20, &wasm, &[input]).expect("runs"),
        [[1, 0, 9, 11]]
    );
    assert!(
        grouped(64 << 20, &wasm, &[groups([], &[0])])
            .expect("runs")
            .is_empty()
    );
    for bad in [
        groups([1], &[0, 2]),
        groups([1], &[1, 1]),
        groups([1, 2], &[0, 2, 1]),
    ] {
        let error = grouped(64 << 20, &wasm, &[bad]).expect_err("refused");
        assert!(matches!(error, Error::Arguments(_)), "{error:?}");
    }
    let right = "(call $sum (local.get $right) (local.get $right_offsets) (local.get $n))";
    let wasm = group_guest("cogrouped_map", &sums(right));
    let (left, right) = (groups([1, 2], &[0, 2, 2]), groups([10, 20], &[0, 0, 2]));
    assert_eq!(
        grouped(64 << 20, &wasm, &[left.clone(), right]).expect("runs"),
        [[3, 30]]
    );
    assert!(grouped(64 << 20, &wasm, &[left.clone(), groups([], &[0, 0])]).is_err());
    assert!(grouped(64 << 20, &wasm, &[left]).is_err());
}

#[test]
fn groups_that_do_not_fit_together_are_computed_apart() {
    let wasm = group_guest("grouped_map", &sums("(i64.const 0)"));
    let half = 100_000_u32;
    let input = groups(std::iter::repeat_n(1, 200_000), &[0, half, 2 * half]);
    let sum = i64::from(half);
    assert_eq!(
        grouped(4 << 20, &wasm, &[input]).expect("runs"),
        [[sum], [sum]]
    );
    let input = groups(std::iter::repeat_n(1, 1_000_000), &[0, 1_000_000]);
    let error = grouped(4 << 20, &wasm, &[input]).expect_err("too large");
    assert!(
        matches!(
            error,
            Error::Trap {
                cause: Trap::Memory { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("1000000 rows (7813 KiB)"),
        "{error}"
    );
}

#[test]
fn hostile_groups_end_in_typed_errors() {
    for (body, words) in [
        ("(return (i32.const -1))", "cannot compute"),
        ("(local.set $groups (i32.const -1))", "-1 rows"),
        ("unreachable", "unreachable"),
    ] {
        let wasm = group_guest("grouped_map", body);
        let error = grouped(64 << 20, &wasm, &[groups([1], &[0, 1])]).expect_err(body);
        assert!(error.to_string().contains(words), "{error}");
    }
}
