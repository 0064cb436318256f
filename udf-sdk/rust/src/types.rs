//! Types that Rust does not have.

use core::marker::PhantomData;

/// Days since 1970-01-01: `DATE` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Date(pub i32);

/// A decimal number of `P` digits, `S` of them behind the point: `DECIMAL(P, S)` in SQL. Holds the
/// number times 10 to the power of `S`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Decimal<const P: u8, const S: u8>(pub i128);

/// What a [`Timestamp`] counts.
pub trait Unit: Copy + Default + 'static {}

macro_rules! units {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl Unit for $name {}
    )* };
}

units! {
    /// Seconds.
    Seconds
    /// Milliseconds.
    Millis
    /// Microseconds.
    Micros
    /// Nanoseconds.
    Nanos
}

/// A moment, counted from 1970-01-01 in `U`: `TIMESTAMP` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp<U: Unit>(pub i64, PhantomData<U>);

impl<U: Unit> Timestamp<U> {
    /// A moment so many units after 1970-01-01.
    pub const fn new(units: i64) -> Self {
        Self(units, PhantomData)
    }
}
