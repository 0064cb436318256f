//! How far a running plan is, from the metrics of its leaves.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// The nodes that read tables.
pub(crate) fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let children = plan.children();
    if children.is_empty() {
        return vec![Arc::clone(plan)];
    }
    children.into_iter().flat_map(leaves).collect()
}

/// Rows that the leaves have produced.
pub(crate) fn rows_read(leaves: &[Arc<dyn ExecutionPlan>]) -> u64 {
    let rows = |leaf: &Arc<dyn ExecutionPlan>| leaf.metrics().and_then(|m| m.output_rows());
    leaves.iter().filter_map(rows).map(|rows| rows as u64).sum()
}

/// Rows that the leaves will produce, where all of their files say.
pub(crate) fn rows_total(leaves: &[Arc<dyn ExecutionPlan>]) -> Option<u64> {
    let rows = |leaf: &Arc<dyn ExecutionPlan>| {
        let context = StatisticsContext::new();
        let statistics = context
            .compute(leaf.as_ref(), &StatisticsArgs::new())
            .ok()?;
        match statistics.num_rows {
            Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as u64),
            Precision::Absent => None,
        }
    };
    leaves.iter().map(rows).sum()
}
