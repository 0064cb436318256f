/* Functions of every kind in C and C++. Each macro names a function and describes it to the
 * manifest; a body in braces follows. What a body sees stands above its macro.
 */
#ifndef SANDMILL_KINDS_H
#define SANDMILL_KINDS_H

#include "sandmill_columns.h"

/* Rows after which a batch of a table function is handed over. */
#define SM_BATCH 8192

#define SM_UNUSED __attribute__((unused))
#define SM_EXPORT(prefix, name) SM_EXTERN __attribute__((export_name(prefix #name)))
#define SM_DESCRIBE(name, kind, arguments, rest)                                                   \
    SM_LINE("{\"function\":{\"name\":\"" #name "\",\"kind\":\"" kind "\",\"arguments\":[" arguments \
            "]," rest "}}\n")
#define SM_DOC(doc) ",\"doc\":\"" doc "\""

/* ---- Columns described as the manifest describes them ------------------------------------------- */

/* Columns of a function's result or state, made when they are used for the first time. */
typedef struct { sm_column *columns; uint32_t count; } sm_columns;

/* Behind a text that begins at `at` with a quotation mark. */
static inline const char *sm_json_text(const char *at) {
    for (at++; *at != '"'; at++) at += *at == '\\';
    return at + 1;
}

/* How many objects stand in the list that begins at `at`. */
SM_SLOW uint32_t sm_json_count(const char *at) {
    uint32_t count = 0, depth = 0;
    for (;;) {
        if (*at == '"') { at = sm_json_text(at); continue; }
        if (*at == '{') count += depth == 1;
        if (*at == '[' || *at == '{') depth++;
        if ((*at == ']' || *at == '}') && --depth == 0) return count;
        at++;
    }
}

SM_SLOW const char *sm_json_types(const char *at, sm_column *columns);

/* Reads the object at `at` and gives what is behind it. */
SM_SLOW const char *sm_json_type(const char *at, sm_column *column) {
    for (at++; *at != '}';) {
        if (*at == ',') at++;
        const char *key = at + 1;
        at = sm_json_text(at) + 1;
        if (*at == '[') {
            sm_set_children(column, sm_json_count(at));
            at = sm_json_types(at, column->children);
        } else if (*at == '{') {
            column->dictionary = (sm_column *)sm_keep_zeroed(sizeof(sm_column));
            at = sm_json_type(at, column->dictionary);
        } else if (*at == '"') {
            if (key[0] == 't' && key[1] == 'y') sm_set_format(column, at + 1);
            at = sm_json_text(at);
        } else {
            while (*at != ',' && *at != '}') at++;
        }
    }
    if (column->layout == SM_ENTRIES && column->n_children == 2) {
        sm_column *pair = column->children;
        sm_set_children(column, 1);
        column->children[0].layout = SM_STRUCT;
        column->children[0].children = pair;
        column->children[0].n_children = 2;
    }
    return at + 1;
}

SM_SLOW const char *sm_json_types(const char *at, sm_column *columns) {
    for (at++; *at != ']';) {
        if (*at == ',') at++;
        else at = sm_json_type(at, columns++);
    }
    return at + 1;
}

/* The columns of a list of the manifest, empty. */
SM_SLOW sm_column *sm_columns_of(sm_columns *all, const char *json) {
    if (all->columns == NULL) {
        int64_t *counter = sm_kept; /* What all handles share counts for none. */
        sm_kept = &sm_kept_elsewhere;
        all->count = sm_json_count(json);
        all->columns = (sm_column *)sm_keep_zeroed((all->count + 1) * (uint32_t)sizeof(sm_column));
        sm_json_types(json, all->columns);
        sm_kept = counter;
    }
    for (uint32_t n = 0; n < all->count; n++) sm_clear(&all->columns[n]);
    return all->columns;
}

/* The result's column; with `same`, of the type of that argument (counted from 1). */
SM_SLOW sm_column *sm_result_of(sm_columns *all, const char *json, const ArrowArray *args) {
    static const char same[] = "[{\"type\":\"same:";
    uint32_t n = 0;
    while (same[n] != 0 && json[n] == same[n]) n++;
    if (same[n] != 0) return sm_columns_of(all, json);
    if (all->columns == NULL) all->columns = (sm_column *)sm_keep_zeroed(sizeof(sm_column));
    sm_column_forget(all->columns);
    sm_set_schema(all->columns, sm_schema(&args[sm_number(json + n) - 1]));
    sm_clear(all->columns);
    return all->columns;
}

