//! Aggregates and window functions written by hand, in SQL over real files.
#![allow(clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use sandmill_engine::{Engine, Query, Settings};
use sandmill_functions::Version;
use sandmill_model::{ErrorCode, Failure, FunctionPin, TableFormat, TableSpec, TenantId};
use sandmill_sandbox::{Context, Sandbox};

const AGGREGATES: &str = include_str!("../../sandmill-sandbox/testing/aggregates.wat");
const WINDOWS: &str = include_str!("../../sandmill-sandbox/testing/windows.wat");

struct House {
    _folder: tempfile::TempDir,
    engine: Engine,
    sandbox: Sandbox,
    functions: Vec<Version>,
}

struct Limits {
    rows: usize,
    keys: usize,
    partitions: usize,
    memory: usize,
    instances: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 0,
            keys: 1,
            partitions: 4,
            memory: 64 << 20,
            instances: 32,
        }
    }
}

fn module(text: &str, lines: &[String]) -> Vec<u8> {
    let package = r#"{"package":{"abi":"1.1","name":"test","version":"1"}}"#;
    let manifest = format!("{package}\n{}", lines.join("\n"));
    let escaped: String = manifest.bytes().map(|b| format!("\\{b:02x}")).collect();
    let text = format!("(module {text} (@custom \"sandmill.manifest\" \"{escaped}\"))");
    wat::parse_str(text).expect("parses")
}

