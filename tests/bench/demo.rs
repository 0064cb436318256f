//! The demo's query with its functions in Wasm and written natively, in the same engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, Float64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use sandmill_functions::{JobScope, SandboxRule, Version, register};
use sandmill_model::{FunctionPin, TenantId};
use sandmill_sandbox::Sandbox;
use sandmill_tests::guest;

use crate::{kernels, quantile};

const SQL: &str = "\
SELECT title_case(o.city) AS city, count(*) AS flights,
       round(avg(haversine(o.latitude, o.longitude, d.latitude, d.longitude)), 1) AS mean_km,
       round(max(haversine(o.latitude, o.longitude, d.latitude, d.longitude)), 1) AS longest_km
FROM flights f
JOIN airports o ON f.origin = o.iata
JOIN airports d ON f.destination = d.iata
GROUP BY title_case(o.city)
ORDER BY flights DESC
LIMIT 10";

pub fn run(data: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        // Where tables happen to lie in memory moves a session's times by a quarter: each run has
        // sessions of its own.
        for _ in 0..9 {
            let (wasm, native) = (session(data, true).await, session(data, false).await);
            let (ours, theirs) = (seconds(&wasm).await, seconds(&native).await);
            assert_eq!(ours.1, theirs.1, "both give the same rows");
            slow.push(ours.0);
            fast.push(theirs.0);
        }
        let (slow, fast) = (quantile(&mut slow, 0.5), quantile(&mut fast, 0.5));
        println!(
            "  Wasm   {slow:.3} s, {:.1} million flights a second",
            3.0 / slow
        );
        println!(
            "  native {fast:.3} s, {:.1} million flights a second",
            3.0 / fast
        );
        println!(
            "  the sandbox costs {:.0} % of the query",
            (slow / fast - 1.0) * 100.0
        );
    });
}

async fn session(data: &Path, in_wasm: bool) -> SessionContext {
    let state = datafusion::execution::SessionStateBuilder::new()
        .with_config(SessionConfig::new())
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(SandboxRule))
        .build();
    let context = SessionContext::new_with_state(state);
    let path = |name: &str| data.join(name).to_string_lossy().into_owned();
    let flights = context.register_parquet(
        "flights",
        path("flights-3m.parquet"),
        ParquetReadOptions::default(),
    );
    flights.await.expect("flights");
    context
        .register_csv("airports", path("airports.csv"), CsvReadOptions::default())
        .await
        .expect("airports");
    if in_wasm {
        let scope = JobScope::new(Arc::default());
        scope.start();
        let sandbox = Sandbox::new(Default::default()).expect("a sandbox");
        for (guest_name, name) in [("bench", "haversine"), ("demo_text", "title_case")] {
            let module = sandbox
                .load(&TenantId::single(), &guest(guest_name))
                .expect("a module");
            let pin = FunctionPin {
                name: name.into(),
                version: 1,
                digest: module.digest(),
            };
            let index = module.function(name).expect("the function");
            register(&context, Version { pin, module, index }, &scope);
        }
        return context;
    }
    let double = DataType::Float64;
    context.register_udf(create_udf(
        "haversine",
        vec![double.clone(); 4],
        double,
        Volatility::Immutable,
        Arc::new(haversine),
    ));
    context.register_udf(create_udf(
        "title_case",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(title_case),
    ));
    context
}

async fn seconds(context: &SessionContext) -> (f64, String) {
    let start = Instant::now();
    let frame = context.sql(SQL).await.expect("a plan");
    let batches = frame.collect().await.expect("rows");
    let elapsed = start.elapsed().as_secs_f64();
    (
        elapsed,
        arrow::util::pretty::pretty_format_batches(&batches)
            .expect("text")
            .to_string(),
    )
}

fn haversine(arguments: &[ColumnarValue]) -> datafusion::error::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let column = |n: usize| {
        arrays[n]
            .as_any()
            .downcast_ref::<Float64Array>()
            .expect("doubles")
    };
    let (a, b, c, d) = (column(0), column(1), column(2), column(3));
    let value = |n| kernels::haversine_km(a.value(n), b.value(n), c.value(n), d.value(n));
    let values = Float64Array::from_iter_values((0..a.len()).map(value));
    Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
}

/// What the guest in C does.
fn title_case(arguments: &[ColumnarValue]) -> datafusion::error::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let texts = arrays[0]
        .as_any()
        .downcast_ref::<StringArray>()
        .expect("texts");
    let mut out = String::new();
    let change = |text: &str| {
        out.clear();
        let mut inside = false;
        for c in text.chars() {
            out.push(if inside {
                c.to_ascii_lowercase()
            } else {
                c.to_ascii_uppercase()
            });
            inside = c.is_ascii_alphabetic() || !c.is_ascii();
        }
        out.clone()
    };
    let mut change = change;
    let values: StringArray = texts.iter().map(|text| text.map(&mut change)).collect();
    Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
}
