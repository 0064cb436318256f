use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sandmill_model::LogLevel;

use crate::http::HttpSink;
use crate::usage::UsageSink;

/// Stops every guest of a job, wherever it runs, within a few milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Asks for the stop. There is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Where lines go that guests log. Called on the guest's thread: it must be quick.
pub trait LogSink: Send + Sync {
    /// Takes one line, free of control characters and at most 8 KiB long.
    fn write(&self, level: LogLevel, function: &str, message: &str);
}

/// What all instances of one job share.
pub struct Context {
    /// Stops them.
    pub cancellation: Cancellation,
    /// End of the whole job.
    pub deadline: Option<Instant>,
    /// Longest call of one batch; `None` takes the sandbox's setting.
    pub call_deadline: Option<Duration>,
    /// Seed of `random()`; each instance draws its own stream from it.
    pub seed: u64,
    /// What `now()` says: microseconds since 1970.
    pub now_micros: i64,
    /// Where log lines go; without it they are dropped.
    pub logs: Option<Arc<dyn LogSink>>,
    /// Reaches the network; without it nothing does.
    pub http: Option<Arc<dyn HttpSink>>,
    /// Requests over HTTP so far.
    pub http_requests: AtomicU64,
    /// Random streams handed out so far.
    pub streams: AtomicU64,
    /// Collects what functions use; without it nobody asks.
    pub usage: Option<Arc<UsageSink>>,
    /// Whether errors may show the values of the row that failed.
    pub show_values: bool,
}

impl Default for Context {
    fn default() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            cancellation: Cancellation::default(),
            deadline: None,
            call_deadline: None,
            seed: 0,
            now_micros: now.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            logs: None,
            http: None,
            http_requests: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            usage: None,
            show_values: false,
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("cancelled", &self.cancellation.is_cancelled())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
