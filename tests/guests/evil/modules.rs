//! Modules that break the rules of WebAssembly, of the ABI or of the manifest.

use super::*;

pub(super) fn all() -> List {
    let numbers = manifest("l", "l");
    let echo = scalar("(memory.copy (local.get $out) (local.get $args) (i32.const 64))");
    let mut list = List::default();
    let mut add = |name: &str, code, wasm| list.add(name, code, wasm);
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
    let memory = "(memory (export \"memory\") 2)";
    for (name, by) in [
        ("no memory", ""),
        ("a shared memory", "(memory (export \"memory\") 2 2 shared)"),
        ("a memory of 64 bits", "(memory (export \"memory\") i64 2)"),
        ("two memories", "(memory (export \"memory\") 2) (memory 1)"),
        ("a memory of another name", "(memory (export \"mem\") 2)"),
    ] {
        // Without instructions that would need the memory.
        let rest = r#"(func (export "sm_alloc") (param i32 i32) (result i32) (i32.const 0))
            (func (export "sm_free") (param i32 i32 i32))
            (func (export "sm_scalar.f") (param i32 i32 i32) (result i32) (i32.const 0))"#;
        add(name, "function.invalid", assemble(by, &numbers, rest));
    }
    let imported = format!(
        "(import \"env\" \"memory\" (memory 2)) {}",
        RUNTIME.replace(memory, "(export \"memory\" (memory 0))")
    );
    add(
        "an imported memory",
        "function.import",
        assemble(&imported, &numbers, &echo),
    );
    let table = format!("(import \"env\" \"table\" (table 1 funcref)) {RUNTIME}");
    add(
        "an imported table",
        "function.import",
        assemble(&table, &numbers, &echo),
    );
    let host = format!("(import \"sandmill\" \"open\" (func (param i32))) {RUNTIME}");
    add(
        "a host function that is not there",
        "function.import",
        assemble(&host, &numbers, &echo),
    );
    let mistyped = format!("(import \"sandmill\" \"now\" (func (param i32))) {RUNTIME}");
    add(
        "a host function of another signature",
        "function.invalid",
        assemble(&mistyped, &numbers, &echo),
    );
    add(
        "an import that starts it",
        "function.import",
        assemble(
            &format!("(import \"env\" \"start\" (func $s)) {RUNTIME} (start $s)"),
            &numbers,
            &echo,
        ),
    );
    add(
        "a larger table",
        "function.invalid",
        wat(&numbers, &format!("(table 30000 funcref) {echo}")),
    );
    add(
        "five tables",
        "function.invalid",
        wat(
            &numbers,
            &format!("{} {echo}", "(table 1 funcref)".repeat(5)),
        ),
    );
    let mut other = good.clone();
    other[4] = 2;
    add("another version of WebAssembly", "function.invalid", other);
    other = good.clone();
    other[4..8].copy_from_slice(&[0x0d, 0, 1, 0]);
    add("a component", "function.invalid", other);
    for (name, at) in [
        ("no end", good.len() - 1),
        ("half a header", 6),
        ("only a header", 8),
    ] {
        let code = if at == 8 {
            "function.manifest"
        } else {
            "function.invalid"
        };
        add(name, code, good[..at].to_vec());
    }
    add("nothing", "function.invalid", Vec::new());
    add(
        "a program for another machine",
        "function.invalid",
        b"\x7fELF\x02\x01\x01".to_vec(),
    );
    // Manifests that lie.
    let line = numbers.lines().last().unwrap_or_default();
    let many: Vec<_> = (0..300)
        .map(|n| line.replace("\"f\"", &format!("\"f{n}\"")))
        .collect();
    let wide: Vec<_> = (0..33)
        .map(|n| format!(r#"{{"name":"a{n}","type":"l"}}"#))
        .collect();
    let deep = (0..9).fold(r#""type":"l""#.to_owned(), |inner, _| {
        format!(r#""type":"+l","children":[{{"name":"item",{inner}}}]"#)
    });
    let argument = r#"{"name":"a","type":"l"}"#;
    for (name, code, text) in [
        (
            "no functions",
            "function.manifest",
            numbers.lines().next().unwrap_or_default().to_owned(),
        ),
        (
            "three hundred functions",
            "function.manifest",
            format!("{numbers}\n{}", many.join("\n")),
        ),
        (
            "two packages",
            "function.manifest",
            format!("{numbers}\n{numbers}"),
        ),
        (
            "an unknown field",
            "function.manifest",
            numbers.replace("\"returns\"", "\"trust\":true,\"returns\""),
        ),
        (
            "a field twice",
            "function.manifest",
            numbers.replace("\"returns\"", "\"kind\":\"map\",\"returns\""),
        ),
        (
            "too many arguments",
            "function.manifest",
            numbers.replace(argument, &wide.join(",")),
        ),
        (
            "two arguments of one name",
            "function.manifest",
            numbers.replace(argument, &format!("{argument},{argument}")),
        ),
        (
            "a name that is SQL",
            "function.manifest",
            numbers.replace("\"f\"", "\"f); DROP TABLE three; --\""),
        ),
        (
            "a name with an escape sequence",
            "function.manifest",
            numbers.replace("\"f\"", "\"\\u001b[31mf\""),
        ),
        (
            "a package that is a path",
            "function.manifest",
            numbers.replace("\"evil\"", "\"../../evil\""),
        ),
        (
            "a kind that is not there",
            "function.manifest",
            numbers.replace("\"scalar\"", "\"trigger\""),
        ),
        (
            "a deep type",
            "function.type",
            numbers.replace(argument, &format!(r#"{{"name":"a",{deep}}}"#)),
        ),
        (
            "a union",
            "function.type",
            numbers.replace(argument, r#"{"name":"a","type":"+us:0,1"}"#),
        ),
        (
            "run ends",
            "function.type",
            numbers.replace(argument, r#"{"name":"a","type":"+r"}"#),
        ),
        (
            "a result that is like no argument",
            "function.type",
            numbers.replace("\"returns\":\"l\"", "\"returns\":\"same:9\""),
        ),
        (
            "a kind without its exports",
            "function.manifest",
            numbers.replace("\"scalar\"", "\"window\""),
        ),
        (
            "not UTF-8",
            "function.manifest",
            numbers.replace("evil", "ev\u{0}il"),
        ),
        (
            "an ABI of the future",
            "function.abi",
            numbers.replace("1.0", "1.99"),
        ),
    ] {
        add(name, code, wat(&text, &echo));
    }
    list
}
