//! Functions that give rows, in SQL, with guests written by hand.
#![allow(clippy::panic, reason = "tests")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use sandmill_engine::{Engine, Query, Settings};
use sandmill_functions::Version;
use sandmill_model::{
    ErrorCode, Failure, FunctionPin, Parameter, TableFormat, TableSpec, TenantId,
};
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

struct House {
    _folder: tempfile::TempDir,
    engine: Engine,
    sandbox: Sandbox,
    functions: Vec<Version>,
}

impl House {
    /// `t(a, b)`: 0 to 99 and their remainders by 7; `u(k)`: 0, 1, 1, 9, NULL; `e(k)` is empty.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let lines: String = (0..100).map(|n| format!("{n},{}\n", n % 7)).collect();
        write("t.csv", format!("a,b\n{lines}"));
        write("u.csv", "k,x\n0,1\n1,2\n1,3\n9,4\n,5\n".into());
        write("e.json", "[{\"k\": 1}]".into());
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

    fn query(&self, sql: &str) -> Query {
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
                table("j", "e.json", TableFormat::Json),
            ],
            functions: self.functions.clone(),
            context: Arc::new(Context::default()),
        }
    }

    async fn run(&self, query: Query) -> Result<String, Failure> {
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

    async fn check(&self, cases: &[(&str, &str)]) {
        for (sql, expected) in cases {
            let found = self.run(self.query(sql)).await.map_err(|f| f.message);
            assert_eq!(found, Ok((*expected).into()), "{sql}");
        }
        assert_eq!(self.sandbox.stats().instances, 0);
    }
}

#[tokio::test]
async fn table_functions_stand_in_from() {
    let house = House::new();
    house
        .check(&[
            ("SELECT * FROM times(5, 3)", "5 5 5"),
            ("SELECT y FROM times(5)", "5 5"),
            ("SELECT y FROM times(n => 1, x => 7)", "7"),
            ("SELECT t.z + 1 FROM times(5, 1) AS t(z)", "6"),
            ("SELECT y FROM TABLE(times(5, 1))", "5"),
            ("SELECT y FROM times(same(2) + 1, 1)", "3"),
            ("SELECT count(*) FROM times(1, 0)", "0"),
            ("SELECT count(*) FROM times(NULL, 3)", "0"),
            ("SELECT sum(a) FROM t, LATERAL times(t.a, 2) AS u(c)", "9900"),
            ("SELECT sum(c) FROM t, times(t.a, t.b) AS u(c)", "14787"),
            (
                "SELECT a, b, y FROM t CROSS JOIN LATERAL times(a, b) WHERE a < 3 ORDER BY a, y",
                "1,1,1 2,2,2 2,2,2",
            ),
            (
                "SELECT a, y FROM t LEFT JOIN LATERAL times(a, b) AS u ON true WHERE a IN (0, 1, 7) ORDER BY a",
                "0, 1,1 7,",
            ),
            (
                "SELECT count(*), count(y) FROM t LEFT JOIN LATERAL times(a, nullif(b, 1)) AS u ON true",
                "312,282",
            ),
            (
                "SELECT count(*) FROM t JOIN LATERAL times(a, 2) AS u ON u.y > 90",
                "18",
            ),
            (
                "SELECT sum(w.y) FROM t, times(a, 2) v, times(v.y, 2) w WHERE a < 10",
                "180",
            ),
            (
                "SELECT b, count(*) FROM t, times(same(a), 2) GROUP BY b ORDER BY b LIMIT 2",
                "0,30 1,30",
            ),
            (
                "SELECT count(*) FROM t JOIN times(5, 2) u ON u.y = t.a",
                "2",
            ),
            (
                "WITH w AS (SELECT a FROM t WHERE a < 2) SELECT count(*) FROM w, times(w.a, 3)",
                "6",
            ),
            ("SELECT count(*) FROM t, times(t.a, 2) WHERE t.a > 1000", "0"),
            ("SELECT (SELECT sum(y) FROM times(4, 2))", "8"),
        ])
        .await;
    let mut query = house.query("SELECT y FROM times($x, $n)");
    let parameter = |name: &str, value: i64| Parameter {
        name: name.into(),
        sql_type: None,
        value: value.into(),
    };
    query.params = vec![parameter("x", 8), parameter("n", 2)];
    assert_eq!(
        house.run(query).await.map_err(|f| f.message),
        Ok("8 8".into())
    );
}

