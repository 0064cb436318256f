/* QuickJS as a module of Sandmill. It has no functions of its own: packing puts a program at
 * `sm_program` and gives the slots the names of its functions. The program is a 32-bit length, a line
 * for each function ("name", shape of the result, "?" when it sees NULL, shapes of the arguments), an
 * empty line, a line with the file's name, and the source with a NUL behind it.
 */
#include "sandmill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quickjs.h"

#define ROOM 262144
#define SLOTS 64
#define ARGUMENTS 32
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

extern char sm_program[], sm_program_end[];
__asm__(".section .bss.sm_program,\"\",@\n.globl sm_program\n.type sm_program,@object\n.p2align 4\n"
        "sm_program:\n.skip " TEXT(ROOM) "\n.size sm_program, " TEXT(ROOM) "\n"
        ".globl sm_program_end\n.type sm_program_end,@object\nsm_program_end:\n.skip 16\n"
        ".size sm_program_end, 16\n.text\n");

typedef struct {
    JSValue call;
    const char *arguments;
    uint32_t count;
    char returns;
    bool sees_null;
} function;

static function functions[SLOTS];
static JSContext *context;
static JSValue join, split;
/* The row that is being computed, for errors. */
static int64_t present = -1;

/* ---- Errors -------------------------------------------------------------------------------------- */

/* Lone halves of UTF-16 pairs are no UTF-8; they become replacement characters of the same length. */
static void repair(char *text, size_t size) {
    for (size_t n = 0; n + 2 < size; n++)
        if ((unsigned char)text[n] == 0xed && (unsigned char)text[n + 1] >= 0xa0) memcpy(text + n, "\xef\xbf\xbd", 3);
}

_Noreturn static void report(void) {
    JSValue error = JS_GetException(context);
    const char *text = JS_ToCString(context, error);
    JSValue stack = JS_IsObject(error) ? JS_GetPropertyStr(context, error, "stack") : JS_UNDEFINED;
    const char *trace = JS_IsString(stack) ? JS_ToCString(context, stack) : NULL;
    static char message[4096];
    /* Of the trace the innermost frame tells where; the rest is the loop over rows. */
    const char *end = trace ? strchr(trace, '\n') : NULL;
    int length = trace ? (int)(end ? end - trace : (long)strlen(trace)) : 0;
    while (length > 0 && *trace == ' ') trace++, length--;
    int size = snprintf(message, sizeof message, length ? "%s (%.*s)" : "%s", text ? text : "error", length, trace ? trace : "");
    if (size > (int)sizeof message - 1) size = sizeof message - 1;
    repair(message, (size_t)size);
    sm_host_fail(SM_ERROR, present, message, (uint32_t)size);
    __builtin_unreachable();
}

static JSValue checked(JSValue value) {
    if (JS_IsException(value)) report();
    return value;
}

/* ---- What a program can ask of the host ------------------------------------------------------------ */

static JSValue host_log(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this;
    int32_t level = 1;
    size_t size;
    if (count < 2 || JS_ToInt32(ctx, &level, values[0])) return JS_ThrowTypeError(ctx, "write log(level, text)");
    const char *text = JS_ToCStringLen(ctx, &size, values[1]);
    if (text == NULL) return JS_EXCEPTION;
    sm_host_log(level, text, (uint32_t)size);
    JS_FreeCString(ctx, text);
    return JS_UNDEFINED;
}

static JSValue host_random(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this, (void)count, (void)values;
    return JS_NewBigInt64(ctx, sm_host_random());
}

static JSValue host_now(JSContext *ctx, JSValueConst this, int count, JSValueConst *values) {
    (void)this, (void)count, (void)values;
    return JS_NewBigInt64(ctx, sm_host_now());
}

static const char PRELUDE[] =
    "globalThis.console = Object.fromEntries([['debug', 0], ['log', 1], ['info', 1], ['warn', 2], ['error', 3]]"
    ".map(([name, level]) => [name, (...values) => sandmill.log(level, values.map(String).join(' '))]));"
    "Object.freeze(sandmill);"
    "[(low, high) => (high << 64n) | low, (value) => { const whole = BigInt.asIntN(128, value);"
    " if (whole !== value) throw new RangeError('the result has more than 128 bits');"
    " return [BigInt.asUintN(64, whole), whole >> 64n]; }]";

