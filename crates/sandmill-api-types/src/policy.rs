use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A place that functions may call over HTTP, if their manifest names it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Name of the host in lower case, exactly: there are no wildcards.
    #[schema(example = "api.example.org")]
    pub host: String,
    /// Port.
    #[schema(example = 80)]
    pub port: u16,
    /// Methods in upper case, 1 to 8.
    pub methods: Vec<String>,
}

/// Where functions may go. Nowhere by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpPolicy {
    /// The places, at most 200, each once.
    pub allow: Vec<HttpGrant>,
}
