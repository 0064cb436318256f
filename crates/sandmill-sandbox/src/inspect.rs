//! Static checks: everything that can be said of a module without running or compiling it.

use sandmill_abi::{EXPORTS, IMPORT_MODULE, IMPORTS, MANIFEST_SECTION, VARIADIC, ValType, limits};
use sandmill_model::{Digest, ModuleDescription};
use sha2::{Digest as _, Sha256};
use wasmparser::{
    ExternalKind, FuncType, Import, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

use crate::error::{Error, clean};
use crate::manifest::Manifest;

/// WASI preview 1, as far as toolchains insist on it: answered by the host without any authority.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";
/// Items of one kind (types, functions, exports, …) that a module may have.
const ITEMS: u32 = 50_000;
/// Elements of all tables together.
pub(crate) const TABLE_ELEMENTS: u64 = 20_000;
/// Tables of a module.
pub(crate) const TABLES: u32 = 4;

/// What a module is, read without running it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's text as it stands in the module.
    pub manifest_text: Vec<u8>,
    /// As people see it.
    pub description: ModuleDescription,
}

/// SHA-256 of a module: its identity.
pub fn digest(wasm: &[u8]) -> Digest {
    Digest::new(Sha256::digest(wasm).into())
}

/// Checks a module and reads its manifest. Runs no guest code and compiles nothing.
///
/// # Errors
/// `Invalid`, `Manifest`, `Abi`, `Type` or `Import`, each naming what is wrong.
pub fn inspect(wasm: &[u8]) -> Result<Inspection, Error> {
    if wasm.len() > limits::MODULE_BYTES {
        let message = format!("it has more than {} MiB", limits::MODULE_BYTES >> 20);
        return Err(Error::Invalid(message));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(Error::Invalid("it does not start like WebAssembly".into()));
    }
    let outline = Outline::read(wasm)?;
    let text = outline.manifest.ok_or_else(|| {
        Error::Manifest(format!(
            "the module has no custom section `{MANIFEST_SECTION}`"
        ))
    })?;
    let manifest = Manifest::parse(&text)?;
    let types = Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(|e| Error::Invalid(clean(e.to_string().as_bytes(), 500)))?;
    let types = types.as_ref();
    let signature = |index: u32| types[types.core_function_at(index)].unwrap_func().clone();

    if types.memory_count() != 1
        || !outline
            .exports
            .iter()
            .any(|(n, k, _)| *n == "memory" && *k == ExternalKind::Memory)
    {
        return Err(Error::Invalid(
            "it must have and export one memory named `memory`".into(),
        ));
    }
    let memory = types.memory_at(0);
    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
        return Err(Error::Invalid(
            "its memory must be 32-bit and not shared".into(),
        ));
    }
    let elements: u64 = (0..types.table_count())
        .map(|n| types.table_at(n).initial)
        .sum();
    if elements > TABLE_ELEMENTS || types.table_count() > TABLES {
        return Err(Error::Invalid(format!(
            "its tables are too large: at most {TABLES} with {TABLE_ELEMENTS} elements"
        )));
    }
    for import in &outline.imports {
        let http = (import.module, import.name) == (IMPORT_MODULE, "http");
        if http && manifest.capabilities.http.is_empty() {
            return Err(Error::Undeclared {
                import: "sandmill.http",
                capability: "capabilities.http",
            });
        }
        check_import(import, |index| {
            match types.entity_type_from_import(&Import {
                module: "",
                name: "",
                ty: TypeRef::Func(index),
            }) {
                Some(wasmparser::types::EntityType::Func(id)) => {
                    Some(types[id].unwrap_func().clone())
                }
                _ => None,
            }
        })?;
    }
    let export = |name: &str| {
        let found = outline
            .exports
            .iter()
            .find(|(n, k, _)| *n == name && *k == ExternalKind::Func);
        found.map(|(_, _, index)| signature(*index))
    };
    for item in EXPORTS {
        match export(item.name) {
            Some(found) if !fits(&found, item) => return Err(mistyped(item.name, item)),
            None if item.required => {
                return Err(Error::Invalid(format!(
                    "it does not export `{}`",
                    item.name
                )));
            }
            _ => {}
        }
    }
    for function in &manifest.functions {
        let wanted = match function.variadic {
            true => std::slice::from_ref(&VARIADIC),
            false => function.kind.exports(),
        };
        for item in wanted {
            let name = format!("{}{}", item.name, function.name);
            match export(&name) {
                Some(found) if !fits(&found, item) => return Err(mistyped(&name, item)),
                Some(_) => {}
                // What is not required is there when the manifest says so.
                None if !item.required && !function.retract => {}
                None => {
                    let message =
                        format!("function `{}` is not exported as `{name}`", function.name);
                    return Err(Error::Manifest(message));
                }
            }
        }
    }
    let description = ModuleDescription {
        digest: digest(wasm),
        size: wasm.len() as u64,
        abi: manifest.abi.clone(),
        package: manifest.package.clone(),
        package_version: manifest.version.clone(),
        language: manifest.language.clone(),
        build: manifest.build.clone(),
        sdk: manifest.sdk.clone(),
        functions: manifest
            .functions
            .iter()
            .map(crate::Function::info)
            .collect(),
        imports: outline
            .imports
            .iter()
            .map(|i| format!("{}.{}", i.module, i.name))
            .collect(),
    };
    Ok(Inspection {
        manifest,
        manifest_text: text,
        description,
    })
}

