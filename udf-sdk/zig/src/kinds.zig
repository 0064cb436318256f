//! The exports and the manifest of functions of each kind.

const abi = @import("abi.zig");
const columns = @import("columns.zig");
const memory = @import("memory.zig");
const types = @import("types.zig");

const Array = abi.ArrowArray;

/// Rows after which a batch of a table function is handed over.
const batch = 8192;

pub const Options = struct {
    /// Names of the arguments; without them they are arg1, arg2 and so on.
    args: []const []const u8 = &.{},
    doc: []const u8 = "",
    volatility: enum { immutable, stable, @"volatile" } = .immutable,
};

/// The row that is computed, for errors.
var current: i64 = -1;

/// Ends the call with an error.
pub fn fail(message: []const u8) noreturn {
    abi.fail(abi.ERROR, current, message.ptr, message.len);
    unreachable;
}

/// Adds a line to the custom section of the manifest, through the assembler: what a linker would
/// put together from `linksection` lies in memory instead.
pub fn line(comptime text: []const u8) void {
    _ = struct {
        comptime {
            asm (".section .custom_section.sandmill.manifest,\"\",@\n.ascii \"" ++ escaped(text) ++ "\\n\"\n.text\n");
        }
    };
}

fn escaped(comptime text: []const u8) []const u8 {
    @setEvalBranchQuota(1_000_000);
    var result: []const u8 = "";
    for (text) |byte| {
        if (byte == '"' or byte == '\\') result = result ++ "\\";
        result = result ++ &[1]u8{byte};
    }
    return result;
}

fn describe(comptime name: []const u8, comptime kind: []const u8, comptime given: []const u8, comptime rest: []const u8, comptime options: Options) void {
    const doc = if (options.doc.len == 0) "" else ",\"doc\":\"" ++ escaped(options.doc) ++ "\"";
    line("{\"function\":{\"name\":\"" ++ name ++ "\",\"kind\":\"" ++ kind ++ "\",\"arguments\":[" ++ given ++ "]" ++
        ",\"volatility\":\"" ++ @tagName(options.volatility) ++ "\"" ++ rest ++ doc ++ "}}");
}

/// The types of a function's parameters, from the one with number `skip`.
fn parameters(comptime F: type, comptime skip: usize) []const type {
    const all = @typeInfo(F).@"fn".param_types;
    var result: []const type = &.{};
    for (all[skip..]) |P| result = result ++ &[1]type{P.?};
    return result;
}

fn arguments(comptime all: []const type, comptime options: Options) []const u8 {
    @setEvalBranchQuota(100_000);
    var text: []const u8 = "";
    for (all, 0..) |P, n| {
        const name = if (n < options.args.len) options.args[n] else "arg" ++ types.number(n + 1);
        text = text ++ (if (n == 0) "" else ",") ++ "{\"name\":\"" ++ name ++ "\"," ++ types.json(P) ++ "}";
    }
    return text;
}

/// A function that takes a `?` sees NULL.
fn isStrict(comptime all: []const type) bool {
    for (all) |P| if (@typeInfo(P) == .optional) return false;
    return true;
}

fn strictness(comptime all: []const type) []const u8 {
    return if (isStrict(all)) "" else ",\"strict\":false";
}

/// Whether a row has a NULL where the function takes none.
inline fn lacks(comptime all: []const type, args: [*]const Array, row: usize) bool {
    inline for (all, 0..) |P, n| {
        if (@typeInfo(P) != .optional and columns.isNull(&args[n], row)) return true;
    }
    return false;
}

fn anyNull(comptime all: []const type, args: [*]const Array) bool {
    inline for (0..all.len) |n| if (args[n].null_count != 0) return true;
    return false;
}

fn Returned(comptime F: type) type {
    const R = @typeInfo(F).@"fn".return_type.?;
    return switch (@typeInfo(R)) {
        .error_union => |both| both.payload,
        else => R,
    };
}

/// The values of a row, as a tuple.
fn Row(comptime all: []const type) type {
    return @Tuple(all);
}

inline fn values(comptime all: []const type, args: [*]const Array, row: usize) Row(all) {
    var result: Row(all) = undefined;
    inline for (all, 0..) |P, n| result[n] = columns.read(P, &args[n], row);
    return result;
}

inline fn checked(result: anytype) switch (@typeInfo(@TypeOf(result))) {
    .error_union => |both| both.payload,
    else => @TypeOf(result),
} {
    if (@typeInfo(@TypeOf(result)) != .error_union) return result;
    return result catch |problem| fail(@errorName(problem));
}

