use sandmill_model::{ErrorCode, Failure, JobId, JobState, ResultManifest, TenantId};
use sandmill_store::blobs::Blobs;
use sha2::{Digest, Sha256};

use crate::service::Service;

impl Service {
    /// The sealed result of a succeeded job.
    ///
    /// # Errors
    /// `results.not_ready` while it runs, `state.conflict` when it ended without a result.
    pub async fn results(&self, tenant: &TenantId, id: JobId) -> Result<ResultManifest, Failure> {
        let job = self.view(tenant, id).await?;
        match (job.state, job.result) {
            (JobState::Succeeded, Some(result)) => Ok(result),
            (state, _) if state.is_terminal() => {
                let reason = job
                    .error
                    .as_ref()
                    .map(|e| format!(" {}", e.message))
                    .unwrap_or_default();
                let message = format!("The job {id} has no result: it is {state}.{reason}");
                let mut failure = Failure::new(ErrorCode::StateConflict, message);
                failure.hint = job.error.and_then(|e| e.hint);
                Err(failure)
            }
            (state, _) => {
                let message = format!("The result of job {id} is not ready: it is {state}.");
                Err(
                    Failure::new(ErrorCode::ResultsNotReady, message).hint(format!(
                        "Ask again later, or wait with `GET /api/v1/jobs/{id}?wait=30s`."
                    )),
                )
            }
        }
    }

    /// The bytes of chunk `n`: an Arrow IPC stream, checked against its digest.
    pub async fn chunk(
        &self,
        tenant: &TenantId,
        id: JobId,
        result: &ResultManifest,
        n: usize,
    ) -> Result<Vec<u8>, Failure> {
        let count = result.chunks.len();
        let chunk = result.chunks.get(n).ok_or_else(|| {
            let message = format!("The result has {count} chunks; there is no chunk {n}.");
            Failure::new(ErrorCode::NotFound, message)
        })?;
        let path = self.0.blobs.results(tenant, id).join(Blobs::chunk_name(n));
        let (bytes, digest) = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::read(path)?;
            let digest: [u8; 32] = Sha256::digest(&bytes).into();
            Ok::<_, std::io::Error>((bytes, sandmill_model::Digest::new(digest).to_string()))
        })
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|error| {
            tracing::error!(job = %id, chunk = n, %error, "a chunk cannot be read");
            Failure::new(
                ErrorCode::ResultsCorrupt,
                format!("Chunk {n} of the result cannot be read."),
            )
        })?;
        if digest != chunk.sha256 {
            tracing::error!(job = %id, chunk = n, "a chunk has other bytes than were sealed");
            let message = format!("Chunk {n} of the result is damaged.");
            return Err(Failure::new(ErrorCode::ResultsCorrupt, message).hint("Run the job again."));
        }
        Ok(bytes)
    }
}