fn aggregates() -> Vec<u8> {
    let line = |name: &str, extra: &str| {
        format!(
            r#"{{"function":{{"name":"{name}","kind":"aggregate","arguments":[{{"name":"x","type":"l"}}],"returns":"l","state":[{{"name":"value","type":"l","nullable":false}},{{"name":"count","type":"l","nullable":false}}]{extra}}}}}"#
        )
    };
    let lines = [
        line("total", r#","retract":true"#),
        line("plain", ""),
        line("digits", ""),
        line("small", r#","state_bytes":4096"#),
        line("modest", r#","state_bytes":262144"#),
        line("spin", ""),
    ];
    let more = r#"(export "@.small") (export "@.modest")"#;
    let mut text = AGGREGATES.replace(".plain\")", &format!(".plain\") {more}"));
    // The same functions under one name more.
    for export in [
        "new", "update", "merge", "state", "finish", "drop", "size", "close",
    ] {
        let from = format!("(export \"sm_agg_{export}.plain\") {more}");
        let to = from.replace('@', &format!("sm_agg_{export}"));
        assert!(text.contains(&from), "{export}");
        text = text.replace(&from, &to);
    }
    let spin = r#"
        (func (export "sm_agg_new.spin") (result i32) (i32.const 1))
        (func (export "sm_agg_update.spin") (param i32 i32 i32 i32 i32) (result i32) (loop $l (br $l)) (i32.const 0))
        (func (export "sm_agg_merge.spin") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "sm_agg_state.spin") (param i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "sm_agg_finish.spin") (param i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "sm_agg_drop.spin") (param i32 i32) (result i32) (i32.const 0))
        (func (export "sm_agg_size.spin") (param i32) (result i64) (i64.const 0))
        (func (export "sm_agg_close.spin") (param i32) (loop $l (br $l)))"#;
    module(&format!("{text}{spin}"), &lines)
}

fn windows() -> Vec<u8> {
    let line = |name: &str, extra: &str| {
        format!(
            r#"{{"function":{{"name":"{name}","kind":"window","arguments":[{{"name":"x","type":"l"}}],"returns":"l"{extra}}}}}"#
        )
    };
    module(
        WINDOWS,
        &[line("back", ""), line("span", r#","frame":true"#)],
    )
}

impl House {
    fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let lines: String = (0..100).map(|n| format!("{n},{}\n", n % 7)).collect();
        std::fs::write(folder.path().join("t.csv"), format!("a,b\n{lines}")).expect("written");
        // Keys in an order that is not theirs.
        let key = |n: usize| (n * 7919) % limits.keys;
        let lines: String = (0..limits.rows)
            .map(|n| format!("{},{n}\n", key(n)))
            .collect();
        std::fs::write(folder.path().join("big.csv"), format!("k,v\n{lines}")).expect("written");
        let settings = Settings {
            allowed_roots: vec![folder.path().into()],
            target_partitions: limits.partitions,
            batch_size: if limits.rows > 0 { 1024 } else { 16 },
            ..Settings::default()
        };
        let engine = Engine::new(settings).expect("opens");
        let sandbox = Sandbox::new(sandmill_sandbox::Settings {
            instances: limits.instances,
            memory_bytes: limits.memory,
            ..Default::default()
        })
        .expect("starts");
        let mut functions = Vec::new();
        for wasm in [aggregates(), windows()] {
            if limits.memory < 4 << 20 && !functions.is_empty() {
                break;
            }
            let module = sandbox.load(&TenantId::single(), &wasm).expect("loads");
            for (index, function) in module.manifest().functions.iter().enumerate() {
                functions.push(Version {
                    pin: FunctionPin {
                        name: function.name.clone(),
                        version: 3,
                        digest: module.digest(),
                    },
                    module: module.clone(),
                    index,
                });
            }
        }
        Self {
            _folder: folder,
            engine,
            sandbox,
            functions,
        }
    }

    fn query(&self, sql: &str) -> Query {
        let table = |name: &str| TableSpec {
            name: name.into(),
            path: format!("{name}.csv"),
            format: TableFormat::Csv,
        };
        Query {
            sql: sql.into(),
            params: vec![],
            tables: vec![table("t"), table("big")],
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

    /// Tasks of other partitions end a moment after the query failed.
    async fn is_quiet(&self) -> bool {
        for _ in 0..10_000 {
            if self.sandbox.stats().instances == 0 {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    async fn check(&self, cases: &[(&str, &str)]) {
        for (sql, expected) in cases {
            let found = self.sql(sql).await.map_err(|f| f.message);
            assert_eq!(found, Ok((*expected).to_owned()), "{sql}");
            assert_eq!(self.sandbox.stats().instances, 0, "{sql}");
        }
    }
}

#[tokio::test]
async fn aggregates_work_wherever_sql_has_them() {
    let cases = [
        ("SELECT total(a) FROM t", "4950"),
        (
            "SELECT total(a), plain(b), total(a) + 1 FROM t",
            "4950,295,4951",
        ),
        ("SELECT total(a) IS NULL FROM t WHERE a < 0", "true"),
        ("SELECT total(NULLIF(a, 5)) FROM t", "4945"),
        ("SELECT total(CAST(NULL AS BIGINT)) IS NULL FROM t", "true"),
        ("SELECT total(3) FROM t", "300"),
        (
            "SELECT b, total(3) FROM t GROUP BY b ORDER BY b LIMIT 2",
            "0,45 1,45",
        ),
        (
            "SELECT b, total(a), sum(a) FROM t GROUP BY b ORDER BY b LIMIT 2",
            "0,735,735 1,750,750",
        ),
        (
            "SELECT count(*) FROM (SELECT a / 2 AS k, total(a) AS x, sum(a) AS y FROM t GROUP BY a / 2) WHERE x = y",
            "50",
        ),
        ("SELECT total(a) FILTER (WHERE a > 97) FROM t", "197"),
        (
            "SELECT b, total(a) FILTER (WHERE b = 1 AND a < 10) AS s FROM t GROUP BY b HAVING b < 3 ORDER BY b",
            "0 1,9 2",
        ),
        (
            "SELECT b FROM t GROUP BY b HAVING total(a) > 748 ORDER BY b",
            "1",
        ),
        ("SELECT total(DISTINCT b) FROM t", "21"),
        (
            "SELECT total(DISTINCT b), total(b), count(*) FROM t",
            "21,295,100",
        ),
        (
            "SELECT a % 2 AS p, total(DISTINCT b), plain(a), count(*) FROM t GROUP BY a % 2 ORDER BY p",
            "0,21,2450,50 1,21,2500,50",
        ),
        ("SELECT digits(b ORDER BY a) FROM t WHERE a < 7", "123456"),
        (
            "SELECT digits(b ORDER BY a DESC) FROM t WHERE a < 7",
            "6543210",
        ),
        (
            "SELECT a % 2 AS p, digits(b ORDER BY a DESC), digits(b ORDER BY a) FROM t WHERE a < 7 GROUP BY a % 2 ORDER BY p",
            "0,6420,246 1,531,135",
        ),
        (
            "SELECT digits(DISTINCT b ORDER BY b DESC) FROM t",
            "6543210",
        ),
        (
            "SELECT b, total(a) FROM t WHERE b < 2 GROUP BY ROLLUP(b) ORDER BY b NULLS LAST",
            "0,735 1,750 1485",
        ),
        (
            "SELECT max(x.a) FROM t x WHERE x.a < (SELECT total(y.b) FROM t y WHERE y.b = x.b)",
            "83",
        ),
        (
            "SELECT count(*) FROM t x WHERE (SELECT total(y.b) FROM t y WHERE y.b = x.a) IS NULL",
            "93",
        ),
    ];
    for partitions in [4, 1] {
        let house = House::new(Limits {
            partitions,
            ..Limits::default()
        });
        house.check(&cases).await;
    }
}

#[tokio::test]
async fn aggregates_and_window_functions_work_over_windows() {
    let house = House::new(Limits::default());
    let same = |frame: &str, arguments: &str| {
        format!(
            "SELECT count(*) FROM (SELECT sum{arguments} OVER w AS s, total{arguments} OVER w AS t, \
             plain{arguments} OVER w AS p FROM t WINDOW w AS (PARTITION BY b {frame})) \
             WHERE (s IS NOT DISTINCT FROM t) AND (s IS NOT DISTINCT FROM p)"
        )
    };
    for frame in [
        "",
        "ORDER BY a",
        "ORDER BY a ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
        "ORDER BY a ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING",
        "ORDER BY a ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING",
        "ORDER BY a ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "ORDER BY a RANGE BETWEEN 10 PRECEDING AND CURRENT ROW",
    ] {
        for arguments in ["(a)", "(NULLIF(a, 8))", "(a) FILTER (WHERE a % 4 = 0)"] {
            let sql = same(frame, arguments);
            let found = house.sql(&sql).await.map_err(|f| f.message);
            assert_eq!(found, Ok("100".into()), "{sql}");
        }
    }
    house
        .check(&[
            (
                "SELECT a, total(DISTINCT b) OVER (ORDER BY a ROWS BETWEEN 7 PRECEDING AND CURRENT ROW) AS s \
                 FROM t ORDER BY a DESC LIMIT 2",
                "99,21 98,21",
            ),
            (
                "SELECT a, back(a) OVER (PARTITION BY b ORDER BY a) FROM t WHERE b = 0 ORDER BY a LIMIT 3",
                "0,98 7,91 14,84",
            ),
            (
                "SELECT count(*) FROM (SELECT a, back(a) OVER (ORDER BY a DESC) AS r FROM t) WHERE a + r = 99",
                "100",
            ),
            (
                "SELECT a, span(a) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t ORDER BY a LIMIT 3",
                "0,2 1,3 2,3",
            ),
            (
                "SELECT count(*) FROM (SELECT span(a) OVER (PARTITION BY b ORDER BY a \
                 ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) AS s FROM t) WHERE s IS NULL",
                "14",
            ),
            (
                "SELECT a, digits(b) OVER (ORDER BY a ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM t ORDER BY a LIMIT 4",
                "0,0 1,1 2,12 3,123",
            ),
        ])
        .await;
}

#[tokio::test]
async fn plans_have_two_phases_and_show_what_was_spent() {
    let house = House::new(Limits::default());
    let sql = "SELECT b, total(a) FROM t GROUP BY b";
    let plan = house.engine.plan(house.query(sql)).await.expect("plans");
    let plan = plan.explain();
    for part in ["mode=Partial", "mode=FinalPartitioned", "SandboxExec"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(plan.matches("SandboxExec").count(), 2, "{plan}");
    for sql in [
        sql,
        "SELECT total(a) FROM t",
        "SELECT total(a) OVER (PARTITION BY b) FROM t",
        "SELECT back(a) OVER (PARTITION BY b ORDER BY a) FROM t",
    ] {
        let text = house
            .sql(&format!("EXPLAIN ANALYZE {sql}"))
            .await
            .expect("runs");
        assert!(text.contains("function_calls="), "{text}");
        assert!(text.contains("function_rows=100"), "{text}");
    }
    assert_eq!(house.sandbox.stats().instances, 0);
}

/// Rows whose groups took part in both sums and agree.
const SAME: &str = "SELECT count(*), sum(n) FROM (SELECT k, total(v) AS x, sum(v) AS y, count(*) AS n FROM big GROUP BY k) WHERE x = y";

#[tokio::test]
async fn groups_that_the_guest_cannot_hold_are_spilled() {
    for partitions in [1, 2] {
        let house = House::new(Limits {
            rows: 120_000,
            keys: 60_000,
            partitions,
            memory: 1 << 20,
            ..Limits::default()
        });
        let found = house.sql(SAME).await.map_err(|f| f.message);
        assert_eq!(found, Ok("60000,120000".into()), "{partitions} partitions");
        let text = house
            .sql("EXPLAIN ANALYZE SELECT k, total(v) FROM big GROUP BY k")
            .await
            .expect("runs");
        let spilled = text
            .split("spill_count=")
            .skip(1)
            .any(|rest| !rest.starts_with('0'));
        assert!(spilled, "{partitions}: {text}");
        assert_eq!(house.sandbox.stats().instances, 0);
    }
}

#[tokio::test]
async fn states_are_spilled_before_their_limit() {
    let house = House::new(Limits {
        rows: 60_000,
        keys: 40_000,
        partitions: 1,
        ..Limits::default()
    });
    let found = house.sql(&SAME.replace("total", "modest")).await;
    assert_eq!(found.map_err(|f| f.message), Ok("40000,60000".into()));
}

#[tokio::test]
async fn sorted_input_needs_memory_for_a_few_groups_only() {
    let house = House::new(Limits {
        rows: 120_000,
        keys: 60_000,
        partitions: 1,
        memory: 1 << 20,
        ..Limits::default()
    });
    let sql = SAME.replace(
        "FROM big",
        "FROM (SELECT * FROM big ORDER BY k LIMIT 120000)",
    );
    let plan = house.engine.plan(house.query(&sql)).await.expect("plans");
    let plan = plan.explain();
    assert!(plan.contains("ordering_mode=Sorted"), "{plan}");
    assert_eq!(
        house.sql(&sql).await.map_err(|f| f.message),
        Ok("60000,120000".into())
    );
}

#[tokio::test]
async fn rows_become_states_where_grouping_does_not_pay() {
    let house = House::new(Limits {
        rows: 260_000,
        keys: 260_000,
        partitions: 2,
        ..Limits::default()
    });
    assert_eq!(
        house.sql(SAME).await.map_err(|f| f.message),
        Ok("260000,260000".into())
    );
    let text = house
        .sql("EXPLAIN ANALYZE SELECT k, total(v) FILTER (WHERE v % 2 = 0) FROM big GROUP BY k")
        .await
        .expect("runs");
    let skipped = text
        .split("skipped_aggregation_rows=")
        .skip(1)
        .any(|rest| !rest.starts_with('0'));
    assert!(skipped, "{text}");
    assert_eq!(
        house
            .sql(
                "SELECT count(x), sum(x) FROM (SELECT k, total(v) FILTER (WHERE v % 2 = 0) AS x FROM big GROUP BY k)"
            )
            .await
            .map_err(|f| f.message),
        Ok("130000,16899870000".into())
    );
}

#[tokio::test]
async fn ten_thousand_window_partitions_share_an_instance() {
    let house = House::new(Limits {
        rows: 20_000,
        keys: 10_000,
        partitions: 2,
        instances: 2,
        ..Limits::default()
    });
    house
        .check(&[
            (
                "SELECT count(*), sum(x) FROM (SELECT total(v) OVER (PARTITION BY k) AS x FROM big)",
                "20000,399980000",
            ),
            (
                "SELECT count(*) FROM (SELECT plain(v) OVER (PARTITION BY k ORDER BY v \
                 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS x, v FROM big) WHERE x >= v",
                "20000",
            ),
            (
                "SELECT count(*), sum(x) FROM (SELECT back(v) OVER (PARTITION BY k ORDER BY v) AS x FROM big)",
                "20000,199990000",
            ),
        ])
        .await;
}

#[tokio::test]
async fn errors_of_aggregates_are_typed() {
    let house = House::new(Limits {
        rows: 1000,
        keys: 1000,
        ..Limits::default()
    });
    for (sql, code, words) in [
        (
            "SELECT total(a - 700) FROM t",
            ErrorCode::FunctionError,
            "total (version 3): beast!",
        ),
        (
            "SELECT b, total(a - 700) FROM t GROUP BY b",
            ErrorCode::FunctionError,
            "beast!",
        ),
        (
            "SELECT total(a - 700) OVER (ORDER BY a ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM t",
            ErrorCode::FunctionError,
            "beast!",
        ),
        (
            "SELECT small(v) FROM (SELECT v, k FROM big) GROUP BY k",
            ErrorCode::FunctionMemory,
            "small (version 3): the states of its groups take",
        ),
        (
            "SELECT total('x') FROM t",
            ErrorCode::FunctionArguments,
            "argument x of total must be BIGINT, not VARCHAR",
        ),
        (
            "SELECT back(a) IGNORE NULLS OVER () FROM t",
            ErrorCode::SqlInvalid,
            "IGNORE NULLS",
        ),
        (
            "SELECT back(a, a) OVER () FROM t",
            ErrorCode::FunctionArguments,
            "back takes 1 argument, 2 given",
        ),
    ] {
        let failure = house.sql(sql).await.expect_err(sql);
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
        assert!(failure.message.contains(words), "{sql}: {failure:?}");
        assert!(house.is_quiet().await, "{sql}");
    }
    assert_eq!(house.sql("SELECT total(a) FROM t").await, Ok("4950".into()));
}

#[tokio::test]
async fn cancellation_stops_an_aggregate() {
    let house = House::new(Limits::default());
    for sql in [
        "SELECT spin(a) FROM t",
        "SELECT b, spin(a) FROM t GROUP BY b",
        "SELECT spin(a) OVER (ORDER BY a) FROM t",
    ] {
        let query = house.query(sql);
        let cancellation = query.context.cancellation.clone();
        let run = house.run(query);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            cancellation.cancel();
        });
        let failure = run.await.expect_err(sql);
        assert_eq!(failure.code, ErrorCode::JobCanceled, "{sql}: {failure:?}");
        assert!(house.is_quiet().await, "{sql}");
    }
}
