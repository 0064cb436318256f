//! How Zig's types and Arrow's belong together. A plain struct is an Arrow struct; the types here
//! stand for what Zig has no type of its own for.

/// A unit of time.
pub const Unit = enum { second, millisecond, microsecond, nanosecond };

fn letter(comptime unit: Unit) []const u8 {
    return switch (unit) {
        .second => "s",
        .millisecond => "m",
        .microsecond => "u",
        .nanosecond => "n",
    };
}

/// A value with an Arrow format string.
pub fn Formatted(comptime Value: type, comptime text: []const u8) type {
    return struct {
        value: Value,
        pub const sandmill_format: []const u8 = text;
    };
}

/// Days since 1970.
pub const Date = Formatted(i32, "tdD");
/// Bytes that are not text.
pub const Bytes = Formatted([]const u8, "z");
/// Text and bytes with offsets of 64 bits, and as views.
pub const LargeText = Formatted([]const u8, "U");
pub const LargeBytes = Formatted([]const u8, "Z");
pub const TextView = Formatted([]const u8, "vu");
pub const BytesView = Formatted([]const u8, "vz");
/// Months, days and nanoseconds.
pub const Interval = Formatted(extern struct { months: i32, days: i32, nanoseconds: i64 }, "tin");

/// A moment; the zone may be empty.
pub fn Timestamp(comptime unit: Unit, comptime zone: []const u8) type {
    return Formatted(i64, "ts" ++ letter(unit) ++ ":" ++ zone);
}
/// A time of day.
pub fn Time(comptime unit: Unit) type {
    const small = unit == .second or unit == .millisecond;
    return Formatted(if (small) i32 else i64, "tt" ++ letter(unit));
}
/// A span of time.
pub fn Duration(comptime unit: Unit) type {
    return Formatted(i64, "tD" ++ letter(unit));
}
/// A decimal number of at most 38 digits, without its point.
pub fn Decimal(comptime precision: u8, comptime scale: u8) type {
    return Formatted(i128, "d:" ++ number(precision) ++ "," ++ number(scale));
}
/// A decimal number of at most 76 digits; the lowest word comes first.
pub fn Decimal256(comptime precision: u8, comptime scale: u8) type {
    return Formatted([4]u64, "d:" ++ number(precision) ++ "," ++ number(scale) ++ ",256");
}
/// So many bytes.
pub fn FixedBytes(comptime width: usize) type {
    return Formatted([width]u8, "w:" ++ number(width));
}
/// A map.
pub fn Map(comptime Key: type, comptime Value: type) type {
    return struct {
        entries: []const Entry,
        pub const sandmill_map = true;
        pub const Entry = struct { key: Key, value: Value };
    };
}

/// A number as text.
pub fn number(comptime value: usize) []const u8 {
    if (value < 10) return &[1]u8{'0' + value};
    return number(value / 10) ++ &[1]u8{'0' + value % 10};
}

/// How the values of a type lie in buffers.
pub const Layout = enum { bits, fixed, bytes, large_bytes, views, list, fixed_list, fields, map };

/// The type without its `?`.
pub fn Present(comptime T: type) type {
    return switch (@typeInfo(T)) {
        .optional => |optional| optional.child,
        else => T,
    };
}

pub fn layout(comptime T: type) Layout {
    return switch (@typeInfo(T)) {
        .bool => .bits,
        .int, .float => .fixed,
        .pointer => |pointer| if (pointer.child == u8) .bytes else .list,
        .array => .fixed_list,
        .@"struct" => if (@hasDecl(T, "sandmill_format"))
            switch (T.sandmill_format[0]) {
                'z' => .bytes,
                'U', 'Z' => .large_bytes,
                'v' => .views,
                else => .fixed,
            }
        else if (@hasDecl(T, "sandmill_map"))
            .map
        else
            .fields,
        else => @compileError("Arrow has no type for " ++ @typeName(T)),
    };
}

/// The types inside.
pub fn inside(comptime T: type) []const type {
    return switch (layout(T)) {
        .list => &.{@typeInfo(T).pointer.child},
        .fixed_list => &.{@typeInfo(T).array.child},
        .fields => @typeInfo(T).@"struct".field_types,
        .map => &.{T.Entry},
        else => &.{},
    };
}

/// The type as members of a JSON object.
pub fn json(comptime T: type) []const u8 {
    const Value = Present(T);
    const format: []const u8 = switch (@typeInfo(Value)) {
        .bool => "b",
        .int => |int| switch (int.bits) {
            8 => if (int.signedness == .signed) "c" else "C",
            16 => if (int.signedness == .signed) "s" else "S",
            32 => if (int.signedness == .signed) "i" else "I",
            64 => if (int.signedness == .signed) "l" else "L",
            else => @compileError("Arrow has no integers of this width"),
        },
        .float => |float| switch (float.bits) {
            16 => "e",
            32 => "f",
            64 => "g",
            else => @compileError("Arrow has no floats of this width"),
        },
        else => switch (layout(Value)) {
            .bytes => if (@typeInfo(Value) == .pointer) "u" else Value.sandmill_format,
            .list => "+l",
            .fixed_list => "+w:" ++ number(@typeInfo(Value).array.len),
            .fields => "+s",
            .map => "+m",
            else => Value.sandmill_format,
        },
    };
    const start = "\"type\":\"" ++ format ++ "\"";
    const children: []const u8 = switch (layout(Value)) {
        .list, .fixed_list => member("item", inside(Value)[0]),
        .fields => members(Value),
        .map => members(Value.Entry),
        else => return start,
    };
    return start ++ ",\"children\":[" ++ children ++ "]";
}

/// A type inside of another. It may be NULL, as what SQL makes may: types that promise otherwise do
/// not fit together.
fn member(comptime name: []const u8, comptime T: type) []const u8 {
    return "{\"name\":\"" ++ name ++ "\"," ++ json(T) ++ "}";
}

fn members(comptime T: type) []const u8 {
    const info = @typeInfo(T).@"struct";
    var text: []const u8 = "";
    for (info.field_names, info.field_types, 0..) |name, Field, n| {
        text = text ++ (if (n == 0) "" else ",") ++ member(name, Field);
    }
    return text;
}

/// A column, NULL only where Zig's type says so.
fn field(comptime name: []const u8, comptime T: type) []const u8 {
    const null_too = if (@typeInfo(T) == .optional) "" else ",\"nullable\":false";
    return "{\"name\":\"" ++ name ++ "\"," ++ json(T) ++ null_too ++ "}";
}

/// The fields of a struct as columns.
pub fn fields(comptime T: type) []const u8 {
    const info = @typeInfo(T).@"struct";
    var text: []const u8 = "";
    for (info.field_names, info.field_types, 0..) |name, Field, n| {
        text = text ++ (if (n == 0) "" else ",") ++ field(name, Field);
    }
    return text;
}
