//! Files made from the code: whoever changes the source runs `cargo xtask codegen`.

mod assemblyscript;
mod go;

use std::fmt::Write as _;
use std::fs;

use sandmill_abi::{
    ARRAY_FIELDS, ARRAY_SIZE, ERRORS, EXPORTS, Field, Function, IMPORT_MODULE, IMPORTS, KINDS,
    Layout, MAJOR, MANIFEST_ARGUMENT, MANIFEST_FUNCTION, MANIFEST_PACKAGE, MANIFEST_SECTION,
    MANIFEST_TYPE, MINOR, ManifestField, SCHEMA_FIELDS, SCHEMA_SIZE, TYPES, VARIADIC, ValType,
    limits,
};

use crate::Outcome;
use crate::run::Home;

const NOTE: &str = "Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit.";

/// Writes the files, or with `check` says which ones differ.
pub fn run(home: &Home, check: bool) -> Outcome {
    let root = &home.root;
    let template = fs::read_to_string(root.join("udf-sdk/c/sandmill.h.in"))
        .map_err(|e| format!("udf-sdk/c/sandmill.h.in: {e}"))?;
    // What the app itself contains comes first: it may not build without.
    let mut stale = write(
        home,
        check,
        &[
            ("udf-sdk/spec/ABI.md", specification()),
            ("udf-sdk/rust/src/abi.rs", rust()),
            (
                "udf-sdk/c/include/sandmill.h",
                template.replace("/* @ABI@ */\n", &c()),
            ),
            ("udf-sdk/zig/src/abi.zig", zig()),
            ("udf-sdk/go/sandmill/abi.go", go::render()),
            (
                "udf-sdk/assemblyscript/assembly/abi.ts",
                assemblyscript::render(),
            ),
        ],
    )?;
    let openapi = home
        .cargo(&[
            "run",
            "--quiet",
            "-p",
            "sandmill-app",
            "--bin",
            "sandmill",
            "--",
            "openapi",
        ])
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !openapi.status.success() {
        return Err(format!(
            "the API document: {}",
            String::from_utf8_lossy(&openapi.stderr)
        ));
    }
    let openapi = String::from_utf8_lossy(&openapi.stdout).into_owned();
    stale.extend(write(home, check, &[("docs/openapi.json", openapi)])?);
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} are not what the code says; run `cargo xtask codegen`",
        stale.join(", ")
    ))
}

/// Writes files, or with `check` gives the names of those that differ.
fn write<'a>(home: &Home, check: bool, files: &[(&'a str, String)]) -> Outcome<Vec<&'a str>> {
    let mut stale = Vec::new();
    for (path, text) in files {
        let path_on_disk = home.root.join(path);
        if fs::read_to_string(&path_on_disk).is_ok_and(|now| now == *text) {
            continue;
        }
        if check {
            stale.push(*path);
            continue;
        }
        if let Some(folder) = path_on_disk.parent() {
            fs::create_dir_all(folder).map_err(|e| format!("{path}: {e}"))?;
        }
        fs::write(&path_on_disk, text).map_err(|e| format!("{path}: {e}"))?;
        println!("wrote {path}");
    }
    Ok(stale)
}

fn wasm(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
    }
}

fn signature(function: &Function) -> String {
    let params: Vec<_> = function
        .params
        .iter()
        .map(|(name, ty)| format!("{name}: {}", wasm(*ty)))
        .collect();
    let result = function
        .result
        .map(|ty| format!(" -> {}", wasm(ty)))
        .unwrap_or_default();
    format!("({}){result}", params.join(", "))
}

fn fields(text: &mut String, fields: &[ManifestField]) {
    text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
    for field in fields {
        let _ = writeln!(text, "| `{}` | {} | {} |", field.name, field.ty, field.doc);
    }
}

fn layout(text: &mut String, name: &str, size: u32, fields: &[Field]) {
    let _ = write!(
        text,
        "## {name}, {size} bytes\n\n| field | at | type |\n|---|---|---|\n"
    );
    for field in fields {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            field.name,
            field.offset,
            wasm(field.ty)
        );
    }
}

