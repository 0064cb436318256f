/* Functions of nested, wide and open types. */

SM_SCALAR_OF(id_list_i64, SM_ARG_OF("x", SM_LIST_OF(SM_TYPE("l"))), SM_LIST_OF(SM_TYPE("l")), "Gives its argument back.", "")
{
    const ArrowArray *items = sm_items(&args[0]);
    for (uint32_t row = 0; row < rows; row++) {
        if (sm_is_null(&args[0], row)) {
            sm_add_null(result);
            continue;
        }
        sm_span span = sm_list_at(&args[0], row);
        for (uint32_t n = span.start; n < span.start + span.length; n++) {
            if (sm_is_null(items, n)) sm_add_null(&result->children[0]);
            else sm_add(int64_t, &result->children[0], sm_value(int64_t, items, n));
        }
        sm_end(result);
    }
    return 0;
}

#define COPY(name, type)                                                                           \
    SM_SCALAR_OF(name, SM_ARG_OF("x", type), type, "Gives its argument back.", "")                 \
    {                                                                                              \
        for (uint32_t row = 0; row < rows; row++) sm_add_copy(result, &args[0], row);              \
        return 0;                                                                                  \
    }

COPY(id_list_text, SM_LIST_OF(SM_TYPE("u")))
COPY(id_map, SM_MAP_OF(SM_TYPE("u"), SM_TYPE("l")))
COPY(id_fixed_list, SM_FIXED_LIST_OF("3", SM_TYPE("g")))

SM_SCALAR_OF(id_struct, SM_ARG_OF("p", SM_STRUCT_OF(SM_FIELD("x", SM_TYPE("g")) SM_COMMA SM_FIELD("y", SM_TYPE("l")))),
             SM_STRUCT_OF(SM_FIELD("x", SM_TYPE("g")) SM_COMMA SM_FIELD("y", SM_TYPE("l"))), "Gives its argument back.", "")
{
    const ArrowArray *x = sm_field(&args[0], 0), *y = sm_field(&args[0], 1);
    for (uint32_t row = 0; row < rows; row++) {
        if (sm_is_null(&args[0], row)) {
            sm_add_null(result);
            continue;
        }
        if (sm_is_null(x, row)) sm_add_null(&result->children[0]);
        else sm_add(double, &result->children[0], sm_value(double, x, row));
        if (sm_is_null(y, row)) sm_add_null(&result->children[1]);
        else sm_add(int64_t, &result->children[1], sm_value(int64_t, y, row));
        sm_end(result);
    }
    return 0;
}

IDENTITY(id_time, "ttu", int64_t)
IDENTITY(id_duration, "tDu", int64_t)
IDENTITY(id_interval, "tin", sm_interval)
IDENTITY(id_decimal256, "d:50,4,256", sm_decimal256)

#define BYTES_COPY(name, format, read)                                                             \
    SM_SCALAR_OF(name, SM_ARG("x", format), SM_TYPE(format), "Gives its argument back.", "")       \
    {                                                                                              \
        for (uint32_t row = 0; row < rows; row++) {                                                \
            if (sm_is_null(&args[0], row)) sm_add_null(result);                                    \
            else sm_add_slice(result, read);                                                       \
        }                                                                                          \
        return 0;                                                                                  \
    }

BYTES_COPY(id_large_text, "U", sm_large_at(&args[0], row))
BYTES_COPY(id_text_view, "vu", sm_view_at(&args[0], row))
BYTES_COPY(id_fixed_bytes, "w:4", sm_fixed_at(&args[0], row, 4))

SM_SCALAR(list_sum, SM_ARG_OF("x", SM_LIST_OF(SM_TYPE("l"))), "l", "The sum of a list's numbers; NULL counts as 0.")
{
    const ArrowArray *items = sm_items(&args[0]);
    int64_t *result = sm_start_values(int64_t, rows);
    for (uint32_t row = 0; row < rows; row++) {
        sm_span span = sm_list_at(&args[0], row);
        uint64_t sum = 0;
        for (uint32_t n = span.start; n < span.start + span.length; n++)
            if (!sm_is_null(items, n)) sum += (uint64_t)sm_value(int64_t, items, n);
        result[row] = (int64_t)sum;
    }
    return sm_finish_values(out, rows);
}

SM_SCALAR_OF(make_list, SM_ARG("n", "l"), SM_LIST_OF(SM_TYPE("l")), "The numbers from 0, so many.", "")
{
    for (uint32_t row = 0; row < rows; row++) {
        int64_t count = sm_is_null(&args[0], row) ? 0 : sm_value(int64_t, &args[0], row);
        if (count > INT32_MAX / 8) sm_fail(row, "the list is too long");
        int64_t *items = sm_extend(int64_t, &result->children[0], count < 0 ? 0 : (uint32_t)count);
        for (int64_t n = 0; n < count; n++) items[n] = n;
        sm_end(result);
    }
    return 0;
}

SM_VARIADIC(greatest_of, SM_ARG("x", "l"), SM_TYPE("l"), "The greatest of its arguments; NULL without any.", "")
{
    for (uint32_t row = 0; row < rows; row++) {
        if (count == 0) {
            sm_add_null(result);
            continue;
        }
        int64_t greatest = sm_value(int64_t, &args[0], row);
        for (uint32_t n = 1; n < count; n++) {
            int64_t x = sm_value(int64_t, &args[n], row);
            if (x > greatest) greatest = x;
        }
        sm_add(int64_t, result, greatest);
    }
    return 0;
}

SM_SCALAR_OF(type_name, SM_ARG("x", "any"), SM_TYPE("u"), "The Arrow format string of its argument.", SM_CALLED_ON_NULL SM_NEVER_NULL)
{
    const char *format = sm_schema(&args[0])->format;
    for (uint32_t row = 0; row < rows; row++) sm_add_bytes(result, format, sm_length(format));
    return 0;
}

SM_SCALAR_OF(first_of, SM_ARG("a", "any") SM_COMMA SM_ARG("b", "same:1"), SM_TYPE("same:1"),
             "The first of two values that is not NULL.", SM_CALLED_ON_NULL)
{
    for (uint32_t row = 0; row < rows; row++) sm_add_copy(result, sm_is_null(&args[0], row) ? &args[1] : &args[0], row);
    return 0;
}

SM_SCALAR(scale_by, SM_ARG("x", "g") SM_COMMA SM_DEFAULT("factor", "g", "2"), "g", "x times a factor.")
{
    double *result = sm_start_values(double, rows);
    for (uint32_t row = 0; row < rows; row++) result[row] = sm_value(double, &args[0], row) * sm_value(double, &args[1], row);
    return sm_finish_values(out, rows);
}
