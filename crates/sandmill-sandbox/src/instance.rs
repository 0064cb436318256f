use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use sandmill_abi::{BUFFER_ALIGN, SCALAR_PREFIX, limits};
use wasmtime::{Memory, Store, TypedFunc, UpdateDeadline, WasmBacktrace};

use crate::context::Context;
use crate::error::{Error, Trap, clean};
use crate::host::{self, State, Stop};
use crate::manifest::Function;
use crate::read::{Promise, allocation, read, strict_nulls};
use crate::sandbox::{Core, Module};
use crate::slots::Slot;
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
    functions: Vec<Entry>,
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
    rows: u64,
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
        let missing =
            |name: &str| Error::Invalid(format!("it does not export `{name}` as it must"));
        let memory = guest
            .get_memory(&mut store, "memory")
            .ok_or_else(|| missing("memory"))?;
        store.data_mut().memory = Some(memory);
        macro_rules! function {
            ($name:expr) => {
                guest
                    .get_typed_func(&mut store, $name)
                    .map_err(|_| missing($name))?
            };
        }
        let (alloc, free) = (function!("sm_alloc"), function!("sm_free"));
        let out_free = guest.get_typed_func(&mut store, "sm_out_free").ok();
        let functions = module.0.manifest.functions.iter().map(|function| {
            let export = format!("{SCALAR_PREFIX}{}", function.name);
            let call = guest
                .get_typed_func(&mut store, &export)
                .map_err(|_| missing(&export))?;
            Ok(Entry {
                name: Arc::from(function.name.as_str()),
                call,
                rows: 0,
            })
        });
        let functions = functions.collect::<Result<_, Error>>()?;
        let initialize = guest
            .get_typed_func::<(), ()>(&mut store, "_initialize")
            .ok();
        let init = guest.get_typed_func::<(), i32>(&mut store, "sm_init").ok();
        let release = guest
            .get_typed_func::<(), i32>(&mut store, "sm_release_index")
            .ok();
        let mut instance = Self {
            module: module.clone(),
            store,
            memory,
            alloc,
            free,
            out_free,
            release: 0,
            functions,
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

        let entry = &self.functions[function];
        let (call, out) = (entry.call.clone(), base + plan.out as u32);
        let running = Arc::clone(&entry.name);
        let state = self.store.data_mut();
        state.running = running;
        state.refused_growth = false;
        state.call_end = written + state.call_limit;
        let raw = (base.cast_signed(), rows as i32, out.cast_signed());
        let result = call.call(&mut self.store, raw);
        let status = self.landed(result, Some(function))?;
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
            self.landed(result, Some(function))?;
        }
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += rows as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(called - written);
        timings.validate_nanos += nanos(called.elapsed());
        self.functions[function].rows += rows as u64;
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

    /// Translates the end of a call into the guest; a failed one poisons the instance.
    fn landed<T>(
        &mut self,
        result: wasmtime::Result<T>,
        function: Option<usize>,
    ) -> Result<T, Error> {
        result.map_err(|e| {
            self.poisoned = true;
            let before = function.map(|f| self.functions[f].rows);
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

/// Finds out why wasmtime ended a call. `before` counts the rows of earlier calls.
fn explain(error: &wasmtime::Error, state: &State, before: Option<u64>) -> Error {
    let frames = frames(error);
    let memory = Trap::Memory {
        limit: state.memory_limit as u64,
    };
    let trap = |cause, message| Error::Trap {
        cause,
        message,
        frames: frames.clone(),
    };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop.clone() {
            Stop::Fail {
                code: -2, message, ..
            } => trap(memory, some(message)),
            Stop::Fail { code, row, message } => Error::Guest {
                code,
                row: u64::try_from(row)
                    .ok()
                    .map(|row| row.saturating_add(before.unwrap_or(0))),
                message: some(message).unwrap_or_else(|| "the function gave no reason".into()),
            },
            Stop::Abort(message) => trap(Trap::Abort, Some(message)),
            Stop::Deadline => trap(
                Trap::Deadline {
                    limit: state.call_limit,
                },
                None,
            ),
            Stop::JobDeadline => trap(Trap::JobDeadline, None),
            Stop::Cancelled => trap(Trap::Cancelled, None),
        };
    }
    use wasmtime::Trap as Machine;
    match error.downcast_ref::<Machine>() {
        Some(Machine::UnreachableCodeReached) if state.refused_growth => trap(memory, None),
        Some(Machine::StackOverflow) => trap(Trap::Stack, None),
        Some(Machine::MemoryOutOfBounds | Machine::TableOutOfBounds | Machine::HeapMisaligned) => {
            trap(Trap::OutOfBounds, None)
        }
        Some(Machine::UnreachableCodeReached) => trap(Trap::Unreachable, None),
        Some(
            Machine::IntegerOverflow
            | Machine::IntegerDivisionByZero
            | Machine::BadConversionToInteger,
        ) => trap(Trap::Arithmetic, None),
        Some(Machine::IndirectCallToNull | Machine::BadSignature) => trap(Trap::IndirectCall, None),
        Some(other) => trap(Trap::Other, Some(other.to_string())),
        // Not a trap: the module does not fit the pool, for example a memory above the cap.
        None => {
            let text = clean(format!("{error:#}").as_bytes(), 500);
            if text.contains("memory") {
                trap(memory, Some(text))
            } else {
                Error::Invalid(text)
            }
        }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Names of the guest's functions that were running, innermost first.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => clean(rustc_name(name).as_bytes(), 200),
        None => format!("function {}", frame.func_index()),
    };
    backtrace
        .frames()
        .iter()
        .take(limits::FRAMES)
        .map(name)
        .collect()
}

/// A mangled Rust name without its hash suffix; other names as they are.
fn rustc_name(name: &str) -> &str {
    name.split_once("::h")
        .filter(|(_, hash)| hash.len() == 16)
        .map_or(name, |(name, _)| name)
}
