use serde::{Deserialize, Serialize};

use crate::Digest;

/// What the calls of one function used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionUsage {
    /// Instances that were made for it.
    pub instances: u64,
    /// Calls into the guest.
    pub calls: u64,
    /// Rows computed.
    pub rows: u64,
    /// Nanoseconds of copying arguments in.
    pub copy_nanos: u64,
    /// Nanoseconds in the guest.
    pub call_nanos: u64,
    /// Nanoseconds of CPU time in the guest.
    pub cpu_nanos: u64,
    /// Nanoseconds of checking results and copying them out.
    pub validate_nanos: u64,
    /// Nanoseconds of making instances.
    pub instantiate_nanos: u64,
    /// Largest memory of an instance in bytes.
    pub memory_bytes: u64,
    /// Calls that trapped or were stopped.
    pub traps: u64,
    /// Calls that reported an error or gave data that is not valid.
    pub errors: u64,
}

impl FunctionUsage {
    /// Adds what another part of the work used.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts().into_iter().zip(other.values()) {
            *mine = mine.saturating_add(theirs);
        }
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
    }

    /// What was added since `before`; the memory is the present one.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        for (now, before) in since.counts().into_iter().zip(before.values()) {
            *now = now.saturating_sub(before);
        }
        since
    }

    /// Whether the function was called at all.
    pub fn is_used(&self) -> bool {
        self.calls + self.traps + self.errors > 0
    }

    fn counts(&mut self) -> [&mut u64; 10] {
        [
            &mut self.instances,
            &mut self.calls,
            &mut self.rows,
            &mut self.copy_nanos,
            &mut self.call_nanos,
            &mut self.cpu_nanos,
            &mut self.validate_nanos,
            &mut self.instantiate_nanos,
            &mut self.traps,
            &mut self.errors,
        ]
    }

    fn values(&self) -> [u64; 10] {
        let mut copy = *self;
        copy.counts().map(|count| *count)
    }
}

/// What one version of a function used in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedVersion {
    /// Name in SQL.
    pub name: String,
    /// Version within the tenant.
    pub version: u32,
    /// Module that holds it.
    pub digest: Digest,
    /// What its calls used.
    #[serde(flatten)]
    pub usage: FunctionUsage,
}
