// Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit.

/// The function cannot compute a row.
pub const ERROR: i32 = -1;
/// The guest could not allocate.
pub const NO_MEMORY: i32 = -2;
/// The input is not what the manifest says.
pub const BAD_INPUT: i32 = -3;
/// The function panicked.
pub const PANIC: i32 = -4;
/// Results that may be kept at the same time.
pub const CHAIN: usize = 4;

/// A column in linear memory, as in the Arrow C data interface.
#[repr(C)]
pub struct ArrowArray {
    pub length: i64,
    pub null_count: i64,
    pub offset: i64,
    pub n_buffers: i64,
    pub n_children: i64,
    pub buffers: u32,
    pub children: u32,
    pub dictionary: u32,
    pub release: u32,
    pub private_data: u32,
    padding: u32,
}

/// A type in linear memory, as in the Arrow C data interface.
#[repr(C)]
pub struct ArrowSchema {
    pub format: u32,
    pub name: u32,
    pub metadata: u32,
    pub flags: i64,
    pub n_children: i64,
    pub children: u32,
    pub dictionary: u32,
    pub release: u32,
    pub private_data: u32,
}

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "sandmill")]
unsafe extern "C" {
    /// Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. Longer lines are cut, floods are dropped and counted.
    pub fn log(level: i32, ptr: u32, len: u32);
    /// Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to blame; the message is UTF-8. Never returns.
    pub fn fail(code: i32, row: i64, ptr: u32, len: u32);
    /// Adds `value` to counter `id` (0 to 15) of the function.
    pub fn metric(id: i32, value: i64);
    /// Microseconds since 1970 at the start of the query; the same for every call of a query.
    pub fn now() -> i64;
    /// 64 random bits from a generator seeded by job and partition. Not for secrets.
    pub fn random() -> i64;
    /// 1 once the job has been cancelled. A courtesy: the host stops a guest that never asks.
    pub fn cancelled() -> i32;
    /// Makes one HTTP request and waits for its response. Only modules whose manifest names places in `capabilities.http` may import it, and a call to a place that manifest or tenant does not name ends with `function.capability`. Request and response are one line of JSON, a line feed, and the body as it is. Request: `{"method":"GET","url":"http://api.example.org/a?b=c","headers":[["accept","text/plain"]]}`; `headers` may be missing. Response: `{"status":200,"headers":[["content-type","text/plain"]]}`; redirects are responses like others. Without a response: `{"status":0,"headers":[],"error":"why"}`. Gives the bytes of the response; if that is more than `room`, nothing is written, and a call with `request_len` 0 and enough room gives the same response.
    pub fn http(request: i32, request_len: i32, response: i32, room: i32) -> i32;
}
