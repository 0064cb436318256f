//! ABI version 1 of Sandmill functions: the one written source.
//!
//! Only tables: what a module exports and may import, how Arrow data lies in its memory, the error
//! numbers and the limits. `cargo xtask codegen` renders them into `udf-sdk/spec/ABI.md`,
//! `udf-sdk/c/include/sandmill.h` and `udf-sdk/rust/src/abi.rs`; CI fails when those drift.
//!
//! Invariant: no code, no allocation, no dependency.
#![no_std]

/// Major version: modules of another major version are refused.
pub const MAJOR: u32 = 1;
/// Minor version: grows when something is added that old modules need not know.
pub const MINOR: u32 = 0;
/// Name of the custom section that holds the manifest (JSON lines, see [`ManifestField`]).
pub const MANIFEST_SECTION: &str = "sandmill.manifest";
/// Name of the module that host functions are imported from.
pub const IMPORT_MODULE: &str = "sandmill";
/// Prefix of the export of a scalar function: `sm_scalar.` followed by the function's name.
pub const SCALAR_PREFIX: &str = "sm_scalar.";
/// Alignment of every buffer that the host lays out, in bytes.
pub const BUFFER_ALIGN: u32 = 64;

/// A core WebAssembly value type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValType {
    /// 32-bit integer; pointers are `I32`.
    I32,
    /// 64-bit integer.
    I64,
}

/// A function at the boundary: an export or an import.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Name of the export, or of the import within [`IMPORT_MODULE`].
    pub name: &'static str,
    /// Names and types of the parameters.
    pub params: &'static [(&'static str, ValType)],
    /// Type of the result.
    pub result: Option<ValType>,
    /// Whether a module must have it (exports only).
    pub required: bool,
    /// What it does.
    pub doc: &'static str,
}

use ValType::{I32, I64};

/// What a module exports, besides its `memory` and one [`SCALAR_PREFIX`] function for each scalar
/// function of the manifest, all of the type of [`SCALAR`].
pub const EXPORTS: &[Function] = &[
    Function {
        name: "sm_alloc",
        params: &[("size", I32), ("align", I32)],
        result: Some(I32),
        required: true,
        doc: "Gives `size` bytes aligned to `align` (a power of two up to 64) that stay the host's \
              until `sm_free`, or 0 when there is no memory left.",
    },
    Function {
        name: "sm_free",
        params: &[("ptr", I32), ("size", I32), ("align", I32)],
        result: None,
        required: true,
        doc: "Takes back what `sm_alloc` gave, with the same size and alignment.",
    },
    Function {
        name: "sm_out_free",
        params: &[("out", I32)],
        result: None,
        required: false,
        doc: "Called after the host has copied the result out of the array at `out`; the guest may \
              reuse or free its buffers.",
    },
    Function {
        name: "sm_init",
        params: &[],
        result: Some(I32),
        required: false,
        doc: "Called once for each instance before any other call; anything but 0 is an error. \
              `_initialize` of reactor modules is called before it.",
    },
    Function {
        name: "sm_release_index",
        params: &[],
        result: Some(I32),
        required: false,
        doc: "Gives the table index that the host writes into `release` of the arrays it passes, so \
              that Arrow libraries in the guest accept them. The host never calls `release`.",
    },
];

/// The type of a scalar function's export.
pub const SCALAR: Function = Function {
    name: SCALAR_PREFIX,
    params: &[("args", I32), ("rows", I32), ("out", I32)],
    result: Some(I32),
    required: true,
    doc: "Computes one column. `args` points to one ArrowArray for each argument, side by side; an \
          array has `rows` elements, or one when the argument is constant. The guest fills the zeroed \
          ArrowArray at `out` with exactly `rows` elements. 0 means success, anything else an error \
          number.",
};

/// What a module may import from [`IMPORT_MODULE`].
pub const IMPORTS: &[Function] = &[
    Function {
        name: "log",
        params: &[("level", I32), ("ptr", I32), ("len", I32)],
        result: None,
        required: false,
        doc: "Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. \
              Longer lines are cut, floods are dropped and counted.",
    },
    Function {
        name: "fail",
        params: &[("code", I32), ("row", I64), ("ptr", I32), ("len", I32)],
        result: None,
        required: false,
        doc: "Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to \
              blame; the message is UTF-8. Never returns.",
    },
    Function {
        name: "metric",
        params: &[("id", I32), ("value", I64)],
        result: None,
        required: false,
        doc: "Adds `value` to counter `id` (0 to 15) of the function.",
    },
    Function {
        name: "now",
        params: &[],
        result: Some(I64),
        required: false,
        doc: "Microseconds since 1970 at the start of the query; the same for every call of a query.",
    },
    Function {
        name: "random",
        params: &[],
        result: Some(I64),
        required: false,
        doc: "64 random bits from a generator seeded by job and partition. Not for secrets.",
    },
    Function {
        name: "cancelled",
        params: &[],
        result: Some(I32),
        required: false,
        doc: "1 once the job has been cancelled. A courtesy: the host stops a guest that never asks.",
    },
];

/// A field of a struct in guest memory (wasm32, little endian).
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name in the Arrow C data interface.
    pub name: &'static str,
    /// Bytes from the start of the struct.
    pub offset: u32,
    /// `I64` for counts, `I32` for pointers.
    pub ty: ValType,
}

