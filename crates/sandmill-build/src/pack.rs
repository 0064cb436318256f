//! Puts a manifest, and for JavaScript a program, into a compiled module.

use std::borrow::Cow;
use std::collections::HashSet;

use sandmill_abi::{KINDS, MANIFEST_SECTION, VARIADIC};
use wasm_encoder::{
    ConstExpr, CustomSection, DataCountSection, DataSection, ExportKind, ExportSection, Module,
    RawSection,
};
use wasmparser::{ExternalKind, Operator, Parser, Payload};

use crate::Error;

/// Global of a runtime module that says where its program goes.
const PLACE: &str = "sm_program";
/// Function of a runtime module that says how much fits there; it is a constant.
const ROOM: &str = "sm_program_end";
/// Exports of a runtime module that call the first, second, … function of the program.
const SLOT: &str = "sm_slot_";

/// What a runtime module runs: source text, and which functions of it are called.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// Bytes that the runtime finds at its global `sm_program`, behind their number.
    pub bytes: &'a [u8],
    /// Names of the functions; the first takes the place of the export `sm_slot_0`, and so on.
    pub functions: &'a [&'a str],
}

/// Adds `manifest` to a module, or replaces the one that it has.
///
/// Exports that toolchains cannot write get their names: where two underscores stand after the prefix
/// of a kind (`sm_scalar__f`) there will be a dot (`sm_scalar.f`). With a `program` the module is a
/// runtime: the program goes into its memory and its slots are called like the functions.
///
/// # Errors
/// `Module` when the bytes are not a module, two exports would get one name, or a runtime lacks room.
pub fn pack(wasm: &[u8], manifest: &str, program: Option<&Program<'_>>) -> Result<Vec<u8>, Error> {
    let wrong = |e: wasmparser::BinaryReaderError| Error::Module(e.to_string());
    // The same magic as a module has, and another version behind it.
    if wasm.get(4..8) == Some(&[0x0d, 0, 1, 0]) {
        return Err(Error::Module("it is a component, not a core module".into()));
    }
    let place = program.map(|program| place(wasm, program)).transpose()?;
    let mut module = Module::new();
    let mut data_done = place.is_none();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(wrong)?;
        match &payload {
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => continue,
            Payload::ExportSection(section) => {
                module.section(&exports(section.clone(), program)?);
                continue;
            }
            Payload::DataCountSection { count, .. } => {
                let count = count + u32::from(place.is_some());
                module.section(&DataCountSection { count });
                continue;
            }
            Payload::DataSection(section) if place.is_some() => {
                let mut data = DataSection::new();
                for segment in section.clone() {
                    let segment = segment.map_err(wrong)?;
                    let reencoded = wasm_segment(&segment)?;
                    match reencoded {
                        Some(offset) => data.active(0, &offset, segment.data.iter().copied()),
                        None => data.passive(segment.data.iter().copied()),
                    };
                }
                add(&mut data, place, program);
                module.section(&data);
                data_done = true;
                continue;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            // Data follows code; custom sections may stand anywhere.
            module.section(&RawSection {
                id,
                data: &wasm[range],
            });
        }
    }
    if !data_done {
        let mut data = DataSection::new();
        add(&mut data, place, program);
        module.section(&data);
    }
    module.section(&CustomSection {
        name: Cow::Borrowed(MANIFEST_SECTION),
        data: Cow::Borrowed(manifest.as_bytes()),
    });
    Ok(module.finish())
}

fn add(data: &mut DataSection, place: Option<i32>, program: Option<&Program<'_>>) {
    if let (Some(at), Some(program)) = (place, program) {
        let size = u32::try_from(program.bytes.len()).unwrap_or(u32::MAX);
        let bytes = [&size.to_le_bytes()[..], program.bytes].concat();
        data.active(0, &ConstExpr::i32_const(at), bytes);
    }
}

