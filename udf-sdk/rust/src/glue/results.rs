//! Writing results.

use core::cell::UnsafeCell;

use crate::abi::{self, ArrowArray};
use crate::host::fail;
use crate::manifest::SqlType;
use crate::memory::{Buffer, Single};
use crate::types::*;

/// The buffers of results; one call's are overwritten by the next.
pub(super) struct Output {
    pub validity: Buffer,
    pub values: Buffer,
    pub bytes: Buffer,
    pub pointers: [u32; 3],
}

const EMPTY: Output = Output {
    validity: Buffer::new(),
    values: Buffer::new(),
    bytes: Buffer::new(),
    pointers: [0; 3],
};

static OUTPUTS: Single<[Output; abi::CHAIN]> = Single(UnsafeCell::new([EMPTY; abi::CHAIN]));
/// Results that the host still reads, or hands to the next function: the first buffers are theirs.
static KEPT: Single<usize> = Single(UnsafeCell::new(0));

#[inline(always)]
pub(super) fn output() -> &'static mut Output {
    // SAFETY: one thread, and no function of this module keeps the reference across another call;
    // `keep` holds the index below the length.
    unsafe { (*OUTPUTS.0.get()).get_unchecked_mut(*KEPT.0.get()) }
}

/// The next result leaves the present one as it is.
#[inline(always)]
pub(super) fn keep() {
    // SAFETY: one thread; the reference ends here.
    let kept = unsafe { &mut *KEPT.0.get() };
    *kept = (*kept + 1).min(abi::CHAIN - 1);
}

#[unsafe(export_name = "sm_out_free")]
extern "C" fn sm_out_free(_out: u32) {
    // SAFETY: as above. The host frees all results of a chain before it calls another function.
    unsafe { *KEPT.0.get() = 0 }
}

/// A type that a result can have.
pub trait Value: SqlType + Sized {
    /// Whether there is a third buffer.
    const BYTES: bool = false;
    /// Where values go; lives in the loop, so that its pointers stay in registers.
    type Sink;
    /// Makes room.
    fn start(rows: usize) -> Self::Sink;
    /// Writes the value of a row; rows come in order.
    fn put(self, sink: &mut Self::Sink, row: usize);
    /// Writes the values of a part that begins at `row`, a multiple of `N`.
    #[inline(always)]
    fn put_part<const N: usize>(values: [Self; N], sink: &mut Self::Sink, row: usize) {
        for (n, value) in values.into_iter().enumerate() {
            value.put(sink, row + n);
        }
    }
    /// Writes something for a row that is NULL.
    fn nothing(sink: &mut Self::Sink, row: usize);
    /// Shows the column to the host.
    #[inline(always)]
    fn finish(sink: Self::Sink, out: &mut ArrowArray, rows: usize, nulls: usize) {
        let _ = sink;
        super::finish(out, rows, nulls, if Self::BYTES { 3 } else { 2 });
    }
}

macro_rules! fixed {
    ($($t:ty, [$($generic:tt)*];)*) => { $(
        impl<$($generic)*> Value for $t {
            type Sink = *mut $t;
            #[inline(always)]
            fn start(rows: usize) -> *mut $t {
                output().values.reserve(rows * size_of::<$t>(), 0) as *mut $t
            }
            #[inline(always)]
            fn put(self, sink: &mut *mut $t, row: usize) {
                // SAFETY: `start` reserved room for every row.
                unsafe { *sink.add(row) = self }
            }
            #[inline(always)]
            fn nothing(sink: &mut *mut $t, row: usize) {
                // SAFETY: as in `put`; zero is a value of each of these types.
                unsafe { *sink.add(row) = core::mem::zeroed() }
            }
        }
    )* };
}

fixed! {
    i8, []; i16, []; i32, []; i64, []; u8, []; u16, []; u32, []; u64, []; f32, []; f64, [];
    Date, []; Timestamp<U>, [U: Unit]; Decimal<P, S>, [const P: u8, const S: u8];
    Half, []; Interval, []; Months, []; DayTime, []; Time<U>, [U: Unit]; Duration<U>, [U: Unit];
    Decimal256<P, S>, [const P: u8, const S: u8]; [u8; N], [const N: usize];
}

impl Value for bool {
    type Sink = *mut u8;
    #[inline(always)]
    fn start(rows: usize) -> *mut u8 {
        let bits = output().values.reserve(rows.div_ceil(8), 0);
        // SAFETY: just reserved.
        unsafe { bits.write_bytes(0, rows.div_ceil(8)) }
        bits
    }
    #[inline(always)]
    fn put(self, sink: &mut *mut u8, row: usize) {
        // SAFETY: `start` reserved a bit for every row.
        unsafe { *sink.add(row / 8) |= u8::from(self) << (row % 8) }
    }
    #[inline(always)]
    fn put_part<const N: usize>(values: [bool; N], sink: &mut *mut u8, row: usize) {
        for (n, bits) in values.chunks_exact(8).enumerate() {
            let byte = bits
                .iter()
                .rev()
                .fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            // SAFETY: as in `put`; a part is whole bytes.
            unsafe { *sink.add(row / 8 + n) = byte }
        }
    }
    #[inline(always)]
    fn nothing(_: &mut *mut u8, _: usize) {}
}

/// Where texts go.
pub struct ByteSink {
    offsets: *mut i32,
    bytes: *mut u8,
    used: usize,
    size: usize,
}

