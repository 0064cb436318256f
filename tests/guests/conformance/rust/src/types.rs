//! Functions over every type.

use std::collections::BTreeMap;

use sandmill::{
    Any, Decimal256, Duration, Interval, Large, List, Micros, Record, Time, Variadic, View,
};

macro_rules! identities {
    ($($name:ident: $t:ty;)*) => { $(
        /// Gives its argument back.
        #[sandmill::udf]
        pub fn $name(x: $t) -> $t { x }
    )* };
}

identities! {
    id_list_i64: Vec<Option<i64>>;
    id_map: BTreeMap<String, Option<i64>>;
    id_fixed_list: [Option<f64>; 3];
    id_time: Time<Micros>;
    id_duration: Duration<Micros>;
    id_interval: Interval;
    id_decimal256: Decimal256<50, 4>;
    id_fixed_bytes: [u8; 4];
    id_struct: Point;
}

/// A struct with fields of two types.
#[derive(Record)]
pub struct Point {
    pub x: Option<f64>,
    pub y: Option<i64>,
}

/// Gives its argument back.
#[sandmill::udf]
pub fn id_list_text<'a>(x: List<'a, Option<&'a str>>) -> List<'a, Option<&'a str>> {
    x
}

/// Gives its argument back.
#[sandmill::udf]
pub fn id_large_text(x: Large<&str>) -> Large<&str> {
    x
}

/// Gives its argument back.
#[sandmill::udf]
pub fn id_text_view(x: View<&str>) -> View<&str> {
    x
}

/// The sum of a list; NULL counts as 0.
#[sandmill::udf]
pub fn list_sum(list: List<'_, Option<i64>>) -> i64 {
    list.iter().flatten().fold(0, i64::wrapping_add)
}

/// The numbers from 0 to `n - 1`.
#[sandmill::udf]
pub fn make_list(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// The greatest of its arguments; NULL where there is none.
#[sandmill::udf]
pub fn greatest_of(values: Variadic<'_, i64>) -> Option<i64> {
    values.iter().max()
}

/// The Arrow format string of its argument's type.
#[sandmill::udf(called_on_null)]
pub fn type_name(value: Any<'_>) -> String {
    value.format().to_owned()
}

/// The first argument, or the second where it is NULL.
#[sandmill::udf]
pub fn first_of<'a>(a: Option<Any<'a>>, b: Option<Any<'a, 1>>) -> Option<Any<'a, 1>> {
    a.map(Any::same).or(b)
}

/// `x` times `factor`.
#[sandmill::udf(default(factor = "2"))]
pub fn scale_by(x: f64, factor: f64) -> f64 {
    x * factor
}
