mod aggregate;
mod blame;
mod chain;
mod group;
mod rows;
mod scalar;
mod stream;
mod window;

pub use aggregate::States;
pub use chain::{Operand, Step, can_chain};
pub use group::Groups;
pub use rows::Rows;
pub use scalar::Argument;
pub use stream::{Pulled, Stream};
pub use window::Loaded;

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use sandmill_abi::{BUFFER_ALIGN, limits};
use sandmill_model::FunctionUsage;
use wasmtime::{Memory, Store, TypedFunc, UpdateDeadline, WasmParams, WasmResults};

use crate::context::Context;
use crate::error::{Error, Trap};
use crate::host::{self, State};
use crate::read::{Budget, Promise, allocation, read_within};
use crate::sandbox::{Core, Module};
use crate::slots::Slot;
use crate::trap::explain;
use crate::usage::Meter;
use crate::write::{Plan, Source};

/// Where the time of an instance went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Calls into the guest.
    pub calls: u64,
    /// Rows computed.
    pub rows: u64,
    /// Nanoseconds of copying arguments in.
    pub copy_nanos: u64,
    /// Nanoseconds in the guest.
    pub call_nanos: u64,
    /// Nanoseconds of checking results and copying them out.
    pub validate_nanos: u64,
}

/// A running module for one partition. Not shared between threads while it computes.
pub struct Instance {
    module: Module,
    store: Store<State>,
    memory: Memory,
    alloc: TypedFunc<(i32, i32), i32>,
    free: TypedFunc<(i32, i32, i32), ()>,
    out_free: Option<TypedFunc<i32, ()>>,
    release: u32,
    guest: wasmtime::Instance,
    functions: Vec<Entry>,
    /// Start and size of the arena that arguments are written into.
    arena: (u32, usize),
    /// How often the arena was written: what was laid out before the last time is gone.
    placed: u64,
    /// Handles of aggregates that are open, with their functions.
    handles: HashSet<(usize, i32)>,
    poisoned: bool,
    timings: Timings,
    meter: Meter,
    // Fields drop in order: the store gives its pool slot back before the count does.
    _presence: Presence,
}

/// What an instance knows of one function of its module.
struct Entry {
    name: Arc<str>,
    /// The exports that were called, by their prefix.
    exports: Vec<(&'static str, Box<dyn Any + Send + Sync>)>,
    /// Rows of earlier calls.
    rows: u64,
}

/// Where the arguments of a call lie in the guest's memory.
#[derive(Debug)]
struct Laid {
    /// The arguments' structs.
    base: u32,
    /// The results' structs.
    out: u32,
    /// The plain bytes.
    extras: Vec<u32>,
}

/// An exported function, if it is there. Looking for it by type at once would make an error, with a
/// backtrace, for each that a module may leave out.
fn export<P: WasmParams, R: WasmResults>(
    guest: &wasmtime::Instance,
    store: &mut Store<State>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    let function = guest.get_func(&mut *store, name)?;
    function.typed(&*store).ok()
}

fn missing(name: &str) -> Error {
    Error::Invalid(format!("it does not export `{name}` as it must"))
}

/// Counts the instance in the pool and in the clock.
struct Presence(
    Arc<Core>,
    #[allow(dead_code, reason = "held for its Drop")] Slot,
);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.clock.leave();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.publish();
        if let Some(sink) = &self.store.data().context.usage {
            sink.leave();
        }
    }
}

