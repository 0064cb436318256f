//! Aggregates beside DataFusion's own, chains beside calls apart, and what an idle module takes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use sandmill_functions::{JobScope, SandboxRule, Version, register};
use sandmill_model::{FunctionPin, TenantId};
use sandmill_sandbox::{Argument, Module, Operand, Sandbox, Settings, Step};
use sandmill_tests::guest;

use crate::{head, line, nanos, quantile};

const ROWS: usize = 8192;
const GROUPS: i64 = 1_000_000;
/// Distinct batches; each is read several times.
const BATCHES: usize = 1221;
const TIMES: usize = 10;

pub fn run() {
    let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
    let module = sandbox
        .load(&TenantId::single(), &guest("bench"))
        .expect("a module");
    chain(&module);
    aggregate(&module);
    idle();
}

fn chain(module: &Module) {
    head("Chains (`affine(affine(x))`, 8192 rows)");
    let mut instance = module.instantiate(&Arc::default()).expect("an instance");
    let function = module.function("affine").expect("the function");
    let x: ArrayRef = Arc::new(Float64Array::from_iter_values((0..ROWS).map(|n| n as f64)));
    let steps = [Operand::Input(0), Operand::Step(0)].map(|operand| Step {
        function,
        operands: vec![operand],
    });
    let mut shares = Vec::new();
    let (mut together, mut apart) = (0.0, 0.0);
    for _ in 0..15 {
        together = nanos(300, || {
            let input = [Argument::Column(x.as_ref())];
            drop(black_box(
                instance.chain(&steps, &input, ROWS).expect("a column"),
            ));
        }) / ROWS as f64;
        apart = nanos(300, || {
            let first = instance
                .call(function, &[Argument::Column(x.as_ref())], ROWS)
                .expect("a column");
            let second = instance.call(function, &[Argument::Column(first.as_ref())], ROWS);
            drop(black_box(second.expect("a column")));
        }) / ROWS as f64;
        shares.push(1.0 - together / apart);
    }
    let share = quantile(&mut shares, 0.5) * 100.0;
    line(
        "one chain against two calls",
        &format!("{share:.0} % less ({together:.2} against {apart:.2} ns a row)"),
        "≥ 30 % less",
    );
}

fn data() -> Vec<RecordBatch> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
    ]));
    let mut state = 7u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as i64
    };
    let mut column = |below: i64| Int64Array::from_iter_values((0..ROWS).map(|_| next() % below));
    let mut batch = || {
        let columns: Vec<ArrayRef> = vec![Arc::new(column(GROUPS)), Arc::new(column(1000))];
        RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch")
    };
    (0..BATCHES).map(|_| batch()).collect()
}

fn aggregate(module: &Module) {
    let rows = ROWS * BATCHES * TIMES;
    head(&format!(
        "Aggregate (sum of {} million rows in a million groups, two partitions)",
        rows / 1_000_000
    ));
    let batches = data();
    let schema = batches[0].schema();
    // Each partition reads all batches several times over; only pointers are copied.
    let partition: Vec<_> = (0..TIMES / 2).flat_map(|_| batches.clone()).collect();
    let table = MemTable::try_new(schema, vec![partition.clone(), partition]).expect("a table");
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(2))
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(SandboxRule))
        .build();
    let context = SessionContext::new_with_state(state);
    context
        .register_table("t", Arc::new(table))
        .expect("registers");
    let scope = JobScope::new(Arc::default());
    scope.start();
    let index = module.function("total").expect("the function");
    let pin = FunctionPin {
        name: "total".into(),
        version: 1,
        digest: module.digest(),
    };
    let module = module.clone();
    register(&context, Version { pin, module, index }, &scope);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .expect("threads");
    let seconds = |function: &str| {
        let sql = format!(
            "SELECT count(*), sum(s) FROM (SELECT k, {function}(v) AS s FROM t GROUP BY k)"
        );
        let started = Instant::now();
        let rows = runtime.block_on(async {
            let query = context.sql(&sql).await.expect("plans");
            query.collect().await.expect("runs")
        });
        (started.elapsed().as_secs_f64(), rows)
    };
    let (mut ratios, mut wasm, mut own) = (Vec::new(), 0.0, 0.0);
    for _ in 0..3 {
        let (ours, expected) = (seconds("total"), seconds("sum"));
        assert_eq!(ours.1, expected.1, "the same sums");
        (wasm, own) = (ours.0, expected.0);
        ratios.push(wasm / own);
    }
    let ratio = quantile(&mut ratios, 0.5);
    let each = |seconds: f64| seconds * 1e9 / rows as f64;
    line(
        "whole query",
        &format!(
            "{ratio:.2} × DataFusion's `sum` ({:.1} against {:.1} ns a row)",
            each(wasm),
            each(own)
        ),
        "≤ 2 ×",
    );
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN)
}

fn idle() {
    head("Density");
    const MODULES: usize = 200;
    let sandbox = Sandbox::new(Settings {
        modules: MODULES + 1,
        ..Settings::default()
    })
    .expect("a sandbox");
    let plain = guest("conformance_c");
    let load = |n: usize| {
        // The same module with another custom section is another module.
        let mut wasm = plain.clone();
        let name = format!("n{n:06}");
        wasm.extend([0, name.len() as u8 + 1, name.len() as u8]);
        wasm.extend(name.as_bytes());
        sandbox.load(&TenantId::single(), &wasm).expect("a module")
    };
    let first = load(0);
    let functions = first.manifest().functions.len();
    let before = resident();
    (1..=MODULES).for_each(|n| drop(load(n)));
    let each = (resident() - before) / MODULES as f64;
    line(
        &format!("a loaded module of {functions} functions, idle"),
        &format!(
            "{each:.0} KiB resident, {:.1} for each function",
            each / functions as f64
        ),
        "≤ 64 KiB a function",
    );
}
