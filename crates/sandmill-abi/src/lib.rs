//! ABI version 1 of Sandmill functions: the one written source.
//!
//! Only tables: what a module exports and may import, how Arrow data lies in its memory, the error
//! numbers and the limits. `cargo xtask codegen` renders them into `udf-sdk/spec/ABI.md`,
//! `udf-sdk/c/include/sandmill.h` and `udf-sdk/rust/src/abi.rs`; CI fails when those drift.
//!
//! Invariant: no code, no allocation, no dependency.
#![no_std]

mod kinds;
mod manifest;
mod types;

pub use kinds::{KINDS, Kind, VARIADIC};
pub use manifest::{
    MANIFEST_ARGUMENT, MANIFEST_FUNCTION, MANIFEST_PACKAGE, MANIFEST_TYPE, ManifestField,
};
pub use types::{Layout, TYPES, Type};

/// Major version: modules of another major version are refused.
pub const MAJOR: u32 = 1;
/// Minor version: grows when something is added that old modules need not know.
pub const MINOR: u32 = 1;
/// Name of the custom section that holds the manifest (JSON lines, see [`ManifestField`]).
pub const MANIFEST_SECTION: &str = "sandmill.manifest";
/// Name of the module that host functions are imported from.
pub const IMPORT_MODULE: &str = "sandmill";
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

/// What a module exports, besides its `memory` and, for each function of the manifest, the exports
/// of its [`Kind`].
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
        doc: "Called after the host is done with the array at `out`; the guest may reuse or free its \
              buffers. Until then they stay as they are, whatever other functions are called: so the \
              host can hand the result of one scalar function to the next without copying it. At most 4 \
              results are kept so; all of them are freed before another function is called.",
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
    Function {
        name: "http",
        params: &[
            ("request", I32),
            ("request_len", I32),
            ("response", I32),
            ("room", I32),
        ],
        result: Some(I32),
        required: false,
        doc: "Makes one HTTP request and waits for its response. Only modules whose manifest names \
              places in `capabilities.http` may import it, and a call to a place that manifest or \
              tenant does not name ends with `function.capability`. Request and response are one line \
              of JSON, a line feed, and the body as it is. Request: `{\"method\":\"GET\",\
              \"url\":\"http://api.example.org/a?b=c\",\"headers\":[[\"accept\",\"text/plain\"]]}`; \
              `headers` may be missing. Response: `{\"status\":200,\"headers\":[[\"content-type\",\
              \"text/plain\"]]}`; redirects are responses like others. Without a response: \
              `{\"status\":0,\"headers\":[],\"error\":\"why\"}`. Gives the bytes of the response; if that is \
              more than `room`, nothing is written, and a call with `request_len` 0 and enough room \
              gives the same response.",
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
/// Bytes of an `ArrowSchema`.
pub const SCHEMA_SIZE: u32 = 48;
/// Fields of an `ArrowSchema`: the host lays one out for each argument whose type the manifest
/// leaves open, and its address is the array's `private_data`.
pub const SCHEMA_FIELDS: &[Field] = &[
    Field {
        name: "format",
        offset: 0,
        ty: I32,
    },
    Field {
        name: "name",
        offset: 4,
        ty: I32,
    },
    Field {
        name: "metadata",
        offset: 8,
        ty: I32,
    },
    Field {
        name: "flags",
        offset: 16,
        ty: I64,
    },
    Field {
        name: "n_children",
        offset: 24,
        ty: I64,
    },
    Field {
        name: "children",
        offset: 32,
        ty: I32,
    },
    Field {
        name: "dictionary",
        offset: 36,
        ty: I32,
    },
    Field {
        name: "release",
        offset: 40,
        ty: I32,
    },
    Field {
        name: "private_data",
        offset: 44,
        ty: I32,
    },
];
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
    /// Columns that a function takes or gives, and of an aggregate's state.
    pub const COLUMNS: usize = 64;
    /// Scalar functions whose results may be kept at the same time, see `sm_out_free`.
    pub const CHAIN: usize = 4;
    /// Types within types of one argument or result.
    pub const TYPE_DEPTH: usize = 8;
    /// Types of one argument or result, with those inside.
    pub const TYPE_NODES: usize = 64;
    /// Rows of one call.
    pub const ROWS: usize = 1 << 20;
    /// Bytes of a request of `http`.
    pub const HTTP_REQUEST_BYTES: usize = 1024 * 1024;
    /// Bytes of the body of a response to `http`, and of its headers.
    pub const HTTP_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
    /// Headers of a request of `http`.
    pub const HTTP_HEADERS: usize = 64;
    /// Requests of all instances of a job.
    pub const HTTP_REQUESTS: u64 = 10_000;
    /// Counters that `metric` knows.
    pub const METRICS: usize = 16;
}
