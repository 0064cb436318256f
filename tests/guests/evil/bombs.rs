//! Modules made to exhaust those who read or compile them.

use wasm_encoder::{
    CodeSection, CustomSection, ExportKind, ExportSection, FunctionSection, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};

use super::*;

pub(super) fn all() -> List {
    let mut list = List::default();
    let mut add = |name: &str, code, wasm| list.add(name, code, wasm);
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
    add(
        "a million types",
        "function.too_complex",
        many("types", 1_000_000),
    );
    add(
        "a million exports",
        "function.too_complex",
        many("exports", 1_000_000),
    );
    add(
        "a million globals",
        "function.too_complex",
        many("globals", 1_000_000),
    );
    add(
        "a million segments",
        "function.too_complex",
        many("segments", 1_000_000),
    );
    let numbers = manifest("l", "l");
    let echo = scalar("(memory.copy (local.get $out) (local.get $args) (i32.const 64))");
    let good = wat(&numbers, &echo);
    add(
        "a module of forty megabytes",
        "upload.too_large",
        with_section(&good, "x", 40 << 20),
    );
    // Nobody needs its bytes, so they hurt nobody.
    add(
        "names of thirty megabytes",
        HARMLESS,
        with_section(&good, "name", 30 << 20),
    );
    add(
        "a section of thirty megabytes",
        HARMLESS,
        with_section(&good, "x", 30 << 20),
    );
    let data = "x".repeat(30 << 20);
    let large = format!("(data (i32.const 200000) \"{data}\") {echo}");
    let large = assemble(
        &runtime(
            "(memory (export \"memory\") 2)",
            "(memory (export \"memory\") 600)",
        ),
        &numbers,
        &large,
    );
    add("data of thirty megabytes", HARMLESS, large);
    // Blocks in blocks, as many as a body has room for. They compile; the allocator gives nothing.
    let deep = 200_000;
    let body = [[0x02, 0x40].repeat(deep), vec![0x0b; deep], vec![0x41, 0]].concat();
    add(
        "compile bomb: blocks in blocks",
        "function.memory_exceeded",
        bomb(0, body),
    );
    let body = [
        [0x20, 0, 0x04, 0x40].repeat(100_000),
        vec![0x0b; 100_000],
        vec![0x41, 0],
    ]
    .concat();
    add(
        "compile bomb: ifs in ifs",
        "function.too_complex",
        bomb(0, body),
    );
    list
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

/// A module with so many items of one kind.
fn many(what: &str, count: u32) -> Vec<u8> {
    let (mut module, mut types) = (Module::new(), TypeSection::new());
    for _ in 0..if what == "types" { count } else { 1 } {
        types.ty().function([], []);
    }
    module.section(&types);
    match what {
        "globals" => {
            let mut globals = wasm_encoder::GlobalSection::new();
            let ty = wasm_encoder::GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            };
            for _ in 0..count {
                globals.global(ty, &wasm_encoder::ConstExpr::i32_const(0));
            }
            module.section(&globals);
        }
        "exports" => {
            let mut exports = ExportSection::new();
            for n in 0..count {
                exports.export(&n.to_string(), ExportKind::Func, 0);
            }
            module.section(&exports);
        }
        "segments" => {
            let mut data = wasm_encoder::DataSection::new();
            for _ in 0..count {
                data.passive([]);
            }
            module.section(&data);
        }
        _ => {}
    }
    module.finish()
}

/// The module with a custom section of so many bytes behind it.
fn with_section(wasm: &[u8], name: &str, bytes: usize) -> Vec<u8> {
    let section = CustomSection {
        name: name.into(),
        data: vec![0xaa; bytes].into(),
    };
    let mut wasm = wasm.to_vec();
    wasm_encoder::Section::append_to(&section, &mut wasm);
    wasm
}
