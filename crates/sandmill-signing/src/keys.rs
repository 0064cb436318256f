use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sandmill_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::signature::{Signature, message};

/// What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410).
const PRIVATE: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What stands before the 32 bytes of a public key in a SubjectPublicKeyInfo (RFC 8410).
const PUBLIC: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The short name of a public key: the first 8 bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key_")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix("key_").ok_or(Error::Malformed)?;
        let legal = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 16 || !digits.bytes().all(legal) {
            return Err(Error::Malformed);
        }
        let number = u64::from_str_radix(digits, 16).map_err(|_| Error::Malformed)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// The key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the 32 bytes of a key; refuses those that are no point of the curve or of small order.
    ///
    /// # Errors
    /// `Key`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = || Error::Key("public");
        let bytes = bytes.try_into().map_err(|_| wrong())?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| wrong())?;
        if key.is_weak() {
            return Err(wrong());
        }
        Ok(Self(key))
    }

    /// Reads a PEM file: `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// `Key`.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = unwrap(pem, "PUBLIC KEY").ok_or(Error::Key("public"))?;
        Self::from_bytes(der.strip_prefix(PUBLIC).ok_or(Error::Key("public"))?)
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> String {
        wrap(&[PUBLIC, self.0.as_bytes()].concat(), "PUBLIC KEY")
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The short name.
    pub fn id(&self) -> KeyId {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }

    /// Checks a signature of the module with this digest.
    ///
    /// # Errors
    /// `Mismatch`.
    pub fn verify(&self, module: Digest, signature: &Signature) -> Result<(), Error> {
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        if signature.key != self.id() {
            return Err(Error::Mismatch);
        }
        self.0
            .verify_strict(&message(module), &bytes)
            .map_err(|_| Error::Mismatch)
    }
}

/// The key that signs.
pub struct PrivateKey(SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

impl PrivateKey {
    /// A new key from the system's random bits.
    ///
    /// # Errors
    /// `Random`.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Error::Random(e.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a PEM file: `-----BEGIN PRIVATE KEY-----`, not encrypted.
    ///
    /// # Errors
    /// `Key`.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let wrong = || Error::Key("private");
        let der = unwrap(pem, "PRIVATE KEY").ok_or_else(wrong)?;
        let seed = der.strip_prefix(PRIVATE).ok_or_else(wrong)?;
        let seed = seed.try_into().map_err(|_| wrong())?;
        Ok(Self(SigningKey::from_bytes(seed)))
    }

    /// The key as a PEM file.
    pub fn to_pem(&self) -> String {
        wrap(&[PRIVATE, self.0.as_bytes()].concat(), "PRIVATE KEY")
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the module with this digest.
    pub fn sign(&self, module: Digest) -> Signature {
        Signature {
            key: self.public().id(),
            bytes: self.0.sign(&message(module)).to_bytes(),
        }
    }
}

fn wrap(der: &[u8], label: &str) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// The bytes between the marks of a PEM file.
fn unwrap(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let (_, rest) = pem.split_once(&begin)?;
    let (text, _) = rest.split_once(&end)?;
    // A key of this kind has less than a hundred letters.
    let text: String = text.split_whitespace().collect();
    if text.len() > 100 {
        return None;
    }
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_files() {
        let key = PrivateKey::generate().expect("random bits");
        let again = PrivateKey::from_pem(&key.to_pem()).expect("reads back");
        assert_eq!(again.public(), key.public());
        let public = PublicKey::from_pem(&key.public().to_pem()).expect("reads back");
        assert_eq!(public, key.public());
        assert_eq!(public.id().to_string().parse(), Ok(public.id()));
        let debug = format!("{key:?}");
        assert!(debug.contains("key_") && debug.len() < 40, "{debug}");
        assert!(PrivateKey::from_pem(&key.public().to_pem()).is_err());
        assert!(PublicKey::from_pem(&key.to_pem()).is_err());
    }

    #[test]
    fn a_key_of_openssl_is_read() {
        // The pair of RFC 8410, sections 10.1 and 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let key = PrivateKey::from_pem(pem).expect("a key");
        assert_eq!(key.public().to_pem(), public);
    }

    #[test]
    fn strange_keys_are_refused() {
        for bad in [
            "",
            "key",
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
        ] {
            assert_eq!(PublicKey::from_pem(bad), Err(Error::Key("public")));
        }
        // The neutral element would accept signatures of anything.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(PublicKey::from_bytes(&weak).is_err());
        assert!(PublicKey::from_bytes(&[1; 31]).is_err());
        for bad in [
            "key_",
            "key_0123456789ABCDEF",
            "0123456789abcdef",
            "key_é",
            "key_+123456789abcdef",
        ] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
