//! Functions that give rows: of tables, batches and groups.

use core::any::Any as Object;
use core::cell::UnsafeCell;

use super::aggregates::Handles;
use super::builders::{Build, BuildRow, Fixed, Row, Store};
use super::{Arrays, Fields};
use crate::abi::{self, ArrowArray};
use crate::host::fail;
use crate::memory::Single;
use crate::open::Rows;
use crate::types::Error;
use crate::views::Batch;

/// Rows of a batch that a stream gives at once.
const BATCH: usize = 8192;

/// Something that a stream keeps between calls, of a type that only its own exports know.
struct Body {
    body: *mut (),
    forget: unsafe fn(*mut ()),
}

impl Drop for Body {
    fn drop(&mut self) {
        // SAFETY: `forget` belongs to the type of the body.
        unsafe { (self.forget)(self.body) }
    }
}

/// A stream of a table function.
pub struct Stream {
    first: *const ArrowArray,
    rows: usize,
    row: usize,
    finished: bool,
    body: Option<Body>,
}

impl Stream {
    /// A stream that has not seen anything.
    pub const fn new() -> Self {
        Self {
            first: core::ptr::null(),
            rows: 0,
            row: 0,
            finished: false,
            body: None,
        }
    }

    /// Takes a batch.
    pub fn push(&mut self, first: *const ArrowArray, rows: usize) {
        (self.first, self.rows, self.row) = (first, rows, 0);
    }

    /// Says that there is no other.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// What it says where there are no rows left.
    pub fn idle(&self) -> i32 {
        if self.finished { 2 } else { 0 }
    }

    /// The arguments of the last batch.
    pub fn arguments(&self) -> (*const ArrowArray, usize) {
        (self.first, self.rows)
    }
}

/// What a table function gives now.
struct Table<I, B> {
    current: Option<I>,
    numbers: Fixed<u32>,
    rows: B,
}

/// Gives the next rows of a table function.
///
/// # Safety
/// All calls for a stream have the same types. `out` points to the zeroed arrays of the row's numbers
/// and of the columns.
pub unsafe fn pull<I: Iterator, B: BuildRow>(
    stream: &mut Stream,
    count: usize,
    strict: bool,
    out: *mut ArrowArray,
    begin: impl Fn(usize) -> I,
    push: impl Fn(I::Item, &mut B, usize),
) -> i32 {
    unsafe fn forget<I, B>(body: *mut ()) {
        // SAFETY: it was made of a box of this type.
        drop(unsafe { Box::from_raw(body as *mut Table<I, B>) });
    }
    let body = stream.body.get_or_insert_with(|| Body {
        body: Box::into_raw(Box::new(Table::<I, B> {
            current: None,
            numbers: Fixed::default(),
            rows: B::default(),
        })) as *mut (),
        forget: forget::<I, B>,
    });
    // SAFETY: see above; the arguments are those of the last push.
    let (table, arrays) = unsafe {
        (
            &mut *(body.body as *mut Table<I, B>),
            Arrays::new(stream.first, count),
        )
    };
    table.rows.clear();
    table.numbers.clear();
    let (mut given, skip) = (0, strict && stream.rows > 0 && arrays.any_nulls());
    while given < BATCH {
        if let Some(rows) = &mut table.current {
            match rows.next() {
                Some(item) => {
                    push(item, &mut table.rows, stream.row);
                    table.numbers.push(stream.row as u32);
                    given += 1;
                }
                None => {
                    table.current = None;
                    stream.row += 1;
                }
            }
        } else if stream.row >= stream.rows {
            break;
        } else if skip && !arrays.valid(stream.row) {
            stream.row += 1;
        } else {
            table.current = Some(begin(stream.row));
        }
    }
    if given == 0 {
        return stream.idle();
    }
    // SAFETY: as promised.
    unsafe {
        table.numbers.finish(&mut *out);
        table.rows.finish(out.add(1));
    }
    1
}

/// A stream of a map.
pub struct Mapping<M, T: Row> {
    map: M,
    rows: Rows<T>,
    /// Rows that were given of those in `rows`.
    given: usize,
    finished: bool,
}

impl<M, T: Row> Mapping<M, T> {
    /// A stream that has not seen anything.
    pub fn new(map: M) -> Self {
        Self {
            map,
            rows: Rows {
                builder: T::Builder::default(),
                length: 0,
            },
            given: 0,
            finished: false,
        }
    }

    /// Does something with the map; its rows are given at the next pulls.
    pub fn step(&mut self, finished: bool, step: impl FnOnce(&mut M, &mut Rows<T>)) {
        self.finished = finished;
        self.rows.clear();
        self.given = 0;
        step(&mut self.map, &mut self.rows);
    }

