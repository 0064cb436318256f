//! What the running nodes share.

use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use sandmill_sandbox::Rows;

use crate::node::CallMetrics;

/// The properties of a node whose rows are new: as many partitions as the input, in no order.
pub(super) fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<PlanProperties> {
    let partitions = input.output_partitioning().partition_count();
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// The values of constants, each as an array of length 1.
pub(super) fn constants(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<ArrayRef>> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
    let evaluate = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&row)?.into_array(1);
    exprs.iter().map(evaluate).collect()
}

/// What a partition counts.
pub(super) struct Counts {
    pub calls: CallMetrics,
    pub baseline: BaselineMetrics,
}

impl Counts {
    pub(super) fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            calls: CallMetrics::new(set, partition),
            baseline: BaselineMetrics::new(set, partition),
        }
    }
}

/// What a partition does: gives one batch after the other.
pub(super) trait Work: Send + 'static {
    /// The next batch; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<RecordBatch>>> + Send;

    fn counts(&mut self) -> &mut Counts;
}

/// The stream of a partition. Other tasks get their turn even while a guest never runs dry.
pub(super) fn run<W: Work>(schema: SchemaRef, work: W) -> SendableRecordBatchStream {
    let batches = futures::stream::try_unfold(work, |mut work| async move {
        let batch = work.next().await?;
        if let Some(batch) = &batch {
            work.counts().baseline.record_output(batch.num_rows());
        }
        Ok(batch.map(|batch| (batch, work)))
    });
    Box::pin(cooperative(RecordBatchStreamAdapter::new(
        schema,
        Box::pin(batches),
    )))
}

/// Rows of a function as a batch.
pub(super) fn batch(schema: &SchemaRef, rows: Rows) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.length));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        rows.columns,
        &options,
    )?)
}
