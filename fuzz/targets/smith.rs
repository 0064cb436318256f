//! Random modules end to end: valid WebAssembly that nobody wrote, with our exports and a manifest, is
//! loaded, started and called in every way. Whatever it does, the answer is a value or a typed error.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Unstructured;
use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use libfuzzer_sys::{Corpus, fuzz_target};
use sandmill_model::TenantId;
use sandmill_sandbox::*;
use wasm_encoder::{CodeSection, CustomSection, RawSection};
use wasmparser::{Parser, Payload};

const MANIFEST: &str = r#"{"package":{"abi":"1.1","name":"random","version":"1"}}
{"function":{"name":"agg","kind":"aggregate","arguments":[{"name":"x","type":"l"}],"returns":"u","state":[{"name":"s","type":"l"}],"retract":true}}
{"function":{"name":"grouped","kind":"grouped_map","arguments":[],"input":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"u"}]}}
{"function":{"name":"map","kind":"map","arguments":[],"input":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"one","kind":"scalar","arguments":[{"name":"x","type":"l"}],"returns":{"type":"+l","children":[{"name":"item","type":"u"}]}}}
{"function":{"name":"table","kind":"table","arguments":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"b"}]}}
{"function":{"name":"win","kind":"window","arguments":[{"name":"x","type":"l"}],"returns":"vu"}}"#;

fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {body})")).expect("text")
}