/* Hands `count` columns over, which must have the same length; `rows` if that is not negative. */
SM_SLOW int32_t sm_give_all(sm_column *columns, uint32_t count, ArrowArray *out, int64_t rows) {
    for (uint32_t n = 0; n < count; n++) {
        if (rows >= 0 && columns[n].length != (uint32_t)rows) sm_fail(-1, "the result has not a value for each row");
        if (columns[n].length != columns[0].length) sm_fail(-1, "the columns of the result differ in length");
        sm_give(&columns[n], &out[n]);
    }
    return 0;
}

/* ---- Scalar functions of nested and open types ---------------------------------------------------- */

/* Body: args, rows, result (a column to add `rows` values to); returns 0. `type` as SM_LIST_OF(…). */
#define SM_SCALAR_OF(name, arguments, type, doc, more)                                             \
    SM_DESCRIBE(name, "scalar", arguments, "\"returns\":{" type "}" SM_DOC(doc) more)               \
    static inline int32_t sm_body_##name(const ArrowArray *args, uint32_t rows, sm_column *result); \
    SM_EXPORT("sm_scalar.", name) int32_t sm_scalar_##name(const ArrowArray *, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_scalar_##name(const ArrowArray *args, uint32_t rows, ArrowArray *out) {    \
        static sm_columns all;                                                                     \
        sm_column *result = sm_result_of(&all, "[{" type "}]", args);                              \
        int32_t status = sm_body_##name(args, rows, result);                                       \
        return status != 0 ? status : sm_give_all(result, 1, out, rows);                           \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, uint32_t rows SM_UNUSED, \
                                         sm_column *result SM_UNUSED)

/* Body: args, count (how many there are), rows, result; returns 0. */
#define SM_VARIADIC(name, arguments, type, doc, more)                                              \
    SM_DESCRIBE(name, "scalar", arguments, "\"variadic\":true,\"returns\":{" type "}" SM_DOC(doc) more) \
    static inline int32_t sm_body_##name(const ArrowArray *args, uint32_t count, uint32_t rows, sm_column *result); \
    SM_EXPORT("sm_variadic.", name) int32_t sm_variadic_##name(const ArrowArray *, uint32_t, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_variadic_##name(const ArrowArray *args, uint32_t count, uint32_t rows, ArrowArray *out) { \
        static sm_columns all;                                                                     \
        sm_column *result = sm_result_of(&all, "[{" type "}]", args);                              \
        int32_t status = sm_body_##name(args, count, rows, result);                                \
        return status != 0 ? status : sm_give_all(result, 1, out, rows);                           \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, uint32_t count SM_UNUSED, \
                                         uint32_t rows SM_UNUSED, sm_column *result SM_UNUSED)

/* ---- Aggregates: a state for each group ------------------------------------------------------------ */

/* What is kept of a group; cleared memory is an empty state: SM_STATE(my_sum) { int64_t sum; }; */
#define SM_STATE(name) struct sm_state_##name
/* Body: state, args, row. Adds a row. */
#define SM_UPDATE(name)                                                                            \
    static inline void sm_update_##name(struct sm_state_##name *state SM_UNUSED,                   \
                                        const ArrowArray *args SM_UNUSED, uint32_t row SM_UNUSED)
/* Body: state, args (the columns of a state), row. Adds another state. */
#define SM_MERGE(name)                                                                             \
    static inline void sm_merge_##name(struct sm_state_##name *state SM_UNUSED,                    \
                                       const ArrowArray *args SM_UNUSED, uint32_t row SM_UNUSED)
/* Body: state, out (a column for each of the state). Adds one value to each. */
#define SM_SAVE(name)                                                                              \
    static inline void sm_save_##name(const struct sm_state_##name *state SM_UNUSED, sm_column *out SM_UNUSED)
/* Body: state, out (one column). Adds the result. */
#define SM_RESULT(name)                                                                            \
    static inline void sm_result_##name(const struct sm_state_##name *state SM_UNUSED, sm_column *out SM_UNUSED)
/* Body: state. Gives back what it keeps elsewhere, such as texts. */
#define SM_FORGET(name) static inline void sm_forget_##name(void *sm_state SM_UNUSED)
#define SM_FORGOTTEN(name) ((struct sm_state_##name *)sm_state)
/* For SM_AGGREGATE_OF; SM_RETRACT must follow then. */
#define SM_CAN_RETRACT ",\"retract\":true"
#define SM_STATE_BYTES(bytes) ",\"state_bytes\":" bytes

