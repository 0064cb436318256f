//! How deep and how large a plan may be before it is optimised.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};
use sandmill_model::Failure;

use super::too_deep;

/// Levels of a plan, those of its nodes' expressions included.
const LEVELS: usize = 1200;
/// What a node weighs beside a level of an expression: more code recurses over nodes.
const NODE_LEVELS: usize = 4;
/// Nodes of a plan, one that is used twice counted twice.
const NODES: usize = 10_000;
/// Subqueries in expressions: the optimiser's work grows with their square.
const SUBQUERIES: usize = 256;
/// Parts of a condition when each column is written out as what computes it: the optimiser moves
/// conditions below projections, and a column that stands twice in each of n doubles n times.
const CONDITION: usize = 10_000;

/// Measures a plan that is not optimised yet.
///
/// # Errors
/// `sql.unsupported`.
pub(crate) fn check_plan(plan: &LogicalPlan) -> Result<(), Failure> {
    walk(plan, 0, &mut Counts::default()).map(|_| ())
}

#[derive(Default)]
struct Counts {
    nodes: usize,
    subqueries: usize,
}

/// Stops at the limits, so it neither recurses deeper nor counts longer than they allow. Gives the
/// parts of each output column when it is written out.
fn walk(plan: &LogicalPlan, above: usize, counts: &mut Counts) -> Result<Vec<usize>, Failure> {
    counts.nodes += 1;
    if counts.nodes > NODES {
        return Err(too_deep(format!(
            "The statement has more than {NODES} steps."
        )));
    }
    let mut deepest = 0;
    // The closures cannot fail.
    let _ = plan.apply_expressions(|expr| {
        deepest = deepest.max(levels(expr));
        Ok(TreeNodeRecursion::Continue)
    });
    let level = above + NODE_LEVELS + deepest;
    if level > LEVELS {
        return Err(too_deep("The statement is nested too deeply.".into()));
    }
    let mut result = Ok(Vec::new());
    let _ = plan.apply_subqueries(|subquery| {
        counts.subqueries += 1;
        result = match counts.subqueries <= SUBQUERIES {
            true => walk(subquery, level, counts),
            false => Err(too_deep(format!(
                "The statement has more than {SUBQUERIES} subqueries, those of WITH at each use."
            ))),
        };
        Ok(match result {
            Ok(_) => TreeNodeRecursion::Continue,
            Err(_) => TreeNodeRecursion::Stop,
        })
    });
    result?;
    let inputs = plan.inputs();
    let inputs = inputs
        .into_iter()
        .map(|input| Ok((input, walk(input, level, counts)?)))
        .collect::<Result<Vec<_>, _>>()?;
    columns(plan, &inputs)
}

/// Parts of the output columns from those of the inputs.
fn columns(
    plan: &LogicalPlan,
    inputs: &[(&LogicalPlan, Vec<usize>)],
) -> Result<Vec<usize>, Failure> {
    let size = |expr: &Expr| written_out(expr, inputs);
    let mut known: Vec<usize> = match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().map(size).collect(),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.iter().map(size).collect(),
        LogicalPlan::Filter(filter) => {
            if size(&filter.predicate) > CONDITION {
                return Err(large());
            }
            inputs[0].1.clone()
        }
        LogicalPlan::Join(join) => {
            let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
            if keys.chain(&join.filter).any(|expr| size(expr) > CONDITION) {
                return Err(large());
            }
            let kept = match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => &inputs[1..],
                _ => inputs,
            };
            kept.iter().flat_map(|(_, sizes)| sizes.clone()).collect()
        }
        LogicalPlan::Union(_) => {
            let mut most = vec![1; plan.schema().fields().len()];
            for (_, sizes) in inputs {
                let pairs = most.iter_mut().zip(sizes);
                pairs.for_each(|(most, size)| *most = (*most).max(*size));
            }
            most
        }
        // The others hand their input's columns on, with what they compute behind.
        _ => inputs
            .first()
            .map_or(Vec::new(), |(_, sizes)| sizes.clone()),
    };
    known.resize(plan.schema().fields().len(), 1);
    Ok(known)
}

fn large() -> Failure {
    too_deep(format!(
        "A condition has more than {CONDITION} parts when the columns in it are written out."
    ))
}

/// Parts of an expression, each column counted as what computes it.
fn written_out(expr: &Expr, inputs: &[(&LogicalPlan, Vec<usize>)]) -> usize {
    if let Expr::Column(column) = expr {
        let found = inputs.iter().find_map(|(plan, sizes)| {
            let index = plan.schema().maybe_index_of_column(column)?;
            sizes.get(index).copied()
        });
        return found.unwrap_or(1);
    }
    let mut size = 1_usize;
    let _ = expr.apply_children(|child| {
        size = size.saturating_add(written_out(child, inputs));
        Ok(TreeNodeRecursion::Continue)
    });
    size
}

/// Levels of an expression, which the text's own limit bounds.
fn levels(expr: &Expr) -> usize {
    let mut deepest = 0;
    let _ = expr.apply_children(|child| {
        deepest = deepest.max(levels(child));
        Ok(TreeNodeRecursion::Continue)
    });
    deepest + 1
}
