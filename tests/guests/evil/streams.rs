//! Maps, table functions and grouped maps that mean harm.

use super::*;

const MAP: &str = "SELECT * FROM f(TABLE(three))";
const TABLE: &str = "SELECT t.a, w.y FROM three t, f(t.a) AS w";
const GROUPED: &str = "SELECT * FROM f(TABLE(three) OVER (PARTITION BY a))";
const COGROUPED: &str =
    "SELECT * FROM f(TABLE(three) OVER (PARTITION BY a), TABLE(three) OVER (PARTITION BY a))";

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
"#;

/// Hands each batch back.
const ECHO: &str = r#"
    (if (global.get $rows) (then
        (memory.copy (local.get $out) (global.get $columns) (i32.const 64))
        (global.set $rows (i32.const 0))
        (return (i32.const 1))))
    (if (global.get $finished) (then (return (i32.const 2))))
    (i32.const 0)"#;

/// A stream whose exports begin with other instructions.
#[derive(Clone, Copy)]
struct Guest<'a> {
    kind: &'a str,
    open: &'a str,
    push: &'a str,
    pull: &'a str,
    finish: &'a str,
    close: &'a str,
}

const GUEST: Guest<'static> = Guest {
    kind: "map",
    open: "(i32.const 1)",
    push: "",
    pull: ECHO,
    finish: "",
    close: "",
};

