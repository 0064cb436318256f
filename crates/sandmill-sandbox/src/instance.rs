use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use sandmill_abi::{BUFFER_ALIGN, SCALAR_PREFIX, limits};
use wasmtime::{Memory, Store, TypedFunc, UpdateDeadline, WasmParams, WasmResults};

use crate::context::Context;
use crate::error::{Error, Trap};
use crate::host::{self, State};
use crate::manifest::Function;
use crate::read::{Promise, allocation, read, strict_nulls};
use crate::sandbox::{Core, Module};
use crate::slots::Slot;
use crate::trap::explain;
use crate::write::{Plan, Source, slice};

/// An argument of a call.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    /// One value for each row.
    Column(&'a dyn Array),
    /// The same value for all rows: an array of length 1.
    Constant(&'a dyn Array),
}

impl<'a> Argument<'a> {
    fn array(self) -> &'a dyn Array {
        match self {
            Self::Column(array) | Self::Constant(array) => array,
        }
    }
}

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

type Scalar = TypedFunc<(i32, i32, i32), i32>;

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
    /// Those that were called.
    functions: Vec<Option<Entry>>,
    /// Start and size of the arena that arguments are written into.
    arena: (u32, usize),
    poisoned: bool,
    timings: Timings,
    // Fields drop in order: the store gives its pool slot back before the count does.
    _presence: Presence,
}

