//! The instances that belong to the partition whose stream is being polled on this thread.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use datafusion::common::Result as DataFusionResult;
use sandmill_sandbox::{Error, Instance, Timings};

use crate::failure::external;
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

/// Runs `work` on this thread's instance of the versions' module, or on one that no partition uses.
/// An error is that of the version with the number that comes with it.
pub(crate) fn on_instance<T>(
    versions: &[Version],
    scope: &Arc<JobScope>,
    work: impl FnOnce(&mut Instance) -> Result<T, (usize, Error)>,
) -> DataFusionResult<T> {
    let Some(version) = versions.first() else {
        return datafusion::common::internal_err!("a call without a function");
    };
    let digest = version.module.digest();
    let of_module = |i: &Instance| i.module().digest() == digest;
    let failed = |(n, error): (usize, Error)| {
        let version = versions.get(n).unwrap_or(version);
        let number = version.pin.version.to_string();
        external(error.into_failure(Some((version.pin.function(), &number))))
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
        None => version
            .module
            .instantiate(&scope.context)
            .map_err(|e| failed((0, e)))?,
    };
    // A failed instance is dropped here, which gives its slot back.
    let result = work(&mut instance).map_err(failed)?;
    if inside {
        CURRENT.with_borrow_mut(|current| current.get_or_insert_default().scalar.push(instance));
    } else {
        scope
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Idle(instance));
    }
    Ok(result)
}