static void offer(JSValue object, const char *name, JSCFunction *call, int count) {
    JS_SetPropertyStr(context, object, name, JS_NewCFunction(context, call, name, count));
}

/* ---- Start ------------------------------------------------------------------------------------------ */

static void start(void) {
    JSRuntime *runtime = JS_NewRuntime();
    if (runtime == NULL || (context = JS_NewContext(runtime)) == NULL) sm_host_fail(SM_NO_MEMORY, -1, "", 0);
    JS_SetMemoryLimit(runtime, 40 << 20);
    JSValue global = JS_GetGlobalObject(context), host = JS_NewObject(context);
    offer(host, "log", host_log, 2);
    offer(host, "random", host_random, 0);
    offer(host, "now", host_now, 0);
    JS_SetPropertyStr(context, global, "sandmill", host);
    JS_FreeValue(context, global);
    JSValue pair = checked(JS_Eval(context, PRELUDE, sizeof PRELUDE - 1, "sandmill", JS_EVAL_TYPE_GLOBAL));
    join = JS_GetPropertyUint32(context, pair, 0);
    split = JS_GetPropertyUint32(context, pair, 1);
    JS_FreeValue(context, pair);
}

static char *line(char **at) {
    char *start = *at, *end = strchr(start, '\n');
    if (end == NULL) sm_fail(-1, "this runtime has no program");
    *end = 0;
    *at = end + 1;
    return start;
}

__attribute__((export_name("sm_init"))) int32_t sm_init(void);
int32_t sm_init(void) {
    start();
    uint32_t size;
    memcpy(&size, sm_program, 4);
    if (size == 0 || size > ROOM - 4) sm_fail(-1, "this runtime has no program");
    char *at = sm_program + 4, *end = at + size - 1;
    const char *names[SLOTS];
    uint32_t count = 0;
    for (char *text = line(&at); *text != 0; text = line(&at)) {
        char *shapes = strchr(text, ' ');
        if (shapes == NULL || count == SLOTS) sm_fail(-1, "this runtime's program is damaged");
        *shapes = 0;
        names[count] = text;
        functions[count].returns = shapes[1];
        functions[count].sees_null = shapes[2] == '?';
        functions[count].arguments = shapes + 3;
        functions[count].count = (uint32_t)strlen(shapes + 3);
        if (functions[count].count > ARGUMENTS) sm_fail(-1, "this runtime's program is damaged");
        count++;
    }
    const char *file = line(&at);
    JSValue module = checked(
        JS_Eval(context, at, (size_t)(end - at), file, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY));
    JSModuleDef *definition = JS_VALUE_GET_PTR(module);
    JSValue done = checked(JS_EvalFunction(context, module));
    /* A module is evaluated as a promise; what went wrong stands in it. */
    if (JS_PromiseState(context, done) == JS_PROMISE_REJECTED) {
        JS_Throw(context, JS_PromiseResult(context, done));
        report();
    }
    JS_FreeValue(context, done);
    JSValue names_space = checked(JS_GetModuleNamespace(context, definition));
    for (uint32_t n = 0; n < count; n++) {
        functions[n].call = checked(JS_GetPropertyStr(context, names_space, names[n]));
        if (JS_IsFunction(context, functions[n].call)) continue;
        JS_ThrowTypeError(context, "%s is declared but no exported function", names[n]);
        report();
    }
    JS_FreeValue(context, names_space);
    return 0;
}

/* ---- Values ----------------------------------------------------------------------------------------- */

