/* Columns of every type for functions in C and C++: nested ones are read and written here.
 *
 * Reading: an argument is an ArrowArray; what is inside of it are ArrowArrays, too.
 *
 *     sm_span items = sm_list_at(&args[0], row);
 *     const ArrowArray *numbers = sm_items(&args[0]);
 *     for (uint32_t n = 0; n < items.length; n++) sum += sm_value(int64_t, numbers, items.start + n);
 *
 * Writing: values are added to an sm_column, one after the other; those inside first, then sm_end
 * closes the list, map or struct.
 *
 *     for (int64_t n = 0; n < 3; n++) sm_add(int64_t, &result->children[0], n);
 *     sm_end(result);
 */
#ifndef SANDMILL_COLUMNS_H
#define SANDMILL_COLUMNS_H

#include "sandmill.h"

/* What is not worth a copy in each function that calls it. */
#define SM_SLOW static __attribute__((noinline, unused))

/* ---- Types in the manifest -------------------------------------------------------------------- */

/* A type: SM_TYPE("l"), SM_LIST_OF(SM_TYPE("u")), SM_STRUCT_OF(SM_FIELD("x", SM_TYPE("g"))). */
#define SM_TYPE(format) "\"type\":\"" format "\""
#define SM_FIELD(name, type) "{\"name\":\"" name "\"," type "}"
#define SM_LIST_OF(item) SM_TYPE("+l") ",\"children\":[" SM_FIELD("item", item) "]"
#define SM_LARGE_LIST_OF(item) SM_TYPE("+L") ",\"children\":[" SM_FIELD("item", item) "]"
#define SM_FIXED_LIST_OF(size, item) SM_TYPE("+w:" size) ",\"children\":[" SM_FIELD("item", item) "]"
#define SM_STRUCT_OF(fields) SM_TYPE("+s") ",\"children\":[" fields "]"
#define SM_MAP_OF(key, value) SM_TYPE("+m") ",\"children\":[" SM_FIELD("key", key) "," SM_FIELD("value", value) "]"
#define SM_DICTIONARY_OF(key_format, value) SM_TYPE(key_format) ",\"dictionary\":{" value "}"
/* An argument or column of such a type. */
#define SM_ARG_OF(name, type) SM_FIELD(name, type)

/* Values that C has no type for. */
typedef struct { int32_t days, milliseconds; } sm_day_time;              /* tiD */
typedef struct { int32_t months, days; int64_t nanoseconds; } sm_interval; /* tin */
typedef struct { uint64_t words[4]; } sm_decimal256;                     /* d:P,S,256; lowest word first */

/* ---- Small pieces of memory that outlive a call ------------------------------------------------ */

#define SM_SMALLEST 4 /* 16 bytes */
#define SM_LARGEST 15 /* 32 KiB; above that, whole pages */

static void *sm_small[SM_LARGEST + 1];
static int64_t sm_kept_elsewhere;
/* Where sm_keep and sm_drop count: aggregates set it to the handle that is called. */
static int64_t *sm_kept = &sm_kept_elsewhere;

static inline uint32_t sm_class(uint32_t size) {
    uint32_t least = SM_SMALLEST;
    while ((1u << least) < size) least++;
    return least;
}

/* At least `size` bytes, not cleared; the call fails when there is no memory. */
SM_SLOW void *sm_keep(uint32_t size) {
    if (size > (1u << SM_LARGEST)) {
        void *pages = sm_alloc(size, 64);
        if (pages == NULL) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
        *sm_kept += sm_pages(size);
        return pages;
    }
    uint32_t class_ = sm_class(size);
    if (sm_small[class_] == NULL) {
        char *page = (char *)sm_alloc(SM_PAGE, 64);
        if (page == NULL) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
        for (uint32_t at = 0; at < SM_PAGE; at += 1u << class_) {
            *(void **)(void *)(page + at) = sm_small[class_];
            sm_small[class_] = page + at;
        }
    }
    void *piece = sm_small[class_];
    sm_small[class_] = *(void **)piece;
    *sm_kept += 1u << class_;
    return piece;
}

/* Gives back what sm_keep gave for the same size. */
SM_SLOW void sm_drop(void *piece, uint32_t size) {
    if (piece == NULL) return;
    if (size > (1u << SM_LARGEST)) {
        *sm_kept -= sm_pages(size);
        sm_free(piece, size, 64);
        return;
    }
    uint32_t class_ = sm_class(size);
    *sm_kept -= 1u << class_;
    *(void **)piece = sm_small[class_];
    sm_small[class_] = piece;
}

