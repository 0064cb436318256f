//! The SQL files: `tests/sql/*.slt`, each against a server of its own with the conformance functions.

use std::path::Path;

use async_trait::async_trait;
use sandmill_tests::{House, guest};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

struct Database(House);

#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

#[async_trait]
impl AsyncDB for Database {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let refused = |code: &str, detail: &str| Refused(format!("{code}: {detail}"));
        let job = match self.0.job(sql).await {
            Ok(job) => job,
            Err(e) => return Err(Refused(e.to_string())),
        };
        if let Some(problem) = job.error {
            return Err(refused(&problem.code, &problem.detail));
        }
        let page = self
            .0
            .client
            .job_rows(&job.id, 0, 10_000)
            .await
            .map_err(|e| Refused(e.to_string()))?;
        let cell = |value: serde_json::Value| match value {
            serde_json::Value::Null => "NULL".to_owned(),
            serde_json::Value::String(text) if text.is_empty() => "(empty)".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; page.columns.len()],
            rows: page
                .rows
                .into_iter()
                .map(|row| row.into_iter().map(cell).collect())
                .collect(),
        })
    }

    async fn shutdown(&mut self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_files_give_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("sql files")
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let mut runner = Runner::new(|| async {
            let house = House::start().await;
            house.publish(guest("conformance_rust")).await;
            house.table("people", "people.csv", b"id,name,team,pay\n1,ann,a,10.5\n2,bob,b,20\n3,cid,a,\n4,dan,c,40.25\n5,,b,7\n").await;
            house
                .table(
                    "teams",
                    "teams.csv",
                    b"team,title,boss\na,Alpha,1\nb,Beta,2\nd,Delta,9\n",
                )
                .await;
            Ok(Database(house))
        });
        let result = runner.run_file_async(&file).await;
        if let Err(e) = result {
            unreachable!("{}: {e}", file.display())
        }
    }
}