/// The exports that all of them have, with bodies that do not matter.
fn shape() -> Vec<u8> {
    let mut text = String::from(r#"(memory (export "memory") 32)"#);
    let mut add = |item: &sandmill_abi::Function, name: &str| {
        let name = format!("{}{name}", item.name);
        let ty = |ty: sandmill_abi::ValType| match ty {
            sandmill_abi::ValType::I32 => "i32",
            sandmill_abi::ValType::I64 => "i64",
        };
        let params: Vec<_> = item.params.iter().map(|(_, t)| ty(*t)).collect();
        let result = item.result.map_or(String::new(), |t| format!("(result {})", ty(t)));
        let params = params.join(" ");
        text += &format!(r#"(func (export "{name}") (param {params}) {result} unreachable)"#);
    };
    for item in sandmill_abi::EXPORTS.iter().filter(|item| item.required) {
        add(item, "");
    }
    for (kind, name) in [
        ("aggregate", "agg"),
        ("grouped_map", "grouped"),
        ("map", "map"),
        ("scalar", "one"),
        ("table", "table"),
        ("window", "win"),
    ] {
        let kind = sandmill_abi::KINDS.iter().find(|k| k.name == kind);
        kind.expect("a kind").exports.iter().for_each(|item| add(item, name));
    }
    module(&text)
}

fn imports() -> Vec<u8> {
    let text = r#"
        (import "sandmill" "fail" (func (param i32 i64 i32 i32)))
        (import "sandmill" "log" (func (param i32 i32 i32)))
        (import "sandmill" "metric" (func (param i32 i64)))
        (import "sandmill" "now" (func (result i64)))
        (import "sandmill" "random" (func (result i64)))
        (import "sandmill" "cancelled" (func (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))"#;
    module(text)
}

/// Only what the sandbox has on.
fn config() -> wasm_smith::Config {
    wasm_smith::Config {
        exports: Some(shape()),
        available_imports: Some(imports()),
        max_imports: 10,
        min_funcs: 1,
        max_funcs: 200,
        max_instructions: 200,
        max_type_size: 10_000,
        max_memories: 1,
        max_tables: 4,
        max_table_elements: 5000,
        max_memory32_bytes: 8 << 20,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..wasm_smith::Config::default()
    }
}

/// The module with an allocator that works, so that more than the allocator is tried, and with the
/// manifest.
fn dress(wasm: &[u8]) -> Vec<u8> {
    let (mut imported, mut alloc, mut free) = (0, None, None);
    let mut code: Option<(CodeSection, u32)> = None;
    let mut out = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("valid");
        match &payload {
            Payload::ImportSection(section) => {
                let imports = section.clone().into_imports();
                imported = imports
                    .filter(|i| {
                        matches!(i.as_ref().expect("valid").ty, wasmparser::TypeRef::Func(_))
                    })
                    .count() as u32;
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export.expect("valid");
                    match export.name {
                        "sm_alloc" => alloc = Some(export.index - imported),
                        "sm_free" => free = Some(export.index - imported),
                        _ => {}
                    }
                }
            }
            Payload::CodeSectionStart { .. } => {
                code = Some((CodeSection::new(), 0));
                continue;
            }
            Payload::CodeSectionEntry(body) => {
                let (section, n) = code.as_mut().expect("started");
                if Some(*n) == alloc {
                    // Always the same place.
                    section.raw(&[0, 0x41, 0x80, 0x80, 4, 0x0b]);
                } else if Some(*n) == free {
                    section.raw(&[0, 0x0b]);
                } else {
                    section.raw(body.as_bytes());
                }
                *n += 1;
                continue;
            }
            _ => {}
        }
        if let Some((section, n)) = code.take() {
            if section.len() == n && n > 0 {
                out.section(&section);
            }
        }
        if let Some((id, range)) = payload.as_section() {
            out.section(&RawSection {
                id,
                data: &wasm[range],
            });
        }
    }
    out.section(&CustomSection {
        name: "sandmill.manifest".into(),
        data: MANIFEST.as_bytes().into(),
    });
    out.finish()
}

/// Calls everything.
fn drive(module: &Module) {
    let context = Context {
        call_deadline: Some(Duration::from_millis(10)),
        ..Context::default()
    };
    let context = Arc::new(context);
    let note = |result: Result<(), Error>| match result {
        Ok(()) | Err(Error::Trap { .. } | Error::Guest { .. } | Error::Output(_)) => {}
        Err(other) => unreachable!("{other:?}"),
    };
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)]));
    let arguments = [Argument::Column(&values)];
    let groups = UInt32Array::from(vec![0, 1, 0]);
    let number = |name: &str| module.function(name).expect("in the manifest");
    let start = || module.instantiate(&context);
    note(start().and_then(|mut i| i.call(number("one"), &arguments, 3)).map(|_| ()));
    note(start().and_then(|mut i| i.window(number("win"), &arguments, 3)).map(|_| ()));
    note(start().and_then(|mut i| {
        let input = Groups {
            columns: vec![Arc::clone(&values)],
            offsets: vec![0, 1, 3],
        };
        i.call_groups(number("grouped"), &[], &[input]).map(|_| ())
    }));
    note(start().and_then(|mut i| {
        let mut states = i.aggregate_new(number("agg"))?;
        i.aggregate_update(&mut states, &arguments, &groups, 2)?;
        i.aggregate_retract(&mut states, &arguments, &groups, 2)?;
        let columns = i.aggregate_state(&states, 0, 2)?;
        i.aggregate_merge(&mut states, &columns, &UInt32Array::from(vec![0, 1]), 2)?;
        i.aggregate_size(&states)?;
        i.aggregate_finish(&states, 0, 2)?;
        i.aggregate_drop(&mut states, 1)?;
        i.aggregate_close(states)
    }));
    for name in ["map", "table"] {
        note(Stream::open(module, &context, number(name), &[]).and_then(|mut stream| {
            for _ in 0..300 {
                match stream.pull()? {
                    Pulled::Done => break,
                    Pulled::NeedsInput => stream.push(vec![Arc::clone(&values)], 3)?,
                    Pulled::Batch { rows, .. } => {
                        for column in &rows.columns {
                            column.to_data().validate_full().expect("valid");
                        }
                        stream.finish();
                    }
                }
            }
            stream.close().map(|_| ())
        }));
    }
}

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
    let settings = Settings {
        instances: 2,
        modules: 1,
        memory_bytes: 16 << 20,
        ..Settings::default()
    };
    Sandbox::new(settings).expect("starts")
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // What is too short for a module is of no use.
    let Ok(smith) = wasm_smith::Module::new(config(), &mut Unstructured::new(bytes)) else {
        return Corpus::Reject;
    };
    let wasm = dress(&smith.to_bytes());
    match SANDBOX.load(&TenantId::single(), &wasm) {
        Ok(module) => drive(&module),
        // More than the pool offers or the linker takes, but never against our own checks.
        Err(Error::Invalid(_) | Error::TooComplex(_)) => {}
        Err(other) => unreachable!("{other}"),
    }
    assert_eq!(SANDBOX.stats().instances, 0);
    Corpus::Keep
});
