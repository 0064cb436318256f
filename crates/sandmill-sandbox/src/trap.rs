//! Why wasmtime ended a call.

use sandmill_abi::limits;
use wasmtime::WasmBacktrace;

use crate::error::{Error, Frame, Trap, clean};
use crate::host::{State, Stop};
use crate::places::Places;

/// Finds out why wasmtime ended a call. `before` counts the rows of earlier calls; `places` is the
/// module's table of them.
pub(crate) fn explain(
    error: &wasmtime::Error,
    state: &State,
    before: Option<u64>,
    places: &[u8],
) -> Error {
    let frames = frames(error, places);
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
                frames,
                values: Vec::new(),
            },
            Stop::Abort(message) => trap(Trap::Abort, Some(message)),
            Stop::Deadline => trap(
                Trap::Deadline {
                    limit: state.call_limit,
                },
                None,
            ),
            Stop::JobDeadline => trap(Trap::JobDeadline, None),
            Stop::Capability(message) => Error::Capability(message),
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

/// The guest's functions that were running, innermost first. Where the module tells, with those that
/// were inlined and with their lines.
fn frames(error: &wasmtime::Error, places: &[u8]) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let places = Places::parse(places);
    let mut frames = Vec::new();
    for frame in backtrace.frames().iter().take(limits::FRAMES) {
        let known = frame.module_offset().map(|offset| places.at(offset));
        match known.filter(|known| !known.is_empty()) {
            Some(known) => frames.extend(known),
            None => frames.push(Frame {
                function: match frame.func_name() {
                    Some(name) => clean(rustc_name(name).as_bytes(), 200),
                    None => format!("function {}", frame.func_index()),
                },
                file: None,
                line: None,
            }),
        }
    }
    frames.truncate(limits::FRAMES);
    frames
}

/// A mangled Rust name without its hash suffix; other names as they are.
fn rustc_name(name: &str) -> &str {
    name.split_once("::h")
        .filter(|(_, hash)| hash.len() == 16)
        .map_or(name, |(name, _)| name)
}
