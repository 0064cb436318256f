//! Versions of functions: published, named, shown, deleted.

use sandmill_model::{
    Digest, ErrorCode, Failure, FunctionPin, JobId, LATEST, ModuleDescription, TenantId, VersionRef,
};
use sandmill_store::{AliasRecord, Error, FunctionRecord, Origin, Page, UsingJob, VersionUsage};

use crate::error::translate;
use crate::service::{Service, now};

/// A module that somebody wants to publish.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// The module.
    pub wasm: Vec<u8>,
    /// Its signature, as text.
    pub signature: Option<String>,
    /// Name of the token that brings it.
    pub by: Option<String>,
}

fn internal(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "a task ended by a panic");
    Failure::new(ErrorCode::Internal, "Something went wrong inside Sandmill.")
}

/// Whether a text can name an alias that people set.
fn check_alias(alias: &str) -> Result<(), Failure> {
    let wrong = |message: String| Err(Failure::new(ErrorCode::RequestInvalid, message));
    match alias.parse() {
        Ok(VersionRef::Alias(name)) if name == LATEST => wrong(format!(
            "The alias {LATEST} always names the newest version and cannot be moved."
        )),
        Ok(VersionRef::Alias(_)) => Ok(()),
        Ok(VersionRef::Number(_)) => {
            wrong("An alias is no number: a letter comes first.".to_owned())
        }
        Err(e) => wrong(format!("{e}.")),
    }
}

impl Service {
    /// Publishes the functions of a module: each becomes the newest version of its name, all of them
    /// at one moment. A signature is checked before anything else looks at the module.
    pub async fn publish(
        &self,
        tenant: &TenantId,
        upload: Upload,
    ) -> Result<(ModuleDescription, Vec<FunctionRecord>), Failure> {
        let Upload {
            wasm,
            signature,
            by,
        } = upload;
        let origin = Origin {
            by,
            signature: self
                .check_signature(tenant, &wasm, signature.as_deref())
                .await?,
        };
        let module = self.0.runner.inspect_module(tenant, wasm.clone()).await?;
        let (blobs, owner, digest) = (self.0.blobs.clone(), tenant.clone(), module.digest);
        let _alone = self.0.modules.lock().await;
        tokio::task::spawn_blocking(move || blobs.module_put(&owner, digest, &wasm))
            .await
            .map_err(internal)?
            .map_err(translate)?;
        let store = &self.0.store;
        let published = store
            .function_publish(tenant, &module, &origin, now())
            .await;
        if published.is_err()
            && let Err(Error::NotFound(_)) = store.module_get(tenant, digest).await
        {
            self.forget(tenant, vec![digest]).await;
        }
        Ok((module, published.map_err(translate)?))
    }

    /// Removes files of modules that no version needs. Left-over files do no harm.
    async fn forget(&self, tenant: &TenantId, digests: Vec<Digest>) {
        for digest in digests {
            if let Err(error) = self.0.blobs.module_remove(tenant, digest) {
                tracing::warn!(%digest, %error, "a module that nothing needs stays on disk");
            }
        }
    }

    /// The default version of each function: the one that a call without a version means.
    pub async fn functions(&self, tenant: &TenantId) -> Result<Vec<FunctionRecord>, Failure> {
        self.0.store.function_list(tenant).await.map_err(translate)
    }

    /// All versions of a function, newest first; at least one.
    pub async fn versions(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<FunctionRecord>, Failure> {
        let versions = self.0.store.function_versions(tenant, name).await;
        versions.map_err(translate)
    }

    /// One version of a function.
    pub async fn version(
        &self,
        tenant: &TenantId,
        name: &str,
        version: &VersionRef,
    ) -> Result<FunctionRecord, Failure> {
        let versions = self.versions(tenant, name).await?;
        let found = versions.into_iter().find(|f| match version {
            VersionRef::Number(number) => f.version == *number,
            VersionRef::Alias(alias) => f.aliases.contains(alias),
        });
        match found {
            Some(found) => Ok(found),
            None => Err(self.no_version(tenant, name, version).await),
        }
    }

    /// The bytes of a version's module.
    pub async fn module(
        &self,
        tenant: &TenantId,
        record: &FunctionRecord,
    ) -> Result<Vec<u8>, Failure> {
        let (blobs, owner, digest) = (self.0.blobs.clone(), tenant.clone(), record.digest);
        tokio::task::spawn_blocking(move || blobs.module_get(&owner, digest))
            .await
            .map_err(internal)?
            .map_err(translate)
    }

    /// Deletes one version of a function, or all, unless a job that has not ended uses it.
    pub async fn function_delete(
        &self,
        tenant: &TenantId,
        name: &str,
        version: Option<u32>,
    ) -> Result<(), Failure> {
        let _alone = self.0.modules.lock().await;
        let orphans =
            self.0
                .store
                .function_delete(tenant, name, version, now())
                .await
                .map_err(|error| match error {
                    Error::Conflict(_) => translate(error)
                        .hint("Let the alias name another version first, or delete it."),
                    error => translate(error),
                })?;
        self.forget(tenant, orphans).await;
        Ok(())
    }

    /// Aliases of a function by name.
    pub async fn aliases(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<AliasRecord>, Failure> {
        let aliases = self.0.store.alias_list(tenant, name).await;
        aliases.map_err(translate)
    }

    /// Lets an alias name a version; `default` is what a call without a version means.
    pub async fn alias_set(
        &self,
        tenant: &TenantId,
        name: &str,
        alias: &str,
        version: &VersionRef,
        by: Option<&str>,
    ) -> Result<AliasRecord, Failure> {
        check_alias(alias)?;
        let set = self
            .0
            .store
            .alias_put(tenant, name, alias, version, by, now())
            .await;
        match set {
            Err(Error::NotFound(_)) => Err(self.no_version(tenant, name, version).await),
            other => other.map_err(translate),
        }
    }

    /// Forgets an alias. Without it `default` follows the newest version again.
    pub async fn alias_delete(
        &self,
        tenant: &TenantId,
        name: &str,
        alias: &str,
    ) -> Result<(), Failure> {
        check_alias(alias)?;
        let deleted = self.0.store.alias_delete(tenant, name, alias).await;
        deleted.map_err(translate)
    }

    /// How much each version of a function was used, and the jobs that used it, newest first.
    pub async fn usage(
        &self,
        tenant: &TenantId,
        name: &str,
        limit: u32,
        cursor: Option<JobId>,
    ) -> Result<(Vec<VersionUsage>, Page<UsingJob>), Failure> {
        let store = &self.0.store;
        let names = store.function_names(tenant).await.map_err(translate)?;
        let usage = store.function_usage(tenant, name).await;
        let usage = usage.map_err(translate)?;
        // A deleted function is still asked about.
        if usage.is_empty() && !names.iter().any(|n| n == name) {
            let message = format!("The function {name} does not exist.");
            return Err(Failure::new(ErrorCode::NotFound, message));
        }
        let jobs = store.function_jobs(tenant, name, limit, cursor).await;
        Ok((usage, jobs.map_err(translate)?))
    }
}

/// A version as a job pins it.
pub(crate) fn pin(record: &FunctionRecord) -> FunctionPin {
    FunctionPin {
        name: record.info.name.clone(),
        version: record.version,
        digest: record.digest,
    }
}
