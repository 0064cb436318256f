use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandmill_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::keys::KeyId;

/// Keeps signatures of modules apart from signatures of anything else that the key may sign.
const DOMAIN: &[u8] = b"sandmill module signature v1\0";

/// Digest of a module's bytes.
pub fn module_digest(wasm: &[u8]) -> Digest {
    Digest::new(Sha256::digest(wasm).into())
}

/// What is signed.
pub(crate) fn message(module: Digest) -> Vec<u8> {
    [DOMAIN, module.as_bytes()].concat()
}

/// A detached signature, written `key_<16 hexadecimal digits>:<base64 of 64 bytes>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it.
    pub key: KeyId,
    /// R and S of RFC 8032.
    pub bytes: [u8; 64],
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, STANDARD.encode(self.bytes))
    }
}

impl FromStr for Signature {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (key, bytes) = text.trim().split_once(':').ok_or(Error::Malformed)?;
        if bytes.len() != 88 {
            return Err(Error::Malformed);
        }
        let bytes = STANDARD.decode(bytes).map_err(|_| Error::Malformed)?;
        Ok(Self {
            key: key.parse()?,
            bytes: bytes.try_into().map_err(|_| Error::Malformed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateKey;

    #[test]
    fn a_signature_fits_one_module_and_one_key() {
        let key = PrivateKey::generate().expect("random bits");
        let (module, other) = (module_digest(b"wasm"), module_digest(b"wasn"));
        let signature = key.sign(module);
        let read: Signature = format!(" {signature}\n").parse().expect("reads back");
        assert_eq!(read, signature);
        let public = key.public();
        assert_eq!(public.verify(module, &read), Ok(()));
        assert_eq!(public.verify(other, &read), Err(Error::Mismatch));
        let stranger = PrivateKey::generate().expect("random bits");
        assert_eq!(
            stranger.public().verify(module, &read),
            Err(Error::Mismatch)
        );
        // Another key under this key's name.
        let mut forged = stranger.sign(module);
        forged.key = public.id();
        assert_eq!(public.verify(module, &forged), Err(Error::Mismatch));
        for n in 0..64 {
            let mut bent = read.clone();
            bent.bytes[n] ^= 1;
            assert_eq!(public.verify(module, &bent), Err(Error::Mismatch), "{n}");
        }
    }

    #[test]
    fn the_signed_text_never_changes() {
        // Signatures that exist would stop to fit.
        let expected = [b"sandmill module signature v1\0".as_slice(), &[7; 32]].concat();
        assert_eq!(message(Digest::new([7; 32])), expected);
    }

    #[test]
    fn damaged_texts_are_no_signatures() {
        let good = PrivateKey::generate()
            .expect("random bits")
            .sign(module_digest(b""));
        let good = good.to_string();
        assert!(good.parse::<Signature>().is_ok());
        for bad in [
            "",
            ":",
            &good[4..],
            &good[..good.len() - 1],
            &format!("{good}="),
            &good.replace(':', "-"),
        ] {
            assert_eq!(bad.parse::<Signature>(), Err(Error::Malformed), "{bad}");
        }
    }
}
