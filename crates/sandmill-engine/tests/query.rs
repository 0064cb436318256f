//! Queries over real files with a guest written by hand.
#![allow(clippy::panic, reason = "tests")]

use std::path::Path;
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

/// `plus_one(x BIGINT)` fails on negative numbers, `roll()` is volatile, `spin(x)` never returns.
const GUEST: &str = r#"(module
    (import "sandmill" "fail" (func $fail (param i32 i64 i32 i32)))
    (import "sandmill" "random" (func $random (result i64)))
    (memory (export "memory") 64)
    (data (i32.const 64) "negative")
    (func (export "sm_alloc") (param i32 i32) (result i32) (i32.const 1048576))
    (func (export "sm_free") (param i32 i32 i32))
    (func (export "sm_scalar.same") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0))
    (func (export "sm_scalar.numbers") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0))
    (func (export "sm_scalar.points") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0))
    (func (export "sm_scalar.word") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64)) (i32.const 0))
    (func (export "sm_scalar.second") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (memory.copy (local.get $out) (i32.add (local.get $args) (i32.const 64)) (i32.const 64)) (i32.const 0))
    (func (export "sm_scalar.spin") (param i32 i32 i32) (result i32) (loop $l (br $l)) (i32.const 0))
    (func (export "sm_scalar.roll") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (local $n i32)
        (i64.store (local.get $out) (i64.extend_i32_u (local.get $rows)))
        (i64.store (i32.add (local.get $out) (i32.const 24)) (i64.const 2))
        (i32.store (i32.add (local.get $out) (i32.const 40)) (i32.const 1024))
        (i32.store (i32.const 1028) (i32.const 65536))
        (loop $next
            (i64.store (i32.add (i32.const 65536) (i32.shl (local.get $n) (i32.const 3))) (call $random))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (local.get $rows))))
        (i32.const 0))
    (func (export "sm_scalar.plus_one") (param $args i32) (param $rows i32) (param $out i32) (result i32)
        (local $n i32) (local $step i32) (local $value i64)
        (memory.copy (local.get $out) (local.get $args) (i32.const 64))
        (i64.store (local.get $out) (i64.extend_i32_u (local.get $rows)))
        (i32.store (i32.add (local.get $out) (i32.const 40)) (i32.const 1024))
        (i32.store (i32.const 1024) (i32.load (i32.load (i32.add (local.get $args) (i32.const 40)))))
        (i32.store (i32.const 1028) (i32.const 65536))
        (local.set $step (i64.gt_u (i64.load (local.get $args)) (i64.const 1)))
        (loop $next
            (local.set $value (i64.load (i32.add
                (i32.load (i32.add (i32.load (i32.add (local.get $args) (i32.const 40))) (i32.const 4)))
                (i32.shl (i32.mul (local.get $n) (local.get $step)) (i32.const 3)))))
            (if (i64.lt_s (local.get $value) (i64.const 0)) (then
                (call $fail (i32.const -1) (i64.extend_i32_u (local.get $n)) (i32.const 64) (i32.const 8))))
            (i64.store (i32.add (i32.const 65536) (i32.shl (local.get $n) (i32.const 3)))
                (i64.add (local.get $value) (i64.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (local.get $rows))))
        (i32.const 0)))"#;

