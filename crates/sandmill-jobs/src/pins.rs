//! Which version of which function a statement means.

use std::collections::BTreeMap;

use sandmill_model::{DEFAULT, ErrorCode, Failure, FunctionPin, TenantId, VersionRef};

use crate::error::translate;
use crate::identifiers::identifiers;
use crate::service::{NewJob, Service};

/// Version that each name in SQL asks for: `f@3` in quotes asks for itself, `f` for what the request
/// says of it, else for the default.
fn wanted(job: &NewJob, known: &[String]) -> BTreeMap<String, (String, VersionRef)> {
    let mut wanted = BTreeMap::new();
    for word in identifiers(&job.sql) {
        let (name, version) = match word.split_once('@') {
            // Something else in quotes; if it is called, the planner knows no such function.
            Some((name, text)) => match text.parse() {
                Ok(version) => (name, version),
                Err(_) => continue,
            },
            None => (
                &*word,
                job.functions.get(&word).cloned().unwrap_or_default(),
            ),
        };
        if known.binary_search_by(|k| k.as_str().cmp(name)).is_ok() {
            let name = name.to_owned();
            wanted.insert(word, (name, version));
        }
    }
    wanted
}

impl Service {
    /// Fixes the versions of the functions that a statement names.
    pub(crate) async fn pins(
        &self,
        tenant: &TenantId,
        job: &NewJob,
    ) -> Result<Vec<FunctionPin>, Failure> {
        let store = &self.0.store;
        let mut known = store.function_names(tenant).await.map_err(translate)?;
        known.sort_unstable();
        if let Some(name) = job.functions.keys().find(|n| !known.contains(n)) {
            let message = format!("The function {} does not exist.", name.escape_debug());
            return Err(Failure::new(ErrorCode::NotFound, message));
        }
        let wanted = wanted(job, &known);
        // All at one moment, so that an upload of several functions is seen whole or not at all. What
        // the request names is looked up even if the statement does not use it.
        let named = job.functions.iter().map(|(n, v)| (n.clone(), v.clone()));
        let asked: Vec<_> = wanted.values().cloned().chain(named).collect();
        let found = store.function_resolve(tenant, &asked).await;
        let found = found.map_err(translate)?;
        let explicit = asked.iter().zip(&found).skip(wanted.len());
        if let Some(((name, version), _)) = explicit.into_iter().find(|(_, f)| f.is_none()) {
            return Err(self.no_version(tenant, name, version).await);
        }
        let pins = wanted.into_keys().zip(found);
        Ok(pins
            .filter_map(|(name, found)| {
                found.map(|(version, digest)| FunctionPin {
                    name,
                    version,
                    digest,
                })
            })
            .collect())
    }

    /// Why a function has no such version.
    pub(crate) async fn no_version(
        &self,
        tenant: &TenantId,
        name: &str,
        version: &VersionRef,
    ) -> Failure {
        let versions = match self.versions(tenant, name).await {
            Ok(versions) => versions,
            Err(failure) => return failure,
        };
        let newest = versions.first().map_or(0, |f| f.version);
        let message = match version {
            VersionRef::Number(number) => {
                format!("The function {name} has no version {number}; the newest is {newest}.")
            }
            VersionRef::Alias(alias) => format!("The function {name} has no alias {alias}."),
        };
        let mut aliases: Vec<_> = versions.into_iter().flat_map(|f| f.aliases).collect();
        aliases.sort_unstable();
        aliases.retain(|alias| alias != DEFAULT);
        Failure::new(ErrorCode::NotFound, message)
            .hint(format!("There are the aliases {}.", aliases.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ask_for_versions() {
        let job = NewJob {
            sql:
                "SELECT f(x), \"f@2\"(x), \"g@stable\"(x), g(x), \"h@1\"(x), \"f@no such\", 'f@7' \
                  FROM t"
                    .into(),
            functions: [("g".to_owned(), VersionRef::Number(5))].into(),
            ..NewJob::default()
        };
        let found = wanted(&job, &["f".into(), "g".into()]);
        let shown: Vec<_> = found
            .iter()
            .map(|(word, (name, version))| format!("{word}={name}:{version}"))
            .collect();
        assert_eq!(
            shown,
            ["f=f:default", "f@2=f:2", "g=g:5", "g@stable=g:stable"]
        );
    }
}
