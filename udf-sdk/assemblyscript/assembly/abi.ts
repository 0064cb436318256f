// Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit.

/** The version of the ABI. */
export const ABI: string = "1.1";

/** The function cannot compute a row. */
export const ERROR: i32 = -1;
/** The guest could not allocate. */
export const NO_MEMORY: i32 = -2;
/** The input is not what the manifest says. */
export const BAD_INPUT: i32 = -3;
/** The function panicked. */
export const PANIC: i32 = -4;

/** Bytes of the struct, and where its fields lie. */
export const ARRAY_SIZE: u32 = 64;
export const ARRAY_LENGTH: u32 = 0;
export const ARRAY_NULL_COUNT: u32 = 8;
export const ARRAY_OFFSET: u32 = 16;
export const ARRAY_N_BUFFERS: u32 = 24;
export const ARRAY_N_CHILDREN: u32 = 32;
export const ARRAY_BUFFERS: u32 = 40;
export const ARRAY_CHILDREN: u32 = 44;
export const ARRAY_DICTIONARY: u32 = 48;
export const ARRAY_RELEASE: u32 = 52;
export const ARRAY_PRIVATE_DATA: u32 = 56;

/** Bytes of the struct, and where its fields lie. */
export const SCHEMA_SIZE: u32 = 48;
export const SCHEMA_FORMAT: u32 = 0;
export const SCHEMA_NAME: u32 = 4;
export const SCHEMA_METADATA: u32 = 8;
export const SCHEMA_FLAGS: u32 = 16;
export const SCHEMA_N_CHILDREN: u32 = 24;
export const SCHEMA_CHILDREN: u32 = 32;
export const SCHEMA_DICTIONARY: u32 = 36;
export const SCHEMA_RELEASE: u32 = 40;
export const SCHEMA_PRIVATE_DATA: u32 = 44;

/** Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. Longer lines are cut, floods are dropped and counted. */
@external("sandmill", "log")
export declare function host_log(level: i32, ptr: usize, len: u32): void;

/** Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to blame; the message is UTF-8. Never returns. */
@external("sandmill", "fail")
export declare function host_fail(code: i32, row: i64, ptr: usize, len: u32): void;

/** Adds `value` to counter `id` (0 to 15) of the function. */
@external("sandmill", "metric")
export declare function host_metric(id: i32, value: i64): void;

/** Microseconds since 1970 at the start of the query; the same for every call of a query. */
@external("sandmill", "now")
export declare function host_now(): i64;

/** 64 random bits from a generator seeded by job and partition. Not for secrets. */
@external("sandmill", "random")
export declare function host_random(): i64;

/** 1 once the job has been cancelled. A courtesy: the host stops a guest that never asks. */
@external("sandmill", "cancelled")
export declare function host_cancelled(): i32;

/** Makes one HTTP request and waits for its response. Only modules whose manifest names places in `capabilities.http` may import it, and a call to a place that manifest or tenant does not name ends with `function.capability`. Request and response are one line of JSON, a line feed, and the body as it is. Request: `{"method":"GET","url":"http://api.example.org/a?b=c","headers":[["accept","text/plain"]]}`; `headers` may be missing. Response: `{"status":200,"headers":[["content-type","text/plain"]]}`; redirects are responses like others. Without a response: `{"status":0,"headers":[],"error":"why"}`. Gives the bytes of the response; if that is more than `room`, nothing is written, and a call with `request_len` 0 and enough room gives the same response. */
@external("sandmill", "http")
export declare function host_http(request: i32, request_len: i32, response: i32, room: i32): i32;