/* Makes a buffer at least `size` bytes large, keeping the first `keep`; it grows by halves. */
SM_SLOW char *sm_refit(sm_buffer *buffer, uint64_t size, uint32_t keep) {
    if (size > INT32_MAX) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
    uint32_t larger = (uint32_t)size + buffer->size / 2;
    larger = larger > (1u << SM_LARGEST) ? sm_pages(larger) : 1u << sm_class(larger);
    char *data = (char *)sm_keep(larger);
    if (keep > 0) __builtin_memcpy(data, buffer->data, keep);
    sm_drop(buffer->data, buffer->size);
    buffer->data = data;
    buffer->size = larger;
    return data;
}
static inline char *sm_fit(sm_buffer *buffer, uint64_t size, uint32_t keep) {
    if (buffer->data != NULL && size <= buffer->size) return buffer->data;
    return sm_refit(buffer, size, keep);
}

/* Text that a state keeps. Cleared memory is an empty text. */
typedef struct { char *data; uint32_t length, size; } sm_text;

static inline void sm_text_set(sm_text *text, sm_slice value) {
    sm_buffer buffer = {text->data, text->size};
    sm_copy(sm_fit(&buffer, value.length, 0), value.data, value.length);
    text->data = buffer.data;
    text->size = buffer.size;
    text->length = value.length;
}
static inline sm_slice sm_text_get(const sm_text *text) {
    sm_slice slice = {text->data, text->length};
    return slice;
}
static inline void sm_text_forget(sm_text *text) {
    sm_drop(text->data, text->size);
    text->data = NULL;
    text->length = text->size = 0;
}

/* ---- Reading ------------------------------------------------------------------------------------ */

static inline uint32_t sm_at(const ArrowArray *array, uint32_t row) { return array->length == 1 ? 0 : row; }

/* Text or bytes: sm_text_at for u and z, sm_large_at for U and Z, sm_view_at for vu and vz,
 * sm_fixed_at for w:WIDTH. */
static inline sm_slice sm_text_at(const ArrowArray *array, uint32_t row) {
    sm_bytes bytes = sm_read_bytes(array);
    return sm_bytes_at(&bytes, row);
}
static inline sm_slice sm_large_at(const ArrowArray *array, uint32_t row) {
    const int64_t *offsets = (const int64_t *)array->buffers[1] + sm_at(array, row);
    sm_slice slice = {(const char *)array->buffers[2] + offsets[0], (uint32_t)(offsets[1] - offsets[0])};
    return slice;
}
static inline sm_slice sm_view_at(const ArrowArray *array, uint32_t row) {
    const int32_t *view = (const int32_t *)array->buffers[1] + (size_t)sm_at(array, row) * 4;
    sm_slice slice = {(const char *)(view + 1), (uint32_t)view[0]};
    if (view[0] > 12) slice.data = (const char *)array->buffers[2 + view[2]] + view[3];
    return slice;
}
static inline sm_slice sm_fixed_at(const ArrowArray *array, uint32_t row, uint32_t width) {
    sm_slice slice = {(const char *)array->buffers[1] + (size_t)sm_at(array, row) * width, width};
    return slice;
}

/* The elements of a row: their place in sm_items, or for maps in sm_keys and sm_mapped. */
typedef struct { uint32_t start, length; } sm_span;

static inline sm_span sm_list_at(const ArrowArray *array, uint32_t row) {
    const int32_t *offsets = (const int32_t *)array->buffers[1] + sm_at(array, row);
    sm_span span = {(uint32_t)offsets[0], (uint32_t)(offsets[1] - offsets[0])};
    return span;
}
static inline sm_span sm_large_list_at(const ArrowArray *array, uint32_t row) {
    const int64_t *offsets = (const int64_t *)array->buffers[1] + sm_at(array, row);
    sm_span span = {(uint32_t)offsets[0], (uint32_t)(offsets[1] - offsets[0])};
    return span;
}
static inline sm_span sm_fixed_list_at(const ArrowArray *array, uint32_t row, uint32_t size) {
    sm_span span = {sm_at(array, row) * size, size};
    return span;
}
static inline const ArrowArray *sm_items(const ArrowArray *list) { return list->children[0]; }
static inline const ArrowArray *sm_keys(const ArrowArray *map) { return map->children[0]->children[0]; }
static inline const ArrowArray *sm_mapped(const ArrowArray *map) { return map->children[0]->children[1]; }
/* A field of a struct: its rows are the struct's. */
static inline const ArrowArray *sm_field(const ArrowArray *array, uint32_t n) { return array->children[n]; }
/* The values of a dictionary: sm_value(int32_t, &args[0], row) is a row in it. */
static inline const ArrowArray *sm_values_of(const ArrowArray *array) { return array->dictionary; }
/* The type of an argument that the manifest calls any or same:N. */
static inline const ArrowSchema *sm_schema(const ArrowArray *array) { return (const ArrowSchema *)array->private_data; }

