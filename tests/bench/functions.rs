//! The sandbox beside the same Rust code run natively.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use sandmill_model::TenantId;
use sandmill_sandbox::{Argument, Context, Instance, Module, Sandbox, Settings, Timings};
use sandmill_tests::guest;

use crate::{head, kernels, line, nanos, quantile};

const ROWS: usize = 8192;

struct Call {
    instance: Instance,
    function: usize,
    arguments: Vec<ArrayRef>,
}

impl Call {
    fn new(module: &Module, name: &str, arguments: Vec<ArrayRef>) -> Self {
        let instance = module.instantiate(&Arc::default()).expect("an instance");
        Self {
            instance,
            function: module.function(name).expect("the function"),
            arguments,
        }
    }

    fn run(&mut self) -> ArrayRef {
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .map(|a| Argument::Column(a.as_ref()))
            .collect();
        let rows = self.arguments[0].len();
        self.instance
            .call(self.function, &arguments, rows)
            .expect("a column")
    }

    /// Nanoseconds of copy, call and validation of a batch, on average.
    fn parts(&mut self, runs: usize) -> [f64; 3] {
        let before = self.instance.timings();
        (0..runs).for_each(|_| drop(black_box(self.run())));
        let Timings {
            copy_nanos,
            call_nanos,
            validate_nanos,
            ..
        } = self.instance.timings();
        [
            copy_nanos - before.copy_nanos,
            call_nanos - before.call_nanos,
            validate_nanos - before.validate_nanos,
        ]
        .map(|n| n as f64 / runs as f64)
    }
}

/// Numbers between two bounds, the same in every run.
fn numbers(seed: u64, low: f64, high: f64, rows: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        low + (high - low) * ((state >> 11) as f64 / (1u64 << 53) as f64)
    };
    (0..rows).map(|_| next()).collect()
}

fn compare(what: &str, target: &str, rows: usize, call: &mut Call, mut native: impl FnMut()) {
    // One after the other, several times: a noisy machine hits both.
    let mut ratios = Vec::new();
    let (mut wasm, mut own) = (0.0, 0.0);
    for _ in 0..9 {
        wasm = nanos(60, || drop(black_box(call.run()))) / rows as f64;
        own = nanos(60, &mut native) / rows as f64;
        ratios.push(wasm / own);
    }
    let ratio = quantile(&mut ratios, 0.5);
    line(
        what,
        &format!("{ratio:.2} × native ({wasm:.2} against {own:.2} ns a row)"),
        target,
    );
}

