//! What the fuzz targets (`fuzz/`) drive and nobody else: checks that are private to this crate.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::error::Error;
use crate::read::{Promise, read};

/// Reads the array whose struct lies at `out` of a guest's memory, as after a call.
///
/// # Errors
/// `Output`, saying what does not hold.
pub fn read_result(
    memory: &[u8],
    out: u32,
    returns: &DataType,
    rows: usize,
    nullable: bool,
) -> Result<ArrayRef, Error> {
    let promise = Promise {
        returns,
        rows,
        nullable,
        input: None,
    };
    read(memory, out, promise)
}
