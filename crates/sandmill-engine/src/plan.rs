use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use sandmill_functions::JobScope;
use sandmill_model::{ColumnInfo, Failure, Progress};

use crate::failure::failure;
use crate::{columns, progress};

/// A planned query, ready to run once.
pub struct Plan {
    sql: String,
    physical: Arc<dyn ExecutionPlan>,
    leaves: Vec<Arc<dyn ExecutionPlan>>,
    rows_total: Option<u64>,
    task: Arc<TaskContext>,
    scope: Arc<JobScope>,
}

impl Plan {
    pub(crate) fn new(
        sql: String,
        physical: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        scope: Arc<JobScope>,
    ) -> Self {
        let leaves = progress::leaves(&physical);
        let rows_total = progress::rows_total(&leaves);
        Self {
            sql,
            physical,
            leaves,
            rows_total,
            task,
            scope,
        }
    }

    /// Columns of the result.
    pub fn columns(&self) -> Vec<ColumnInfo> {
        columns(&self.physical.schema())
    }

    /// Schema of the result.
    pub fn schema(&self) -> SchemaRef {
        self.physical.schema()
    }

    /// The physical plan as text, one node a line.
    pub fn explain(&self) -> String {
        displayable(self.physical.as_ref())
            .indent(false)
            .to_string()
    }

    /// Rows read so far and in total; `rows_written` is the caller's to count.
    pub fn progress(&self) -> Progress {
        Progress {
            rows_read: progress::rows_read(&self.leaves),
            rows_total: self.rows_total,
            rows_written: 0,
        }
    }

    /// Starts it. Dropping the stream stops it; a guest in a loop is stopped by its context.
    ///
    /// # Errors
    /// What goes wrong while the nodes start; later errors come through the stream: see
    /// [`Plan::failure`].
    pub fn execute(&self) -> Result<SendableRecordBatchStream, Failure> {
        self.scope.start();
        execute_stream(Arc::clone(&self.physical), Arc::clone(&self.task))
            .map_err(|e| failure(&e, &self.sql))
    }

    /// Translates an error of the stream.
    pub fn failure(&self, error: &datafusion::common::DataFusionError) -> Failure {
        failure(error, &self.sql)
    }
}
