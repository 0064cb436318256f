//! Reads values out of arrays and writes columns of them.

const abi = @import("abi.zig");
const memory = @import("memory.zig");
const types = @import("types.zig");

const Array = abi.ArrowArray;

fn buffer(comptime T: type, array: *const Array, n: usize) [*]const T {
    return @ptrCast(@alignCast(array.buffers.?[n].?));
}

fn bit(bytes: [*]const u8, n: usize) bool {
    return (bytes[n / 8] >> @intCast(n % 8)) & 1 != 0;
}

/// Whether a row is NULL.
pub fn isNull(array: *const Array, row: usize) bool {
    if (array.null_count == 0) return false;
    if (array.n_buffers == 0) return true;
    const bits = array.buffers.?[0] orelse return false;
    return !bit(@ptrCast(bits), if (array.length == 1) 0 else row);
}

/// The value of a row. Texts point into the array; lists without `?` do, too, others are copied.
pub inline fn read(comptime T: type, array: *const Array, row: usize) T {
    if (@typeInfo(T) == .optional) {
        return if (isNull(array, row)) null else present(types.Present(T), array, row);
    }
    return present(T, array, row);
}

inline fn present(comptime T: type, array: *const Array, row: usize) T {
    const at = if (array.length == 1) 0 else row;
    switch (comptime types.layout(T)) {
        .bits => return bit(buffer(u8, array, 1), at),
        .fixed => {
            if (@typeInfo(T) == .@"struct") return .{ .value = buffer(@FieldType(T, "value"), array, 1)[at] };
            return buffer(T, array, 1)[at];
        },
        .bytes => {
            const offsets = buffer(i32, array, 1);
            return text(T, buffer(u8, array, 2)[@intCast(offsets[at])..@intCast(offsets[at + 1])]);
        },
        .large_bytes => {
            const offsets = buffer(i64, array, 1);
            return text(T, buffer(u8, array, 2)[@intCast(offsets[at])..@intCast(offsets[at + 1])]);
        },
        .views => {
            const view = buffer(u32, array, 1) + at * 4;
            if (view[0] <= 12) {
                const bytes: [*]const u8 = @ptrCast(view + 1);
                return text(T, bytes[0..view[0]]);
            }
            return text(T, buffer(u8, array, 2 + view[2])[view[3]..][0..view[0]]);
        },
        .list => return list(@typeInfo(T).pointer.child, array, at),
        .fixed_list => {
            const info = @typeInfo(T).array;
            var result: T = undefined;
            for (&result, at * info.len..) |*item, n| item.* = read(info.child, array.children.?[0], n);
            return result;
        },
        .fields => {
            const info = @typeInfo(T).@"struct";
            var result: T = undefined;
            inline for (info.field_names, info.field_types, 0..) |name, Field, n| {
                @field(result, name) = read(Field, array.children.?[n], at);
            }
            return result;
        },
        .map => return .{ .entries = list(T.Entry, array, at) },
    }
}

inline fn text(comptime T: type, bytes: []const u8) T {
    return if (@typeInfo(T) == .@"struct") .{ .value = bytes } else bytes;
}

fn list(comptime Item: type, array: *const Array, at: usize) []const Item {
    const offsets = buffer(i32, array, 1);
    const start: usize = @intCast(offsets[at]);
    const end: usize = @intCast(offsets[at + 1]);
    const items = array.children.?[0];
    if (start == end) return &.{};
    if (@typeInfo(Item) == .int or @typeInfo(Item) == .float) return buffer(Item, items, 1)[start..end];
    const result = memory.make(Item, end - start);
    for (result, start..) |*item, n| item.* = read(Item, items, n);
    return result;
}

/// Columns of these types, one behind the other.
pub fn Chain(comptime all: []const type) type {
    return struct {
        const Self = @This();
        pub const count = all.len;
        first: if (all.len == 0) void else Column(all[0]) = if (all.len == 0) {} else .{},
        rest: if (all.len < 2) void else Chain(all[1..]) = if (all.len < 2) {} else .{},

        pub fn clear(self: *Self) void {
            if (all.len > 0) self.first.clear();
            if (all.len > 1) self.rest.clear();
        }
        /// Adds the fields of a struct, from the one with number `n`.
        pub fn add(self: *Self, value: anytype, comptime n: usize) void {
            const names = @typeInfo(@TypeOf(value)).@"struct".field_names;
            if (all.len > 0) self.first.add(@field(value, names[n]));
            if (all.len > 1) self.rest.add(value, n + 1);
        }
        pub fn addZero(self: *Self) void {
            if (all.len > 0) self.first.addZero();
            if (all.len > 1) self.rest.addZero();
        }
        pub fn give(self: *Self, out: [*]Array) void {
            if (all.len > 0) self.first.give(&out[0]);
            if (all.len > 1) self.rest.give(out + 1);
        }
    };
}

