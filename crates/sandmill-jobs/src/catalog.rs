//! Functions and tables of a tenant.

use sandmill_model::{ErrorCode, Failure, ModuleDescription, TableSpec, TenantId};
use sandmill_store::{FunctionRecord, TableRecord};

use crate::error::translate;
use crate::service::{Service, now};

impl Service {
    /// Publishes the functions of a module: each becomes the newest version of its name.
    pub async fn publish(
        &self,
        tenant: &TenantId,
        wasm: Vec<u8>,
    ) -> Result<(ModuleDescription, Vec<FunctionRecord>), Failure> {
        let module = self.0.runner.inspect_module(tenant, wasm.clone()).await?;
        let (blobs, owner, digest) = (self.0.blobs.clone(), tenant.clone(), module.digest);
        tokio::task::spawn_blocking(move || blobs.module_put(&owner, digest, &wasm))
            .await
            .map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?
            .map_err(translate)?;
        let published = self.0.store.function_publish(tenant, &module, now()).await;
        Ok((module, published.map_err(translate)?))
    }

    /// The newest version of each function.
    pub async fn functions(&self, tenant: &TenantId) -> Result<Vec<FunctionRecord>, Failure> {
        self.0.store.function_list(tenant).await.map_err(translate)
    }

    /// All versions of a function, newest first; at least one.
    pub async fn versions(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Vec<FunctionRecord>, Failure> {
        self.0
            .store
            .function_versions(tenant, name)
            .await
            .map_err(translate)
    }

    /// One version of a function.
    pub async fn version(
        &self,
        tenant: &TenantId,
        name: &str,
        version: u32,
    ) -> Result<FunctionRecord, Failure> {
        let versions = self.versions(tenant, name).await?;
        let newest = versions[0].version;
        versions
            .into_iter()
            .find(|f| f.version == version)
            .ok_or_else(|| {
                let message = format!(
                    "The function {name} has no version {version}; the newest is {newest}."
                );
                Failure::new(ErrorCode::NotFound, message)
            })
    }

    /// What a module says of itself.
    pub async fn module(
        &self,
        tenant: &TenantId,
        digest: sandmill_model::Digest,
    ) -> Result<ModuleDescription, Failure> {
        self.0
            .store
            .module_get(tenant, digest)
            .await
            .map_err(translate)
    }

    /// Deletes a function with all versions, unless a job that has not ended uses it.
    pub async fn function_delete(&self, tenant: &TenantId, name: &str) -> Result<(), Failure> {
        let active = self.0.store.job_active(tenant).await.map_err(translate)?;
        if let Some(job) = active
            .iter()
            .find(|j| j.spec.functions.iter().any(|pin| pin.name == name))
        {
            let message = format!(
                "The job {} is {} and uses the function {name}.",
                job.id, job.state
            );
            return Err(Failure::new(ErrorCode::StateConflict, message)
                .hint("Wait for its end or cancel it."));
        }
        self.0
            .store
            .function_delete(tenant, name, now())
            .await
            .map_err(translate)
    }

    /// Registers a table after a look at its files.
    pub async fn table_register(
        &self,
        tenant: &TenantId,
        spec: TableSpec,
        replace: bool,
    ) -> Result<TableRecord, Failure> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let name = spec.name.as_str();
        if !(1..=63).contains(&name.len())
            || !name.bytes().all(legal)
            || name.as_bytes()[0].is_ascii_digit()
        {
            let message = format!("`{}` cannot name a table.", name.escape_debug());
            return Err(Failure::new(ErrorCode::RequestInvalid, message)
                .hint("Use 1 to 63 lower-case letters, digits and `_`, a letter or `_` first."));
        }
        let description = self.0.runner.describe_table(tenant, &spec).await?;
        let record = TableRecord {
            description,
            created_at: now(),
        };
        self.0
            .store
            .table_put(tenant, &record, replace)
            .await
            .map_err(|e| {
                let failure = translate(e);
                match failure.code {
                    ErrorCode::StateConflict => failure.hint("Choose another name, or replace it."),
                    _ => failure,
                }
            })?;
        Ok(record)
    }

    /// One table.
    pub async fn table(&self, tenant: &TenantId, name: &str) -> Result<TableRecord, Failure> {
        self.0
            .store
            .table_get(tenant, name)
            .await
            .map_err(translate)
    }

    /// All tables by name.
    pub async fn tables(&self, tenant: &TenantId) -> Result<Vec<TableRecord>, Failure> {
        self.0.store.table_list(tenant).await.map_err(translate)
    }

    /// Forgets a table; its files stay.
    pub async fn table_delete(&self, tenant: &TenantId, name: &str) -> Result<(), Failure> {
        self.0
            .store
            .table_delete(tenant, name)
            .await
            .map_err(translate)
    }
}
