// Package sandmill connects functions written in Go with Sandmill.
//
// A function is declared in a comment and works on one row at a time:
//
//	// The square root of a number that is not negative.
//	//
//	//sandmill:scalar root(x DOUBLE) -> DOUBLE
//	func root(x float64) float64 {
//		if x < 0 {
//			sandmill.Fail("the argument is negative")
//		}
//		return math.Sqrt(x)
//	}
//
// `sandmill udf build` writes the loop over rows. What is exported here and not described in the
// README belongs to that generated code.
package sandmill

import (
	"fmt"
	"runtime/debug"
	"unsafe"
)

// Decimal holds the digits of a decimal number, without its point, as a signed number of 128 bits.
type Decimal struct {
	Low  uint64
	High int64
}

// Log writes a line to the job's log: level 0 is debug, 1 info, 2 warning, 3 error.
func Log(level int32, message string) {
	hostLog(level, unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

// Now gives microseconds since 1970 at the start of the query.
func Now() int64 { return hostNow() }

// Random gives 64 random bits, which follow from the job. Not for secrets.
func Random() int64 { return hostRandom() }

// Metric adds to a counter (0 to 15) of the function.
func Metric(id int32, value int64) { hostMetric(id, value) }

// Cancelled says whether the job was cancelled. The host stops functions that never ask.
func Cancelled() bool { return hostCancelled() != 0 }

// Fail ends the query with a message; the present row is to blame.
func Fail(message string) {
	hostFail(ErrError, int64(Row), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	panic(message) // The host does not come back.
}

// Null makes the result of the present row NULL: `return sandmill.Null[float64]()`.
func Null[T any]() T {
	Absent = true
	var zero T
	return zero
}

// Row is the row that is being computed.
var Row uint32

// Absent is set by Null.
var Absent bool

// The collector starts early, because a function has 64 MiB and the host's arena is part of it.
func init() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(40 << 20)
}

// Recover turns a panic into an error of the present row.
func Recover() {
	if cause := recover(); cause != nil {
		message := "panic: " + fmt.Sprint(cause)
		hostFail(ErrPanic, int64(Row), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	}
}

// ---- Memory of the host ----------------------------------------------------------------------

// What the host holds must not be collected; the key is the address that it knows.
var held = map[uint32][]byte{}

//go:wasmexport sm_alloc
func alloc(size, align uint32) uint32 {
	if size > 1<<30 || align > 64 {
		return 0
	}
	block := make([]byte, uint64(size)+64)
	start := address(unsafe.Pointer(unsafe.SliceData(block)))
	start = (start + 63) &^ 63
	held[start] = block
	return start
}

//go:wasmexport sm_free
func free(ptr, size, align uint32) { delete(held, ptr) }

func address(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }

func at(address uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(address)) }

// ---- Arguments -------------------------------------------------------------------------------

// Column is an argument of a call.
type Column struct {
	array    *arrowArray
	validity []byte
	step     uint32
}

// Open gives argument n.
func Open(args uint32, n uint32, rows uint32) Column {
	array := (*arrowArray)(at(args + n*uint32(unsafe.Sizeof(arrowArray{}))))
	column := Column{array: array, step: 1}
	if array.length == 1 {
		column.step = 0
	}
	if array.nullCount != 0 {
		if bits := column.buffer(0); bits != 0 {
			column.validity = unsafe.Slice((*byte)(at(bits)), (array.length+7)/8)
		}
	}
	return column
}

func (c *Column) buffer(n uint32) uint32 { return *(*uint32)(at(c.array.buffers + 4*n)) }

// IsNull says whether a row is NULL.
func (c *Column) IsNull(row uint32) bool {
	if c.validity == nil {
		return false
	}
	row *= c.step
	return c.validity[row/8]>>(row%8)&1 == 0
}

// Values is a column of values of one width.
type Values[T any] struct {
	Column
	values []T
}

// OpenValues gives argument n as values of one width.
func OpenValues[T any](args, n, rows uint32) Values[T] {
	column := Open(args, n, rows)
	return Values[T]{column, unsafe.Slice((*T)(at(column.buffer(1))), column.array.length)}
}

// At gives the value in a row.
func (c *Values[T]) At(row uint32) T { return c.values[row*c.step] }

// Bools is a column of booleans.
type Bools struct {
	Column
	bits []byte
}

// OpenBools gives argument n as booleans.
func OpenBools(args, n, rows uint32) Bools {
	column := Open(args, n, rows)
	return Bools{column, unsafe.Slice((*byte)(at(column.buffer(1))), (column.array.length+7)/8)}
}

// At gives the value in a row.
func (c *Bools) At(row uint32) bool {
	row *= c.step
	return c.bits[row/8]>>(row%8)&1 == 1
}

// Texts is a column of texts, and Binaries one of bytes. What they give lies in the host's arena:
// it is good until the function returns, and must be copied to be kept.
type Texts struct {
	Column
	offsets []int32
	data    *byte
}

// OpenTexts gives argument n as texts.
func OpenTexts(args, n, rows uint32) Texts {
	column := Open(args, n, rows)
	offsets := unsafe.Slice((*int32)(at(column.buffer(1))), column.array.length+1)
	return Texts{column, offsets, (*byte)(at(column.buffer(2)))}
}

func (c *Texts) place(row uint32) (*byte, int32) {
	row *= c.step
	start := c.offsets[row]
	return (*byte)(unsafe.Add(unsafe.Pointer(c.data), start)), c.offsets[row+1] - start
}

// At gives the text in a row.
func (c *Texts) At(row uint32) string {
	data, size := c.place(row)
	if size == 0 {
		return ""
	}
	return unsafe.String(data, size)
}

// Binaries is a column of bytes.
type Binaries struct{ Texts }

// OpenBinaries gives argument n as bytes.
func OpenBinaries(args, n, rows uint32) Binaries { return Binaries{OpenTexts(args, n, rows)} }

// At gives the bytes in a row.
func (c *Binaries) At(row uint32) []byte {
	data, size := c.place(row)
	if size == 0 {
		return []byte{}
	}
	return unsafe.Slice(data, size)
}

// ---- Results: buffers that one call fills and the next fills again -----------------------------

var (
	validity []byte
	values   []uint64
	offsets  []int32
	data     []byte
	pointers [3]uint32
	nulls    int64
)

func room[T any](buffer *[]T, count uint32) []T {
	if uint32(cap(*buffer)) < count {
		*buffer = make([]T, count+count/4)
	}
	*buffer = (*buffer)[:count]
	return *buffer
}

// StartValues begins a result of values of one width.
func StartValues[T any](rows uint32) []T {
	nulls = 0
	var zero T
	words := (uint64(rows)*uint64(unsafe.Sizeof(zero)) + 7) / 8
	buffer := room(&values, uint32(words)+1)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(buffer))), rows)
}

