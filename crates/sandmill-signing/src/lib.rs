//! Ed25519 keys and detached signatures of modules.
//!
//! A signature covers the text `sandmill module signature v1`, a zero byte, and the 32 bytes of the
//! module's SHA-256: it can never be taken for a signature of anything else. Keys are PEM files as
//! OpenSSL writes them.
//!
//! Invariants:
//! - A private key is never shown by `Debug` and is wiped from memory when it is dropped.
//! - Verification is strict: keys of small order and malleable signatures are refused.
#![deny(missing_docs)]

mod keys;
mod signature;

pub use keys::{KeyId, PrivateKey, PublicKey};
pub use signature::{Signature, module_digest};

/// Why a key or a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no key of the wanted kind.
    #[error("this is no Ed25519 {0} key in PEM form")]
    Key(&'static str),
    /// The text is no signature.
    #[error("this is no signature of the form key_<16 hexadecimal digits>:<88 letters of base64>")]
    Malformed,
    /// The signature was made for another module or by another key.
    #[error("the signature does not fit the module")]
    Mismatch,
    /// The system gives no random bits.
    #[error("the system gives no random bits: {0}")]
    Random(String),
}