static JSValue take(const ArrowArray *array, char shape, uint32_t row) {
    switch (shape) {
    case 'b': return JS_NewBool(context, sm_bool(array, row));
    case 'c': return JS_NewInt32(context, sm_value(int8_t, array, row));
    case 's': return JS_NewInt32(context, sm_value(int16_t, array, row));
    case 'i': return JS_NewInt32(context, sm_value(int32_t, array, row));
    case 'C': return JS_NewInt32(context, sm_value(uint8_t, array, row));
    case 'S': return JS_NewInt32(context, sm_value(uint16_t, array, row));
    case 'I': return JS_NewUint32(context, sm_value(uint32_t, array, row));
    case 'l': return JS_NewBigInt64(context, sm_value(int64_t, array, row));
    case 'L': return JS_NewBigUint64(context, sm_value(uint64_t, array, row));
    case 'f': return JS_NewFloat64(context, (double)sm_value(float, array, row));
    case 'g': return JS_NewFloat64(context, sm_value(double, array, row));
    case 'd': {
        const uint64_t *halves = (const uint64_t *)array->buffers[1] + (array->length == 1 ? 0 : 2 * row);
        JSValue parts[2] = {JS_NewBigUint64(context, halves[0]), JS_NewBigInt64(context, (int64_t)halves[1])};
        JSValue whole = JS_Call(context, join, JS_UNDEFINED, 2, parts);
        JS_FreeValue(context, parts[0]);
        JS_FreeValue(context, parts[1]);
        return whole;
    }
    default: {
        sm_bytes bytes = sm_read_bytes(array);
        sm_slice slice = sm_bytes_at(&bytes, row);
        return shape == 'u' ? JS_NewStringLen(context, slice.data, slice.length)
                            : JS_NewUint8ArrayCopy(context, (const uint8_t *)slice.data, slice.length);
    }
    }
}

static double whole(JSValue value, double least, double most) {
    double number = NAN;
    if (!JS_IsNumber(value) || JS_ToFloat64(context, &number, value) || number != trunc(number) || number < least || number > most) {
        JS_ThrowRangeError(context, "the result is not a whole number of its type");
        report();
    }
    return number;
}

static uint64_t big(JSValue value, bool is_signed) {
    int64_t bits;
    if (JS_IsNumber(value)) {
        double number = whole(value, is_signed ? -9007199254740991.0 : 0, 9007199254740991.0);
        return (uint64_t)(int64_t)number;
    }
    if (!JS_IsBigInt(value) || JS_ToBigInt64(context, &bits, value)) {
        JS_ThrowTypeError(context, "the result is not a BigInt");
        report();
    }
    JSValue again = is_signed ? JS_NewBigInt64(context, bits) : JS_NewBigUint64(context, (uint64_t)bits);
    if (!JS_IsStrictEqual(context, again, value)) {
        JS_ThrowRangeError(context, "the result has more than 64 bits");
        report();
    }
    JS_FreeValue(context, again);
    return (uint64_t)bits;
}

static double real(JSValue value) {
    double number = 0;
    if (!JS_IsNumber(value)) JS_ThrowTypeError(context, "the result is not a number"), report();
    JS_ToFloat64(context, &number, value);
    return number;
}

#define RESULT(type) ((type *)(void *)sm_values.data)

static void put(char shape, uint32_t row, JSValue value) {
    switch (shape) {
    case 'b':
        if (!JS_IsBool(value)) JS_ThrowTypeError(context, "the result is not a boolean"), report();
        sm_put_bool(row, JS_ToBool(context, value) == 1);
        return;
    case 'c': RESULT(int8_t)[row] = (int8_t)whole(value, INT8_MIN, INT8_MAX); return;
    case 's': RESULT(int16_t)[row] = (int16_t)whole(value, INT16_MIN, INT16_MAX); return;
    case 'i': RESULT(int32_t)[row] = (int32_t)whole(value, INT32_MIN, INT32_MAX); return;
    case 'C': RESULT(uint8_t)[row] = (uint8_t)whole(value, 0, UINT8_MAX); return;
    case 'S': RESULT(uint16_t)[row] = (uint16_t)whole(value, 0, UINT16_MAX); return;
    case 'I': RESULT(uint32_t)[row] = (uint32_t)whole(value, 0, UINT32_MAX); return;
    case 'l': case 'L': RESULT(uint64_t)[row] = big(value, shape == 'l'); return;
    case 'f': RESULT(float)[row] = (float)real(value); return;
    case 'g': RESULT(double)[row] = real(value); return;
    case 'd': {
        JSValue parts = checked(JS_Call(context, split, JS_UNDEFINED, 1, &value));
        for (uint32_t n = 0; n < 2; n++) {
            JSValue part = JS_GetPropertyUint32(context, parts, n);
            RESULT(uint64_t)[2 * row + n] = big(part, n == 1);
            JS_FreeValue(context, part);
        }
        JS_FreeValue(context, parts);
        return;
    }
    case 'u': {
        size_t size;
        if (!JS_IsString(value)) JS_ThrowTypeError(context, "the result is not a string"), report();
        const char *text = JS_ToCStringLen(context, &size, value);
        if (text == NULL) report();
        char *to = sm_room((uint32_t)size);
        memcpy(to, text, size);
        repair(to, size);
        sm_took(row, (uint32_t)size);
        JS_FreeCString(context, text);
        return;
    }
    default: {
        size_t size;
        uint8_t *bytes = JS_GetUint8Array(context, &size, value);
        if (bytes == NULL) report();
        sm_put_bytes(row, (const char *)bytes, (uint32_t)size);
    }
    }
}

