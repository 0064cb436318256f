//! The types that arguments and results may have.

/// How the values of a type lie in buffers. Unless said otherwise, buffer 0 is the validity bitmap
/// (or 0 when there is no NULL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// No buffers at all: every value is NULL.
    Null,
    /// Buffer 1 holds one bit for each value.
    Bits,
    /// Buffer 1 holds values of this many bytes.
    Fixed(u32),
    /// Buffer 1 holds values of as many bytes as the format string says.
    FixedBytes,
    /// Buffer 1 holds `rows + 1` offsets of 32 bits, buffer 2 the bytes.
    Bytes,
    /// Buffer 1 holds `rows + 1` offsets of 64 bits, buffer 2 the bytes.
    LargeBytes,
    /// Buffer 1 holds views of 16 bytes, then come any number of data buffers, then their lengths as
    /// 64-bit numbers.
    Views,
    /// Buffer 1 holds `rows + 1` offsets of 32 bits into the one child.
    List,
    /// Buffer 1 holds `rows + 1` offsets of 64 bits into the one child.
    LargeList,
    /// No buffer but validity; the one child has as many values for each row as the format says.
    FixedList,
    /// No buffer but validity; a child for each field.
    Struct,
    /// As a list of structs with the fields key and value.
    Map,
}

/// A type that arguments and results may have.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Arrow format string; `:` is followed by parameters.
    pub format: &'static str,
    /// Name in Arrow.
    pub arrow: &'static str,
    /// Name in SQL.
    pub sql: &'static str,
    /// Layout in memory.
    pub layout: Layout,
}

/// The types. Where a type has types inside, they are its children in the manifest; any integer type
/// with a `dictionary` in the manifest is dictionary-encoded.
pub const TYPES: &[Type] = &[
    Type {
        format: "b",
        arrow: "Boolean",
        sql: "BOOLEAN",
        layout: Layout::Bits,
    },
    Type {
        format: "c",
        arrow: "Int8",
        sql: "TINYINT",
        layout: Layout::Fixed(1),
    },
    Type {
        format: "C",
        arrow: "UInt8",
        sql: "TINYINT UNSIGNED",
        layout: Layout::Fixed(1),
    },
    Type {
        format: "s",
        arrow: "Int16",
        sql: "SMALLINT",
        layout: Layout::Fixed(2),
    },
    Type {
        format: "S",
        arrow: "UInt16",
        sql: "SMALLINT UNSIGNED",
        layout: Layout::Fixed(2),
    },
    Type {
        format: "i",
        arrow: "Int32",
        sql: "INT",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "I",
        arrow: "UInt32",
        sql: "INT UNSIGNED",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "l",
        arrow: "Int64",
        sql: "BIGINT",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "L",
        arrow: "UInt64",
        sql: "BIGINT UNSIGNED",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "f",
        arrow: "Float32",
        sql: "REAL",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "g",
        arrow: "Float64",
        sql: "DOUBLE",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "u",
        arrow: "Utf8",
        sql: "VARCHAR",
        layout: Layout::Bytes,
    },
    Type {
        format: "z",
        arrow: "Binary",
        sql: "BYTEA",
        layout: Layout::Bytes,
    },
    Type {
        format: "tdD",
        arrow: "Date32",
        sql: "DATE",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "tss:",
        arrow: "Timestamp(s)",
        sql: "TIMESTAMP(0)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tsm:",
        arrow: "Timestamp(ms)",
        sql: "TIMESTAMP(3)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tsu:",
        arrow: "Timestamp(µs)",
        sql: "TIMESTAMP(6)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tsn:",
        arrow: "Timestamp(ns)",
        sql: "TIMESTAMP(9)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "d:",
        arrow: "Decimal128",
        sql: "DECIMAL",
        layout: Layout::Fixed(16),
    },
    Type {
        format: "n",
        arrow: "Null",
        sql: "NULL",
        layout: Layout::Null,
    },
    Type {
        format: "e",
        arrow: "Float16",
        sql: "HALF",
        layout: Layout::Fixed(2),
    },
    Type {
        format: "U",
        arrow: "LargeUtf8",
        sql: "VARCHAR",
        layout: Layout::LargeBytes,
    },
    Type {
        format: "Z",
        arrow: "LargeBinary",
        sql: "BYTEA",
        layout: Layout::LargeBytes,
    },
    Type {
        format: "vu",
        arrow: "Utf8View",
        sql: "VARCHAR",
        layout: Layout::Views,
    },
    Type {
        format: "vz",
        arrow: "BinaryView",
        sql: "BYTEA",
        layout: Layout::Views,
    },
    Type {
        format: "w:",
        arrow: "FixedSizeBinary",
        sql: "BYTEA",
        layout: Layout::FixedBytes,
    },
    Type {
        format: "tdm",
        arrow: "Date64",
        sql: "DATE",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tts",
        arrow: "Time32(s)",
        sql: "TIME(0)",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "ttm",
        arrow: "Time32(ms)",
        sql: "TIME(3)",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "ttu",
        arrow: "Time64(µs)",
        sql: "TIME(6)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "ttn",
        arrow: "Time64(ns)",
        sql: "TIME(9)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tDs",
        arrow: "Duration(s)",
        sql: "DURATION(0)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tDm",
        arrow: "Duration(ms)",
        sql: "DURATION(3)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tDu",
        arrow: "Duration(µs)",
        sql: "DURATION(6)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tDn",
        arrow: "Duration(ns)",
        sql: "DURATION(9)",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tiM",
        arrow: "Interval(YearMonth)",
        sql: "INTERVAL YEAR TO MONTH",
        layout: Layout::Fixed(4),
    },
    Type {
        format: "tiD",
        arrow: "Interval(DayTime)",
        sql: "INTERVAL DAY TO SECOND",
        layout: Layout::Fixed(8),
    },
    Type {
        format: "tin",
        arrow: "Interval(MonthDayNano)",
        sql: "INTERVAL",
        layout: Layout::Fixed(16),
    },
    Type {
        format: "+l",
        arrow: "List",
        sql: "ARRAY",
        layout: Layout::List,
    },
    Type {
        format: "+L",
        arrow: "LargeList",
        sql: "ARRAY",
        layout: Layout::LargeList,
    },
    Type {
        format: "+w:",
        arrow: "FixedSizeList",
        sql: "ARRAY",
        layout: Layout::FixedList,
    },
    Type {
        format: "+s",
        arrow: "Struct",
        sql: "STRUCT",
        layout: Layout::Struct,
    },
    Type {
        format: "+m",
        arrow: "Map",
        sql: "MAP",
        layout: Layout::Map,
    },
];
