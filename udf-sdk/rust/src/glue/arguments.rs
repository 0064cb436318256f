//! Reading arguments.

use core::cell::UnsafeCell;

use crate::abi::ArrowArray;
use crate::manifest::SqlType;
use crate::memory::{Buffer, Single};
use crate::types::*;

/// The arrays of one call.
pub struct Arrays {
    first: *const ArrowArray,
    count: usize,
}

impl Arrays {
    /// # Safety
    /// `first` points to `count` arrays as the ABI describes them.
    pub unsafe fn new(first: *const ArrowArray, count: usize) -> Self {
        Self { first, count }
    }

    /// Array `n`, which is less than `count`.
    #[inline(always)]
    pub fn at(&self, n: usize) -> &ArrowArray {
        // SAFETY: see `new`; the macro passes indices below `count`.
        unsafe { &*self.first.add(n) }
    }

    pub(super) fn any_nulls(&self) -> bool {
        (0..self.count).any(|n| Bits::validity(self.at(n)).bits != 0)
    }

    /// Whether no argument is NULL in a row.
    pub(super) fn valid(&self, row: usize) -> bool {
        (0..self.count).all(|n| Bits::validity(self.at(n)).valid(row))
    }
}

#[inline(always)]
pub(super) fn buffer(array: &ArrowArray, n: usize) -> usize {
    // SAFETY: the ABI promises that `buffers` points to as many pointers as the type has buffers.
    unsafe { *(array.buffers as *const u32).add(n) as usize }
}

/// 1 for a column, 0 for a constant: the factor of the row.
#[inline(always)]
pub(super) fn step(array: &ArrowArray) -> usize {
    usize::from(array.length != 1)
}

/// Bits of the host; no bits at all stand for ones.
#[derive(Clone, Copy)]
pub struct Bits {
    bits: usize,
    step: usize,
}

impl Bits {
    pub(super) fn validity(array: &ArrowArray) -> Self {
        let bits = if array.null_count == 0 {
            0
        } else {
            buffer(array, 0)
        };
        Self {
            bits,
            step: step(array),
        }
    }

    #[inline(always)]
    fn get(&self, row: usize) -> bool {
        let n = row * self.step;
        // SAFETY: the host lays out a bit for each row, or one for a constant.
        unsafe { *(self.bits as *const u8).add(n / 8) >> (n % 8) & 1 == 1 }
    }

    #[inline(always)]
    pub(super) fn valid(&self, row: usize) -> bool {
        self.bits == 0 || self.get(row)
    }
}

/// A type that an argument can have.
pub trait Argument: SqlType + Sized {
    /// Its column.
    type Column: Copy;
    /// Looks at argument `n` of a call with so many rows.
    fn column(array: &ArrowArray, n: usize, rows: usize) -> Self::Column;
    /// The value of a row.
    fn get(column: &Self::Column, row: usize) -> Self;
}

/// A buffer for each argument.
type Buffers = Single<[Buffer; 32]>;

/// Constants, spread out.
static SPREAD: Buffers = Single(UnsafeCell::new([const { Buffer::new() }; 32]));

/// The starts of constant texts, whose ends are in `SPREAD`.
static STARTS: Buffers = Single(UnsafeCell::new([const { Buffer::new() }; 32]));

/// Values of a fixed width: one for each row, also where the host passed a constant. A loop over
/// them has no factor in its index, which lets compilers compute several rows at once.
#[inline(always)]
fn values<T: Copy>(array: &ArrowArray, n: usize, rows: usize) -> *const T {
    let values = buffer(array, 1) as *const T;
    if array.length != 1 || rows == 1 {
        values
    } else {
        spread(&SPREAD, values, n, rows)
    }
}

#[inline(never)]
fn spread<T: Copy>(to: &Buffers, value: *const T, n: usize, rows: usize) -> *const T {
    // SAFETY: one thread, and each `n` is used once in a call.
    let buffers = unsafe { &mut *to.0.get() };
    // Not an index: a module in which nothing can panic is a few KiB, one in which something can
    // carries the code that would say so.
    let Some(buffer) = buffers.get_mut(n) else {
        core::arch::wasm32::unreachable();
    };
    let start = buffer.reserve(rows * size_of::<T>(), 0) as *mut T;
    // SAFETY: a constant has one value; the buffer has room for the rows.
    unsafe {
        let value = *value;
        (0..rows).for_each(|row| *start.add(row) = value);
    }
    start
}

