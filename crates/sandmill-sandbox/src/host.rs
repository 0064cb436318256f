//! What a guest can ask of the host: the imports of the ABI and a WASI shim without authority.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sandmill_abi::{IMPORT_MODULE, limits};
use sandmill_model::LogLevel;
use wasmtime::{Caller, Engine, ExternType, Linker, Memory, ResourceLimiter, Val, format_err};

use crate::context::Context;
use crate::error::{Error, clean};
use crate::http;
use crate::inspect::WASI;
use crate::manifest::HttpPlace;

/// WASI's number for "not there".
const ENOSYS: i32 = 52;
/// WASI's number for "no such descriptor": Go ends its search for open folders with it.
const EBADF: i32 = 8;
/// Bytes of what `poll_oneoff` is asked for, and of what it answers.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// The host's side of one instance.
pub(crate) struct State {
    pub context: Arc<Context>,
    pub memory: Option<Memory>,
    pub memory_limit: usize,
    /// A growth was refused since the call began.
    pub refused_growth: bool,
    /// End of the present call.
    pub call_end: Instant,
    pub call_limit: Duration,
    /// Name of the function that is running, for its log lines.
    pub running: Arc<str>,
    pub random: u64,
    pub log_lines: usize,
    pub counters: [i64; limits::METRICS],
    /// Places that the manifest names.
    pub http: Vec<HttpPlace>,
    /// A response that the guest had no room for.
    pub response: Vec<u8>,
}

/// Why the host ended a call; travels as the error of a host function or the epoch check.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the guest reported an error")]
    Fail {
        code: i32,
        row: i64,
        message: String,
    },
    #[error("the guest aborted")]
    Abort(String),
    #[error("the call ran past its deadline")]
    Deadline,
    #[error("the job ran past its deadline")]
    JobDeadline,
    #[error("the job was cancelled")]
    Cancelled,
    #[error("{0}")]
    Capability(String),
}

impl State {
    /// The epoch check: whether the running call must end.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.context.cancellation.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let now = Instant::now();
        if self.context.deadline.is_some_and(|end| now >= end) {
            return Err(Stop::JobDeadline);
        }
        if now >= self.call_end {
            Err(Stop::Deadline)
        } else {
            Ok(())
        }
    }

    fn random(&mut self) -> i64 {
        // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).cast_signed()
    }

    fn log(&mut self, level: LogLevel, bytes: &[u8]) {
        self.log_lines = self.log_lines.saturating_add(1);
        let Some(sink) = &self.context.logs else {
            return;
        };
        if self.log_lines <= limits::LOG_LINES {
            let message = clean(bytes, limits::MESSAGE_BYTES);
            if !message.is_empty() {
                sink.write(level, &self.running, &message);
            }
        } else if self.log_lines == limits::LOG_LINES + 1 {
            let message = format!(
                "further lines are dropped: {} were logged",
                limits::LOG_LINES
            );
            sink.write(LogLevel::Warn, &self.running, &message);
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_limit;
        self.refused_growth |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= crate::inspect::TABLE_ELEMENTS)
    }
}

/// A range of guest memory; everything in it is what the guest wrote there.
pub(crate) fn bytes<'a>(
    caller: &'a Caller<'_, State>,
    ptr: i32,
    len: i32,
) -> wasmtime::Result<&'a [u8]> {
    let memory = caller
        .data()
        .memory
        .ok_or_else(|| format_err!("called before the start"))?;
    let start = ptr.cast_unsigned() as usize;
    let end = start + len.cast_unsigned() as usize;
    memory
        .data(caller)
        .get(start..end)
        .ok_or_else(|| wasmtime::Trap::MemoryOutOfBounds.into())
}

pub(crate) fn write(
    caller: &mut Caller<'_, State>,
    ptr: i32,
    value: &[u8],
) -> wasmtime::Result<()> {
    let memory = caller
        .data()
        .memory
        .ok_or_else(|| format_err!("called before the start"))?;
    memory
        .write(&mut *caller, ptr.cast_unsigned() as usize, value)
        .map_err(|_| wasmtime::Trap::MemoryOutOfBounds.into())
}

