// Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit.

package sandmill

import "unsafe"

// ABI is the version that this package speaks.
const ABI = "1.1"

// Error numbers.
const (
	// The function cannot compute a row.
	ErrError int32 = -1
	// The guest could not allocate.
	ErrNoMemory int32 = -2
	// The input is not what the manifest says.
	ErrBadInput int32 = -3
	// The function panicked.
	ErrPanic int32 = -4
)

// arrowArray lies in linear memory as in the Arrow C data interface; addresses are 32-bit numbers.
type arrowArray struct {
	length      int64
	nullCount   int64
	offset      int64
	nBuffers    int64
	nChildren   int64
	buffers     uint32
	children    uint32
	dictionary  uint32
	release     uint32
	privateData uint32
	_           [4]byte
}

// arrowSchema lies in linear memory as in the Arrow C data interface; addresses are 32-bit numbers.
type arrowSchema struct {
	format      uint32
	name        uint32
	metadata    uint32
	_           [4]byte
	flags       int64
	nChildren   int64
	children    uint32
	dictionary  uint32
	release     uint32
	privateData uint32
}

// Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. Longer lines are cut, floods are dropped and counted.
//
//go:wasmimport sandmill log
func hostLog(level int32, ptr unsafe.Pointer, size uint32)

// Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to blame; the message is UTF-8. Never returns.
//
//go:wasmimport sandmill fail
func hostFail(code int32, row int64, ptr unsafe.Pointer, size uint32)

// Adds `value` to counter `id` (0 to 15) of the function.
//
//go:wasmimport sandmill metric
func hostMetric(id int32, value int64)

// Microseconds since 1970 at the start of the query; the same for every call of a query.
//
//go:wasmimport sandmill now
func hostNow() int64

// 64 random bits from a generator seeded by job and partition. Not for secrets.
//
//go:wasmimport sandmill random
func hostRandom() int64

// 1 once the job has been cancelled. A courtesy: the host stops a guest that never asks.
//
//go:wasmimport sandmill cancelled
func hostCancelled() int32

// Makes one HTTP request and waits for its response. Only modules whose manifest names places in `capabilities.http` may import it, and a call to a place that manifest or tenant does not name ends with `function.capability`. Request and response are one line of JSON, a line feed, and the body as it is. Request: `{"method":"GET","url":"http://api.example.org/a?b=c","headers":[["accept","text/plain"]]}`; `headers` may be missing. Response: `{"status":200,"headers":[["content-type","text/plain"]]}`; redirects are responses like others. Without a response: `{"status":0,"headers":[],"error":"why"}`. Gives the bytes of the response; if that is more than `room`, nothing is written, and a call with `request_len` 0 and enough room gives the same response.
//
//go:wasmimport sandmill http
func hostHttp(request int32, request_len int32, response int32, room int32) int32
