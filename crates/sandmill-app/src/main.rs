//! The program `sandmill`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: this role limits itself and must not inherit what others set up.
    if std::env::args().nth(1).as_deref() == Some("compile-module") {
        return sandmill_sandbox::compile_role();
    }
    sandmill_app::cli::main()
}
