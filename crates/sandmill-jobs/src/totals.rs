//! What functions used since the service started, for its operator.

use std::collections::BTreeMap;
use std::sync::Mutex;

use sandmill_model::{FunctionUsage, JobState, TenantId, UsedVersion};

use crate::worker::lock;

/// Function versions that are counted apart; those that come later are counted together. A metric
/// has a series for each, and whoever publishes names them.
const SERIES: usize = 1000;

/// A function version of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Owner.
    pub tenant: String,
    /// Name in SQL; empty for those that are counted together.
    pub function: String,
    /// Version.
    pub version: u32,
}

/// Numbers of the service, for metrics.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// Jobs in the store by state.
    pub jobs: Vec<(JobState, u64)>,
    /// Jobs that run in this process.
    pub running: usize,
    /// Jobs that may run at a time.
    pub slots: usize,
    /// What functions used in attempts that ended since the start.
    pub functions: Vec<(Series, FunctionUsage)>,
}

#[derive(Default)]
pub(crate) struct Totals(Mutex<BTreeMap<Series, FunctionUsage>>);

impl Totals {
    pub(crate) fn add(&self, tenant: &TenantId, usage: &[UsedVersion]) {
        let mut all = lock(&self.0);
        for one in usage {
            let mut series = Series {
                tenant: tenant.to_string(),
                function: one.name.clone(),
                version: one.version,
            };
            if all.len() >= SERIES && !all.contains_key(&series) {
                series.tenant.clear();
                series.function.clear();
                series.version = 0;
            }
            all.entry(series).or_default().add(&one.usage);
        }
    }

    pub(crate) fn all(&self) -> Vec<(Series, FunctionUsage)> {
        let all = lock(&self.0);
        all.iter().map(|(s, u)| (s.clone(), *u)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandmill_model::Digest;

    #[test]
    fn the_number_of_series_is_bounded() {
        let totals = Totals::default();
        let tenant = TenantId::single();
        for version in 0..(SERIES as u32 + 5) {
            let usage = UsedVersion {
                name: "f".into(),
                version,
                digest: Digest::new([0; 32]),
                usage: FunctionUsage {
                    calls: 1,
                    ..FunctionUsage::default()
                },
            };
            totals.add(&tenant, &[usage]);
        }
        let all = totals.all();
        assert_eq!(all.len(), SERIES + 1);
        assert_eq!((all[0].0.function.as_str(), all[0].1.calls), ("", 5));
    }
}
