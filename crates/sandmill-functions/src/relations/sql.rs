//! Plans calls in `FROM`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Column;
use datafusion::common::{DFSchema, ExprSchema, Result, TableReference};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::utils::expr_to_columns;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, col, lit,
};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, TableAlias, TableFactor};
use sandmill_sandbox::{Function, FunctionKind, sql_name};

use super::Call;
use super::arguments::{Arguments, Input, split};
use super::errors::wrong_call;
use super::logical::{MapNode, Named, Shape, TableNode};
use super::statement::{ident, normal};
use crate::coercion::{coerce, target};
use crate::failure::external;
use crate::{JobScope, Version};

/// The functions of a job that give rows.
#[derive(Debug)]
pub struct Relations(HashMap<String, Call>);

impl Relations {
    /// Those of `versions` that give rows, for the statements of one job.
    pub fn new(versions: &[Version], scope: &Arc<JobScope>) -> Self {
        let relations = versions.iter().filter(|v| v.function().kind.gives_rows());
        let calls = relations.map(|version| {
            let call = Call {
                version: version.clone(),
                scope: Arc::clone(scope),
            };
            (version.pin.name.clone(), call)
        });
        Self(calls.collect())
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        // `prepare` brought all calls into this form.
        let TableFactor::Function {
            name, args, alias, ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(call) = ident(name).and_then(|name| self.0.get(&name)) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let named = names(call.function(), alias.as_ref())?;
        let plan = plan(call, named, args.clone(), context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, None,
        ))))
    }
}

fn names(function: &Function, alias: Option<&TableAlias>) -> Result<Named> {
    let mut columns: Vec<String> = function.columns.iter().map(|f| f.name().clone()).collect();
    let Some(alias) = alias else {
        return Ok(Named {
            qualifier: TableReference::bare(function.name.as_str()),
            columns,
        });
    };
    if alias.columns.len() > columns.len() {
        let (count, given) = (columns.len(), alias.columns.len());
        let message = format!("has {count} columns, and its alias names {given}");
        return Err(external(wrong_call(function, message)));
    }
    for (column, given) in columns.iter_mut().zip(&alias.columns) {
        *column = normal(&given.name);
    }
    Ok(Named {
        qualifier: TableReference::bare(normal(&alias.name)),
        columns,
    })
}

fn plan(
    call: &Call,
    named: Named,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let function = call.function();
    let Arguments { inputs, values } = split(function, args).map_err(external)?;
    let values = values
        .into_iter()
        .map(|value| context.sql_to_expr(value, &DFSchema::empty()))
        .collect::<Result<Vec<_>>>()?;
    let values = coerced(function, values)?;
    if function.kind == FunctionKind::Table {
        let row = LogicalPlanBuilder::empty(true).build()?;
        let node = TableNode::new(call.clone(), named, row, values, false)?;
        return Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }));
    }
    let constant = |value: &Expr| {
        let mut columns = Default::default();
        expr_to_columns(value, &mut columns).is_ok_and(|()| columns.is_empty())
            && !value.contains_outer()
            && !value.contains_scalar_subquery()
    };
    if let Some(value) = values.iter().find(|value| !constant(value)) {
        let message = format!("takes constants beside its tables, and `{value}` is none");
        return Err(external(wrong_call(function, message)));
    }
    let mut plans = Vec::with_capacity(inputs.len());
    let mut cuts = Vec::with_capacity(inputs.len());
    for (place, input) in inputs.into_iter().enumerate() {
        let (plan, cut) = table(function, place, input, context)?;
        plans.push(plan);
        cuts.push(cut);
    }
    if let [left, right] = cuts.as_mut_slice() {
        same_keys(function, left, right, &plans)?;
    }
    let mut shapes = Vec::new();
    let mut projected = Vec::with_capacity(plans.len());
    for (plan, mut cut) in plans.into_iter().zip(cuts) {
        if function.kind != FunctionKind::Map {
            if !cut.partitioned {
                // Without keys all rows are one group.
                cut.keys.push(lit(0_i8));
            }
            shapes.push(cut.shape());
        }
        let exprs = cut.data.into_iter().chain(cut.keys).chain(cut.order);
        // Names that no column of a manifest can have.
        let exprs = exprs
            .enumerate()
            .map(|(n, expr)| expr.alias(format!("{} {n}", function.name)));
        projected.push(LogicalPlanBuilder::from(plan).project(exprs)?.build()?);
    }
    let node = MapNode::new(call.clone(), named, projected, shapes, values)?;
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    }))
}

/// The expressions of an input: the columns that the function takes, keys, and order.
struct Cut {
    data: Vec<Expr>,
    keys: Vec<Expr>,
    order: Vec<Expr>,
    directions: Vec<(bool, bool)>,
    partitioned: bool,
}

