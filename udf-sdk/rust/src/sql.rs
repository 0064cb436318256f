//! The SQL types of Rust types.

use std::collections::BTreeMap;

use crate::manifest::{Field, Format, SqlType, Type};
use crate::open::Any;
use crate::types::*;
use crate::views::List;

macro_rules! plain {
    ($($t:ty: $format:literal;)*) => { $(
        impl SqlType for $t {
            const TYPE: Type = Type::plain($format);
        }
    )* };
}

plain! {
    bool: "b"; i8: "c"; i16: "s"; i32: "i"; i64: "l"; u8: "C"; u16: "S"; u32: "I"; u64: "L";
    f32: "f"; f64: "g"; Half: "e"; &str: "u"; String: "u"; &[u8]: "z"; Vec<u8>: "z"; Date: "tdD";
    Interval: "tin"; Months: "tiM"; DayTime: "tiD";
    Large<&str>: "U"; Large<String>: "U"; Large<&[u8]>: "Z"; Large<Vec<u8>>: "Z";
    View<&str>: "vu"; View<String>: "vu"; View<&[u8]>: "vz"; View<Vec<u8>>: "vz";
}

impl SqlType for Null {
    const TYPE: Type = Type::plain("n");
    const NULLABLE: bool = true;
}

impl<U: Unit> SqlType for Timestamp<U> {
    const TYPE: Type = Type {
        format: Format::Zoned(U::FORMATS[0]),
        children: &[],
    };
}

impl<U: Unit> SqlType for Time<U> {
    const TYPE: Type = Type::plain(U::FORMATS[1]);
}

impl<U: Unit> SqlType for Duration<U> {
    const TYPE: Type = Type::plain(U::FORMATS[2]);
}

impl<const P: u8, const S: u8> SqlType for Decimal<P, S> {
    const TYPE: Type = {
        assert!(P >= 1 && P <= 38 && S <= P, "a decimal has 1 to 38 digits");
        Type {
            format: Format::Decimal(P, S, false),
            children: &[],
        }
    };
}

impl<const P: u8, const S: u8> SqlType for Decimal256<P, S> {
    const TYPE: Type = {
        assert!(
            P >= 1 && P <= 76 && S <= P,
            "a wide decimal has 1 to 76 digits"
        );
        Type {
            format: Format::Decimal(P, S, true),
            children: &[],
        }
    };
}

impl<const N: usize> SqlType for [u8; N] {
    const TYPE: Type = Type {
        format: Format::Sized("w:", N),
        children: &[],
    };
}

/// What can stand in lists: everything but bytes, which in lists are bytes.
pub trait Element {}

macro_rules! elements {
    ($($t:ty, [$($generic:tt)*];)*) => { $( impl<$($generic)*> Element for $t {} )* };
}

elements! {
    bool, []; i8, []; i16, []; i32, []; i64, []; u16, []; u32, []; u64, []; f32, []; f64, []; Half, [];
    &str, []; String, []; &[u8], []; Date, []; Interval, []; Months, []; DayTime, []; Null, [];
    Timestamp<U>, [U: Unit]; Time<U>, [U: Unit]; Duration<U>, [U: Unit];
    Decimal<P, S>, [const P: u8, const S: u8]; Decimal256<P, S>, [const P: u8, const S: u8];
    Large<T>, [T]; View<T>, [T]; Option<T>, [T]; Vec<T>, [T]; [T; N], [T, const N: usize];
    List<'_, T>, [T]; Map<K, V>, [K, V]; BTreeMap<K, V>, [K, V];
}

impl<T: SqlType> SqlType for Option<T> {
    const TYPE: Type = T::TYPE;
    const NULLABLE: bool = true;
}

impl<T: SqlType, E> SqlType for Result<T, E> {
    const TYPE: Type = T::TYPE;
    const NULLABLE: bool = T::NULLABLE;
}

/// The type of a list.
struct Items<T>(core::marker::PhantomData<T>);

impl<T: SqlType> SqlType for Items<T> {
    const TYPE: Type = Type {
        format: Format::Plain("+l"),
        children: &[Field::of::<T>("item")],
    };
}

impl<T: SqlType + Element> SqlType for Vec<T> {
    const TYPE: Type = Items::<T>::TYPE;
}

impl<T: SqlType> SqlType for List<'_, T> {
    const TYPE: Type = Items::<T>::TYPE;
}

impl<T: SqlType + Element, const N: usize> SqlType for [T; N] {
    const TYPE: Type = Type {
        format: Format::Sized("+w:", N),
        children: &[Field::of::<T>("item")],
    };
}

impl<K: SqlType, V: SqlType> SqlType for Map<K, V> {
    const TYPE: Type = Type {
        format: Format::Plain("+m"),
        children: &[Field::of::<K>("key"), Field::of::<V>("value")],
    };
}

impl<K: SqlType, V: SqlType> SqlType for BTreeMap<K, V> {
    const TYPE: Type = Map::<K, V>::TYPE;
}

impl<const N: usize> SqlType for Any<'_, N> {
    const TYPE: Type = Type {
        format: match N {
            0 => Format::Plain("any"),
            _ => Format::Sized("same:", N),
        },
        children: &[],
    };
}