macro_rules! fixed {
    ($($t:ty, [$($generic:tt)*];)*) => { $(
        impl<$($generic)*> Argument for $t {
            type Column = *const $t;
            #[inline(always)]
            fn column(array: &ArrowArray, n: usize, rows: usize) -> *const $t {
                values(array, n, rows)
            }
            #[inline(always)]
            fn get(column: &*const $t, row: usize) -> $t {
                // SAFETY: `values` gives one value for each row.
                unsafe { *column.add(row) }
            }
        }
        impl<$($generic)*> Slice for $t {}
    )* };
}

fixed! {
    i8, []; i16, []; i32, []; i64, []; u8, []; u16, []; u32, []; u64, []; f32, []; f64, [];
    Date, []; Timestamp<U>, [U: Unit]; Decimal<P, S>, [const P: u8, const S: u8];
    Half, []; Interval, []; Months, []; DayTime, []; Time<U>, [U: Unit]; Duration<U>, [U: Unit];
    Decimal256<P, S>, [const P: u8, const S: u8]; [u8; N], [const N: usize];
}

impl Argument for bool {
    type Column = Bits;
    #[inline(always)]
    fn column(array: &ArrowArray, _: usize, _: usize) -> Bits {
        Bits {
            bits: buffer(array, 1),
            step: step(array),
        }
    }
    #[inline(always)]
    fn get(column: &Bits, row: usize) -> bool {
        column.get(row)
    }
}

/// Where texts and bytes lie: the offsets at which rows start and those at which they end.
#[derive(Clone, Copy)]
pub struct Bytes {
    starts: *const i32,
    ends: *const i32,
    bytes: *const u8,
}

impl Bytes {
    #[inline(always)]
    fn of(array: &ArrowArray, n: usize, rows: usize) -> Self {
        let offsets = buffer(array, 1) as *const i32;
        // SAFETY: the host lays out one offset more than rows.
        let next = unsafe { offsets.add(1) };
        let (starts, ends) = if array.length != 1 || rows == 1 {
            (offsets, next)
        } else {
            (
                spread(&STARTS, offsets, n, rows),
                spread(&SPREAD, next, n, rows),
            )
        };
        Self {
            starts,
            ends,
            bytes: buffer(array, 2) as *const u8,
        }
    }

    #[inline(always)]
    fn get<'a>(&self, row: usize) -> &'a [u8] {
        // SAFETY: the offsets of the host rise and lie within the bytes, which stay as they are
        // until the call returns.
        unsafe {
            let (from, to) = (*self.starts.add(row), *self.ends.add(row));
            core::slice::from_raw_parts(self.bytes.add(from as usize), (to - from) as usize)
        }
    }
}

macro_rules! bytes {
    ($($t:ty, |$bytes:ident| $make:expr;)*) => { $(
        impl Argument for $t {
            type Column = Bytes;
            #[inline(always)]
            fn column(array: &ArrowArray, n: usize, rows: usize) -> Bytes {
                Bytes::of(array, n, rows)
            }
            #[inline(always)]
            fn get(column: &Bytes, row: usize) -> Self {
                let $bytes = column.get(row);
                $make
            }
        }
    )* };
}

bytes! {
    // SAFETY: the host passes valid UTF-8 where the manifest says text.
    &str, |bytes| unsafe { core::str::from_utf8_unchecked(bytes) };
    // SAFETY: as above.
    String, |bytes| unsafe { String::from_utf8_unchecked(bytes.to_vec()) };
    &[u8], |bytes| bytes;
    Vec<u8>, |bytes| bytes.to_vec();
}

impl<T: Argument> Argument for Option<T> {
    type Column = (T::Column, Bits);
    #[inline(always)]
    fn column(array: &ArrowArray, n: usize, rows: usize) -> Self::Column {
        (T::column(array, n, rows), Bits::validity(array))
    }
    #[inline(always)]
    fn get((column, validity): &Self::Column, row: usize) -> Self {
        validity.valid(row).then(|| T::get(column, row))
    }
}

/// An element of the slices that a function over columns sees.
pub trait Slice: Copy + 'static {
    /// The whole column of argument `n`; a constant is spread out.
    fn read(array: &ArrowArray, n: usize, rows: usize) -> &'static [Self] {
        // SAFETY: one value for each row, of the host or spread out; they stay until the call
        // returns.
        unsafe { core::slice::from_raw_parts(values(array, n, rows), rows) }
    }
}
