use std::fmt;
use std::time::Duration;

use sandmill_model::{ErrorCode, Failure, FunctionSite, ShownValue};

/// Why a guest was stopped by the machine rather than by its own report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// It needed more memory than its cap.
    Memory {
        /// The cap in bytes.
        limit: u64,
    },
    /// It ran past the deadline of a call.
    Deadline {
        /// The deadline.
        limit: Duration,
    },
    /// It ran past the deadline of the whole job.
    JobDeadline,
    /// The job was cancelled.
    Cancelled,
    /// Its stack overflowed.
    Stack,
    /// It touched memory or a table outside their bounds.
    OutOfBounds,
    /// It executed `unreachable`, as aborts and assertions do.
    Unreachable,
    /// It divided by zero or overflowed in a division or conversion.
    Arithmetic,
    /// It called through a table slot that is empty or of another type.
    IndirectCall,
    /// It asked to exit, through WASI or AssemblyScript's abort.
    Abort,
    /// Any other trap of the machine.
    Other,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { limit } => {
                write!(
                    f,
                    "it needs more memory than its limit of {} MiB",
                    limit >> 20
                )
            }
            Self::Deadline { limit } => {
                write!(
                    f,
                    "a batch took longer than its limit of {} s",
                    limit.as_secs_f64()
                )
            }
            Self::JobDeadline => f.write_str("the job's deadline passed"),
            Self::Cancelled => f.write_str("the job was cancelled"),
            Self::Stack => f.write_str("its stack overflowed"),
            Self::OutOfBounds => f.write_str("it reached outside its memory or a table"),
            Self::Unreachable => f.write_str("it executed `unreachable`"),
            Self::Arithmetic => f.write_str("it divided by zero or overflowed"),
            Self::IndirectCall => f.write_str("it called a function pointer that is not valid"),
            Self::Abort => f.write_str("it aborted"),
            Self::Other => f.write_str("it trapped"),
        }
    }
}

/// A call of the guest that was under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Name of the function.
    pub function: String,
    /// File of its source, where the module tells.
    pub file: Option<String>,
    /// Line in that file.
    pub line: Option<u32>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            _ => Ok(()),
        }
    }
}

impl Frame {
    /// Whether the function's author wrote it, and not the SDK or the language's library.
    fn is_authored(&self) -> bool {
        const LIBRARIES: [&str; 7] = [
            "core::",
            "alloc::",
            "std::",
            "sandmill::",
            "dlmalloc::",
            "compiler_builtins::",
            "__rust",
        ];
        const PLACES: [&str; 6] = [
            "/rustc/",
            "/library/core/",
            "/library/alloc/",
            "/library/std/",
            "/.cargo/registry/",
            "/udf-sdk/rust/",
        ];
        let name = self.function.trim_start_matches(['<', '&']);
        let file = self.file.as_deref().unwrap_or_default();
        !LIBRARIES.iter().any(|library| name.starts_with(library))
            && !PLACES.iter().any(|place| file.contains(place))
            && !file.ends_with("sandmill.h")
    }
}

/// The frame to show to the function's author: the innermost one of their own.
fn author(frames: &[Frame]) -> Option<&Frame> {
    let placed = || frames.iter().filter(|f| f.file.is_some());
    let authored = || placed().filter(|f| f.is_authored());
    // Code that optimisers merged from several lines has none.
    let lined = authored().find(|f| f.line.is_some());
    lined.or(authored().next()).or(placed().next())
}

