//! Results of flat types that are not what they say, and allocators that lie.

use super::*;

/// `out` describes buffers at 66000 (pointers at 65800) with the given length and null count.
fn result(length: &str, buffers: u32, first: &str, second: &str) -> String {
    format!(
        "(i64.store (local.get $out) (i64.const {length}))
         (i64.store offset=24 (local.get $out) (i64.const {buffers}))
         (i32.store offset=40 (local.get $out) (i32.const 65800))
         (i32.store (i32.const 65804) (i32.const {first}))
         (i32.store (i32.const 65808) (i32.const {second}))"
    )
}

pub(super) fn all() -> List {
    let numbers = manifest("l", "l");
    let texts = manifest("l", "u");
    let echo = scalar("(memory.copy (local.get $out) (local.get $args) (i32.const 64))");
    let mut list = List::default();
    let mut add = |name: &str, code, wasm| list.add(name, code, wasm);
    // Results.
    let bad = |wat_body: String| wat(&numbers, &scalar(&wat_body));
    add("no result", "function.output", wat(&numbers, &scalar("")));
    add(
        "one row too many",
        "function.output",
        bad(result("4", 2, "66000", "0")),
    );
    add(
        "negative length",
        "function.output",
        bad(result("-1", 2, "66000", "0")),
    );
    add(
        "wrong buffer count",
        "function.output",
        bad(result("3", 3, "66000", "66000")),
    );
    add(
        "buffer near 2^32",
        "function.output",
        bad(result("3", 2, "-8", "0")),
    );
    add(
        "buffer of zero",
        "function.output",
        bad(result("3", 2, "0", "0")),
    );
    add(
        "pointers near 2^32",
        "function.output",
        bad(result("3", 2, "66000", "0") + "(i32.store offset=40 (local.get $out) (i32.const -4))"),
    );
    add(
        "a dictionary",
        "function.output",
        bad(result("3", 2, "66000", "0")
            + "(i32.store offset=48 (local.get $out) (i32.const 66000))"),
    );
    add(
        "more nulls than rows",
        "function.output",
        bad(result("3", 2, "66000", "0") + "(i64.store offset=8 (local.get $out) (i64.const 4))"),
    );
    add(
        "nulls without a bitmap",
        "function.output",
        bad(result("3", 2, "66000", "0") + "(i64.store offset=8 (local.get $out) (i64.const 2))"),
    );
    add(
        "huge offset",
        "function.output",
        bad(result("3", 2, "66000", "0")
            + "(i64.store offset=16 (local.get $out) (i64.const 9000000000000000000))"),
    );
    add(
        "negative offset",
        "function.output",
        bad(result("3", 2, "66000", "0") + "(i64.store offset=16 (local.get $out) (i64.const -1))"),
    );
    add(
        "null in non-null",
        "function.output",
        bad(result("3", 2, "66000", "0") + "(i32.store (i32.const 65800) (i32.const 66000))"),
    );
    add(
        "children",
        "function.output",
        bad(result("3", 2, "66000", "0")
            + "(i64.store offset=32 (local.get $out) (i64.const 1000000))"),
    );
    let text = |offsets: [i32; 4], bytes: &str| {
        let stores: String = offsets
            .iter()
            .enumerate()
            .map(|(n, o)| format!("(i32.store (i32.const {}) (i32.const {o}))", 66000 + n * 4))
            .collect();
        wat(
            &texts,
            &format!(
                "(data (i32.const 67000) \"{bytes}\") {}",
                scalar(&(result("3", 3, "66000", "67000") + &stores))
            ),
        )
    };
    add(
        "falling offsets",
        "function.output",
        text([0, 2, 1, 3], "abc"),
    );
    add(
        "negative offsets",
        "function.output",
        text([-1, 0, 1, 2], "abc"),
    );
    add(
        "offsets past the end",
        "function.output",
        text([0, 1, 2, i32::MAX], "abc"),
    );
    add(
        "bad UTF-8",
        "function.output",
        text([0, 1, 2, 3], "a\\ff\\fe"),
    );
    add(
        "split character",
        "function.output",
        text([0, 1, 2, 3], "a\\c3\\bc"),
    );
    add(
        "decimal overflow",
        "function.output",
        wat(
            &manifest("l", "d:2,0"),
            &scalar(
                &(result("3", 2, "66000", "0") + "(i64.store (i32.const 66000) (i64.const 100))"),
            ),
        ),
    );
    // The allocator.
    for (name, at) in [
        ("alloc near 2^32", "-64"),
        ("alloc unaligned", "65537"),
        ("alloc beyond memory", "1073741824"),
    ] {
        let lying = runtime(BLOCK, &format!("(i32.const {at})"));
        add(name, "function.output", assemble(&lying, &numbers, &echo));
    }
    let stuck = runtime(BLOCK, "(loop $l (br $l)) (i32.const 0)");
    add(
        "endless sm_alloc",
        "function.timeout",
        assemble(&stuck, &numbers, &echo),
    );
    let none = runtime(BLOCK, "(i32.const 0)");
    add(
        "alloc gives nothing",
        "function.memory_exceeded",
        assemble(&none, &numbers, &echo),
    );
    list
}
