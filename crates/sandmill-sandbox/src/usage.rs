//! What functions use: counted in each instance, collected for each job.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use sandmill_model::{Digest, FunctionUsage};

use crate::instance::{Timings, nanos};
use crate::machine::lock;

/// Rows from which on the CPU time of a call is measured. Asking the system for it costs as much as a
/// small call itself; those take their wall-clock time for it.
const MEASURED_ROWS: usize = 256;

/// Collects what the functions of one job use, over all of its instances.
#[derive(Debug, Default)]
pub struct UsageSink {
    functions: Mutex<HashMap<(Digest, Arc<str>), FunctionUsage>>,
    open: AtomicUsize,
}

impl UsageSink {
    /// Usage by module and function, so far.
    pub fn snapshot(&self) -> Vec<(Digest, String, FunctionUsage)> {
        let functions = lock(&self.functions);
        let all = functions.iter();
        all.map(|((digest, name), usage)| (*digest, name.to_string(), *usage))
            .collect()
    }

    /// Instances that still count. Once there are none, the snapshot is complete.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn enter(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    fn add(&self, digest: Digest, name: &Arc<str>, usage: &FunctionUsage) {
        let mut functions = lock(&self.functions);
        let key = (digest, Arc::clone(name));
        functions.entry(key).or_default().add(usage);
    }
}

/// Splits an instance's timings by function. What is added to them while a function is the current
/// one is that function's.
pub(crate) struct Meter {
    current: Option<usize>,
    /// The timings that belong to functions already.
    settled: Timings,
    entered: Instant,
    /// The thread's CPU time when the present call began, if it is measured.
    cpu_at_entry: Option<u64>,
    /// Since the last settlement.
    open: FunctionUsage,
    /// Wall-clock time of the measured calls among them.
    measured_wall: u64,
    functions: Vec<FunctionUsage>,
    published: Vec<FunctionUsage>,
}

impl Meter {
    /// A meter of an instance whose start took so long.
    pub(crate) fn new(functions: usize, instantiate_nanos: u64) -> Self {
        Self {
            current: None,
            settled: Timings::default(),
            entered: Instant::now(),
            cpu_at_entry: None,
            // Goes to the function that is called first: the instance was made for it.
            open: FunctionUsage {
                instances: 1,
                instantiate_nanos,
                ..FunctionUsage::default()
            },
            measured_wall: 0,
            functions: vec![FunctionUsage::default(); functions],
            published: vec![FunctionUsage::default(); functions],
        }
    }

    /// The function that was called last.
    pub(crate) fn last(&self) -> Option<usize> {
        self.current
    }

    /// A call of a function begins.
    pub(crate) fn enter(&mut self, function: usize, rows: usize, now: Instant, timings: &Timings) {
        if self.current != Some(function) {
            if self.current.is_some() {
                self.settle(timings);
            }
            self.current = Some(function);
        }
        self.entered = now;
        self.cpu_at_entry = (rows >= MEASURED_ROWS).then(thread_cpu_nanos);
    }

    /// The call came back.
    pub(crate) fn land(&mut self) {
        if let Some(before) = self.cpu_at_entry.take() {
            self.open.cpu_nanos += thread_cpu_nanos().saturating_sub(before);
            self.measured_wall += nanos(self.entered.elapsed());
        }
    }

    /// The call failed; nobody else counts it.
    pub(crate) fn fail(&mut self, trapped: bool, timings: &mut Timings) {
        self.land();
        timings.calls += 1;
        timings.call_nanos += nanos(self.entered.elapsed());
        match trapped {
            true => self.open.traps += 1,
            false => self.open.errors += 1,
        }
    }

    /// What came back does not hold.
    pub(crate) fn reject(&mut self) {
        self.open.errors += 1;
    }

    /// Gives the current function what was added since the last time.
    pub(crate) fn settle(&mut self, timings: &Timings) {
        let Some(usage) = self.functions.get_mut(self.current.unwrap_or(0)) else {
            return;
        };
        let call_nanos = timings.call_nanos - self.settled.call_nanos;
        let mut open = std::mem::take(&mut self.open);
        open.calls = timings.calls - self.settled.calls;
        open.rows = timings.rows - self.settled.rows;
        open.copy_nanos = timings.copy_nanos - self.settled.copy_nanos;
        open.call_nanos = call_nanos;
        open.validate_nanos = timings.validate_nanos - self.settled.validate_nanos;
        open.cpu_nanos += call_nanos.saturating_sub(std::mem::take(&mut self.measured_wall));
        usage.add(&open);
        self.settled = *timings;
    }

    /// Usage of each function, settled. `memory_bytes` is what the instance has.
    pub(crate) fn functions(&mut self, timings: &Timings, memory_bytes: u64) -> &[FunctionUsage] {
        // An instance that nobody called was made for nothing worth telling.
        if self.current.is_some() || self.open.traps + self.open.errors > 0 {
            self.settle(timings);
        }
        for usage in self.functions.iter_mut().filter(|u| u.is_used()) {
            usage.memory_bytes = memory_bytes;
        }
        &self.functions
    }

    /// Tells the sink what was not told yet.
    pub(crate) fn publish<'a>(
        &mut self,
        sink: &UsageSink,
        digest: Digest,
        names: impl Iterator<Item = &'a Arc<str>>,
    ) {
        let both = self.functions.iter().zip(&mut self.published);
        for ((now, before), name) in both.zip(names) {
            if now != before {
                sink.add(digest, name, &now.since(before));
                *before = *now;
            }
        }
    }
}

/// CPU time of this thread.
#[allow(unsafe_code, reason = "the clock of one thread is not in std")]
fn thread_cpu_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` lives through the call, which writes nothing else; a failure leaves it zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_thread_counts_its_work_only() {
        let start = thread_cpu_nanos();
        let mut sum = 0u64;
        while thread_cpu_nanos() == start {
            sum = std::hint::black_box(sum + 1);
        }
        let worked = thread_cpu_nanos();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(thread_cpu_nanos() - worked < 40_000_000);
    }

    #[test]
    fn each_function_gets_its_own() {
        let mut meter = Meter::new(2, 5);
        let mut timings = Timings::default();
        let now = Instant::now();
        meter.enter(1, 1, now, &timings);
        timings.calls += 1;
        timings.rows += 10;
        timings.call_nanos += 100;
        meter.enter(0, 1, now, &timings);
        timings.calls += 2;
        timings.call_nanos += 7;
        let sink = UsageSink::default();
        let names = [Arc::from("zero"), Arc::from("one")];
        meter.functions(&timings, 64);
        meter.publish(&sink, Digest::new([0; 32]), names.iter());
        meter.fail(true, &mut timings);
        meter.functions(&timings, 128);
        meter.publish(&sink, Digest::new([0; 32]), names.iter());
        let mut all = sink.snapshot();
        all.sort_by(|a, b| a.1.cmp(&b.1));
        let [(_, _, one), (_, _, zero)] = &all[..] else {
            unreachable!("{all:?}");
        };
        assert_eq!((one.instances, one.instantiate_nanos), (1, 5));
        assert_eq!((one.calls, one.rows, one.call_nanos), (1, 10, 100));
        assert_eq!(one.cpu_nanos, 100);
        assert_eq!((zero.calls, zero.traps, zero.instances), (3, 1, 0));
        assert_eq!((one.memory_bytes, zero.memory_bytes), (128, 128));
    }
}
