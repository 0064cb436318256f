//! The AssemblyScript SDK's view of the ABI.

use std::fmt::Write as _;

use sandmill_abi::{
    ARRAY_FIELDS, ARRAY_SIZE, ERRORS, Field, IMPORT_MODULE, IMPORTS, MAJOR, MINOR, SCHEMA_FIELDS,
    SCHEMA_SIZE, ValType,
};

use super::NOTE;

/// `udf-sdk/assemblyscript/assembly/abi.ts`.
pub fn render() -> String {
    let mut text = format!(
        "// {NOTE}\n\n/** The version of the ABI. */\nexport const ABI: string = \"{MAJOR}.{MINOR}\";\n\n"
    );
    for error in ERRORS {
        let _ = writeln!(
            text,
            "/** {} */\nexport const {}: i32 = {};",
            error.doc, error.name, error.number
        );
    }
    layout(&mut text, "ARRAY", ARRAY_FIELDS, ARRAY_SIZE);
    layout(&mut text, "SCHEMA", SCHEMA_FIELDS, SCHEMA_SIZE);
    for function in IMPORTS {
        let params: Vec<_> = function
            .params
            .iter()
            .map(|(name, ty)| match *name {
                "ptr" => "ptr: usize".to_owned(),
                "len" => "len: u32".to_owned(),
                name => format!("{name}: {}", wasm(*ty)),
            })
            .collect();
        let _ = writeln!(
            text,
            "\n/** {} */\n@external(\"{IMPORT_MODULE}\", \"{}\")\nexport declare function host_{}({}): {};",
            function.doc,
            function.name,
            function.name,
            params.join(", "),
            function.result.map_or("void", wasm)
        );
    }
    text
}

fn layout(text: &mut String, name: &str, fields: &[Field], size: u32) {
    let _ = writeln!(
        text,
        "\n/** Bytes of the struct, and where its fields lie. */\nexport const {name}_SIZE: u32 = {size};"
    );
    for field in fields {
        let _ = writeln!(
            text,
            "export const {name}_{}: u32 = {};",
            field.name.to_ascii_uppercase(),
            field.offset
        );
    }
}

fn wasm(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
    }
}
