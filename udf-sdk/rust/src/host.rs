//! What a function can ask of the host. On other targets there are stand-ins for tests.

use crate::abi;

/// How urgent a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug = 0,
    /// Normal.
    Info = 1,
    /// Worth a look.
    Warn = 2,
    /// Something failed.
    Error = 3,
}

/// Writes a line to the job's log.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: pointer and length are those of a text that lives during the call.
    unsafe {
        abi::log(level as i32, message.as_ptr() as u32, message.len() as u32);
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Microseconds since 1970 at the start of the query; the same for all its calls.
pub fn now() -> i64 {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: takes nothing.
    unsafe {
        abi::now()
    }
    #[cfg(not(target_arch = "wasm32"))]
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// 64 random bits, from a generator seeded by the job. Not for secrets.
pub fn random() -> u64 {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: takes nothing.
    unsafe {
        abi::random() as u64
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    }
}

/// Adds to counter `id`, 0 to 15, of the function.
pub fn metric(id: u32, value: i64) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: takes numbers.
    unsafe {
        abi::metric(id as i32, value);
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (id, value);
}

/// Whether the job was cancelled. A long computation may look; it is stopped in any case.
pub fn cancelled() -> bool {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: takes nothing.
    unsafe {
        abi::cancelled() != 0
    }
    #[cfg(not(target_arch = "wasm32"))]
    false
}

/// Ends the call with an error. `row` is -1 when none is to blame.
#[cfg(target_arch = "wasm32")]
#[cold]
#[inline(never)]
pub(crate) fn fail(code: i32, row: i64, message: &str) -> ! {
    // SAFETY: pointer and length are those of a text that lives during the call, which never returns.
    unsafe {
        abi::fail(code, row, message.as_ptr() as u32, message.len() as u32);
    }
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_arch = "wasm32"))]
const _: i32 = abi::ERROR;
