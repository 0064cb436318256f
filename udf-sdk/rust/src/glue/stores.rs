//! Which columns hold which types, and results of scalar functions that are no plain numbers or texts.

use core::any::Any as Object;
use core::cell::UnsafeCell;
use std::collections::BTreeMap;

use super::builders::*;
use super::{Argument, Bits, buffer, step};
use crate::abi::ArrowArray;
use crate::memory::Single;
use crate::sql::Element;
use crate::types::*;
use crate::views::List;

macro_rules! fixed {
    ($($t:ty, [$($generic:tt)*];)*) => { $(
        impl<$($generic)*> Store for $t {
            type Builder = Fixed<$t>;
            #[inline(always)]
            fn store(self, builder: &mut Fixed<$t>) {
                builder.push(self);
            }
        }
    )* };
}

fixed! {
    i8, []; i16, []; i32, []; i64, []; u8, []; u16, []; u32, []; u64, []; f32, []; f64, []; Half, [];
    Date, []; Interval, []; Months, []; DayTime, [];
    Timestamp<U>, [U: Unit]; Time<U>, [U: Unit]; Duration<U>, [U: Unit];
    Decimal<P, S>, [const P: u8, const S: u8]; Decimal256<P, S>, [const P: u8, const S: u8];
    [u8; N], [const N: usize];
}

impl Store for bool {
    type Builder = Flags;
    fn store(self, builder: &mut Flags) {
        builder.push(self);
    }
}

impl Store for Null {
    type Builder = Nothing;
    fn store(self, builder: &mut Nothing) {
        builder.null();
    }
}

macro_rules! texts {
    ($($t:ty, $builder:ty, $heap:literal, |$value:ident| $bytes:expr, $capacity:expr;)*) => { $(
        impl Store for $t {
            type Builder = $builder;
            const HEAP: bool = $heap;
            #[inline(always)]
            fn heap(&self) -> usize {
                let $value = self;
                $capacity
            }
            #[inline(always)]
            fn store(self, builder: &mut $builder) {
                let $value = &self;
                builder.push($bytes.as_ref());
            }
        }
    )* };
}

texts! {
    &str, Texts<i32>, false, |value| value, { let _ = value; 0 };
    &[u8], Texts<i32>, false, |value| value, { let _ = value; 0 };
    String, Texts<i32>, true, |value| value, value.capacity();
    Vec<u8>, Texts<i32>, true, |value| value, value.capacity();
    Large<&str>, Texts<i64>, false, |value| value.0, { let _ = value; 0 };
    Large<&[u8]>, Texts<i64>, false, |value| value.0, { let _ = value; 0 };
    Large<String>, Texts<i64>, true, |value| value.0, value.0.capacity();
    Large<Vec<u8>>, Texts<i64>, true, |value| value.0, value.0.capacity();
    View<&str>, Views, false, |value| value.0, { let _ = value; 0 };
    View<&[u8]>, Views, false, |value| value.0, { let _ = value; 0 };
    View<String>, Views, true, |value| value.0, value.0.capacity();
    View<Vec<u8>>, Views, true, |value| value.0, value.0.capacity();
}

impl<T: Store> Store for Option<T> {
    type Builder = T::Builder;
    const HEAP: bool = T::HEAP;
    #[inline(always)]
    fn heap(&self) -> usize {
        self.as_ref().map_or(0, T::heap)
    }
    #[inline(always)]
    fn store(self, builder: &mut T::Builder) {
        match self {
            Some(value) => value.store(builder),
            None => builder.null(),
        }
    }
}

/// The result of the last call, whose memory the next one uses again.
static LAST: Single<Option<Box<dyn Object>>> = Single(UnsafeCell::new(None));

/// A column that is kept for the host, and the next call.
pub struct Kept<B>(Box<B>);

impl<B: Build> Kept<B> {
    /// An empty column.
    pub fn start() -> Self {
        // SAFETY: one thread; the reference ends here.
        let last = unsafe { &mut *LAST.0.get() }.take();
        let mut builder = last
            .and_then(|last| last.downcast::<B>().ok())
            .unwrap_or_default();
        builder.clear();
        Self(builder)
    }

    /// Adds a value.
    #[inline(always)]
    pub fn store<T: Store<Builder = B>>(&mut self, value: T) {
        value.store(&mut self.0);
    }

    /// Adds NULL.
    #[inline(always)]
    pub fn null(&mut self) {
        self.0.null();
    }

    /// Shows the column to the host.
    pub fn finish(mut self, out: &mut ArrowArray) {
        self.0.finish(out);
        // SAFETY: one thread; the reference ends here.
        unsafe { *LAST.0.get() = Some(self.0) }
    }
}

