//! Files: modules by digest, results of jobs. A file or folder appears whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sandmill_model::{Digest, JobId, TenantId};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// The files below one data folder:
/// `modules/<tenant>/<digest>.wasm`, `results/<tenant>/<job>/chunk-00000.arrows`, `staging/<job>-<attempt>`.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    |error| Error::File {
        path: path.display().to_string(),
        error,
    }
}

fn folder(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path))
}

/// Makes the entries of a folder durable.
fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(failed(path))
}

impl Blobs {
    /// Opens the folder, making what is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let blobs = Self { root: root.into() };
        for part in ["modules", "results", "staging"] {
            folder(&blobs.root.join(part))?;
        }
        Ok(blobs)
    }

    fn module(&self, tenant: &TenantId, digest: Digest) -> PathBuf {
        self.root
            .join("modules")
            .join(tenant.as_str())
            .join(format!("{digest}.wasm"))
    }

    /// Makes the folder of a tenant, and its entry durable.
    fn tenant_folder(&self, path: &Path) -> Result<(), Error> {
        if path.exists() {
            return Ok(());
        }
        folder(path)?;
        path.parent().map_or(Ok(()), sync)
    }

    /// Keeps a module under its digest; a damaged file is replaced.
    pub fn module_put(&self, tenant: &TenantId, digest: Digest, wasm: &[u8]) -> Result<(), Error> {
        let path = self.module(tenant, digest);
        if self.module_get(tenant, digest).is_ok() {
            return Ok(());
        }
        let parent = self.root.join("modules").join(tenant.as_str());
        self.tenant_folder(&parent)?;
        let staged = self
            .root
            .join("staging")
            .join(format!("{}.wasm", JobId::generate()));
        let write = |path: &Path| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(wasm)?;
            file.sync_all()
        };
        write(&staged).map_err(failed(&staged))?;
        fs::rename(&staged, &path).map_err(failed(&path))?;
        sync(&parent)
    }

    /// Reads a module; `Damaged` when it is no longer what its name says.
    pub fn module_get(&self, tenant: &TenantId, digest: Digest) -> Result<Vec<u8>, Error> {
        let path = self.module(tenant, digest);
        let wasm = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound(format!("The module {digest}")));
            }
            read => read.map_err(failed(&path))?,
        };
        if Digest::new(Sha256::digest(&wasm).into()) == digest {
            return Ok(wasm);
        }
        Err(Error::Damaged {
            what: "module",
            reason: format!("{digest} has other bytes"),
        })
    }

    /// Removes a module, if it is there.
    pub fn module_remove(&self, tenant: &TenantId, digest: Digest) -> Result<(), Error> {
        let path = self.module(tenant, digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(&path)(e)),
            _ => Ok(()),
        }
    }

    /// Makes the empty folder that an attempt writes its result into.
    pub fn stage(&self, job: JobId, attempt: u32) -> Result<PathBuf, Error> {
        let path = self.root.join("staging").join(format!("{job}-{attempt}"));
        if path.exists() {
            fs::remove_dir_all(&path).map_err(failed(&path))?;
        }
        folder(&path)?;
        Ok(path)
    }

    /// Removes what an attempt wrote.
    pub fn discard(&self, staging: &Path) -> Result<(), Error> {
        match fs::remove_dir_all(staging) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(staging)(e)),
            _ => Ok(()),
        }
    }

    /// Removes everything that was staged by earlier processes.
    pub fn discard_all(&self) -> Result<(), Error> {
        let staging = self.root.join("staging");
        fs::remove_dir_all(&staging).map_err(failed(&staging))?;
        folder(&staging)
    }

    /// Makes a staged result the job's, by one rename. Its files must be synced already.
    pub fn seal(&self, tenant: &TenantId, job: JobId, staging: &Path) -> Result<(), Error> {
        let path = self.results(tenant, job);
        let parent = self.root.join("results").join(tenant.as_str());
        self.tenant_folder(&parent)?;
        sync(staging)?;
        if path.exists() {
            // Left by an attempt that died between this rename and its row in the database.
            fs::remove_dir_all(&path).map_err(failed(&path))?;
        }
        fs::rename(staging, &path).map_err(failed(&path))?;
        sync(&parent)
    }

    /// The folder of a job's sealed result.
    pub fn results(&self, tenant: &TenantId, job: JobId) -> PathBuf {
        self.root
            .join("results")
            .join(tenant.as_str())
            .join(job.to_string())
    }

    /// Removes a job's sealed result, if there is one.
    pub fn results_remove(&self, tenant: &TenantId, job: JobId) -> Result<(), Error> {
        self.discard(&self.results(tenant, job))
    }

    /// Name of the file of chunk `n`.
    pub fn chunk_name(n: usize) -> String {
        format!("chunk-{n:05}.arrows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_what_their_names_say() {
        let root = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(root.path()).expect("opens");
        let tenant = TenantId::single();
        let digest = Digest::new(Sha256::digest(b"wasm").into());
        blobs.module_put(&tenant, digest, b"wasm").expect("kept");
        blobs.module_put(&tenant, digest, b"wasm").expect("again");
        assert_eq!(blobs.module_get(&tenant, digest).expect("there"), b"wasm");
        fs::write(blobs.module(&tenant, digest), b"other").expect("written");
        assert!(matches!(
            blobs.module_get(&tenant, digest),
            Err(Error::Damaged { .. })
        ));
        let other = TenantId::new("other").expect("legal");
        assert!(matches!(
            blobs.module_get(&other, digest),
            Err(Error::NotFound(_))
        ));
        blobs.module_remove(&tenant, digest).expect("removed");
        blobs.module_remove(&tenant, digest).expect("gone already");
    }

    #[test]
    fn results_appear_at_once() {
        let root = tempfile::tempdir().expect("folder");
        let blobs = Blobs::open(root.path()).expect("opens");
        let (tenant, job) = (TenantId::single(), JobId::generate());
        for round in 0..2 {
            let staging = blobs.stage(job, round).expect("made");
            fs::write(staging.join(Blobs::chunk_name(0)), b"x").expect("written");
            blobs.seal(&tenant, job, &staging).expect("sealed");
            assert!(!staging.exists());
            assert!(
                blobs
                    .results(&tenant, job)
                    .join("chunk-00000.arrows")
                    .exists()
            );
        }
        blobs.stage(job, 3).expect("made");
        blobs.discard_all().expect("removed");
        assert_eq!(
            fs::read_dir(root.path().join("staging"))
                .expect("there")
                .count(),
            0
        );
    }
}
