use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Trap};
use crate::machine::lock;

/// How long an instance waits for a free slot of the pool.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts the pool's slots, so that a full pool makes instances wait rather than fail.
pub(crate) struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

/// One slot; given back when dropped.
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    pub(crate) fn new(count: u32) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        })
    }

    pub(crate) fn free(&self) -> u32 {
        *lock(&self.free)
    }

    /// Waits for a slot until the job is cancelled, its deadline passes or patience ends.
    pub(crate) fn take(self: &Arc<Self>, context: &Context) -> Result<Slot, Error> {
        let since = Instant::now();
        let stopped = |cause| Error::Trap {
            cause,
            message: None,
            frames: Vec::new(),
        };
        let mut free = lock(&self.free);
        while *free == 0 {
            if context.cancellation.is_cancelled() {
                return Err(stopped(Trap::Cancelled));
            }
            if context.deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(stopped(Trap::JobDeadline));
            }
            if since.elapsed() >= PATIENCE {
                return Err(Error::Exhausted(PATIENCE));
            }
            // A short wait, because nothing wakes this thread when the job is cancelled.
            let waited = self.freed.wait_timeout(free, Duration::from_millis(5));
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}