impl Cut {
    fn shape(&self) -> Shape {
        Shape {
            keys: self.keys.len(),
            order: self.directions.clone(),
            partitioned: self.partitioned,
        }
    }
}

fn table(
    function: &Function,
    place: usize,
    input: Input,
    context: &mut dyn RelationPlannerContext,
) -> Result<(LogicalPlan, Cut)> {
    let plan = context.plan(TableFactor::Derived {
        lateral: false,
        subquery: input.query,
        alias: None,
        sample: None,
    })?;
    let schema = Arc::clone(plan.schema());
    let expected = &function.inputs[place];
    let which = match (function.inputs.len(), place) {
        (1, _) => "its table",
        (_, 0) => "its left table",
        _ => "its right table",
    };
    if schema.fields().len() != expected.len() {
        let (given, count) = (schema.fields().len(), expected.len());
        let columns = if count == 1 { "column" } else { "columns" };
        let message = format!("takes {count} {columns} of {which}, {given} given");
        return Err(external(wrong_call(function, message)));
    }
    let data = schema
        .iter()
        .zip(expected)
        .map(|((qualifier, field), expected)| {
            let expr = col(Column::from((qualifier, field)));
            column(function, which, expr, field, expected)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut keys = Vec::new();
    for key in input.partition_by {
        keys.push(context.sql_to_expr(key, &schema)?);
    }
    let (mut order, mut directions) = (Vec::new(), Vec::new());
    for ast::OrderByExpr { expr, options, .. } in input.order_by {
        order.push(context.sql_to_expr(expr, &schema)?);
        let falls = options.asc == Some(false);
        // As PostgreSQL: NULL is larger than all values.
        directions.push((falls, options.nulls_first.unwrap_or(falls)));
    }
    let cut = Cut {
        partitioned: !keys.is_empty(),
        data,
        keys,
        order,
        directions,
    };
    Ok((plan, cut))
}

/// A column of an input as the type that the manifest wants.
fn column(
    function: &Function,
    which: &str,
    expr: Expr,
    field: &FieldRef,
    expected: &FieldRef,
) -> Result<Expr> {
    let given = field.data_type();
    let wanted = target(expected.data_type(), given).ok_or_else(|| {
        let message = format!(
            "takes {} as column {} of {which}, not {}",
            sql_name(expected.data_type()),
            expected.name(),
            sql_name(given)
        );
        external(wrong_call(function, message))
    })?;
    Ok(cast(expr, given, &wanted))
}

fn cast(expr: Expr, given: &DataType, wanted: &DataType) -> Expr {
    match given == wanted {
        true => expr,
        false => Expr::Cast(Cast::new(Box::new(expr), wanted.clone())),
    }
}

/// The values of arguments as the manifest's types.
fn coerced(function: &Function, values: Vec<Expr>) -> Result<Vec<Expr>> {
    let schema = DFSchema::empty();
    let given = values
        .iter()
        .map(|value| match value {
            // Parameters have no type before they are bound.
            Expr::Placeholder(_) => Ok(DataType::Null),
            Expr::Column(column) => Ok(schema.data_type(column)?.clone()),
            other => other.get_type(&schema),
        })
        .collect::<Result<Vec<_>>>()?;
    let wanted = coerce(function, &given)?;
    let pairs = values.into_iter().zip(given.iter().zip(&wanted));
    Ok(pairs
        .map(|(value, (given, wanted))| cast(value, given, wanted))
        .collect())
}

/// Brings the keys of both sides to the same types, so that equal keys meet.
fn same_keys(
    function: &Function,
    left: &mut Cut,
    right: &mut Cut,
    plans: &[LogicalPlan],
) -> Result<()> {
    if left.keys.len() != right.keys.len() {
        let (left, right) = (left.keys.len(), right.keys.len());
        let message = format!("cuts its left table by {left} keys and its right one by {right}");
        return Err(external(wrong_call(function, message)));
    }
    for (left, right) in left.keys.iter_mut().zip(&mut right.keys) {
        let (a, b) = (
            left.get_type(plans[0].schema())?,
            right.get_type(plans[1].schema())?,
        );
        let common = datafusion::logical_expr::type_coercion::binary::comparison_coercion(&a, &b);
        let Some(common) = common else {
            let message = format!(
                "cannot compare its keys {} and {}",
                sql_name(&a),
                sql_name(&b)
            );
            return Err(external(wrong_call(function, message)));
        };
        *left = cast(left.clone(), &a, &common);
        *right = cast(right.clone(), &b, &common);
    }
    Ok(())
}