/* The states of one handle. */
typedef struct { sm_buffer states; uint32_t groups; int64_t kept; } sm_aggregate;

static inline char *sm_states(sm_aggregate *handle, uint32_t groups, uint32_t size) {
    sm_kept = &sm_kept_elsewhere;
    if (groups > handle->groups) {
        uint32_t used = handle->groups * size;
        sm_fit(&handle->states, (uint64_t)groups * size, used);
        __builtin_memset(handle->states.data + used, 0, (groups - handle->groups) * size);
        handle->groups = groups;
    }
    sm_kept = &handle->kept;
    return handle->states.data;
}

/* An aggregate whose state keeps nothing elsewhere; behind the parts of its body. */
#define SM_AGGREGATE(name, arguments, returns, state, doc)                                         \
    SM_AGGREGATE_OF(name, arguments, SM_TYPE(returns), state, doc, "", NULL)

/* `more` as SM_CAN_RETRACT; `forget` is NULL or sm_forget_NAME, of SM_FORGET. */
#define SM_AGGREGATE_OF(name, arguments, type, state_columns, doc, more, forget)                   \
    SM_DESCRIBE(name, "aggregate", arguments,                                                      \
                "\"returns\":{" type "},\"state\":[" state_columns "]" SM_DOC(doc) more)            \
    SM_EXPORT("sm_agg_new.", name) sm_aggregate *sm_agg_new_##name(void);                          \
    SM_EXTERN sm_aggregate *sm_agg_new_##name(void) {                                              \
        sm_kept = &sm_kept_elsewhere;                                                              \
        return (sm_aggregate *)sm_keep_zeroed(sizeof(sm_aggregate));                               \
    }                                                                                              \
    SM_EACH_ROW(name, "sm_agg_update.", update)                                                    \
    SM_EACH_ROW(name, "sm_agg_merge.", merge)                                                      \
    SM_EACH_GROUP(name, "sm_agg_state.", save, "[" state_columns "]")                              \
    SM_EACH_GROUP(name, "sm_agg_finish.", result, "[{" type "}]")                                  \
    static inline void sm_lose_##name(sm_aggregate *handle, uint32_t count) {                      \
        void (*lose)(void *) = forget;                                                             \
        struct sm_state_##name *states = (struct sm_state_##name *)(void *)sm_states(handle, count, sizeof *states); \
        if (lose != NULL) for (uint32_t n = 0; n < count; n++) lose(&states[n]);                   \
    }                                                                                              \
    SM_EXPORT("sm_agg_drop.", name) int32_t sm_agg_drop_##name(sm_aggregate *, uint32_t);          \
    SM_EXTERN int32_t sm_agg_drop_##name(sm_aggregate *handle, uint32_t count) {                   \
        sm_lose_##name(handle, count);                                                             \
        uint32_t size = sizeof(struct sm_state_##name);                                            \
        handle->groups -= count;                                                                   \
        if (count > 0)                                                                             \
            __builtin_memmove(handle->states.data, handle->states.data + count * size, handle->groups * size); \
        return 0;                                                                                  \
    }                                                                                              \
    SM_EXPORT("sm_agg_size.", name) int64_t sm_agg_size_##name(sm_aggregate *);                    \
    SM_EXTERN int64_t sm_agg_size_##name(sm_aggregate *handle) {                                   \
        return (int64_t)sizeof *handle + handle->states.size + handle->kept;                       \
    }                                                                                              \
    SM_EXPORT("sm_agg_close.", name) void sm_agg_close_##name(sm_aggregate *);                     \
    SM_EXTERN void sm_agg_close_##name(sm_aggregate *handle) {                                     \
        sm_lose_##name(handle, handle->groups);                                                    \
        sm_kept = &sm_kept_elsewhere;                                                              \
        sm_drop(handle->states.data, handle->states.size);                                         \
        sm_drop(handle, sizeof *handle);                                                           \
    }                                                                                              \
    SM_EXTERN int32_t sm_aggregate_##name(void) /* Ends with a semicolon. */

