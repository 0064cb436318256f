//! Aggregates and window functions that mean harm.

use super::*;

const AGGREGATES: &str = include_str!("../../../crates/sandmill-sandbox/testing/aggregates.wat");
const WINDOWS: &str = include_str!("../../../crates/sandmill-sandbox/testing/windows.wat");

/// Two phases, states shuffled between them.
const GROUPED: &str =
    "SELECT value % 3, f(value) FROM generate_series(1, 40000) GROUP BY value % 3";
/// Groups are handed on as soon as they are complete.
const SORTED: &str = "SELECT count(s) FROM (SELECT k, f(k) AS s FROM (SELECT value AS k FROM \
    generate_series(1, 40000) ORDER BY value LIMIT 30000) GROUP BY k)";
/// Rows enter and leave the frame.
const MOVING: &str =
    "SELECT f(a) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM three";
/// Two handles in one instance. The first is closed while the second is open, after the results were
/// taken: nothing depends on how that ends.
const TWO: &str = "SELECT f(a), f(a + 1) FROM three";
const WINDOW: &str = "SELECT f(a) OVER (ORDER BY a) FROM three";

fn aggregate(extra: &str, from: &str, to: &str) -> Vec<u8> {
    let manifest = format!(
        r#"{{"package":{{"abi":"1.1","name":"evil","version":"1"}}}}
{{"function":{{"name":"f","kind":"aggregate","arguments":[{{"name":"x","type":"l"}}],"returns":"l","retract":true,"state":[{{"name":"value","type":"l","nullable":false}},{{"name":"count","type":"l","nullable":false}}]{extra}}}}}"#
    );
    let text = AGGREGATES.replace(".total\")", ".f\")");
    assert!(text.contains(from), "{from}");
    assemble(&text.replacen(from, to, 1), &manifest, "")
}

fn window(extra: &str, from: &str, to: &str) -> Vec<u8> {
    let manifest = format!(
        r#"{{"package":{{"abi":"1.1","name":"evil","version":"1"}}}}
{{"function":{{"name":"f","kind":"window","arguments":[{{"name":"x","type":"l"}}],"returns":"l","nullable":false{extra}}}}}"#
    );
    let name = if extra.is_empty() { "back" } else { "span" };
    let text = WINDOWS.replace(&format!("sm_window.{name}"), "sm_window.f");
    assert!(text.contains(from), "{from}");
    assemble(&text.replacen(from, to, 1), &manifest, "")
}

/// The exported function with its head as it is and other instructions in front of its own.
fn before(text: &str, export: &str, first: &str) -> (String, String) {
    let start = text
        .find(export)
        .unwrap_or_else(|| unreachable!("{export}"));
    let mut at = start;
    loop {
        at = text.len() - text[at..].trim_start().len();
        let heads = ["(export ", "(param ", "(result ", "(local "];
        if !heads.iter().any(|head| text[at..].starts_with(head)) {
            let head = &text[start..at];
            return (head.to_owned(), format!("{head} {first} "));
        }
        at += text[at..].find(')').map_or(0, |end| end + 1);
    }
}

pub(super) fn all() -> List {
    let mut list = List::default();
    let forever = "(loop $forever (br $forever))";
    let renamed = AGGREGATES.replace(".total\")", ".f\")");
    for (export, sql) in [
        ("new", GROUPED),
        ("update", GROUPED),
        ("merge", GROUPED),
        ("state", GROUPED),
        ("finish", GROUPED),
        ("size", GROUPED),
        ("drop", SORTED),
        ("retract", MOVING),
        ("close", TWO),
    ] {
        for (what, code, first) in [
            ("endless", "function.timeout", forever),
            ("trap in", "function.trap", "unreachable"),
        ] {
            let name = format!("(export \"sm_agg_{export}.f\")");
            let (from, to) = before(&renamed, &name, first);
            let name = format!("{what} sm_agg_{export}");
            let code = if export == "close" { HARMLESS } else { code };
            list.with(&name, code, sql, aggregate("", &from, &to));
        }
    }
    let new = r#"(export "sm_agg_new.f") (export "sm_agg_new.plain") (result i32) "#;
    let count = "(i64.store (local.get $out) (i64.extend_i32_u (local.get $count)))";
    let size = "(i64.shl (i64.load32_u offset=4 (local.get $handle)) (i64.const 4))";
    for (name, code, sql, wasm) in [
        (
            "handle of zero",
            "function.output",
            GROUPED,
            aggregate("", new, &format!("{new} (return (i32.const 0)) ")),
        ),
        (
            "the same handle twice",
            "function.output",
            TWO,
            aggregate("", new, &format!("{new} (return (i32.const 9000)) ")),
        ),
        (
            "states of fewer groups",
            "function.output",
            GROUPED,
            aggregate("", count, "(i64.store (local.get $out) (i64.const 1))"),
        ),
        (
            "states of another type",
            "function.output",
            GROUPED,
            aggregate(
                "",
                "(i64.store offset=24 (local.get $out) (i64.const 2))",
                "(i64.store offset=24 (local.get $out) (i64.const 3))",
            ),
        ),
        (
            "a state that is null before it is merged",
            "function.output",
            GROUPED,
            aggregate(
                "",
                "(i32.const 2064) (i32.const 0) (local.get $counts)",
                "(i32.const 2064) (i32.const 3000) (local.get $counts)",
            ),
        ),
        (
            "states outside of memory",
            "function.output",
            GROUPED,
            aggregate(
                "",
                "(i32.store offset=4 (local.get $pointers) (local.get $values))",
                "(i32.store offset=4 (local.get $pointers) (i32.const -8))",
            ),
        ),
        (
            "states of less than nothing",
            "function.output",
            GROUPED,
            aggregate("", size, "(i64.const -1)"),
        ),
        (
            "states beyond the manifest",
            "function.memory_exceeded",
            GROUPED,
            aggregate(r#","state_bytes":1024"#, size, "(i64.const 4096)"),
        ),
        (
            "states beyond memory",
            "function.memory_exceeded",
            "SELECT count(s) FROM (SELECT f(value) AS s FROM generate_series(1, 40000) GROUP BY value)",
            // Every group takes a page.
            aggregate(
                "",
                "(local.set $after (i32.shl (local.get $groups) (i32.const 4)))",
                "(local.set $after (i32.shl (local.get $groups) (i32.const 16)))",
            ),
        ),
    ] {
        list.with(name, code, sql, wasm);
    }
    let windows = WINDOWS.replace("sm_window.back", "sm_window.f");
    for (what, code, first) in [
        ("endless", "function.timeout", forever),
        ("trap in", "function.trap", "unreachable"),
    ] {
        let (from, to) = before(&windows, "(export \"sm_window.f\")", first);
        list.with(
            &format!("{what} sm_window"),
            code,
            WINDOW,
            window("", &from, &to),
        );
    }
    let framed = WINDOWS.replace("sm_window.span", "sm_window.f");
    let (from, to) = before(&framed, "(export \"sm_window.f\")", forever);
    list.with(
        "endless sm_window over frames",
        "function.timeout",
        MOVING,
        window(r#","frame":true"#, &from, &to),
    );
    list.with(
        "window of fewer rows",
        "function.output",
        WINDOW,
        window("", count, "(i64.store (local.get $out) (i64.const 2))"),
    );
    list.with(
        "window outside of memory",
        "function.output",
        WINDOW,
        window("", "(i32.const 131072)))", "(i32.const -8)))"),
    );
    list
}