fn log(
    caller: &mut Caller<'_, State>,
    level: LogLevel,
    ptr: i32,
    len: i32,
) -> wasmtime::Result<()> {
    // A host call is no loop of the guest, so a storm of them must meet the deadline here.
    caller.data().check()?;
    let limit = i32::try_from(limits::MESSAGE_BYTES).unwrap_or(i32::MAX);
    let line = bytes(caller, ptr, len)?;
    let line = line[..line.len().min(limit as usize)].to_vec();
    caller.data_mut().log(level, &line);
    Ok(())
}

/// Everything that the imports of `module` are linked to.
pub(crate) fn linker(engine: &Engine, module: &wasmtime::Module) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(engine);
    abi(&mut linker)
        .and_then(|()| wasi(&mut linker, module))
        .map_err(|e| Error::Internal(format!("the host functions: {e:#}")))?;
    Ok(linker)
}

fn abi(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        "log",
        |mut caller: Caller<'_, State>, level: i32, ptr: i32, len: i32| {
            let level = match level {
                0 => LogLevel::Debug,
                2 => LogLevel::Warn,
                3 => LogLevel::Error,
                _ => LogLevel::Info,
            };
            log(&mut caller, level, ptr, len)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "fail",
        |caller: Caller<'_, State>,
         code: i32,
         row: i64,
         ptr: i32,
         len: i32|
         -> wasmtime::Result<()> {
            let message = clean(bytes(&caller, ptr, len)?, limits::MESSAGE_BYTES);
            Err(Stop::Fail { code, row, message }.into())
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "metric",
        |mut caller: Caller<'_, State>, id: i32, value: i64| {
            let counters = &mut caller.data_mut().counters;
            if let Some(counter) = usize::try_from(id).ok().and_then(|id| counters.get_mut(id)) {
                *counter = counter.saturating_add(value);
            }
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, "now", |caller: Caller<'_, State>| {
        caller.data().context.now_micros
    })?;
    linker.func_wrap(IMPORT_MODULE, "random", |mut caller: Caller<'_, State>| {
        caller.data_mut().random()
    })?;
    linker.func_wrap(IMPORT_MODULE, "cancelled", |caller: Caller<'_, State>| {
        i32::from(caller.data().context.cancellation.is_cancelled())
    })?;
    http::link(linker)?;
    linker.func_wrap(
        "env",
        "abort",
        |_: Caller<'_, State>, _: i32, _: i32, line: i32, column: i32| -> wasmtime::Result<()> {
            Err(Stop::Abort(format!("abort at line {line}, column {column}")).into())
        },
    )?;
    Ok(())
}