static uint32_t width(char shape) {
    switch (shape) {
    case 'c': case 'C': return 1;
    case 's': case 'S': return 2;
    case 'i': case 'I': case 'f': return 4;
    case 'd': return 16;
    default: return 8;
    }
}

/* ---- Calls ------------------------------------------------------------------------------------------ */

static int32_t run(uint32_t slot, const ArrowArray *args, uint32_t rows, ArrowArray *out) {
    const function *f = &functions[slot];
    bool bytes = f->returns == 'u' || f->returns == 'z';
    if (bytes) sm_start_bytes(rows);
    else if (f->returns == 'b') sm_start_bools(rows);
    else memset(sm_start_values(char, rows * width(f->returns)), 0, rows * width(f->returns));
    for (uint32_t row = 0; row < rows; row++) {
        JSValue values[ARGUMENTS];
        bool skip = false;
        present = row;
        for (uint32_t n = 0; n < f->count && !f->sees_null; n++) skip |= sm_is_null(&args[n], row);
        if (skip) { /* The host makes such rows NULL whatever stands there. */
            if (bytes) sm_took(row, 0);
            continue;
        }
        for (uint32_t n = 0; n < f->count; n++)
            values[n] = sm_is_null(&args[n], row) ? JS_NULL : checked(take(&args[n], f->arguments[n], row));
        JSValue result = checked(JS_Call(context, f->call, JS_UNDEFINED, (int)f->count, values));
        for (uint32_t n = 0; n < f->count; n++) JS_FreeValue(context, values[n]);
        if (JS_IsNull(result) || JS_IsUndefined(result)) {
            sm_put_null(row, rows);
            if (bytes) sm_took(row, 0);
        } else {
            put(f->returns, row, result);
        }
        JS_FreeValue(context, result);
    }
    present = -1;
    return sm_finish(out, rows, bytes ? 3 : 2);
}

#define SLOT(n)                                                                                    \
    __attribute__((export_name("sm_slot_" #n))) int32_t sm_slot_##n(const ArrowArray *args, uint32_t rows, ArrowArray *out); \
    int32_t sm_slot_##n(const ArrowArray *args, uint32_t rows, ArrowArray *out) { return run(n, args, rows, out); }
#define SLOTS_OF_8(a, b, c, d, e, f, g, h) SLOT(a) SLOT(b) SLOT(c) SLOT(d) SLOT(e) SLOT(f) SLOT(g) SLOT(h)

SLOTS_OF_8(0, 1, 2, 3, 4, 5, 6, 7)
SLOTS_OF_8(8, 9, 10, 11, 12, 13, 14, 15)
SLOTS_OF_8(16, 17, 18, 19, 20, 21, 22, 23)
SLOTS_OF_8(24, 25, 26, 27, 28, 29, 30, 31)
SLOTS_OF_8(32, 33, 34, 35, 36, 37, 38, 39)
SLOTS_OF_8(40, 41, 42, 43, 44, 45, 46, 47)
SLOTS_OF_8(48, 49, 50, 51, 52, 53, 54, 55)
SLOTS_OF_8(56, 57, 58, 59, 60, 61, 62, 63)