impl ByteSink {
    fn start(rows: usize) -> Self {
        let output = output();
        let bytes = output.bytes.reserve(1, 0);
        let offsets = output.values.reserve((rows + 1) * 4, 0) as *mut i32;
        // SAFETY: just reserved.
        unsafe { *offsets = 0 }
        Self {
            offsets,
            bytes,
            used: 0,
            size: output.bytes.size(),
        }
    }

    /// Room for `more` bytes. Hands values over, not the sink itself, which would move to memory
    /// for the sake of a call that is rare.
    #[inline(always)]
    fn room(&mut self, more: u64, row: usize) {
        let end = self.used as u64 + more;
        if end > self.size as u64 {
            (self.bytes, self.size) = Self::grow(self.used, end, row);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(used: usize, end: u64, row: usize) -> (*mut u8, usize) {
        if end > i32::MAX as u64 {
            fail(abi::NO_MEMORY, row as i64, "");
        }
        let bytes = &mut output().bytes;
        (bytes.reserve(end as usize, used), bytes.size())
    }

    /// # Safety
    /// There is room for the bytes.
    #[inline(always)]
    unsafe fn put(&mut self, bytes: &[u8], row: usize) {
        // SAFETY: as promised, and `start` reserved an offset for every row.
        unsafe {
            copy(bytes.as_ptr(), self.bytes.add(self.used), bytes.len());
            self.used += bytes.len();
            *self.offsets.add(row + 1) = self.used as i32;
        }
    }
}

/// Copies bytes; short texts in two overlapping pieces, because a bulk copy costs a call.
///
/// # Safety
/// As for `copy_nonoverlapping`.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: both pieces lie within `length` bytes from the starts.
    unsafe {
        match length {
            0 => {}
            8..=16 => {
                let (first, last) = (from as *const u64, from.add(length - 8) as *const u64);
                let (first, last) = (first.read_unaligned(), last.read_unaligned());
                (to as *mut u64).write_unaligned(first);
                (to.add(length - 8) as *mut u64).write_unaligned(last);
            }
            17..=32 => {
                type Wide = [u64; 2];
                let (first, last) = (from as *const Wide, from.add(length - 16) as *const Wide);
                let (first, last) = (first.read_unaligned(), last.read_unaligned());
                (to as *mut Wide).write_unaligned(first);
                (to.add(length - 16) as *mut Wide).write_unaligned(last);
            }
            4..=7 => {
                let (first, last) = (from as *const u32, from.add(length - 4) as *const u32);
                let (first, last) = (first.read_unaligned(), last.read_unaligned());
                (to as *mut u32).write_unaligned(first);
                (to.add(length - 4) as *mut u32).write_unaligned(last);
            }
            1..=3 => {
                let (first, middle, last) = (*from, *from.add(length / 2), *from.add(length - 1));
                *to = first;
                *to.add(length / 2) = middle;
                *to.add(length - 1) = last;
            }
            _ => core::ptr::copy_nonoverlapping(from, to, length),
        }
    }
}

macro_rules! byte_values {
    ($($t:ty)*) => { $(
        impl Value for $t {
            const BYTES: bool = true;
            type Sink = ByteSink;
            fn start(rows: usize) -> ByteSink {
                ByteSink::start(rows)
            }
            #[inline(always)]
            fn put(self, sink: &mut ByteSink, row: usize) {
                let bytes: &[u8] = self.as_ref();
                sink.room(bytes.len() as u64, row);
                // SAFETY: there is room now.
                unsafe { sink.put(bytes, row) }
            }
            #[inline(always)]
            fn put_part<const N: usize>(values: [Self; N], sink: &mut ByteSink, row: usize) {
                let length = |value: &Self| AsRef::<[u8]>::as_ref(value).len() as u64;
                sink.room(values.iter().map(length).sum(), row);
                for (n, value) in values.iter().enumerate() {
                    // SAFETY: there is room for all of them.
                    unsafe { sink.put(value.as_ref(), row + n) }
                }
            }
            #[inline(always)]
            fn nothing(sink: &mut ByteSink, row: usize) {
                // SAFETY: nothing needs no room.
                unsafe { sink.put(&[], row) }
            }
        }
    )* };
}

byte_values!(&str String &[u8] Vec<u8>);

/// What a function returns.
pub trait Return {
    /// The value in it.
    type Value: Value;
    /// Whether it can be NULL.
    const NULLABLE: bool;
    /// The value; `None` is NULL. An error ends the call.
    fn value(self, row: usize) -> Option<Self::Value>;
}

impl<V: Value> Return for V {
    type Value = V;
    const NULLABLE: bool = false;
    #[inline(always)]
    fn value(self, _: usize) -> Option<V> {
        Some(self)
    }
}

impl<V: Value> Return for Option<V> {
    type Value = V;
    const NULLABLE: bool = true;
    #[inline(always)]
    fn value(self, _: usize) -> Option<V> {
        self
    }
}

impl<R: Return, E: Into<Error>> Return for Result<R, E> {
    type Value = R::Value;
    const NULLABLE: bool = R::NULLABLE;
    #[inline(always)]
    fn value(self, row: usize) -> Option<R::Value> {
        match self {
            Ok(inner) => inner.value(row),
            Err(error) => {
                let error = error.into();
                fail(abi::ERROR, error.row.unwrap_or(row) as i64, &error.message)
            }
        }
    }
}
