//! Window functions that run in the sandbox.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl};
use sandmill_sandbox::Loaded;

use crate::partition::{Callee, Constants, Partition, Shared, lock};
use crate::{JobScope, Version, coercion, instances};

/// A function version for the statements of one job.
pub(crate) fn window(version: Version, scope: Arc<JobScope>) -> WindowUDF {
    let callee = Callee { version, scope };
    WindowUDF::new_from_impl(Window {
        signature: callee.signature(),
        callee,
    })
}

/// See [`window`].
#[derive(Debug)]
pub(crate) struct Window {
    callee: Callee,
    signature: Signature,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.callee == other.callee
    }
}

impl Eq for Window {}

impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.callee.hash(state);
    }
}

impl WindowUDFImpl for Window {
    fn name(&self) -> &str {
        self.callee.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let function = self.callee.function();
        let from_arguments = function.strict
            && !function.frame
            && args.input_fields().iter().any(|f| f.is_nullable());
        let returns = function.returns.exact().cloned().ok_or_else(|| {
            DataFusionError::Plan(format!("the result of {} has no type", self.name()))
        })?;
        let nullable = function.nullable || from_arguments;
        Ok(Arc::new(Field::new(args.name(), returns, nullable)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coercion::coerce(self.callee.function(), given)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        if args.ignore_nulls() {
            return plan_err!("{} does not take IGNORE NULLS", self.name());
        }
        Ok(Box::new(Evaluator {
            callee: self.callee.clone(),
            partition: instances::partition(),
            constants: Constants::new(args.input_exprs())?,
            loaded: None,
        }))
    }
}

/// Computes the values of one window partition, in the instance that the node's partition shares.
struct Evaluator {
    callee: Callee,
    partition: Arc<Partition>,
    constants: Constants,
    /// Columns whose values lie in the guest.
    loaded: Option<(Shared, Vec<ArrayRef>, Loaded)>,
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator")
            .field("callee", &self.callee)
            .finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Lays the columns out unless they are there from the frame before.
    fn load(&mut self, columns: &[ArrayRef], end: usize) -> Result<()> {
        if let Some((shared, known, loaded)) = &self.loaded {
            let same = known.iter().zip(columns).all(|(a, b)| Arc::ptr_eq(a, b));
            if same && !known.is_empty() && lock(shared).window_holds(loaded) {
                return Ok(());
            }
        }
        // Without a column nothing says how long the partition is.
        let rows = columns.first().map_or(end, |column| column.len());
        let arguments = self.constants.arguments(columns);
        let shared = self.partition.shared(&self.callee)?;
        let loaded = self
            .partition
            .run(&self.callee, &mut lock(&shared), |instance| {
                instance.window_load(self.callee.version.index, &arguments, rows)
            })?;
        self.loaded = Some((shared, columns.to_vec(), loaded));
        Ok(())
    }
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let arguments = self.constants.arguments(values);
        let shared = self.partition.shared(&self.callee)?;
        self.partition
            .run(&self.callee, &mut lock(&shared), |instance| {
                instance.window(self.callee.version.index, &arguments, num_rows)
            })
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.load(values, range.end)?;
        let Some((shared, _, loaded)) = &self.loaded else {
            return internal_err!("no partition is loaded");
        };
        let value = self
            .partition
            .run(&self.callee, &mut lock(shared), |instance| {
                instance.window_frames(loaded, std::slice::from_ref(range))
            })?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn uses_window_frame(&self) -> bool {
        self.callee.function().frame
    }
}
