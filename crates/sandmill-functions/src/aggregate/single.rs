//! One group: aggregates without GROUP BY, over windows, and of gathered rows.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use sandmill_sandbox::{Argument, Error, Instance, States};

use crate::partition::{Callee, Constants, Partition, Shared, lock};

/// An accumulator with a handle of its own in an instance that its partition shares.
pub(super) struct Single {
    callee: Callee,
    partition: Arc<Partition>,
    constants: Constants,
    open: Option<(Shared, States)>,
}

impl std::fmt::Debug for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Single")
            .field("callee", &self.callee)
            .field("open", &self.open.is_some())
            .finish_non_exhaustive()
    }
}

impl Single {
    pub(super) fn new(callee: Callee, partition: Arc<Partition>, constants: Constants) -> Self {
        Self {
            callee,
            partition,
            constants,
            open: None,
        }
    }

    /// Another one of the same function, without rows.
    pub(super) fn fresh(&self) -> Self {
        let (callee, partition) = (self.callee.clone(), Arc::clone(&self.partition));
        Self::new(callee, partition, self.constants.clone())
    }

    /// Arguments of the function.
    pub(super) fn width(&self) -> usize {
        self.callee.function().arguments.len()
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Instance, &mut States, &Constants) -> Result<T, Error>,
    ) -> Result<T> {
        let (callee, partition) = (&self.callee, &self.partition);
        let (shared, states) = match &mut self.open {
            Some(open) => open,
            closed => {
                let shared = partition.shared(callee)?;
                let states = partition.run(callee, &mut lock(&shared), |instance| {
                    instance.aggregate_new(callee.version.index)
                })?;
                closed.insert((shared, states))
            }
        };
        let constants = &self.constants;
        partition.run(callee, &mut lock(shared), |instance| {
            work(instance, states, constants)
        })
    }
}

fn zeros(rows: usize) -> UInt32Array {
    UInt32Array::from(vec![0; rows])
}

fn rows(columns: &[ArrayRef]) -> usize {
    columns.first().map_or(0, |column| column.len())
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = rows(values);
        if rows == 0 {
            return Ok(());
        }
        self.run(|instance, states, constants| {
            let arguments = constants.arguments(values);
            instance.aggregate_update(states, &arguments, &zeros(rows), 1)
        })
    }

    fn merge_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let rows = rows(columns);
        if rows == 0 {
            return Ok(());
        }
        self.run(|instance, states, _| instance.aggregate_merge(states, columns, &zeros(rows), 1))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = rows(values);
        if rows == 0 {
            return Ok(());
        }
        self.run(|instance, states, constants| {
            let arguments: Vec<Argument<'_>> = constants.arguments(values);
            instance.aggregate_retract(states, &arguments, &zeros(rows), 1)
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.callee.function().retract
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = self.run(|instance, states, _| {
            instance.aggregate_grow(states, 1)?;
            instance.aggregate_finish(states, 0, 1)
        })?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.run(|instance, states, _| {
            instance.aggregate_grow(states, 1)?;
            instance.aggregate_state(states, 0, 1)
        })?;
        columns
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0))
            .collect()
    }

    /// Its share of the instance.
    fn size(&self) -> usize {
        let guest = self.open.as_ref().map_or(0, |(shared, _)| {
            let sharing = Arc::strong_count(shared).saturating_sub(1).max(1);
            lock(shared).memory_bytes() / sharing
        });
        size_of::<Self>() + guest
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        let Some((shared, states)) = self.open.take() else {
            return;
        };
        let last = Arc::strong_count(&shared) == 1;
        let mut instance = lock(&shared);
        // Without others the whole instance goes.
        if !last && !instance.is_poisoned() {
            // A failed close poisons the instance, which its next user finds.
            let _ = instance.aggregate_close(states);
        }
    }
}
