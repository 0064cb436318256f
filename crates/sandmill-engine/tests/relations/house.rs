//! A module of functions that give rows, written by hand, and tables for them.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use sandmill_engine::{Engine, Query, Settings};
use sandmill_functions::Version;
use sandmill_model::{Failure, FunctionPin, TableFormat, TableSpec, TenantId};
use sandmill_sandbox::{Context, Sandbox};

const GUEST: &str = r#"
    (memory (export "memory") 256)
    (global $top (mut i32) (i32.const 1048576))
    (global $columns (mut i32) (i32.const 0))
    (global $rows (mut i32) (i32.const 0))
    (global $finished (mut i32) (i32.const 0))
    (global $factor (mut i64) (i64.const 0))
    (func (export "sm_alloc") (param $size i32) (param i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $top))
        (global.set $top (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 63)) (i32.const -64)))
        (local.get $at))
    (func (export "sm_free") (param i32 i32 i32))
    (func $struct (param $base i32) (param $n i32) (result i32)
        (i32.add (local.get $base) (i32.shl (local.get $n) (i32.const 6))))
    (func $value (param $column i32) (param $row i32) (result i64)
        (i64.load (i32.add
            (i32.load (i32.add (i32.load (i32.add (local.get $column) (i32.const 40))) (i32.const 4)))
            (i32.shl (local.get $row) (i32.const 3)))))
    (func $data (param $slot i32) (result i32)
        (i32.mul (i32.add (local.get $slot) (i32.const 1)) (i32.const 131072)))
    (func $set (param $slot i32) (param $row i32) (param $value i64)
        (i64.store (i32.add (call $data (local.get $slot)) (i32.shl (local.get $row) (i32.const 3)))
            (local.get $value)))
    (func $column (param $out i32) (param $slot i32) (param $length i32)
        (local $pointers i32)
        (local.set $out (call $struct (local.get $out) (local.get $slot)))
        (local.set $pointers (i32.add (i32.const 256) (i32.shl (local.get $slot) (i32.const 3))))
        (i64.store (local.get $out) (i64.extend_i32_u (local.get $length)))
        (i64.store (i32.add (local.get $out) (i32.const 24)) (i64.const 2))
        (i32.store (i32.add (local.get $out) (i32.const 40)) (local.get $pointers))
        (i32.store (local.get $pointers) (i32.const 0))
        (i32.store (i32.add (local.get $pointers) (i32.const 4)) (call $data (local.get $slot))))
    (func $push (param $columns i32) (param $rows i32) (result i32)
        (global.set $columns (local.get $columns))
        (global.set $rows (local.get $rows))
        (i32.const 0))
    (func (export "sm_scalar.same") (param $args i32) (param i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64))
        (i32.const 0))
    (func (export "sm_group.total") (param i32) (param $in i32) (param i32) (param $offsets i32)
        (param $groups i32) (param $out i32) (result i32)
        (local $n i32) (local $at i32) (local $end i32) (local $sum i64)
        (loop $next
            (local.set $at (i32.load (i32.add (local.get $offsets) (i32.shl (local.get $n) (i32.const 2)))))
            (local.set $end (i32.load (i32.add (local.get $offsets) (i32.shl (i32.add (local.get $n) (i32.const 1)) (i32.const 2)))))
            (call $set (i32.const 0) (local.get $n) (call $value (local.get $in) (local.get $at)))
            (call $set (i32.const 2) (local.get $n) (call $value (call $struct (local.get $in) (i32.const 1)) (local.get $at)))
            (call $set (i32.const 3) (local.get $n) (i64.extend_i32_u (i32.sub (local.get $end) (local.get $at))))
            (local.set $sum (i64.const 0))
            (loop $row
                (local.set $sum (i64.add (local.get $sum) (call $value (call $struct (local.get $in) (i32.const 1)) (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $row (i32.lt_u (local.get $at) (local.get $end))))
            (call $set (i32.const 1) (local.get $n) (local.get $sum))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (local.get $groups))))
        (call $column (local.get $out) (i32.const 0) (local.get $n))
        (call $column (local.get $out) (i32.const 1) (local.get $n))
        (call $column (local.get $out) (i32.const 2) (local.get $n))
        (call $column (local.get $out) (i32.const 3) (local.get $n))
        (i32.const 0))
    (func $length (param $offsets i32) (param $n i32) (result i64)
        (local.set $offsets (i32.add (local.get $offsets) (i32.shl (local.get $n) (i32.const 2))))
        (i64.extend_i32_u (i32.sub (i32.load (i32.add (local.get $offsets) (i32.const 4))) (i32.load (local.get $offsets)))))
    (func (export "sm_cogroup.sizes") (param i32 i32) (param $left i32) (param i32) (param $right i32)
        (param $groups i32) (param $out i32) (result i32)
        (local $n i32)
        (loop $next
            (call $set (i32.const 0) (local.get $n) (call $length (local.get $left) (local.get $n)))
            (call $set (i32.const 1) (local.get $n) (call $length (local.get $right) (local.get $n)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (local.get $groups))))
        (call $column (local.get $out) (i32.const 0) (local.get $n))
        (call $column (local.get $out) (i32.const 1) (local.get $n))
        (i32.const 0))"#;

/// Name, what `sm_open` does, what `sm_push` does before it keeps the batch, what `sm_pull` does.
const STREAMS: &[(&str, &str, &str, &str)] = &[
    // `times(x, n)`: each x n times.
    (
        "times",
        "",
        "",
        r#"(if (global.get $rows) (then
            (loop $row
                (local.set $m (i32.wrap_i64 (call $value (call $struct (global.get $columns) (i32.const 1)) (local.get $n))))
                (block $done (loop $more
                    (br_if $done (i32.le_s (local.get $m) (i32.const 0)))
                    (i32.store (i32.add (call $data (i32.const 0)) (i32.shl (local.get $k) (i32.const 2))) (local.get $n))
                    (call $set (i32.const 1) (local.get $k) (call $value (global.get $columns) (local.get $n)))
                    (local.set $k (i32.add (local.get $k) (i32.const 1)))
                    (local.set $m (i32.sub (local.get $m) (i32.const 1)))
                    (br $more)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $row (i32.lt_u (local.get $n) (global.get $rows))))
            (global.set $rows (i32.const 0))
            (call $column (local.get $out) (i32.const 0) (local.get $k))
            (call $column (local.get $out) (i32.const 1) (local.get $k))
            (return (i32.const 1))))"#,
    ),
    // `forever(x)`: the first x of a batch, for ever.
    (
        "forever",
        "",
        "",
        r#"(if (global.get $rows) (then
            (call $set (i32.const 1) (i32.const 0) (call $value (global.get $columns) (i32.const 0)))
            (call $column (local.get $out) (i32.const 0) (i32.const 1))
            (call $column (local.get $out) (i32.const 1) (i32.const 1))
            (return (i32.const 1))))"#,
    ),
    // `scaled(TABLE(x), factor)`.
    (
        "scaled",
        "(global.set $factor (call $value (local.get $args) (i32.const 0)))",
        "",
        r#"(if (global.get $rows) (then
            (loop $row
                (call $set (i32.const 0) (local.get $n) (i64.mul (global.get $factor) (call $value (global.get $columns) (local.get $n))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $row (i32.lt_u (local.get $n) (global.get $rows))))
            (global.set $rows (i32.const 0))
            (call $column (local.get $out) (i32.const 0) (local.get $n))
            (return (i32.const 1))))"#,
    ),
    // `spin(TABLE(x))` never comes back.
    ("spin", "", "(loop $l (br $l))", ""),
    // `breaks(TABLE(x))` gives a batch, then traps.
    (
        "breaks",
        "",
        "(if (global.get $rows) (then unreachable))",
        r#"(if (i32.and (global.get $rows) (i32.eqz (i32.wrap_i64 (global.get $factor)))) (then
            (global.set $factor (i64.const 1))
            (call $column (local.get $out) (i32.const 0) (global.get $rows))
            (return (i32.const 1))))"#,
    ),
];

