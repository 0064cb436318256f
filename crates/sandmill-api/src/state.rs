use sandmill_jobs::Service;

/// Limits of requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of a JSON body.
    pub body_bytes: usize,
    /// Bytes of an uploaded module.
    pub module_bytes: usize,
    /// Rows of one page.
    pub page_rows: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 2 << 20,
            module_bytes: sandmill_abi::limits::MODULE_BYTES,
            page_rows: 100_000,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct State {
    /// The jobs.
    pub jobs: Service,
    /// Limits.
    pub settings: Settings,
}
