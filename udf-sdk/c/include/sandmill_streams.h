/* Functions that give rows, in C and C++: tables, maps, and maps of groups. Included by
 * sandmill_kinds.h.
 */
#ifndef SANDMILL_STREAMS_H
#define SANDMILL_STREAMS_H

#include "sandmill_kinds.h"

/* A stream between sm_open and sm_close. The host leaves the columns of a push where they are until
 * the next one; constants are copied. */
typedef struct {
    sm_columns constants;
    ArrowArray *args;
    const ArrowArray *input;
    uint32_t rows, row;
    uint64_t position;
    bool waiting, finished, ended;
    void *state;
} sm_stream;

SM_SLOW sm_stream *sm_stream_open(const ArrowArray *args, uint32_t count, const char *json, uint32_t state) {
    sm_kept = &sm_kept_elsewhere;
    sm_stream *stream = (sm_stream *)sm_keep_zeroed(sizeof(sm_stream));
    sm_column *columns = sm_columns_of(&stream->constants, json);
    if (count > stream->constants.count) count = stream->constants.count;
    stream->args = (ArrowArray *)sm_keep_zeroed((stream->constants.count + 1) * (uint32_t)sizeof(ArrowArray));
    for (uint32_t n = 0; n < count; n++) {
        sm_add_copy(&columns[n], &args[n], 0);
        sm_give(&columns[n], &stream->args[n]);
    }
    stream->state = sm_keep_zeroed(state);
    return stream;
}

SM_SLOW void sm_stream_close(sm_stream *stream, uint32_t state) {
    sm_kept = &sm_kept_elsewhere;
    for (uint32_t n = 0; n < stream->constants.count; n++) sm_column_forget(&stream->constants.columns[n]);
    sm_drop(stream->constants.columns, (stream->constants.count + 1) * (uint32_t)sizeof(sm_column));
    sm_drop(stream->args, (stream->constants.count + 1) * (uint32_t)sizeof(ArrowArray));
    sm_drop(stream->state, state);
    sm_drop(stream, sizeof *stream);
}

/* All exports of a stream but sm_pull. */
#define SM_STREAM(name, constants, state_size)                                                     \
    SM_EXPORT("sm_open.", name) sm_stream *sm_open_##name(const ArrowArray *, uint32_t);           \
    SM_EXTERN sm_stream *sm_open_##name(const ArrowArray *args, uint32_t count) {                  \
        return sm_stream_open(args, count, "[" constants "]", state_size);                         \
    }                                                                                              \
    SM_EXPORT("sm_push.", name) int32_t sm_push_##name(sm_stream *, const ArrowArray *, uint32_t); \
    SM_EXTERN int32_t sm_push_##name(sm_stream *stream, const ArrowArray *columns, uint32_t rows) { \
        stream->input = columns;                                                                   \
        stream->rows = rows;                                                                       \
        stream->row = 0;                                                                           \
        stream->position = 0;                                                                      \
        stream->waiting = true;                                                                    \
        return 0;                                                                                  \
    }                                                                                              \
    SM_EXPORT("sm_finish.", name) int32_t sm_finished_##name(sm_stream *);                           \
    SM_EXTERN int32_t sm_finished_##name(sm_stream *stream) {                                        \
        stream->finished = true;                                                                   \
        return 0;                                                                                  \
    }                                                                                              \
    SM_EXPORT("sm_close.", name) void sm_close_##name(sm_stream *);                                \
    SM_EXTERN void sm_close_##name(sm_stream *stream) { sm_stream_close(stream, state_size); }

/* ---- Table functions --------------------------------------------------------------------------------- */

#define SM_DONE 0
#define SM_MORE 1
/* Whether a batch has enough rows: a body that has more of them returns SM_MORE then. */
static inline bool sm_is_full(const sm_column *out) { return out->length >= SM_BATCH; }

/* Body: args, row, out (a column for each of the result), position (a number that is 0 at first and
 * then what the body left there). Adds the rows for one row of arguments and returns SM_DONE; or
 * SM_MORE, to be called again for the same row. */
