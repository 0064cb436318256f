//! The same functions in every language give the same results.

use std::collections::HashSet;

use sandmill_tests::{House, guest};
use serde_json::Value;

const CASES: &str = include_str!("../../udf-sdk/spec/conformance/cases.json");

#[tokio::test]
async fn every_language_passes_every_case() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let mut called = HashSet::new();
    for language in [
        "conformance_rust",
        "conformance_c",
        "conformance_assemblyscript",
        "conformance_go",
        "conformance_javascript",
    ] {
        let house = House::start().await;
        let upload = house
            .client
            .function_upload(guest(language))
            .await
            .expect("published");
        for case in &cases {
            let sql = case["sql"].as_str().expect("sql");
            called.extend(
                upload
                    .functions
                    .iter()
                    .map(|f| f.name.clone())
                    .filter(|f| sql.contains(&format!("{f}("))),
            );
            match (
                house.rows(sql).await,
                case["rows"].as_str(),
                case["error"].as_str(),
            ) {
                (Ok(rows), Some(expected), _) => assert_eq!(rows, expected, "{language}: {sql}"),
                (Err(problem), _, Some(code)) => {
                    assert_eq!(problem.code, code, "{language}: {sql}: {}", problem.detail);
                    let place = problem.function.expect("a function");
                    assert_eq!(place.version, "1");
                    if let Some(row) = case["row"].as_u64() {
                        assert_eq!(place.row, Some(row), "{language}: {sql}");
                    }
                }
                (result, ..) => unreachable!("{language}: {sql}: {result:?}"),
            }
        }
        let all: HashSet<_> = upload.functions.iter().map(|f| f.name.clone()).collect();
        assert_eq!(called, all, "{language}: every function has a case");
    }
}
