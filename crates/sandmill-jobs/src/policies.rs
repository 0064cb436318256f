//! What a tenant permits its functions.

use std::collections::HashSet;

use sandmill_model::{ErrorCode, Failure, HttpRule, TenantId};

use crate::error::translate;
use crate::service::{Service, now};

/// Places that a tenant may permit.
const PLACES: usize = 200;

impl Service {
    /// Places that functions may call over HTTP.
    pub async fn http_policy(&self, tenant: &TenantId) -> Result<Vec<HttpRule>, Failure> {
        self.0.store.http_policy(tenant).await.map_err(translate)
    }

    /// Says which places functions may call over HTTP, instead of those before. Jobs that run keep
    /// what they started with.
    pub async fn set_http_policy(
        &self,
        tenant: &TenantId,
        rules: &[HttpRule],
        by: Option<&str>,
    ) -> Result<(), Failure> {
        let invalid = |message: String| Err(Failure::new(ErrorCode::RequestInvalid, message));
        if rules.len() > PLACES {
            return invalid(format!("At most {PLACES} places may be permitted."));
        }
        let mut seen = HashSet::new();
        for rule in rules {
            if let Some(flaw) = rule.flaw() {
                return invalid(format!("The place is not valid: {flaw}."));
            }
            if !seen.insert((&rule.host, rule.port)) {
                let place = format!("{}:{}", rule.host, rule.port);
                return invalid(format!("The place {place} occurs twice."));
            }
        }
        let put = self.0.store.http_policy_put(tenant, rules, by, now()).await;
        put.map_err(translate)
    }
}