/* ---- Columns that are written -------------------------------------------------------------------- */

typedef enum sm_layout {
    SM_NULLS, SM_BITS, SM_FIXED, SM_BYTES, SM_LARGE_BYTES, SM_VIEWS,
    SM_LIST, SM_LARGE_LIST, SM_FIXED_LIST, SM_STRUCT, SM_ENTRIES
} sm_layout;

typedef struct sm_column {
    sm_layout layout;
    uint32_t width;    /* Bytes of a value, or values of a fixed list. */
    uint32_t length;
    uint32_t nulls;
    uint32_t used;     /* Bytes of text. */
    uint32_t n_children;
    struct sm_column *children; /* Of a map: one, a struct of key and value. */
    struct sm_column *dictionary;
    const ArrowArray *source;   /* The dictionary that was copied last, and where it begins here. */
    uint32_t base;
    sm_buffer validity, values, data;
    const void *buffers[4];
    int64_t data_length;
    ArrowArray *arrays;         /* Of the children, then of the dictionary. */
    ArrowArray **pointers;
} sm_column;

/* The keys and values of a map that is written. */
#define sm_key_column(map) (&(map)->children[0].children[0])
#define sm_value_column(map) (&(map)->children[0].children[1])

static inline void *sm_keep_zeroed(uint32_t size) {
    void *piece = sm_keep(size);
    __builtin_memset(piece, 0, size);
    return piece;
}

static inline uint32_t sm_number(const char *text) {
    uint32_t number = 0;
    while (*text >= '0' && *text <= '9') number = number * 10 + (uint32_t)(*text++ - '0');
    return number;
}

/* Gives a column the layout of a format string. */
SM_SLOW void sm_set_format(sm_column *column, const char *format) {
    column->layout = SM_FIXED;
    switch (format[0]) {
    case 'n': column->layout = SM_NULLS; break;
    case 'b': column->layout = SM_BITS; break;
    case 'c': case 'C': column->width = 1; break;
    case 's': case 'S': case 'e': column->width = 2; break;
    case 'i': case 'I': case 'f': column->width = 4; break;
    case 'l': case 'L': case 'g': column->width = 8; break;
    case 'u': case 'z': column->layout = SM_BYTES; break;
    case 'U': case 'Z': column->layout = SM_LARGE_BYTES; break;
    case 'v': column->layout = SM_VIEWS; break;
    case 'w': column->width = sm_number(format + 2); break;
    case 'd': {
        uint32_t commas = 0;
        for (const char *at = format; *at != 0 && *at != '"'; at++) {
            commas += *at == ',';
            if (commas == 2 && at[1] == '2') { commas = 3; break; }
        }
        column->width = commas == 3 ? 32 : 16;
        break;
    }
    case 't':
        if (format[1] == 'd') column->width = format[2] == 'D' ? 4 : 8;
        else if (format[1] == 't') column->width = format[2] == 's' || format[2] == 'm' ? 4 : 8;
        else if (format[1] == 'i') column->width = format[2] == 'M' ? 4 : format[2] == 'D' ? 8 : 16;
        else column->width = 8;
        break;
    case '+':
        switch (format[1]) {
        case 'l': column->layout = SM_LIST; break;
        case 'L': column->layout = SM_LARGE_LIST; break;
        case 'w': column->layout = SM_FIXED_LIST; column->width = sm_number(format + 3); break;
        case 'm': column->layout = SM_ENTRIES; break;
        default: column->layout = SM_STRUCT;
        }
        break;
    default: sm_fail(-1, "a type is not known");
    }
}