/// The place that a Rust panic names itself: `panicked at src/lib.rs:12:5: …`.
fn panic_place(code: i32, message: &str) -> Option<Frame> {
    let panic = sandmill_abi::ERRORS.iter().find(|e| e.name == "PANIC")?;
    let rest = message.strip_prefix("panicked at ")?;
    let (place, _) = rest.split_once(": ").filter(|_| code == panic.number)?;
    let mut parts = place.rsplitn(3, ':');
    let (_, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    let frame = Frame {
        function: String::new(),
        file: Some(file.into()),
        line: Some(line.parse().ok()?),
    };
    Some(frame).filter(Frame::is_authored)
}

/// Everything that can go wrong with a module or a call. Texts that come from a guest are free of
/// control characters and at most 8 KiB long.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The bytes are no acceptable WebAssembly module.
    #[error("the module is not valid: {0}")]
    Invalid(String),
    /// The manifest is missing or breaks a rule.
    #[error("the manifest is not valid: {0}")]
    Manifest(String),
    /// The module speaks another major version of the ABI.
    #[error("the module speaks ABI {found}, this installation speaks {expected}")]
    Abi {
        /// What the manifest says.
        found: String,
        /// What is spoken here.
        expected: String,
    },
    /// The manifest names a type that this version does not know.
    #[error("`{place}` has the type `{format}`, which is not known")]
    Type {
        /// Function and argument.
        place: String,
        /// The Arrow format string.
        format: String,
    },
    /// The module imports something that is not on offer.
    #[error("the module imports `{0}`, which is not on offer")]
    Import(String),
    /// The module imports what its manifest does not say that it needs.
    #[error("the module imports `{import}`, but its manifest names nothing in `{capability}`")]
    Undeclared {
        /// The import.
        import: &'static str,
        /// The field of the manifest.
        capability: &'static str,
    },
    /// The function did what manifest or policy do not permit.
    #[error("{0}")]
    Capability(String),
    /// Compiling took more time or memory than it may.
    #[error("the module takes too much to compile: {0}")]
    TooComplex(String),
    /// The guest was stopped.
    #[error("the function was stopped: {cause}{}", detail(.message))]
    Trap {
        /// Why.
        cause: Trap,
        /// What the guest said, if anything.
        message: Option<String>,
        /// Guest frames, innermost first.
        frames: Vec<Frame>,
    },
    /// The guest reported an error.
    #[error("{message}")]
    Guest {
        /// The guest's number; see the ABI's table.
        code: i32,
        /// Row counted over all rows that the instance gave this function.
        row: Option<u64>,
        /// The guest's words.
        message: String,
        /// Guest frames, innermost first.
        frames: Vec<Frame>,
        /// Arguments of the row, where the job may show them.
        values: Vec<ShownValue>,
    },
    /// The guest returned an array that is not valid.
    #[error("the function returned data that is not valid: {0}")]
    Output(String),
    /// The states of an aggregate's groups take more than its manifest allows.
    #[error("the states of its groups take {bytes} bytes, its manifest allows {limit}")]
    States {
        /// What they take, as the guest says.
        bytes: u64,
        /// What the manifest allows.
        limit: u64,
    },
    /// The instance trapped before; it must be thrown away.
    #[error("the instance failed before and cannot be used again")]
    Poisoned,
    /// No instance became free in time.
    #[error("no sandbox became free within {} s", .0.as_secs())]
    Exhausted(Duration),
    /// The caller passed arguments that do not fit the manifest.
    #[error("{0}")]
    Arguments(String),
    /// The limited compiler process could not be run.
    #[error("the compiler process could not be run: {0}")]
    Compiler(String),
    /// The cache or the engine failed.
    #[error("the sandbox failed: {0}")]
    Internal(String),
}

fn detail(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|m| format!(" ({m})"))
        .unwrap_or_default()
}