/// A column that is written.
pub fn Column(comptime T: type) type {
    const Value = types.Present(T);
    const layout = types.layout(Value);
    const within = types.inside(Value);
    return struct {
        const Self = @This();
        length: usize = 0,
        nulls: usize = 0,
        used: usize = 0,
        validity: memory.Buffer = .{},
        values: memory.Buffer = .{},
        data: memory.Buffer = .{},
        children: Chain(within) = .{},
        arrays: [within.len]Array = undefined,
        pointers: [within.len]*Array = undefined,
        buffers: [4]?*const anyopaque = undefined,
        data_length: i64 = 0,

        const width = switch (layout) {
            .fixed => if (@typeInfo(Value) == .@"struct") @sizeOf(@FieldType(Value, "value")) else @sizeOf(Value),
            .views => 16,
            .large_bytes => 8,
            else => 4,
        };
        const has_offsets = layout == .bytes or layout == .large_bytes or layout == .list or layout == .map;
        const Offset = if (layout == .large_bytes) i64 else i32;

        /// Empties it.
        pub fn clear(self: *Self) void {
            self.length = 0;
            self.nulls = 0;
            self.used = 0;
            @memset(self.values.fit(16, 0)[0..16], 0);
            self.children.clear();
        }

        /// Room for so many more values, so that adding them does not move the buffer.
        pub fn reserve(self: *Self, rows: usize) void {
            if (layout == .fixed or has_offsets) _ = self.values.fit((self.length + rows + 1) * width, (self.length + 1) * width);
        }

        inline fn room(self: *Self, comptime Item: type, n: usize) *Item {
            const data = self.values.fit((n + 1) * @sizeOf(Item), n * @sizeOf(Item));
            const items: [*]Item = @ptrCast(@alignCast(data));
            return &items[n];
        }

        inline fn longer(self: *Self) void {
            self.length += 1;
            if (self.nulls > 0) self.bits(self.length);
        }

        /// Validity for so many rows; fresh bits say that there is a value.
        fn bits(self: *Self, rows: usize) void {
            const before = self.validity.size;
            if ((rows + 7) / 8 <= before) return;
            const data = self.validity.fit((rows + 7) / 8, before);
            @memset(data[before..self.validity.size], 0xff);
        }

        /// Adds NULL.
        pub fn addNull(self: *Self) void {
            self.addZero();
            const row = self.length - 1;
            if (self.nulls == 0) {
                if (self.validity.data) |data| @memset(data[0..self.validity.size], 0xff);
            }
            self.nulls += 1;
            self.bits(self.length);
            self.validity.data.?[row / 8] &= ~(@as(u8, 1) << @intCast(row % 8));
        }

        /// Adds a value.
        pub inline fn add(self: *Self, value: T) void {
            if (@typeInfo(T) == .optional) {
                if (value) |found| self.put(found) else self.addNull();
            } else {
                self.put(value);
            }
        }

        inline fn put(self: *Self, value: Value) void {
            switch (layout) {
                .bits => {
                    const byte = self.room(u8, self.length / 8);
                    if (self.length % 8 == 0) byte.* = 0;
                    byte.* |= @as(u8, @intFromBool(value)) << @intCast(self.length % 8);
                },
                .fixed => {
                    if (@typeInfo(Value) == .@"struct") {
                        self.room(@FieldType(Value, "value"), self.length).* = value.value;
                    } else {
                        self.room(Value, self.length).* = value;
                    }
                },
                .bytes, .large_bytes => {
                    self.append(if (@typeInfo(Value) == .@"struct") value.value else value);
                    self.room(Offset, self.length + 1).* = @intCast(self.used);
                },
                .views => self.view(value.value),
                .list, .map => {
                    for (if (layout == .map) value.entries else value) |item| self.children.first.add(item);
                    self.room(Offset, self.length + 1).* = @intCast(self.children.first.length);
                },
                .fixed_list => for (value) |item| self.children.first.add(item),
                .fields => self.children.add(value, 0),
            }
            self.longer();
        }

        fn append(self: *Self, bytes: []const u8) void {
            if (self.used + bytes.len > 0x7fff_ffff) memory.exhausted();
            const data = self.data.fit(self.used + bytes.len, self.used);
            @memcpy(data[self.used..][0..bytes.len], bytes);
            self.used += bytes.len;
        }

        fn view(self: *Self, bytes: []const u8) void {
            const to = self.room([4]u32, self.length);
            to.* = .{ @intCast(bytes.len), 0, 0, 0 };
            const start: [*]u8 = @ptrCast(&to[1]);
            if (bytes.len <= 12) {
                @memcpy(start[0..bytes.len], bytes);
            } else {
                @memcpy(start[0..4], bytes[0..4]);
                to[3] = @intCast(self.used);
                self.append(bytes);
            }
        }

        /// Adds zero, an empty text, an empty list or the like.
        pub fn addZero(self: *Self) void {
            switch (layout) {
                .bits => {
                    const byte = self.room(u8, self.length / 8);
                    if (self.length % 8 == 0) byte.* = 0;
                },
                .fixed, .views => @memset(self.room([width]u8, self.length), 0),
                .bytes, .large_bytes => self.room(Offset, self.length + 1).* = @intCast(self.used),
                .list, .map => self.room(Offset, self.length + 1).* = @intCast(self.children.first.length),
                .fixed_list => for (0..@typeInfo(Value).array.len) |_| self.children.first.addZero(),
                .fields => self.children.addZero(),
            }
            self.longer();
        }

        /// Hands it over. It stays as it is until it is cleared.
        pub fn give(self: *Self, out: *Array) void {
            if (within.len > 0) {
                @memset(&self.arrays, empty);
                self.children.give(&self.arrays);
                for (&self.pointers, &self.arrays) |*pointer, *array| pointer.* = array;
                out.children = &self.pointers;
            }
            self.data_length = @intCast(self.used);
            self.buffers = .{
                if (self.nulls > 0) self.validity.data.? else null,
                self.values.data.?,
                self.data.fit(1, self.used),
                &self.data_length,
            };
            out.length = @intCast(self.length);
            out.null_count = @intCast(self.nulls);
            out.n_buffers = switch (layout) {
                .bits, .fixed, .list, .map => 2,
                .bytes, .large_bytes => 3,
                .views => 4,
                .fixed_list, .fields => 1,
            };
            out.n_children = within.len;
            out.buffers = &self.buffers;
        }
    };
}

const empty: Array = .{
    .length = 0,
    .null_count = 0,
    .offset = 0,
    .n_buffers = 0,
    .n_children = 0,
    .buffers = null,
    .children = null,
    .dictionary = null,
    .release = 0,
    .private_data = null,
};
