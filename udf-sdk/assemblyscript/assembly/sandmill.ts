/**
 * Connects functions written in AssemblyScript with Sandmill.
 *
 *     // The square root of a number that is not negative.
 *     //sandmill:scalar root(x DOUBLE) -> DOUBLE
 *     export function root(x: f64): f64 {
 *       if (x < 0) fail("the argument is negative");
 *       return Math.sqrt(x);
 *     }
 *
 * `sandmill udf build` writes the loop over rows. What is exported here and not described in the
 * README belongs to that generated code.
 */
import {
  ARRAY_BUFFERS,
  ARRAY_LENGTH,
  ARRAY_N_BUFFERS,
  ARRAY_NULL_COUNT,
  ERROR,
  NO_MEMORY,
  PANIC,
  host_cancelled,
  host_fail,
  host_log,
  host_metric,
  host_now,
  host_random,
} from "./abi";

/** The digits of a decimal number, without its point, as a signed number of 128 bits. */
export class Decimal {
  constructor(public low: u64, public high: i64) {}
}

/** Writes a line to the job's log: level 0 is debug, 1 info, 2 warning, 3 error. */
export function log(level: i32, message: string): void {
  const bytes = String.UTF8.encode(message);
  host_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Microseconds since 1970 at the start of the query. */
export function now(): i64 {
  return host_now();
}

/** 64 random bits, which follow from the job. Not for secrets. */
export function random(): i64 {
  return host_random();
}

/** Adds to a counter (0 to 15) of the function. */
export function metric(id: i32, value: i64): void {
  host_metric(id, value);
}

/** Whether the job was cancelled. The host stops functions that never ask. */
export function cancelled(): bool {
  return host_cancelled() != 0;
}

/** Ends the query with a message; the present row is to blame. */
export function fail(message: string): void {
  report(ERROR, message);
}

/** Makes the result of the present row NULL: `return none<f64>()`. */
export function none<T>(): T {
  absent = true;
  // The generated code does not look at what stands under a NULL.
  if (isReference<T>()) return changetype<T>(0);
  return <T>0;
}

/** The row that is being computed. */
export let row: u32 = 0;
/** Set by `none`. */
export let absent: bool = false;

/** Names the row that is computed next. */
// @ts-ignore: decorator
@inline
export function enter(next: u32): void {
  row = next;
}

function report(code: i32, message: string): void {
  const bytes = String.UTF8.encode(message);
  host_fail(code, row, changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}

/** Errors of the language itself (`throw`, bounds, casts) come here. */
export function smAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message == null ? "aborted" : message;
  const where = file == null ? "" : " (" + file + ":" + line.toString() + ":" + column.toString() + ")";
  report(PANIC, what + where);
}

/** Where `Math.random` begins. */
export function smSeed(): f64 {
  return <f64>(host_random() >>> 12);
}

// ---- Memory ------------------------------------------------------------------------------------

/** Blocks of the heap are aligned to 16 bytes; the start of the block stands before what is given. */
export function sm_alloc(size: u32, align: u32): usize {
  if (size > 0x3fffffff || align > 64) return 0;
  const block = heap.alloc(<usize>size + 64);
  const start = (block + 64) & ~63;
  store<usize>(start - sizeof<usize>(), block);
  return start;
}

export function sm_free(ptr: usize, size: u32, align: u32): void {
  if (ptr != 0) heap.free(load<usize>(ptr - sizeof<usize>()));
}

// ---- Arguments ---------------------------------------------------------------------------------

/** Address of a buffer of argument `n`. */
export function buffer(args: usize, n: u32, which: u32): usize {
  const buffers = load<usize>(args + n * 64 + ARRAY_BUFFERS);
  return load<usize>(buffers + which * sizeof<usize>());
}

/** Address of the validity bits, or 0 when no row is NULL. */
export function validity(args: usize, n: u32): usize {
  return load<i64>(args + n * 64 + ARRAY_NULL_COUNT) == 0 ? 0 : buffer(args, n, 0);
}

/** 0 for a constant, else 1: what a row is multiplied with. */
export function step(args: usize, n: u32): u32 {
  return load<i64>(args + n * 64 + ARRAY_LENGTH) == 1 ? 0 : 1;
}

// @ts-ignore: decorator
@inline
export function bit(bits: usize, at: u32): bool {
  return ((load<u8>(bits + (at >> 3)) >> (at & 7)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
export function isNull(bits: usize, at: u32): bool {
  return bits != 0 && !bit(bits, at);
}

/** Bytes of texts that were made since the last collection. */
let made: u32 = 0;

/** Between rows nothing of the collector's is on the stack, so that it can run. */
export function tidy(): void {
  if (made > 1 << 20) {
    made = 0;
    __collect();
  }
}

export function text(offsets: usize, data: usize, at: u32): string {
  const from = load<i32>(offsets + (at << 2));
  const size = load<i32>(offsets + (at << 2) + 4) - from;
  made += <u32>size * 2 + 32;
  return String.UTF8.decodeUnsafe(data + from, size);
}

export function bytes(offsets: usize, data: usize, at: u32): Uint8Array {
  const from = load<i32>(offsets + (at << 2));
  const size = load<i32>(offsets + (at << 2) + 4) - from;
  made += <u32>size + 64;
  const copy = new Uint8Array(size);
  memory.copy(copy.dataStart, data + from, size);
  return copy;
}

export function decimal(values: usize, at: u32): Decimal {
  made += 32;
  return new Decimal(load<u64>(values + (at << 4)), load<i64>(values + (at << 4) + 8));
}

// ---- Results: buffers that one call fills and the next fills again -----------------------------

class Buffer {
  start: usize = 0;
  size: u32 = 0;

  /** At least `size` bytes, keeping the first `keep`. */
  reserve(size: u32, keep: u32): usize {
    if (this.start == 0 || size > this.size) {
      if (size > 0x3fffffff) report(NO_MEMORY, "a result is too large");
      const larger = size + size / 2 + 64;
      const start = sm_alloc(larger, 64);
      memory.copy(start, this.start, keep);
      sm_free(this.start, this.size, 64);
      this.start = start;
      this.size = larger;
    }
    return this.start;
  }
}

const bits = new Buffer();
const values = new Buffer();
const data = new Buffer();
const pointers = memory.data(12, 8);
let used: u32 = 0;
let nulls: i64 = 0;

/** Room for a result of `size` bytes. */
export function start(size: u32): usize {
  nulls = 0;
  used = 0;
  return values.reserve(size, 0);
}

export function startBools(rows: u32): usize {
  const size = (rows + 7) / 8;
  const to = start(size);
  memory.fill(to, 0, size);
  return to;
}

// @ts-ignore: decorator
@inline
export function putBool(to: usize, at: u32, value: bool): void {
  const place = to + (at >> 3);
  store<u8>(place, load<u8>(place) | (<u8>value << <u8>(at & 7)));
}

export function putDecimal(to: usize, at: u32, value: Decimal): void {
  store<u64>(to + (at << 4), value.low);
  store<i64>(to + (at << 4) + 8, value.high);
}

export function startBytes(rows: u32): usize {
  const to = start((rows + 1) * 4);
  store<i32>(to, 0);
  data.reserve(1, 0);
  return to;
}

function took(to: usize, at: u32, size: u32): void {
  used += size;
  store<i32>(to + (at << 2) + 4, used);
}

export function putEmpty(to: usize, at: u32): void {
  took(to, at, 0);
}

export function putText(to: usize, at: u32, value: string): void {
  const size = String.UTF8.byteLength(value);
  made += <u32>value.length * 2 + 32;
  const place = data.reserve(used + size, used) + used;
  String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, place, false, String.UTF8.ErrorMode.REPLACE);
  took(to, at, size);
}

export function putBytes(to: usize, at: u32, value: Uint8Array): void {
  const size = value.length;
  made += <u32>size + 64;
  memory.copy(data.reserve(used + size, used) + used, value.dataStart, size);
  took(to, at, size);
}

/** Makes a row NULL. */
export function putNull(at: u32, rows: u32): void {
  absent = false;
  if (nulls++ == 0) {
    const size = (rows + 7) / 8;
    memory.fill(bits.reserve(size, 0), 0xff, size);
  }
  const place = bits.start + (at >> 3);
  store<u8>(place, load<u8>(place) & ~(<u8>1 << <u8>(at & 7)));
}

export function finish(out: usize, rows: u32, buffers: i64): i32 {
  store<usize>(pointers, nulls > 0 ? bits.start : 0);
  store<usize>(pointers, values.start, 4);
  store<usize>(pointers, data.start, 8);
  store<i64>(out + ARRAY_LENGTH, rows);
  store<i64>(out + ARRAY_NULL_COUNT, nulls);
  store<i64>(out + ARRAY_N_BUFFERS, buffers);
  store<usize>(out + ARRAY_BUFFERS, pointers);
  return 0;
}