const MANIFEST: &str = r#"{"package":{"abi":"1.1","name":"test","version":"1"}}
{"function":{"name":"plus_one","kind":"scalar","arguments":[{"name":"x","type":"l"}],"returns":"l","nullable":false}}
{"function":{"name":"spin","kind":"scalar","arguments":[{"name":"x","type":"l"}],"returns":"l"}}
{"function":{"name":"roll","kind":"scalar","arguments":[],"returns":"l","volatility":"volatile"}}
{"function":{"name":"same","kind":"scalar","arguments":[{"name":"x","type":"any"}],"returns":"same:1"}}
{"function":{"name":"numbers","kind":"scalar","arguments":[{"name":"x","type":"+l","children":[{"name":"n","type":"l"}]}],"returns":{"type":"+l","children":[{"name":"n","type":"l"}]}}}
{"function":{"name":"points","kind":"scalar","arguments":[{"name":"p","type":"+s","children":[{"name":"x","type":"g","nullable":false},{"name":"y","type":"g"}]}],"returns":{"type":"+s","children":[{"name":"x","type":"g","nullable":false},{"name":"y","type":"g"}]}}}
{"function":{"name":"word","kind":"scalar","arguments":[{"name":"x","type":"i","dictionary":"u"}],"returns":{"type":"i","dictionary":"u"}}}
{"function":{"name":"second","kind":"scalar","strict":false,"arguments":[{"name":"a","type":"any"},{"name":"b","type":"same:1","default":"2"}],"returns":"same:1"}}"#;

struct House {
    folder: tempfile::TempDir,
    engine: Engine,
    functions: Vec<Version>,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let lines: String = (0..100)
            .map(|n| format!("{n},{},name{n}\n", n % 7))
            .collect();
        std::fs::write(folder.path().join("t.csv"), format!("a,b,c\n{lines}")).expect("written");
        std::fs::write(
            folder.path().join("j.json"),
            "[{\"x\": 1}, {\"x\": -2}, {\"x\": null}]",
        )
        .expect("written");
        std::fs::write(folder.path().join("l.ndjson"), "{\"x\": 1}\n{\"x\": 2}\n")
            .expect("written");
        let settings = Settings {
            allowed_roots: vec![folder.path().into()],
            target_partitions: 4,
            batch_size: 16,
            ..Settings::default()
        };
        let engine = Engine::new(settings).expect("opens");
        let escaped: String = MANIFEST.bytes().map(|b| format!("\\{b:02x}")).collect();
        let text = format!(
            "{} (@custom \"sandmill.manifest\" \"{escaped}\"))",
            &GUEST[..GUEST.len() - 1]
        );
        let wasm = wat::parse_str(text).expect("parses");
        let settings = sandmill_sandbox::Settings {
            instances: 32,
            ..Default::default()
        };
        let module = Sandbox::new(settings)
            .expect("starts")
            .load(&TenantId::single(), &wasm)
            .expect("loads");
        let functions = module
            .manifest()
            .functions
            .iter()
            .enumerate()
            .map(|(index, function)| Version {
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
            folder,
            engine,
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
                table("j", "j.json", TableFormat::Json),
                table("l", "l.ndjson", TableFormat::Json),
            ],
            functions: self.functions.clone(),
            context: Arc::new(Context::default()),
        }
    }

    async fn run(&self, query: Query) -> Result<String, Failure> {
        let plan = self.engine.plan(query).await?;
        let stream = plan.execute()?;
        let batches: Vec<_> = stream.try_collect().await.map_err(|e| plan.failure(&e))?;
        let text = pretty_format_batches(&batches).expect("prints").to_string();
        let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = rows.map(|row| {
            row.split('|')
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .collect::<Vec<_>>()
                .join(",")
        });
        Ok(cells.collect::<Vec<_>>().join(" "))
    }

    async fn sql(&self, sql: &str) -> Result<String, Failure> {
        self.run(self.query(sql)).await
    }
}

