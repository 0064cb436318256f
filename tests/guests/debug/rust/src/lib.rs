//! A guest with debug information: tests look for the marked lines.

sandmill::package!();

fn share(of: i64, among: i64) -> i64 {
    of / among // line: rust panics
}

/// Divides.
#[sandmill::udf]
pub fn rust_share(of: i64, among: i64) -> i64 {
    share(of, among)
}

// Not inlined: optimisers merge copies of a trap, and what is merged has no line.
#[inline(never)]
fn positive(x: i64) -> i64 {
    // One line: the machine tests and traps in one instruction.
    if x < 0 { core::arch::wasm32::unreachable() } // line: rust traps
    x
}

/// Stops.
#[sandmill::udf]
pub fn rust_stop(x: i64) -> i64 {
    positive(x)
}