/// Bytes of an `ArrowArray`.
pub const ARRAY_SIZE: u32 = 64;
/// Fields of an `ArrowArray`.
pub const ARRAY_FIELDS: &[Field] = &[
    Field {
        name: "length",
        offset: 0,
        ty: I64,
    },
    Field {
        name: "null_count",
        offset: 8,
        ty: I64,
    },
    Field {
        name: "offset",
        offset: 16,
        ty: I64,
    },
    Field {
        name: "n_buffers",
        offset: 24,
        ty: I64,
    },
    Field {
        name: "n_children",
        offset: 32,
        ty: I64,
    },
    Field {
        name: "buffers",
        offset: 40,
        ty: I32,
    },
    Field {
        name: "children",
        offset: 44,
        ty: I32,
    },
    Field {
        name: "dictionary",
        offset: 48,
        ty: I32,
    },
    Field {
        name: "release",
        offset: 52,
        ty: I32,
    },
    Field {
        name: "private_data",
        offset: 56,
        ty: I32,
    },
];

/// How the values of a type lie in buffers. Buffer 0 is always the validity bitmap (or 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Buffer 1 holds one bit for each value.
    Bits,
    /// Buffer 1 holds values of this many bytes.
    Fixed(u32),
    /// Buffer 1 holds `rows + 1` offsets of 32 bits, buffer 2 the bytes.
    Bytes,
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

/// The types of version 1.0.
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
];

/// An error number that a scalar export returns or passes to `fail`.
#[derive(Debug, Clone, Copy)]
pub struct ErrorNumber {
    /// The number.
    pub number: i32,
    /// Name of the constant in the SDKs, without prefix.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// The error numbers.
pub const ERRORS: &[ErrorNumber] = &[
    ErrorNumber {
        number: -1,
        name: "ERROR",
        doc: "The function cannot compute a row.",
    },
    ErrorNumber {
        number: -2,
        name: "NO_MEMORY",
        doc: "The guest could not allocate.",
    },
    ErrorNumber {
        number: -3,
        name: "BAD_INPUT",
        doc: "The input is not what the manifest says.",
    },
    ErrorNumber {
        number: -4,
        name: "PANIC",
        doc: "The function panicked.",
    },
];

/// A field of a line of the manifest.
#[derive(Debug, Clone, Copy)]
pub struct ManifestField {
    /// Name of the JSON field.
    pub name: &'static str,
    /// JSON type and rules.
    pub ty: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// The manifest is JSON lines: each line one object with exactly one of the keys `package` and
/// `function`; lines are separated by line feeds or NUL bytes and may come in any order, so that
/// linkers can concatenate them. Unknown fields are refused. These are the fields of `package`,
/// which occurs exactly once.
pub const MANIFEST_PACKAGE: &[ManifestField] = &[
    ManifestField {
        name: "abi",
        ty: "text, required",
        doc: "ABI version: `1.0`.",
    },
    ManifestField {
        name: "name",
        ty: "text, required",
        doc: "Package name, 1 to 64 of a-z, A-Z, 0-9, `-`, `_`.",
    },
    ManifestField {
        name: "version",
        ty: "text, required",
        doc: "Package version, at most 64 bytes.",
    },
    ManifestField {
        name: "language",
        ty: "text",
        doc: "Source language, for people.",
    },
    ManifestField {
        name: "sdk",
        ty: "text",
        doc: "SDK and its version, for people.",
    },
];

/// The fields of `function`, one line for each function.
pub const MANIFEST_FUNCTION: &[ManifestField] = &[
    ManifestField {
        name: "name",
        ty: "text, required",
        doc: "Name in SQL: a letter or `_`, then letters, digits, `_`; at most 63 bytes; lower case.",
    },
    ManifestField {
        name: "kind",
        ty: "`scalar`, required",
        doc: "Kind of function.",
    },
    ManifestField {
        name: "arguments",
        ty: "list of {`name`, `type`}, required",
        doc: "At most 32; `type` is an Arrow format string.",
    },
    ManifestField {
        name: "returns",
        ty: "text, required",
        doc: "Arrow format string of the result.",
    },
    ManifestField {
        name: "nullable",
        ty: "boolean, default true",
        doc: "false promises a result without NULL wherever no strict argument is NULL.",
    },
    ManifestField {
        name: "strict",
        ty: "boolean, default true",
        doc: "true: NULL in any argument gives NULL, whatever the guest wrote there.",
    },
    ManifestField {
        name: "volatility",
        ty: "`immutable` (default), `stable`, `volatile`",
        doc: "What the planner may assume.",
    },
    ManifestField {
        name: "doc",
        ty: "text",
        doc: "One paragraph for people.",
    },
    ManifestField {
        name: "examples",
        ty: "list of texts",
        doc: "SQL examples.",
    },
];

/// Hard limits.
pub mod limits {
    /// Bytes of the manifest section.
    pub const MANIFEST_BYTES: usize = 64 * 1024;
    /// Functions of a module.
    pub const FUNCTIONS: usize = 256;
    /// Arguments of a function.
    pub const ARGUMENTS: usize = 32;
    /// Bytes of a module.
    pub const MODULE_BYTES: usize = 32 * 1024 * 1024;
    /// Bytes of the code of one guest function; larger ones are refused before compiling.
    pub const BODY_BYTES: usize = 1024 * 1024;
    /// Bytes of an error message or a log line.
    pub const MESSAGE_BYTES: usize = 8 * 1024;
    /// Log lines of one instance; further ones are dropped and counted.
    pub const LOG_LINES: usize = 1000;
    /// Guest frames kept of a trap.
    pub const FRAMES: usize = 32;
    /// Rows of one call.
    pub const ROWS: usize = 1 << 20;
    /// Counters that `metric` knows.
    pub const METRICS: usize = 16;
}