impl Instance {
    pub(crate) fn new(module: &Module, context: &Arc<Context>) -> Result<Self, Error> {
        let core = &module.0.core;
        let slot = core.slots.take(context)?;
        let started = Instant::now();
        core.clock.enter();
        let presence = Presence(Arc::clone(core), slot);
        let call_limit = context.call_deadline.unwrap_or(core.settings.call_deadline);
        let mut store = Store::new(
            module.0.code.module().engine(),
            State {
                random: host::seed(context),
                context: Arc::clone(context),
                memory: None,
                memory_limit: core.settings.memory_bytes,
                refused_growth: false,
                call_end: Instant::now() + call_limit,
                call_limit,
                running: Arc::from(module.0.manifest.package.as_str()),
                log_lines: 0,
                counters: [0; limits::METRICS],
                http: module.0.manifest.capabilities.http.clone(),
                response: Vec::new(),
            },
        );
        store.limiter(|state| state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        let guest = module
            .0
            .code
            .instantiate(&mut store)
            .map_err(|e| explain(&e, store.data(), None, &module.0.places))?;
        let memory = guest
            .get_memory(&mut store, "memory")
            .ok_or_else(|| missing("memory"))?;
        store.data_mut().memory = Some(memory);
        let alloc = export(&guest, &mut store, "sm_alloc").ok_or_else(|| missing("sm_alloc"))?;
        let free = export(&guest, &mut store, "sm_free").ok_or_else(|| missing("sm_free"))?;
        let out_free = export(&guest, &mut store, "sm_out_free");
        let initialize = export::<(), ()>(&guest, &mut store, "_initialize");
        let init = export::<(), i32>(&guest, &mut store, "sm_init");
        let release = export::<(), i32>(&guest, &mut store, "sm_release_index");
        let entries = module.0.manifest.functions.iter().map(|function| Entry {
            name: Arc::from(function.name.as_str()),
            exports: Vec::new(),
            rows: 0,
        });
        if let Some(sink) = &context.usage {
            sink.enter();
        }
        let mut instance = Self {
            module: module.clone(),
            store,
            memory,
            alloc,
            free,
            out_free,
            release: 0,
            guest,
            functions: entries.collect(),
            arena: (0, 0),
            placed: 0,
            handles: HashSet::new(),
            poisoned: false,
            timings: Timings::default(),
            meter: Meter::new(module.0.manifest.functions.len(), 0),
            _presence: presence,
        };
        if let Some(initialize) = initialize {
            let result = initialize.call(&mut instance.store, ());
            instance.landed(result, None)?;
        }
        if let Some(init) = init {
            let result = init.call(&mut instance.store, ());
            let status = instance.landed(result, None)?;
            instance.succeeded(status)?;
        }
        if let Some(release) = release {
            let result = release.call(&mut instance.store, ());
            instance.release = instance.landed(result, None)?.cast_unsigned();
        }
        let functions = instance.functions.len();
        instance.meter = Meter::new(functions, nanos(started.elapsed()));
        instance.timings = Timings::default();
        Ok(instance)
    }

    /// The module it runs.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Where its time went.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// The function that was called last.
    pub fn last_function(&self) -> Option<usize> {
        self.meter.last()
    }

    /// What each of its functions used, by the index of the function.
    pub fn usage(&mut self) -> &[FunctionUsage] {
        let memory = self.memory.data_size(&self.store) as u64;
        self.meter.functions(&self.timings, memory)
    }

    /// Tells the job's sink what was used since the last time. Dropping an instance does so, too.
    pub fn publish(&mut self) {
        let Some(sink) = self.store.data().context.usage.clone() else {
            return;
        };
        self.usage();
        let names = self.functions.iter().map(|entry| &entry.name);
        self.meter.publish(&sink, self.module.digest(), names);
    }

    /// The counters that the guest keeps through `metric`.
    pub fn counters(&self) -> &[i64] {
        &self.store.data().counters
    }

    /// Bytes of the guest's memory; it never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// What its memory may grow to.
    pub fn memory_limit(&self) -> usize {
        self.store.data().memory_limit
    }

    /// Whether it failed and must be thrown away.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// An export of a function: the prefix of the ABI and the function's name. Found once.
    fn export<P: WasmParams, R: WasmResults>(
        &mut self,
        function: usize,
        prefix: &'static str,
    ) -> Result<TypedFunc<P, R>, Error>
    where
        TypedFunc<P, R>: Clone + Send + Sync + 'static,
    {
        let entry = &mut self.functions[function];
        let known = entry.exports.iter().find(|(p, _)| *p == prefix);
        if let Some(found) = known.and_then(|(_, any)| any.downcast_ref::<TypedFunc<P, R>>()) {
            return Ok(found.clone());
        }
        let name = format!("{prefix}{}", entry.name);
        let found: TypedFunc<P, R> =
            export(&self.guest, &mut self.store, &name).ok_or_else(|| missing(&name))?;
        self.functions[function]
            .exports
            .push((prefix, Box::new(found.clone())));
        Ok(found)
    }

    /// Before a call of a function with so many rows: names it in logs and starts its deadline. Gives
    /// the rows that it had before.
    fn enter(&mut self, function: usize, rows: usize) -> u64 {
        let entry = &mut self.functions[function];
        let (running, before) = (Arc::clone(&entry.name), entry.rows);
        entry.rows += rows as u64;
        let state = self.store.data_mut();
        state.running = running;
        state.refused_growth = false;
        let now = Instant::now();
        state.call_end = now + state.call_limit;
        self.meter.enter(function, rows, now, &self.timings);
        before
    }

    /// Lays arguments out in the arena, with room for the structs of `outs` results and with the bytes
    /// of `extras`, aligned. `None` when that is more than a guest can be asked to take at once; one
    /// row is tried in any case.
    fn place(
        &mut self,
        sources: &[Source<'_>],
        rows: usize,
        outs: usize,
        extras: &[&[u8]],
    ) -> Result<Option<Laid>, Error> {
        let sizes: Vec<_> = extras.iter().map(|extra| extra.len()).collect();
        let plan = Plan::new(sources, outs, &sizes);
        // The guest needs room for its result, too.
        let fits = plan.size <= self.store.data().memory_limit / 4 && rows <= limits::ROWS;
        if !(fits || rows == 1) {
            return Ok(None);
        }
        self.lay(&plan, sources, extras)
    }

    /// Lays arguments out as planned. `None` when the guest has no memory for them.
    fn lay(
        &mut self,
        plan: &Plan,
        sources: &[Source<'_>],
        extras: &[&[u8]],
    ) -> Result<Option<Laid>, Error> {
        if !self.reserve(plan.size)? {
            return Ok(None);
        }
        self.placed += 1;
        let base = self.arena.0;
        let arena = &mut self.memory.data_mut(&mut self.store)[base as usize..][..plan.size];
        plan.write(sources, arena, base, self.release);
        for (range, bytes) in plan.extras.iter().zip(extras) {
            arena[range.clone()].copy_from_slice(bytes);
        }
        let address = |at: usize| base + at as u32;
        Ok(Some(Laid {
            base,
            out: address(plan.out),
            extras: plan.extras.iter().map(|r| address(r.start)).collect(),
        }))
    }

    /// Checks and copies the result whose struct lies at `out`.
    fn take(&mut self, out: u32, promise: Promise<'_>) -> Result<ArrayRef, Error> {
        let mut budget = self.budget();
        self.take_within(out, promise, &mut budget)
    }

    /// What the results of one call may have together.
    fn budget(&self) -> Budget {
        Budget::new(self.memory.data(&self.store))
    }

    /// Checks and copies one of several results of a call.
    fn take_within(
        &mut self,
        out: u32,
        promise: Promise<'_>,
        budget: &mut Budget,
    ) -> Result<ArrayRef, Error> {
        let array = read_within(self.memory.data(&self.store), out, promise, budget);
        array.inspect_err(|_| {
            self.poisoned = true;
            self.meter.reject();
        })
    }

    /// Tells the guest that the result at `out` was copied.
    fn give_back(&mut self, out: u32, before: u64) -> Result<(), Error> {
        if let Some(out_free) = self.out_free.clone() {
            let result = out_free.call(&mut self.store, out.cast_signed());
            self.landed(result, Some(before))?;
        }
        Ok(())
    }

    /// What does not fit into the guest's memory even alone.
    fn too_large(&mut self, what: &str) -> Error {
        let limit = self.store.data().memory_limit as u64;
        self.poisoned = true;
        Error::Trap {
            cause: Trap::Memory { limit },
            message: Some(format!("{what} are more than its memory can take")),
            frames: Vec::new(),
        }
    }

    /// Makes the arena at least `size` bytes large. `false` when the guest has no memory for it.
    fn reserve(&mut self, size: usize) -> Result<bool, Error> {
        if size <= self.arena.1 {
            return Ok(true);
        }
        let limit = self.store.data().memory_limit;
        let state = self.store.data_mut();
        state.refused_growth = false;
        state.call_end = Instant::now() + state.call_limit;
        let (old, old_size) = std::mem::take(&mut self.arena);
        if old != 0 {
            let arguments = (old.cast_signed(), old_size as i32, BUFFER_ALIGN as i32);
            let result = self.free.call(&mut self.store, arguments);
            self.landed(result, None)?;
        }
        // Room for growth, so that slowly growing batches do not reallocate each time.
        let generous = (size + size / 4).next_multiple_of(4096);
        for wanted in [generous, size] {
            if wanted >= limit {
                continue;
            }
            let arguments = (wanted as i32, BUFFER_ALIGN as i32);
            let result = self.alloc.call(&mut self.store, arguments);
            let ptr = self.landed(result, None)?.cast_unsigned();
            if ptr == 0 {
                continue;
            }
            let memory = self.memory.data_size(&self.store);
            if allocation(ptr, wanted, memory).is_none() {
                self.poisoned = true;
                let message = "sm_alloc gave a range that is not aligned or outside of its memory";
                return Err(Error::Output(message.into()));
            }
            self.arena = (ptr, wanted);
            return Ok(true);
        }
        Ok(false)
    }

    /// Translates the end of a call into the guest, `before` which a function had so many rows; a
    /// failed one poisons the instance.
    fn landed<T>(&mut self, result: wasmtime::Result<T>, before: Option<u64>) -> Result<T, Error> {
        match result {
            Ok(result) => {
                self.meter.land();
                Ok(result)
            }
            Err(e) => Err(self.failed(&e, before)),
        }
    }

    #[cold]
    fn failed(&mut self, error: &wasmtime::Error, before: Option<u64>) -> Error {
        self.poisoned = true;
        let error = explain(error, self.store.data(), before, &self.module.0.places);
        let trapped = matches!(error, Error::Trap { .. });
        self.meter.fail(trapped, &mut self.timings);
        error
    }

    /// What the guest gave does not hold.
    fn broken<T>(&mut self, message: String) -> Result<T, Error> {
        self.poisoned = true;
        self.meter.reject();
        Err(Error::Output(message))
    }

    fn succeeded(&mut self, status: i32) -> Result<(), Error> {
        if status == 0 {
            return Ok(());
        }
        self.poisoned = true;
        self.meter.reject();
        let known = sandmill_abi::ERRORS.iter().find(|e| e.number == status);
        let message = match known {
            Some(known) => known.doc.trim_end_matches('.').to_owned(),
            None => format!("the function returned the error number {status}"),
        };
        Err(Error::Guest {
            code: status,
            row: None,
            message,
            frames: Vec::new(),
            values: Vec::new(),
        })
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
