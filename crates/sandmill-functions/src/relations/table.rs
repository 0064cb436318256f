//! Table functions: the rows of the input, each as often as the function gives rows for it.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use sandmill_sandbox::{Error, Pulled, Rows, Stream};

use super::Call;
use super::exec::{Counts, Work, properties, run};
use super::map::next_rows;

/// Its input has the arguments as its last columns.
#[derive(Debug)]
pub(super) struct TableExec {
    call: Call,
    input: Arc<dyn ExecutionPlan>,
    outer: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TableExec {
    pub(super) fn new(
        call: Call,
        input: Arc<dyn ExecutionPlan>,
        outer: bool,
        schema: SchemaRef,
    ) -> Self {
        Self {
            properties: properties(&input, schema),
            call,
            input,
            outer,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for TableExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outer = if self.outer { ", outer" } else { "" };
        write!(f, "TableFunctionExec: function={}{outer}", self.call.name())
    }
}

impl ExecutionPlan for TableExec {
    fn name(&self) -> &str {
        "TableFunctionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return internal_err!("TableFunctionExec has one child");
        };
        let (call, schema) = (self.call.clone(), self.schema());
        Ok(Arc::new(Self::new(call, input, self.outer, schema)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let function = self.call.function();
        let schema = self.schema();
        let work = Table {
            strict: function.strict,
            before: schema.fields().len() - function.columns.len(),
            outer: self.outer,
            chunk: context.session_config().batch_size(),
            input: Some(self.input.execute(partition, context)?),
            stream: None,
            opened: false,
            pushed: None,
            ready: None,
            counts: Counts::new(&self.metrics, partition),
            call: self.call.clone(),
            schema: Arc::clone(&schema),
        };
        Ok(run(schema, work))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Table {
    call: Call,
    schema: SchemaRef,
    strict: bool,
    outer: bool,
    /// Columns of the input that are handed on; the arguments follow them.
    before: usize,
    /// Most rows of a batch.
    chunk: usize,
    input: Option<SendableRecordBatchStream>,
    stream: Option<Stream>,
    opened: bool,
    pushed: Option<Pushed>,
    ready: Option<Ready>,
    counts: Counts,
}

/// The batch that the function works on.
struct Pushed {
    columns: Vec<ArrayRef>,
    rows: u32,
    /// The rows that the function saw, where it did not see all.
    seen: Option<UInt32Array>,
    /// The first row that neither has a result nor was found to have none.
    next: u32,
    /// Whether the function was done with it.
    closed: bool,
}

/// Rows that are complete: handed out piece by piece, since long values may be repeated often.
struct Ready {
    left: Vec<ArrayRef>,
    origins: UInt32Array,
    right: Vec<ArrayRef>,
    start: usize,
}

impl Work for Table {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.piece()? {
                return Ok(Some(batch));
            }
            let Some(stream) = &mut self.stream else {
                match next_rows(&mut self.input).await? {
                    Some(batch) => self.begin(batch)?,
                    None => return Ok(None),
                }
                continue;
            };
            let pulled = stream.pull();
            self.counts.calls.update(stream.timings());
            match pulled.map_err(|e| self.call.failed(e))? {
                Pulled::Batch { rows, origins } => self.gave(rows, origins)?,
                Pulled::NeedsInput => {
                    if !self.rest()? {
                        match next_rows(&mut self.input).await? {
                            Some(batch) => self.begin(batch)?,
                            None => {
                                if let Some(stream) = &mut self.stream {
                                    stream.finish();
                                }
                            }
                        }
                    }
                }
                Pulled::Done => {
                    self.rest()?;
                    if let Some(stream) = self.stream.take() {
                        let closed = stream.close().map_err(|e| self.call.failed(e))?;
                        self.counts.calls.update(closed);
                    }
                }
            }
        }
    }

    fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }
}

impl Table {
    /// Pushes a batch, without the rows that a strict function does not see.
    fn begin(&mut self, batch: RecordBatch) -> Result<()> {
        let (left, arguments) = batch.columns().split_at(self.before);
        let rows = batch.num_rows() as u32;
        let mut arguments = arguments.to_vec();
        let mut seen = None;
        if self.strict && arguments.iter().any(|a| a.logical_null_count() > 0) {
            let nulls: Vec<_> = arguments.iter().map(|a| a.logical_nulls()).collect();
            let whole = |row: &u32| {
                let valid = |n: &datafusion::arrow::buffer::NullBuffer| n.is_valid(*row as usize);
                nulls.iter().flatten().all(valid)
            };
            let kept: UInt32Array = (0..rows).filter(whole).collect::<Vec<_>>().into();
            for argument in &mut arguments {
                *argument = take(argument, &kept, None)?;
            }
            seen = Some(kept);
        }
        let visible = seen.as_ref().map_or(rows as usize, |seen| seen.len());
        self.pushed = Some(Pushed {
            columns: left.to_vec(),
            rows,
            seen,
            next: 0,
            closed: false,
        });
        if visible == 0 {
            self.rest()?;
            return Ok(());
        }
        if self.stream.is_none() {
            if self.opened {
                let error = Error::Output("it ended before its input did".into());
                return Err(self.call.failed(error));
            }
            self.opened = true;
            let mut stream = self.call.stream(&[])?;
            // It has to ask for its first batch as for all others.
            match stream.pull().map_err(|e| self.call.failed(e))? {
                Pulled::NeedsInput => {}
                _ => {
                    let error = Error::Output("it does not ask for its input".into());
                    return Err(self.call.failed(error));
                }
            }
            self.stream = Some(stream);
        }
        if let Some(stream) = &mut self.stream {
            let pushed = stream.push(arguments, visible);
            pushed.map_err(|e| self.call.failed(e))?;
        }
        Ok(())
    }

    /// Joins what the function gave with the rows of the input that it belongs to.
    fn gave(&mut self, rows: Rows, origins: Option<UInt32Array>) -> Result<()> {
        let (Some(pushed), Some(origins)) = (&mut self.pushed, origins) else {
            return internal_err!("rows without a push");
        };
        if rows.length == 0 {
            return Ok(());
        }
        if self.outer && pushed.closed {
            // The rows without results are known by then.
            let error = Error::Output("it gives rows for what it was done with".into());
            return Err(self.call.failed(error));
        }
        let origins = match &pushed.seen {
            Some(seen) => origins
                .values()
                .iter()
                .map(|n| seen.value(*n as usize))
                .collect::<Vec<_>>()
                .into(),
            None => origins,
        };
        let mut right = rows.columns;
        let mut left = origins;
        if self.outer {
            let (mut all, mut results) = (Vec::new(), Vec::new());
            for (n, origin) in left.values().iter().enumerate() {
                for missing in pushed.next..*origin {
                    all.push(missing);
                    results.push(None);
                }
                all.push(*origin);
                results.push(Some(n as u32));
                pushed.next = pushed.next.max(origin + 1);
            }
            if all.len() > left.len() {
                let results = UInt32Array::from(results);
                for column in &mut right {
                    *column = take(column, &results, None)?;
                }
                left = all.into();
            }
        }
        self.ready = Some(Ready {
            left: pushed.columns.clone(),
            origins: left,
            right,
            start: 0,
        });
        Ok(())
    }

    /// The rows behind the last one with a result. Whether there are some.
    fn rest(&mut self) -> Result<bool> {
        let Some(pushed) = &mut self.pushed else {
            return Ok(false);
        };
        pushed.closed = true;
        if !self.outer || pushed.next >= pushed.rows {
            return Ok(false);
        }
        let origins: UInt32Array = (pushed.next..pushed.rows).collect::<Vec<_>>().into();
        pushed.next = pushed.rows;
        let fields = &self.schema.fields()[self.before..];
        let null = |field: &Arc<datafusion::arrow::datatypes::Field>| {
            new_null_array(field.data_type(), origins.len())
        };
        self.ready = Some(Ready {
            left: pushed.columns.clone(),
            right: fields.iter().map(null).collect(),
            origins,
            start: 0,
        });
        Ok(true)
    }

    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        let Some(ready) = &mut self.ready else {
            return Ok(None);
        };
        let length = self.chunk.max(1).min(ready.origins.len() - ready.start);
        let origins = ready.origins.slice(ready.start, length);
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in &ready.left {
            columns.push(take(column, &origins, None)?);
        }
        let right = ready.right.iter();
        columns.extend(right.map(|column| column.slice(ready.start, length)));
        ready.start += length;
        if ready.start == ready.origins.len() {
            self.ready = None;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Some(batch))
    }
}
