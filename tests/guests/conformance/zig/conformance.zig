//! The conformance functions, in Zig. udf-sdk/spec/conformance/cases.json says what they do.

const sandmill = @import("sandmill");

fn Identity(comptime T: type) type {
    return struct {
        fn call(x: T) T {
            return x;
        }
    };
}

fn identity(comptime name: []const u8, comptime T: type) void {
    sandmill.scalar(name, Identity(T).call, .{ .args = &.{"x"}, .doc = "Gives its argument back." });
}

const Point = struct { x: ?f64, y: ?i64 };

fn addOrZero(a: ?i64, b: ?i64) i64 {
    return (a orelse 0) +% (b orelse 0);
}

fn even(a: i64) ?i64 {
    return if (@rem(a, 2) == 0) a else null;
}

fn root(x: f64) f64 {
    if (x < 0) sandmill.fail("the argument is negative");
    return @sqrt(x);
}

fn joinText(a: []const u8, b: []const u8) []const u8 {
    const both = sandmill.make(u8, a.len + b.len);
    @memcpy(both[0..a.len], a);
    @memcpy(both[a.len..], b);
    return both;
}

fn repeatText(text: []const u8, times: i32) ?[]const u8 {
    if (times < 0) return null;
    const count: usize = @intCast(times);
    if (@as(u64, text.len) * count > 0x7fff_ffff) sandmill.fail("the result is too long");
    const result = sandmill.make(u8, text.len * count);
    for (0..count) |n| @memcpy(result[n * text.len ..][0..text.len], text);
    return result;
}

fn isBlank(text: ?[]const u8) bool {
    return if (text) |found| found.len == 0 else true;
}

fn answer() i32 {
    return 42;
}

fn logged(x: i64) i64 {
    sandmill.log(.info, "a value");
    return x;
}

fn fears13(x: i64) i64 {
    if (x == 13) sandmill.fail("thirteen");
    return x;
}

fn axpy(a: f64, x: f64, y: f64) f64 {
    return a * x + y;
}

fn listSum(x: []const ?i64) i64 {
    var sum: i64 = 0;
    for (x) |item| sum +%= item orelse 0;
    return sum;
}

fn makeList(n: i64) []const i64 {
    if (n > 0x0fff_ffff) sandmill.fail("the list is too long");
    const result = sandmill.make(i64, @intCast(@max(n, 0)));
    for (result, 0..) |*item, at| item.* = @intCast(at);
    return result;
}

const MySum = struct {
    sum: i64 = 0,
    count: i64 = 0,

    pub fn update(self: *MySum, x: i64) void {
        self.sum +%= x;
        self.count += 1;
    }
    pub fn retract(self: *MySum, x: i64) void {
        self.sum -%= x;
        self.count -= 1;
    }
    pub fn merge(self: *MySum, other: MySum) void {
        self.sum +%= other.sum;
        self.count += other.count;
    }
    pub fn finish(self: *const MySum) ?i64 {
        return if (self.count == 0) null else self.sum;
    }
};

const MyAvg = struct {
    sum: f64 = 0,
    count: i64 = 0,

    pub fn update(self: *MyAvg, x: f64) void {
        self.sum += x;
        self.count += 1;
    }
    pub fn retract(self: *MyAvg, x: f64) void {
        self.sum -= x;
        self.count -= 1;
    }
    pub fn merge(self: *MyAvg, other: MyAvg) void {
        self.sum += other.sum;
        self.count += other.count;
    }
    pub fn finish(self: *const MyAvg) ?f64 {
        const count: f64 = @floatFromInt(self.count);
        return if (self.count == 0) null else self.sum / count;
    }
};

const GeoMean = struct {
    logs: f64 = 0,
    count: i64 = 0,

    pub fn update(self: *GeoMean, x: f64) void {
        self.logs += @log(x);
        self.count += 1;
    }
    pub fn merge(self: *GeoMean, other: GeoMean) void {
        self.logs += other.logs;
        self.count += other.count;
    }
    pub fn finish(self: *const GeoMean) ?f64 {
        const count: f64 = @floatFromInt(self.count);
        return if (self.count == 0) null else @exp(self.logs / count);
    }
};

const RunningSum = struct {
    sum: i64 = 0,

    pub fn next(self: *RunningSum, x: i64) i64 {
        self.sum +%= x;
        return self.sum;
    }
};

const RepeatRows = struct {
    text: []const u8,
    n: i64,
    i: i64 = 0,

    pub fn init(text: []const u8, n: i64) RepeatRows {
        return .{ .text = text, .n = n };
    }
    pub fn next(self: *RepeatRows) ?struct { text: []const u8, i: i64 } {
        if (self.i >= self.n) return null;
        self.i += 1;
        return .{ .text = self.text, .i = self.i - 1 };
    }
};

