//! User functions as DataFusion sees them: scalar functions whose calls run in the sandbox.
//!
//! A job has one [`JobScope`]. [`register`] makes each function version callable, by its kind; the
//! [`SandboxRule`], the last physical optimizer rule of the session, wraps every node that calls
//! functions so that each of its partitions has instances of its own.
//!
//! Invariants:
//! - While a statement is planned only immutable functions run, and only on constants.
//! - No lock that another partition may want is held while a guest runs.
//! - An error of a guest keeps its type on its way through DataFusion: see [`failure_of`].
#![deny(missing_docs)]

mod aggregate;
mod chain;
mod coercion;
mod failure;
mod instances;
mod node;
mod partition;
mod relations;
mod scalar;
mod window;

pub use chain::ChainRule;
pub use failure::failure_of;
pub use node::SandboxRule;
pub use relations::{RelationQueryPlanner, Relations, prepare, resolve};
pub use sandmill_sandbox::sql_name;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::DataFusionError;
use datafusion::logical_expr::Volatility;
use datafusion::prelude::SessionContext;
use sandmill_model::FunctionPin;
use sandmill_sandbox::{Context, Function, FunctionKind, Instance, Module};

/// Makes a function version callable in the statements of a session, where its kind belongs.
pub fn register(session: &SessionContext, version: Version, scope: &Arc<JobScope>) {
    let scope = Arc::clone(scope);
    match version.function().kind {
        FunctionKind::Scalar => session.register_udf(scalar::scalar(version, scope)),
        FunctionKind::Aggregate => session.register_udaf(aggregate::aggregate(version, scope)),
        FunctionKind::Window => session.register_udwf(window::window(version, scope)),
        // They give rows: no expression calls them.
        FunctionKind::Table
        | FunctionKind::Map
        | FunctionKind::GroupedMap
        | FunctionKind::CogroupedMap => {}
    }
}

/// A function version that a job uses.
#[derive(Debug, Clone)]
pub struct Version {
    /// Name, version and digest.
    pub pin: FunctionPin,
    /// The loaded module.
    pub module: Module,
    /// Index of the function within the module.
    pub index: usize,
}

impl Version {
    /// What the manifest says of it.
    pub fn function(&self) -> &Function {
        &self.module.manifest().functions[self.index]
    }

    /// An error of the sandbox with the function's name and version.
    pub(crate) fn failed(&self, error: sandmill_sandbox::Error) -> DataFusionError {
        let number = self.pin.version.to_string();
        failure::external(error.into_failure(Some((self.pin.function(), &number))))
    }

    /// What the planner may assume, in its own words.
    pub(crate) fn volatility(&self) -> Volatility {
        match self.function().volatility {
            sandmill_model::Volatility::Immutable => Volatility::Immutable,
            sandmill_model::Volatility::Stable => Volatility::Stable,
            sandmill_model::Volatility::Volatile => Volatility::Volatile,
        }
    }
}

/// What all function calls of one job share.
#[derive(Debug)]
pub struct JobScope {
    context: Arc<Context>,
    executing: AtomicBool,
    /// Instances for calls outside of any partition: constant folding, and nodes that evaluate
    /// expressions on threads of their own.
    idle: Mutex<Vec<Idle>>,
}

struct Idle(Instance);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Instance")
    }
}

impl JobScope {
    /// A scope that is still planning.
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self {
            context,
            executing: AtomicBool::new(false),
            idle: Mutex::default(),
        })
    }

    /// Ends planning: from now on every function may run.
    pub fn start(&self) {
        self.executing.store(true, Ordering::Release);
    }

    fn is_executing(&self) -> bool {
        self.executing.load(Ordering::Acquire)
    }
}