/// Makes a type that can be stored one that scalar functions return.
#[macro_export]
#[doc(hidden)]
macro_rules! kept_value {
    ($t:ty, [$($generic:tt)*]) => {
        impl<$($generic)*> $crate::glue::Value for $t {
            type Sink = $crate::glue::Kept<<$t as $crate::glue::Store>::Builder>;
            fn start(_: usize) -> Self::Sink {
                $crate::glue::Kept::start()
            }
            #[inline(always)]
            fn put(self, sink: &mut Self::Sink, _: usize) {
                sink.store(self);
            }
            #[inline(always)]
            fn nothing(sink: &mut Self::Sink, _: usize) {
                sink.null();
            }
            fn finish(
                sink: Self::Sink,
                out: &mut $crate::glue::ArrowArray,
                _: usize,
                _: usize,
            ) {
                sink.finish(out);
            }
        }
    };
}

kept_value!(Null, []);
kept_value!(Vec<T>, [T: Store + Element]);
kept_value!(List<'a, T>, ['a, T: Store + Argument]);
kept_value!([T; N], [T: Store + Element, const N: usize]);
kept_value!(Map<K, V>, [K: Store, V: Store]);
kept_value!(BTreeMap<K, V>, [K: Store, V: Store]);
macro_rules! kept {
    ($($t:ty;)*) => { $( kept_value!($t, ['a]); )* };
}
kept! {
    Large<&'a str>; Large<&'a [u8]>; View<&'a str>; View<&'a [u8]>;
}
macro_rules! kept_owned {
    ($($t:ty;)*) => { $( kept_value!($t, []); )* };
}
kept_owned! {
    Large<String>; Large<Vec<u8>>; View<String>; View<Vec<u8>>;
}

impl Argument for Null {
    type Column = ();
    fn column(_: &ArrowArray, _: usize, _: usize) {}
    fn get((): &(), _: usize) -> Null {
        Null
    }
}

/// Where texts with offsets of 64 bits lie, and views.
#[derive(Clone, Copy)]
pub struct Places {
    places: usize,
    step: usize,
    /// The bytes; for views, the pointers of their buffers.
    bytes: usize,
}

impl Places {
    #[inline(always)]
    fn large<'a>(&self, row: usize) -> &'a [u8] {
        // SAFETY: the offsets of the host rise and lie within the bytes.
        unsafe {
            let ends = (self.places as *const i64).add(row * self.step);
            let (from, to) = (*ends as usize, *ends.add(1) as usize);
            core::slice::from_raw_parts((self.bytes as *const u8).add(from), to - from)
        }
    }

    #[inline(always)]
    fn view<'a>(&self, row: usize) -> &'a [u8] {
        // SAFETY: the views of the host lie within its buffers.
        unsafe {
            let view = (self.places as *const [u32; 4]).add(row * self.step);
            let [length, _, number, offset] = *view;
            let start = if length <= 12 {
                (view as *const u8).add(4)
            } else {
                let data = *(self.bytes as *const u32).add(number as usize);
                (data as *const u8).add(offset as usize)
            };
            core::slice::from_raw_parts(start, length as usize)
        }
    }
}

macro_rules! places {
    ($($t:ty, $kind:ident, $get:ident, |$bytes:ident| $make:expr;)*) => { $(
        impl Argument for $t {
            type Column = Places;
            fn column(array: &ArrowArray, _: usize, _: usize) -> Places {
                Places {
                    places: buffer(array, 1),
                    step: step(array),
                    bytes: places!($kind, array),
                }
            }
            #[inline(always)]
            fn get(column: &Places, row: usize) -> Self {
                let $bytes = column.$get(row);
                $make
            }
        }
    )* };
    (Large, $array:ident) => { buffer($array, 2) };
    (View, $array:ident) => { $array.buffers as usize + 8 };
}

places! {
    // SAFETY: the host passes valid UTF-8 where the manifest says text.
    Large<&str>, Large, large, |bytes| Large(unsafe { core::str::from_utf8_unchecked(bytes) });
    // SAFETY: as above.
    Large<String>, Large, large, |bytes| Large(unsafe { String::from_utf8_unchecked(bytes.to_vec()) });
    Large<&[u8]>, Large, large, |bytes| Large(bytes);
    Large<Vec<u8>>, Large, large, |bytes| Large(bytes.to_vec());
    // SAFETY: as above.
    View<&str>, View, view, |bytes| View(unsafe { core::str::from_utf8_unchecked(bytes) });
    // SAFETY: as above.
    View<String>, View, view, |bytes| View(unsafe { String::from_utf8_unchecked(bytes.to_vec()) });
    View<&[u8]>, View, view, |bytes| View(bytes);
    View<Vec<u8>>, View, view, |bytes| View(bytes.to_vec());
}

/// Whether a value of a column is NULL.
pub fn is_null(array: &ArrowArray, row: usize) -> bool {
    !Bits::validity(array).valid(row)
}