/// The offset of an active segment, or `None` of a passive one.
fn wasm_segment(segment: &wasmparser::Data<'_>) -> Result<Option<ConstExpr>, Error> {
    match &segment.kind {
        wasmparser::DataKind::Passive => Ok(None),
        wasmparser::DataKind::Active { offset_expr, .. } => constant(offset_expr)
            .map(|at| Some(ConstExpr::i32_const(at)))
            .ok_or_else(|| Error::Module("a data segment does not lie at a constant".into())),
    }
}

fn constant(expression: &wasmparser::ConstExpr<'_>) -> Option<i32> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(value),
        _ => None,
    }
}

/// The name that an export should have had.
fn dotted(name: &str) -> Cow<'_, str> {
    let kinds = KINDS
        .iter()
        .flat_map(|kind| kind.exports)
        .chain([&VARIADIC]);
    for prefix in kinds.filter_map(|export| export.name.strip_suffix('.')) {
        if let Some(function) = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix("__"))
        {
            return Cow::Owned(format!("{prefix}.{function}"));
        }
    }
    Cow::Borrowed(name)
}

fn exports(
    section: wasmparser::ExportSectionReader<'_>,
    program: Option<&Program<'_>>,
) -> Result<ExportSection, Error> {
    let mut exports = ExportSection::new();
    let mut names = HashSet::new();
    for export in section {
        let export = export.map_err(|e| Error::Module(e.to_string()))?;
        let mut name = dotted(export.name);
        if let Some(program) = program {
            if [PLACE, ROOM].contains(&export.name) {
                continue;
            }
            if let Some(slot) = export.name.strip_prefix(SLOT) {
                let function = slot
                    .parse()
                    .ok()
                    .and_then(|n: usize| program.functions.get(n));
                let Some(function) = function else { continue };
                name = Cow::Owned(format!("sm_scalar.{function}"));
            }
        }
        if !names.insert(name.clone().into_owned()) {
            return Err(Error::Module(format!("two exports are called `{name}`")));
        }
        let kind = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
            ExternalKind::Table => ExportKind::Table,
            ExternalKind::Memory => ExportKind::Memory,
            ExternalKind::Global => ExportKind::Global,
            ExternalKind::Tag => ExportKind::Tag,
        };
        exports.export(&name, kind, export.index);
    }
    Ok(exports)
}

