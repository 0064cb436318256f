//! The attacks, each a module and the code that it must end with.

use wasm_encoder::{
    CodeSection, CustomSection, ExportKind, ExportSection, FunctionSection, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

/// What a hostile guest is made of.
pub struct Evil {
    /// What it tries.
    pub name: &'static str,
    /// The module.
    pub wasm: Vec<u8>,
    /// The code that its upload or its job ends with.
    pub code: &'static str,
    /// The query that meets it.
    pub sql: &'static str,
}

/// One batch of three rows.
const ONE_BATCH: &str = "SELECT f(a) FROM three";
/// Batches that grow, so that the arena for arguments is freed and allocated again.
const GROWING_BATCHES: &str =
    "SELECT f(repeat('x', CAST(value / 200 AS INT))) FROM generate_series(1, 40000)";

const MANIFEST: &str = r#"{"package":{"abi":"1.0","name":"evil","version":"1"}}
{"function":{"name":"f","kind":"scalar","arguments":[{"name":"a","type":"ARG"}],"returns":"RET","nullable":false,"volatility":"volatile"}}"#;

const RUNTIME: &str = include_str!("runtime.wat");

fn manifest(argument: &str, returns: &str) -> String {
    MANIFEST.replace("ARG", argument).replace("RET", returns)
}

fn wat(manifest: &str, body: &str) -> Vec<u8> {
    assemble(RUNTIME, manifest, body)
}

fn assemble(runtime: &str, manifest: &str, body: &str) -> Vec<u8> {
    let section = section(manifest);
    wat::parse_str(format!("(module {runtime} {body} {section})"))
        .unwrap_or_else(|e| unreachable!("{e}"))
}

/// Where the allocator gives its block.
const BLOCK: &str = "(local.get $at) ;; the block";

fn section(manifest: &str) -> String {
    let escaped: String = manifest.bytes().map(|b| format!("\\{b:02x}")).collect();
    format!("(@custom \"sandmill.manifest\" \"{escaped}\")")
}

/// The runtime with one piece replaced.
fn runtime(piece: &str, by: &str) -> String {
    assert!(RUNTIME.contains(piece), "{piece}");
    RUNTIME.replace(piece, by)
}

fn scalar(body: &str) -> String {
    format!(
        r#"(func (export "sm_scalar.f") (param $args i32) (param $rows i32) (param $out i32) (result i32)
            (local $n i32) {body} (i32.const 0))"#
    )
}

