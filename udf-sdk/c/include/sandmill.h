/* Write functions for Sandmill in C: one header, no library.
 *
 *     #include "sandmill.h"
 *
 *     SM_PACKAGE("text", "0.1.0")
 *
 *     SM_SCALAR(initial, SM_ARG("name", "u"), "u", "First letter of a name.")
 *     {
 *         sm_bytes name = sm_read_bytes(&args[0]);
 *         sm_start_bytes(rows);
 *         for (uint32_t row = 0; row < rows; row++) {
 *             sm_slice s = sm_bytes_at(&name, row);
 *             sm_put_bytes(row, s.data, s.length > 0 ? 1 : 0);
 *         }
 *         return sm_finish_bytes(out, rows);
 *     }
 *
 * A function sees `args` (one array for each argument), `rows` and `out`, and returns 0. Build it
 * with `sandmill udf build`, or clang --target=wasm32 -O3 -nostdlib -ffreestanding -Wl,--no-entry.
 * Include the header in one source file of a module. sandmill_columns.h adds lists, structs and the
 * other nested types, sandmill_kinds.h aggregates, windows, tables and maps. All three are C11 and
 * C++17.
 */
#ifndef SANDMILL_H
#define SANDMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define SM_EXTERN extern "C"
#define SM_LANGUAGE "c++"
extern "C" {
#else
#define SM_EXTERN
#define SM_LANGUAGE "c"
#endif

/* Generated from crates/sandmill-abi by `cargo xtask codegen`. Do not edit. */
#define SM_ABI "1.1"
#define SM_ERROR (-1) /* The function cannot compute a row. */
#define SM_NO_MEMORY (-2) /* The guest could not allocate. */
#define SM_BAD_INPUT (-3) /* The input is not what the manifest says. */
#define SM_PANIC (-4) /* The function panicked. */
#define SM_CHAIN 4 /* results that may be kept at the same time */

/* A column in linear memory, as in the Arrow C data interface. */
typedef struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void *release;
    void *private_data;
} ArrowArray;

/* A type in linear memory, as in the Arrow C data interface. */
typedef struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void *release;
    void *private_data;
} ArrowSchema;

/* Writes one line of UTF-8 to the job's log; `level` is 0 debug, 1 info, 2 warn, 3 error. Longer lines are cut, floods are dropped and counted. */
__attribute__((import_module("sandmill"), import_name("log"))) void sm_host_log(int32_t level, const char *ptr, uint32_t len);
/* Ends the call with an error: `row` counts from 0 within the batch, -1 when no row is to blame; the message is UTF-8. Never returns. */
__attribute__((import_module("sandmill"), import_name("fail"))) void sm_host_fail(int32_t code, int64_t row, const char *ptr, uint32_t len);
/* Adds `value` to counter `id` (0 to 15) of the function. */
__attribute__((import_module("sandmill"), import_name("metric"))) void sm_host_metric(int32_t id, int64_t value);
/* Microseconds since 1970 at the start of the query; the same for every call of a query. */
__attribute__((import_module("sandmill"), import_name("now"))) int64_t sm_host_now(void);
/* 64 random bits from a generator seeded by job and partition. Not for secrets. */
__attribute__((import_module("sandmill"), import_name("random"))) int64_t sm_host_random(void);
/* 1 once the job has been cancelled. A courtesy: the host stops a guest that never asks. */
__attribute__((import_module("sandmill"), import_name("cancelled"))) int32_t sm_host_cancelled(void);
/* Makes one HTTP request and waits for its response. Only modules whose manifest names places in `capabilities.http` may import it, and a call to a place that manifest or tenant does not name ends with `function.capability`. Request and response are one line of JSON, a line feed, and the body as it is. Request: `{"method":"GET","url":"http://api.example.org/a?b=c","headers":[["accept","text/plain"]]}`; `headers` may be missing. Response: `{"status":200,"headers":[["content-type","text/plain"]]}`; redirects are responses like others. Without a response: `{"status":0,"headers":[],"error":"why"}`. Gives the bytes of the response; if that is more than `room`, nothing is written, and a call with `request_len` 0 and enough room gives the same response. */
__attribute__((import_module("sandmill"), import_name("http"))) int32_t sm_host_http(int32_t request, int32_t request_len, int32_t response, int32_t room);

/* ---- The manifest: JSON lines in a custom section, gathered by the linker ------------------ */

