//! Functions that give rows, in `FROM`: table functions and the three kinds of maps.
//!
//! [`prepare`] looks at the syntax tree before anything else does; [`Relations`] turns a call in
//! `FROM` into a node of the logical plan; [`resolve`] lets table functions see the rows beside them;
//! [`RelationQueryPlanner`] makes the nodes that run.

mod arguments;
mod errors;
mod exec;
mod groups;
mod lateral;
mod logical;
mod map;
mod physical;
mod side;
mod sql;
mod statement;
mod table;

pub use lateral::resolve;
pub use physical::RelationQueryPlanner;
pub use sql::Relations;
pub use statement::prepare;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::DataFusionError;
use sandmill_sandbox::{Error, Function, Instance, Stream};

use crate::{JobScope, Version};

/// A function version as a job calls it. Two of them are equal when they are the same version in the
/// same job.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    version: Version,
    scope: Arc<JobScope>,
}

impl Call {
    fn function(&self) -> &Function {
        self.version.function()
    }

    fn name(&self) -> &str {
        &self.version.pin.name
    }

    /// An error of the sandbox with the function's name and version.
    fn failed(&self, error: Error) -> DataFusionError {
        self.version.failed(error)
    }

    fn stream(
        &self,
        constants: &[datafusion::arrow::array::ArrayRef],
    ) -> Result<Stream, DataFusionError> {
        let (module, context) = (&self.version.module, &self.scope.context);
        Stream::open(module, context, self.version.index, constants).map_err(|e| self.failed(e))
    }

    fn instance(&self) -> Result<Instance, DataFusionError> {
        let module = &self.version.module;
        module
            .instantiate(&self.scope.context)
            .map_err(|e| self.failed(e))
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.version.pin == other.version.pin && Arc::ptr_eq(&self.scope, &other.scope)
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.pin.hash(state);
    }
}

impl PartialOrd for Call {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let key = |call: &Self| (call.version.pin.name.clone(), call.version.pin.version);
        key(self).partial_cmp(&key(other))
    }
}
