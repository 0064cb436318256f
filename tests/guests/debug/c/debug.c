/* A guest with debug information: tests look for the marked lines. */
#include "sandmill.h"

SM_PACKAGE("debug_c", "0.1.0")

static int64_t checked(int64_t x, uint32_t row)
{
    if (x < 0) sm_fail(row, "the argument is negative"); /* line: c fails */
    return x;
}

SM_SCALAR(c_checked, SM_ARG("x", "l") SM_COMMA SM_ARG("note", "u"), "l", "A number that is not negative.")
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = checked(sm_value(int64_t, &args[0], row), row);
    return sm_finish_values(out, rows);
}

SM_SCALAR(c_talks, SM_ARG("x", "l"), "l", "Logs a line for each row.")
{
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        sm_log(1, "a line with \x1b[31mcolour");
        result[row] = sm_value(int64_t, &args[0], row);
    }
    return sm_finish_values(out, rows);
}
