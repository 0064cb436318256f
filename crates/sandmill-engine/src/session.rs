use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::config::Dialect;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use sandmill_functions::{
    ChainRule, JobScope, RelationQueryPlanner, Relations, SandboxRule, Version, prepare, register,
    resolve,
};
use sandmill_model::{ErrorCode, Failure, Parameter, TableDescription, TableSpec};

use crate::failure::{failure, table_failure};
use crate::pauses::PauseRule;
use crate::plan::Plan;
use crate::tables::{self, Roots};
use crate::{calls, columns, limits, params};

/// What an engine may use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folders that tables may lie below; none means that no table can be registered.
    pub allowed_roots: Vec<PathBuf>,
    /// Memory of all queries together in bytes; beyond it operators spill.
    pub memory_bytes: usize,
    /// Partitions of one query: the cores it may keep busy.
    pub target_partitions: usize,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Where operators spill; the system's temporary folder when `None`.
    pub spill_dir: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_roots: Vec::new(),
            memory_bytes: 4 << 30,
            target_partitions: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            batch_size: 8192,
            spill_dir: None,
        }
    }
}

/// One statement with everything it may use.
pub struct Query {
    /// The statement.
    pub sql: String,
    /// Values of its parameters.
    pub params: Vec<Parameter>,
    /// Tables by name.
    pub tables: Vec<TableSpec>,
    /// Functions by name.
    pub functions: Vec<Version>,
    /// What the functions' instances share: cancellation, deadline, logs.
    pub context: Arc<sandmill_sandbox::Context>,
}

/// Plans queries. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
    roots: Roots,
}

