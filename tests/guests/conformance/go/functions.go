// The conformance functions, in Go. udf-sdk/spec/conformance/cases.json says what they do.
package main

import (
	"math"
	"strings"

	"conformance_go/sandmill"
)

//sandmill:package conformance_go 0.1.0

// Gives its argument back.
//
//sandmill:scalar id_i8(x TINYINT) -> TINYINT
func id_i8(x int8) int8 { return x }

// Gives its argument back.
//
//sandmill:scalar id_i16(x SMALLINT) -> SMALLINT
func id_i16(x int16) int16 { return x }

// Gives its argument back.
//
//sandmill:scalar id_i32(x INT) -> INT
func id_i32(x int32) int32 { return x }

// Gives its argument back.
//
//sandmill:scalar id_i64(x BIGINT) -> BIGINT
func id_i64(x int64) int64 { return x }

// Gives its argument back.
//
//sandmill:scalar id_u8(x TINYINT UNSIGNED) -> TINYINT UNSIGNED
func id_u8(x uint8) uint8 { return x }

// Gives its argument back.
//
//sandmill:scalar id_u16(x SMALLINT UNSIGNED) -> SMALLINT UNSIGNED
func id_u16(x uint16) uint16 { return x }

// Gives its argument back.
//
//sandmill:scalar id_u32(x INT UNSIGNED) -> INT UNSIGNED
func id_u32(x uint32) uint32 { return x }

// Gives its argument back.
//
//sandmill:scalar id_u64(x BIGINT UNSIGNED) -> BIGINT UNSIGNED
func id_u64(x uint64) uint64 { return x }

// Gives its argument back.
//
//sandmill:scalar id_f32(x REAL) -> REAL
func id_f32(x float32) float32 { return x }

// Gives its argument back.
//
//sandmill:scalar id_f64(x DOUBLE) -> DOUBLE
func id_f64(x float64) float64 { return x }

// Gives its argument back.
//
//sandmill:scalar id_bool(x BOOLEAN) -> BOOLEAN
func id_bool(x bool) bool { return x }

// Gives its argument back.
//
//sandmill:scalar id_date(x DATE) -> DATE
func id_date(x int32) int32 { return x }

// Gives its argument back.
//
//sandmill:scalar id_decimal(x DECIMAL(10, 2)) -> DECIMAL(10, 2)
func id_decimal(x sandmill.Decimal) sandmill.Decimal { return x }

// Gives its argument back.
//
//sandmill:scalar id_timestamp(x TIMESTAMP(6) WITH TIME ZONE 'UTC') -> TIMESTAMP(6) WITH TIME ZONE 'UTC'
func id_timestamp(x int64) int64 { return x }

// Gives its argument back.
//
//sandmill:scalar id_timestamp_ns(x TIMESTAMP(9)) -> TIMESTAMP(9)
func id_timestamp_ns(x int64) int64 { return x }

// Gives its argument back.
//
//sandmill:scalar id_text(x VARCHAR) -> VARCHAR
func id_text(x string) string { return x }

// Gives its argument back.
//
//sandmill:scalar id_bytes(x BYTEA) -> BYTEA
func id_bytes(x []byte) []byte { return x }

// Adds two numbers; NULL counts as 0.
//
//sandmill:scalar add_or_zero(a BIGINT, b BIGINT) -> BIGINT CALLED ON NULL NEVER NULL
func add_or_zero(a, b *int64) int64 {
	sum := int64(0)
	for _, n := range []*int64{a, b} {
		if n != nil {
			sum += *n
		}
	}
	return sum
}

// The number, or NULL where it is odd.
//
//sandmill:scalar even(a BIGINT) -> BIGINT
func even(a int64) int64 {
	if a%2 != 0 {
		return sandmill.Null[int64]()
	}
	return a
}

// The square root of a number that is not negative.
//
//sandmill:scalar root(x DOUBLE) -> DOUBLE
func root(x float64) float64 {
	if x < 0 {
		sandmill.Fail("the argument is negative")
	}
	return math.Sqrt(x)
}

// Joins two texts.
//
//sandmill:scalar join_text(a VARCHAR, b VARCHAR) -> VARCHAR
func join_text(a, b string) string { return a + b }

// A text, so many times; NULL for a negative number.
//
//sandmill:scalar repeat_text(text VARCHAR, times INT) -> VARCHAR
func repeat_text(text string, times int32) string {
	if times < 0 {
		return sandmill.Null[string]()
	}
	return strings.Repeat(text, int(times))
}

// Whether a text is empty or NULL.
//
//sandmill:scalar is_blank(text VARCHAR) -> BOOLEAN CALLED ON NULL NEVER NULL
func is_blank(text *string) bool { return text == nil || *text == "" }

// The answer.
//
//sandmill:scalar answer() -> INT
func answer() int32 { return 42 }

// A random number for each row.
//
//sandmill:scalar roll() -> BIGINT VOLATILE
func roll() int64 { return sandmill.Random() }

// Microseconds at the start of the query.
//
//sandmill:scalar started() -> BIGINT STABLE
func started() int64 { return sandmill.Now() }

// Writes a line to the log and gives its argument back.
//
//sandmill:scalar logged(x BIGINT) -> BIGINT VOLATILE
func logged(x int64) int64 {
	sandmill.Log(1, "a value")
	return x
}

// Fails on 13.
//
//sandmill:scalar fears_13(x BIGINT) -> BIGINT
func fears_13(x int64) int64 {
	if x == 13 {
		sandmill.Fail("thirteen")
	}
	return x
}

// a * x + y
//
//sandmill:scalar axpy(a DOUBLE, x DOUBLE, y DOUBLE) -> DOUBLE
func axpy(a, x, y float64) float64 { return a*x + y }
