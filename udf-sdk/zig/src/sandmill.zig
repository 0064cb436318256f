//! Write functions for Sandmill in Zig.
//!
//!     const sandmill = @import("sandmill");
//!
//!     fn hypotenuse(a: f64, b: f64) f64 {
//!         return @sqrt(a * a + b * b);
//!     }
//!
//!     comptime {
//!         sandmill.package("geometry", "0.1.0");
//!         sandmill.scalar("hypotenuse", hypotenuse, .{ .args = &.{ "a", "b" } });
//!     }
//!
//! What a function takes and gives is read from its Zig type: `f64` is DOUBLE, `[]const u8` VARCHAR,
//! `?i64` a BIGINT that may be NULL, `[]const i64` a list, a struct an Arrow struct.

const abi = @import("abi.zig");
const kinds = @import("kinds.zig");
const memory = @import("memory.zig");
const types = @import("types.zig");

pub const Unit = types.Unit;
pub const Date = types.Date;
pub const Bytes = types.Bytes;
pub const LargeText = types.LargeText;
pub const LargeBytes = types.LargeBytes;
pub const TextView = types.TextView;
pub const BytesView = types.BytesView;
pub const Interval = types.Interval;
pub const Timestamp = types.Timestamp;
pub const Time = types.Time;
pub const Duration = types.Duration;
pub const Decimal = types.Decimal;
pub const Decimal256 = types.Decimal256;
pub const FixedBytes = types.FixedBytes;
pub const Map = types.Map;

/// What may be said of a function beside its type.
pub const Options = kinds.Options;

/// Names the package; once in each module.
pub fn package(comptime name: []const u8, comptime version: []const u8) void {
    kinds.line("{\"package\":{\"abi\":\"" ++ abi.version ++ "\",\"name\":\"" ++ name ++ "\",\"version\":\"" ++
        version ++ "\",\"language\":\"zig\",\"sdk\":\"sandmill-zig 0.1.0\"}}");
}

/// A function of one row. With `!T` as its result it may fail.
pub fn scalar(comptime name: []const u8, comptime function: anytype, comptime options: Options) void {
    _ = kinds.Scalar(name, function, options);
}

/// An aggregate. The fields of `State` with their defaults are an empty group; it has `update(self,
/// …)`, `merge(self, other)`, `finish(self)` and, to make moving frames cheap, `retract(self, …)`.
pub fn aggregate(comptime name: []const u8, comptime State: type, comptime options: Options) void {
    _ = kinds.Aggregate(name, State, options);
}

/// A window function: `next(self, …)` is called for each row of a partition, in order.
pub fn window(comptime name: []const u8, comptime State: type, comptime options: Options) void {
    _ = kinds.Window(name, State, options);
}

/// A table function: `init(…)` takes a row of arguments, `next(self)` gives one row after the other
/// as a struct, and null behind the last.
pub fn table(comptime name: []const u8, comptime Rows: type, comptime options: Options) void {
    _ = kinds.Table(name, Rows, options);
}

/// Ends the call with an error; the row is known.
pub const fail = kinds.fail;

/// Room for `count` values until the call ends, for results.
pub const make = memory.make;

/// The severity of a line in the job's log.
pub const Level = enum(i32) { debug = 0, info = 1, warn = 2, err = 3 };

/// Writes a line to the job's log.
pub fn log(comptime level: Level, message: []const u8) void {
    const number: i32 = switch (level) {
        .debug => 0,
        .info => 1,
        .warn => 2,
        .err => 3,
    };
    abi.log(number, message.ptr, message.len);
}

/// 64 random bits from a generator seeded by job and partition. Not for secrets.
pub fn random() i64 {
    return abi.random();
}

/// Microseconds since 1970 at the start of the query.
pub fn now() i64 {
    return abi.now();
}