#[tokio::test]
async fn functions_work_wherever_sql_has_expressions() {
    let house = House::new();
    for (sql, expected) in [
        ("SELECT plus_one(1)", "2"),
        ("SELECT plus_one(NULL) IS NULL", "true"),
        ("SELECT sum(plus_one(a)) FROM t", "5050"),
        ("SELECT count(*) FROM t WHERE plus_one(a) > 90", "10"),
        (
            "SELECT plus_one(b) AS g, count(*) FROM t GROUP BY plus_one(b) ORDER BY g LIMIT 2",
            "1,15 2,15",
        ),
        (
            "SELECT b FROM t GROUP BY b HAVING plus_one(max(a)) = 100 ORDER BY plus_one(b)",
            "1",
        ),
        (
            "SELECT count(*) FROM t x JOIN t y ON plus_one(x.a) = y.a",
            "99",
        ),
        (
            "SELECT count(*) FROM t x JOIN t y ON x.a = y.a AND plus_one(x.a + y.b) > 100",
            "3",
        ),
        (
            "SELECT max(CASE WHEN a >= 0 THEN plus_one(a) ELSE plus_one(-1) END) FROM t",
            "100",
        ),
        (
            "SELECT max(s) FROM (SELECT sum(plus_one(a)) OVER (ORDER BY a) AS s FROM t)",
            "5050",
        ),
        (
            "SELECT plus_one(a) FROM t ORDER BY plus_one(a) DESC LIMIT 1",
            "100",
        ),
        (
            "SELECT count(DISTINCT r) FROM (SELECT roll() AS r FROM t)",
            "100",
        ),
        ("SELECT x FROM l WHERE plus_one(x) = 2", "1"),
        ("SELECT count(*) FROM j", "3"),
    ] {
        assert_eq!(
            house.sql(sql).await.map_err(|f| f.message),
            Ok(expected.into()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn only_immutable_constants_are_computed_while_planning() {
    let house = House::new();
    let explain = async |sql: &str| {
        house
            .engine
            .plan(house.query(sql))
            .await
            .expect("plans")
            .explain()
    };
    let folded = explain("SELECT plus_one(41) FROM t").await;
    assert!(folded.contains("42 as plus_one("), "{folded}");
    assert!(explain("SELECT roll() FROM t").await.contains("roll()"));
    let plan = explain("SELECT CASE WHEN a < 0 THEN plus_one(-1) ELSE a END FROM t").await;
    assert!(plan.contains("plus_one(-1)"), "{plan}");
    assert!(plan.contains("SandboxExec"), "{plan}");
    let analyzed = house
        .sql("EXPLAIN ANALYZE SELECT plus_one(a) FROM t")
        .await
        .expect("runs");
    assert!(analyzed.contains("function_calls="), "{analyzed}");
}

#[tokio::test]
async fn errors_are_typed_and_say_where() {
    let house = House::new();
    for (sql, code, words) in [
        (
            "SELECT plus_one(a - 50) FROM t",
            ErrorCode::FunctionError,
            "plus_one (version 3): negative",
        ),
        (
            "SELECT plus_one(a, a) FROM t",
            ErrorCode::FunctionArguments,
            "plus_one takes 1 argument, 2 given",
        ),
        (
            "SELECT plus_one(c) FROM t",
            ErrorCode::FunctionArguments,
            "argument x of plus_one must be BIGINT, not VARCHAR",
        ),
        ("SELECT roll(1)", ErrorCode::SqlType, "roll"),
        ("SELEC 1", ErrorCode::SqlSyntax, "SELEC"),
        (
            "SELECT 1; SELECT 2",
            ErrorCode::SqlForbidden,
            "one statement",
        ),
        (
            "SELECT d FROM t",
            ErrorCode::SqlUnknownColumn,
            "no column `d`",
        ),
        (
            "SELECT * FROM tt",
            ErrorCode::SqlUnknownTable,
            "no table `tt`",
        ),
        (
            "SELECT plus_two(1)",
            ErrorCode::SqlUnknownFunction,
            "no function `plus_two`",
        ),
        ("CREATE TABLE x AS SELECT 1", ErrorCode::SqlForbidden, "DDL"),
        ("COPY t TO '/tmp/x.csv'", ErrorCode::SqlForbidden, "DML"),
        (
            "INSERT INTO t VALUES (1, 2, 'x')",
            ErrorCode::SqlForbidden,
            "DML",
        ),
        (
            "SET datafusion.execution.batch_size = 1",
            ErrorCode::SqlForbidden,
            "Statement",
        ),
        (
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            ErrorCode::SqlForbidden,
            "DDL",
        ),
        (
            "SELECT * FROM '/etc/passwd'",
            ErrorCode::SqlUnknownTable,
            "no table",
        ),
        ("SELECT a / 0 FROM t", ErrorCode::SqlExecution, "zero"),
        (
            "SELECT CAST(c AS INT) FROM t",
            ErrorCode::SqlExecution,
            "name0",
        ),
        ("SELECT $x", ErrorCode::ParamInvalid, "`$x`"),
    ] {
        let failure = house.sql(sql).await.expect_err(sql);
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
        assert!(failure.message.contains(words), "{sql}: {failure:?}");
        assert!(!failure.message.contains("Error"), "{sql}: {failure:?}");
    }
    let failure = house
        .sql("SELECT a,\n  nope FROM t")
        .await
        .expect_err("unknown");
    assert_eq!(
        failure.position.map(|p| (p.line, p.column)),
        Some((2, 3)),
        "{failure:?}"
    );
    for (sql, line, column) in [("SELECT a\nFRM t", 2, 5), ("SELECT a,\n  (b", 2, 5)] {
        let failure = house.sql(sql).await.expect_err("syntax");
        let found = failure.position.map(|p| (p.line, p.column));
        assert_eq!(found, Some((line, column)), "{failure:?}");
    }
}

/// A statement that a user would write runs; one made to exhaust the planner, its stack or its
/// memory, is refused within a moment. The threads are those of the server.
#[test]
fn no_statement_exhausts_the_planner() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .expect("starts");
    let chain = |levels: usize, step: &str, end: &str| {
        let steps: Vec<_> = (1..=levels)
            .map(|n| format!("c{n} AS ({})", step.replace('@', &format!("c{}", n - 1))))
            .collect();
        let steps = steps.join(", ");
        format!("WITH c0 AS (SELECT a AS x FROM t), {steps} SELECT count(*) FROM c{levels} {end}")
    };
    let house = Arc::new(House::new());
    let run = |sql: String| {
        let house = Arc::clone(&house);
        runtime.block_on(async move { tokio::spawn(async move { house.sql(&sql).await }).await })
    };
    for fine in [
        format!("SELECT a{} FROM t", " + 1".repeat(400)),
        format!("SELECT a FROM t WHERE a = 0{}", " OR a = 1".repeat(400)),
        chain(60, "SELECT x + 1 AS x FROM @", "WHERE x > 1"),
        chain(8, "SELECT x + x AS x FROM @", "WHERE x > 1"),
    ] {
        let answer = run(fine.clone()).expect("no panic");
        assert!(answer.is_ok(), "{fine:.80}: {answer:?}");
    }
    for refused in [
        format!("SELECT a{} FROM t", " + 1".repeat(20_000)),
        format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000)),
        chain(40, "SELECT p.x FROM @ p, @ q", ""),
        chain(40, "SELECT x + x AS x FROM @", "WHERE x > 1"),
        chain(40, "SELECT x + x AS x FROM @", "p JOIN t ON p.x = t.a"),
        chain(2000, "SELECT x + 1 AS x FROM @", ""),
    ] {
        let failure = run(refused.clone())
            .expect("no panic")
            .expect_err("refused");
        assert_eq!(
            failure.code,
            ErrorCode::SqlUnsupported,
            "{refused:.80}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn parameters_have_types() {
    let house = House::new();
    let with = |sql: &str, name: &str, ty: Option<&str>, value: serde_json::Value| {
        let mut query = house.query(sql);
        query.params = vec![Parameter {
            name: name.into(),
            sql_type: ty.map(Into::into),
            value,
        }];
        query
    };
    let run = async |query| house.run(query).await.map_err(|f| f.code);
    assert_eq!(
        run(with("SELECT plus_one($x)", "x", None, 4.into())).await,
        Ok("5".into())
    );
    assert_eq!(
        run(with("SELECT $1 + 1", "1", Some("BIGINT"), "4".into())).await,
        Ok("5".into())
    );
    assert_eq!(
        run(with(
            "SELECT $d + INTERVAL '1 day'",
            "d",
            Some("DATE"),
            "2026-01-31".into()
        ))
        .await,
        Ok("2026-02-01".into())
    );
    assert_eq!(
        run(with("SELECT $x", "x", Some("DATE"), "soon".into())).await,
        Err(ErrorCode::ParamInvalid)
    );
    assert_eq!(
        run(with("SELECT $x", "x", Some("NOPE(1"), 1.into())).await,
        Err(ErrorCode::ParamInvalid)
    );
    assert_eq!(
        run(with("SELECT $x", "y", None, 1.into())).await,
        Err(ErrorCode::ParamInvalid)
    );
}

#[tokio::test]
async fn paths_stay_below_the_roots() {
    let house = House::new();
    let root = house.folder.path();
    std::os::unix::fs::symlink("/etc/passwd", root.join("link.csv")).expect("linked");
    std::fs::create_dir(root.join("many")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", root.join("many/link.csv")).expect("linked");
    std::fs::create_dir_all(root.join("deep/inner")).expect("made");
    std::fs::write(root.join("deep/a.csv"), "a\n1\n").expect("written");
    std::os::unix::fs::symlink("/etc", root.join("deep/inner/etc")).expect("linked");
    let look = async |path: &str, format| {
        let spec = TableSpec {
            name: "x".into(),
            path: path.into(),
            format,
        };
        house
            .engine
            .describe_table(&spec)
            .await
            .map(|d| d.columns.len())
            .map_err(|f| f.code)
    };
    let absolute = root.join("t.csv");
    assert_eq!(look("t.csv", TableFormat::Csv).await, Ok(3));
    assert_eq!(
        look(absolute.to_str().expect("text"), TableFormat::Csv).await,
        Ok(3)
    );
    for (path, code) in [
        ("/etc/passwd", ErrorCode::TablePath),
        ("../etc/passwd", ErrorCode::TablePath),
        ("/nowhere/at/all.csv", ErrorCode::TablePath),
        ("link.csv", ErrorCode::TablePath),
        ("many", ErrorCode::TablePath),
        ("deep", ErrorCode::TablePath),
        ("", ErrorCode::TablePath),
        ("missing.csv", ErrorCode::TableMissing),
    ] {
        assert_eq!(look(path, TableFormat::Csv).await, Err(code), "{path}");
    }
    assert_eq!(
        look("t.csv", TableFormat::Parquet).await,
        Err(ErrorCode::TableFormat)
    );
    assert!(Path::new("/etc/passwd").exists());
}

#[tokio::test]
async fn folders_are_tables_with_all_that_lies_below() {
    let house = House::new();
    let folder = house.folder.path().join("parts/deep");
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("1.json"), "[{\"x\": 1}, {\"x\": 2}]").expect("written");
    std::fs::write(folder.join("../2.json"), "[{\"x\": 3}]").expect("written");
    let ask = async || {
        let mut query = house.query("SELECT sum(x) FROM p");
        query.tables = vec![TableSpec {
            name: "p".into(),
            path: "parts".into(),
            format: TableFormat::Json,
        }];
        house.run(query).await
    };
    assert_eq!(ask().await.expect("reads"), "6");
    std::fs::write(folder.join("3.ndjson"), "{\"x\": 4}").expect("written");
    let failure = ask().await.expect_err("two endings");
    assert_eq!(failure.code, ErrorCode::TableFormat, "{failure:?}");
    assert!(failure.message.contains(".ndjson files"), "{failure:?}");
}

#[tokio::test]
async fn tables_are_listed_even_when_one_is_gone() {
    let house = House::new();
    std::fs::remove_file(house.folder.path().join("j.json")).expect("removed");
    let listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
    let names = house.sql(&format!("{listed} ORDER BY 1")).await;
    assert_eq!(names.expect("lists"), "l t");
    assert!(
        house
            .sql("SHOW TABLES")
            .await
            .expect("lists")
            .contains("public,t")
    );
}

#[tokio::test]
async fn cancellation_stops_a_guest_in_the_middle_of_a_query() {
    let house = House::new();
    let query = house.query("SELECT spin(a) FROM t");
    let cancellation = query.context.cancellation.clone();
    let run = house.run(query);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        cancellation.cancel();
    });
    assert_eq!(
        run.await.expect_err("cancelled").code,
        ErrorCode::JobCanceled
    );
}

#[tokio::test]
async fn values_of_every_type_cross_as_sql_writes_them() {
    let house = House::new();
    // Columns, so that nothing is folded: `a` is 0, 1, 2, ….
    for (call, expected) in [
        ("numbers([a, 2])", "[0, 2]"),
        ("numbers([CAST(a AS INT), NULL])", "[0, ]"),
        ("numbers(NULL)", ""),
        ("points(named_struct('x', a, 'y', 2))", "{x: 0.0, y: 2.0}"),
        ("points(named_struct('y', a, 'x', 2))", "{x: 2.0, y: 0.0}"),
        ("points(struct(a, 1.5))", "{x: 0.0, y: 1.5}"),
        ("word(c)", "name0"),
        ("word('x')", "x"),
        ("same(c)", "name0"),
        ("same([[a], []])", "[[0], []]"),
        ("same(named_struct('k', [a], 'l', c))", "{k: [0], l: name0}"),
        ("same(map([c], [a]))", "{name0: 0}"),
        (
            "same(arrow_cast(c, 'Dictionary(Int8, LargeUtf8)'))",
            "name0",
        ),
        ("same(arrow_cast(a, 'Decimal256(50, 3)'))", "0.000"),
        ("same(arrow_cast(a, 'Time64(Nanosecond)'))", "00:00:00"),
        ("same(CASE WHEN a = 0 THEN INTERVAL '1 day' END)", "1 days"),
        ("same(NULL)", ""),
        ("second(a)", "2"),
        ("second(a => a, b => 2.5)", "2.5"),
        ("second(b => c, a => 'x')", "name0"),
    ] {
        let sql = format!("SELECT {call} AS v FROM t WHERE a = 0");
        let text = house.sql(&sql).await;
        let text = text.unwrap_or_else(|f| panic!("{call}: {} {:?}", f.message, f.hint));
        assert_eq!(text, expected, "{call}");
    }
    for (call, expected) in [
        ("numbers(['x'])", "must be BIGINT[]"),
        ("numbers(1)", "must be BIGINT[]"),
        ("points(named_struct('x', 1))", "must be STRUCT"),
        ("points(named_struct('x', NULL, 'y', 1))", "`x` is NULL"),
        ("second(c => 1)", "no argument `c`"),
        ("second(b => 1)", "lacks its argument `a`"),
    ] {
        let failure = house
            .sql(&format!("SELECT {call} FROM t"))
            .await
            .expect_err(call);
        assert_eq!(
            failure.code,
            ErrorCode::FunctionArguments,
            "{call}: {}",
            failure.message
        );
        assert!(
            failure.message.contains(expected),
            "{call}: {}",
            failure.message
        );
    }
}

#[test]
fn a_join_that_multiplies_pauses() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("starts");
        let patience = Duration::from_millis(50);
        // The only thread is asked for its attention while the query has it.
        let waited = runtime.block_on(async {
            let house = House::new();
            let run = house.sql(
                "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
            );
            tokio::time::timeout(patience, run).await
        });
        let _ = done.send(waited.is_err());
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(true));
}
