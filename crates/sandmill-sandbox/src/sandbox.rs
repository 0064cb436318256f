use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sandmill_model::{Digest, TenantId};
use wasmtime::{Engine, InstancePre};

use crate::artifacts::{Artifacts, Key};
use crate::compile::{Compiled, CompilerSettings, compile};
use crate::context::Context;
use crate::error::Error;
use crate::host::{self, State};
use crate::inspect::{digest, inspect};
use crate::instance::{Instance, nanos};
use crate::machine::{self, Clock, Lines, lock};
use crate::manifest::Manifest;
use crate::places;
use crate::slots::Slots;

/// Limits of a sandbox.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Memory of one instance in bytes.
    pub memory_bytes: usize,
    /// Stack of guest code in bytes. The thread that calls needs this much and 256 KiB more.
    pub stack_bytes: usize,
    /// Longest call of one batch.
    pub call_deadline: Duration,
    /// Instances that may exist at a time; more wait. Each reserves 4 GiB of address space.
    pub instances: u32,
    /// Modules kept compiled in memory.
    pub modules: usize,
    /// Folder of compiled code; without it every process compiles anew.
    pub cache: Option<PathBuf>,
    /// How modules are compiled.
    pub compiler: CompilerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            stack_bytes: 512 << 10,
            call_deadline: Duration::from_secs(30),
            instances: 128,
            modules: 512,
            cache: None,
            compiler: CompilerSettings::default(),
        }
    }
}

/// Counts of a sandbox, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instances alive.
    pub instances: u64,
    /// Modules in memory.
    pub modules: u64,
    /// Modules compiled since the start.
    pub compiled: u64,
    /// Modules loaded from the cache on disk since the start.
    pub loaded: u64,
}

/// Compilations since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CompileCounts {
    /// Those that gave code.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// Seconds of both.
    pub seconds: f64,
}

#[derive(Default)]
struct Compiles {
    done: AtomicU64,
    failed: AtomicU64,
    nanos: AtomicU64,
}

impl Compiles {
    fn count(&self, took: Duration, is_ok: bool) {
        let count = if is_ok { &self.done } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }
}

/// Where modules become callable. Cheap to clone; all clones share pool, clock and caches.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

/// What instances need for as long as they live. Modules hold this and not the caches, which hold
/// the modules.
pub(crate) struct Core {
    pub settings: Settings,
    pub engine: Engine,
    /// For modules with debug information.
    pub lines: Engine,
    pub clock: Clock,
    pub slots: Arc<Slots>,
}

struct Shared {
    core: Arc<Core>,
    /// Of the code of both engines.
    compatibility: [String; 2],
    artifacts: Option<Artifacts>,
    modules: Mutex<Modules>,
    compiles: Compiles,
    loaded: AtomicU64,
}

type ModuleKey = (TenantId, Digest);

/// Compiled modules in memory, by tenant: not even code is shared between tenants.
#[derive(Default)]
struct Modules {
    uses: u64,
    entries: HashMap<ModuleKey, (u64, Module)>,
    /// One lock for each module that is being loaded, so that it is compiled once.
    loading: HashMap<ModuleKey, Arc<Mutex<()>>>,
}

/// A module that can be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Module(pub(crate) Arc<Loaded>);

pub(crate) struct Loaded {
    pub digest: Digest,
    pub manifest: Manifest,
    pub code: InstancePre<State>,
    /// Where its code comes from, as `places` wrote it; empty when it does not tell.
    pub places: Vec<u8>,
    pub core: Arc<Core>,
}

