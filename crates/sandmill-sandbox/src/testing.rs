//! Hand-written guests for the tests of this crate.

/// A module of the given body (WAT), with a manifest section when there is a text for it.
pub(crate) fn module(manifest: Option<&str>, body: &str) -> Vec<u8> {
    let section = manifest.map(|text| {
        let escaped: String = text.bytes().map(|b| format!("\\{b:02x}")).collect();
        format!("(@custom \"sandmill.manifest\" \"{escaped}\")")
    });
    let text = format!("(module {body} {})", section.unwrap_or_default());
    wat::parse_str(&text).unwrap_or_else(|e| unreachable!("{e}\n{text}"))
}

/// A manifest with one function of one argument `a`.
pub(crate) fn manifest(name: &str, argument: &str, returns: &str) -> String {
    format!(
        r#"{{"package":{{"abi":"1.0","name":"test","version":"1"}}}}
{{"function":{{"name":"{name}","kind":"scalar","arguments":[{{"name":"a","type":"{argument}"}}],"returns":"{returns}"}}}}"#
    )
}

/// What every guest needs: memory, a bump allocator that the host uses, and the host's imports.
pub(crate) const RUNTIME: &str = r#"
    (import "sandmill" "fail" (func $fail (param i32 i64 i32 i32)))
    (import "sandmill" "log" (func $log (param i32 i32 i32)))
    (import "sandmill" "random" (func $random (result i64)))
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func $alloc (export "sm_alloc") (param $size i32) (param $align i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $top) (i32.const 63)) (i32.const -64)))
        (global.set $top (i32.add (local.get $at) (local.get $size)))
        (block $fits
            (loop $more
                (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
                (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
                (br $more)))
        (local.get $at))
    (func (export "sm_free") (param i32 i32 i32))
"#;

/// A guest with one function whose body (WAT) sees the locals `$args`, `$rows` and `$out`.
pub(crate) fn guest(name: &str, argument: &str, returns: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"{RUNTIME} (func (export "sm_scalar.{name}")
            (param $args i32) (param $rows i32) (param $out i32) (result i32)
            (local $n i32) (local $from i32) (local $to i32)
            {body})"#
    );
    module(Some(&manifest(name, argument, returns)), &text)
}

/// A body that hands its argument back: the buffers of the result are those of the argument.
pub(crate) const ECHO: &str = r#"
    (memory.copy (local.get $out) (local.get $args) (i32.const 64))
    (i32.const 0)
"#;