#define SM_TEXT_(...) #__VA_ARGS__
#define SM_TEXT(...) SM_TEXT_(__VA_ARGS__)
#define SM_LINE(...)                                                                               \
    __asm__(".section .custom_section.sandmill.manifest,\"\",@\n.ascii " SM_TEXT(__VA_ARGS__)       \
            "\n.text\n");

/* Names the package; once in each module. */
#define SM_PACKAGE(name, version)                                                                  \
    SM_LINE("{\"package\":{\"abi\":\"" SM_ABI "\",\"name\":\"" name "\",\"version\":\"" version     \
            "\",\"language\":\"" SM_LANGUAGE "\",\"sdk\":\"sandmill-c 0.1.0\"}}\n")

/* An argument; put commas between several. The type is an Arrow format string, see ABI.md. */
#define SM_ARG(name, type) "{\"name\":\"" name "\",\"type\":\"" type "\"}"
#define SM_DEFAULT(name, type, literal) "{\"name\":\"" name "\",\"type\":\"" type "\",\"default\":\"" literal "\"}"
#define SM_COMMA ","
#define SM_NO_ARGS ""

/* More fields of the manifest, for SM_SCALAR_WITH. */
#define SM_VOLATILE ",\"volatility\":\"volatile\""
#define SM_STABLE ",\"volatility\":\"stable\""
#define SM_CALLED_ON_NULL ",\"strict\":false"
#define SM_NEVER_NULL ",\"nullable\":false"
#define SM_EXAMPLE(sql) ",\"examples\":[\"" sql "\"]"

