//! What functions see of columns, lists and batches. On other targets than `wasm32` they stand on
//! slices, for tests.

use core::marker::PhantomData;

#[cfg(target_arch = "wasm32")]
use crate::abi::ArrowArray;
#[cfg(target_arch = "wasm32")]
use crate::glue::{Argument, Fields, Slice};

/// What can be read from a view.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub trait Read: Argument {}
#[cfg(target_arch = "wasm32")]
impl<T: Argument> Read for T {}
/// What can be read from a view.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub trait Read: Clone {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Clone> Read for T {}

/// What a batch consists of.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub trait ReadRow: Fields {}
#[cfg(target_arch = "wasm32")]
impl<T: Fields> ReadRow for T {}
/// What a batch consists of.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub trait ReadRow: Clone {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Clone> ReadRow for T {}

/// A list: `ARRAY` in SQL. Nothing is copied until an element is looked at.
#[derive(Debug)]
pub struct List<'a, T> {
    #[cfg(target_arch = "wasm32")]
    array: *const ArrowArray,
    #[cfg(target_arch = "wasm32")]
    start: usize,
    length: usize,
    #[cfg(not(target_arch = "wasm32"))]
    items: &'a [T],
    lifetime: PhantomData<&'a T>,
}

/// The column of a window function's partition.
pub type Column<'a, T> = List<'a, T>;

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for List<'_, T> {}

impl<'a, T> List<'a, T> {
    /// How many elements there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// # Safety
    /// `array` has the type of `T` and, unless it is a constant, these elements, for `'a`.
    #[cfg(target_arch = "wasm32")]
    #[inline(always)]
    pub(crate) unsafe fn over(array: *const ArrowArray, start: usize, length: usize) -> Self {
        Self {
            array,
            start,
            length,
            lifetime: PhantomData,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self {
            length: items.len(),
            items,
            lifetime: PhantomData,
        }
    }
}

impl<'a, T: Read> List<'a, T> {
    /// An element, counted from 0.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<T> {
        self.from(index).next()
    }

    /// The elements.
    #[inline(always)]
    pub fn iter(&self) -> Items<'a, T> {
        self.from(0)
    }

    #[inline(always)]
    fn from(&self, first: usize) -> Items<'a, T> {
        #[cfg(target_arch = "wasm32")]
        {
            // SAFETY: see `over`.
            let array = unsafe { &*self.array };
            // A constant has one element for all; anything else of one element is read at 0, too.
            let step = usize::from(array.length != 1);
            Items {
                column: T::column(array, 0, array.length as usize),
                next: self.start + first,
                end: self.start + self.length,
                step,
                lifetime: PhantomData,
            }
        }
        #[cfg(not(target_arch = "wasm32"))]
        Items(self.items.get(first..).unwrap_or_default().iter().cloned())
    }
}

#[cfg(target_arch = "wasm32")]
impl<'a, T: Slice> List<'a, T> {
    /// The elements as a slice.
    pub fn as_slice(&self) -> &'a [T] {
        // SAFETY: see `over`; only windows have constants, whose columns are slices from the start.
        unsafe {
            let values = *((*self.array).buffers as *const u32).add(1) as *const T;
            core::slice::from_raw_parts(values.add(self.start), self.length)
        }
    }
}

/// The elements of a [`List`].
#[cfg(target_arch = "wasm32")]
pub struct Items<'a, T: Read> {
    column: T::Column,
    next: usize,
    end: usize,
    step: usize,
    lifetime: PhantomData<&'a T>,
}

#[cfg(target_arch = "wasm32")]
impl<T: Read> Iterator for Items<'_, T> {
    type Item = T;
    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        (self.next < self.end).then(|| {
            let at = self.next * self.step;
            self.next += 1;
            T::get(&self.column, at)
        })
    }
    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

/// The elements of a [`List`].
#[cfg(not(target_arch = "wasm32"))]
pub struct Items<'a, T>(core::iter::Cloned<core::slice::Iter<'a, T>>);

#[cfg(not(target_arch = "wasm32"))]
impl<T: Clone> Iterator for Items<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Read> ExactSizeIterator for Items<'_, T> {}

impl<'a, T: Read> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;
    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// The rows of a batch, as structs with `#[derive(Record)]`.
#[derive(Debug)]
pub struct Batch<'a, T> {
    #[cfg(target_arch = "wasm32")]
    first: *const ArrowArray,
    #[cfg(target_arch = "wasm32")]
    start: usize,
    length: usize,
    #[cfg(not(target_arch = "wasm32"))]
    rows: &'a [T],
    lifetime: PhantomData<&'a T>,
}

/// The rows of a group.
pub type Group<'a, T> = Batch<'a, T>;

impl<T> Clone for Batch<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Batch<'_, T> {}

impl<'a, T> Batch<'a, T> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// # Safety
    /// `first` points to the columns of `T`, which have these rows, for `'a`.
    #[cfg(target_arch = "wasm32")]
    pub(crate) unsafe fn over(first: *const ArrowArray, start: usize, length: usize) -> Self {
        Self {
            first,
            start,
            length,
            lifetime: PhantomData,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<'a, T> From<&'a [T]> for Batch<'a, T> {
    fn from(rows: &'a [T]) -> Self {
        Self {
            length: rows.len(),
            rows,
            lifetime: PhantomData,
        }
    }
}

impl<'a, T: ReadRow> Batch<'a, T> {
    /// The rows.
    #[inline(always)]
    pub fn iter(&self) -> BatchRows<'a, T> {
        #[cfg(target_arch = "wasm32")]
        {
            // SAFETY: see `over`.
            let columns = unsafe { T::columns(self.first) };
            BatchRows {
                columns,
                next: self.start,
                end: self.start + self.length,
                lifetime: PhantomData,
            }
        }
        #[cfg(not(target_arch = "wasm32"))]
        BatchRows(self.rows.iter().cloned())
    }

    /// A row, counted from 0.
    pub fn get(&self, row: usize) -> Option<T> {
        self.iter().nth(row)
    }
}

impl<'a, T: ReadRow> IntoIterator for Batch<'a, T> {
    type Item = T;
    type IntoIter = BatchRows<'a, T>;
    fn into_iter(self) -> BatchRows<'a, T> {
        self.iter()
    }
}

/// The rows of a [`Batch`].
#[cfg(target_arch = "wasm32")]
pub struct BatchRows<'a, T: ReadRow> {
    columns: T::Columns,
    next: usize,
    end: usize,
    lifetime: PhantomData<&'a T>,
}

#[cfg(target_arch = "wasm32")]
impl<T: ReadRow> Iterator for BatchRows<'_, T> {
    type Item = T;
    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        (self.next < self.end).then(|| {
            self.next += 1;
            T::read(&self.columns, self.next - 1)
        })
    }
    #[inline(always)]
    fn nth(&mut self, n: usize) -> Option<T> {
        self.next = self.next.saturating_add(n);
        self.next()
    }
    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

/// The rows of a [`Batch`].
#[cfg(not(target_arch = "wasm32"))]
pub struct BatchRows<'a, T>(core::iter::Cloned<core::slice::Iter<'a, T>>);

#[cfg(not(target_arch = "wasm32"))]
impl<T: Clone> Iterator for BatchRows<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.0.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: ReadRow> ExactSizeIterator for BatchRows<'_, T> {}