fn specification() -> String {
    let mut text = format!(
        "# The function ABI, version {MAJOR}.{MINOR}\n\n{NOTE}\n\n\
         A module is core WebAssembly (wasm32): no threads, no shared or 64-bit memory, no garbage collection.\n\
         It exports one `memory`, a manifest, an allocator for the host, and for each SQL function what its kind asks for.\n\
         Batches of Arrow columns lie in its memory as structs of the Arrow C data interface, little endian.\n\n\
         ## Exports\n\n| export | type | | what it does |\n|---|---|---|---|\n"
    );
    for function in EXPORTS {
        let need = if function.required {
            "required"
        } else {
            "optional"
        };
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {need} | {} |",
            function.name,
            signature(function),
            function.doc
        );
    }
    text.push_str("\n## Kinds of functions\n\nA function of the manifest has the exports of its kind; `NAME` stands for its name. A status of 0 means\nsuccess, anything else is an error number, unless said otherwise. Constants are arrays of one element.\n");
    for kind in KINDS {
        let _ = write!(
            text,
            "\n### `{}`\n\n{}\n\n| export | type | what it does |\n|---|---|---|\n",
            kind.name, kind.doc
        );
        let variadic = (kind.name == "scalar").then_some(&VARIADIC);
        for function in kind.exports.iter().chain(variadic) {
            let need = if function.required { "" } else { "Optional. " };
            let _ = writeln!(
                text,
                "| `{}NAME` | `{}` | {need}{} |",
                function.name,
                signature(function),
                function.doc
            );
        }
    }
    let _ = write!(
        text,
        "\nThe host allocates one arena with `sm_alloc`, writes structs and buffers into it, aligned to {} bytes,\n\
         and uses it again for the next call. The guest keeps no pointer into it past the return. A result may\n\
         point into the arena. The host copies the result before it calls anything else.\n\n\
         ## Imports from `{IMPORT_MODULE}`\n\nAll optional.\n\n| import | type | what it does |\n|---|---|---|\n",
        sandmill_abi::BUFFER_ALIGN
    );
    for function in IMPORTS {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} |",
            function.name,
            signature(function),
            function.doc
        );
    }
    text.push_str(
        "\nFor toolchains that insist: `wasi_snapshot_preview1` answers `fd_write` (to the log), clock, random and\n\
         empty arguments; `poll_oneoff` and `sched_yield` come back at once; `proc_exit` traps; other calls on\n\
         descriptors answer EBADF, everything else ENOSYS. `env.abort` of AssemblyScript traps.\n\n",
    );
    layout(&mut text, "ArrowArray", ARRAY_SIZE, ARRAY_FIELDS);
    text.push('\n');
    layout(&mut text, "ArrowSchema", SCHEMA_SIZE, SCHEMA_FIELDS);
    text.push_str(
        "\nThe host writes a schema for each argument that the manifest calls `any` or `same:N`; the array's\n\
         `private_data` points to it.\n",
    );
    text.push_str("\n## Types\n\n| format | Arrow | SQL | layout |\n|---|---|---|---|\n");
    for ty in TYPES {
        let layout = match ty.layout {
            Layout::Null => "no buffers".to_owned(),
            Layout::Bits => "validity, one bit for each value".to_owned(),
            Layout::Fixed(bytes) => format!("validity, {bytes} bytes for each value"),
            Layout::FixedBytes => "validity, `width` bytes for each value".to_owned(),
            Layout::Bytes => "validity, rows + 1 offsets of 32 bits, bytes".to_owned(),
            Layout::LargeBytes => "validity, rows + 1 offsets of 64 bits, bytes".to_owned(),
            Layout::Views => {
                "validity, views of 16 bytes, any number of data buffers, their lengths (64 bits)"
                    .to_owned()
            }
            Layout::List => "validity, rows + 1 offsets of 32 bits; one child".to_owned(),
            Layout::LargeList => "validity, rows + 1 offsets of 64 bits; one child".to_owned(),
            Layout::FixedList => "validity; one child with `size` values for each row".to_owned(),
            Layout::Struct => "validity; a child for each field".to_owned(),
            Layout::Map => "as a list of structs of key and value".to_owned(),
        };
        let parameters = match ty.format {
            "d:" => "precision,scale[,256]",
            "w:" => "width",
            "+w:" => "size",
            stamp if stamp.starts_with("ts") && stamp.ends_with(':') => "[zone]",
            _ => "",
        };
        let _ = writeln!(
            text,
            "| `{}{parameters}` | {} | {} | {layout} |",
            ty.format, ty.arrow, ty.sql
        );
    }
    text.push_str("\n## Error numbers\n\n| number | name | meaning |\n|---|---|---|\n");
    for error in ERRORS {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            error.number, error.name, error.doc
        );
    }
    let _ = write!(
        text,
        "\n## Manifest\n\nThe custom section `{MANIFEST_SECTION}` holds JSON lines: each an object with exactly one of the keys\n\
         `package` and `function`, separated by line feeds or NUL bytes, in any order, so that linkers can\n\
         concatenate them. Unknown fields are refused.\n\n`package`, exactly once:\n"
    );
    fields(&mut text, MANIFEST_PACKAGE);
    text.push_str("\n`function`, once for each:\n");
    fields(&mut text, MANIFEST_FUNCTION);
    text.push_str("\nAn argument or column:\n");
    fields(&mut text, MANIFEST_ARGUMENT);
    text.push_str("\nA type:\n");
    fields(&mut text, MANIFEST_TYPE);
    text.push_str("\n## Limits\n\n| what | limit |\n|---|---|\n");
    for (what, limit) in [
        ("bytes of a module", limits::MODULE_BYTES),
        (
            "bytes of the code of one guest function",
            limits::BODY_BYTES,
        ),
        ("bytes of the manifest", limits::MANIFEST_BYTES),
        ("functions of a module", limits::FUNCTIONS),
        ("arguments of a function", limits::ARGUMENTS),
        ("columns of a table or a state", limits::COLUMNS),
        ("types within types", limits::TYPE_DEPTH),
        (
            "types of an argument, with those inside",
            limits::TYPE_NODES,
        ),
        ("rows of a call", limits::ROWS),
        ("bytes of a message", limits::MESSAGE_BYTES),
        ("log lines of an instance", limits::LOG_LINES),
    ] {
        let _ = writeln!(text, "| {what} | {limit} |");
    }
    text.push_str(
        "\nMemory, stack, deadline of a call and the number of instances are the operator's settings; the defaults\n\
         are 64 MiB, 512 KiB, 30 s and 128.\n",
    );
    text
}