fn wasi(linker: &mut Linker<State>, module: &wasmtime::Module) -> wasmtime::Result<()> {
    linker.func_wrap(
        WASI,
        "proc_exit",
        |_: Caller<'_, State>, code: i32| -> wasmtime::Result<()> {
            Err(Stop::Abort(format!("exit with status {code}")).into())
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Caller<'_, State>,
         fd: i32,
         vectors: i32,
         count: i32,
         written: i32|
         -> wasmtime::Result<i32> {
            let level = if fd == 2 {
                LogLevel::Warn
            } else {
                LogLevel::Info
            };
            let (mut line, mut total) = (Vec::new(), 0u32);
            for n in 0..count.clamp(0, 64) {
                let vector = bytes(&caller, vectors.wrapping_add(n * 8), 8)?;
                let half = |at: usize| {
                    i32::from_le_bytes([vector[at], vector[at + 1], vector[at + 2], vector[at + 3]])
                };
                let (ptr, len) = (half(0), half(4));
                let part = bytes(&caller, ptr, len)?;
                total = total.wrapping_add(part.len() as u32);
                let room = limits::MESSAGE_BYTES.saturating_sub(line.len());
                line.extend_from_slice(&part[..part.len().min(room)]);
            }
            caller.data().check()?;
            caller.data_mut().log(level, &line);
            write(&mut caller, written, &total.to_le_bytes())?;
            Ok(0)
        },
    )?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, State>, _: i32, _: i64, at: i32| -> wasmtime::Result<i32> {
            let nanos = caller.data().context.now_micros.wrapping_mul(1000);
            write(&mut caller, at, &nanos.to_le_bytes())?;
            Ok(0)
        },
    )?;
    linker.func_wrap(
        WASI,
        "random_get",
        |mut caller: Caller<'_, State>, ptr: i32, len: i32| -> wasmtime::Result<i32> {
            let (start, len) = (ptr.cast_unsigned(), len.cast_unsigned());
            for at in (0..len).step_by(8) {
                caller.data().check()?;
                let value = caller.data_mut().random().to_le_bytes();
                let take = (len - at).min(8) as usize;
                write(
                    &mut caller,
                    start.wrapping_add(at).cast_signed(),
                    &value[..take],
                )?;
            }
            Ok(0)
        },
    )?;
    for name in ["environ_sizes_get", "args_sizes_get"] {
        linker.func_wrap(
            WASI,
            name,
            |mut caller: Caller<'_, State>, count: i32, size: i32| -> wasmtime::Result<i32> {
                write(&mut caller, count, &[0; 4])?;
                write(&mut caller, size, &[0; 4])?;
                Ok(0)
            },
        )?;
    }
    for name in ["environ_get", "args_get"] {
        linker.func_wrap(WASI, name, |_: i32, _: i32| 0)?;
    }
    linker.func_wrap(
        WASI,
        "sched_yield",
        |caller: Caller<'_, State>| -> wasmtime::Result<i32> {
            caller.data().check()?;
            Ok(0)
        },
    )?;
    linker.func_wrap(
        WASI,
        "poll_oneoff",
        |mut caller: Caller<'_, State>,
         asked: i32,
         events: i32,
         count: i32,
         answered: i32|
         -> wasmtime::Result<i32> {
            // Nobody sleeps here: whatever a guest waits for has happened.
            for n in 0..count.cast_unsigned() {
                caller.data().check()?;
                let at =
                    |base: i32, size: u32| base.wrapping_add((n.wrapping_mul(size)).cast_signed());
                let subscription = bytes(&caller, at(asked, SUBSCRIPTION), 9)?;
                let mut event = [0; EVENT as usize];
                event[..8].copy_from_slice(&subscription[..8]);
                event[10] = subscription[8];
                write(&mut caller, at(events, EVENT), &event)?;
            }
            write(&mut caller, answered, &count.to_le_bytes())?;
            Ok(0)
        },
    )?;
    // Whatever else the toolchain pulled in is not there.
    let mut known = Vec::new();
    for import in module.imports().filter(|import| import.module() == WASI) {
        let ExternType::Func(ty) = import.ty() else {
            continue;
        };
        if KNOWN.contains(&import.name()) || known.contains(&import.name()) {
            continue;
        }
        known.push(import.name());
        let number = match import.name().starts_with("fd_") {
            true => EBADF,
            false => ENOSYS,
        };
        linker.func_new(WASI, import.name(), ty, move |_, _, results| {
            results.fill(Val::I32(number));
            Ok(())
        })?;
    }
    Ok(())
}

/// The WASI functions that `wasi` answers.
const KNOWN: [&str; 10] = [
    "proc_exit",
    "fd_write",
    "clock_time_get",
    "random_get",
    "environ_sizes_get",
    "args_sizes_get",
    "environ_get",
    "args_get",
    "sched_yield",
    "poll_oneoff",
];

/// Draws the seed of the next instance of a job.
pub(crate) fn seed(context: &Context) -> u64 {
    let stream = context.streams.fetch_add(1, Ordering::Relaxed);
    context.seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95)
}
