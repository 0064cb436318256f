//! Keys that a tenant trusts, and signatures that they made.

use sandmill_model::{ErrorCode, Failure, TenantId};
use sandmill_signing::{PublicKey, Signature, module_digest};
use sandmill_store::{Error, KeyRecord};

use crate::error::translate;
use crate::service::{Service, now};

/// Keys that a tenant may trust at a time.
const KEYS: usize = 100;

fn wrong(error: sandmill_signing::Error) -> Failure {
    let message = error.to_string();
    let mut letters = message.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let message = first.into_iter().chain(letters).collect::<String>();
    Failure::new(ErrorCode::FunctionSignature, format!("{message}."))
        .hint("Sign this very file: `sandmill key sign FILE --key KEY`.")
}

impl Service {
    /// Checks the signature of a module; gives it with the id of its key.
    pub(crate) async fn check_signature(
        &self,
        tenant: &TenantId,
        wasm: &[u8],
        signature: Option<&str>,
    ) -> Result<Option<(String, String)>, Failure> {
        let store = &self.0.store;
        let Some(text) = signature else {
            // Asked again where it is published; here it saves the work of looking at the module.
            return match store.require_signed(tenant).await.map_err(translate)? {
                true => Err(translate(Error::Unsigned)),
                false => Ok(None),
            };
        };
        let signature: Signature = text.parse().map_err(wrong)?;
        let id = signature.key.to_string();
        let keys = store.key_list(tenant).await.map_err(translate)?;
        let trusted = |key: &&KeyRecord| key.id == id && key.revoked_at.is_none();
        let Some(key) = keys.iter().find(trusted) else {
            return Err(translate(Error::Untrusted(id)));
        };
        let key = PublicKey::from_bytes(&key.public_key).map_err(|e| {
            translate(Error::Damaged {
                what: "key",
                reason: e.to_string(),
            })
        })?;
        key.verify(module_digest(wasm), &signature).map_err(wrong)?;
        Ok(Some((signature.to_string(), id)))
    }

    /// Trusts a public key, given as a PEM file.
    pub async fn key_trust(
        &self,
        tenant: &TenantId,
        name: &str,
        pem: &str,
        by: Option<String>,
    ) -> Result<KeyRecord, Failure> {
        let invalid = |message: String| Failure::new(ErrorCode::RequestInvalid, message);
        if !(1..=63).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(invalid("A key's name has 1 to 63 letters.".into()));
        }
        let key = PublicKey::from_pem(pem).map_err(|e| {
            invalid(format!("The key cannot be read: {e}."))
                .hint("Give the public key, `-----BEGIN PUBLIC KEY-----`, as `sandmill key generate` or `openssl pkey -pubout` writes it.")
        })?;
        let record = KeyRecord {
            id: key.id().to_string(),
            name: name.into(),
            public_key: key.bytes().into(),
            created_at: now(),
            created_by: by,
            revoked_at: None,
        };
        let others = self.keys(tenant).await?;
        let trusted = |key: &&KeyRecord| key.revoked_at.is_none() && key.id != record.id;
        if others.iter().filter(trusted).count() >= KEYS {
            let message = format!("{KEYS} keys are trusted already.");
            return Err(Failure::new(ErrorCode::StateConflict, message).hint("Revoke one first."));
        }
        let put = self.0.store.key_put(tenant, &record).await;
        put.map_err(translate)?;
        Ok(record)
    }

    /// The public key as a PEM file; empty if what is stored is damaged.
    pub fn key_pem(&self, key: &KeyRecord) -> String {
        PublicKey::from_bytes(&key.public_key).map_or_else(|_| String::new(), |k| k.to_pem())
    }

    /// All keys, newest first, also those that are trusted no longer.
    pub async fn keys(&self, tenant: &TenantId) -> Result<Vec<KeyRecord>, Failure> {
        self.0.store.key_list(tenant).await.map_err(translate)
    }

    /// Ends the trust in a key. Versions that it signed stay; they show that it is trusted no longer.
    pub async fn key_revoke(&self, tenant: &TenantId, id: &str) -> Result<KeyRecord, Failure> {
        let revoked = self.0.store.key_revoke(tenant, id, now()).await;
        revoked.map_err(translate)
    }

    /// Whether the tenant takes signed modules only.
    pub async fn require_signed(&self, tenant: &TenantId) -> Result<bool, Failure> {
        self.0.store.require_signed(tenant).await.map_err(translate)
    }

    /// Says whether the tenant takes signed modules only. Versions that are there stay.
    pub async fn set_require_signed(
        &self,
        tenant: &TenantId,
        require: bool,
    ) -> Result<(), Failure> {
        let put = self.0.store.require_signed_put(tenant, require).await;
        put.map_err(translate)
    }
}