/* A scalar function: its body follows. */
#define SM_SCALAR(name, arguments, returns, doc) SM_SCALAR_WITH(name, arguments, returns, doc, "")
#define SM_SCALAR_WITH(name, arguments, returns, doc, more)                                        \
    SM_LINE("{\"function\":{\"name\":\"" #name "\",\"kind\":\"scalar\",\"arguments\":[" arguments    \
            "],\"returns\":\"" returns "\",\"doc\":\"" doc "\"" more "}}\n")                          \
    SM_EXTERN __attribute__((export_name("sm_scalar." #name))) int32_t sm_scalar_##name(           \
        const ArrowArray *args, uint32_t rows, ArrowArray *out);                                   \
    SM_EXTERN int32_t sm_scalar_##name(const ArrowArray *args __attribute__((unused)),             \
                             uint32_t rows __attribute__((unused)),                                \
                             ArrowArray *out __attribute__((unused)))

/* ---- Memory: whole pages, kept and used again ----------------------------------------------- */

#define SM_PAGE 65536u
#define SM_FREE_SLOTS 16

static struct sm_gap { uintptr_t start, size; } sm_free_list[SM_FREE_SLOTS];

static uint32_t sm_pages(uint32_t size) { return size == 0 ? SM_PAGE : (size + SM_PAGE - 1) & ~(SM_PAGE - 1); }

__attribute__((export_name("sm_alloc"))) void *sm_alloc(uint32_t size, uint32_t align);
void *sm_alloc(uint32_t size, uint32_t align) {
    (void)align; /* Pages are aligned to anything the host asks for. */
    if (size > UINT32_MAX - SM_PAGE) return NULL;
    size = sm_pages(size);
    int best = -1;
    for (int n = 0; n < SM_FREE_SLOTS; n++)
        if (sm_free_list[n].size >= size && (best < 0 || sm_free_list[n].size < sm_free_list[best].size)) best = n;
    if (best >= 0) {
        uintptr_t start = sm_free_list[best].start;
        sm_free_list[best].start += size;
        sm_free_list[best].size -= size;
        return (void *)start;
    }
    size_t page = __builtin_wasm_memory_grow(0, size / SM_PAGE);
    return page == (size_t)-1 ? (void *)0 : (void *)(page * SM_PAGE);
}

__attribute__((export_name("sm_free"))) void sm_free(void *ptr, uint32_t size, uint32_t align);
void sm_free(void *ptr, uint32_t size, uint32_t align) {
    (void)align;
    uintptr_t start = (uintptr_t)ptr;
    size = sm_pages(size);
    int least = 0;
    for (int n = 0; n < SM_FREE_SLOTS; n++) {
        uintptr_t end = sm_free_list[n].start + sm_free_list[n].size;
        if (sm_free_list[n].size > 0 && end == start) { sm_free_list[n].size += size; return; }
        if (sm_free_list[n].size > 0 && start + size == sm_free_list[n].start) {
            sm_free_list[n].start = start;
            sm_free_list[n].size += size;
            return;
        }
        if (sm_free_list[n].size < sm_free_list[least].size) least = n;
    }
    if (sm_free_list[least].size < size) { sm_free_list[least].start = start; sm_free_list[least].size = size; }
}

/* ---- Errors and logs ----------------------------------------------------------------------- */

static inline uint32_t sm_length(const char *text) {
    uint32_t length = 0;
    while (text[length] != 0) length++;
    return length;
}

/* Ends the call with an error. `row` counts from 0; -1 when none is to blame. */
__attribute__((noreturn)) static inline void sm_fail(int64_t row, const char *message) {
    sm_host_fail(SM_ERROR, row, message, sm_length(message));
    __builtin_unreachable();
}

/* Writes a line to the job's log; level 0 debug, 1 info, 2 warn, 3 error. */
static inline void sm_log(int32_t level, const char *message) { sm_host_log(level, message, sm_length(message)); }

/* ---- Arguments ------------------------------------------------------------------------------ */

static inline bool sm_bit(const void *bits, uint64_t n) { return (((const uint8_t *)bits)[n / 8] >> (n % 8)) & 1; }

/* Whether an argument is NULL in a row. */
static inline bool sm_is_null(const ArrowArray *array, uint32_t row) {
    if (array->null_count == 0) return false;
    if (array->n_buffers == 0) return true; /* The type of NULL alone. */
    if (array->buffers[0] == NULL) return false;
    return !sm_bit(array->buffers[0], array->length == 1 ? 0 : row);
}

/* Whether all rows have the same value: the host passes a constant as an array of one. */
static inline bool sm_is_constant(const ArrowArray *array) { return array->length == 1; }

/* A value of a fixed width: sm_value(double, &args[0], row). */
#define sm_value(type, array, row) (((const type *)(array)->buffers[1])[(array)->length == 1 ? 0 : (row)])
/* A boolean. */
static inline bool sm_bool(const ArrowArray *array, uint32_t row) {
    return sm_bit(array->buffers[1], array->length == 1 ? 0 : row);
}

/* Text (UTF-8, not terminated) or bytes. */
typedef struct { const char *data; uint32_t length; } sm_slice;
typedef struct { const int32_t *offsets; const char *data; uint32_t step; } sm_bytes;

static inline sm_bytes sm_read_bytes(const ArrowArray *array) {
    sm_bytes bytes = {(const int32_t *)array->buffers[1], (const char *)array->buffers[2], array->length == 1 ? 0u : 1u};
    return bytes;
}

static inline sm_slice sm_bytes_at(const sm_bytes *bytes, uint32_t row) {
    row *= bytes->step;
    sm_slice slice = {bytes->data + bytes->offsets[row], (uint32_t)(bytes->offsets[row + 1] - bytes->offsets[row])};
    return slice;
}

/* ---- Results: buffers that one call fills and the next fills again ---------------------------- */

typedef struct { char *data; uint32_t size; } sm_buffer;
static sm_buffer sm_validity, sm_values, sm_data;
/* Results that the host still reads, or hands to the next function, and buffers for those that follow. */
static sm_buffer sm_spare[SM_CHAIN][3];
static const void *sm_pointers[SM_CHAIN][3];
static uint32_t sm_held;
static uint32_t sm_used;
static int64_t sm_nulls;

/* At least `size` bytes, keeping the first `keep`. */
static char *sm_reserve(sm_buffer *buffer, uint32_t size, uint32_t keep) {
    if (buffer->data == NULL || size > buffer->size) {
        if (size > UINT32_MAX / 2) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
        uint32_t larger = sm_pages(size + size / 2);
        char *data = (char *)sm_alloc(larger, 64);
        if (data == NULL) { larger = sm_pages(size); data = (char *)sm_alloc(larger, 64); }
        if (data == NULL) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
        __builtin_memcpy(data, buffer->data, keep);
        if (buffer->data != NULL) sm_free(buffer->data, buffer->size, 64);
        buffer->data = data;
        buffer->size = larger;
    }
    return buffer->data;
}

static inline void sm_swap(sm_buffer *a, sm_buffer *b) {
    sm_buffer c = *a;
    *a = *b;
    *b = c;
}

/* The host is done with all results. */
__attribute__((export_name("sm_out_free"))) void sm_out_free(void *out);
void sm_out_free(void *out) {
    (void)out;
    sm_held = 0;
}

static inline void sm_start(uint32_t rows, uint32_t bytes) {
    if (sm_held > 0) {
        sm_swap(&sm_validity, &sm_spare[sm_held][0]);
        sm_swap(&sm_values, &sm_spare[sm_held][1]);
        sm_swap(&sm_data, &sm_spare[sm_held][2]);
    }
    sm_nulls = 0;
    sm_used = 0;
    sm_reserve(&sm_values, bytes, 0);
    (void)rows;
}

/* Makes a row NULL. Fixed values and booleans may be left unwritten then; texts are put empty. */
static inline void sm_put_null(uint32_t row, uint32_t rows) {
    if (sm_nulls++ == 0) {
        uint32_t bytes = (rows + 7) / 8;
        char *bits = sm_reserve(&sm_validity, bytes, 0);
        for (uint32_t n = 0; n < bytes; n++) bits[n] = (char)0xff;
    }
    sm_validity.data[row / 8] &= (char)~(1 << (row % 8));
}

static inline int32_t sm_finish(ArrowArray *out, uint32_t rows, int64_t buffers) {
    const void **pointers = sm_pointers[sm_held];
    pointers[0] = sm_nulls > 0 ? sm_validity.data : NULL;
    pointers[1] = sm_values.data;
    pointers[2] = sm_data.data;
    out->length = rows;
    out->null_count = sm_nulls;
    out->n_buffers = buffers;
    out->buffers = pointers;
    if (sm_held + 1 < SM_CHAIN) sm_held++;
    return 0;
}

/* Values of a fixed width: double *result = sm_start_values(double, rows); … sm_finish_values(out, rows) */
#define sm_start_values(type, rows) (sm_start((rows), (rows) * (uint32_t)sizeof(type)), (type *)(void *)sm_values.data)
static inline int32_t sm_finish_values(ArrowArray *out, uint32_t rows) { return sm_finish(out, rows, 2); }

/* Booleans: sm_start_bools, sm_put_bool for each row, sm_finish_values. */
static inline void sm_start_bools(uint32_t rows) {
    sm_start(rows, (rows + 7) / 8);
    for (uint32_t n = 0; n < (rows + 7) / 8; n++) sm_values.data[n] = 0;
}
static inline void sm_put_bool(uint32_t row, bool value) { sm_values.data[row / 8] |= (char)(value << (row % 8)); }

/* Texts and bytes: sm_start_bytes, then for each row in order sm_put_bytes or, to write in place,
 * sm_room and sm_took; sm_finish_bytes. */
static inline void sm_start_bytes(uint32_t rows) {
    sm_start(rows, (rows + 1) * 4);
    sm_reserve(&sm_data, 1, 0);
    *(int32_t *)(void *)sm_values.data = 0;
}
/* Room for the next row's bytes. */
static inline char *sm_room(uint32_t bytes) {
    if (bytes > INT32_MAX - sm_used) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
    return sm_reserve(&sm_data, sm_used + bytes, sm_used) + sm_used;
}
/* Ends a row that has so many bytes of the room. */
static inline void sm_took(uint32_t row, uint32_t bytes) {
    sm_used += bytes;
    ((int32_t *)(void *)sm_values.data)[row + 1] = (int32_t)sm_used;
}
/* Copies bytes; short texts in two overlapping pieces, because a bulk copy costs a call. */
static inline void sm_copy(char *to, const char *from, uint32_t length) {
    if (length > 16) {
        __builtin_memcpy(to, from, length);
    } else if (length >= 8) {
        uint64_t first, last;
        __builtin_memcpy(&first, from, 8);
        __builtin_memcpy(&last, from + length - 8, 8);
        __builtin_memcpy(to, &first, 8);
        __builtin_memcpy(to + length - 8, &last, 8);
    } else if (length >= 4) {
        uint32_t first, last;
        __builtin_memcpy(&first, from, 4);
        __builtin_memcpy(&last, from + length - 4, 4);
        __builtin_memcpy(to, &first, 4);
        __builtin_memcpy(to + length - 4, &last, 4);
    } else if (length > 0) {
        char first = from[0], middle = from[length / 2], last = from[length - 1];
        to[0] = first;
        to[length / 2] = middle;
        to[length - 1] = last;
    }
}
static inline void sm_put_bytes(uint32_t row, const char *data, uint32_t length) {
    sm_copy(sm_room(length), data, length);
    sm_took(row, length);
}
static inline int32_t sm_finish_bytes(ArrowArray *out, uint32_t rows) { return sm_finish(out, rows, 3); }

#ifdef __cplusplus
}
#endif
#endif
