//! Compiled code on disk. Loading machine code is running it, so a file counts only if this
//! installation made it: each carries a keyed digest over everything it stands for.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sandmill_model::{Digest, TenantId};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::error::Error;

const TAG: usize = 32;
const DOMAIN: &[u8] = b"sandmill compiled module 2";

/// What an artifact is for; every part is under the keyed digest.
pub(crate) struct Key<'a> {
    pub tenant: &'a TenantId,
    pub digest: Digest,
    pub compatibility: &'a str,
}

/// A folder of compiled modules: `<tenant>/<digest>-<compatibility>`.
pub(crate) struct Artifacts {
    folder: PathBuf,
    secret: [u8; 32],
}

/// What a valid artifact holds.
pub(crate) struct Artifact {
    pub manifest: Vec<u8>,
    pub code: Vec<u8>,
    /// Where the code comes from; see `places`.
    pub places: Vec<u8>,
}

impl Artifacts {
    /// Opens the folder and makes it and its key when they are missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let failed = |e: std::io::Error| {
            Error::Internal(format!(
                "the cache of compiled code at {} fails: {e}",
                folder.display()
            ))
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let path = folder.join("key");
        let secret = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut fresh = [0; 32];
                getrandom::fill(&mut fresh)
                    .map_err(|e| Error::Internal(format!("no random numbers: {e}")))?;
                // Another process may be first: then its key counts.
                match write_new(&path, &[&fresh]) {
                    Ok(()) => fresh.to_vec(),
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                        fs::read(&path).map_err(failed)?
                    }
                    Err(e) => return Err(failed(e)),
                }
            }
            Err(e) => return Err(failed(e)),
        };
        let secret = secret.try_into().map_err(|_| {
            Error::Internal(format!(
                "{} is damaged; remove it to start afresh",
                path.display()
            ))
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            secret,
        })
    }

    fn path(&self, key: &Key<'_>) -> PathBuf {
        let name = format!("{}-{}", key.digest, key.compatibility);
        self.folder.join(key.tenant.as_str()).join(name)
    }

    fn tag(&self, key: &Key<'_>, parts: [&[u8]; 3]) -> Result<[u8; TAG], Error> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .map_err(|e| Error::Internal(e.to_string()))?;
        let tenant = key.tenant.as_str().as_bytes();
        // Each part with its length, so that no two keys run into the same bytes.
        let key = [
            DOMAIN,
            tenant,
            key.digest.as_bytes(),
            key.compatibility.as_bytes(),
        ];
        for part in key.into_iter().chain(parts) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Ok(mac.finalize().into_bytes().into())
    }

    /// The artifact, if there is one that this installation made for exactly this key.
    pub(crate) fn get(&self, key: &Key<'_>) -> Option<Artifact> {
        let path = self.path(key);
        let file = fs::read(&path).ok()?;
        let found = self.verify(key, &file);
        if found.is_none() {
            tracing::warn!(path = %path.display(), "compiled code is not authentic; compiling again");
        }
        found
    }

    fn verify(&self, key: &Key<'_>, file: &[u8]) -> Option<Artifact> {
        let (tag, rest) = file.split_at_checked(TAG)?;
        let (manifest, rest) = sized(rest)?;
        let (code, places) = sized(rest)?;
        let expected = self.tag(key, [manifest, code, places]).ok()?;
        let same: bool = expected.ct_eq(tag).into();
        same.then(|| Artifact {
            manifest: manifest.to_vec(),
            code: code.to_vec(),
            places: places.to_vec(),
        })
    }

    /// Keeps an artifact; it appears whole or not at all.
    pub(crate) fn put(
        &self,
        key: &Key<'_>,
        manifest: &[u8],
        code: &[u8],
        places: &[u8],
    ) -> Result<(), Error> {
        let tag = self.tag(key, [manifest, code, places])?;
        let path = self.path(key);
        let length = |part: &[u8]| (part.len() as u64).to_le_bytes();
        let write = || {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(folder)?;
            }
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(std::io::Error::other)?;
            let staged = path.with_extension(format!("{:016x}", u64::from_le_bytes(random)));
            let (first, second) = (length(manifest), length(code));
            write_new(&staged, &[&tag, &first, manifest, &second, code, places])?;
            fs::rename(&staged, &path)
        };
        write().map_err(|e| Error::Internal(format!("compiled code cannot be kept: {e}")))
    }
}

/// A part with its length before it, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Writes a file that must not exist, readable by its owner only.
fn write_new(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_for_the_very_key_are_accepted() {
        let folder = tempfile::tempdir().expect("folder");
        let artifacts = Artifacts::open(folder.path()).expect("opens");
        let tenant = TenantId::single();
        let other = TenantId::new("other").expect("legal");
        let key = Key {
            tenant: &tenant,
            digest: Digest::new([1; 32]),
            compatibility: "c",
        };
        artifacts
            .put(&key, b"manifest", b"code", b"places")
            .expect("kept");
        let again = Artifacts::open(folder.path()).expect("opens");
        let found = again.get(&key).expect("authentic");
        assert_eq!(
            (&found.code[..], &found.places[..]),
            (&b"code"[..], &b"places"[..])
        );

        let file = fs::read(artifacts.path(&key)).expect("there");
        for n in 0..file.len() {
            let mut tampered = file.clone();
            tampered[n] ^= 1;
            assert!(artifacts.verify(&key, &tampered).is_none(), "byte {n}");
            assert!(artifacts.verify(&key, &file[..n]).is_none(), "cut at {n}");
        }
        let swapped = [
            Key {
                tenant: &other,
                ..key
            },
            Key {
                digest: Digest::new([2; 32]),
                ..key
            },
            Key {
                compatibility: "d",
                ..key
            },
        ];
        for key in swapped {
            assert!(artifacts.verify(&key, &file).is_none());
        }
        let stranger = tempfile::tempdir().expect("folder");
        let stranger = Artifacts::open(stranger.path()).expect("opens");
        assert!(stranger.verify(&key, &file).is_none());
    }
}
