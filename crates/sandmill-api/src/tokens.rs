//! API tokens: `sm_<id>_<secret>_<checksum>`. The store keeps only the SHA-256 of the secret.

use sandmill_model::{TenantId, TokenId};
use sandmill_store::{Error, Role, Store, TokenRecord};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of a secret.
const SECRET: usize = 24;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Catches mistyped tokens before the store is asked.
fn checksum(body: &str) -> String {
    hex(&Sha256::digest(body)[..4])
}

/// Issues a token and gives its text, which cannot be had again. Times are microseconds since 1970.
pub async fn issue(
    store: &dyn Store,
    tenant: &TenantId,
    name: &str,
    role: Role,
    created_at: i64,
    expires_at: Option<i64>,
) -> Result<String, Error> {
    let mut secret = [0; SECRET];
    getrandom::fill(&mut secret).map_err(|e| Error::Damaged {
        what: "source of random numbers",
        reason: e.to_string(),
    })?;
    let (id, secret) = (TokenId::generate(), hex(&secret));
    let record = TokenRecord {
        tenant: tenant.clone(),
        id,
        name: name.into(),
        role,
        hash: Sha256::digest(&secret).into(),
        created_at,
        expires_at,
    };
    store.token_insert(&record).await?;
    let id = id.to_string();
    let body = format!("sm_{}_{secret}", id.trim_start_matches("tok_"));
    Ok(format!("{body}_{}", checksum(&body)))
}

/// The id and secret of a well-formed token.
fn parse(text: &str) -> Option<(TokenId, &str)> {
    let (body, sum) = text.rsplit_once('_')?;
    if sum != checksum(body) {
        return None;
    }
    let (id, secret) = body.strip_prefix("sm_")?.split_once('_')?;
    let legal = secret.len() == SECRET * 2 && secret.bytes().all(|b| b.is_ascii_hexdigit());
    let id = format!("tok_{id}").parse().ok()?;
    legal.then_some((id, secret))
}

/// What a text that may be a token turns out to be.
pub enum Verdict {
    /// A token that permits what its record says.
    Valid(TokenRecord),
    /// A token whose time is over.
    Expired,
    /// No token of this installation.
    Unknown,
}

/// Looks a token up. Secrets are compared in constant time. `now` is microseconds since 1970.
pub async fn verify(store: &dyn Store, text: &str, now: i64) -> Result<Verdict, Error> {
    let Some((id, secret)) = parse(text) else {
        return Ok(Verdict::Unknown);
    };
    let Some(record) = store.token_find(id).await? else {
        return Ok(Verdict::Unknown);
    };
    let hash: [u8; 32] = Sha256::digest(secret).into();
    if !bool::from(hash.ct_eq(&record.hash)) {
        return Ok(Verdict::Unknown);
    }
    Ok(match record.expires_at {
        Some(end) if end <= now => Verdict::Expired,
        _ => Verdict::Valid(record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_parsed() {
        let body = format!("sm_{}_{}", "0".repeat(32), "a".repeat(48));
        let token = format!("{body}_{}", checksum(&body));
        assert!(parse(&token).is_some());
        for n in 0..token.len() {
            let mut wrong = token.clone().into_bytes();
            wrong[n] = if wrong[n] == b'1' { b'2' } else { b'1' };
            assert!(
                parse(&String::from_utf8(wrong).expect("text")).is_none(),
                "{n}"
            );
            assert!(parse(&token[..n]).is_none());
        }
        assert!(parse("").is_none() && parse("sm___").is_none());
    }
}
