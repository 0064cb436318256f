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

/// As [`Decimal`], with up to 76 digits: the bytes of a two's complement number, lowest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Decimal256<const P: u8, const S: u8>(pub [u8; 32]);

impl<const P: u8, const S: u8> From<i128> for Decimal256<P, S> {
    fn from(value: i128) -> Self {
        let mut bytes = [if value < 0 { 0xff } else { 0 }; 32];
        let (low, _) = bytes.split_at_mut(16);
        low.copy_from_slice(&value.to_le_bytes());
        Self(bytes)
    }
}

/// What a [`Timestamp`], [`Time`] or [`Duration`] counts.
pub trait Unit: Copy + Default + 'static {
    /// What a time of day is held in.
    type Time: Copy + 'static;
    /// The format strings of timestamps, times and durations.
    #[doc(hidden)]
    const FORMATS: [&'static str; 3];
}

macro_rules! units {
    ($($(#[$doc:meta])* $name:ident, $time:ty, $stamp:literal $clock:literal $span:literal)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl Unit for $name {
            type Time = $time;
            const FORMATS: [&'static str; 3] = [$stamp, $clock, $span];
        }
    )* };
}

units! {
    /// Seconds.
    Seconds, i32, "tss:" "tts" "tDs"
    /// Milliseconds.
    Millis, i32, "tsm:" "ttm" "tDm"
    /// Microseconds.
    Micros, i64, "tsu:" "ttu" "tDu"
    /// Nanoseconds.
    Nanos, i64, "tsn:" "ttn" "tDn"
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

/// A time of day, counted from midnight in `U`: `TIME` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Time<U: Unit>(pub U::Time);

/// A length of time in `U`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Duration<U: Unit>(pub i64, PhantomData<U>);

impl<U: Unit> Duration<U> {
    /// So many units.
    pub const fn new(units: i64) -> Self {
        Self(units, PhantomData)
    }
}

/// Months, days and nanoseconds: `INTERVAL` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Nanoseconds.
    pub nanos: i64,
}

/// `INTERVAL YEAR TO MONTH` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Months(pub i32);

/// `INTERVAL DAY TO SECOND` in SQL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct DayTime {
    /// Days.
    pub days: i32,
    /// Milliseconds.
    pub millis: i32,
}

/// The bits of a floating-point number of 16 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Half(pub u16);

impl Half {
    /// The number.
    pub fn to_f32(self) -> f32 {
        let bits = u32::from(self.0);
        let (exponent, fraction) = (bits >> 10 & 0x1f, bits & 0x3ff);
        let magnitude = match exponent {
            0 => fraction as f32 / 16_777_216.0,
            31 => f32::from_bits(0x7f80_0000 | fraction << 13),
            _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
        };
        f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
    }

    /// The nearest of such numbers; of two, the even one.
    pub fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = (bits >> 16 & 0x8000) as u16;
        let magnitude = f32::from_bits(bits & 0x7fff_ffff);
        let half = if magnitude.is_nan() {
            0x7e00
        } else if magnitude >= 65520.0 {
            0x7c00
        } else if magnitude < 6.103_515_6e-5 {
            // Below the smallest normal number they are multiples of 2^-24.
            (magnitude * 16_777_216.0).round_ties_even() as u16
        } else {
            let bits = magnitude.to_bits();
            // Half of what is cut off, a little less where that would go to the odd one.
            let rounded = bits + 0xfff + (bits >> 13 & 1);
            ((rounded >> 13) - (112 << 10)) as u16
        };
        Self(sign | half)
    }
}

/// The value of a column that has only NULL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Null;

/// Text or bytes in a column with offsets of 64 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Large<T>(pub T);

/// Text or bytes in a column of views.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View<T>(pub T);

/// Keys and values in the order in which they stand: `MAP` in SQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map<K, V>(pub Vec<(K, V)>);

impl<K: PartialEq, V> Map<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
}

/// An error that knows the row that is to blame. Every error that can be shown becomes one, without
/// a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) row: Option<usize>,
    pub(crate) message: String,
}

impl Error {
    /// An error of a row, counted from 0 in what the function sees: its batch, group or partition.
    pub fn at(row: usize, message: impl core::fmt::Display) -> Self {
        Self {
            row: Some(row),
            message: message.to_string(),
        }
    }

    /// The row that is to blame.
    pub fn row(&self) -> Option<usize> {
        self.row
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
}

// As with other errors that take every error in, it is not shown itself: it would be two things.
impl<E: core::fmt::Display> From<E> for Error {
    #[inline(always)]
    fn from(error: E) -> Self {
        Self {
            row: None,
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_nearest_numbers() {
        for bits in 0..=u16::MAX {
            let value = Half(bits).to_f32();
            let back = Half::from_f32(value);
            assert!(
                back.0 == bits || value.is_nan(),
                "{bits:04x}: {value} {back:?}"
            );
        }
        for (value, bits) in [
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65519.0, 0x7bff),
            (65520.0, 0x7c00),
            (1.000_488_3, 0x3c00),
            (1.001_464_8, 0x3c02),
            (6e-8, 0x0001),
            (2.9e-8, 0x0000),
        ] {
            assert_eq!(Half::from_f32(value).0, bits, "{value}");
        }
    }

    #[test]
    fn wide_decimals_keep_the_sign() {
        assert_eq!(Decimal256::<40, 0>::from(-1).0, [0xff; 32]);
        assert_eq!(Decimal256::<40, 0>::from(258).0[..3], [2, 1, 0]);
    }
}
