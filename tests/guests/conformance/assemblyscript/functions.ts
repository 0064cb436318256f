// The conformance functions, in AssemblyScript. udf-sdk/spec/conformance/cases.json says what they do.
import { Decimal, fail, log, none, now, random } from "./sandmill";

//sandmill:package conformance_assemblyscript 0.1.0

// Gives its argument back.
//sandmill:scalar id_i8(x TINYINT) -> TINYINT
export function id_i8(x: i8): i8 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_i16(x SMALLINT) -> SMALLINT
export function id_i16(x: i16): i16 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_i32(x INT) -> INT
export function id_i32(x: i32): i32 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_i64(x BIGINT) -> BIGINT
export function id_i64(x: i64): i64 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_u8(x TINYINT UNSIGNED) -> TINYINT UNSIGNED
export function id_u8(x: u8): u8 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_u16(x SMALLINT UNSIGNED) -> SMALLINT UNSIGNED
export function id_u16(x: u16): u16 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_u32(x INT UNSIGNED) -> INT UNSIGNED
export function id_u32(x: u32): u32 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_u64(x BIGINT UNSIGNED) -> BIGINT UNSIGNED
export function id_u64(x: u64): u64 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_f32(x REAL) -> REAL
export function id_f32(x: f32): f32 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_f64(x DOUBLE) -> DOUBLE
export function id_f64(x: f64): f64 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_bool(x BOOLEAN) -> BOOLEAN
export function id_bool(x: bool): bool {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_date(x DATE) -> DATE
export function id_date(x: i32): i32 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_decimal(x DECIMAL(10, 2)) -> DECIMAL(10, 2)
export function id_decimal(x: Decimal): Decimal {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_timestamp(x TIMESTAMP(6) WITH TIME ZONE 'UTC') -> TIMESTAMP(6) WITH TIME ZONE 'UTC'
export function id_timestamp(x: i64): i64 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_timestamp_ns(x TIMESTAMP(9)) -> TIMESTAMP(9)
export function id_timestamp_ns(x: i64): i64 {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_text(x VARCHAR) -> VARCHAR
export function id_text(x: string): string {
  return x;
}

// Gives its argument back.
//sandmill:scalar id_bytes(x BYTEA) -> BYTEA
export function id_bytes(x: Uint8Array): Uint8Array {
  return x;
}

// Adds two numbers; NULL counts as 0.
//sandmill:scalar add_or_zero(a BIGINT, b BIGINT) -> BIGINT CALLED ON NULL NEVER NULL
export function add_or_zero(a: i64, aNull: bool, b: i64, bNull: bool): i64 {
  return (aNull ? 0 : a) + (bNull ? 0 : b);
}

// The number, or NULL where it is odd.
//sandmill:scalar even(a BIGINT) -> BIGINT
export function even(a: i64): i64 {
  return a % 2 != 0 ? none<i64>() : a;
}

// The square root of a number that is not negative.
//sandmill:scalar root(x DOUBLE) -> DOUBLE
export function root(x: f64): f64 {
  if (x < 0) fail("the argument is negative");
  return Math.sqrt(x);
}

// Joins two texts.
//sandmill:scalar join_text(a VARCHAR, b VARCHAR) -> VARCHAR
export function join_text(a: string, b: string): string {
  return a + b;
}

// A text, so many times; NULL for a negative number.
//sandmill:scalar repeat_text(text VARCHAR, times INT) -> VARCHAR
export function repeat_text(text: string, times: i32): string {
  return times < 0 ? none<string>() : text.repeat(times);
}

// Whether a text is empty or NULL.
//sandmill:scalar is_blank(text VARCHAR) -> BOOLEAN CALLED ON NULL NEVER NULL
export function is_blank(text: string, textNull: bool): bool {
  return textNull || text.length == 0;
}

// The answer.
//sandmill:scalar answer() -> INT
export function answer(): i32 {
  return 42;
}

// A random number for each row.
//sandmill:scalar roll() -> BIGINT VOLATILE
export function roll(): i64 {
  return random();
}

// Microseconds at the start of the query.
//sandmill:scalar started() -> BIGINT STABLE
export function started(): i64 {
  return now();
}

// Writes a line to the log and gives its argument back.
//sandmill:scalar logged(x BIGINT) -> BIGINT VOLATILE
export function logged(x: i64): i64 {
  log(1, "a value");
  return x;
}

// Fails on 13.
//sandmill:scalar fears_13(x BIGINT) -> BIGINT
export function fears_13(x: i64): i64 {
  if (x == 13) fail("thirteen");
  return x;
}

// a * x + y
//sandmill:scalar axpy(a DOUBLE, x DOUBLE, y DOUBLE) -> DOUBLE
export function axpy(a: f64, x: f64, y: f64): f64 {
  return a * x + y;
}
