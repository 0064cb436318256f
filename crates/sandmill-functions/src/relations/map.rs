//! Maps: the batches of a partition through one stream of the function.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use sandmill_sandbox::{Pulled, Stream};

use super::Call;
use super::exec::{Counts, Work, batch, constants, properties, run};

#[derive(Debug)]
pub(super) struct MapExec {
    call: Call,
    input: Arc<dyn ExecutionPlan>,
    constants: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl MapExec {
    pub(super) fn new(
        call: Call,
        input: Arc<dyn ExecutionPlan>,
        constants: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            properties: properties(&input, schema),
            call,
            input,
            constants,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for MapExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MapExec: function={}", self.call.name())
    }
}

impl ExecutionPlan for MapExec {
    fn name(&self) -> &str {
        "MapExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return internal_err!("MapExec has one child");
        };
        let constants = self.constants.clone();
        let (call, schema) = (self.call.clone(), self.schema());
        Ok(Arc::new(Self::new(call, input, constants, schema)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let work = Map {
            call: self.call.clone(),
            constants: constants(&self.constants)?,
            input: Some(self.input.execute(partition, context)?),
            stream: None,
            schema: self.schema(),
            counts: Counts::new(&self.metrics, partition),
        };
        Ok(run(self.schema(), work))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Map {
    call: Call,
    constants: Vec<ArrayRef>,
    /// Gone once it or the function came to its end.
    input: Option<SendableRecordBatchStream>,
    stream: Option<Stream>,
    schema: SchemaRef,
    counts: Counts,
}

impl Work for Map {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.stream.is_none() && self.input.is_some() {
            self.stream = Some(self.call.stream(&self.constants)?);
        }
        while let Some(stream) = &mut self.stream {
            let pulled = stream.pull();
            self.counts.calls.update(stream.timings());
            match pulled.map_err(|e| self.call.failed(e))? {
                Pulled::Batch { rows, .. } if rows.length == 0 => {}
                Pulled::Batch { rows, .. } => return Ok(Some(batch(&self.schema, rows)?)),
                Pulled::NeedsInput => match next_rows(&mut self.input).await? {
                    Some(batch) => {
                        let rows = batch.num_rows();
                        let pushed = stream.push(batch.columns().to_vec(), rows);
                        pushed.map_err(|e| self.call.failed(e))?;
                    }
                    None => stream.finish(),
                },
                Pulled::Done => {
                    self.input = None;
                    if let Some(stream) = self.stream.take() {
                        let closed = stream.close().map_err(|e| self.call.failed(e))?;
                        self.counts.calls.update(closed);
                    }
                }
            }
        }
        Ok(None)
    }

    fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }
}

/// The next batch that has rows.
pub(super) async fn next_rows(
    input: &mut Option<SendableRecordBatchStream>,
) -> Result<Option<RecordBatch>> {
    while let Some(open) = input {
        match open.next().await.transpose()? {
            Some(batch) if batch.num_rows() == 0 => {}
            Some(batch) => return Ok(Some(batch)),
            None => *input = None,
        }
    }
    Ok(None)
}