impl Sandbox {
    /// Starts a sandbox: reserves its address space and opens its cache.
    ///
    /// # Errors
    /// `Internal` when the machine refuses the address space, or the cache cannot be opened.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let engine = machine::engine(
            settings.stack_bytes,
            settings.memory_bytes,
            settings.instances,
        )?;
        let lines = machine::lines_engine(settings.stack_bytes)?;
        let artifacts = settings.cache.as_deref().map(Artifacts::open).transpose()?;
        Ok(Self(Arc::new(Shared {
            compatibility: [&engine, &lines].map(machine::compatibility),
            artifacts,
            modules: Mutex::default(),
            compiles: Compiles::default(),
            loaded: AtomicU64::new(0),
            core: Arc::new(Core {
                clock: Clock::start([engine.clone(), lines.clone()])?,
                slots: Slots::new(settings.instances),
                engine,
                lines,
                settings,
            }),
        })))
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &Settings {
        &self.0.core.settings
    }

    /// A module that is in memory already.
    pub fn loaded(&self, tenant: &TenantId, digest: Digest) -> Option<Module> {
        self.0.recall(&(tenant.clone(), digest))
    }

    /// Makes a module callable: from memory, from the cache on disk, or by compiling it. Blocks, up
    /// to the compiler's limits; call it where blocking is allowed.
    ///
    /// # Errors
    /// What [`inspect`] finds, `TooComplex`, or `Compiler` when the compiler process cannot run.
    pub fn load(&self, tenant: &TenantId, wasm: &[u8]) -> Result<Module, Error> {
        let shared = &self.0;
        let key = (tenant.clone(), digest(wasm));
        if let Some(module) = shared.recall(&key) {
            return Ok(module);
        }
        let gate = Arc::clone(
            lock(&shared.modules)
                .loading
                .entry(key.clone())
                .or_default(),
        );
        let result = {
            let _turn = lock(&gate);
            match shared.recall(&key) {
                Some(module) => Ok(module),
                None => shared.load(&key, wasm),
            }
        };
        let mut modules = lock(&shared.modules);
        modules.loading.remove(&key);
        if let Ok(module) = &result {
            modules.keep(key, module, shared.core.settings.modules);
        }
        result
    }

    /// How often modules were compiled, and how long that took.
    pub fn compile_counts(&self) -> CompileCounts {
        let compiles = &self.0.compiles;
        CompileCounts {
            done: compiles.done.load(Ordering::Relaxed),
            failed: compiles.failed.load(Ordering::Relaxed),
            seconds: Duration::from_nanos(compiles.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }

    /// Counts at this moment.
    pub fn stats(&self) -> Stats {
        let shared = &self.0;
        Stats {
            instances: u64::from(shared.core.settings.instances - shared.core.slots.free()),
            modules: lock(&shared.modules).entries.len() as u64,
            compiled: shared.compiles.done.load(Ordering::Relaxed),
            loaded: shared.loaded.load(Ordering::Relaxed),
        }
    }
}

impl Modules {
    fn keep(&mut self, key: ModuleKey, module: &Module, limit: usize) {
        self.uses += 1;
        self.entries.insert(key, (self.uses, module.clone()));
        while self.entries.len() > limit.max(1) {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.entries.remove(&key);
        }
    }
}

impl Shared {
    fn recall(&self, key: &ModuleKey) -> Option<Module> {
        let mut modules = lock(&self.modules);
        modules.uses += 1;
        let uses = modules.uses;
        let (used, module) = modules.entries.get_mut(key)?;
        *used = uses;
        Some(module.clone())
    }

    fn load(&self, (tenant, digest): &ModuleKey, wasm: &[u8]) -> Result<Module, Error> {
        let lines = places::lines(wasm);
        let (engine, compatibility) = match lines {
            Lines::Forgotten => (&self.core.engine, &self.compatibility[0]),
            Lines::Kept => (&self.core.lines, &self.compatibility[1]),
        };
        let key = Key {
            tenant,
            digest: *digest,
            compatibility,
        };
        let cached = self
            .artifacts
            .as_ref()
            .and_then(|artifacts| artifacts.get(&key));
        let usable = cached.and_then(|artifact| {
            let manifest = Manifest::parse(&artifact.manifest).ok()?;
            let code = Self::deserialize(engine, &artifact.code);
            code.map_err(|e| tracing::warn!("compiled code does not load: {e}"))
                .ok()
                .map(|c| (manifest, c, artifact.places))
        });
        let (manifest, code, places) = match usable {
            Some(found) => {
                self.loaded.fetch_add(1, Ordering::Relaxed);
                found
            }
            None => {
                let inspection = inspect(wasm)?;
                let settings = &self.core.settings;
                let started = Instant::now();
                let compiled = compile(&settings.compiler, lines, settings.stack_bytes, wasm);
                self.compiles.count(started.elapsed(), compiled.is_ok());
                let Compiled { code, places } = compiled?;
                if let Some(artifacts) = &self.artifacts {
                    // The module works without the cache; only the next start is slower.
                    if let Err(e) = artifacts.put(&key, &inspection.manifest_text, &code, &places) {
                        tracing::warn!("{e}");
                    }
                }
                // Fresh code that does not load needs more than the pool offers.
                let loaded = Self::deserialize(engine, &code).map_err(|e| match e {
                    Error::Internal(text) => Error::Invalid(text),
                    other => other,
                })?;
                (inspection.manifest, loaded, places)
            }
        };
        let code = host::linker(engine, &code)?
            .instantiate_pre(&code)
            .map_err(|e| Error::Invalid(format!("it cannot be linked: {e:#}")))?;
        Ok(Module(Arc::new(Loaded {
            digest: *digest,
            manifest,
            code,
            places,
            core: Arc::clone(&self.core),
        })))
    }

    #[allow(
        unsafe_code,
        reason = "loading compiled code is the purpose of the cache"
    )]
    fn deserialize(engine: &Engine, code: &[u8]) -> Result<wasmtime::Module, Error> {
        // SAFETY: the bytes were compiled by our own compiler: they come straight from its process,
        // or from the cache with a digest keyed by this installation's secret, which covers these
        // very bytes in memory (see `artifacts`; tampered and swapped files are tested there).
        unsafe { wasmtime::Module::deserialize(engine, code) }
            .map_err(|e| Error::Internal(format!("compiled code does not load: {e:#}")))
    }
}

impl Module {
    /// Identity: SHA-256 of the module's bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The index of a function by its name.
    pub fn function(&self, name: &str) -> Option<usize> {
        self.0
            .manifest
            .functions
            .iter()
            .position(|f| f.name == name)
    }

    /// Makes an instance for one partition of a job; waits when the pool is full.
    ///
    /// # Errors
    /// `Exhausted`, or a `Trap` of the module's own start.
    pub fn instantiate(&self, context: &Arc<Context>) -> Result<Instance, Error> {
        Instance::new(self, context)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("package", &self.0.manifest.package)
            .field("digest", &self.0.digest)
            .finish_non_exhaustive()
    }
}