fn rust() -> String {
    let mut text = format!("// {NOTE}\n\n");
    for error in ERRORS {
        let _ = writeln!(
            text,
            "/// {}\npub const {}: i32 = {};",
            error.doc, error.name, error.number
        );
    }
    let _ = writeln!(
        text,
        "/// Results that may be kept at the same time.\npub const CHAIN: usize = {};",
        limits::CHAIN
    );
    text.push_str("\n/// A column in linear memory, as in the Arrow C data interface.\n#[repr(C)]\npub struct ArrowArray {\n");
    for field in ARRAY_FIELDS {
        let ty = if field.ty == ValType::I64 {
            "i64"
        } else {
            "u32"
        };
        let _ = writeln!(text, "    pub {}: {ty},", field.name);
    }
    text.push_str("    padding: u32,\n}\n\n/// A type in linear memory, as in the Arrow C data interface.\n#[repr(C)]\npub struct ArrowSchema {\n");
    for field in SCHEMA_FIELDS {
        let ty = if field.ty == ValType::I64 {
            "i64"
        } else {
            "u32"
        };
        let _ = writeln!(text, "    pub {}: {ty},", field.name);
    }
    let _ = write!(
        text,
        "}}\n\n#[cfg(target_arch = \"wasm32\")]\n#[link(wasm_import_module = \"{IMPORT_MODULE}\")]\nunsafe extern \"C\" {{\n"
    );
    for function in IMPORTS {
        let params: Vec<_> = function
            .params
            .iter()
            .map(|(name, ty)| match (*name, ty) {
                ("ptr" | "len", _) => format!("{name}: u32"),
                (name, ty) => format!("{name}: {}", wasm(*ty)),
            })
            .collect();
        let result = function
            .result
            .map(|ty| format!(" -> {}", wasm(ty)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "    /// {}\n    pub fn {}({}){result};",
            function.doc,
            function.name,
            params.join(", ")
        );
    }
    text.push_str("}\n");
    text
}

fn zig() -> String {
    let mut text = format!(
        "// {NOTE}\n\n/// The ABI's version.\npub const version = \"{MAJOR}.{MINOR}\";\n\n"
    );
    for error in ERRORS {
        let _ = writeln!(
            text,
            "/// {}\npub const {}: i32 = {};",
            error.doc, error.name, error.number
        );
    }
    for (name, doc, fields) in [
        ("ArrowArray", "A column", ARRAY_FIELDS),
        ("ArrowSchema", "A type", SCHEMA_FIELDS),
    ] {
        let _ = write!(
            text,
            "\n/// {doc} in linear memory, as in the Arrow C data interface.\npub const {name} = extern struct {{\n"
        );
        for field in fields {
            let ty = match (field.name, field.ty) {
                (_, ValType::I64) => "i64".to_owned(),
                ("buffers", _) => "?[*]const ?*const anyopaque".to_owned(),
                ("children", _) => format!("?[*]const *const {name}"),
                ("dictionary", _) => format!("?*const {name}"),
                ("format" | "name" | "metadata", _) => "?[*:0]const u8".to_owned(),
                ("release", _) => "u32".to_owned(),
                _ => "?*anyopaque".to_owned(),
            };
            let _ = writeln!(text, "    {}: {ty},", field.name);
        }
        text.push_str("};\n");
    }
    text.push('\n');
    for function in IMPORTS {
        let params: Vec<_> = function
            .params
            .iter()
            .map(|(name, ty)| match *name {
                "ptr" => "ptr: [*]const u8".to_owned(),
                "len" => "len: usize".to_owned(),
                name => format!("{name}: {}", wasm(*ty)),
            })
            .collect();
        let _ = writeln!(
            text,
            "/// {}\npub extern \"{IMPORT_MODULE}\" fn {}({}) {};",
            function.doc,
            function.name,
            params.join(", "),
            function.result.map_or("void", wasm)
        );
    }
    text
}

fn c() -> String {
    let mut text = format!("/* {NOTE} */\n#define SM_ABI \"{MAJOR}.{MINOR}\"\n");
    for error in ERRORS {
        let _ = writeln!(
            text,
            "#define SM_{} ({}) /* {} */",
            error.name, error.number, error.doc
        );
    }
    let _ = writeln!(
        text,
        "#define SM_CHAIN {} /* results that may be kept at the same time */",
        limits::CHAIN
    );
    text.push_str("\n/* A column in linear memory, as in the Arrow C data interface. */\ntypedef struct ArrowArray {\n");
    for field in ARRAY_FIELDS {
        let ty = match (field.name, field.ty) {
            (_, ValType::I64) => "int64_t ".to_owned(),
            ("buffers", _) => "const void **".to_owned(),
            ("children", _) => "struct ArrowArray **".to_owned(),
            ("dictionary", _) => "struct ArrowArray *".to_owned(),
            _ => "void *".to_owned(),
        };
        let _ = writeln!(text, "    {ty}{};", field.name);
    }
    text.push_str("} ArrowArray;\n\n/* A type in linear memory, as in the Arrow C data interface. */\ntypedef struct ArrowSchema {\n");
    for field in SCHEMA_FIELDS {
        let ty = match (field.name, field.ty) {
            (_, ValType::I64) => "int64_t ".to_owned(),
            ("children", _) => "struct ArrowSchema **".to_owned(),
            ("dictionary", _) => "struct ArrowSchema *".to_owned(),
            ("format" | "name" | "metadata", _) => "const char *".to_owned(),
            _ => "void *".to_owned(),
        };
        let _ = writeln!(text, "    {ty}{};", field.name);
    }
    text.push_str("} ArrowSchema;\n\n");
    for function in IMPORTS {
        let ty = |ty: ValType| {
            if ty == ValType::I64 {
                "int64_t"
            } else {
                "int32_t"
            }
        };
        let params: Vec<_> = function
            .params
            .iter()
            .map(|(name, param)| match *name {
                "ptr" => "const char *ptr".to_owned(),
                "len" => "uint32_t len".to_owned(),
                name => format!("{} {name}", ty(*param)),
            })
            .collect();
        let params = if params.is_empty() {
            "void".to_owned()
        } else {
            params.join(", ")
        };
        let result = function.result.map_or("void", ty);
        let _ = writeln!(
            text,
            "/* {} */\n__attribute__((import_module(\"{IMPORT_MODULE}\"), import_name(\"{}\"))) {result} sm_host_{}({params});",
            function.doc, function.name, function.name
        );
    }
    text
}