#[tokio::test]
async fn maps_take_tables() {
    let house = House::new();
    house
        .check(&[
            ("SELECT sum(y) FROM scaled((SELECT a FROM t), 3)", "14850"),
            ("SELECT sum(y) FROM scaled((SELECT a FROM t))", "9900"),
            (
                "WITH w AS (SELECT b FROM t WHERE a < 7) SELECT y FROM scaled(TABLE(w), 10) ORDER BY y",
                "0 10 20 30 40 50 60",
            ),
            (
                "SELECT m.z FROM scaled(input => (SELECT max(a) FROM t), factor => 2) AS m(z)",
                "198",
            ),
            ("SELECT count(*) FROM scaled((SELECT a FROM t WHERE a < 0))", "0"),
            (
                "SELECT count(*) FROM t JOIN scaled((SELECT a FROM t), 2) s ON s.y = t.a",
                "50",
            ),
            (
                "SELECT sum(y) FROM scaled((SELECT y FROM scaled((SELECT a FROM t), 2)), 2)",
                "19800",
            ),
            (
                "SELECT count(*) FROM scaled((SELECT y FROM t, times(t.a, 2))) WHERE y < 10",
                "10",
            ),
            // Cast as the manifest says.
            ("SELECT y FROM scaled((SELECT CAST(7 AS SMALLINT)))", "14"),
        ])
        .await;
}

#[tokio::test]
async fn grouped_maps_see_whole_groups() {
    let house = House::new();
    house
        .check(&[
            (
                "SELECT k, sum, size FROM total((SELECT b, a FROM t) , partition_by => b) ORDER BY k LIMIT 2",
                "0,735,15 1,750,15",
            ),
            (
                "SELECT k, first FROM total(TABLE((SELECT b, a FROM t)) OVER (PARTITION BY b ORDER BY a DESC)) ORDER BY k LIMIT 3",
                "0,98 1,99 2,93",
            ),
            (
                "SELECT k, first FROM total((SELECT b, a FROM t), partition_by => (b, a > 50), order_by => a) WHERE k = 0 ORDER BY first",
                "0,0 0,56",
            ),
            // Every row is a group of its own; NULL keys form one.
            (
                "SELECT count(*), sum(size) FROM total(TABLE(t) OVER (PARTITION BY a))",
                "100,100",
            ),
            (
                "SELECT size FROM total(TABLE(u) OVER (PARTITION BY k)) ORDER BY size",
                "1 1 1 2",
            ),
            (
                "SELECT count(*), max(size) FROM total((SELECT nullif(b, 3), a FROM t), partition_by => nullif(b, 3))",
                "7,15",
            ),
            // Without keys all rows are one group.
            ("SELECT sum, size FROM total(TABLE(t))", "4950,100"),
            (
                "SELECT count(*) FROM total((SELECT a, b FROM t WHERE a < 0), partition_by => a)",
                "0",
            ),
            (
                "SELECT count(*) FROM total(TABLE(t) OVER (PARTITION BY b)) g JOIN t ON t.a = g.size",
                "7",
            ),
        ])
        .await;
}

#[tokio::test]
async fn cogrouped_maps_pair_groups() {
    let house = House::new();
    house
        .check(&[
            (
                "SELECT l, r FROM sizes((SELECT b FROM t), (SELECT k FROM u), partition_by => CAST(1 AS INT)) ",
                "100,5",
            ),
            (
                "SELECT l, r FROM sizes(TABLE((SELECT b FROM t)) OVER (PARTITION BY b), TABLE((SELECT k FROM u)) OVER (PARTITION BY k)) ORDER BY l, r",
                "0,1 0,1 14,0 14,0 14,0 14,0 14,0 15,1 15,2",
            ),
            (
                "SELECT l, r FROM sizes(right => (SELECT a FROM t), left => (SELECT a FROM t WHERE a > 40))",
                "59,100",
            ),
            (
                "SELECT count(*), sum(l), sum(r) FROM sizes((SELECT a FROM t), (SELECT a FROM t WHERE a > 40), partition_by => a)",
                "100,100,59",
            ),
            // Keys of different types meet.
            (
                "SELECT l, r FROM sizes((SELECT CAST(a AS SMALLINT) AS a FROM t WHERE a < 2), (SELECT a FROM t WHERE a BETWEEN 1 AND 2), partition_by => a) ORDER BY l, r",
                "0,1 1,0 1,1",
            ),
            (
                "SELECT count(*) FROM sizes((SELECT a FROM t WHERE a < 0), (SELECT a FROM t WHERE a < 0), partition_by => a)",
                "0",
            ),
        ])
        .await;
}

