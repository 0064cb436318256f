//! The wasmtime engine: one configuration for compiling and running, and the epoch clock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandmill_abi::limits;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm, WasmBacktraceDetails,
};

use crate::error::Error;
use crate::inspect::{TABLE_ELEMENTS, TABLES};

/// Bytes of a memory that stay resident when its slot is reused: they are put back by hand, which is
/// cheaper than the page faults that follow giving them back. Where the kernel can tell which pages
/// were written (Linux 6.7), these are the written ones; elsewhere they are the first ones.
const KEEP_WRITTEN: usize = 256 << 10;
const KEEP_FIRST: usize = 64 << 10;

/// How hard the compiler tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Optimised code.
    Full,
    /// The fast way, for modules that are too much for the optimiser.
    Least,
}

/// Whether code must remember its places. The compiler forgets those of functions that it inlines, and
/// whatever inlines is another engine to wasmtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// For modules without debug information.
    Forgotten,
    /// For modules with it.
    Kept,
}

/// What decides over compiled code; the same in the compiler process and in the server.
pub(crate) fn config(effort: Effort, lines: Lines, stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .native_unwind_info(false)
        .parallel_compilation(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(limits::FRAMES))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Inlining makes small guest functions (libm above all) a fifth faster. Code is only loaded when
    // it was compiled with the inlining that the engine has.
    config.compiler_inlining(match lines {
        Lines::Forgotten => wasmtime::Inlining::Yes,
        Lines::Kept => wasmtime::Inlining::No,
    });
    match effort {
        Effort::Full => config.cranelift_opt_level(OptLevel::Speed),
        Effort::Least => config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass),
    };
    config
}

/// The engine that instances run in.
pub(crate) fn engine(stack: usize, memory: usize, instances: u32) -> Result<Engine, Error> {
    let keep = match PoolingAllocationConfig::is_pagemap_scan_available() {
        true => KEEP_WRITTEN,
        false => KEEP_FIRST,
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .max_tables_per_module(TABLES)
        .max_memories_per_module(1)
        .table_elements(TABLE_ELEMENTS as usize)
        .max_memory_size(memory)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(keep.min(memory))
        .table_keep_resident(64 << 10);
    let mut config = config(Effort::Full, Lines::Forgotten, stack);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(|e| Error::Internal(format!("the engine does not start: {e:#}")))
}

/// The engine of modules with debug information. It has no pool: there are few such instances, they
/// count among the others, and a pool reserves its address space at once.
pub(crate) fn lines_engine(stack: usize) -> Result<Engine, Error> {
    let config = config(Effort::Full, Lines::Kept, stack);
    Engine::new(&config).map_err(|e| Error::Internal(format!("the engine does not start: {e:#}")))
}

/// Names everything that compiled code depends on: wasmtime's version, target, CPU, configuration.
pub(crate) fn compatibility(engine: &Engine) -> String {
    // Fixed keys: the same in every process.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // The number counts changes of the form of artifacts.
    format!("{:016x}-2", hasher.finish())
}

/// Time between two looks at deadlines and cancellations.
const TICK: Duration = Duration::from_millis(1);

/// Advances the engines' epochs on a thread of its own, only while there are instances.
pub(crate) struct Clock(Arc<(Mutex<Running>, Condvar)>);

struct Running {
    instances: usize,
    stop: bool,
}

impl Clock {
    pub(crate) fn start(engines: [Engine; 2]) -> Result<Self, Error> {
        let shared = Arc::new((
            Mutex::new(Running {
                instances: 0,
                stop: false,
            }),
            Condvar::new(),
        ));
        let clock = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("sandbox-clock".into())
            .spawn(move || {
                let (running, changed) = &*clock;
                loop {
                    let mut state = lock(running);
                    while state.instances == 0 && !state.stop {
                        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    if state.stop {
                        return;
                    }
                    drop(state);
                    std::thread::sleep(TICK);
                    engines.iter().for_each(Engine::increment_epoch);
                }
            })
            .map_err(|e| Error::Internal(format!("no thread for the clock: {e}")))?;
        Ok(Self(shared))
    }

    pub(crate) fn enter(&self) {
        let mut state = lock(&self.0.0);
        state.instances += 1;
        if state.instances == 1 {
            self.0.1.notify_one();
        }
    }

    pub(crate) fn leave(&self) {
        lock(&self.0.0).instances -= 1;
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        lock(&self.0.0).stop = true;
        self.0.1.notify_one();
    }
}

/// Locks; the data behind our locks stays whole even if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "loading compiled code is what is tested")]
    fn code_of_every_effort_loads() {
        let (stack, wasm) = (512 << 10, wat::parse_str("(module (func (export \"f\")))"));
        let wasm = wasm.expect("text");
        let engine = engine(stack, 1 << 20, 1).expect("starts");
        for effort in [Effort::Full, Effort::Least] {
            let compiler =
                Engine::new(&config(effort, Lines::Forgotten, stack)).expect("a compiler");
            let code = compiler.precompile_module(&wasm).expect("compiles");
            // SAFETY: the code was made by this very library, two lines above.
            let loaded = unsafe { wasmtime::Module::deserialize(&engine, &code) };
            assert!(
                loaded.is_ok(),
                "{effort:?}: {:#}",
                loaded.expect_err("refused")
            );
        }
    }
}
