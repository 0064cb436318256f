use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sandmill_model::Failure;
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// Lanes without a job that are kept for the next one.
const KEPT: usize = 8;

/// Threads for queries. Each job has a lane of its own: what it does in one breath, be it a guest
/// that computes for long or a join that never pauses, keeps no other job waiting. The system
/// shares the cores between them.
pub(crate) struct Lanes {
    threads: usize,
    idle: Mutex<Vec<Runtime>>,
}

impl Lanes {
    /// Lanes of `threads` threads each.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let lanes = Self {
            threads: threads.max(1),
            idle: Mutex::default(),
        };
        let first = lanes.lay()?;
        lanes.idle().push(first);
        Ok(lanes)
    }

    fn lay(&self) -> std::io::Result<Runtime> {
        Builder::new_multi_thread()
            .worker_threads(self.threads)
            .thread_name("query")
            // Guests use the stack of the thread that calls them; plans recurse.
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Runtime>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> std::io::Result<Lane<'_>> {
        let mut idle = self.idle();
        // A job that ended early may still have parts that wind up.
        let free = idle
            .iter()
            .rposition(|lane| lane.metrics().num_alive_tasks() == 0);
        let found = free.map(|n| idle.remove(n));
        drop(idle);
        Ok(Lane {
            lanes: self,
            runtime: Some(found.map_or_else(|| self.lay(), Ok)?),
            task: None,
        })
    }

    /// Runs `work` on a lane of its own. When this is dropped first, the lane is given up: its
    /// threads end as soon as they pause.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut lane = self.take().map_err(super::internal)?;
        let Some(task) = lane.runtime.as_ref().map(|lane| lane.spawn(work)) else {
            return Err(super::internal("no threads"));
        };
        lane.task = Some(task.abort_handle());
        let result = task.await.map_err(super::internal);
        lane.task = None;
        result?
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in self.idle().drain(..) {
            lane.shutdown_background();
        }
    }
}

/// A lane that a job has.
struct Lane<'a> {
    lanes: &'a Lanes,
    runtime: Option<Runtime>,
    /// The job, until it has ended.
    task: Option<AbortHandle>,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let mut idle = self.lanes.idle();
        match self.task.take() {
            None if idle.len() < KEPT => idle.push(runtime),
            task => {
                drop(idle);
                if let Some(task) = task {
                    task.abort();
                }
                runtime.shutdown_background();
            }
        }
    }
}