/// What the parser alone can tell, collected before validation so that bombs are met by caps first.
struct Outline<'a> {
    manifest: Option<Vec<u8>>,
    imports: Vec<Import<'a>>,
    exports: Vec<(&'a str, ExternalKind, u32)>,
}

impl<'a> Outline<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, Error> {
        let invalid =
            |e: wasmparser::BinaryReaderError| Error::Invalid(clean(e.to_string().as_bytes(), 500));
        let mut outline = Self {
            manifest: None,
            imports: Vec::new(),
            exports: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(invalid)? {
                Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                    if outline.manifest.is_some() {
                        return Err(Error::Manifest(
                            "the module has two manifest sections".into(),
                        ));
                    }
                    if section.data().len() > limits::MANIFEST_BYTES {
                        let message = format!("it has more than {} bytes", limits::MANIFEST_BYTES);
                        return Err(Error::Manifest(message));
                    }
                    outline.manifest = Some(section.data().to_vec());
                }
                Payload::ImportSection(section) => {
                    cap("imports", section.count(), 1000)?;
                    for import in section.into_imports() {
                        outline.imports.push(import.map_err(invalid)?);
                        cap("imports", outline.imports.len() as u32, 1000)?;
                    }
                }
                Payload::ExportSection(section) => {
                    cap("exports", section.count(), ITEMS)?;
                    for export in section {
                        let export = export.map_err(invalid)?;
                        outline
                            .exports
                            .push((export.name, export.kind, export.index));
                    }
                }
                Payload::TypeSection(section) => cap("types", section.count(), ITEMS)?,
                Payload::FunctionSection(section) => cap("functions", section.count(), ITEMS)?,
                Payload::GlobalSection(section) => cap("globals", section.count(), ITEMS)?,
                Payload::DataSection(section) => cap("data segments", section.count(), ITEMS)?,
                Payload::ElementSection(section) => {
                    cap("element segments", section.count(), ITEMS)?
                }
                Payload::CodeSectionEntry(body) if body.range().len() > limits::BODY_BYTES => {
                    let message =
                        format!("a function has more than {} KiB", limits::BODY_BYTES >> 10);
                    return Err(Error::TooComplex(message));
                }
                Payload::ComponentSection { .. } | Payload::ModuleSection { .. } => {
                    return Err(Error::Invalid(
                        "it is a component, not a core module".into(),
                    ));
                }
                _ => {}
            }
        }
        Ok(outline)
    }
}

fn cap(what: &str, count: u32, limit: u32) -> Result<(), Error> {
    if count > limit {
        return Err(Error::TooComplex(format!(
            "it has more than {limit} {what}"
        )));
    }
    Ok(())
}

/// What the engine has on; the same set as its configuration.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST | WasmFeatures::CALL_INDIRECT_OVERLONG
}

fn fits(found: &FuncType, wanted: &sandmill_abi::Function) -> bool {
    let core = |ty: ValType| match ty {
        ValType::I32 => wasmparser::ValType::I32,
        ValType::I64 => wasmparser::ValType::I64,
    };
    found
        .params()
        .iter()
        .copied()
        .eq(wanted.params.iter().map(|(_, ty)| core(*ty)))
        && found
            .results()
            .iter()
            .copied()
            .eq(wanted.result.into_iter().map(core))
}