#define SM_TABLE(name, arguments, columns, doc, more)                                              \
    SM_DESCRIBE(name, "table", arguments, "\"columns\":[" columns "]" SM_DOC(doc) more)             \
    SM_STREAM(name, "", 1)                                                                         \
    static inline int32_t sm_body_##name(const ArrowArray *args, uint32_t row, sm_column *out, uint64_t *position); \
    SM_EXPORT("sm_pull.", name) int32_t sm_pull_##name(sm_stream *, ArrowArray *);                 \
    SM_EXTERN int32_t sm_pull_##name(sm_stream *stream, ArrowArray *arrays) {                      \
        static sm_columns all;                                                                     \
        sm_column *out = sm_columns_of(&all, "[" SM_ARG("row", "I") "," columns "]");              \
        while (stream->row < stream->rows && !sm_is_full(&out[1])) {                               \
            uint32_t before = out[1].length;                                                       \
            int32_t status = sm_body_##name(stream->input, stream->row, out + 1, &stream->position); \
            if (status < 0 || status > SM_MORE) return status > 0 ? -status : status;              \
            uint32_t added = out[1].length - before;                                               \
            uint32_t *rows = sm_extend(uint32_t, &out[0], added);                                  \
            for (uint32_t n = 0; n < added; n++) rows[n] = stream->row;                            \
            if (status == SM_MORE) break;                                                          \
            stream->row++;                                                                         \
            stream->position = 0;                                                                  \
        }                                                                                          \
        if (out[1].length > 0) return sm_give_all(out, all.count, arrays, -1) + 1;                 \
        if (stream->row < stream->rows) return SM_ERROR; /* More, but nothing came. */             \
        return stream->finished ? 2 : 0;                                                           \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, uint32_t row SM_UNUSED, \
                                         sm_column *out SM_UNUSED, uint64_t *position SM_UNUSED)

/* ---- Maps of batches ----------------------------------------------------------------------------------- */

/* A map with a state (SM_STATE) and an end (SM_MAP_END), both before it. Body: state, args (the
 * constants), input, rows, out; adds the rows for a batch and returns 0. */
#define SM_STATEFUL_MAP(name, arguments, input_columns, columns, doc, more)                        \
    SM_DESCRIBE(name, "map", arguments,                                                            \
                "\"input\":[" input_columns "],\"columns\":[" columns "]" SM_DOC(doc) more)         \
    SM_STREAM(name, arguments, sizeof(struct sm_state_##name))                                     \
    static inline int32_t sm_body_##name(struct sm_state_##name *state, const ArrowArray *args,    \
                                         const ArrowArray *input, uint32_t rows, sm_column *out);  \
    SM_EXPORT("sm_pull.", name) int32_t sm_pull_##name(sm_stream *, ArrowArray *);                 \
    SM_EXTERN int32_t sm_pull_##name(sm_stream *stream, ArrowArray *arrays) {                      \
        static sm_columns all;                                                                     \
        struct sm_state_##name *state = (struct sm_state_##name *)stream->state;                   \
        sm_column *out = sm_columns_of(&all, "[" columns "]");                                     \
        int32_t status = 0;                                                                        \
        if (stream->waiting) {                                                                     \
            stream->waiting = false;                                                               \
            status = sm_body_##name(state, stream->args, stream->input, stream->rows, out);        \
        }                                                                                          \
        if (status == 0 && out[0].length == 0 && stream->finished && !stream->ended) {             \
            stream->ended = true;                                                                  \
            status = sm_end_##name(state, stream->args, out);                                      \
        }                                                                                          \
        if (status != 0) return status > 0 ? -status : status;                                     \
        if (out[0].length > 0) return sm_give_all(out, all.count, arrays, -1) + 1;                 \
        return stream->ended ? 2 : 0;                                                              \
    }                                                                                              \
    static inline int32_t sm_body_##name(struct sm_state_##name *state SM_UNUSED,                  \
                                         const ArrowArray *args SM_UNUSED, const ArrowArray *input SM_UNUSED, \
                                         uint32_t rows SM_UNUSED, sm_column *out SM_UNUSED)

/* Body: state, args, out. Adds the rows behind the last batch and returns 0. */
#define SM_MAP_END(name)                                                                           \
    static inline int32_t sm_end_##name(struct sm_state_##name *state SM_UNUSED,                   \
                                        const ArrowArray *args SM_UNUSED, sm_column *out SM_UNUSED)