static inline void sm_set_children(sm_column *column, uint32_t count) {
    column->n_children = count;
    column->children = (sm_column *)sm_keep_zeroed(count * (uint32_t)sizeof(sm_column));
}

/* Gives a column the type that a schema says. */
SM_SLOW void sm_set_schema(sm_column *column, const ArrowSchema *schema) {
    sm_set_format(column, schema->format);
    if (schema->n_children > 0) sm_set_children(column, (uint32_t)schema->n_children);
    for (uint32_t n = 0; n < column->n_children; n++) sm_set_schema(&column->children[n], schema->children[n]);
    if (schema->dictionary != NULL) {
        column->dictionary = (sm_column *)sm_keep_zeroed(sizeof(sm_column));
        sm_set_schema(column->dictionary, schema->dictionary);
    }
}

/* Empties a column that has its layout. */
SM_SLOW void sm_clear(sm_column *column) {
    column->length = column->nulls = column->used = 0;
    column->source = NULL;
    uint32_t least = column->layout == SM_LARGE_BYTES || column->layout == SM_LARGE_LIST ? 8 : 4;
    if (column->layout != SM_NULLS && column->layout != SM_FIXED_LIST && column->layout != SM_STRUCT)
        __builtin_memset(sm_fit(&column->values, least, 0), 0, least);
    for (uint32_t n = 0; n < column->n_children; n++) sm_clear(&column->children[n]);
    if (column->dictionary != NULL) sm_clear(column->dictionary);
}

/* Gives back all memory of a column; its layout is gone, too. */
SM_SLOW void sm_column_forget(sm_column *column) {
    uint32_t inside = column->n_children + (column->dictionary != NULL);
    for (uint32_t n = 0; n < column->n_children; n++) sm_column_forget(&column->children[n]);
    sm_drop(column->children, column->n_children * (uint32_t)sizeof(sm_column));
    if (column->dictionary != NULL) sm_column_forget(column->dictionary);
    sm_drop(column->dictionary, sizeof(sm_column));
    sm_drop(column->arrays, inside * (uint32_t)sizeof(ArrowArray));
    sm_drop(column->pointers, inside * (uint32_t)sizeof(ArrowArray *));
    sm_drop(column->validity.data, column->validity.size);
    sm_drop(column->values.data, column->values.size);
    sm_drop(column->data.data, column->data.size);
    __builtin_memset(column, 0, sizeof *column);
}

/* Room for the validity of rows; fresh bits say that there is a value. */
static inline void sm_validity_room(sm_column *column, uint32_t rows) {
    uint32_t bytes = (rows + 7) / 8, before = column->validity.size;
    if (bytes <= before) return;
    sm_fit(&column->validity, bytes, before);
    __builtin_memset(column->validity.data + before, 0xff, column->validity.size - before);
}
static inline void sm_longer(sm_column *column, uint32_t count) {
    column->length += count;
    if (column->nulls > 0) sm_validity_room(column, column->length);
}
static inline void sm_mark_null(sm_column *column, uint32_t row) {
    if (column->layout == SM_NULLS) return;
    if (column->nulls++ == 0 && column->validity.size > 0)
        __builtin_memset(column->validity.data, 0xff, column->validity.size);
    sm_validity_room(column, column->length);
    column->validity.data[row / 8] &= (char)~(1 << (row % 8));
}

/* Room for `count` more values of a fixed width, to be written there. */
static inline char *sm_more(sm_column *column, uint32_t count, uint32_t width) {
    if (column->layout != SM_FIXED || column->width != width) sm_fail(-1, "a value is not of its column's width");
    uint64_t used = (uint64_t)column->length * width;
    char *at = sm_fit(&column->values, used + (uint64_t)count * width, (uint32_t)used) + used;
    sm_longer(column, count);
    return at;
}
#define sm_extend(type, column, count) ((type *)(void *)sm_more((column), (count), (uint32_t)sizeof(type)))
/* Adds a value of a fixed width. */
#define sm_add(type, column, value) (*sm_extend(type, column, 1) = (value))

static inline void sm_add_bool(sm_column *column, bool value) {
    if (column->layout != SM_BITS) sm_fail(-1, "the column is not boolean");
    uint32_t row = column->length, used = (row + 7) / 8;
    char *bits = sm_fit(&column->values, row / 8 + 1, used);
    if (row % 8 == 0) bits[row / 8] = 0;
    bits[row / 8] |= (char)(value << (row % 8));
    sm_longer(column, 1);
}