pub fn Scalar(comptime name: []const u8, comptime function: anytype, comptime options: Options) type {
    const F = @TypeOf(function);
    const takes = parameters(F, 0);
    const Result = Returned(F);
    // NULL also stands where an argument without `?` is NULL while others may be.
    const mixed = !isStrict(takes) and for (takes) |P| {
        if (@typeInfo(P) != .optional) break true;
    } else false;
    const nullable = if (@typeInfo(Result) == .optional or mixed) "" else ",\"nullable\":false";
    describe(name, "scalar", arguments(takes, options), ",\"returns\":{" ++ types.json(Result) ++ "}" ++ nullable ++ strictness(takes), options);
    return struct {
        var result: columns.Column(Result) = .{};

        fn call(args: [*]const Array, rows: u32, out: *Array) callconv(.c) i32 {
            memory.reset();
            result.clear();
            result.reserve(rows);
            const nulls = anyNull(takes, args);
            for (0..rows) |row| {
                current = @intCast(row);
                if (nulls and lacks(takes, args, row)) {
                    if (mixed) result.addNull() else result.addZero();
                } else {
                    result.add(checked(@call(.always_inline, function, values(takes, args, row))));
                }
            }
            result.give(out);
            return 0;
        }

        comptime {
            @export(&call, .{ .name = "sm_scalar." ++ name });
        }
    };
}

pub fn Window(comptime name: []const u8, comptime State: type, comptime options: Options) type {
    const F = @TypeOf(State.next);
    const takes = parameters(F, 1);
    const Result = Returned(F);
    describe(name, "window", arguments(takes, options), ",\"returns\":{" ++ types.json(Result) ++ "}" ++ strictness(takes), options);
    return struct {
        var result: columns.Column(Result) = .{};

        fn call(args: [*]const Array, rows: u32, ranges: u32, count: u32, out: *Array) callconv(.c) i32 {
            _ = ranges;
            _ = count;
            memory.reset();
            result.clear();
            var state: State = .{};
            const nulls = anyNull(takes, args);
            for (0..rows) |row| {
                current = @intCast(row);
                if (nulls and lacks(takes, args, row)) {
                    result.addNull();
                } else {
                    result.add(checked(@call(.auto, State.next, .{&state} ++ values(takes, args, row))));
                }
            }
            result.give(out);
            return 0;
        }

        comptime {
            @export(&call, .{ .name = "sm_window." ++ name });
        }
    };
}

pub fn Aggregate(comptime name: []const u8, comptime State: type, comptime options: Options) type {
    const takes = parameters(@TypeOf(State.update), 1);
    const info = @typeInfo(State).@"struct";
    const Result = Returned(@TypeOf(State.finish));
    const can_retract = @hasDecl(State, "retract");
    describe(name, "aggregate", arguments(takes, options), ",\"returns\":{" ++ types.json(Result) ++ "},\"state\":[" ++ types.fields(State) ++ "]" ++
        (if (can_retract) ",\"retract\":true" else "") ++ strictness(takes), options);
    return struct {
        const Handle = struct { states: memory.Buffer = .{}, groups: usize = 0, own: memory.Buffer };
        var saved: columns.Chain(info.field_types) = .{};
        var result: columns.Column(Result) = .{};

        fn of(handle: *Handle, groups: usize) [*]State {
            const data = handle.states.fit(groups * @sizeOf(State), handle.groups * @sizeOf(State));
            const states: [*]State = @ptrCast(@alignCast(data));
            for (handle.groups..@max(groups, handle.groups)) |n| states[n] = .{};
            handle.groups = @max(groups, handle.groups);
            return states;
        }

        fn new() callconv(.c) *Handle {
            var own: memory.Buffer = .{};
            const handle: *Handle = @ptrCast(own.fit(@sizeOf(Handle), 0));
            handle.* = .{ .own = own };
            return handle;
        }

        fn update(handle: *Handle, args: [*]const Array, rows: u32, ids: [*]const u32, groups: u32) callconv(.c) i32 {
            return rowByRow(State.update, handle, args, rows, ids, groups);
        }

        fn retract(handle: *Handle, args: [*]const Array, rows: u32, ids: [*]const u32, groups: u32) callconv(.c) i32 {
            return rowByRow(State.retract, handle, args, rows, ids, groups);
        }

        inline fn rowByRow(comptime function: anytype, handle: *Handle, args: [*]const Array, rows: u32, ids: [*]const u32, groups: u32) i32 {
            memory.reset();
            const states = of(handle, groups);
            const nulls = anyNull(takes, args);
            for (0..rows) |row| {
                current = @intCast(row);
                if (nulls and lacks(takes, args, row)) continue;
                checked(@call(.auto, function, .{&states[ids[row]]} ++ values(takes, args, row)));
            }
            return 0;
        }

        fn merge(handle: *Handle, args: [*]const Array, rows: u32, ids: [*]const u32, groups: u32) callconv(.c) i32 {
            memory.reset();
            const states = of(handle, groups);
            for (0..rows) |row| {
                var other: State = .{};
                inline for (info.field_names, info.field_types, 0..) |field, T, n| {
                    @field(other, field) = columns.read(T, &args[n], row);
                }
                checked(states[ids[row]].merge(other));
            }
            return 0;
        }

        fn state(handle: *Handle, first: u32, count: u32, out: [*]Array) callconv(.c) i32 {
            const states = of(handle, first + count);
            saved.clear();
            for (first..first + count) |n| saved.add(states[n], 0);
            saved.give(out);
            return 0;
        }

        fn finish(handle: *Handle, first: u32, count: u32, out: *Array) callconv(.c) i32 {
            memory.reset();
            const states = of(handle, first + count);
            result.clear();
            for (first..first + count) |n| result.add(checked(states[n].finish()));
            result.give(out);
            return 0;
        }

        fn drop(handle: *Handle, count: u32) callconv(.c) i32 {
            const states = of(handle, count);
            for (count..handle.groups) |n| states[n - count] = states[n];
            handle.groups -= count;
            return 0;
        }

        fn size(handle: *Handle) callconv(.c) i64 {
            return @intCast(handle.groups * @sizeOf(State) + @sizeOf(Handle));
        }

        fn close(handle: *Handle) callconv(.c) void {
            handle.states.drop();
            var own = handle.own;
            own.drop();
        }

        comptime {
            @export(&new, .{ .name = "sm_agg_new." ++ name });
            @export(&update, .{ .name = "sm_agg_update." ++ name });
            @export(&merge, .{ .name = "sm_agg_merge." ++ name });
            @export(&state, .{ .name = "sm_agg_state." ++ name });
            @export(&finish, .{ .name = "sm_agg_finish." ++ name });
            @export(&drop, .{ .name = "sm_agg_drop." ++ name });
            @export(&size, .{ .name = "sm_agg_size." ++ name });
            @export(&close, .{ .name = "sm_agg_close." ++ name });
            if (can_retract) @export(&retract, .{ .name = "sm_agg_retract." ++ name });
        }
    };
}

