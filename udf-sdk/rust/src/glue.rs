//! What the macro's code calls. Not for people: it may change with any version.

mod aggregates;
mod arguments;
mod builders;
mod gather;
mod nested;
mod results;
mod schema;
mod stores;
mod streams;
mod windows;

pub use self::aggregates::*;
pub use self::arguments::*;
pub use self::builders::{Build, BuildRow, Row, Store};
pub use self::nested::{Fields, Inside, Structs, field};
pub use self::results::*;
use self::results::{keep, output};
pub use self::schema::Schema;
pub use self::stores::{Kept, is_null};
pub use self::streams::*;
pub use self::windows::*;
pub use crate::abi::ArrowArray;
pub use crate::sql::Element;

/// Computes a column row by row.
///
/// # Safety
/// `out` is the result's array of a call with `rows` rows, as the ABI describes it.
#[inline(always)]
pub unsafe fn rows<R: Return, const STRICT: bool>(
    out: *mut ArrowArray,
    rows: usize,
    arrays: &Arrays,
    compute: impl Fn(usize) -> R,
) {
    watch_panics();
    let mut sink = R::Value::start(rows);
    let skip = STRICT && arrays.any_nulls();
    let mut nulls = 0;
    if skip || R::NULLABLE {
        let bits = output().validity.reserve(rows.div_ceil(8), 0);
        let mut byte = 0u8;
        for row in 0..rows {
            // NULL rows hold no values: computing them could fail for nothing.
            let value = if skip && !arrays.valid(row) {
                None
            } else {
                compute(row).value(row)
            };
            match value {
                Some(value) => {
                    value.put(&mut sink, row);
                    byte |= 1 << (row % 8);
                }
                None => {
                    R::Value::nothing(&mut sink, row);
                    nulls += 1;
                }
            }
            if row % 8 == 7 || row + 1 == rows {
                // SAFETY: just reserved.
                unsafe { *bits.add(row / 8) = byte }
                byte = 0;
            }
        }
    } else {
        // Such a function has a value for each row.
        let value = |row| match compute(row).value(row) {
            Some(value) => value,
            None => core::arch::wasm32::unreachable(),
        };
        // Between two rounds the engine looks at the deadline. Where a row costs little, the
        // compiler unrolls the loop over parts, so that this costs nothing; where it costs much,
        // the parts stay a loop. Texts cost more than the look.
        let mut row = 0;
        if R::Value::BYTES {
            while row + 4 <= rows {
                part::<R, 4>(&mut sink, row, &value);
                row += 4;
            }
        } else {
            while row + 32 <= rows {
                for _ in 0..4 {
                    part::<R, 8>(&mut sink, row, &value);
                    row += 8;
                }
            }
        }
        while row < rows {
            value(row).put(&mut sink, row);
            row += 1;
        }
    }
    // SAFETY: the result's array, as promised.
    R::Value::finish(sink, unsafe { &mut *out }, rows, nulls);
}

/// Computes `N` rows, then writes them. For all the compiler knows, what is written could be what
/// is read next: between writes it could not compute two rows at once.
#[inline(always)]
fn part<R: Return, const N: usize>(
    sink: &mut <R::Value as Value>::Sink,
    row: usize,
    value: &impl Fn(usize) -> R::Value,
) {
    R::Value::put_part(
        core::array::from_fn::<_, N, _>(|n| value(row + n)),
        sink,
        row,
    );
}

fn finish(out: &mut ArrowArray, rows: usize, nulls: usize, buffers: usize) {
    let output = output();
    let validity = if nulls > 0 {
        output.validity.start() as u32
    } else {
        0
    };
    output.pointers = [
        validity,
        output.values.start() as u32,
        output.bytes.start() as u32,
    ];
    out.length = rows as i64;
    out.null_count = nulls as i64;
    out.n_buffers = buffers as i64;
    out.buffers = output.pointers.as_ptr() as u32;
    keep();
}

/// The slice that a function over columns writes.
pub fn slice<T: Slice + Value>(rows: usize) -> &'static mut [T] {
    let mut sink = T::start(rows);
    for row in 0..rows {
        T::nothing(&mut sink, row);
    }
    // SAFETY: `start` reserved the rows, and they were just written.
    unsafe { core::slice::from_raw_parts_mut(output().values.start() as *mut T, rows) }
}

/// # Safety
/// As for [`rows`].
pub unsafe fn finish_slice<T: Slice>(out: *mut ArrowArray, rows: usize) {
    // SAFETY: the result's array, as promised.
    finish(unsafe { &mut *out }, rows, 0, 2);
}

/// Makes panics errors with their message and place, where the module asks for it.
#[inline(always)]
fn watch_panics() {
    #[cfg(feature = "panic-messages")]
    {
        use crate::memory::Single;
        static SET: Single<bool> = Single(core::cell::UnsafeCell::new(false));
        // SAFETY: one thread; the reference ends here.
        let set = unsafe { &mut *SET.0.get() };
        if !core::mem::replace(set, true) {
            std::panic::set_hook(Box::new(|panic| {
                crate::host::fail(crate::abi::PANIC, -1, &panic.to_string())
            }));
        }
    }
}