fn mistyped(name: &str, wanted: &sandmill_abi::Function) -> Error {
    let text = |ty: &ValType| match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
    };
    let params: Vec<_> = wanted.params.iter().map(|(_, ty)| text(ty)).collect();
    let result = wanted.result.as_ref().map_or("nothing", text);
    Error::Invalid(format!(
        "`{name}` must take ({}) and return {result}",
        params.join(", ")
    ))
}

fn check_import(
    import: &Import<'_>,
    signature: impl Fn(u32) -> Option<FuncType>,
) -> Result<(), Error> {
    let name = clean(format!("{}.{}", import.module, import.name).as_bytes(), 200);
    let TypeRef::Func(index) = import.ty else {
        return Err(Error::Import(name));
    };
    let found = signature(index).ok_or_else(|| Error::Import(name.clone()))?;
    match import.module {
        IMPORT_MODULE => {
            let item = IMPORTS.iter().find(|item| item.name == import.name);
            let item = item.ok_or(Error::Import(name))?;
            if fits(&found, item) {
                Ok(())
            } else {
                Err(mistyped(import.name, item))
            }
        }
        // Unknown WASI calls answer ENOSYS, which is a number.
        WASI if import.name == "proc_exit" => Ok(()),
        WASI if found.results() == [wasmparser::ValType::I32] => Ok(()),
        "env"
            if import.name == "abort"
                && found.params().len() == 4
                && found.results().is_empty() =>
        {
            Ok(())
        }
        _ => Err(Error::Import(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{guest, module};

    #[test]
    fn a_good_module_is_described() {
        let wasm = guest("one", "l", "l", "(i32.const 0)");
        let found = inspect(&wasm).expect("valid");
        assert_eq!(
            found.description.functions[0].signature(),
            "one(a BIGINT) -> BIGINT"
        );
        assert_eq!(found.description.digest, digest(&wasm));
    }

    #[test]
    fn every_flaw_is_named() {
        let manifest = r#"{"package":{"abi":"1.0","name":"p","version":"1"}}
            {"function":{"name":"f","kind":"scalar","arguments":[],"returns":"l"}}"#;
        let alloc = r#"(func (export "sm_alloc") (param i32 i32) (result i32) (i32.const 0))"#;
        let free = r#"(func (export "sm_free") (param i32 i32 i32))"#;
        let memory = r#"(memory (export "memory") 1)"#;
        let call =
            r#"(func (export "sm_scalar.f") (param i32 i32 i32) (result i32) (i32.const 0))"#;
        let good = [memory, alloc, free, call].concat();
        let check = |manifest: Option<&str>, body: &str| inspect(&module(manifest, body));
        assert!(check(Some(manifest), &good).is_ok());
        for (body, expected) in [
            ([alloc, free, call].concat(), "export one memory"),
            ([memory, free, call].concat(), "does not export `sm_alloc`"),
            (
                [memory, alloc, free].concat(),
                "not exported as `sm_scalar.f`",
            ),
            (
                good.replace("(param i32 i32) (result i32)", "(param i32) (result i32)"),
                "must take (i32, i32)",
            ),
            (good.replace("1)", "1) (memory 1)"), "multi"),
            (
                format!("(import \"env\" \"open\" (func)) {good}"),
                "imports `env.open`",
            ),
            (
                format!("(import \"sandmill\" \"secret\" (func)) {good}"),
                "imports `sandmill.secret`",
            ),
            (
                format!("(import \"sandmill\" \"log\" (func)) {good}"),
                "`log` must take",
            ),
            (
                format!("(import \"sandmill\" \"memory2\" (memory 1)) {alloc}{free}{call}"),
                "export one memory",
            ),
            (
                format!("(table 30000 funcref) {good}"),
                "tables are too large",
            ),
        ] {
            let error = check(Some(manifest), &body)
                .expect_err(expected)
                .to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        assert!(matches!(check(None, &good), Err(Error::Manifest(_))));
        assert!(matches!(
            inspect(b"\0asm\x01\0\0\0\x01"),
            Err(Error::Invalid(_))
        ));
        assert!(matches!(inspect(b"%PDF"), Err(Error::Invalid(_))));
        let wasm = module(Some(manifest), &good);
        for cut in 8..wasm.len() {
            assert!(inspect(&wasm[..cut]).is_err(), "cut at {cut}");
        }
    }
}
