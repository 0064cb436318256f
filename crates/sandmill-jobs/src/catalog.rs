//! Tables of a tenant.

use sandmill_model::{ErrorCode, Failure, TableSpec, TenantId};
use sandmill_store::TableRecord;

use crate::error::translate;
use crate::service::{Service, now};

impl Service {
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