#[tokio::test]
async fn limits_stop_streams() {
    let house = House::new();
    house
        .check(&[
            ("SELECT y FROM forever(3) LIMIT 4", "3 3 3 3"),
            ("SELECT a FROM t, forever(a) WHERE a = 5 LIMIT 3", "5 5 5"),
        ])
        .await;
    let query = house.query("SELECT count(*) FROM forever(3)");
    let cancellation = query.context.cancellation.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancellation.cancel();
    });
    let failure = house.run(query).await.expect_err("cancelled");
    assert_eq!(failure.code, ErrorCode::JobCanceled);
    let query = house.query("SELECT count(*) FROM spin((SELECT a FROM t))");
    let cancellation = query.context.cancellation.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancellation.cancel();
    });
    let failure = house.run(query).await.expect_err("cancelled");
    assert_eq!(failure.code, ErrorCode::JobCanceled);
}

#[tokio::test]
async fn wrong_calls_show_the_right_ones() {
    let house = House::new();
    use ErrorCode::{FunctionArguments, FunctionTrap, SqlUnknownTable, SqlUnsupported};
    for (sql, code, words, hint) in [
        (
            "SELECT times(a, 2) FROM t",
            FunctionArguments,
            "stands in FROM",
            "FROM times(x)",
        ),
        (
            "SELECT * FROM same(1)",
            FunctionArguments,
            "cannot stand in FROM",
            "SELECT same(x)",
        ),
        (
            "SELECT sum(total(a)) FROM t",
            FunctionArguments,
            "stands in FROM",
            "OVER (PARTITION BY k)",
        ),
        (
            "SELECT * FROM times()",
            FunctionArguments,
            "takes 2 arguments, 0 given",
            "times(x BIGINT, n BIGINT DEFAULT 2)",
        ),
        (
            "SELECT * FROM times(1, 2, 3)",
            FunctionArguments,
            "at most 2",
            "",
        ),
        (
            "SELECT * FROM times('a', 2)",
            FunctionArguments,
            "argument x of times must be BIGINT",
            "",
        ),
        (
            "SELECT * FROM times(1, m => 2)",
            FunctionArguments,
            "no argument `m`",
            "",
        ),
        (
            "SELECT * FROM times(1, x => 2)",
            FunctionArguments,
            "twice",
            "",
        ),
        (
            "SELECT * FROM scaled(1)",
            FunctionArguments,
            "`1` is none",
            "FROM scaled(TABLE(t))",
        ),
        (
            "SELECT * FROM scaled()",
            FunctionArguments,
            "takes a table",
            "",
        ),
        (
            "SELECT * FROM scaled(TABLE(t))",
            FunctionArguments,
            "takes 1 column of its table, 2 given",
            "TABLE(x BIGINT)",
        ),
        (
            "SELECT * FROM scaled((SELECT 'a'))",
            FunctionArguments,
            "takes BIGINT as column x of its table, not VARCHAR",
            "",
        ),
        (
            "SELECT * FROM t, scaled((SELECT a FROM t), t.a)",
            sandmill_model::ErrorCode::SqlUnknownColumn,
            "",
            "",
        ),
        (
            "SELECT * FROM scaled(TABLE(u) OVER (PARTITION BY k))",
            FunctionArguments,
            "without OVER",
            "",
        ),
        (
            "SELECT * FROM scaled(TABLE(nope))",
            SqlUnknownTable,
            "nope",
            "",
        ),
        (
            "SELECT * FROM total(TABLE(t) OVER (PARTITION BY a ROWS 1 PRECEDING))",
            FunctionArguments,
            "no more",
            "",
        ),
        (
            "SELECT * FROM sizes((SELECT a FROM t))",
            FunctionArguments,
            "two tables",
            "",
        ),
        (
            "SELECT * FROM sizes(TABLE((SELECT a FROM t)) OVER (PARTITION BY a), (SELECT a FROM t))",
            FunctionArguments,
            "1 keys and its right one by 0",
            "",
        ),
        (
            "SELECT * FROM times(1, 2) AS x(a, b)",
            FunctionArguments,
            "names 2",
            "",
        ),
        (
            "SELECT * FROM t LEFT JOIN LATERAL times(a, 2) u ON u.y = 3",
            SqlUnsupported,
            "ON true",
            "",
        ),
        (
            "SELECT (SELECT sum(y) FROM times(t.a, 2)) FROM t",
            SqlUnsupported,
            "refer to rows",
            "FROM t, f(t.a)",
        ),
        (
            "SELECT count(*) FROM breaks((SELECT a FROM t))",
            FunctionTrap,
            "unreachable",
            "",
        ),
    ] {
        let failure = house.run(house.query(sql)).await.expect_err(sql);
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
        assert!(failure.message.contains(words), "{sql}: {failure:?}");
        let given = failure.hint.clone().unwrap_or_default();
        assert!(given.contains(hint), "{sql}: {failure:?}");
        assert_eq!(house.sandbox.stats().instances, 0, "{sql}");
    }
    let failure = house.run(house.query("SELECT a,\n  times(a) FROM t")).await;
    let position = failure.expect_err("misplaced").position;
    assert_eq!(position.map(|p| (p.line, p.column)), Some((2, 3)));
}