    /// Gives rows.
    ///
    /// # Safety
    /// `out` points to a zeroed array for each column.
    pub unsafe fn pull(&mut self, out: *mut ArrowArray) -> i32 {
        let left = self.rows.length - self.given;
        if left == 0 {
            return if self.finished { 2 } else { 0 };
        }
        // SAFETY: as promised.
        unsafe { self.rows.builder.finish(out) }
        // Few rows go at once; of many, a part whose arrays begin where the last ones ended.
        if self.rows.length > abi_rows() {
            let part = left.min(BATCH);
            for n in 0..T::Builder::COUNT {
                // SAFETY: as promised.
                let array = unsafe { &mut *out.add(n) };
                array.offset = self.given as i64;
                array.length = part as i64;
                array.null_count = if array.null_count == 0 { 0 } else { -1 };
            }
            self.given += part;
        } else {
            self.given = self.rows.length;
        }
        1
    }
}

/// Rows that go at once.
const fn abi_rows() -> usize {
    1 << 16
}

/// The rows of a group.
///
/// # Safety
/// `first` points to the columns of `T`, `offsets` to the places of more than `group + 1` groups.
pub unsafe fn group<'a, T: Fields>(
    first: *const ArrowArray,
    offsets: *const u32,
    group: usize,
) -> Batch<'a, T> {
    // SAFETY: as promised.
    unsafe {
        let (from, to) = (
            *offsets.add(group) as usize,
            *offsets.add(group + 1) as usize,
        );
        Batch::over(first, from, to - from)
    }
}

/// The rows of a batch.
///
/// # Safety
/// `first` points to the columns of `T`.
pub unsafe fn batch<'a, T: Fields>(first: *const ArrowArray, rows: usize) -> Batch<'a, T> {
    // SAFETY: as promised.
    unsafe { Batch::over(first, 0, rows) }
}

/// The rows that a function of groups gave at last, kept for the host.
static GROUPED: Single<Option<Box<dyn Object>>> = Single(UnsafeCell::new(None));

/// Computes groups, one after the other.
///
/// # Safety
/// `out` points to a zeroed array for each column.
pub unsafe fn groups<T: Row>(
    groups: usize,
    out: *mut ArrowArray,
    mut each: impl FnMut(usize, &mut Rows<T>),
) {
    // SAFETY: one thread; the reference ends here.
    let last = unsafe { &mut *GROUPED.0.get() }.take();
    let builder = last.and_then(|last| last.downcast::<T::Builder>().ok());
    let mut rows = Rows {
        builder: T::Builder::default(),
        length: 0,
    };
    if let Some(kept) = builder {
        rows.builder = *kept;
    }
    rows.clear();
    (0..groups).for_each(|group| each(group, &mut rows));
    // Where it lies counts for the pointers in it.
    let mut kept = Box::new(rows.builder);
    // SAFETY: as promised.
    unsafe {
        kept.finish(out);
        *GROUPED.0.get() = Some(kept);
    }
}

/// What a step of a function gives: nothing, or an error.
pub trait Outcome {
    /// Ends the call if it is an error. Its rows count from `first`.
    fn check(self, first: usize, row: Option<usize>);
}

impl Outcome for () {
    #[inline(always)]
    fn check(self, _: usize, _: Option<usize>) {}
}

impl<E: Into<Error>> Outcome for Result<(), E> {
    #[inline(always)]
    fn check(self, first: usize, row: Option<usize>) {
        if let Err(error) = self {
            stop(error.into(), first, row);
        }
    }
}

/// The value, or the end of the call.
#[inline(always)]
pub fn value<T, E: Into<Error>>(result: Result<T, E>, row: Option<usize>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => stop(error.into(), 0, row),
    }
}

#[cold]
#[inline(never)]
fn stop(error: Error, first: usize, row: Option<usize>) -> ! {
    let row = row.or(error.row).map_or(-1, |row| (first + row) as i64);
    fail(abi::ERROR, row, &error.message);
}

/// Handles of the streams of a function.
pub type Streams<T> = Handles<T>;

macro_rules! tuples {
    ($(($first:ident $first_at:tt $($name:ident $at:tt)*) $builder:ty, |$to:ident| $($path:expr),*;)*) => { $(
        impl<$first: Store $(, $name: Store)*> Row for ($first, $($name,)*) {
            type Builder = $builder;
            #[inline(always)]
            fn push(self, $to: &mut Self::Builder) {
                let paths = ($($path,)*);
                self.$first_at.store(paths.$first_at);
                $(self.$at.store(paths.$at);)*
            }
        }
    )* };
}

tuples! {
    (A 0) (A::Builder, ()), |to| &mut to.0;
    (A 0 B 1) (A::Builder, (B::Builder, ())), |to| &mut to.0, &mut to.1.0;
    (A 0 B 1 C 2) (A::Builder, (B::Builder, (C::Builder, ()))), |to| &mut to.0, &mut to.1.0, &mut to.1.1.0;
    (A 0 B 1 C 2 D 3) (A::Builder, (B::Builder, (C::Builder, (D::Builder, ())))),
        |to| &mut to.0, &mut to.1.0, &mut to.1.1.0, &mut to.1.1.1.0;
}
