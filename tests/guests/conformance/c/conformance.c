/* The conformance functions, in C. udf-sdk/spec/conformance/cases.json says what they do. */
#include "sandmill_kinds.h"

/* The same file is built as C++ under another name. */
#ifndef PACKAGE
#define PACKAGE "conformance_c"
#endif

SM_PACKAGE(PACKAGE, "0.1.0")

#define IDENTITY(name, format, type)                                                               \
    SM_SCALAR(name, SM_ARG("x", format), format, "Gives its argument back.")                       \
    {                                                                                              \
        type *result = sm_start_values(type, rows);                                                \
        for (uint32_t row = 0; row < rows; row++) result[row] = sm_value(type, &args[0], row);     \
        return sm_finish_values(out, rows);                                                        \
    }

IDENTITY(id_i8, "c", int8_t)
IDENTITY(id_i16, "s", int16_t)
IDENTITY(id_i32, "i", int32_t)
IDENTITY(id_i64, "l", int64_t)
IDENTITY(id_u8, "C", uint8_t)
IDENTITY(id_u16, "S", uint16_t)
IDENTITY(id_u32, "I", uint32_t)
IDENTITY(id_u64, "L", uint64_t)
IDENTITY(id_f32, "f", float)
IDENTITY(id_f64, "g", double)
IDENTITY(id_date, "tdD", int32_t)
IDENTITY(id_decimal, "d:10,2", __int128)
IDENTITY(id_timestamp, "tsu:UTC", int64_t)
IDENTITY(id_timestamp_ns, "tsn:", int64_t)

SM_SCALAR(id_bool, SM_ARG("x", "b"), "b", "Gives its argument back.")
{
    sm_start_bools(rows);
    for (uint32_t row = 0; row < rows; row++) sm_put_bool(row, sm_bool(&args[0], row));
    return sm_finish_values(out, rows);
}

#define BYTES_IDENTITY(name, format)                                                               \
    SM_SCALAR(name, SM_ARG("x", format), format, "Gives its argument back.")                       \
    {                                                                                              \
        sm_bytes x = sm_read_bytes(&args[0]);                                                      \
        sm_start_bytes(rows);                                                                      \
        for (uint32_t row = 0; row < rows; row++) {                                                \
            sm_slice s = sm_bytes_at(&x, row);                                                     \
            sm_put_bytes(row, s.data, s.length);                                                   \
        }                                                                                          \
        return sm_finish_bytes(out, rows);                                                         \
    }

BYTES_IDENTITY(id_text, "u")
BYTES_IDENTITY(id_bytes, "z")

SM_SCALAR_WITH(add_or_zero, SM_ARG("a", "l") SM_COMMA SM_ARG("b", "l"), "l", "Adds two numbers; NULL counts as 0.",
               SM_CALLED_ON_NULL SM_NEVER_NULL)
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        uint64_t a = sm_is_null(&args[0], row) ? 0 : (uint64_t)sm_value(int64_t, &args[0], row);
        uint64_t b = sm_is_null(&args[1], row) ? 0 : (uint64_t)sm_value(int64_t, &args[1], row);
        result[row] = (int64_t)(a + b);
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR(even, SM_ARG("a", "l"), "l", "The number, or NULL where it is odd.")
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        result[row] = sm_value(int64_t, &args[0], row);
        if (result[row] % 2 != 0) sm_put_null(row, rows);
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR(root, SM_ARG("x", "g"), "g", "The square root of a number that is not negative.")
{
    double *result = sm_start_values(double, rows);
    for (uint32_t row = 0; row < rows; row++) {
        double x = sm_value(double, &args[0], row);
        if (x < 0 && !sm_is_null(&args[0], row)) sm_fail(row, "the argument is negative");
        result[row] = __builtin_sqrt(x);
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR(join_text, SM_ARG("a", "u") SM_COMMA SM_ARG("b", "u"), "u", "Joins two texts.")
{
    sm_bytes a = sm_read_bytes(&args[0]), b = sm_read_bytes(&args[1]);
    sm_start_bytes(rows);
    for (uint32_t row = 0; row < rows; row++) {
        sm_slice x = sm_bytes_at(&a, row), y = sm_bytes_at(&b, row);
        char *to = sm_room(x.length + y.length);
        __builtin_memcpy(to, x.data, x.length);
        __builtin_memcpy(to + x.length, y.data, y.length);
        sm_took(row, x.length + y.length);
    }
    return sm_finish_bytes(out, rows);
}

SM_SCALAR(repeat_text, SM_ARG("text", "u") SM_COMMA SM_ARG("times", "i"), "u",
          "A text, so many times; NULL for a negative number.")
{
    sm_bytes text = sm_read_bytes(&args[0]);
    sm_start_bytes(rows);
    for (uint32_t row = 0; row < rows; row++) {
        sm_slice s = sm_bytes_at(&text, row);
        int32_t times = sm_value(int32_t, &args[1], row);
        if (times < 0 || sm_is_null(&args[0], row) || sm_is_null(&args[1], row)) {
            sm_put_null(row, rows);
            sm_took(row, 0);
            continue;
        }
        uint64_t length = (uint64_t)s.length * (uint32_t)times;
        if (length > INT32_MAX) sm_fail(row, "the result is too long");
        char *to = sm_room((uint32_t)length);
        for (int32_t n = 0; n < times; n++) __builtin_memcpy(to + (uint32_t)n * s.length, s.data, s.length);
        sm_took(row, (uint32_t)length);
    }
    return sm_finish_bytes(out, rows);
}

SM_SCALAR_WITH(is_blank, SM_ARG("text", "u"), "b", "Whether a text is empty or NULL.", SM_CALLED_ON_NULL SM_NEVER_NULL)
{
    sm_bytes text = sm_read_bytes(&args[0]);
    sm_start_bools(rows);
    for (uint32_t row = 0; row < rows; row++)
        sm_put_bool(row, sm_is_null(&args[0], row) || sm_bytes_at(&text, row).length == 0);
    return sm_finish_values(out, rows);
}

SM_SCALAR(answer, SM_NO_ARGS, "i", "The answer.")
{
    int32_t *result = sm_start_values(int32_t, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = 42;
    return sm_finish_values(out, rows);
}

SM_SCALAR_WITH(roll, SM_NO_ARGS, "l", "A random number for each row.", SM_VOLATILE)
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = sm_host_random();
    return sm_finish_values(out, rows);
}

SM_SCALAR_WITH(started, SM_NO_ARGS, "l", "Microseconds at the start of the query.", SM_STABLE)
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = sm_host_now();
    return sm_finish_values(out, rows);
}

SM_SCALAR_WITH(logged, SM_ARG("x", "l"), "l", "Writes a line to the log and gives its argument back.", SM_VOLATILE)
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        result[row] = sm_value(int64_t, &args[0], row);
        sm_log(1, "a value");
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR(fears_13, SM_ARG("x", "l"), "l", "Fails on 13.")
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        result[row] = sm_value(int64_t, &args[0], row);
        if (result[row] == 13 && !sm_is_null(&args[0], row)) sm_fail(row, "thirteen");
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR(axpy, SM_ARG("a", "g") SM_COMMA SM_ARG("x", "g") SM_COMMA SM_ARG("y", "g"), "g", "a * x + y")
{
    double *result = sm_start_values(double, rows);
    for (uint32_t row = 0; row < rows; row++)
        result[row] = sm_value(double, &args[0], row) * sm_value(double, &args[1], row) + sm_value(double, &args[2], row);
    return sm_finish_values(out, rows);
}

#include "nested.h"
#include "kinds.h"
