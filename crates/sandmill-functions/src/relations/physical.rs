//! From the nodes of the logical plan to those that run.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::groups::GroupsExec;
use super::logical::{MapNode, TableNode};
use super::map::MapExec;
use super::table::TableExec;

/// DataFusion's planner, with the functions that give rows.
#[derive(Debug, Default)]
pub struct RelationQueryPlanner;

#[async_trait]
impl QueryPlanner for RelationQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Nodes)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct Nodes;

#[async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let exprs = |exprs: &[Expr], schema: &DFSchema| {
            exprs
                .iter()
                .map(|expr| planner.create_physical_expr(expr, schema, session, context))
                .collect::<Result<Vec<_>>>()
        };
        if let Some(node) = node.as_any().downcast_ref::<TableNode>() {
            let arguments = exprs(&node.arguments, logical[0].schema())?;
            let input = with_arguments(&inputs[0], arguments)?;
            let schema = Arc::clone(node.schema().inner());
            let (call, outer) = (node.call.clone(), node.outer);
            return Ok(Some(Arc::new(TableExec::new(call, input, outer, schema))));
        }
        let Some(node) = node.as_any().downcast_ref::<MapNode>() else {
            return Ok(None);
        };
        let constants = exprs(&node.constants, &DFSchema::empty())?;
        let schema = Arc::clone(node.schema().inner());
        let call = node.call.clone();
        let inputs = inputs.to_vec();
        Ok(Some(match (node.shapes.as_slice(), inputs.first()) {
            ([], Some(input)) => Arc::new(MapExec::new(call, Arc::clone(input), constants, schema)),
            (shapes, _) => Arc::new(GroupsExec::new(
                call,
                inputs,
                shapes.to_vec(),
                constants,
                schema,
            )),
        }))
    }
}

/// The columns of `input` and the arguments behind them.
fn with_arguments(
    input: &Arc<dyn ExecutionPlan>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let columns = schema.fields().iter().enumerate().map(|(n, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), n));
        (column, field.name().clone())
    });
    let arguments = arguments.into_iter().enumerate();
    let arguments = arguments.map(|(n, argument)| (argument, format!("argument {n}")));
    let exprs: Vec<_> = columns.chain(arguments).collect();
    if exprs.is_empty() {
        return Ok(Arc::clone(input));
    }
    Ok(Arc::new(ProjectionExec::try_new(exprs, Arc::clone(input))?))
}