pub fn Table(comptime name: []const u8, comptime Rows: type, comptime options: Options) type {
    const takes = parameters(@TypeOf(Rows.init), 0);
    const Item = types.Present(Returned(@TypeOf(Rows.next)));
    const info = @typeInfo(Item).@"struct";
    describe(name, "table", arguments(takes, options), ",\"columns\":[" ++ types.fields(Item) ++ "]" ++ strictness(takes), options);
    return struct {
        const Handle = struct {
            args: [*]const Array = undefined,
            rows: usize = 0,
            row: usize = 0,
            open_row: ?Rows = null,
            finished: bool = false,
            own: memory.Buffer,
        };
        var numbers: columns.Column(u32) = .{};
        var result: columns.Chain(info.field_types) = .{};

        fn open(args: u32, count: u32) callconv(.c) *Handle {
            _ = args;
            _ = count;
            var own: memory.Buffer = .{};
            const handle: *Handle = @ptrCast(own.fit(@sizeOf(Handle), 0));
            handle.* = .{ .own = own };
            return handle;
        }

        fn push(handle: *Handle, args: [*]const Array, rows: u32) callconv(.c) i32 {
            memory.reset();
            handle.args = args;
            handle.rows = rows;
            handle.row = 0;
            handle.open_row = null;
            return 0;
        }

        fn pull(handle: *Handle, out: [*]Array) callconv(.c) i32 {
            numbers.clear();
            result.clear();
            while (handle.row < handle.rows and numbers.length < batch) {
                current = @intCast(handle.row);
                if (handle.open_row == null) {
                    if (lacks(takes, handle.args, handle.row)) {
                        handle.row += 1;
                        continue;
                    }
                    handle.open_row = checked(@call(.auto, Rows.init, values(takes, handle.args, handle.row)));
                }
                if (checked(handle.open_row.?.next())) |item| {
                    numbers.add(@intCast(handle.row));
                    result.add(item, 0);
                } else {
                    handle.open_row = null;
                    handle.row += 1;
                }
            }
            if (numbers.length == 0) return if (handle.finished) 2 else 0;
            numbers.give(&out[0]);
            result.give(out + 1);
            return 1;
        }

        fn finish(handle: *Handle) callconv(.c) i32 {
            handle.finished = true;
            return 0;
        }

        fn close(handle: *Handle) callconv(.c) void {
            var own = handle.own;
            own.drop();
        }

        comptime {
            @export(&open, .{ .name = "sm_open." ++ name });
            @export(&push, .{ .name = "sm_push." ++ name });
            @export(&pull, .{ .name = "sm_pull." ++ name });
            @export(&finish, .{ .name = "sm_finish." ++ name });
            @export(&close, .{ .name = "sm_close." ++ name });
        }
    };
}
