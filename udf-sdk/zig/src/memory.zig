//! Memory: whole pages that are kept and used again, buffers of them, and an arena for one call.

const abi = @import("abi.zig");

const page = 65536;
const Gap = struct { start: usize = 0, size: usize = 0 };
var gaps: [16]Gap = @splat(.{});

fn pages(size: usize) usize {
    return if (size == 0) page else (size + page - 1) & ~@as(usize, page - 1);
}

fn alloc(wanted: usize) ?[*]align(64) u8 {
    if (wanted > 0x7fff_0000) return null;
    const size = pages(wanted);
    var best: ?*Gap = null;
    for (&gaps) |*gap| {
        if (gap.size >= size and (best == null or gap.size < best.?.size)) best = gap;
    }
    if (best) |gap| {
        const start = gap.start;
        gap.start += size;
        gap.size -= size;
        return @ptrFromInt(start);
    }
    const grown = @wasmMemoryGrow(0, size / page);
    if (grown < 0) return null;
    return @ptrFromInt(@as(usize, @intCast(grown)) * page);
}

fn free(start: usize, wanted: usize) void {
    const size = pages(wanted);
    var least = &gaps[0];
    for (&gaps) |*gap| {
        if (gap.size > 0 and gap.start + gap.size == start) {
            gap.size += size;
            return;
        }
        if (gap.size > 0 and start + size == gap.start) {
            gap.start = start;
            gap.size += size;
            return;
        }
        if (gap.size < least.size) least = gap;
    }
    if (least.size < size) least.* = .{ .start = start, .size = size };
}

export fn sm_alloc(size: u32, alignment: u32) ?[*]align(64) u8 {
    _ = alignment; // Pages are aligned to anything the host asks for.
    return alloc(size);
}

export fn sm_free(ptr: usize, size: u32, alignment: u32) void {
    _ = alignment;
    free(ptr, size);
}

/// Ends the call: there is no memory left.
pub fn exhausted() noreturn {
    abi.fail(abi.NO_MEMORY, -1, "", 0);
    unreachable;
}

/// Memory that grows and keeps its contents.
pub const Buffer = struct {
    data: ?[*]align(64) u8 = null,
    size: usize = 0,

    /// Makes it at least `size` bytes large, keeping the first `keep`.
    pub fn fit(self: *Buffer, size: usize, keep: usize) [*]align(64) u8 {
        if (self.data) |data| {
            if (size <= self.size) return data;
        }
        const larger = pages(size + self.size / 2);
        const data = alloc(larger) orelse exhausted();
        if (self.data) |old| {
            @memcpy(data[0..keep], old[0..keep]);
            free(@intFromPtr(old), self.size);
        }
        self.data = data;
        self.size = larger;
        return data;
    }

    /// Gives its memory back.
    pub fn drop(self: *Buffer) void {
        if (self.data) |data| free(@intFromPtr(data), self.size);
        self.* = .{};
    }
};

var chunks: [24]Buffer = @splat(.{});
var chunk: usize = 0;
var used: usize = 0;

/// Forgets what `make` gave.
pub fn reset() void {
    chunk = 0;
    used = 0;
}

/// Room for `count` values until the call ends.
pub fn make(comptime T: type, count: usize) []T {
    if (count == 0) return &.{};
    const bytes = count * @sizeOf(T);
    while (chunk < chunks.len) : (chunk += 1) {
        const start = (used + 15) & ~@as(usize, 15);
        if (chunks[chunk].data == null) {
            const doubled = @as(usize, page) << @intCast(@min(chunk, 12));
            _ = chunks[chunk].fit(@max(bytes, doubled), 0);
        }
        if (start + bytes <= chunks[chunk].size) {
            used = start + bytes;
            const place: [*]T = @ptrCast(@alignCast(chunks[chunk].data.? + start));
            return place[0..count];
        }
        used = 0;
    }
    exhausted();
}
