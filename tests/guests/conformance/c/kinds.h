/* Aggregates, windows, tables and maps. */

/* ---- my_sum ---- */

SM_STATE(my_sum) { uint64_t sum; int64_t count; };
SM_UPDATE(my_sum) { state->sum += (uint64_t)sm_value(int64_t, &args[0], row); state->count++; }
SM_MERGE(my_sum) { state->sum += (uint64_t)sm_value(int64_t, &args[0], row); state->count += sm_value(int64_t, &args[1], row); }
SM_SAVE(my_sum) { sm_add(int64_t, &out[0], (int64_t)state->sum); sm_add(int64_t, &out[1], state->count); }
SM_RESULT(my_sum)
{
    if (state->count == 0) sm_add_null(out);
    else sm_add(int64_t, out, (int64_t)state->sum);
}
SM_AGGREGATE_OF(my_sum, SM_ARG("x", "l"), SM_TYPE("l"), SM_ARG("sum", "l") SM_COMMA SM_ARG("count", "l"), "The sum.",
                SM_CAN_RETRACT, NULL);
SM_RETRACT(my_sum) { state->sum -= (uint64_t)sm_value(int64_t, &args[0], row); state->count--; }

/* ---- my_avg ---- */

SM_STATE(my_avg) { double sum; int64_t count; };
SM_UPDATE(my_avg) { state->sum += sm_value(double, &args[0], row); state->count++; }
SM_MERGE(my_avg) { state->sum += sm_value(double, &args[0], row); state->count += sm_value(int64_t, &args[1], row); }
SM_SAVE(my_avg) { sm_add(double, &out[0], state->sum); sm_add(int64_t, &out[1], state->count); }
SM_RESULT(my_avg)
{
    if (state->count == 0) sm_add_null(out);
    else sm_add(double, out, state->sum / (double)state->count);
}
SM_AGGREGATE_OF(my_avg, SM_ARG("x", "g"), SM_TYPE("g"), SM_ARG("sum", "g") SM_COMMA SM_ARG("count", "l"), "The mean.",
                SM_CAN_RETRACT, NULL);
SM_RETRACT(my_avg) { state->sum -= sm_value(double, &args[0], row); state->count--; }

/* ---- longest ---- */

SM_STATE(longest) { sm_text text; bool any; };
static inline void keep_longer(struct sm_state_longest *state, const ArrowArray *texts, uint32_t row)
{
    if (sm_is_null(texts, row)) return;
    sm_slice text = sm_text_at(texts, row);
    if (state->any && text.length <= state->text.length) return;
    state->any = true;
    sm_text_set(&state->text, text);
}
SM_UPDATE(longest) { keep_longer(state, &args[0], row); }
SM_MERGE(longest) { keep_longer(state, &args[0], row); }
SM_SAVE(longest)
{
    if (state->any) sm_add_slice(out, sm_text_get(&state->text));
    else sm_add_null(out);
}
SM_RESULT(longest) { sm_save_longest(state, out); }
SM_FORGET(longest) { sm_text_forget(&SM_FORGOTTEN(longest)->text); }
SM_AGGREGATE_OF(longest, SM_ARG("text", "u"), SM_TYPE("u"), SM_ARG("text", "u"), "The first of the longest texts.", "",
                sm_forget_longest);

/* ---- geo_mean ---- */

