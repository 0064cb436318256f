//! The instances that belong to the partition whose stream is being polled on this thread.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use datafusion::common::Result as DataFusionResult;
use sandmill_model::FunctionUsage;
use sandmill_sandbox::{Error, Instance, Timings};

use crate::partition::{Partition, add};
use crate::{Idle, JobScope, Version};

thread_local! {
    static CURRENT: RefCell<Option<Instances>> = const { RefCell::new(None) };
}

/// The instances of one partition of one node, one for each module.
#[derive(Default)]
pub(crate) struct Instances {
    scalar: Vec<Instance>,
    /// What accumulators use, once there are some.
    partition: Option<Arc<Partition>>,
}

impl Instances {
    /// Where the time of all of them went.
    pub(crate) fn timings(&self) -> Timings {
        let mut all = Timings::default();
        for instance in &self.scalar {
            add(&mut all, instance.timings(), Timings::default());
        }
        if let Some(partition) = &self.partition {
            add(&mut all, partition.timings(), Timings::default());
        }
        all
    }

    /// Gives the slots back that no accumulator holds any more.
    pub(crate) fn release(&mut self) {
        self.scalar.clear();
        if let Some(partition) = self.partition.take() {
            partition.release();
        }
    }

    /// What each function used so far, with its name.
    pub(crate) fn usage(&mut self) -> Vec<(String, FunctionUsage)> {
        let mut all: Vec<(String, FunctionUsage)> = Vec::new();
        let mut count = |instance: &mut Instance| {
            let module = instance.module().clone();
            let functions = module.manifest().functions.iter();
            for (function, usage) in functions.zip(instance.usage()) {
                match all.iter_mut().find(|(name, _)| *name == function.name) {
                    Some((_, sum)) => sum.add(usage),
                    None => all.push((function.name.clone(), *usage)),
                }
            }
        };
        self.scalar.iter_mut().for_each(&mut count);
        if let Some(partition) = &self.partition {
            partition.each(count);
        }
        all.retain(|(_, usage)| usage.is_used());
        all
    }

    /// Tells the job what was used so far.
    pub(crate) fn publish(&mut self) {
        self.scalar.iter_mut().for_each(Instance::publish);
        if let Some(partition) = &self.partition {
            partition.each(Instance::publish);
        }
    }

    /// Runs `work` with these instances as the ones of this thread.
    pub(crate) fn with<T>(&mut self, work: impl FnOnce() -> T) -> T {
        // Restores the outer node's instances even if `work` unwinds.
        struct Restore<'a>(&'a mut Instances, Option<Instances>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                let mine = CURRENT.replace(self.1.take());
                *self.0 = mine.unwrap_or_default();
            }
        }
        let outer = CURRENT.replace(Some(std::mem::take(self)));
        let _restore = Restore(self, outer);
        work()
    }
}

/// What the accumulators of the partition on this thread share; of none, something of their own.
pub(crate) fn partition() -> Arc<Partition> {
    CURRENT.with_borrow_mut(|current| match current {
        Some(instances) => Arc::clone(instances.partition.get_or_insert_default()),
        None => Arc::default(),
    })
}

/// Runs `work` on this thread's instance of a version's module, or on one that no partition uses.
pub(crate) fn on_instance<T>(
    version: &Version,
    scope: &Arc<JobScope>,
    work: impl FnOnce(&mut Instance) -> Result<T, Error>,
) -> DataFusionResult<T> {
    on_instance_of(version, &[], scope, work)
}

/// The same for work that calls `others` of the same module, too: an error names the version that it
/// arose in.
pub(crate) fn on_instance_of<T>(
    version: &Version,
    others: &[Version],
    scope: &Arc<JobScope>,
    work: impl FnOnce(&mut Instance) -> Result<T, Error>,
) -> DataFusionResult<T> {
    let digest = version.module.digest();
    let of_module = |i: &Instance| i.module().digest() == digest;
    let failed = |error: Error, function: Option<usize>| {
        let at_fault = others.iter().find(|v| Some(v.index) == function);
        at_fault.unwrap_or(version).failed(error)
    };
    // The instance is taken out while it runs: nothing is borrowed during the call.
    let (mine, inside) = CURRENT.with_borrow_mut(|current| match current {
        Some(instances) => {
            let found = instances.scalar.iter().position(of_module);
            (found.map(|n| instances.scalar.swap_remove(n)), true)
        }
        None => (None, false),
    });
    let idle = || {
        let mut idle = scope.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().position(|i| of_module(&i.0))?;
        Some(idle.swap_remove(found).0)
    };
    let mut instance = match mine.or_else(|| if inside { None } else { idle() }) {
        Some(instance) => instance,
        None => {
            let made = version.module.instantiate(&scope.context);
            made.map_err(|e| failed(e, None))?
        }
    };
    // A failed instance is dropped here, which gives its slot back.
    let result = work(&mut instance).map_err(|e| failed(e, instance.last_function()))?;
    if inside {
        CURRENT.with_borrow_mut(|current| current.get_or_insert_default().scalar.push(instance));
    } else {
        instance.publish();
        scope
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Idle(instance));
    }
    Ok(result)
}
