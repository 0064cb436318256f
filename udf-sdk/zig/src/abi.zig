// Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit.

/// The ABI's version.
pub const version = "1.1";

/// The function cannot compute a row.
pub const ERROR: i32 = -1;
/// The guest could not allocate.
pub const NO_MEMORY: i32 = -2;
/// The input is not what the manifest says.
pub const BAD_INPUT: i32 = -3;
/// The function panicked.
pub const PANIC: i32 = -4;

/// A column in linear memory, as in the Arrow C data interface.
pub const ArrowArray = extern struct {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: ?[*]const ?*const anyopaque,
    children: ?[*]const *const ArrowArray,
    dictionary: ?*const ArrowArray,
    release: u32,
    private_data: ?*anyopaque,
};

/// A type in linear memory, as in the Arrow C data interface.
pub const ArrowSchema = extern struct {
    format: ?[*:0]const u8,
    name: ?[*:0]const u8,
    metadata: ?[*:0]const u8,
    flags: i64,
    n_children: i64,
    children: ?[*]const *const ArrowSchema,
    dictionary: ?*const ArrowSchema,
    release: u32,
    private_data: ?*anyopaque,
};

/// Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. Longer lines are cut, floods are dropped and counted.
pub extern "sandmill" fn log(level: i32, ptr: [*]const u8, len: usize) void;
/// Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to blame; the message is UTF-8. Never returns.
pub extern "sandmill" fn fail(code: i32, row: i64, ptr: [*]const u8, len: usize) void;
/// Adds `value` to counter `id` (0 to 15) of the function.
pub extern "sandmill" fn metric(id: i32, value: i64) void;
/// Microseconds since 1970 at the start of the query; the same for every call of a query.
pub extern "sandmill" fn now() i64;
/// 64 random bits from a generator seeded by job and partition. Not for secrets.
pub extern "sandmill" fn random() i64;
/// 1 once the job has been cancelled. A courtesy: the host stops a guest that never asks.
pub extern "sandmill" fn cancelled() i32;
/// Makes one HTTP request and waits for its response. Only modules whose manifest names places in `capabilities.http` may import it, and a call to a place that manifest or tenant does not name ends with `function.capability`. Request and response are one line of JSON, a line feed, and the body as it is. Request: `{"method":"GET","url":"http://api.example.org/a?b=c","headers":[["accept","text/plain"]]}`; `headers` may be missing. Response: `{"status":200,"headers":[["content-type","text/plain"]]}`; redirects are responses like others. Without a response: `{"status":0,"headers":[],"error":"why"}`. Gives the bytes of the response; if that is more than `room`, nothing is written, and a call with `request_len` 0 and enough room gives the same response.
pub extern "sandmill" fn http(request: i32, request_len: i32, response: i32, room: i32) i32;