pub fn run() {
    let sandbox = Sandbox::new(Settings::default()).expect("a sandbox");
    let wasm = guest("bench");
    let tenant = TenantId::single();
    let module = sandbox.load(&tenant, &wasm).expect("a module");

    head("Boundary (8192 rows, both ways, validated)");
    let longs: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    let mut same = Call::new(&module, "same", vec![Arc::clone(&longs)]);
    let batch = nanos(400, || drop(black_box(same.run())));
    let [copy, call, validate] = same.parts(400).map(|n| n / ROWS as f64);
    let mut one = Call::new(&module, "same", vec![longs.slice(0, 1)]);
    let fixed = nanos(2000, || drop(black_box(one.run())));
    line(
        "fixed width, a column in and a column out",
        &format!(
            "{:.2} ns a row (copy {copy:.2}, guest {call:.2}, validate {validate:.2})",
            batch / ROWS as f64
        ),
        "≤ 0.6 ns",
    );
    line("a batch of one row", &format!("{fixed:.0} ns"), "≤ 1000 ns");
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|n| format!("text {n:011}")),
    ));
    let mut strings = Call::new(&module, "same_text", vec![texts]);
    let batch = nanos(400, || drop(black_box(strings.run())));
    let [copy, call, validate] = strings.parts(400).map(|n| n / ROWS as f64);
    line(
        "texts of 16 bytes",
        &format!(
            "{:.2} ns a row (copy {copy:.2}, guest {call:.2}, validate {validate:.2})",
            batch / ROWS as f64
        ),
        "≤ 2.0 ns",
    );

    head("Kernels (end to end, against the same Rust source natively)");
    let (a, b) = (numbers(1, 1.0, 1e15, 1024), numbers(2, 1.0, 1e15, 1024));
    let whole = |v: &[f64]| Int64Array::from_iter_values(v.iter().map(|x| *x as i64));
    let (a, b) = (whole(&a), whole(&b));
    let mut gcd = Call::new(
        &module,
        "gcd",
        vec![Arc::new(a.clone()), Arc::new(b.clone())],
    );
    compare("gcd, 1024 rows", "≤ 1.3 ×", 1024, &mut gcd, || {
        let values = a
            .values()
            .iter()
            .zip(b.values())
            .map(|(a, b)| kernels::gcd_of(*a, *b));
        black_box(Int64Array::from_iter_values(values));
    });
    let angles = [(3, 90.0), (4, 180.0), (5, 90.0), (6, 180.0)];
    let columns =
        angles.map(|(seed, bound)| Float64Array::from(numbers(seed, -bound, bound, ROWS)));
    let arrays = columns
        .iter()
        .map(|c| Arc::new(c.clone()) as ArrayRef)
        .collect();
    let mut haversine = Call::new(&module, "haversine", arrays);
    compare(
        "haversine, 8192 rows",
        "≤ 1.3 ×",
        ROWS,
        &mut haversine,
        || {
            let [a, b, c, d] = &columns;
            let value = |n| kernels::haversine_km(a.value(n), b.value(n), c.value(n), d.value(n));
            black_box(Float64Array::from_iter_values((0..ROWS).map(value)));
        },
    );
    let values = Float64Array::from(numbers(7, -1.0, 1.0, ROWS));
    let mut affine = Call::new(&module, "affine", vec![Arc::new(values.clone())]);
    compare(
        "x · 1.5 + 2, 8192 rows",
        "≤ 3 ×",
        ROWS,
        &mut affine,
        || {
            black_box(values.unary::<_, arrow::datatypes::Float64Type>(kernels::affine_of));
        },
    );
    line(
        "haversine, 2 partitions against 1",
        &format!("{:.2} of linear", scaling(&module, &columns)),
        "≥ 0.95",
    );

    head("Start and stop");
    let context = Arc::<Context>::default();
    let warm = nanos(300, || {
        drop(module.instantiate(&context).expect("an instance"))
    });
    line(
        "instance of a loaded module, made and dropped",
        &format!("{:.1} µs", warm / 1e3),
        "≤ 10 µs",
    );
    let first = nanos(300, || {
        drop(Call::new(&module, "same", vec![longs.slice(0, 1)]).run());
    });
    line(
        "the same with a call of one row in between",
        &format!("{:.1} µs", first / 1e3),
        "",
    );
    line(
        "module from compiled code on disk",
        &format!("{:.2} ms", cold(&wasm, &tenant) / 1e6),
        "≤ 5 ms",
    );
    let (median, worst) = kill(&module);
    line(
        "runaway guest stopped after its deadline of 20 ms",
        &format!("p50 +{median:.2} ms, p99 +{worst:.2} ms"),
        "≤ +5 ms",
    );
}

/// Throughput of two threads over twice that of one.
fn scaling(module: &Module, columns: &[Float64Array; 4]) -> f64 {
    let rate = |threads: usize| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let arrays = columns
                        .iter()
                        .map(|c| Arc::new(c.clone()) as ArrayRef)
                        .collect();
                    let mut call = Call::new(module, "haversine", arrays);
                    (0..600).for_each(|_| drop(black_box(call.run())));
                });
            }
        });
        threads as f64 / start.elapsed().as_secs_f64()
    };
    rate(1);
    let mut ratios: Vec<_> = (0..5).map(|_| rate(2) / (2.0 * rate(1))).collect();
    quantile(&mut ratios, 0.5)
}

/// Nanoseconds of loading a module whose code lies in the cache on disk.
fn cold(wasm: &[u8], tenant: &TenantId) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        instances: 4,
        cache: Some(folder.path().into()),
        ..Settings::default()
    };
    Sandbox::new(settings.clone())
        .expect("a sandbox")
        .load(tenant, wasm)
        .expect("compiled");
    let mut times: Vec<_> = (0..30)
        .map(|_| {
            let sandbox = Sandbox::new(settings.clone()).expect("a sandbox");
            let start = Instant::now();
            let module = sandbox.load(tenant, wasm).expect("loaded");
            drop(module.instantiate(&Arc::default()).expect("an instance"));
            start.elapsed().as_nanos() as f64
        })
        .collect();
    quantile(&mut times, 0.5)
}

/// Milliseconds past the deadline at which an endless loop is stopped: median and 99th percentile.
fn kill(module: &Module) -> (f64, f64) {
    let deadline = Duration::from_millis(20);
    let context = Arc::new(Context {
        call_deadline: Some(deadline),
        ..Context::default()
    });
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let function = module.function("spin").expect("the function");
    let mut late: Vec<_> = (0..200)
        .map(|_| {
            let mut instance = module.instantiate(&context).expect("an instance");
            let start = Instant::now();
            let result = instance.call(function, &[Argument::Column(rows.as_ref())], 1);
            assert!(result.is_err());
            (start.elapsed() - deadline).as_secs_f64() * 1e3
        })
        .collect();
    (quantile(&mut late, 0.5), quantile(&mut late, 0.99))
}
