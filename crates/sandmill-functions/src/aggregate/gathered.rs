//! Rows kept on the host until the result is asked for: DISTINCT, ORDER BY, and moving frames of
//! functions that cannot take rows away.

use std::collections::{HashSet, VecDeque};
use std::mem::size_of;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use datafusion::arrow::compute::{
    SortColumn, SortOptions, concat, lexsort_to_indices, take_arrays,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::single::Single;

/// Rows after which those that are not distinct are thrown away, at first.
const ROWS: usize = 8192;

/// See the module. Every result is computed anew from all rows.
#[derive(Debug)]
pub(super) struct Gathered {
    function: Single,
    /// Types of the arguments, then of the keys of ORDER BY.
    types: Vec<DataType>,
    order: Vec<SortOptions>,
    distinct: bool,
    /// Rows are taken away in the order in which they came, so that none can be thrown away.
    moving: bool,
    batches: VecDeque<Vec<ArrayRef>>,
    rows: usize,
    /// Rows at which to look for distinct ones again.
    next: usize,
    bytes: usize,
}

impl Gathered {
    pub(super) fn new(
        function: Single,
        types: Vec<DataType>,
        order: Vec<SortOptions>,
        distinct: bool,
        moving: bool,
    ) -> Self {
        Self {
            function,
            types,
            order,
            distinct,
            moving,
            batches: VecDeque::new(),
            rows: 0,
            next: ROWS,
            bytes: 0,
        }
    }

    fn push(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows;
        self.bytes += bytes(&columns)?;
        self.batches.push_back(columns);
        if self.distinct && !self.moving && self.rows >= self.next {
            let columns = distinct(self.columns()?)?;
            self.rows = columns.first().map_or(0, |column| column.len());
            self.next = (2 * self.rows).max(ROWS);
            self.bytes = bytes(&columns)?;
            self.batches = VecDeque::from([columns]);
        }
        Ok(())
    }

    /// All rows, column by column.
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let column = |(n, ty): (usize, &DataType)| {
            let parts: Vec<&dyn Array> = self.batches.iter().map(|b| b[n].as_ref()).collect();
            match parts.is_empty() {
                true => Ok(new_empty_array(ty)),
                false => Ok(concat(&parts)?),
            }
        };
        self.types.iter().enumerate().map(column).collect()
    }

    /// The rows that count, in their order.
    fn final_columns(&self) -> Result<Vec<ArrayRef>> {
        let mut columns = self.columns()?;
        if self.distinct {
            columns = distinct(columns)?;
        }
        if self.order.is_empty() {
            return Ok(columns);
        }
        let keys = columns[columns.len() - self.order.len()..].iter();
        let keys: Vec<_> = keys
            .zip(&self.order)
            .map(|(values, options)| SortColumn {
                values: values.clone(),
                options: Some(*options),
            })
            .collect();
        let indices = lexsort_to_indices(&keys, None)?;
        Ok(take_arrays(&columns, &indices, None)?)
    }
}

/// The first of all rows that are the same.
fn distinct(columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    let fields = columns
        .iter()
        .map(|c| SortField::new(c.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let rows = converter.convert_columns(&columns)?;
    let mut seen = HashSet::with_capacity(rows.num_rows());
    let kept = rows.iter().enumerate().filter(|(_, row)| seen.insert(*row));
    let kept = UInt32Array::from_iter_values(kept.map(|(n, _)| n as u32));
    Ok(take_arrays(&columns, &kept, None)?)
}

fn bytes(columns: &[ArrayRef]) -> Result<usize> {
    let mut sum = 0;
    for column in columns {
        sum += column.to_data().get_slice_memory_size()?;
    }
    Ok(sum)
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.push(values.to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        for row in 0..rows {
            let columns = states.iter().map(|list| list.as_list::<i32>().value(row));
            self.push(columns.collect())?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut rows = values.first().map_or(0, |column| column.len());
        self.rows = self.rows.saturating_sub(rows);
        while let Some(mut first) = self.batches.pop_front() {
            let length = first.first().map_or(0, |column| column.len());
            self.bytes = self.bytes.saturating_sub(bytes(&first)?);
            if length > rows {
                for column in &mut first {
                    *column = column.slice(rows, length - rows);
                }
                self.bytes += bytes(&first)?;
                self.batches.push_front(first);
                break;
            }
            rows -= length;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.moving
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = self.final_columns()?;
        let mut fresh = self.function.fresh();
        fresh.update_batch(&columns[..fresh.width().min(columns.len())])?;
        fresh.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = match self.distinct {
            true => distinct(self.columns()?)?,
            false => self.columns()?,
        };
        let list = |column| SingleRowListArrayBuilder::new(column).build_list_scalar();
        Ok(columns.into_iter().map(list).collect())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes + self.batches.capacity() * size_of::<Vec<ArrayRef>>()
    }
}