const SplitWords = struct {
    rest: []const u8,

    pub fn init(text: []const u8) SplitWords {
        return .{ .rest = text };
    }
    pub fn next(self: *SplitWords) ?struct { word: []const u8 } {
        while (self.rest.len > 0 and self.rest[0] == ' ') self.rest = self.rest[1..];
        var end: usize = 0;
        while (end < self.rest.len and self.rest[end] != ' ') end += 1;
        const word = self.rest[0..end];
        self.rest = self.rest[end..];
        return if (word.len == 0) null else .{ .word = word };
    }
};

comptime {
    sandmill.package("conformance_zig", "0.1.0");
    identity("id_i8", i8);
    identity("id_i16", i16);
    identity("id_i32", i32);
    identity("id_i64", i64);
    identity("id_u8", u8);
    identity("id_u16", u16);
    identity("id_u32", u32);
    identity("id_u64", u64);
    identity("id_f32", f32);
    identity("id_f64", f64);
    identity("id_bool", bool);
    identity("id_text", []const u8);
    identity("id_bytes", sandmill.Bytes);
    identity("id_date", sandmill.Date);
    identity("id_decimal", sandmill.Decimal(10, 2));
    identity("id_timestamp", sandmill.Timestamp(.microsecond, "UTC"));
    identity("id_timestamp_ns", sandmill.Timestamp(.nanosecond, ""));
    identity("id_list_i64", []const ?i64);
    identity("id_list_text", []const ?[]const u8);
    identity("id_struct", Point);
    identity("id_map", sandmill.Map([]const u8, ?i64));
    identity("id_fixed_list", [3]?f64);
    identity("id_time", sandmill.Time(.microsecond));
    identity("id_duration", sandmill.Duration(.microsecond));
    identity("id_interval", sandmill.Interval);
    identity("id_decimal256", sandmill.Decimal256(50, 4));
    identity("id_large_text", sandmill.LargeText);
    identity("id_text_view", sandmill.TextView);
    identity("id_fixed_bytes", sandmill.FixedBytes(4));
    sandmill.scalar("add_or_zero", addOrZero, .{ .args = &.{ "a", "b" }, .doc = "Adds two numbers; NULL counts as 0." });
    sandmill.scalar("even", even, .{ .args = &.{"a"}, .doc = "The number, or NULL where it is odd." });
    sandmill.scalar("root", root, .{ .args = &.{"x"}, .doc = "The square root of a number that is not negative." });
    sandmill.scalar("join_text", joinText, .{ .args = &.{ "a", "b" }, .doc = "Joins two texts." });
    sandmill.scalar("repeat_text", repeatText, .{ .args = &.{ "text", "times" }, .doc = "A text, so many times; NULL for a negative number." });
    sandmill.scalar("is_blank", isBlank, .{ .args = &.{"text"}, .doc = "Whether a text is empty or NULL." });
    sandmill.scalar("answer", answer, .{ .doc = "The answer." });
    sandmill.scalar("roll", sandmill.random, .{ .volatility = .@"volatile", .doc = "A random number for each row." });
    sandmill.scalar("started", sandmill.now, .{ .volatility = .stable, .doc = "Microseconds at the start of the query." });
    sandmill.scalar("logged", logged, .{ .args = &.{"x"}, .volatility = .@"volatile", .doc = "Writes a line to the log and gives its argument back." });
    sandmill.scalar("fears_13", fears13, .{ .args = &.{"x"}, .doc = "Fails on 13." });
    sandmill.scalar("axpy", axpy, .{ .args = &.{ "a", "x", "y" }, .doc = "a * x + y" });
    sandmill.scalar("list_sum", listSum, .{ .args = &.{"x"}, .doc = "The sum of a list's numbers; NULL counts as 0." });
    sandmill.scalar("make_list", makeList, .{ .args = &.{"n"}, .doc = "The numbers from 0, so many." });
    sandmill.aggregate("my_sum", MySum, .{ .args = &.{"x"}, .doc = "The sum." });
    sandmill.aggregate("my_avg", MyAvg, .{ .args = &.{"x"}, .doc = "The mean." });
    sandmill.aggregate("geo_mean", GeoMean, .{ .args = &.{"x"}, .doc = "The geometric mean." });
    sandmill.window("running_sum", RunningSum, .{ .args = &.{"x"}, .doc = "The sum up to each row." });
    sandmill.table("repeat_rows", RepeatRows, .{ .args = &.{ "text", "n" }, .doc = "A row for each number from 0 below n." });
    sandmill.table("split_words", SplitWords, .{ .args = &.{"text"}, .doc = "The words of a text, which spaces part." });
}