struct Entry {
    name: Arc<str>,
    call: Scalar,
    /// Rows of earlier calls.
    rows: u64,
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

impl Instance {
    pub(crate) fn new(module: &Module, context: &Arc<Context>) -> Result<Self, Error> {
        let core = &module.0.core;
        let slot = core.slots.take(context)?;
        core.clock.enter();
        let presence = Presence(Arc::clone(core), slot);
        let call_limit = context.call_deadline.unwrap_or(core.settings.call_deadline);
        let mut store = Store::new(
            &core.engine,
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
            .map_err(|e| explain(&e, store.data(), None))?;
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
        let mut instance = Self {
            module: module.clone(),
            store,
            memory,
            alloc,
            free,
            out_free,
            release: 0,
            guest,
            functions: module.0.manifest.functions.iter().map(|_| None).collect(),
            arena: (0, 0),
            poisoned: false,
            timings: Timings::default(),
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

    /// The counters that the guest keeps through `metric`.
    pub fn counters(&self) -> &[i64] {
        &self.store.data().counters
    }

    /// Computes one column of `rows` values. Batches that do not fit into the guest's memory are
    /// computed in parts.
    ///
    /// # Errors
    /// `Arguments` when the arguments are not what the manifest says; `Guest` and `Trap` when the
    /// function fails or is stopped, `Output` when its result does not hold. After `Guest`, `Trap`
    /// and `Output` the instance is `Poisoned`.
    pub fn call(
        &mut self,
        function: usize,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let module = self.module.clone();
        let described = module.0.manifest.functions.get(function);
        let described = described
            .ok_or_else(|| Error::Arguments(format!("there is no function {function}")))?;
        check_arguments(described, arguments, rows)?;
        let constant_null = arguments
            .iter()
            .any(|a| matches!(a, Argument::Constant(array) if array.null_count() > 0));
        if rows == 0 || (described.strict && constant_null) {
            return Ok(new_null_array(&described.returns, rows));
        }
        self.parts(function, described, arguments, rows)
    }

    fn parts(
        &mut self,
        function: usize,
        described: &Function,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        let types = described.arguments.iter().map(|(_, ty)| ty);
        let sources = arguments
            .iter()
            .zip(types)
            .map(|(a, ty)| Source::new(a.array(), ty));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let plan = Plan::new(&sources);
        // The guest needs room for its result, too.
        let fits = plan.size <= self.store.data().memory_limit / 4 && rows <= limits::ROWS;
        if (fits || rows == 1) && self.reserve(plan.size)? {
            return self.once(function, described, arguments, rows, &sources, &plan);
        }
        if rows == 1 {
            let limit = self.store.data().memory_limit as u64;
            self.poisoned = true;
            return Err(Error::Trap {
                cause: Trap::Memory { limit },
                message: Some(format!("the arguments of one row have {} bytes", plan.size)),
                frames: Vec::new(),
            });
        }
        let half = rows / 2;
        let mut results = Vec::with_capacity(2);
        for (start, length) in [(0, half), (half, rows - half)] {
            let owned: Vec<_> = arguments
                .iter()
                .map(|argument| match argument {
                    Argument::Column(array) => Some(slice(*array, start, length)),
                    Argument::Constant(_) => None,
                })
                .collect();
            let part: Vec<_> = arguments
                .iter()
                .zip(&owned)
                .map(|(argument, owned)| owned.as_ref().map_or(*argument, |a| Argument::Column(a)))
                .collect();
            results.push(self.parts(function, described, &part, length)?);
        }
        let parts: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|e| Error::Output(format!("the parts do not join: {e}")))
    }

    fn once(
        &mut self,
        function: usize,
        described: &Function,
        arguments: &[Argument<'_>],
        rows: usize,
        sources: &[Source<'_>],
        plan: &Plan,
    ) -> Result<ArrayRef, Error> {
        let started = Instant::now();
        let base = self.arena.0;
        let arena = &mut self.memory.data_mut(&mut self.store)[base as usize..][..plan.size];
        plan.write(sources, arena, base, self.release);
        let written = Instant::now();

        let entry = match &mut self.functions[function] {
            Some(entry) => entry,
            unknown => {
                let name = format!("{SCALAR_PREFIX}{}", described.name);
                unknown.insert(Entry {
                    call: export(&self.guest, &mut self.store, &name)
                        .ok_or_else(|| missing(&name))?,
                    name: Arc::from(described.name.as_str()),
                    rows: 0,
                })
            }
        };
        let (call, out) = (entry.call.clone(), base + plan.out as u32);
        let (running, before) = (Arc::clone(&entry.name), entry.rows);
        entry.rows += rows as u64;
        let state = self.store.data_mut();
        state.running = running;
        state.refused_growth = false;
        state.call_end = written + state.call_limit;
        let raw = (base.cast_signed(), rows as i32, out.cast_signed());
        let result = call.call(&mut self.store, raw);
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        let called = Instant::now();

        let input = match described.strict {
            true => strict_nulls(
                arguments
                    .iter()
                    .map(|a| a.array())
                    .filter(|a| a.len() == rows),
            ),
            false => None,
        };
        let promise = Promise {
            returns: &described.returns,
            rows,
            nullable: described.nullable,
            input,
        };
        let array = read(self.memory.data(&self.store), out, promise);
        let array = array.inspect_err(|_| self.poisoned = true)?;
        if let Some(out_free) = self.out_free.clone() {
            let result = out_free.call(&mut self.store, out.cast_signed());
            self.landed(result, Some(before))?;
        }
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += rows as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(called - written);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(array)
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
        result.map_err(|e| {
            self.poisoned = true;
            explain(&e, self.store.data(), before)
        })
    }

    fn succeeded(&mut self, status: i32) -> Result<(), Error> {
        if status == 0 {
            return Ok(());
        }
        self.poisoned = true;
        let known = sandmill_abi::ERRORS.iter().find(|e| e.number == status);
        let message = match known {
            Some(known) => known.doc.trim_end_matches('.').to_owned(),
            None => format!("the function returned the error number {status}"),
        };
        Err(Error::Guest {
            code: status,
            row: None,
            message,
        })
    }
}

fn check_arguments(
    described: &Function,
    arguments: &[Argument<'_>],
    rows: usize,
) -> Result<(), Error> {
    let (given, expected) = (arguments.len(), described.arguments.len());
    if given != expected {
        let message = format!(
            "`{}` takes {expected} arguments, {given} are given",
            described.name
        );
        return Err(Error::Arguments(message));
    }
    for argument in arguments {
        let (length, expected) = match argument {
            Argument::Column(array) => (array.len(), rows),
            Argument::Constant(array) => (array.len(), 1),
        };
        if length != expected {
            let message = format!("an argument has {length} values, expected {expected}");
            return Err(Error::Arguments(message));
        }
    }
    Ok(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