const MANIFEST: &str = r#"{"package":{"abi":"1.1","name":"test","version":"1"}}
{"function":{"name":"same","kind":"scalar","arguments":[{"name":"x","type":"l"}],"returns":"l"}}
{"function":{"name":"times","kind":"table","arguments":[{"name":"x","type":"l"},{"name":"n","type":"l","default":"2"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"forever","kind":"table","arguments":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"scaled","kind":"map","arguments":[{"name":"factor","type":"l","default":"2"}],"input":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"spin","kind":"map","arguments":[],"input":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"breaks","kind":"map","arguments":[],"input":[{"name":"x","type":"l"}],"columns":[{"name":"y","type":"l"}]}}
{"function":{"name":"total","kind":"grouped_map","arguments":[],"input":[{"name":"k","type":"l"},{"name":"x","type":"l"}],"columns":[{"name":"k","type":"l"},{"name":"sum","type":"l"},{"name":"first","type":"l"},{"name":"size","type":"l"}]}}
{"function":{"name":"sizes","kind":"cogrouped_map","arguments":[],"input":[{"name":"k","type":"l"}],"right":[{"name":"k","type":"l"}],"columns":[{"name":"l","type":"l"},{"name":"r","type":"l"}]}}"#;

fn guest() -> Vec<u8> {
    let mut body = GUEST.to_owned();
    for (name, open, push, pull) in STREAMS {
        let text = format!(
            r#"(func (export "sm_open.{name}") (param $args i32) (param i32) (result i32) {open} (i32.const 1))
            (func (export "sm_push.{name}") (param i32) (param $columns i32) (param $rows i32) (result i32)
                {push} (call $push (local.get $columns) (local.get $rows)))
            (func (export "sm_pull.{name}") (param i32) (param $out i32) (result i32)
                (local $n i32) (local $m i32) (local $k i32)
                {pull}
                (if (global.get $finished) (then (return (i32.const 2))))
                (i32.const 0))
            (func (export "sm_finish.{name}") (param i32) (result i32)
                (global.set $finished (i32.const 1)) (i32.const 0))
            (func (export "sm_close.{name}") (param i32))"#
        );
        body.write_str(&text).expect("writes");
    }
    let escaped: String = MANIFEST.bytes().map(|b| format!("\\{b:02x}")).collect();
    let text = format!("(module {body} (@custom \"sandmill.manifest\" \"{escaped}\"))");
    wat::parse_str(&text).expect("parses")
}

pub struct House {
    _folder: tempfile::TempDir,
    pub engine: Engine,
    sandbox: Sandbox,
    functions: Vec<Version>,
}

impl House {
    /// `t(a, b)`: 0 to 99 and their remainders by 7; `u(k, x)` with the keys 0, 1, 1, 9 and NULL.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let lines: String = (0..100).map(|n| format!("{n},{}\n", n % 7)).collect();
        write("t.csv", format!("a,b\n{lines}"));
        write("u.csv", "k,x\n0,1\n1,2\n1,3\n9,4\n,5\n".into());
        let settings = Settings {
            allowed_roots: vec![folder.path().into()],
            target_partitions: 4,
            batch_size: 16,
            ..Settings::default()
        };
        let sandbox = Sandbox::new(sandmill_sandbox::Settings {
            instances: 32,
            ..Default::default()
        })
        .expect("starts");
        let module = sandbox.load(&TenantId::single(), &guest()).expect("loads");
        let functions = module.manifest().functions.iter().enumerate();
        let functions = functions.map(|(index, function)| Version {
            pin: FunctionPin {
                name: function.name.clone(),
                version: 3,
                digest: module.digest(),
            },
            module: module.clone(),
            index,
        });
        Self {
            functions: functions.collect(),
            engine: Engine::new(settings).expect("opens"),
            sandbox,
            _folder: folder,
        }
    }

    pub fn query(&self, sql: &str) -> Query {
        let table = |name: &str, path: &str, format| TableSpec {
            name: name.into(),
            path: path.into(),
            format,
        };
        Query {
            sql: sql.into(),
            params: vec![],
            tables: vec![
                table("t", "t.csv", TableFormat::Csv),
                table("u", "u.csv", TableFormat::Csv),
            ],
            functions: self.functions.clone(),
            context: Arc::new(Context::default()),
        }
    }

    pub async fn run(&self, query: Query) -> Result<String, Failure> {
        let plan = self.engine.plan(query).await?;
        let batches: Vec<_> = plan
            .execute()?
            .try_collect()
            .await
            .map_err(|e| plan.failure(&e))?;
        let text = pretty_format_batches(&batches).expect("prints").to_string();
        let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = rows.map(|row| {
            let cells = row.trim_matches('|').split('|').map(str::trim);
            cells.collect::<Vec<_>>().join(",")
        });
        Ok(cells.collect::<Vec<_>>().join(" "))
    }

    pub async fn check(&self, cases: &[(&str, &str)]) {
        for (sql, expected) in cases {
            let found = self.run(self.query(sql)).await.map_err(|f| f.message);
            assert_eq!(found, Ok((*expected).into()), "{sql}");
        }
        self.settled().await;
    }

    /// All instances are gone, once the tasks that were stopped had their turn.
    pub async fn settled(&self) {
        for _ in 0..1000 {
            if self.sandbox.stats().instances == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(self.sandbox.stats().instances, 0);
    }
}
