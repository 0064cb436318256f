//! What accumulators and window functions share within one partition of one node.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::ArrayRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Signature;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use sandmill_sandbox::{Argument, Error, Function, Instance, Timings};

use crate::{JobScope, Version};

/// Locks; the data behind our locks stays whole even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds what was spent between `before` and `now`.
pub(crate) fn add(total: &mut Timings, now: Timings, before: Timings) {
    total.calls += now.calls.saturating_sub(before.calls);
    total.rows += now.rows.saturating_sub(before.rows);
    total.copy_nanos += now.copy_nanos.saturating_sub(before.copy_nanos);
    total.call_nanos += now.call_nanos.saturating_sub(before.call_nanos);
    total.validate_nanos += now.validate_nanos.saturating_sub(before.validate_nanos);
}

/// A function version within a job. Two are equal when they are the same version in the same job.
#[derive(Debug, Clone)]
pub(crate) struct Callee {
    pub(crate) version: Version,
    pub(crate) scope: Arc<JobScope>,
}

impl PartialEq for Callee {
    fn eq(&self, other: &Self) -> bool {
        self.version.pin == other.version.pin && Arc::ptr_eq(&self.scope, &other.scope)
    }
}

impl Eq for Callee {}

impl Hash for Callee {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.pin.hash(state);
    }
}

impl Callee {
    pub(crate) fn name(&self) -> &str {
        &self.version.pin.name
    }

    pub(crate) fn function(&self) -> &Function {
        self.version.function()
    }

    pub(crate) fn signature(&self) -> Signature {
        let volatility = self.version.volatility();
        if self.function().arguments.is_empty() {
            Signature::nullary(volatility)
        } else {
            Signature::user_defined(volatility)
        }
    }

    pub(crate) fn failed(&self, error: Error) -> DataFusionError {
        self.version.failed(error)
    }

    fn instantiate(&self) -> Result<Instance> {
        let made = self.version.module.instantiate(&self.scope.context);
        made.map_err(|e| self.failed(e))
    }
}

/// An instance that accumulators of one partition share, each with a handle of its own. They run on
/// the thread that polls the partition, so nobody waits for the lock.
pub(crate) type Shared = Arc<Mutex<Instance>>;

/// The shared instances of a partition, and the time that all its accumulators spent.
#[derive(Default)]
pub(crate) struct Partition {
    shared: Mutex<Vec<Shared>>,
    spent: Mutex<Timings>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Partition")
    }
}

impl Partition {
    /// The instance that accumulators of this module share.
    pub(crate) fn shared(&self, callee: &Callee) -> Result<Shared> {
        let digest = callee.version.module.digest();
        let mut shared = lock(&self.shared);
        shared.retain(|instance| !lock(instance).is_poisoned());
        let known = shared
            .iter()
            .find(|instance| lock(instance).module().digest() == digest);
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Mutex::new(self.own(callee)?));
        shared.push(Arc::clone(&made));
        Ok(made)
    }

    /// An instance for one accumulator alone.
    pub(crate) fn own(&self, callee: &Callee) -> Result<Instance> {
        callee.instantiate()
    }

    /// Runs `work` and accounts for its time.
    pub(crate) fn run<T>(
        &self,
        callee: &Callee,
        instance: &mut Instance,
        work: impl FnOnce(&mut Instance) -> Result<T, Error>,
    ) -> Result<T> {
        let before = instance.timings();
        let result = work(instance);
        add(&mut lock(&self.spent), instance.timings(), before);
        result.map_err(|e| callee.failed(e))
    }

    pub(crate) fn timings(&self) -> Timings {
        *lock(&self.spent)
    }

    /// Visits the shared instances.
    pub(crate) fn each(&self, visit: impl FnMut(&mut Instance)) {
        let mut visit = visit;
        for instance in lock(&self.shared).iter() {
            visit(&mut lock(instance));
        }
    }

    /// Forgets the instances; accumulators that still have one keep it.
    pub(crate) fn release(&self) {
        lock(&self.shared).clear();
    }
}

/// The arguments of a function that are literals, as arrays of one value.
#[derive(Debug, Clone)]
pub(crate) struct Constants(Vec<Option<ArrayRef>>);

impl Constants {
    pub(crate) fn new(expressions: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let constants = expressions.iter().map(|expression| {
            let literal = expression.downcast_ref::<Literal>();
            literal
                .map(|literal| literal.value().to_array())
                .transpose()
        });
        Ok(Self(constants.collect::<Result<_>>()?))
    }

    /// The arguments of a call with these columns, of which there may be more than arguments.
    pub(crate) fn arguments<'a>(&'a self, columns: &'a [ArrayRef]) -> Vec<Argument<'a>> {
        let both = self.0.iter().zip(columns);
        both.map(|(constant, column)| match constant {
            Some(constant) => Argument::Constant(constant),
            None => Argument::Column(column),
        })
        .collect()
    }
}