/// A module whose one function has this body (instructions), for the compiler to choke on.
fn bomb(locals: u32, body: Vec<u8>) -> Vec<u8> {
    let mut types = TypeSection::new();
    types
        .ty()
        .function([ValType::I32, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 3], []);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    let mut functions = FunctionSection::new();
    [0, 1, 2].iter().for_each(|ty| {
        functions.function(*ty);
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for (n, name) in ["sm_alloc", "sm_free", "sm_scalar.f"]
        .into_iter()
        .enumerate()
    {
        exports.export(name, ExportKind::Func, n as u32);
    }
    let mut code = CodeSection::new();
    for (n, instructions) in [vec![0x41, 0], vec![], body].into_iter().enumerate() {
        let mut function = wasm_encoder::Function::new(if n == 2 {
            vec![(locals, ValType::I64)]
        } else {
            vec![]
        });
        function.raw(instructions);
        function.raw([0x0b]);
        code.function(&function);
    }
    let manifest = manifest("l", "l");
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code);
    module.section(&CustomSection {
        name: "sandmill.manifest".into(),
        data: manifest.as_bytes().into(),
    });
    module.finish()
}

/// Flat ifs, one after the other, each with a load: what optimisers find hard.
fn flat_ifs(count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for n in 0..count {
        let local = (n % 3) as u8;
        // local.get; if; local.get; i32.load; local.set; end
        body.extend([
            0x20, local, 0x04, 0x40, 0x20, local, 0x28, 2, 0, 0x21, local, 0x0b,
        ]);
    }
    body.extend([0x41, 0]);
    body
}

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

/// Every attack.
pub fn all() -> Vec<Evil> {
    let numbers = manifest("l", "l");
    let texts = manifest("l", "u");
    let echo = scalar("(memory.copy (local.get $out) (local.get $args) (i32.const 64))");
    let forever = "(loop $l (br $l))";
    let mut list = Vec::new();
    let mut add = |name, code, wasm| {
        list.push(Evil {
            name,
            wasm,
            code,
            sql: ONE_BATCH,
        })
    };
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
    // Modules and manifests.
    let good = wat(&numbers, &echo);
    add(
        "truncated",
        "function.invalid",
        good[..good.len() / 2].to_vec(),
    );
    add(
        "no manifest",
        "function.manifest",
        wat::parse_str(format!("(module {RUNTIME} {echo})"))
            .unwrap_or_else(|e| unreachable!("{e}")),
    );
    add(
        "other ABI",
        "function.abi",
        wat(&numbers.replace("1.0", "2.0"), &echo),
    );
    add(
        "unknown type",
        "function.type",
        wat(&manifest("+m", "l"), &echo),
    );
    add(
        "function that is not there",
        "function.manifest",
        wat(&numbers.replace("\"f\"", "\"g\""), &echo),
    );
    add(
        "deep manifest",
        "function.manifest",
        wat(
            &format!("{numbers}\n{{\"function\":{}", "[".repeat(30_000)),
            &echo,
        ),
    );
    add(
        "oversized manifest",
        "function.manifest",
        wat(&format!("{numbers}{}", "\n".repeat(70_000)), &echo),
    );
    add(
        "the same function twice",
        "function.manifest",
        wat(
            &format!("{numbers}\n{}", numbers.lines().last().unwrap_or_default()),
            &echo,
        ),
    );
    add(
        "two manifests",
        "function.manifest",
        wat(&numbers, &format!("{echo} {}", section(&numbers))),
    );
    add(
        "an export of another signature",
        "function.invalid",
        wat(
            &numbers,
            r#"(func (export "sm_scalar.f") (param i64) (result i64) (local.get 0))"#,
        ),
    );
    add(
        "an export that is no function",
        "function.manifest",
        wat(
            &numbers,
            r#"(global (export "sm_scalar.f") i32 (i32.const 0))"#,
        ),
    );
    let wants = format!("(import \"env\" \"socket\" (func)) {RUNTIME}");
    add(
        "foreign import",
        "function.import",
        assemble(&wants, &numbers, &echo),
    );
    let large = runtime(
        "(memory (export \"memory\") 2)",
        "(memory (export \"memory\") 40000)",
    );
    add(
        "memory beyond the cap",
        "function.invalid",
        assemble(&large, &numbers, &echo),
    );
    add(
        "compile bomb: flat ifs",
        "function.too_complex",
        bomb(0, flat_ifs(60_000)),
    );
    add(
        "compile bomb: huge function",
        "function.too_complex",
        bomb(0, flat_ifs(200_000)),
    );
    add(
        "compile bomb: locals",
        "function.invalid",
        bomb(1_000_000, vec![0x41, 0]),
    );
    add(
        "compile bomb: a table of branches",
        "function.too_complex",
        bomb(0, branches(2_000_000)),
    );
    add(
        "compile bomb: a million functions",
        "function.too_complex",
        many_functions(1_000_000),
    );
    let free = "(func (export \"sm_free\") (param i32 i32 i32)";
    let stuck = runtime(free, &format!("{free} (loop $l (br $l))"));
    list.push(Evil {
        name: "endless sm_free",
        wasm: assemble(&stuck, &manifest("u", "u"), &echo),
        code: "function.timeout",
        sql: GROWING_BATCHES,
    });
    list
}

/// One `br_table` with so many targets.
fn branches(count: u32) -> Vec<u8> {
    let mut body = vec![0x02, 0x40, 0x20, 0, 0x0e];
    let mut rest = count;
    while rest >= 0x80 {
        body.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
    body.extend(std::iter::repeat_n(0, count as usize + 1));
    body.extend([0x0b, 0x41, 0]);
    body
}

/// A module of nothing but empty functions.
fn many_functions(count: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut empty = wasm_encoder::Function::new([]);
    empty.raw([0x0b]);
    for _ in 0..count {
        functions.function(0);
        code.function(&empty);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}
