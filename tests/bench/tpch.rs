//! TPC-H: data from the `tpchgen` crates, all queries with their validation parameters, answers
//! checked against those of another engine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use futures::TryStreamExt;
use sandmill_engine::{Engine, Query, Settings};
use sandmill_model::{TableFormat, TableSpec};
use sandmill_sandbox::Context;
use tpchgen::generators::*;
use tpchgen_arrow::*;

use crate::quantile;

const QUERIES: [&str; 22] = [
    include_str!("tpch/q01.sql"),
    include_str!("tpch/q02.sql"),
    include_str!("tpch/q03.sql"),
    include_str!("tpch/q04.sql"),
    include_str!("tpch/q05.sql"),
    include_str!("tpch/q06.sql"),
    include_str!("tpch/q07.sql"),
    include_str!("tpch/q08.sql"),
    include_str!("tpch/q09.sql"),
    include_str!("tpch/q10.sql"),
    include_str!("tpch/q11.sql"),
    include_str!("tpch/q12.sql"),
    include_str!("tpch/q13.sql"),
    include_str!("tpch/q14.sql"),
    include_str!("tpch/q15.sql"),
    include_str!("tpch/q16.sql"),
    include_str!("tpch/q17.sql"),
    include_str!("tpch/q18.sql"),
    include_str!("tpch/q19.sql"),
    include_str!("tpch/q20.sql"),
    include_str!("tpch/q21.sql"),
    include_str!("tpch/q22.sql"),
];
const TABLES: [&str; 8] = [
    "customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier",
];
/// Row counts and first rows at scale factor 1, computed with DuckDB 2.0.
const EXPECTED: &str = include_str!("tpch/expected.txt");

pub fn run(scale: f64, runs: usize) {
    let data = data(scale);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let settings = Settings {
        allowed_roots: vec![data],
        memory_bytes: 10 << 30,
        ..Settings::default()
    };
    let engine = Engine::new(settings).expect("an engine");
    println!(
        "\n### TPC-H, scale factor {scale}, median of {runs} runs after one\n\n| query | ms | rows |\n|---|---|---|"
    );
    let mut total = 0.0;
    let mut wrong = Vec::new();
    for (n, sql) in QUERIES.iter().enumerate() {
        let mut times = Vec::new();
        let mut rows = Vec::new();
        for run in 0..=runs {
            let start = Instant::now();
            rows = runtime.block_on(query(&engine, sql));
            if run > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let (count, first) = summary(&rows);
        let median = quantile(&mut times, 0.5);
        total += median;
        println!("| {} | {median:.1} | {count} |", n + 1);
        if scale == 1.0 && !agrees(n + 1, count, &first) {
            wrong.push(n + 1);
        }
    }
    println!("| **all** | **{total:.0}** | |");
    match (scale == 1.0, wrong.is_empty()) {
        (true, true) => println!("\nAll 22 answers are right."),
        (true, false) => println!("\nWrong answers: {wrong:?}"),
        _ => println!("\nAnswers are checked at scale factor 1 only."),
    }
    assert!(wrong.is_empty());
}

async fn query(engine: &Engine, sql: &str) -> Vec<RecordBatch> {
    let table = |name: &&str| TableSpec {
        name: (*name).into(),
        path: format!("{name}.parquet"),
        format: TableFormat::Parquet,
    };
    let query = Query {
        sql: sql.into(),
        params: vec![],
        tables: TABLES.iter().map(table).collect(),
        functions: vec![],
        context: Arc::new(Context::default()),
    };
    let plan = engine.plan(query).await.expect("a plan");
    plan.execute()
        .expect("a stream")
        .try_collect()
        .await
        .expect("rows")
}

/// How many rows, and the first five as lists of cells.
fn summary(batches: &[RecordBatch]) -> (usize, Vec<Vec<String>>) {
    let options = FormatOptions::default();
    let mut first = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).expect("cells"))
            .collect();
        for row in 0..batch.num_rows().min(5 - first.len().min(5)) {
            first.push(columns.iter().map(|c| c.value(row).to_string()).collect());
        }
    }
    (batches.iter().map(RecordBatch::num_rows).sum(), first)
}

fn agrees(n: usize, count: usize, first: &[Vec<String>]) -> bool {
    let head = format!("q{n:02} ");
    let mut lines = EXPECTED.lines().skip_while(|line| !line.starts_with(&head));
    let expected: usize = lines
        .next()
        .and_then(|l| l[4..].parse().ok())
        .expect("an answer");
    let rows: Vec<_> = lines.take_while(|line| line.starts_with("  ")).collect();
    let same = |found: &str, wanted: &str| {
        let number = |text: &str| text.trim().parse::<f64>();
        match (number(found), number(wanted)) {
            // Averages of decimals end after different digits.
            (Ok(a), Ok(b)) => (a - b).abs() <= 0.01 + b.abs() * 1e-9,
            _ => found.trim() == wanted.trim(),
        }
    };
    let row = |(found, wanted): (&Vec<String>, &&str)| {
        let cells: Vec<_> = wanted.trim_start().split('|').collect();
        cells.len() == found.len() && found.iter().zip(cells).all(|(a, b)| same(a, b))
    };
    let right = count == expected && first.len() == rows.len() && first.iter().zip(&rows).all(row);
    if !right {
        println!(
            "query {n}: {count} rows, expected {expected}\nfound    {first:?}\nexpected {rows:?}"
        );
    }
    right
}

/// The folder of the tables, made when it is missing.
fn data(scale: f64) -> PathBuf {
    let base =
        std::env::var_os("SANDMILL_BENCH_DATA").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("tpch-snappy-sf{scale}"));
    if folder.join("done").exists() {
        return folder;
    }
    fs::create_dir_all(&folder).expect("a folder");
    eprintln!(
        "generating TPC-H at scale factor {scale} in {}",
        folder.display()
    );
    macro_rules! table {
        ($name:literal, $generator:ident, $arrow:ident) => {
            write(
                &folder.join(concat!($name, ".parquet")),
                $arrow::new($generator::new(scale, 1, 1)).with_batch_size(65536),
            );
        };
    }
    table!("nation", NationGenerator, NationArrow);
    table!("region", RegionGenerator, RegionArrow);
    table!("part", PartGenerator, PartArrow);
    table!("supplier", SupplierGenerator, SupplierArrow);
    table!("partsupp", PartSuppGenerator, PartSuppArrow);
    table!("customer", CustomerGenerator, CustomerArrow);
    table!("orders", OrderGenerator, OrderArrow);
    table!("lineitem", LineItemGenerator, LineItemArrow);
    fs::write(folder.join("done"), "").expect("written");
    folder
}

fn write(path: &Path, batches: impl RecordBatchReader) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batches.schema(), Some(properties)).expect("a writer");
    for batch in batches {
        writer.write(&batch.expect("rows")).expect("written");
    }
    writer.close().expect("closed");
}
