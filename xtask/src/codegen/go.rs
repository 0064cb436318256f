//! The Go SDK's view of the ABI.

use std::fmt::Write as _;

use sandmill_abi::{
    ARRAY_FIELDS, ARRAY_SIZE, ERRORS, Field, IMPORT_MODULE, IMPORTS, MAJOR, MINOR, SCHEMA_FIELDS,
    SCHEMA_SIZE, ValType,
};

use super::NOTE;

/// `udf-sdk/go/sandmill/abi.go`.
pub fn render() -> String {
    let mut text = format!(
        "// {NOTE}\n\npackage sandmill\n\nimport \"unsafe\"\n\n// ABI is the version that this package speaks.\nconst ABI = \"{MAJOR}.{MINOR}\"\n\n// Error numbers.\nconst (\n"
    );
    for error in ERRORS {
        let _ = writeln!(
            text,
            "\t// {}\n\tErr{} int32 = {}",
            error.doc,
            camel(error.name),
            error.number
        );
    }
    text.push_str(")\n\n");
    layout(&mut text, "arrowArray", ARRAY_FIELDS, ARRAY_SIZE);
    layout(&mut text, "arrowSchema", SCHEMA_FIELDS, SCHEMA_SIZE);
    for function in IMPORTS {
        let params: Vec<_> = function
            .params
            .iter()
            .map(|(name, ty)| match *name {
                "ptr" => "ptr unsafe.Pointer".to_owned(),
                "len" => "size uint32".to_owned(),
                name => format!("{name} {}", go(*ty)),
            })
            .collect();
        let result = function
            .result
            .map(|ty| format!(" {}", go(ty)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "// {}\n//\n//go:wasmimport {IMPORT_MODULE} {}\nfunc host{}({}){result}\n",
            function.doc,
            function.name,
            camel(function.name),
            params.join(", ")
        );
    }
    text.trim_end().to_owned() + "\n"
}

fn layout(text: &mut String, name: &str, fields: &[Field], size: u32) {
    let _ = write!(
        text,
        "// {name} lies in linear memory as in the Arrow C data interface; addresses are 32-bit numbers.\ntype {name} struct {{\n"
    );
    let mut rows = Vec::new();
    let mut end = 0;
    for field in fields {
        if end < field.offset {
            rows.push(("_".to_owned(), format!("[{}]byte", field.offset - end)));
        }
        let (ty, width) = match field.ty {
            ValType::I64 => ("int64", 8),
            ValType::I32 => ("uint32", 4),
        };
        rows.push((lower(field.name), ty.to_owned()));
        end = field.offset + width;
    }
    if end < size {
        rows.push(("_".to_owned(), format!("[{}]byte", size - end)));
    }
    let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, ty) in rows {
        let _ = writeln!(text, "\t{name:widest$} {ty}");
    }
    text.push_str("}\n\n");
}

fn go(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "int32",
        ValType::I64 => "int64",
    }
}

fn camel(name: &str) -> String {
    name.split('_')
        .map(|part| part[..1].to_ascii_uppercase() + &part[1..].to_ascii_lowercase())
        .collect()
}

fn lower(name: &str) -> String {
    let name = camel(name);
    name[..1].to_ascii_lowercase() + &name[1..]
}
