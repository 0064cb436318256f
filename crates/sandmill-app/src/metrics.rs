//! What Prometheus reads. On a listener of its own, because it is for the operator: it asks for no
//! token and names functions of all tenants.

use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sandmill_jobs::{Numbers, Series, Service};
use sandmill_model::{FunctionUsage, JobState};
use sandmill_sandbox::Sandbox;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Answers `GET /metrics`.
pub(crate) fn router(jobs: Service, sandbox: Sandbox) -> Router {
    let metrics = move || {
        let (jobs, sandbox) = (jobs.clone(), sandbox.clone());
        async move { answer(&jobs, &sandbox).await }
    };
    Router::new().route("/metrics", get(metrics))
}

async fn answer(jobs: &Service, sandbox: &Sandbox) -> Response {
    let numbers = match jobs.numbers().await {
        Ok(numbers) => numbers,
        Err(failure) => {
            tracing::warn!(%failure, "metrics cannot be read");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let mut registry = Registry::with_prefix("sandmill");
    service(&mut registry, &numbers);
    machine(&mut registry, sandbox);
    functions(&mut registry, &numbers.functions);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([("content-type", CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn service(registry: &mut Registry, numbers: &Numbers) {
    let of = |state: JobState| {
        let found = numbers.jobs.iter().find(|(s, _)| *s == state);
        found.map_or(0, |(_, count)| *count)
    };
    let jobs = Family::<Labels, Gauge<i64>>::default();
    for state in JobState::ALL {
        let labels = vec![("state", state.as_str().to_owned())];
        let count = i64::try_from(of(state)).unwrap_or(i64::MAX);
        jobs.get_or_create(&labels).set(count);
    }
    registry.register("jobs", "Jobs in the store by state", jobs);
    let queued = of(JobState::Queued);
    gauge(registry, "queue_jobs", "Jobs that wait for a slot", queued);
    let running = numbers.running as u64;
    gauge(registry, "jobs_running", "Jobs that run now", running);
    let slots = numbers.slots as u64;
    gauge(registry, "slots", "Jobs that may run at a time", slots);
}

fn machine(registry: &mut Registry, sandbox: &Sandbox) {
    let (stats, compiles) = (sandbox.stats(), sandbox.compile_counts());
    let help = "Function instances alive";
    gauge(registry, "instances", help, stats.instances);
    let help = "Function instances that may be alive at a time";
    let limit = u64::from(sandbox.settings().instances);
    gauge(registry, "instances_limit", help, limit);
    gauge(registry, "modules", "Modules in memory", stats.modules);
    let help = "Modules loaded from the cache of compiled code";
    counter(registry, "modules_loaded", help, stats.loaded);
    let counts = Family::<Labels, Counter<u64>>::default();
    for (outcome, count) in [("ok", compiles.done), ("failed", compiles.failed)] {
        let labels = vec![("outcome", outcome.to_owned())];
        counts.get_or_create(&labels).inc_by(count);
    }
    registry.register("compiles", "Compilations of modules", counts);
    let seconds = Counter::<f64, AtomicU64>::default();
    seconds.inc_by(compiles.seconds);
    let help = "Time of compiling modules";
    registry.register_with_unit("compile", help, Unit::Seconds, seconds);
}

fn functions(registry: &mut Registry, functions: &[(Series, FunctionUsage)]) {
    let labels = |series: &Series| -> Labels {
        vec![
            ("tenant", series.tenant.clone()),
            ("function", series.function.clone()),
            ("version", series.version.to_string()),
        ]
    };
    type Count = fn(&FunctionUsage) -> u64;
    let counts: [(&str, &str, Count); 5] = [
        ("function_calls", "Calls into functions", |u| u.calls),
        ("function_rows", "Rows that functions computed", |u| u.rows),
        ("function_instances", "Instances made for functions", |u| {
            u.instances
        }),
        (
            "function_traps",
            "Calls that trapped or were stopped",
            |u| u.traps,
        ),
        (
            "function_errors",
            "Calls that reported an error or gave data that is not valid",
            |u| u.errors,
        ),
    ];
    for (name, help, count) in counts {
        let family = Family::<Labels, Counter<u64>>::default();
        for (series, usage) in functions {
            family.get_or_create(&labels(series)).inc_by(count(usage));
        }
        registry.register(name, help, family);
    }
    let phases: [(&str, Count); 4] = [
        ("instantiate", |u| u.instantiate_nanos),
        ("copy", |u| u.copy_nanos),
        ("call", |u| u.call_nanos),
        ("validate", |u| u.validate_nanos),
    ];
    let times = Family::<Labels, Counter<f64, AtomicU64>>::default();
    let cpu = Family::<Labels, Counter<f64, AtomicU64>>::default();
    let memory = Family::<Labels, Gauge<i64>>::default();
    for (series, usage) in functions {
        for (phase, nanos) in phases {
            let mut labels = labels(series);
            labels.push(("phase", phase.to_owned()));
            times
                .get_or_create(&labels)
                .inc_by(nanos(usage) as f64 / 1e9);
        }
        let labels = labels(series);
        cpu.get_or_create(&labels)
            .inc_by(usage.cpu_nanos as f64 / 1e9);
        let bytes = i64::try_from(usage.memory_bytes).unwrap_or(i64::MAX);
        memory.get_or_create(&labels).set(bytes);
    }
    let help = "Time of function calls by phase";
    registry.register_with_unit("function_time", help, Unit::Seconds, times);
    let help = "CPU time in functions";
    registry.register_with_unit("function_cpu", help, Unit::Seconds, cpu);
    let help = "Largest memory of an instance";
    registry.register_with_unit("function_memory", help, Unit::Bytes, memory);
}
