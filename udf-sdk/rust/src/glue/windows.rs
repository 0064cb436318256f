//! Window functions.

use core::ops::Range;

use super::{Argument, Arrays, Return, Slice, rows};
use crate::abi::{self, ArrowArray};
use crate::host::fail;
use crate::views::List;

/// What a window function can see a column as.
pub trait Partition {
    /// Argument `n` of a partition.
    fn partition(array: &ArrowArray, n: usize, rows: usize) -> Self;
}

impl<T: Slice> Partition for &[T] {
    fn partition(array: &ArrowArray, n: usize, rows: usize) -> Self {
        T::read(array, n, rows)
    }
}

impl<T: Argument> Partition for List<'_, T> {
    fn partition(array: &ArrowArray, _: usize, rows: usize) -> Self {
        // SAFETY: the host passes a value for each row, or a constant.
        unsafe { List::over(array, 0, rows) }
    }
}

/// Writes a value for each row of a partition.
///
/// # Safety
/// `out` is the result's array of a call with so many rows.
pub unsafe fn partition<R: Return>(
    out: *mut ArrowArray,
    count: usize,
    values: impl IntoIterator<Item = R>,
) {
    let values = core::cell::RefCell::new(values.into_iter());
    let next = |row: usize| match values.borrow_mut().next() {
        Some(value) => value,
        None => fail(
            abi::ERROR,
            row as i64,
            "the function gave fewer values than rows",
        ),
    };
    // SAFETY: as promised; there are no arguments that could be NULL.
    unsafe { rows::<R, false>(out, count, &Arrays::new(core::ptr::null(), 0), next) }
}

/// Writes a value for each frame.
///
/// # Safety
/// `out` is the result's array of a call with so many frames, `ranges` points to two numbers for each.
#[inline(always)]
pub unsafe fn frames<R: Return>(
    out: *mut ArrowArray,
    count: usize,
    ranges: *const [u32; 2],
    compute: impl Fn(Range<usize>) -> R,
) {
    let frame = |row: usize| {
        // SAFETY: as promised.
        let [from, to] = unsafe { *ranges.add(row) };
        compute(from as usize..to as usize)
    };
    // SAFETY: as promised; there are no arguments that could be NULL.
    unsafe { rows::<R, false>(out, count, &Arrays::new(core::ptr::null(), 0), frame) }
}