#[tokio::test]
async fn plans_say_what_they_do_and_prune_columns() {
    let house = House::new();
    let explain = async |sql: &str| {
        house
            .engine
            .plan(house.query(sql))
            .await
            .expect("plans")
            .explain()
    };
    let plan = explain("SELECT y FROM t, times(t.a, 2) WHERE t.a > 3").await;
    assert!(plan.contains("TableFunctionExec: function=times"), "{plan}");
    assert!(!plan.contains("projection=[a, b]"), "{plan}");
    let filter = plan.find("FilterExec").expect("a filter");
    assert!(
        filter > plan.find("TableFunctionExec").expect("a call"),
        "{plan}"
    );
    let plan = explain("SELECT * FROM total(TABLE(t) OVER (PARTITION BY b))").await;
    assert!(plan.contains("GroupedMapExec: function=total"), "{plan}");
    assert!(plan.contains("Hash("), "{plan}");
    for sql in [
        "EXPLAIN ANALYZE SELECT * FROM times(1, 2)",
        "EXPLAIN ANALYZE SELECT * FROM scaled((SELECT a FROM t))",
        "EXPLAIN ANALYZE SELECT * FROM total(TABLE(t) OVER (PARTITION BY b))",
    ] {
        let text = house.run(house.query(sql)).await.expect(sql);
        assert!(text.contains("function_calls="), "{text}");
    }
    let query = house.query("SELECT sum(y) FROM scaled((SELECT a FROM t))");
    let plan = house.engine.plan(query).await.expect("plans");
    let _: Vec<_> = plan
        .execute()
        .expect("starts")
        .try_collect()
        .await
        .expect("runs");
    assert_eq!(plan.progress().rows_read, 100);
}

#[tokio::test]
async fn deep_calls_are_refused() {
    let house = House::new();
    let deep = (0..600).fold("SELECT 1 AS x".to_owned(), |inner, _| {
        format!("SELECT y FROM scaled(({inner}))")
    });
    let failure = house.run(house.query(&deep)).await.expect_err("too deep");
    assert_eq!(failure.code, ErrorCode::SqlUnsupported, "{failure:?}");
    let chain: Vec<_> = (1..=30)
        .map(|n| {
            let before = n - 1;
            format!(
                "c{n} AS (SELECT y AS x FROM scaled((SELECT p.x FROM c{before} p, c{before} q)))"
            )
        })
        .collect();
    let sql = format!(
        "WITH c0 AS (SELECT 1 AS x), {} SELECT * FROM c30",
        chain.join(", ")
    );
    let failure = house.run(house.query(&sql)).await.expect_err("too large");
    assert_eq!(failure.code, ErrorCode::SqlUnsupported, "{failure:?}");
}