// StartBools begins a result of booleans.
func StartBools(rows uint32) []byte {
	bits := StartValues[byte]((rows + 7) / 8)
	clear(bits)
	return bits
}

// PutBool sets a row.
func PutBool(bits []byte, row uint32, value bool) {
	if value {
		bits[row/8] |= 1 << (row % 8)
	}
}

// StartTexts begins a result of texts or bytes.
func StartTexts(rows uint32) {
	nulls = 0
	room(&offsets, rows+1)[0] = 0
	data = data[:0]
}

// PutText appends the text of the next row.
func PutText[T string | []byte](row uint32, text T) {
	if uint64(len(data))+uint64(len(text)) > 1<<31-1 {
		Fail("the results of one batch are more than 2 GiB")
	}
	data = append(data, text...)
	offsets[row+1] = int32(len(data))
}

// PutNull makes a row NULL.
func PutNull(row, rows uint32) {
	Absent = false
	if nulls == 0 {
		for n := range room(&validity, (rows+7)/8) {
			validity[n] = 0xff
		}
	}
	nulls++
	validity[row/8] &^= 1 << (row % 8)
}

func finish(out, rows uint32, buffers int64) int32 {
	array := (*arrowArray)(at(out))
	array.length, array.nullCount, array.nBuffers = int64(rows), nulls, buffers
	pointers[0] = 0
	if nulls > 0 {
		pointers[0] = address(unsafe.Pointer(unsafe.SliceData(validity)))
	}
	array.buffers = address(unsafe.Pointer(&pointers))
	return 0
}

// FinishValues hands values or booleans to the host.
func FinishValues(out, rows uint32) int32 {
	pointers[1] = address(unsafe.Pointer(unsafe.SliceData(values)))
	return finish(out, rows, 2)
}

// FinishTexts hands texts or bytes to the host.
func FinishTexts(out, rows uint32) int32 {
	pointers[1] = address(unsafe.Pointer(unsafe.SliceData(offsets)))
	if len(data) == 0 {
		data = append(data, 0)[:0]
	}
	pointers[2] = address(unsafe.Pointer(unsafe.SliceData(data)))
	return finish(out, rows, 3)
}
