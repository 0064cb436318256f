//! Table functions whose arguments are columns of the tables before them.
//!
//! The planner makes a join with a subquery that refers to the outer row. A table function needs no
//! join: it hands the rows of its input on, each with what it gives for it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Extension, Filter, Join, JoinType, LogicalPlan, lit};
use sandmill_model::{ErrorCode, Failure};

use super::logical::{MapNode, TableNode};
use crate::failure::external;

/// Puts table functions above the tables that they refer to. To be called with every plan of a
/// statement before it is optimised.
///
/// # Errors
/// `sql.unsupported` where a function refers to rows in a way that has no plan.
pub fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan
        .transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) => lateral(join),
            other => Ok(Transformed::no(other)),
        })
        .data()?;
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Extension(extension) = plan {
            let node = extension.node.as_any();
            let ours = node.is::<TableNode>() || node.is::<MapNode>();
            if ours
                && extension
                    .node
                    .expressions()
                    .iter()
                    .any(Expr::contains_outer)
            {
                return Err(unsupported(
                    "A table function cannot refer to rows outside of the FROM that it stands in",
                ));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(plan)
}

fn unsupported(message: &str) -> datafusion::common::DataFusionError {
    let failure = Failure::new(ErrorCode::SqlUnsupported, format!("{message}."));
    external(failure.hint(
        "Write `FROM t, f(t.a)`, `FROM t JOIN LATERAL f(t.a) AS u ON ...` or \
         `FROM t LEFT JOIN LATERAL f(t.a) AS u ON true`.",
    ))
}

fn lateral(join: Join) -> Result<Transformed<LogicalPlan>> {
    let function = match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => table_function(&subquery.subquery),
        _ => None,
    };
    let Some(function) = function else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let left = join.left.schema();
    let arguments = function
        .arguments
        .iter()
        .map(|argument| {
            argument
                .clone()
                .transform(|expr| {
                    Ok(match expr {
                        Expr::OuterReferenceColumn(_, column) if left.has_column(&column) => {
                            Transformed::yes(Expr::Column(column))
                        }
                        other => Transformed::no(other),
                    })
                })
                .data()
        })
        .collect::<Result<Vec<_>>>()?;
    let equal = join.on.iter().map(|(a, b)| a.clone().eq(b.clone()));
    let condition = join.filter.iter().cloned();
    let conditions: Vec<_> = equal
        .chain(condition)
        .filter(|condition| *condition != lit(true))
        .collect();
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if conditions.is_empty() => true,
        JoinType::Left => {
            return Err(unsupported(
                "LEFT JOIN LATERAL with a table function takes no condition but `ON true`",
            ));
        }
        _ => {
            return Err(unsupported(
                "A table function is joined with JOIN or LEFT JOIN only",
            ));
        }
    };
    let node = TableNode::new(
        function.call.clone(),
        function.named.clone(),
        join.left.as_ref().clone(),
        arguments,
        outer,
    )?;
    let plan = LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    });
    Ok(Transformed::yes(match conjunction(conditions) {
        Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?),
        None => plan,
    }))
}

fn table_function(plan: &LogicalPlan) -> Option<&TableNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<TableNode>(),
        _ => None,
    }
}