impl Error {
    /// Translates into the error that users see. `function` is its name and version.
    pub fn into_failure(self, function: Option<(&str, &str)>) -> Failure {
        let message = match function {
            Some((name, version)) => format!("{name} (version {version}): {self}"),
            None => self.to_string(),
        };
        let failure = Failure::new(self.code(), message);
        let failure = match (&self, self.advice()) {
            (_, Some(hint)) => failure.hint(hint),
            _ => failure,
        };
        let failure = match &self {
            Self::Trap {
                cause: Trap::Memory { limit },
                ..
            } => failure.limit("function.memory_bytes", *limit, None),
            Self::States { limit, .. } => failure.limit("function.state_bytes", *limit, None),
            Self::Trap {
                cause: Trap::Deadline { limit },
                ..
            } => failure.limit(
                "function.call_milliseconds",
                u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                None,
            ),
            _ => failure,
        };
        let Some((name, version)) = function else {
            return failure;
        };
        let panicked = match &self {
            Self::Guest { code, message, .. } => panic_place(*code, message),
            _ => None,
        };
        let (row, frames, values) = match self {
            Self::Guest {
                row,
                frames,
                values,
                ..
            } => (row, frames, values),
            Self::Trap { frames, .. } => (None, frames, Vec::new()),
            _ => (None, Vec::new(), Vec::new()),
        };
        let (file, line) = match panicked.as_ref().or(author(&frames)) {
            Some(frame) => (frame.file.clone(), frame.line),
            None => (None, None),
        };
        failure.function(FunctionSite {
            name: name.into(),
            version: version.into(),
            row,
            file,
            line,
            frames: frames.iter().map(ToString::to_string).collect(),
            values,
        })
    }

    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::FunctionInvalid,
            Self::Manifest(_) => ErrorCode::FunctionManifest,
            Self::Abi { .. } => ErrorCode::FunctionAbi,
            Self::Type { .. } => ErrorCode::FunctionType,
            Self::Import(_) | Self::Undeclared { .. } => ErrorCode::FunctionImport,
            Self::Capability(_) => ErrorCode::FunctionCapability,
            Self::TooComplex(_) => ErrorCode::FunctionTooComplex,
            Self::Trap { cause, .. } => match cause {
                Trap::Memory { .. } => ErrorCode::FunctionMemory,
                Trap::Deadline { .. } => ErrorCode::FunctionTimeout,
                Trap::JobDeadline => ErrorCode::JobTimeout,
                Trap::Cancelled => ErrorCode::JobCanceled,
                _ => ErrorCode::FunctionTrap,
            },
            Self::States { .. } => ErrorCode::FunctionMemory,
            Self::Guest { .. } => ErrorCode::FunctionError,
            Self::Output(_) => ErrorCode::FunctionOutput,
            Self::Arguments(_) => ErrorCode::FunctionArguments,
            Self::Exhausted(_) => ErrorCode::Unavailable,
            Self::Poisoned | Self::Compiler(_) | Self::Internal(_) => ErrorCode::Internal,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Manifest(_) => {
                "Build the module with an SDK, or see `udf-sdk/spec/ABI.md` for the manifest."
            }
            Self::Abi { .. } => "Build the module again with an SDK of this version.",
            Self::Type { .. } => "The types on offer are listed in `udf-sdk/spec/ABI.md`.",
            Self::Import(_) => {
                "Functions reach nothing but the module `sandmill`; build without system calls."
            }
            Self::Undeclared { .. } => "Name in the manifest what the functions need.",
            Self::Capability(_) => {
                "Both the module's manifest and the tenant's policy (`sandmill policy http`) must name \
                 host, port and method."
            }
            Self::TooComplex(_) => {
                "Split very long functions and remove what the function does not need."
            }
            Self::Trap {
                cause: Trap::Memory { .. },
                ..
            } => "Allocate less in one call, or return shorter values.",
            Self::Trap {
                cause: Trap::Deadline { .. },
                ..
            } => "Look for an endless loop, or do less work for each row.",
            Self::Trap {
                cause: Trap::Stack, ..
            } => "Look for recursion without an end.",
            Self::States { .. } => {
                "Keep less for each group, or raise `state_bytes` in the manifest."
            }
            Self::Output(_) => "Return data through an SDK; it builds valid arrays.",
            Self::Exhausted(_) => {
                "Try again later, or ask the operator for more sandbox instances."
            }
            _ => return None,
        })
    }
}

/// Cuts a guest's text to `limit` bytes and takes control characters out of it.
pub(crate) fn clean(bytes: &[u8], limit: usize) -> String {
    let cut = &bytes[..bytes.len().min(limit)];
    String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_text_is_harmless() {
        assert_eq!(clean(b"a\x1b[31mred\0\n", 100), "a [31mred");
        assert_eq!(clean("ü".repeat(10).as_bytes(), 3), "ü\u{fffd}");
        assert_eq!(clean("x\u{202e}y".as_bytes(), 100), "xy");
    }

    #[test]
    fn panics_name_their_own_place() {
        let place = |code, message| panic_place(code, message).and_then(|f| f.line);
        let message = "panicked at src/lib.rs:12:5: no: really";
        assert_eq!(place(-4, message), Some(12));
        assert_eq!(place(-1, message), None);
        assert_eq!(place(-4, "panicked at nowhere: x"), None);
        let library = "panicked at /rustc/1/library/core/src/x.rs:1:2: x";
        assert_eq!(place(-4, library), None);
    }

    #[test]
    fn failures_name_function_row_and_limit() {
        let error = Error::Guest {
            code: -1,
            row: Some(7),
            message: "negative".into(),
            frames: vec![
                Frame {
                    function: "core::panicking::panic".into(),
                    file: Some("/rustc/1/library/core/src/panicking.rs".into()),
                    line: Some(1),
                },
                Frame {
                    function: "root".into(),
                    file: Some("src/lib.rs".into()),
                    line: Some(12),
                },
            ],
            values: Vec::new(),
        };
        let failure = error.into_failure(Some(("root", "3")));
        assert_eq!(failure.message, "root (version 3): negative");
        let site = failure.function.expect("a function");
        assert_eq!((site.row, site.line), (Some(7), Some(12)));
        assert_eq!(site.file.as_deref(), Some("src/lib.rs"));
        assert_eq!(site.frames[1], "root (src/lib.rs:12)");
        let trap = Error::Trap {
            cause: Trap::Memory { limit: 64 << 20 },
            message: None,
            frames: vec![],
        };
        let failure = trap.into_failure(None);
        assert_eq!(failure.code, ErrorCode::FunctionMemory);
        assert_eq!(failure.limit.map(|l| l.value), Some(64 << 20));
    }
}
