//! Compiles modules in a process of its own, so that a module made to exhaust the compiler can hurt
//! nobody: the process limits its own CPU time and memory before it reads a byte, gets no
//! environment and no files, and is killed when it takes too long.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use sandmill_abi::limits;
use wasmtime::Engine;

use crate::error::{Error, clean};
use crate::machine::{self, Effort, Lines};
use crate::places;

/// Limits of compiling one module.
#[derive(Debug, Clone)]
pub struct CompilerSettings {
    /// A program that answers `compile-module` with [`compile_role`]. `None` compiles in this very
    /// process, without limits: only for modules that are trusted.
    pub program: Option<PathBuf>,
    /// CPU seconds of one try.
    pub cpu_seconds: u64,
    /// Address space in bytes.
    pub memory_bytes: u64,
}

impl Default for CompilerSettings {
    fn default() -> Self {
        Self {
            program: None,
            cpu_seconds: 10,
            memory_bytes: 1 << 30,
        }
    }
}

/// Name of the hidden role.
const ROLE: &str = "compile-module";
/// Exit status when the module itself is at fault.
const REFUSED: u8 = 10;
/// Bytes of compiled code at most.
const CODE_BYTES: u64 = 512 << 20;
/// CPU seconds that finding out where code comes from may take.
const PLACES_SECONDS: u64 = 3;

/// What compiling gives.
pub(crate) struct Compiled {
    pub code: Vec<u8>,
    /// Where the code comes from; see `places`.
    pub places: Vec<u8>,
}

/// Compiles: optimised, else the fast way, else refuses with `TooComplex`.
pub(crate) fn compile(
    settings: &CompilerSettings,
    lines: Lines,
    stack_bytes: usize,
    wasm: &[u8],
) -> Result<Compiled, Error> {
    let Some(program) = &settings.program else {
        let code = precompile(Effort::Full, lines, stack_bytes, wasm).map_err(Error::Invalid)?;
        let places = places::collect(wasm);
        return Ok(Compiled { code, places });
    };
    match attempt(program, settings, Effort::Full, stack_bytes, wasm) {
        Err(Error::TooComplex(reason)) => {
            tracing::info!(reason, "compiling without optimisation");
            attempt(program, settings, Effort::Least, stack_bytes, wasm)
        }
        result => result,
    }
}

fn precompile(
    effort: Effort,
    lines: Lines,
    stack_bytes: usize,
    wasm: &[u8],
) -> Result<Vec<u8>, String> {
    Engine::new(&machine::config(effort, lines, stack_bytes))
        .and_then(|engine| engine.precompile_module(wasm))
        .map_err(|e| clean(format!("{e:#}").as_bytes(), 1000))
}

fn attempt(
    program: &Path,
    settings: &CompilerSettings,
    effort: Effort,
    stack_bytes: usize,
    wasm: &[u8],
) -> Result<Compiled, Error> {
    let failed = |e: std::io::Error| Error::Compiler(format!("{}: {e}", program.display()));
    let mut child = Command::new(program)
        .args([
            ROLE,
            if effort == Effort::Full {
                "full"
            } else {
                "least"
            },
        ])
        .args(
            [
                settings.cpu_seconds,
                settings.memory_bytes,
                stack_bytes as u64,
            ]
            .map(|n| n.to_string()),
        )
        .env_clear()
        // The allocator reserves 1 GiB at once by default, which is the whole limit.
        .env("MIMALLOC_ARENA_RESERVE", "65536")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Twice the CPU limit, because a busy machine gives less than a second of CPU in a second.
    let deadline = Instant::now() + Duration::from_secs(settings.cpu_seconds * 2 + 5);
    let outcome = converse(&mut child, wasm, deadline).map_err(failed);
    // Whatever happened, no process stays behind.
    let _ = child.kill();
    let _ = child.wait();
    let Ended {
        status,
        code,
        words,
    } = outcome?;
    let words = clean(&words, 1000);
    // Code that is whole counts, whatever became of the process when it went on to the places.
    if let Some((length, rest)) = code.split_first_chunk::<8>()
        && let Ok(length) = usize::try_from(u64::from_le_bytes(*length))
        && let Some((code, places)) = rest.split_at_checked(length)
    {
        let places = match status {
            Some(0) => places.to_vec(),
            _ => Vec::new(),
        };
        let code = code.to_vec();
        return Ok(Compiled { code, places });
    }
    match status {
        Some(status) if status == i32::from(REFUSED) => Err(Error::Invalid(words)),
        // `exec` failures and usage errors of a program that does not know the role.
        Some(1 | 2 | 126 | 127) => Err(Error::Compiler(words)),
        _ => Err(Error::TooComplex(format!(
            "the compiler did not finish within {} s of CPU time and {} MiB",
            settings.cpu_seconds,
            settings.memory_bytes >> 20
        ))),
    }
}