/* The natural logarithm of a positive number: there is no library here. */
static inline double natural_log(double x)
{
    if (x != x || x < 0) return __builtin_nan("");
    if (x == 0) return -__builtin_inf();
    if (x == __builtin_inf()) return x;
    int64_t exponent = 0;
    if (x < 0x1p-1022) { x *= 0x1p54; exponent = -54; }
    uint64_t bits;
    __builtin_memcpy(&bits, &x, 8);
    exponent += (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    __builtin_memcpy(&x, &bits, 8);
    if (x > 1.4142135623730951) { x /= 2; exponent++; }
    double s = (x - 1) / (x + 1), square = s * s, sum = 0;
    for (int n = 25; n >= 3; n -= 2) sum = (sum + 1.0 / n) * square;
    return (double)exponent * 0.6931471805599453 + 2 * (s + s * sum);
}

static inline double natural_exp(double x)
{
    if (x != x) return x;
    if (x < -745) return 0;
    if (x > 709.782712893384) return __builtin_inf();
    double turns = __builtin_floor(x / 0.6931471805599453 + 0.5);
    double rest = x - turns * 0.6931471803691238 - turns * 1.9082149292705877e-10, sum = 1;
    for (int n = 18; n > 0; n--) sum = 1 + sum * rest / n;
    int64_t exponent = (int64_t)turns;
    for (int n = 0; n < 2; n++) {
        int64_t half = n == 0 ? exponent / 2 : exponent - exponent / 2;
        uint64_t bits = (uint64_t)(half + 1023) << 52;
        double factor;
        __builtin_memcpy(&factor, &bits, 8);
        sum *= factor;
    }
    return sum;
}

SM_STATE(geo_mean) { double logs; int64_t count; };
SM_UPDATE(geo_mean) { state->logs += natural_log(sm_value(double, &args[0], row)); state->count++; }
SM_MERGE(geo_mean) { state->logs += sm_value(double, &args[0], row); state->count += sm_value(int64_t, &args[1], row); }
SM_SAVE(geo_mean) { sm_add(double, &out[0], state->logs); sm_add(int64_t, &out[1], state->count); }
SM_RESULT(geo_mean)
{
    if (state->count == 0) sm_add_null(out);
    else sm_add(double, out, natural_exp(state->logs / (double)state->count));
}
SM_AGGREGATE(geo_mean, SM_ARG("x", "g"), "g", SM_ARG("logs", "g") SM_COMMA SM_ARG("count", "l"), "The geometric mean.");

/* ---- Windows ---- */

SM_WINDOW(running_sum, SM_ARG("x", "l"), SM_TYPE("l"), "The sum up to each row.", "")
{
    uint64_t sum = 0;
    for (uint32_t row = 0; row < rows; row++) {
        if (!sm_is_null(&args[0], row)) sum += (uint64_t)sm_value(int64_t, &args[0], row);
        sm_add(int64_t, result, (int64_t)sum);
    }
    return 0;
}

SM_FRAME_WINDOW(frame_max, SM_ARG("x", "l"), SM_TYPE("l"), "The greatest number of each row's frame.", "")
{
    bool any = false;
    int64_t greatest = 0;
    for (uint32_t row = start; row < end; row++) {
        if (sm_is_null(&args[0], row)) continue;
        int64_t x = sm_value(int64_t, &args[0], row);
        if (!any || x > greatest) greatest = x;
        any = true;
    }
    if (any) sm_add(int64_t, result, greatest);
    else sm_add_null(result);
    return 0;
}

/* ---- Tables ---- */

SM_TABLE(repeat_rows, SM_ARG("text", "u") SM_COMMA SM_ARG("n", "l"), SM_ARG("text", "u") SM_COMMA SM_ARG("i", "l"),
         "A row for each number from 0 below n.", "")
{
    if (sm_is_null(&args[0], row) || sm_is_null(&args[1], row)) return SM_DONE;
    sm_slice text = sm_text_at(&args[0], row);
    int64_t n = sm_value(int64_t, &args[1], row);
    for (; (int64_t)*position < n; ++*position) {
        if (sm_is_full(out)) return SM_MORE;
        sm_add_slice(&out[0], text);
        sm_add(int64_t, &out[1], (int64_t)*position);
    }
    return SM_DONE;
}

SM_TABLE(split_words, SM_ARG("text", "u"), SM_ARG("word", "u"), "The words of a text, which spaces part.", "")
{
    if (sm_is_null(&args[0], row)) return SM_DONE;
    sm_slice text = sm_text_at(&args[0], row);
    while (*position < text.length) {
        uint32_t start = (uint32_t)*position, end = start;
        while (end < text.length && text.data[end] != ' ') end++;
        if (end > start) {
            if (sm_is_full(out)) return SM_MORE;
            sm_add_bytes(out, text.data + start, end - start);
        }
        *position = end + 1;
    }
    return SM_DONE;
}

/* ---- Maps ---- */

SM_MAP(filter_double, SM_ARG("minimum", "l"), SM_ARG("x", "l"), SM_ARG("x", "l") SM_COMMA SM_ARG("twice", "l"),
       "The numbers that are not below a minimum, and their doubles.", "")
{
    if (sm_is_null(&args[0], 0)) return 0;
    int64_t minimum = sm_value(int64_t, &args[0], 0);
    for (uint32_t row = 0; row < rows; row++) {
        int64_t x = sm_value(int64_t, &input[0], row);
        if (sm_is_null(&input[0], row) || x < minimum) continue;
        sm_add(int64_t, &out[0], x);
        sm_add(int64_t, &out[1], (int64_t)((uint64_t)x * 2));
    }
    return 0;
}

SM_STATE(batch_count) { int64_t rows; };
SM_MAP_END(batch_count)
{
    sm_add(int64_t, out, state->rows);
    return 0;
}
SM_STATEFUL_MAP(batch_count, SM_NO_ARGS, SM_ARG("x", "l"), SM_ARG("rows", "l"), "How many rows there were.", "")
{
    state->rows += rows;
    return 0;
}

SM_GROUPED_MAP(center, SM_NO_ARGS, SM_ARG("k", "l") SM_COMMA SM_ARG("v", "g"), SM_ARG("k", "l") SM_COMMA SM_ARG("v", "g"),
               "Each value less the mean of its group.", "")
{
    double sum = 0, count = 0;
    for (uint32_t row = start; row < end; row++) {
        if (sm_is_null(&input[1], row)) continue;
        sum += sm_value(double, &input[1], row);
        count++;
    }
    for (uint32_t row = start; row < end; row++) {
        sm_add_copy(&out[0], &input[0], row);
        if (sm_is_null(&input[1], row)) sm_add_null(&out[1]);
        else sm_add(double, &out[1], sm_value(double, &input[1], row) - sum / count);
    }
    return 0;
}

SM_COGROUPED_MAP(match_count, SM_NO_ARGS, SM_ARG("k", "l") SM_COMMA SM_ARG("a", "l"),
                 SM_ARG("k", "l") SM_COMMA SM_ARG("b", "l"),
                 SM_ARG("k", "l") SM_COMMA SM_ARG("lefts", "l") SM_COMMA SM_ARG("rights", "l"),
                 "How many rows each side has for a key.", "")
{
    if (left_rows.length > 0) sm_add_copy(&out[0], &left[0], left_rows.start);
    else sm_add_copy(&out[0], &right[0], right_rows.start);
    sm_add(int64_t, &out[1], left_rows.length);
    sm_add(int64_t, &out[2], right_rows.length);
    return 0;
}