impl Engine {
    /// Opens the allowed roots and the memory pool.
    ///
    /// # Errors
    /// `table.missing` when a root does not exist.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let roots = Roots::open(&settings.allowed_roots)?;
        let top = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
        let pool = TrackConsumersPool::new(FairSpillPool::new(settings.memory_bytes), top);
        let mut runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool));
        if let Some(folder) = &settings.spill_dir {
            runtime = runtime.with_temp_file_path(folder);
        }
        let runtime = runtime.build_arc().map_err(|e| failure(&e, ""))?;
        Ok(Self {
            runtime,
            config: config(&settings),
            roots,
        })
    }

    /// Looks at a table: its columns and size.
    ///
    /// # Errors
    /// `table.path`, `table.missing` or `table.format`.
    pub async fn describe_table(&self, spec: &TableSpec) -> Result<TableDescription, Failure> {
        let context = SessionContext::new_with_state(self.builder().build());
        let found = self.roots.find(spec)?;
        let provider = tables::provider(&context, &found, spec.format).await;
        let provider = provider.map_err(|e| table_failure(&e, spec))?;
        Ok(TableDescription {
            columns: columns(&provider.schema()),
            bytes: found.bytes,
            spec: TableSpec {
                path: found.path.to_string_lossy().into_owned(),
                ..spec.clone()
            },
        })
    }

    async fn open(
        &self,
        context: &SessionContext,
        spec: &TableSpec,
    ) -> Result<Arc<dyn TableProvider>, Failure> {
        let found = self.roots.find(spec)?;
        let provider = tables::provider(context, &found, spec.format).await;
        provider.map_err(|e| table_failure(&e, spec))
    }

    fn builder(&self) -> SessionStateBuilder {
        SessionStateBuilder::new()
            .with_config(self.config.clone())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
    }

    /// Parses and plans a query. Immutable functions of constants are computed here, in the sandbox.
    ///
    /// # Errors
    /// What is wrong with the statement, its parameters or the tables it names.
    pub async fn plan(&self, query: Query) -> Result<Plan, Failure> {
        limits::check_text(&query.sql)?;
        let scope = JobScope::new(Arc::clone(&query.context));
        let state = self
            .builder()
            .with_optimizer_rule(Arc::new(ChainRule))
            .with_physical_optimizer_rule(Arc::new(PauseRule))
            .with_physical_optimizer_rule(Arc::new(SandboxRule))
            .with_query_planner(Arc::new(RelationQueryPlanner))
            .with_relation_planners(vec![Arc::new(Relations::new(&query.functions, &scope))])
            .build();
        let builtin = Builtin::of(&state);
        let context = SessionContext::new_with_state(state);
        for version in &query.functions {
            register(&context, version.clone(), &scope);
        }
        let sql = query.sql.as_str();
        let wrong = |e| failure(&e, sql);
        let mut statement = context
            .state()
            .sql_to_statement(sql, &Dialect::PostgreSQL)
            .map_err(wrong)?;
        prepare(&mut statement, &query.functions, |name, rows| {
            builtin.has(name, rows)
        })?;
        limits::check_statement(&statement)?;
        calls::complete(&mut statement, &query.functions)?;
        let named = context
            .state()
            .resolve_table_references(&statement)
            .map_err(wrong)?;
        // SHOW TABLES and the like see every table that can be opened.
        let all = named
            .iter()
            .any(|name| name.schema() == Some("information_schema"));
        for spec in &query.tables {
            // Opening a table reads files: only those that the statement names.
            let needed = named.iter().any(|name| name.table() == spec.name);
            if !needed && !all {
                continue;
            }
            let provider = match self.open(&context, spec).await {
                Ok(provider) => provider,
                Err(failure) if needed => return Err(failure),
                Err(_) => continue,
            };
            context
                .register_table(spec.name.as_str(), provider)
                .map_err(wrong)?;
        }
        let logical = context.state().statement_to_plan(statement).await;
        let logical = logical.map_err(|e| {
            let known = query.tables.iter().map(|t| t.name.as_str());
            crate::failure::with_suggestions(failure(&e, sql), known)
        })?;
        let logical = resolve(logical).map_err(wrong)?;
        limits::check_plan(&logical)?;
        let allowed = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        allowed.verify_plan(&logical).map_err(|e| {
            Failure::new(
                ErrorCode::SqlForbidden,
                crate::failure::sentence(&e.strip_backtrace()),
            )
            .hint("A job runs one query that reads: SELECT, WITH, VALUES, EXPLAIN or SHOW.")
        })?;
        let logical = params::bind(&context, logical, &query.params)
            .map_err(|f| f.map_err(wrong).unwrap_or_else(|f| f))?;
        let physical = context
            .state()
            .create_physical_plan(&logical)
            .await
            .map_err(wrong)?;
        Ok(Plan::new(
            query.sql.clone(),
            physical,
            context.task_ctx(),
            scope,
        ))
    }
}

/// The names of SQL's own functions.
struct Builtin {
    values: HashSet<String>,
    rows: HashSet<String>,
}

impl Builtin {
    fn of(state: &SessionState) -> Self {
        let scalars = state.scalar_functions().keys();
        let aggregates = state.aggregate_functions().keys();
        let values = scalars.chain(aggregates);
        Self {
            values: values
                .chain(state.window_functions().keys())
                .cloned()
                .collect(),
            rows: state.table_functions().keys().cloned().collect(),
        }
    }

    /// Whether there is a function that gives rows, or a value.
    fn has(&self, name: &str, rows: bool) -> bool {
        if rows { &self.rows } else { &self.values }.contains(name)
    }
}

/// The settings of every session, in one place. `docs/performance.md` says how they were chosen.
fn config(settings: &Settings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.target_partitions.max(1))
        .with_batch_size(settings.batch_size.clamp(1, sandmill_rows()))
        .with_information_schema(true);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.collect_spans = true;
    options.execution.parquet.pushdown_filters = false;
    options.explain.logical_plan_only = false;
    // A folder is a table with all that lies below it, as `tables.rs` measures it.
    options.execution.listing_table_ignore_subdirectory = false;
    config
}

/// Batches never exceed what one call of a function takes.
fn sandmill_rows() -> usize {
    1 << 20
}
