//! The node that gives functions their instances, one set for each partition.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricsSet, Time,
};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};
use futures::{Stream, StreamExt};
use sandmill_model::FunctionUsage;
use sandmill_sandbox::Timings;

use crate::aggregate::Aggregate;
use crate::chain::Chain;
use crate::instances::Instances;
use crate::scalar::Scalar;
use crate::window::Window;

/// Wraps every node whose expressions call user functions. Must be the last rule: the wrapper is
/// no node that other rules know.
#[derive(Debug, Default)]
pub struct SandboxRule;

impl PhysicalOptimizerRule for SandboxRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if calls_functions(&node)? {
                return Ok(Transformed::yes(Arc::new(SandboxExec::new(node)) as _));
            }
            Ok(Transformed::no(node))
        })
        .data()
    }

    fn name(&self) -> &str {
        "sandbox"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn calls_functions(node: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    // The expressions of these nodes are the arguments of their functions only.
    let mut found = aggregates(node) || windows(node).iter().any(is_window);
    node.apply_expressions(&mut |root: &Arc<dyn PhysicalExpr>| {
        root.apply(|expr| {
            let call = expr.downcast_ref::<ScalarFunctionExpr>();
            found |= call.is_some_and(|call| {
                let function = call.fun().inner();
                function.is::<Scalar>() || function.is::<Chain>()
            });
            Ok(if found {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })
    })?;
    Ok(found)
}

fn aggregates(node: &Arc<dyn ExecutionPlan>) -> bool {
    let node = node.downcast_ref::<AggregateExec>();
    node.is_some_and(|node| node.aggr_expr().iter().any(|e| is_aggregate(e)))
}

fn windows(node: &Arc<dyn ExecutionPlan>) -> &[Arc<dyn WindowExpr>] {
    if let Some(node) = node.downcast_ref::<WindowAggExec>() {
        return node.window_expr();
    }
    let bounded = node.downcast_ref::<BoundedWindowAggExec>();
    bounded.map_or(&[], |node| node.window_expr())
}

fn is_aggregate(expr: &AggregateFunctionExpr) -> bool {
    expr.fun().inner().is::<Aggregate>()
}

fn is_window(expr: &Arc<dyn WindowExpr>) -> bool {
    let expr = expr.as_any();
    if let Some(plain) = expr.downcast_ref::<PlainAggregateWindowExpr>() {
        return is_aggregate(plain.get_aggregate_expr());
    }
    if let Some(sliding) = expr.downcast_ref::<SlidingAggregateWindowExpr>() {
        return is_aggregate(sliding.get_aggregate_expr());
    }
    let standard = expr.downcast_ref::<StandardWindowExpr>();
    let function = standard.and_then(|e| {
        e.get_standard_func_expr()
            .as_any()
            .downcast_ref::<WindowUDFExpr>()
    });
    function.is_some_and(|function| function.fun().inner().is::<Window>())
}

/// Runs its only child with instances for each partition, and accounts for their time.
#[derive(Debug)]
struct SandboxExec {
    input: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl SandboxExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            input,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for SandboxExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SandboxExec")
    }
}

impl ExecutionPlan for SandboxExec {
    fn name(&self) -> &str {
        "SandboxExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input))),
            _ => internal_err!("SandboxExec has one child"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // Some nodes evaluate expressions while they start.
        let mut instances = Instances::default();
        let input = instances.with(|| self.input.execute(partition, context))?;
        Ok(Box::pin(PartitionStream {
            input,
            instances,
            metrics: CallMetrics::new(&self.metrics, partition),
            functions: FunctionMetrics {
                set: self.metrics.clone(),
                partition,
            },
            published: Instant::now(),
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(Arc::clone(&inputs[0]))
    }
}

/// What `EXPLAIN ANALYZE` shows of the calls.
pub(crate) struct CallMetrics {
    calls: Count,
    rows: Count,
    copy: Time,
    guest: Time,
    validate: Time,
    seen: Timings,
}

impl CallMetrics {
    pub(crate) fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            calls: MetricBuilder::new(set).counter("function_calls", partition),
            rows: MetricBuilder::new(set).counter("function_rows", partition),
            copy: MetricBuilder::new(set).subset_time("function_copy_time", partition),
            guest: MetricBuilder::new(set).subset_time("function_time", partition),
            validate: MetricBuilder::new(set).subset_time("function_validate_time", partition),
            seen: Timings::default(),
        }
    }

    pub(crate) fn update(&mut self, now: Timings) {
        let nanos =
            |now: u64, before: u64| std::time::Duration::from_nanos(now.saturating_sub(before));
        let count = |now: u64, before: u64| now.saturating_sub(before) as usize;
        self.calls.add(count(now.calls, self.seen.calls));
        self.rows.add(count(now.rows, self.seen.rows));
        self.copy
            .add_duration(nanos(now.copy_nanos, self.seen.copy_nanos));
        self.guest
            .add_duration(nanos(now.call_nanos, self.seen.call_nanos));
        self.validate
            .add_duration(nanos(now.validate_nanos, self.seen.validate_nanos));
        self.seen = now;
    }
}

struct PartitionStream {
    input: SendableRecordBatchStream,
    instances: Instances,
    metrics: CallMetrics,
    functions: FunctionMetrics,
    /// When the job was told last what was used.
    published: Instant,
}

/// Time between two reports of what a partition uses to its job.
const REPORT: Duration = Duration::from_millis(100);

impl PartitionStream {
    /// Gives the slots back, and what was used to the plan's metrics and the job.
    fn end(&mut self) {
        let mut instances = std::mem::take(&mut self.instances);
        for (name, usage) in instances.usage() {
            self.functions.add(&name, &usage);
        }
        instances.release();
    }
}

impl Drop for PartitionStream {
    fn drop(&mut self) {
        self.end();
    }
}

/// What `EXPLAIN ANALYZE` shows of each function, known at the end of a partition.
struct FunctionMetrics {
    set: ExecutionPlanMetricsSet,
    partition: usize,
}

impl FunctionMetrics {
    fn add(&self, name: &str, usage: &FunctionUsage) {
        let named = |what: &str| format!("{name}.{what}");
        let builder = || MetricBuilder::new(&self.set);
        let count = |what: &str, value: u64| {
            let counter: Count = builder().counter(named(what), self.partition);
            counter.add(usize::try_from(value).unwrap_or(usize::MAX));
        };
        let time = |what: &str, nanos: u64| {
            let time: Time = builder().subset_time(named(what), self.partition);
            time.add_duration(Duration::from_nanos(nanos));
        };
        count("calls", usage.calls);
        count("rows", usage.rows);
        count("instances", usage.instances);
        count("traps", usage.traps);
        count("errors", usage.errors);
        time("instantiate_time", usage.instantiate_nanos);
        time("copy_time", usage.copy_nanos);
        time("time", usage.call_nanos);
        time("cpu_time", usage.cpu_nanos);
        time("validate_time", usage.validate_nanos);
        // Partitions have instances, and so memory, of their own: the sum over them is what was held.
        let memory: Gauge = builder().gauge(named("memory_bytes"), self.partition);
        memory.add(usize::try_from(usage.memory_bytes).unwrap_or(usize::MAX));
    }
}

impl Stream for PartitionStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let polled = this.instances.with(|| this.input.poll_next_unpin(cx));
        this.metrics.update(this.instances.timings());
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            // Before the stream is dropped, which may be much later.
            this.end();
        } else if this.published.elapsed() >= REPORT {
            this.instances.publish();
            this.published = Instant::now();
        }
        polled
    }
}

impl RecordBatchStream for PartitionStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
