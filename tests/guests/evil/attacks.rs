//! The attacks, each a module and the code that it must end with.

#[path = "aggregates.rs"]
mod aggregates;
#[path = "bombs.rs"]
mod bombs;
#[path = "execution.rs"]
mod execution;
#[path = "modules.rs"]
mod modules;
#[path = "nested.rs"]
mod nested;
#[path = "results.rs"]
mod results;
#[path = "streams.rs"]
mod streams;

/// What a hostile guest is made of.
pub struct Evil {
    /// What it tries.
    pub name: String,
    /// The module.
    pub wasm: Vec<u8>,
    /// The code that its upload or its job ends with.
    pub code: &'static str,
    /// The query that meets it.
    pub sql: String,
}

/// The code of guests that try something which has no effect: their job finishes.
pub const HARMLESS: &str = "no error";

/// Attacks of one theme.
#[derive(Default)]
struct List(Vec<Evil>);

impl List {
    /// An attack that one batch meets.
    fn add(&mut self, name: &str, code: &'static str, wasm: Vec<u8>) {
        self.with(name, code, ONE_BATCH, wasm);
    }

    /// An attack that a certain query meets.
    fn with(&mut self, name: &str, code: &'static str, sql: &str, wasm: Vec<u8>) {
        self.0.push(Evil {
            name: name.into(),
            wasm,
            code,
            sql: sql.into(),
        });
    }
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

/// Every attack.
pub fn all() -> Vec<Evil> {
    let themes = [
        execution::all,
        results::all,
        nested::all,
        modules::all,
        bombs::all,
        aggregates::all,
        streams::all,
    ];
    themes.iter().flat_map(|theme| theme().0).collect()
}
