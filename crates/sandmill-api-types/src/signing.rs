use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::moment;

/// A key that modules may be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningKey {
    /// Id: `key_` and the first 16 hexadecimal digits of the SHA-256 of the 32 bytes of the key.
    #[schema(example = "key_0123456789abcdef")]
    pub id: String,
    /// Name.
    pub name: String,
    /// The public key as a PEM file.
    pub public_key: String,
    /// Whether uploads may be signed with it.
    pub trusted: bool,
    /// When it was trusted.
    pub created_at: String,
    /// Name of the token that trusted it.
    pub created_by: Option<String>,
    /// When trust ended.
    pub revoked_at: Option<String>,
}

impl SigningKey {
    /// Times are microseconds since 1970.
    pub fn new(
        id: String,
        name: String,
        public_key: String,
        created: (i64, Option<String>),
        revoked: Option<i64>,
    ) -> Self {
        Self {
            id,
            name,
            public_key,
            trusted: revoked.is_none(),
            created_at: moment(created.0),
            created_by: created.1,
            revoked_at: revoked.map(moment),
        }
    }
}

/// Keys and the rule for uploads.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SigningKeyList {
    /// The keys, newest first, also those that are trusted no longer.
    pub items: Vec<SigningKey>,
}

/// A key to trust.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSigningKey {
    /// Name, 1 to 63 letters.
    pub name: String,
    /// The public key as a PEM file: `-----BEGIN PUBLIC KEY-----`.
    pub public_key: String,
}

/// Which modules the tenant takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningPolicy {
    /// Whether an upload must carry a signature of a trusted key.
    pub require_signed_functions: bool,
}
