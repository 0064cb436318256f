// The conformance functions, in JavaScript. udf-sdk/spec/conformance/cases.json says what they do.
//sandmill:package conformance_javascript 0.1.0

// Gives its argument back.
//sandmill:scalar id_i8(x TINYINT) -> TINYINT
export const id_i8 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_i16(x SMALLINT) -> SMALLINT
export const id_i16 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_i32(x INT) -> INT
export const id_i32 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_i64(x BIGINT) -> BIGINT
export const id_i64 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_u8(x TINYINT UNSIGNED) -> TINYINT UNSIGNED
export const id_u8 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_u16(x SMALLINT UNSIGNED) -> SMALLINT UNSIGNED
export const id_u16 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_u32(x INT UNSIGNED) -> INT UNSIGNED
export const id_u32 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_u64(x BIGINT UNSIGNED) -> BIGINT UNSIGNED
export const id_u64 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_f32(x REAL) -> REAL
export const id_f32 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_f64(x DOUBLE) -> DOUBLE
export const id_f64 = (x) => x;

// Gives its argument back.
//sandmill:scalar id_bool(x BOOLEAN) -> BOOLEAN
export const id_bool = (x) => x;

// Gives its argument back.
//sandmill:scalar id_date(x DATE) -> DATE
export const id_date = (x) => x;

// Gives its argument back.
//sandmill:scalar id_decimal(x DECIMAL(10, 2)) -> DECIMAL(10, 2)
export const id_decimal = (x) => x;

// Gives its argument back.
//sandmill:scalar id_timestamp(x TIMESTAMP(6) WITH TIME ZONE 'UTC') -> TIMESTAMP(6) WITH TIME ZONE 'UTC'
export const id_timestamp = (x) => x;

// Gives its argument back.
//sandmill:scalar id_timestamp_ns(x TIMESTAMP(9)) -> TIMESTAMP(9)
export const id_timestamp_ns = (x) => x;

// Gives its argument back.
//sandmill:scalar id_text(x VARCHAR) -> VARCHAR
export const id_text = (x) => x;

// Gives its argument back.
//sandmill:scalar id_bytes(x BYTEA) -> BYTEA
export const id_bytes = (x) => x;

// Adds two numbers; NULL counts as 0.
//sandmill:scalar add_or_zero(a BIGINT, b BIGINT) -> BIGINT CALLED ON NULL NEVER NULL
export const add_or_zero = (a, b) => (a ?? 0n) + (b ?? 0n);

// The number, or NULL where it is odd.
//sandmill:scalar even(a BIGINT) -> BIGINT
export const even = (a) => (a % 2n === 0n ? a : null);

// The square root of a number that is not negative.
//sandmill:scalar root(x DOUBLE) -> DOUBLE
export function root(x) {
  if (x < 0) throw new RangeError("the argument is negative");
  return Math.sqrt(x);
}

// Joins two texts.
//sandmill:scalar join_text(a VARCHAR, b VARCHAR) -> VARCHAR
export const join_text = (a, b) => a + b;

// A text, so many times; NULL for a negative number.
//sandmill:scalar repeat_text(text VARCHAR, times INT) -> VARCHAR
export const repeat_text = (text, times) => (times < 0 ? null : text.repeat(times));

// Whether a text is empty or NULL.
//sandmill:scalar is_blank(text VARCHAR) -> BOOLEAN CALLED ON NULL NEVER NULL
export const is_blank = (text) => text === null || text === "";

// The answer.
//sandmill:scalar answer() -> INT
export const answer = () => 42;

// A random number for each row.
//sandmill:scalar roll() -> BIGINT VOLATILE
export const roll = () => sandmill.random();

// Microseconds at the start of the query.
//sandmill:scalar started() -> BIGINT STABLE
export const started = () => sandmill.now();

// Writes a line to the log and gives its argument back.
//sandmill:scalar logged(x BIGINT) -> BIGINT VOLATILE
export function logged(x) {
  sandmill.log(1, "a value");
  return x;
}

// Fails on 13.
//sandmill:scalar fears_13(x BIGINT) -> BIGINT
export function fears_13(x) {
  if (x === 13n) throw new Error("thirteen");
  return x;
}

// a * x + y
//sandmill:scalar axpy(a DOUBLE, x DOUBLE, y DOUBLE) -> DOUBLE
export const axpy = (a, x, y) => a * x + y;