fn described(kind: &str) -> String {
    let column = r#"[{"name":"a","type":"l"}]"#;
    let input = match kind {
        "table" => format!(r#""arguments":{column}"#),
        "cogrouped_map" => format!(r#""arguments":[],"input":{column},"right":{column}"#),
        _ => format!(r#""arguments":[],"input":{column}"#),
    };
    format!(
        r#"{{"package":{{"abi":"1.1","name":"evil","version":"1"}}}}
{{"function":{{"name":"f","kind":"{kind}",{input},"columns":[{{"name":"y","type":"l"}}]}}}}"#
    )
}

impl Guest<'_> {
    fn wasm(&self) -> Vec<u8> {
        self.on(RUNTIME)
    }

    fn on(&self, runtime: &str) -> Vec<u8> {
        let Self {
            open,
            push,
            pull,
            finish,
            close,
            ..
        } = self;
        let body = format!(
            r#"{STREAM}
            (func (export "sm_open.f") (param i32 i32) (result i32) {open})
            (func (export "sm_push.f") (param i32) (param $columns i32) (param $rows i32) (result i32) {push}
                (global.set $columns (local.get $columns))
                (global.set $rows (local.get $rows))
                (i32.const 0))
            (func (export "sm_pull.f") (param i32) (param $out i32) (result i32) {pull})
            (func (export "sm_finish.f") (param i32) (result i32) {finish}
                (global.set $finished (i32.const 1)) (i32.const 0))
            (func (export "sm_close.f") (param i32) {close})"#
        );
        assemble(runtime, &described(self.kind), &body)
    }
}

/// A grouped or cogrouped map with this body.
fn groups(kind: &str, body: &str) -> Vec<u8> {
    let (export, params) = match kind {
        "cogrouped_map" => ("sm_cogroup", "i32 i32 i32 i32 i32 i32"),
        _ => ("sm_group", "i32 i32 i32 i32 i32"),
    };
    let body = format!(
        r#"{STREAM} (func (export "{export}.f") (param {params}) (param $out i32) (result i32) {body} (i32.const 0))"#
    );
    assemble(RUNTIME, &described(kind), &body)
}

pub(super) fn all() -> List {
    let mut list = List::default();
    for (what, code, first) in [
        (
            "endless",
            "function.timeout",
            "(loop $forever (br $forever))",
        ),
        ("trap in", "function.trap", "unreachable"),
    ] {
        let open = format!("{first} (i32.const 1)");
        let pull = format!("{first} (i32.const 2)");
        for (export, guest) in [
            (
                "open",
                Guest {
                    open: &open,
                    ..GUEST
                },
            ),
            (
                "push",
                Guest {
                    push: first,
                    ..GUEST
                },
            ),
            (
                "pull",
                Guest {
                    pull: &pull,
                    ..GUEST
                },
            ),
            (
                "finish",
                Guest {
                    finish: first,
                    ..GUEST
                },
            ),
            (
                "close",
                Guest {
                    close: first,
                    ..GUEST
                },
            ),
        ] {
            let name = format!("{what} sm_{export}");
            list.with(&name, code, MAP, guest.wasm());
            let pull = match export {
                "pull" => pull.as_str(),
                // Without a row: those of a table function need numbers.
                _ => "(if (global.get $finished) (then (return (i32.const 2)))) (i32.const 0)",
            };
            let guest = Guest {
                kind: "table",
                pull,
                ..guest
            };
            if export != "close" {
                list.with(
                    &format!("{name} of a table function"),
                    code,
                    TABLE,
                    guest.wasm(),
                );
            }
        }
        for (kind, sql) in [("grouped_map", GROUPED), ("cogrouped_map", COGROUPED)] {
            list.with(&format!("{what} a {kind}"), code, sql, groups(kind, first));
        }
    }
    // A batch of one row, of which only one thing is wrong.
    let batch = |length: &str, data: &str| {
        format!(
            "(call $column (local.get $out) (i32.const {length}) (i32.const 256) (i32.const {data}))"
        )
    };
    let once = |body: String| {
        format!("(if (global.get $rows) (then {body} (return (i32.const 1)))) (i32.const 0)")
    };
    for (name, pull) in [
        ("empty batches for ever", "(i32.const 1)".to_owned()),
        ("input after the end", "(i32.const 0)".to_owned()),
        ("stream of negative length", once(batch("-1", "4096"))),
        ("stream of too many rows", once(batch("1048577", "4096"))),
        ("stream outside of memory", once(batch("1", "-8"))),
        (
            "stream of unknown buffers",
            once(batch("1", "4096") + "(i64.store offset=24 (local.get $out) (i64.const 3))"),
        ),
    ] {
        list.with(
            name,
            "function.output",
            MAP,
            Guest {
                pull: &pull,
                ..GUEST
            }
            .wasm(),
        );
    }
    list.with(
        "status that means nothing",
        "function.error",
        MAP,
        Guest {
            pull: "(i32.const 7)",
            ..GUEST
        }
        .wasm(),
    );
    list.with(
        "no stream",
        "function.output",
        MAP,
        Guest {
            open: "(i32.const 0)",
            ..GUEST
        }
        .wasm(),
    );
    // The second batch finds what the first one left: the trap comes in mid-stream.
    let pull = format!(
        "(if (i64.gt_s (i64.load (i32.load offset=4 (i32.load offset=40 (global.get $columns)))) (i64.const 8192)) (then unreachable)) {ECHO}"
    );
    list.with(
        "trap in mid-stream",
        "function.trap",
        "SELECT count(y) FROM f((SELECT value FROM generate_series(1, 40000)))",
        Guest {
            pull: &pull,
            ..GUEST
        }
        .wasm(),
    );
    let endless = format!("{} (i32.const 1)", batch("1", "4096"));
    list.with(
        "rows for ever, of which two are wanted",
        HARMLESS,
        "SELECT * FROM f(TABLE(three)) LIMIT 2",
        Guest {
            pull: &endless,
            ..GUEST
        }
        .wasm(),
    );
    list.with(
        "rows for ever",
        "job.timeout",
        "SELECT count(*) FROM f(TABLE(three))",
        Guest {
            pull: &endless,
            ..GUEST
        }
        .wasm(),
    );
    let flood = format!("{} (i32.const 1)", batch("4096", "4096"));
    list.with(
        "large batches for ever",
        "job.timeout",
        "SELECT max(y) FROM f(TABLE(three))",
        Guest {
            pull: &flood,
            ..GUEST
        }
        .wasm(),
    );
    // Row numbers of a table function.
    let numbered = |first: &str, second: &str| {
        once(format!(
            "(i32.store (i32.const 4096) (i32.const {first})) (i32.store (i32.const 4100) (i32.const {second})) {} \
             (call $column (i32.add (local.get $out) (i32.const 64)) (i32.const 2) (i32.const 264) (i32.const 8192))",
            batch("2", "4096")
        ))
    };
    for (name, pull) in [
        ("row numbers fall", numbered("1", "0")),
        ("row number past the push", numbered("0", "3")),
        ("negative row number", numbered("0", "-1")),
        ("columns of different lengths", once(batch("2", "4096"))),
    ] {
        let guest = Guest {
            kind: "table",
            pull: &pull,
            ..GUEST
        };
        list.with(name, "function.output", TABLE, guest.wasm());
    }
    // The host's own structs and what was pushed lie at the same place.
    let same = runtime(BLOCK, "(i32.const 131072)").replace(
        "(memory (export \"memory\") 2)",
        "(memory (export \"memory\") 9)",
    );
    list.with(
        "the same pointer twice",
        HARMLESS,
        MAP,
        Guest {
            pull: "(i32.const 2)",
            ..GUEST
        }
        .on(&same),
    );
    for (name, body) in [
        ("groups of negative length", batch("-1", "4096")),
        ("groups of too many rows", batch("1048577", "4096")),
        ("groups outside of memory", batch("1", "-8")),
    ] {
        list.with(
            name,
            "function.output",
            GROUPED,
            groups("grouped_map", &body),
        );
    }
    list
}
