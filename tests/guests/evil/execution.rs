//! Guests that run for ever, take all there is, or trap at a bad time.

use super::*;

pub(super) fn all() -> List {
    let numbers = manifest("l", "l");
    let echo = scalar("(memory.copy (local.get $out) (local.get $args) (i32.const 64))");
    let forever = "(loop $l (br $l))";
    let mut list = List::default();
    let mut add = |name: &str, code, wasm| list.add(name, code, wasm);
    // Execution.
    add(
        "endless loop",
        "function.timeout",
        wat(&numbers, &scalar(forever)),
    );
    add(
        "endless sm_init",
        "function.timeout",
        wat(
            &numbers,
            &format!(r#"{echo} (func (export "sm_init") (result i32) {forever} (i32.const 0))"#),
        ),
    );
    add(
        "endless start",
        "function.timeout",
        wat(&numbers, &format!("{echo} (func $s {forever}) (start $s)")),
    );
    add(
        "endless sm_out_free",
        "function.timeout",
        wat(
            &numbers,
            &format!(r#"{echo} (func (export "sm_out_free") (param i32) {forever})"#),
        ),
    );
    add(
        "endless sm_release_index",
        "function.timeout",
        wat(
            &numbers,
            &format!(
                r#"{echo} (func (export "sm_release_index") (result i32) {forever} (i32.const 0))"#
            ),
        ),
    );
    add(
        "failing sm_init",
        "function.error",
        wat(
            &numbers,
            &format!(r#"{echo} (func (export "sm_init") (result i32) (i32.const -1))"#),
        ),
    );
    add(
        "trap",
        "function.trap",
        wat(&numbers, &scalar("unreachable")),
    );
    add(
        "division by zero",
        "function.trap",
        wat(
            &numbers,
            &scalar("(drop (i32.div_u (i32.const 1) (local.get $n)))"),
        ),
    );
    add(
        "out of bounds",
        "function.trap",
        wat(&numbers, &scalar("(drop (i32.load (i32.const -1)))")),
    );
    add(
        "deep recursion",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0)))) {}",
                scalar("(drop (call $deep (i32.const 0)))")
            ),
        ),
    );
    add(
        "memory hog",
        "function.memory_exceeded",
        wat(
            &numbers,
            &scalar(
                "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
            ),
        ),
    );
    add(
        "table hog",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "(table 1 funcref) {}",
                scalar(
                    "(loop $l (br_if $l (i32.ne (table.grow (ref.null func) (i32.const 100)) (i32.const -1)))) unreachable"
                )
            ),
        ),
    );
    add(
        "log flood",
        "function.timeout",
        wat(
            &numbers,
            &scalar("(loop $l (call $log (i32.const 3) (i32.const 0) (i32.const 8192)) (br $l))"),
        ),
    );
    add(
        "host call storm",
        "function.timeout",
        wat(&numbers, &scalar("(loop $l (drop (call $random)) (br $l))")),
    );
    add(
        "fail with junk",
        "function.error",
        wat(
            &numbers,
            &scalar(
                "(call $fail (i32.const 77) (i64.const -9000000000000000000) (i32.const 0) (i32.const 65536))",
            ),
        ),
    );
    add(
        "fail out of bounds",
        "function.trap",
        wat(
            &numbers,
            &scalar("(call $fail (i32.const -1) (i64.const 0) (i32.const -8) (i32.const 100))"),
        ),
    );
    // A message with an escape sequence, a bell and a mark that turns the reading direction.
    let colours = "(data (i32.const 4096) \"\\1b[31mred\\07\\e2\\80\\aeder\")";
    add(
        "fail with an escape sequence",
        "function.error",
        wat(
            &numbers,
            &format!(
                "{colours} {}",
                scalar("(call $fail (i32.const 1) (i64.const 0) (i32.const 4096) (i32.const 15))")
            ),
        ),
    );
    add(
        "log with an escape sequence",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "{colours} {}",
                scalar("(call $log (i32.const 3) (i32.const 4096) (i32.const 15)) unreachable")
            ),
        ),
    );
    add(
        "log out of bounds",
        "function.trap",
        wat(
            &numbers,
            &scalar("(call $log (i32.const 3) (i32.const -16) (i32.const -1))"),
        ),
    );
    // What it keeps from its first call would make its second one succeed.
    add(
        "trap, then behave",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "(global $seen (mut i32) (i32.const 0)) {}",
                scalar(
                    "(if (i32.eqz (global.get $seen)) (then (global.set $seen (i32.const 1)) unreachable))
                     (memory.copy (local.get $out) (local.get $args) (i32.const 64))"
                )
            ),
        ),
    );
    add(
        "error, then behave",
        "function.error",
        wat(
            &numbers,
            &format!(
                "(global $seen (mut i32) (i32.const 0)) {}",
                scalar(
                    "(if (i32.eqz (global.get $seen)) (then (global.set $seen (i32.const 1)) (return (i32.const 5))))
                     (memory.copy (local.get $out) (local.get $args) (i32.const 64))"
                )
            ),
        ),
    );
    add(
        "data outside of memory",
        "function.trap",
        wat(
            &numbers,
            &format!("(data (i32.const 131070) \"long\") {echo}"),
        ),
    );
    add(
        "endless _initialize",
        "function.timeout",
        wat(
            &numbers,
            &format!(r#"{echo} (func (export "_initialize") {forever})"#),
        ),
    );
    add(
        "start that traps",
        "function.trap",
        wat(
            &numbers,
            &format!("{echo} (func $s unreachable) (start $s)"),
        ),
    );
    let variadic = numbers.replace(
        "\"kind\":\"scalar\"",
        "\"kind\":\"scalar\",\"variadic\":true",
    );
    add(
        "endless sm_variadic",
        "function.timeout",
        wat(
            &variadic,
            &format!(
                r#"(func (export "sm_variadic.f") (param i32 i32 i32 i32) (result i32) {forever} (i32.const 0))"#
            ),
        ),
    );
    add(
        "copies of its whole memory",
        "function.timeout",
        wat(
            &numbers,
            &scalar(
                "(drop (memory.grow (i32.const 1000)))
                 (loop $l (memory.copy (i32.const 65536) (i32.const 0) (i32.const 65000000)) (br $l))",
            ),
        ),
    );
    add(
        "fills of its whole memory",
        "function.timeout",
        wat(
            &numbers,
            &scalar(
                "(drop (memory.grow (i32.const 1000)))
                 (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65000000)) (br $l))",
            ),
        ),
    );
    add(
        "copy out of bounds",
        "function.trap",
        wat(
            &numbers,
            &scalar("(memory.copy (i32.const 0) (i32.const 131071) (i32.const -1))"),
        ),
    );
    add(
        "call through an empty slot",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "(table 2 funcref) (type $t (func)) {}",
                scalar("(call_indirect (type $t) (i32.const 1))")
            ),
        ),
    );
    add(
        "recursion through a table",
        "function.trap",
        wat(
            &numbers,
            &format!(
                "(table 1 funcref) (elem (i32.const 0) $again) (type $t (func))
                 (func $again (local v128 v128 v128 v128) (call_indirect (type $t) (i32.const 0)) (call_indirect (type $t) (i32.const 0))) {}",
                scalar("(call $again)")
            ),
        ),
    );
    // Calls of the host, each short, none of them the last.
    let storm = |import: &str, call: &str| {
        let runtime = format!("{import} {RUNTIME}");
        assemble(
            &runtime,
            &numbers,
            &scalar(&format!("(loop $l {call} (br $l))")),
        )
    };
    for (name, import, call) in [
        (
            "counter storm",
            r#"(import "sandmill" "metric" (func $x (param i32 i64)))"#,
            "(call $x (i32.const 3) (i64.const 0x7fffffffffffffff))",
        ),
        (
            "clock storm",
            r#"(import "sandmill" "now" (func $x (result i64)))"#,
            "(drop (call $x))",
        ),
        (
            "questions whether it was cancelled",
            r#"(import "sandmill" "cancelled" (func $x (result i32)))"#,
            "(drop (call $x))",
        ),
        (
            "WASI writes of two billion pieces",
            r#"(import "wasi_snapshot_preview1" "fd_write" (func $x (param i32 i32 i32 i32) (result i32)))"#,
            "(drop (call $x (i32.const 1) (i32.const 0) (i32.const 0x7fffffff) (i32.const 65536)))",
        ),
        (
            "WASI polls of two billion clocks",
            r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $x (param i32 i32 i32 i32) (result i32)))"#,
            "(drop (call $x (i32.const 0) (i32.const 65536) (i32.const 1000) (i32.const 128)))",
        ),
        (
            "WASI sleep",
            r#"(import "wasi_snapshot_preview1" "sched_yield" (func $x (result i32)))"#,
            "(drop (call $x))",
        ),
    ] {
        add(name, "function.timeout", storm(import, call));
    }
    for (name, import, call) in [
        (
            "WASI exit",
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $x (param i32)))"#,
            "(call $x (i32.const 0))",
        ),
        (
            "randomness out of bounds",
            r#"(import "wasi_snapshot_preview1" "random_get" (func $x (param i32 i32) (result i32)))"#,
            "(drop (call $x (i32.const 131000) (i32.const -1)))",
        ),
    ] {
        add(name, "function.trap", storm(import, call));
    }
    // What its first call leaves behind decides over a later one.
    let (from, into) = (
        manifest("u", "u"),
        "(global $calls (mut i32) (i32.const 0))",
    );
    let later = format!(
        "{into} {}",
        scalar(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.eq (global.get $calls) (i32.const 2)) (then unreachable))
             (memory.copy (local.get $out) (local.get $args) (i32.const 64))"
        )
    );
    let again = wat(&from, &later);
    list.with(
        "trap in the second batch",
        "function.trap",
        GROWING_BATCHES,
        again,
    );
    // The host has its own copy of what it gave.
    let scribble = "(memory.fill (i32.load offset=4 (i32.load offset=40 (local.get $args))) (i32.const 0x55) (i32.const 24))
        (memory.copy (local.get $out) (local.get $args) (i32.const 64))";
    list.with(
        "writes over its arguments",
        HARMLESS,
        "SELECT 1 / CASE WHEN sum(a) = 6 AND min(f(a)) > 6 THEN 1 ELSE 0 END FROM three",
        wat(&numbers, &scalar(scribble)),
    );
    let garbage = "(memory.copy (local.get $out) (local.get $args) (i32.const 64))
        (i64.store offset=52 (local.get $out) (i64.const -1))";
    list.with(
        "garbage for release",
        HARMLESS,
        ONE_BATCH,
        wat(&numbers, &scalar(garbage)),
    );
    let kept = scalar(
        "(if (global.get $calls) (then unreachable))
         (global.set $calls (i32.const 1))
         (memory.copy (local.get $out) (local.get $args) (i32.const 64))",
    );
    list.with(
        "looks for what other partitions left",
        HARMLESS,
        "SELECT f(a) FROM three UNION ALL SELECT f(a) FROM three UNION ALL SELECT f(a) FROM three",
        wat(&numbers, &format!("{into} {kept}")),
    );
    let free = "(func (export \"sm_free\") (param i32 i32 i32)";
    let stuck = runtime(free, &format!("{free} (loop $l (br $l))"));
    list.with(
        "endless sm_free",
        "function.timeout",
        GROWING_BATCHES,
        assemble(&stuck, &manifest("u", "u"), &echo),
    );
    list
}