#define SM_EACH_ROW(name, prefix, part)                                                            \
    SM_EXPORT(prefix, name)                                                                        \
    int32_t sm_agg_##part##_##name(sm_aggregate *, const ArrowArray *, uint32_t, const uint32_t *, uint32_t); \
    SM_EXTERN int32_t sm_agg_##part##_##name(sm_aggregate *handle, const ArrowArray *args, uint32_t rows, \
                                             const uint32_t *group_ids, uint32_t groups) {         \
        struct sm_state_##name *states = (struct sm_state_##name *)(void *)sm_states(handle, groups, sizeof *states); \
        for (uint32_t row = 0; row < rows; row++) sm_##part##_##name(&states[group_ids[row]], args, row); \
        return 0;                                                                                  \
    }

#define SM_EACH_GROUP(name, prefix, part, json)                                                    \
    SM_EXPORT(prefix, name) int32_t sm_agg_##part##_##name(sm_aggregate *, uint32_t, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_agg_##part##_##name(sm_aggregate *handle, uint32_t first, uint32_t count, ArrowArray *out) { \
        static sm_columns all;                                                                     \
        struct sm_state_##name *states =                                                           \
            (struct sm_state_##name *)(void *)sm_states(handle, first + count, sizeof *states);    \
        sm_kept = &sm_kept_elsewhere;                                                              \
        sm_column *columns = sm_columns_of(&all, json);                                            \
        for (uint32_t n = 0; n < count; n++) sm_##part##_##name(&states[first + n], columns);      \
        return sm_give_all(columns, all.count, out, count);                                        \
    }

/* Body: state, args, row. Takes a row away again; behind SM_AGGREGATE_OF with SM_CAN_RETRACT. */
#define SM_RETRACT(name)                                                                           \
    static inline void sm_retract_##name(struct sm_state_##name *state, const ArrowArray *args, uint32_t row); \
    SM_EACH_ROW(name, "sm_agg_retract.", retract)                                                  \
    static inline void sm_retract_##name(struct sm_state_##name *state SM_UNUSED,                  \
                                         const ArrowArray *args SM_UNUSED, uint32_t row SM_UNUSED)

/* ---- Window functions ------------------------------------------------------------------------------- */

/* Body: args, rows (of the partition), result (to add a value for each row to); returns 0. */
#define SM_WINDOW(name, arguments, type, doc, more)                                                \
    SM_DESCRIBE(name, "window", arguments, "\"returns\":{" type "}" SM_DOC(doc) more)               \
    static inline int32_t sm_body_##name(const ArrowArray *args, uint32_t rows, sm_column *result); \
    SM_EXPORT("sm_window.", name)                                                                  \
    int32_t sm_window_##name(const ArrowArray *, uint32_t, const uint32_t *, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_window_##name(const ArrowArray *args, uint32_t rows, const uint32_t *ranges SM_UNUSED, \
                                       uint32_t count, ArrowArray *out) {                          \
        static sm_columns all;                                                                     \
        sm_column *result = sm_columns_of(&all, "[{" type "}]");                                   \
        int32_t status = sm_body_##name(args, rows, result);                                       \
        return status != 0 ? status : sm_give_all(result, 1, out, count);                          \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, uint32_t rows SM_UNUSED, \
                                         sm_column *result SM_UNUSED)

/* Body: args, start and end (the frame's first row and the one behind its last), result (to add one
 * value to); returns 0. */
#define SM_FRAME_WINDOW(name, arguments, type, doc, more)                                          \
    SM_DESCRIBE(name, "window", arguments, "\"frame\":true,\"returns\":{" type "}" SM_DOC(doc) more) \
    static inline int32_t sm_body_##name(const ArrowArray *args, uint32_t start, uint32_t end, sm_column *result); \
    SM_EXPORT("sm_window.", name)                                                                  \
    int32_t sm_window_##name(const ArrowArray *, uint32_t, const uint32_t *, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_window_##name(const ArrowArray *args, uint32_t rows SM_UNUSED, const uint32_t *ranges, \
                                       uint32_t count, ArrowArray *out) {                          \
        static sm_columns all;                                                                     \
        sm_column *result = sm_columns_of(&all, "[{" type "}]");                                   \
        for (uint32_t n = 0; n < count; n++) {                                                     \
            int32_t status = sm_body_##name(args, ranges[2 * n], ranges[2 * n + 1], result);       \
            if (status != 0) return status;                                                        \
        }                                                                                          \
        return sm_give_all(result, 1, out, count);                                                 \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, uint32_t start SM_UNUSED, \
                                         uint32_t end SM_UNUSED, sm_column *result SM_UNUSED)

#include "sandmill_streams.h"

#endif