/// Where the program goes, if the module is a runtime with enough room.
fn place(wasm: &[u8], program: &Program<'_>) -> Result<i32, Error> {
    let wrong = |e: wasmparser::BinaryReaderError| Error::Module(e.to_string());
    let (mut globals, mut place, mut room, mut slots) = (Vec::new(), None, None, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(wrong)? {
            Payload::GlobalSection(section) => {
                for global in section {
                    globals.push(constant(&global.map_err(wrong)?.init_expr));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(wrong)?;
                    let value = || globals.get(export.index as usize).copied().flatten();
                    match export.name {
                        PLACE => place = value(),
                        ROOM => room = value(),
                        name if name.starts_with(SLOT) => slots += 1,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (Some(start), Some(end)) = (place, room) else {
        return Err(Error::Module("it is no runtime that takes programs".into()));
    };
    let fits = i64::from(end) - i64::from(start) - 4;
    if program.bytes.len() as i64 > fits {
        return Err(Error::Module(format!(
            "the program has more than {fits} bytes"
        )));
    }
    if program.functions.len() > slots {
        return Err(Error::Module(format!(
            "the program has more than {slots} functions"
        )));
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wasm(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("text")
    }

    /// Exports, custom sections and data segments.
    type Parts = (Vec<String>, Vec<(String, Vec<u8>)>, Vec<Vec<u8>>);

    fn read(wasm: &[u8]) -> Parts {
        wasmparser::Validator::new()
            .validate_all(wasm)
            .expect("valid");
        let (mut exports, mut customs, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.expect("payload") {
                Payload::ExportSection(section) => {
                    exports.extend(
                        section
                            .into_iter()
                            .map(|e| e.expect("export").name.to_owned()),
                    );
                }
                Payload::CustomSection(s) => customs.push((s.name().to_owned(), s.data().to_vec())),
                Payload::DataSection(section) => {
                    data.extend(section.into_iter().map(|d| d.expect("data").data.to_vec()));
                }
                _ => {}
            }
        }
        (exports, customs, data)
    }

    const RUNTIME: &str = r#"(module (memory (export "memory") 2) (data (i32.const 8) "kept") (data "passive")
        (global (export "sm_program") i32 (i32.const 1024)) (global (export "sm_program_end") i32 (i32.const 1040))
        (func (export "sm_slot_0") (data.drop 1)) (func (export "sm_slot_1")) (func (export "sm_alloc")))"#;

    #[test]
    fn a_manifest_is_added_and_replaced_and_exports_get_dots() {
        let bare = wasm(
            r#"(module (@custom "other" "x") (func (export "sm_scalar__a__b")) (func (export "sm_agg_new__c"))
               (func (export "sm_alloc")) (func (export "sm_scalar.d")) (func (export "plain__name")))"#,
        );
        let once = pack(&bare, "one", None).expect("packed");
        let twice = pack(&once, "two", None).expect("packed");
        let (exports, customs, _) = read(&twice);
        let expected = [
            "sm_scalar.a__b",
            "sm_agg_new.c",
            "sm_alloc",
            "sm_scalar.d",
            "plain__name",
        ];
        assert_eq!(exports, expected);
        let section = |name: &str, data: &str| (name.to_owned(), data.as_bytes().to_vec());
        assert_eq!(
            customs,
            [section("other", "x"), section(MANIFEST_SECTION, "two")]
        );
        assert_eq!(
            pack(&bare, "two", None).expect("packed"),
            twice,
            "what was there leaves no trace"
        );
    }

    #[test]
    fn a_program_goes_into_the_memory_of_its_runtime() {
        let functions = ["f"];
        let program = Program {
            bytes: b"source",
            functions: &functions,
        };
        let packed = pack(&wasm(RUNTIME), "m", Some(&program)).expect("packed");
        let (exports, _, data) = read(&packed);
        assert_eq!(exports, ["memory", "sm_scalar.f", "sm_alloc"]);
        assert_eq!(
            data,
            [
                b"kept".to_vec(),
                b"passive".to_vec(),
                b"\x06\0\0\0source".to_vec()
            ]
        );
        let bare = wasm(
            &RUNTIME
                .replace(r#"(data (i32.const 8) "kept") (data "passive")"#, "")
                .replace("(data.drop 1)", ""),
        );
        assert_eq!(
            read(&pack(&bare, "m", Some(&program)).expect("packed"))
                .2
                .len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        let twins =
            wasm(r#"(module (func (export "sm_scalar__a")) (func (export "sm_scalar.a")))"#);
        let component = wasm("(component)");
        for (bytes, expected) in [
            (twins.as_slice(), "two exports"),
            (component.as_slice(), "component"),
            (b"\0asm\x01\0\0\0\x01".as_slice(), "unexpected end"),
            (b"text".as_slice(), "magic"),
        ] {
            let error = pack(bytes, "m", None).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        let runtime = wasm(RUNTIME);
        let check = |bytes: &[u8], functions: &[&str]| {
            pack(&runtime, "m", Some(&Program { bytes, functions })).map_err(|e| e.to_string())
        };
        assert!(check(&[0; 12], &["a", "b"]).is_ok());
        assert!(
            check(&[0; 13], &["a"])
                .expect_err("long")
                .contains("more than 12 bytes")
        );
        assert!(
            check(b"", &["a", "b", "c"])
                .expect_err("many")
                .contains("more than 2 functions")
        );
        let program = Program {
            bytes: b"",
            functions: &[],
        };
        assert!(pack(&wasm("(module)"), "m", Some(&program)).is_err());
    }
}
