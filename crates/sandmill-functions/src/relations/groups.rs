//! Grouped and cogrouped maps: sorted inputs, cut into groups, several groups in one call.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties,
};
use sandmill_model::{ErrorCode, Failure};
use sandmill_sandbox::{Groups, Instance};

use super::Call;
use super::exec::{Counts, Work, batch, constants, properties, run};
use super::logical::Shape;
use super::side::{ROWS, Side};
use crate::failure::external;

/// Keys rise, NULL first: the order in which both sides are merged.
const KEYS: SortOptions = SortOptions {
    descending: false,
    nulls_first: true,
};

#[derive(Debug)]
pub(super) struct GroupsExec {
    call: Call,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    shapes: Vec<Shape>,
    constants: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl GroupsExec {
    pub(super) fn new(
        call: Call,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        shapes: Vec<Shape>,
        constants: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            properties: properties(&inputs[0], schema),
            call,
            inputs,
            shapes,
            constants,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// Column `place` behind those that the function takes.
    fn column(&self, input: usize, place: usize) -> Arc<dyn PhysicalExpr> {
        let at = self.call.function().inputs[input].len() + place;
        let schema = self.inputs[input].schema();
        Arc::new(Column::new(schema.field(at).name(), at))
    }

    fn keys(&self, input: usize) -> Vec<Arc<dyn PhysicalExpr>> {
        let keys = 0..self.shapes[input].keys;
        keys.map(|place| self.column(input, place)).collect()
    }
}

impl DisplayAs for GroupsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: function={}", self.name(), self.call.name())
    }
}

impl ExecutionPlan for GroupsExec {
    fn name(&self) -> &str {
        match self.inputs.len() {
            1 => "GroupedMapExec",
            _ => "CogroupedMapExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let partitioned = self.shapes.iter().all(|shape| shape.partitioned);
        let wanted = (0..self.inputs.len()).map(|input| match partitioned {
            true => Distribution::KeyPartitioned(self.keys(input)),
            false => Distribution::SinglePartition,
        });
        match (self.inputs.len(), partitioned) {
            (2, true) => InputDistributionRequirements::co_partitioned(wanted.collect()),
            _ => InputDistributionRequirements::new(wanted.collect()),
        }
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ordering = |(input, shape): (usize, &Shape)| {
            let keys = self.keys(input).into_iter().map(|key| (key, KEYS));
            let order = shape.order.iter().enumerate().map(|(n, direction)| {
                let options = SortOptions {
                    descending: direction.0,
                    nulls_first: direction.1,
                };
                (self.column(input, shape.keys + n), options)
            });
            let all = keys.chain(order);
            LexOrdering::new(all.map(|(expr, options)| PhysicalSortExpr::new(expr, options)))
                .map(OrderingRequirements::from)
        };
        self.shapes.iter().enumerate().map(ordering).collect()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in &self.constants {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() != self.inputs.len() {
            return internal_err!("{} keeps its children", self.name());
        }
        let (shapes, constants) = (self.shapes.clone(), self.constants.clone());
        let (call, schema) = (self.call.clone(), self.schema());
        Ok(Arc::new(Self::new(
            call, children, shapes, constants, schema,
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let partitions =
            |input: &Arc<dyn ExecutionPlan>| input.output_partitioning().partition_count();
        if self
            .inputs
            .iter()
            .any(|input| partitions(input) != partitions(&self.inputs[0]))
        {
            return internal_err!("the inputs of {} differ in partitions", self.name());
        }
        let fields = self.keys(0);
        let schema = self.inputs[0].schema();
        let fields = fields.iter().map(|key| {
            let ty = key.data_type(&schema)?;
            Ok(SortField::new_with_options(ty, KEYS))
        });
        let converter = Arc::new(RowConverter::new(fields.collect::<Result<_>>()?)?);
        let sides = self
            .inputs
            .iter()
            .enumerate()
            .map(|(n, input)| {
                let consumer = MemoryConsumer::new(format!("groups of {}", self.call.name()));
                let memory = consumer.register(context.memory_pool());
                Ok(Side::new(
                    input.execute(partition, Arc::clone(&context))?,
                    self.call.function().inputs[n].len(),
                    self.shapes[n].keys,
                    Arc::clone(&converter),
                    memory,
                ))
            })
            .collect::<Result<_>>()?;
        let work = GroupWork {
            call: self.call.clone(),
            constants: constants(&self.constants)?,
            sides,
            wanted: context.session_config().batch_size(),
            instance: None,
            ready: VecDeque::new(),
            schema: self.schema(),
            counts: Counts::new(&self.metrics, partition),
        };
        Ok(run(self.schema(), work))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct GroupWork {
    call: Call,
    constants: Vec<ArrayRef>,
    sides: Vec<Side>,
    /// Rows that a call should have.
    wanted: usize,
    instance: Option<Instance>,
    ready: VecDeque<RecordBatch>,
    schema: SchemaRef,
    counts: Counts,
}

impl Work for GroupWork {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let offsets = self.gather().await?;
            if offsets.iter().all(|offsets| offsets.len() == 1) {
                self.instance = None;
                return Ok(None);
            }
            let mut inputs = Vec::with_capacity(offsets.len());
            for (side, offsets) in self.sides.iter_mut().zip(offsets) {
                let rows = offsets.last().copied().unwrap_or(0) as usize;
                let columns = side.take(rows)?;
                inputs.push(Groups { columns, offsets });
            }
            let mut instance = match self.instance.take() {
                Some(instance) => instance,
                None => self.call.instance()?,
            };
            let index = self.call.version.index;
            let results = instance.call_groups(index, &self.constants, &inputs);
            self.counts.calls.update(instance.timings());
            for rows in results.map_err(|e| self.call.failed(e))? {
                if rows.length > 0 {
                    self.ready.push_back(batch(&self.schema, rows)?);
                }
            }
            self.instance = Some(instance);
        }
    }

    fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }
}

impl GroupWork {
    /// Chooses the groups of the next call: where they start on each side, in pairs with the same key.
    async fn gather(&mut self) -> Result<Vec<Vec<u32>>> {
        let mut offsets = vec![vec![0_u32]; self.sides.len()];
        let mut rows = 0;
        while rows < self.wanted && offsets[0].len() <= ROWS {
            for side in &mut self.sides {
                while side.groups.is_empty() && !side.ended {
                    side.read()
                        .await?
                        .map_err(|rows| too_large(&self.call, rows))?;
                }
            }
            let mut fronts = self.sides.iter().map(|side| side.groups.front());
            let (left, right) = match (fronts.next().flatten(), fronts.next().flatten()) {
                (None, None) => break,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some((left, _)), Some((right, _))) => match left.cmp(right) {
                    Ordering::Less => (true, false),
                    Ordering::Equal => (true, true),
                    Ordering::Greater => (false, true),
                },
            };
            for (n, wanted) in [left, right].into_iter().take(self.sides.len()).enumerate() {
                let group = match wanted {
                    true => self.sides[n].groups.pop_front(),
                    false => None,
                };
                let length = group.map_or(0, |(_, rows)| rows);
                let start = offsets[n].last().copied().unwrap_or(0);
                offsets[n].push(start + length as u32);
                rows += length;
            }
        }
        Ok(offsets)
    }
}

fn too_large(call: &Call, rows: usize) -> DataFusionError {
    let message = format!(
        "{} (version {}): a group has more than {ROWS} rows, {rows} so far",
        call.name(),
        call.version.pin.version
    );
    let failure = Failure::new(ErrorCode::FunctionMemory, message);
    external(failure.hint("Cut the table by more keys, or write the function as an aggregate."))
}
