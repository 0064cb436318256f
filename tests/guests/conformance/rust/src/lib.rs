//! The conformance functions, in Rust. `udf-sdk/spec/conformance/cases.json` says what they do.

pub mod aggregates;
pub mod tables;
pub mod types;

use sandmill::{Date, Decimal, Micros, Nanos, Timestamp};

sandmill::package!();

macro_rules! identities {
    ($($name:ident: $t:ty;)*) => { $(
        /// Gives its argument back.
        #[sandmill::udf]
        pub fn $name(x: $t) -> $t { x }
    )* };
}

identities! {
    id_bool: bool; id_i8: i8; id_i16: i16; id_i32: i32; id_i64: i64;
    id_u8: u8; id_u16: u16; id_u32: u32; id_u64: u64; id_f32: f32; id_f64: f64;
    id_date: Date; id_decimal: Decimal<10, 2>; id_timestamp_ns: Timestamp<Nanos>;
}

/// Gives its argument back.
#[sandmill::udf]
pub fn id_text(x: &str) -> &str {
    x
}

/// Gives its argument back.
#[sandmill::udf]
pub fn id_bytes(x: &[u8]) -> &[u8] {
    x
}

/// Gives its argument back.
#[sandmill::udf(zone = "UTC")]
pub fn id_timestamp(x: Timestamp<Micros>) -> Timestamp<Micros> {
    x
}

/// Adds two numbers; NULL counts as 0.
#[sandmill::udf]
pub fn add_or_zero(a: Option<i64>, b: Option<i64>) -> i64 {
    a.unwrap_or(0).wrapping_add(b.unwrap_or(0))
}

/// The number, or NULL where it is odd.
#[sandmill::udf]
pub fn even(a: i64) -> Option<i64> {
    (a % 2 == 0).then_some(a)
}

/// The square root of a number that is not negative.
#[sandmill::udf]
pub fn root(x: f64) -> Result<f64, String> {
    if x < 0.0 {
        Err(format!("{x:?} is negative"))
    } else {
        Ok(x.sqrt())
    }
}

/// Joins two texts.
#[sandmill::udf]
pub fn join_text(a: &str, b: &str) -> String {
    [a, b].concat()
}

/// A text, so many times; NULL for a negative number.
#[sandmill::udf]
pub fn repeat_text(text: &str, times: i32) -> Option<String> {
    usize::try_from(times).ok().map(|times| text.repeat(times))
}

/// Whether a text is empty or NULL.
#[sandmill::udf]
pub fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}

/// The answer.
#[sandmill::udf]
pub fn answer() -> i32 {
    42
}

/// A random number for each row.
#[sandmill::udf(volatility = "volatile")]
pub fn roll() -> i64 {
    sandmill::random() as i64
}

/// Microseconds at the start of the query.
#[sandmill::udf(volatility = "stable")]
pub fn started() -> i64 {
    sandmill::now()
}

/// Writes a line to the log and gives its argument back.
#[sandmill::udf(volatility = "volatile")]
pub fn logged(x: i64) -> i64 {
    sandmill::info!("value {x}");
    x
}

/// Panics on 13.
#[sandmill::udf]
pub fn fears_13(x: i64) -> i64 {
    assert!(x != 13, "thirteen");
    x
}

/// `a * x + y`, over whole columns.
#[sandmill::udf(columns)]
pub fn axpy(a: &[f64], x: &[f64], y: &[f64], out: &mut [f64]) {
    for n in 0..out.len() {
        out[n] = a[n] * x[n] + y[n];
    }
}
