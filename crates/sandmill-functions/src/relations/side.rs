//! One sorted input, cut into groups where its keys change.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::row::{OwnedRow, RowConverter};
use datafusion::common::{Result, internal_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

/// Rows of one group that a call can take.
pub(super) const ROWS: usize = 1 << 20;

pub(super) struct Side {
    input: SendableRecordBatchStream,
    /// Columns that the function takes; the keys follow them.
    data: usize,
    keys: Range<usize>,
    converter: Arc<RowConverter>,
    /// Rows that were not taken yet, keys left out.
    pending: VecDeque<RecordBatch>,
    /// Complete groups, in order: key and rows.
    pub groups: VecDeque<(OwnedRow, usize)>,
    /// The group that goes on.
    open: Option<(OwnedRow, usize)>,
    pub ended: bool,
    memory: MemoryReservation,
}

impl Side {
    pub(super) fn new(
        input: SendableRecordBatchStream,
        data: usize,
        keys: usize,
        converter: Arc<RowConverter>,
        memory: MemoryReservation,
    ) -> Self {
        Self {
            input,
            data,
            keys: data..data + keys,
            converter,
            pending: VecDeque::new(),
            groups: VecDeque::new(),
            open: None,
            ended: false,
            memory,
        }
    }

    /// Reads one batch, or finds the end.
    ///
    /// # Errors
    /// The rows of a group that is larger than any call takes.
    pub(super) async fn read(&mut self) -> Result<Result<(), usize>> {
        let Some(batch) = self.input.next().await.transpose()? else {
            self.groups.extend(self.open.take());
            self.ended = true;
            return Ok(Ok(()));
        };
        if batch.num_rows() == 0 {
            return Ok(Ok(()));
        }
        let keys = self
            .converter
            .convert_columns(&batch.columns()[self.keys.clone()])?;
        for key in &keys {
            match &mut self.open {
                Some((open, rows)) if open.row() == key => *rows += 1,
                open => self.groups.extend(open.replace((key.owned(), 1))),
            }
        }
        if let Some((_, rows)) = self
            .open
            .iter()
            .chain(&self.groups)
            .find(|(_, rows)| *rows > ROWS)
        {
            return Ok(Err(*rows));
        }
        let columns: Vec<usize> = (0..self.data).collect();
        self.pending.push_back(batch.project(&columns)?);
        self.account()?;
        Ok(Ok(()))
    }

    /// The first `rows` rows.
    pub(super) fn take(&mut self, rows: usize) -> Result<Vec<ArrayRef>> {
        let (mut parts, mut missing) = (Vec::new(), rows);
        while missing > 0 {
            let Some(batch) = self.pending.pop_front() else {
                return internal_err!("{missing} rows of a group are missing");
            };
            let length = batch.num_rows().min(missing);
            if length < batch.num_rows() {
                self.pending
                    .push_front(batch.slice(length, batch.num_rows() - length));
            }
            parts.push(batch.slice(0, length));
            missing -= length;
        }
        self.account()?;
        let columns: Vec<usize> = (0..self.data).collect();
        let schema = Arc::new(self.input.schema().project(&columns)?);
        Ok(match parts.as_slice() {
            [whole] => whole.columns().to_vec(),
            parts => concat_batches(&schema, parts)?.columns().to_vec(),
        })
    }

    fn account(&mut self) -> Result<()> {
        let column = |array: &ArrayRef| {
            let size = array.to_data().get_slice_memory_size();
            size.unwrap_or_else(|_| array.get_array_memory_size())
        };
        let batch = |batch: &RecordBatch| batch.columns().iter().map(column).sum::<usize>();
        self.memory.try_resize(self.pending.iter().map(batch).sum())
    }
}
