use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use sandmill_model::{Chunk, Digest, ErrorCode, Failure};
use sandmill_store::blobs::Blobs;
use sha2::{Digest as _, Sha256};

/// A chunk ends when it has this many bytes or rows.
const BYTES: usize = 8 << 20;
const ROWS: u64 = 1 << 17;

/// Writes a result as chunks: each an Arrow IPC stream in a file of its own, synced.
pub(crate) struct ChunkWriter {
    folder: PathBuf,
    schema: SchemaRef,
    open: Option<(StreamWriter<Vec<u8>>, u64)>,
    /// What is written and closed.
    pub chunks: Vec<Chunk>,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "a result cannot be written");
    Failure::new(
        ErrorCode::StorageFailed,
        format!("The result cannot be written: {error}."),
    )
    .hint("The operator finds the cause in the server's log; often the disk is full.")
}

impl ChunkWriter {
    pub(crate) fn new(folder: PathBuf, schema: SchemaRef) -> Self {
        Self {
            folder,
            schema,
            open: None,
            chunks: Vec::new(),
        }
    }

    /// Bytes and rows so far.
    pub(crate) fn written(&self) -> (u64, u64) {
        let open = self
            .open
            .as_ref()
            .map_or((0, 0), |(w, rows)| (w.get_ref().len() as u64, *rows));
        self.chunks
            .iter()
            .fold(open, |(b, r), chunk| (b + chunk.bytes, r + chunk.rows))
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let (writer, rows) = match &mut self.open {
            Some(open) => open,
            None => {
                let writer = StreamWriter::try_new(Vec::new(), &self.schema).map_err(failed)?;
                self.open.insert((writer, 0))
            }
        };
        writer.write(batch).map_err(failed)?;
        *rows += batch.num_rows() as u64;
        if writer.get_ref().len() >= BYTES || *rows >= ROWS {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some((writer, rows)) = self.open.take() else {
            return Ok(());
        };
        let bytes = writer.into_inner().map_err(failed)?;
        let path = self.folder.join(Blobs::chunk_name(self.chunks.len()));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(failed)?;
        let sha256 = Digest::new(Sha256::digest(&bytes).into()).to_string();
        self.chunks.push(Chunk {
            rows,
            bytes: bytes.len() as u64,
            sha256,
        });
        Ok(())
    }

    /// Closes the last chunk. An empty result has one chunk, which carries the columns.
    pub(crate) fn finish(mut self) -> Result<Vec<Chunk>, Failure> {
        if self.open.is_none() && self.chunks.is_empty() {
            self.write(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        self.close()?;
        Ok(self.chunks)
    }
}
