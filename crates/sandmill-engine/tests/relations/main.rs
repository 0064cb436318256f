//! Functions that give rows, in SQL, with guests written by hand.
#![allow(clippy::panic, reason = "tests")]

mod house;

use std::time::Duration;

use futures::TryStreamExt;
use house::House;
use sandmill_model::{ErrorCode, Parameter};

#[tokio::test]
async fn table_functions_stand_in_from() {
    let house = House::new();
    house
        .check(&[
            ("SELECT * FROM times(5, 3)", "5 5 5"),
            // More rows than a batch has.
            ("SELECT count(*), sum(y) FROM times(5, 40)", "40,200"),
            (
                "SELECT count(*), sum(y), sum(b) FROM t LEFT JOIN LATERAL times(a, b * 20) AS u ON true",
                "5915,295000,25500",
            ),
            ("SELECT y FROM times(5)", "5 5"),
            ("SELECT y FROM times(n => 1, x => 7)", "7"),
            ("SELECT y FROM times(n := 1, x := 7)", "7"),
            ("SELECT t.z + 1 FROM times(5, 1) AS t(z)", "6"),
            ("SELECT y FROM TABLE(times(5, 1))", "5"),
            ("SELECT y FROM times(same(2) + 1, 1)", "3"),
            ("SELECT count(*) FROM times(1, 0)", "0"),
            ("SELECT count(*) FROM times(NULL, 3)", "0"),
            ("SELECT sum(a) FROM t, LATERAL times(t.a, 2) AS u(c)", "9900"),
            ("SELECT sum(c) FROM t, times(t.a, t.b) AS u(c)", "14750"),
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
                "310,280",
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
                "SELECT count(*), max(size) FROM total((SELECT nullif(b, 3) AS b, a FROM t), partition_by => b)",
                "7,15",
            ),
            // Without keys all rows are one group.
            ("SELECT sum, size FROM total(TABLE(t))", "295,100"),
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
        house.settled().await;
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