/* Ends a row whose bytes or elements end at `end`. */
static inline void sm_offset(sm_column *column, uint32_t end) {
    bool large = column->layout == SM_LARGE_BYTES || column->layout == SM_LARGE_LIST;
    uint32_t width = large ? 8 : 4, used = (column->length + 1) * width;
    char *at = sm_fit(&column->values, used + width, used) + used;
    if (large) *(int64_t *)(void *)at = end;
    else *(int32_t *)(void *)at = (int32_t)end;
    sm_longer(column, 1);
}

/* Adds text or bytes, to a column of any of their types. */
static inline void sm_add_bytes(sm_column *column, const char *data, uint32_t length) {
    if (column->layout == SM_FIXED) {
        sm_copy(sm_more(column, 1, length), data, length);
        return;
    }
    if (column->layout == SM_VIEWS && length <= 12) {
        uint32_t used = column->length * 16;
        char *view = sm_fit(&column->values, used + 16, used) + used;
        __builtin_memset(view, 0, 16);
        *(uint32_t *)(void *)view = length;
        sm_copy(view + 4, data, length);
        sm_longer(column, 1);
        return;
    }
    sm_copy(sm_fit(&column->data, (uint64_t)column->used + length, column->used) + column->used, data, length);
    column->used += length;
    if (column->layout == SM_BYTES || column->layout == SM_LARGE_BYTES) {
        sm_offset(column, column->used);
    } else if (column->layout == SM_VIEWS) {
        uint32_t used = column->length * 16;
        uint32_t *view = (uint32_t *)(void *)(sm_fit(&column->values, used + 16, used) + used);
        view[0] = length;
        __builtin_memcpy(&view[1], data, 4);
        view[2] = 0;
        view[3] = column->used - length;
        sm_longer(column, 1);
    } else {
        sm_fail(-1, "the column is not of text or bytes");
    }
}
static inline void sm_add_slice(sm_column *column, sm_slice slice) { sm_add_bytes(column, slice.data, slice.length); }

/* Ends a row of a list, map or struct: what is in it has been added to the children. */
static inline void sm_end(sm_column *column) {
    uint32_t end = column->n_children > 0 ? column->children[0].length : 0;
    switch (column->layout) {
    case SM_LIST: case SM_LARGE_LIST: sm_offset(column, end); return;
    case SM_ENTRIES:
        end = column->children[0].children[0].length;
        if (column->children[0].children[1].length != end) sm_fail(-1, "a map has not as many values as keys");
        column->children[0].length = end;
        sm_offset(column, end);
        return;
    case SM_FIXED_LIST:
        if (end != (column->length + 1) * column->width) sm_fail(-1, "a list has not as many elements as its type says");
        sm_longer(column, 1);
        return;
    case SM_STRUCT:
        for (uint32_t n = 0; n < column->n_children; n++)
            if (column->children[n].length != column->length + 1) sm_fail(-1, "a struct lacks a field or has one twice");
        sm_longer(column, 1);
        return;
    default: sm_fail(-1, "the column has nothing inside");
    }
}

/* Adds zero, an empty text, an empty list or the like. */
SM_SLOW void sm_add_zero(sm_column *column) {
    if (column->dictionary != NULL && column->dictionary->length == 0) sm_add_zero(column->dictionary);
    switch (column->layout) {
    case SM_NULLS: column->length++; return;
    case SM_BITS: sm_add_bool(column, false); return;
    case SM_FIXED: __builtin_memset(sm_more(column, 1, column->width), 0, column->width); return;
    case SM_BYTES: case SM_LARGE_BYTES: case SM_VIEWS: sm_add_bytes(column, "", 0); return;
    case SM_FIXED_LIST:
        for (uint32_t n = 0; n < column->width; n++) sm_add_zero(&column->children[0]);
        break;
    case SM_STRUCT:
        for (uint32_t n = 0; n < column->n_children; n++) sm_add_zero(&column->children[n]);
        break;
    default: break;
    }
    sm_end(column);
}
SM_SLOW void sm_add_null(sm_column *column) {
    sm_add_zero(column);
    sm_mark_null(column, column->length - 1);
}