/* A map that keeps nothing between batches. Body: args, input, rows, out; returns 0. */
#define SM_MAP(name, arguments, input_columns, columns, doc, more)                                 \
    SM_STATE(name) { char nothing; };                                                              \
    SM_MAP_END(name) { return 0; }                                                                 \
    SM_STATEFUL_MAP(name, arguments, input_columns, columns, doc, more)

/* ---- Maps of groups -------------------------------------------------------------------------------------- */

/* Body: args (the constants), input, start and end (the group's rows), out; returns 0. */
#define SM_GROUPED_MAP(name, arguments, input_columns, columns, doc, more)                         \
    SM_DESCRIBE(name, "grouped_map", arguments,                                                    \
                "\"input\":[" input_columns "],\"columns\":[" columns "]" SM_DOC(doc) more)         \
    static inline int32_t sm_body_##name(const ArrowArray *args, const ArrowArray *input, uint32_t start, \
                                         uint32_t end, sm_column *out);                            \
    SM_EXPORT("sm_group.", name)                                                                   \
    int32_t sm_group_##name(const ArrowArray *, const ArrowArray *, uint32_t, const uint32_t *, uint32_t, ArrowArray *); \
    SM_EXTERN int32_t sm_group_##name(const ArrowArray *args, const ArrowArray *input, uint32_t rows SM_UNUSED, \
                                      const uint32_t *offsets, uint32_t groups, ArrowArray *arrays) { \
        static sm_columns all;                                                                     \
        sm_column *out = sm_columns_of(&all, "[" columns "]");                                     \
        for (uint32_t n = 0; n < groups; n++) {                                                    \
            int32_t status = sm_body_##name(args, input, offsets[n], offsets[n + 1], out);         \
            if (status != 0) return status;                                                        \
        }                                                                                          \
        return sm_give_all(out, all.count, arrays, -1);                                            \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, const ArrowArray *input SM_UNUSED, \
                                         uint32_t start SM_UNUSED, uint32_t end SM_UNUSED, sm_column *out SM_UNUSED)

/* Body: args, left, left_rows, right, right_rows (sm_span: where the group lies, may be empty), out;
 * returns 0. */
#define SM_COGROUPED_MAP(name, arguments, left_columns, right_columns, columns, doc, more)         \
    SM_DESCRIBE(name, "cogrouped_map", arguments,                                                  \
                "\"input\":[" left_columns "],\"right\":[" right_columns "],\"columns\":[" columns "]" SM_DOC(doc) more) \
    static inline int32_t sm_body_##name(const ArrowArray *args, const ArrowArray *left, sm_span left_rows, \
                                         const ArrowArray *right, sm_span right_rows, sm_column *out); \
    SM_EXPORT("sm_cogroup.", name)                                                                 \
    int32_t sm_cogroup_##name(const ArrowArray *, const ArrowArray *, const uint32_t *, const ArrowArray *, \
                              const uint32_t *, uint32_t, ArrowArray *);                           \
    SM_EXTERN int32_t sm_cogroup_##name(const ArrowArray *args, const ArrowArray *left, const uint32_t *left_offsets, \
                                        const ArrowArray *right, const uint32_t *right_offsets, uint32_t groups, \
                                        ArrowArray *arrays) {                                      \
        static sm_columns all;                                                                     \
        sm_column *out = sm_columns_of(&all, "[" columns "]");                                     \
        for (uint32_t n = 0; n < groups; n++) {                                                    \
            sm_span l = {left_offsets[n], left_offsets[n + 1] - left_offsets[n]};                  \
            sm_span r = {right_offsets[n], right_offsets[n + 1] - right_offsets[n]};               \
            int32_t status = sm_body_##name(args, left, l, right, r, out);                         \
            if (status != 0) return status;                                                        \
        }                                                                                          \
        return sm_give_all(out, all.count, arrays, -1);                                            \
    }                                                                                              \
    static inline int32_t sm_body_##name(const ArrowArray *args SM_UNUSED, const ArrowArray *left SM_UNUSED, \
                                         sm_span left_rows SM_UNUSED, const ArrowArray *right SM_UNUSED, \
                                         sm_span right_rows SM_UNUSED, sm_column *out SM_UNUSED)

#endif
