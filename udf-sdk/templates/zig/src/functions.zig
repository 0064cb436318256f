const sandmill = @import("sandmill");

fn hypotenuse(a: f64, b: f64) f64 {
    return @sqrt(a * a + b * b);
}

comptime {
    sandmill.package("NAME", "0.1.0");
    sandmill.scalar("hypotenuse", hypotenuse, .{
        .args = &.{ "a", "b" },
        .doc = "The long side of a right triangle.",
    });
}