struct Ended {
    /// `None` when it was killed.
    status: Option<i32>,
    code: Vec<u8>,
    words: Vec<u8>,
}

fn converse(child: &mut Child, wasm: &[u8], deadline: Instant) -> std::io::Result<Ended> {
    let missing = || std::io::Error::other("a pipe is missing");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    std::thread::scope(|scope| {
        // A child that dies early breaks the pipe; its status says why.
        scope.spawn(move || stdin.write_all(wasm));
        let code = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout
                .take(CODE_BYTES)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
        });
        let words = scope.spawn(move || {
            let mut bytes = Vec::new();
            stderr
                .take(limits::MESSAGE_BYTES as u64)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
        });
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status.code();
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        let joined = |handle: std::thread::ScopedJoinHandle<'_, std::io::Result<Vec<u8>>>| {
            handle
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("a reader failed")))
        };
        Ok(Ended {
            status,
            code: joined(code)?,
            words: joined(words)?,
        })
    })
}

/// The hidden role `compile-module <full|least> <cpu seconds> <memory bytes> <stack bytes>`: reads a
/// module from standard input and writes compiled code to standard output. The caller of `main` must
/// run it before anything else starts.
pub fn compile_role() -> ExitCode {
    match role() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

fn limit(resource: Resource, value: u64) -> Result<(), (u8, String)> {
    let value = Some(value);
    let limit = Rlimit {
        current: value,
        maximum: value,
    };
    setrlimit(resource, limit).map_err(|e| (1, format!("a limit cannot be set: {e}")))
}

fn role() -> Result<(), (u8, String)> {
    let usage = || {
        (
            2,
            format!("{ROLE} is a part of Sandmill that it runs by itself"),
        )
    };
    let started = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [effort, numbers @ ..] = arguments.as_slice() else {
        return Err(usage());
    };
    let effort = match effort.as_str() {
        "full" => Effort::Full,
        "least" => Effort::Least,
        _ => return Err(usage()),
    };
    let numbers: Vec<u64> = numbers.iter().filter_map(|n| n.parse().ok()).collect();
    let [cpu, memory, stack] = numbers[..] else {
        return Err(usage());
    };
    for (resource, limit) in [
        (Resource::Cpu, cpu),
        (Resource::As, memory),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 16),
    ] {
        self::limit(resource, limit)?;
    }
    let mut wasm = Vec::new();
    std::io::stdin()
        .take(limits::MODULE_BYTES as u64 + 1)
        .read_to_end(&mut wasm)
        .map_err(|e| (1, format!("the module cannot be read: {e}")))?;
    let stack = usize::try_from(stack).map_err(|_| usage())?;
    let code = precompile(effort, places::lines(&wasm), stack, &wasm)
        .map_err(|message| (REFUSED, message))?;
    let written = |e: std::io::Error| (1, format!("the code cannot be written: {e}"));
    let mut out = std::io::stdout();
    out.write_all(&(code.len() as u64).to_le_bytes())
        .and_then(|()| out.write_all(&code))
        .and_then(|()| out.flush())
        .map_err(written)?;
    // There is one thread, so no more CPU time than wall-clock time has passed.
    let spent = started.elapsed().as_secs() + 1;
    limit(Resource::Cpu, cpu.min(spent + PLACES_SECONDS))?;
    out.write_all(&places::collect(&wasm)).map_err(written)
}