/* Adds a key of a dictionary column; the value is or will be at that row of column->dictionary. */
static inline void sm_add_key(sm_column *column, uint32_t key) {
    if (column->width < 4 && key >> (column->width * 8 - 1) != 0) sm_fail(-1, "the dictionary has more values than its keys can name");
    char *at = sm_more(column, 1, column->width);
    __builtin_memset(at, 0, column->width);
    __builtin_memcpy(at, &key, column->width < 4 ? column->width : 4);
}

/* Adds a value of another column of the same type, whatever that is. */
SM_SLOW void sm_add_copy(sm_column *column, const ArrowArray *from, uint32_t row) {
    if (sm_is_null(from, row)) { sm_add_null(column); return; }
    row = sm_at(from, row);
    if (column->dictionary != NULL && from->dictionary != NULL) {
        if (column->source != from) {
            column->source = from;
            column->base = column->dictionary->length;
            for (uint32_t n = 0; n < (uint32_t)from->dictionary->length; n++) sm_add_copy(column->dictionary, from->dictionary, n);
        }
        uint32_t key = 0;
        __builtin_memcpy(&key, (const char *)from->buffers[1] + (size_t)row * column->width, column->width < 4 ? column->width : 4);
        sm_add_key(column, column->base + key);
        return;
    }
    sm_span span = {0, 0};
    switch (column->layout) {
    case SM_NULLS: sm_add_null(column); return;
    case SM_BITS: sm_add_bool(column, sm_bool(from, row)); return;
    case SM_FIXED: sm_add_slice(column, sm_fixed_at(from, row, column->width)); return;
    case SM_BYTES: sm_add_slice(column, sm_text_at(from, row)); return;
    case SM_LARGE_BYTES: sm_add_slice(column, sm_large_at(from, row)); return;
    case SM_VIEWS: sm_add_slice(column, sm_view_at(from, row)); return;
    case SM_LIST: span = sm_list_at(from, row); break;
    case SM_LARGE_LIST: span = sm_large_list_at(from, row); break;
    case SM_FIXED_LIST: span = sm_fixed_list_at(from, row, column->width); break;
    case SM_STRUCT:
        for (uint32_t n = 0; n < column->n_children; n++) sm_add_copy(&column->children[n], from->children[n], row);
        break;
    case SM_ENTRIES:
        span = sm_list_at(from, row);
        for (uint32_t n = 0; n < span.length; n++) {
            sm_add_copy(sm_key_column(column), sm_keys(from), span.start + n);
            sm_add_copy(sm_value_column(column), sm_mapped(from), span.start + n);
        }
        span.length = 0;
        break;
    }
    for (uint32_t n = 0; n < span.length; n++) sm_add_copy(&column->children[0], from->children[0], span.start + n);
    sm_end(column);
}

/* Hands a column over. It stays as it is until it is cleared. */
SM_SLOW void sm_give(sm_column *column, ArrowArray *out) {
    uint32_t inside = column->n_children + (column->dictionary != NULL);
    if (inside > 0 && column->arrays == NULL) {
        column->arrays = (ArrowArray *)sm_keep_zeroed(inside * (uint32_t)sizeof(ArrowArray));
        column->pointers = (ArrowArray **)sm_keep(inside * (uint32_t)sizeof(ArrowArray *));
        for (uint32_t n = 0; n < inside; n++) column->pointers[n] = &column->arrays[n];
    }
    for (uint32_t n = 0; n < column->n_children; n++) sm_give(&column->children[n], &column->arrays[n]);
    if (column->dictionary != NULL) sm_give(column->dictionary, &column->arrays[column->n_children]);
    column->data_length = column->used;
    column->buffers[0] = column->nulls > 0 ? column->validity.data : NULL;
    column->buffers[1] = column->values.data;
    column->buffers[2] = sm_fit(&column->data, 1, column->used);
    column->buffers[3] = &column->data_length;
    static const uint8_t counts[] = {0, 2, 2, 3, 3, 4, 2, 2, 1, 1, 2};
    out->length = column->length;
    out->null_count = column->layout == SM_NULLS ? column->length : column->nulls;
    out->offset = 0;
    out->n_buffers = counts[column->layout];
    out->n_children = column->n_children;
    out->buffers = column->buffers;
    out->children = column->n_children > 0 ? column->pointers : NULL;
    out->dictionary = column->dictionary != NULL ? &column->arrays[column->n_children] : NULL;
}

#endif
