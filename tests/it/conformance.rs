//! The same functions in every language give the same results.

use std::collections::HashSet;

use sandmill_tests::{House, guest};
use serde_json::Value;

const CASES: &str = include_str!("../../udf-sdk/spec/conformance/cases.json");

/// Modules, and whether they must have all functions. The others skip the cases of functions that
/// are not in them.
const LANGUAGES: [(&str, bool); 7] = [
    ("conformance_rust", true),
    ("conformance_c", true),
    ("conformance_cpp", true),
    ("conformance_zig", false),
    ("conformance_assemblyscript", false),
    ("conformance_go", false),
    ("conformance_javascript", false),
];

/// What is called: the names before parentheses.
fn calls(sql: &str) -> HashSet<&str> {
    let other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let before = sql.split('(').filter_map(|part| part.rsplit(other).next());
    before.collect()
}

#[tokio::test]
async fn every_language_passes_every_case() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let named: Vec<HashSet<&str>> = cases
        .iter()
        .map(|case| calls(case["sql"].as_str().expect("sql")))
        .collect();
    let mut known: HashSet<String> = HashSet::new();
    for (language, complete) in LANGUAGES {
        let mut called = HashSet::new();
        let mut skipped = Vec::new();
        let house = House::start().await;
        let upload = house
            .client
            .function_upload(guest(language))
            .await
            .expect("published");
        let all: HashSet<_> = upload.functions.iter().map(|f| f.name.clone()).collect();
        // Rust comes first: what it has is what there is.
        known.extend(all.iter().cloned());
        for (case, named) in cases.iter().zip(&named) {
            let sql = case["sql"].as_str().expect("sql");
            let mut lacking = named
                .iter()
                .filter(|f| known.contains(**f) && !all.contains(**f));
            if let Some(function) = lacking.next() {
                skipped.push(format!("{function}: {sql}"));
                continue;
            }
            called.extend(all.iter().filter(|f| named.contains(f.as_str())).cloned());
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
        assert_eq!(called, all, "{language}: every function has a case");
        for case in &skipped {
            println!("{language} lacks {case}");
        }
        assert!(!complete || skipped.is_empty(), "{language}: {skipped:?}");
    }
}
