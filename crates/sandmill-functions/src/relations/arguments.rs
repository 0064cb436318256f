//! Takes the arguments of a call in `FROM` apart: tables, how they are cut, and constants.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByExpr,
    OrderByOptions, Query, WindowType,
};
use sandmill_model::Failure;
use sandmill_sandbox::{Function, FunctionKind};

use super::errors::wrong_call;
use super::statement::{ident, literal, normal, null};

/// A table that a map takes.
pub(super) struct Input {
    pub query: Box<Query>,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<OrderByExpr>,
}

/// The arguments in the order of the manifest.
pub(super) struct Arguments {
    pub inputs: Vec<Input>,
    pub values: Vec<Expr>,
}

pub(super) fn split(function: &Function, args: Vec<FunctionArg>) -> Result<Arguments, Failure> {
    let count = function.kind.inputs();
    let mut inputs: Vec<Option<Input>> = (0..count).map(|_| None).collect();
    let mut values: Vec<Option<Expr>> = function.arguments.iter().map(|_| None).collect();
    let (mut partition_by, mut order_by, mut place) = (None, None, 0);
    let mut named = false;
    for arg in args {
        let (name, expr) = named_value(function, arg)?;
        let place = match name.as_deref() {
            None if named => {
                return Err(wrong_call(function, "takes no argument behind named ones"));
            }
            None => {
                place += 1;
                place - 1
            }
            Some(name) => {
                named = true;
                let declared = function.arguments.iter().position(|a| a.name == name);
                match (declared, name) {
                    (Some(found), _) => count + found,
                    (None, "input" | "left") if count > 0 => 0,
                    (None, "right") if count > 1 => 1,
                    (None, "partition_by") if cuts(function) => {
                        partition_by = Some(list(expr));
                        continue;
                    }
                    (None, "order_by") if cuts(function) => {
                        order_by = Some(list(expr));
                        continue;
                    }
                    _ => {
                        let message = format!("has no argument `{name}`");
                        return Err(wrong_call(function, message));
                    }
                }
            }
        };
        let twice = || wrong_call(function, "gets an argument twice");
        if place < count {
            if inputs[place].replace(input(function, expr)?).is_some() {
                return Err(twice());
            }
        } else if let Some(slot) = values.get_mut(place - count) {
            if slot.replace(expr).is_some() {
                return Err(twice());
            }
        } else {
            let most = count + function.arguments.len();
            return Err(wrong_call(
                function,
                format!("takes at most {most} arguments"),
            ));
        }
    }
    let inputs: Option<Vec<Input>> = inputs.into_iter().collect();
    let Some(mut inputs) = inputs else {
        let tables = if count == 1 { "a table" } else { "two tables" };
        return Err(wrong_call(function, format!("takes {tables}")));
    };
    for input in &mut inputs {
        if let Some(keys) = &partition_by {
            input.partition_by.clone_from(keys);
        }
        if let Some(order) = &order_by {
            input.order_by = order.iter().cloned().map(ascending).collect();
        }
    }
    Ok(Arguments {
        inputs,
        values: with_defaults(function, values)?,
    })
}

fn cuts(function: &Function) -> bool {
    matches!(
        function.kind,
        FunctionKind::GroupedMap | FunctionKind::CogroupedMap
    )
}

fn with_defaults(function: &Function, values: Vec<Option<Expr>>) -> Result<Vec<Expr>, Failure> {
    let given = values.iter().flatten().count();
    let pairs = values.into_iter().zip(&function.arguments);
    pairs
        .map(|(value, parameter)| match (value, &parameter.default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(literal(default).unwrap_or_else(null)),
            (None, None) => {
                let beside = match function.kind.inputs() {
                    0 => "",
                    1 => " beside its table",
                    _ => " beside its tables",
                };
                let (most, word) = match function.arguments.len() {
                    1 => (1, "argument"),
                    most => (most, "arguments"),
                };
                let message = format!("takes {most} {word}{beside}, {given} given");
                Err(wrong_call(function, message))
            }
        })
        .collect()
}

fn named_value(function: &Function, arg: FunctionArg) -> Result<(Option<String>, Expr), Failure> {
    let (name, arg) = match arg {
        // The parser takes `name := value` for an operator.
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Assignment,
            right,
        })) => match *left {
            Expr::Identifier(name) => (Some(normal(&name)), FunctionArgExpr::Expr(*right)),
            other => {
                return Err(wrong_call(function, format!("has no argument `{other}`")));
            }
        },
        FunctionArg::Unnamed(arg) => (None, arg),
        FunctionArg::Named { name, arg, .. } => (Some(normal(&name)), arg),
        FunctionArg::ExprNamed { name, arg, .. } => match name {
            Expr::Identifier(name) => (Some(normal(&name)), arg),
            other => {
                return Err(wrong_call(function, format!("has no argument `{other}`")));
            }
        },
    };
    match arg {
        FunctionArgExpr::Expr(expr) => Ok((name, expr)),
        other => Err(wrong_call(function, format!("cannot take `{other}`"))),
    }
}

/// `(SELECT ...)`, `TABLE(t)` or `TABLE(t) OVER (PARTITION BY k ORDER BY o)`.
fn input(function: &Function, expr: Expr) -> Result<Input, Failure> {
    let not_a_table = |expr: &Expr| {
        let message = format!("takes a table, and `{expr}` is none");
        Err(wrong_call(function, message))
    };
    match expr {
        Expr::Nested(inner) => input(function, *inner),
        Expr::Subquery(query) => Ok(Input {
            query,
            partition_by: Vec::new(),
            order_by: Vec::new(),
        }),
        Expr::Function(mut call) if ident(&call.name).as_deref() == Some("table") => {
            let over = call.over.take();
            let query = match &mut call.args {
                FunctionArguments::Subquery(query) => Some(query.clone()),
                FunctionArguments::List(list)
                    if list.args.len() == 1 && list.clauses.is_empty() =>
                {
                    match list.args.first() {
                        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(
                            query,
                        )))) => Some(query.clone()),
                        _ => None,
                    }
                }
                _ => None,
            };
            let Some(query) = query else {
                return not_a_table(&Expr::Function(call));
            };
            let (partition_by, order_by) = match over {
                None => (Vec::new(), Vec::new()),
                Some(WindowType::WindowSpec(spec))
                    if cuts(function)
                        && spec.window_frame.is_none()
                        && spec.window_name.is_none() =>
                {
                    (spec.partition_by, spec.order_by)
                }
                Some(_) if cuts(function) => {
                    let message = "takes PARTITION BY and ORDER BY behind its table, no more";
                    return Err(wrong_call(function, message));
                }
                Some(_) => {
                    return Err(wrong_call(
                        function,
                        "takes its table as it is, without OVER",
                    ));
                }
            };
            Ok(Input {
                query,
                partition_by,
                order_by,
            })
        }
        other => not_a_table(&other),
    }
}

fn list(expr: Expr) -> Vec<Expr> {
    match expr {
        Expr::Tuple(items) => items,
        Expr::Nested(inner) => vec![*inner],
        other => vec![other],
    }
}

fn ascending(expr: Expr) -> OrderByExpr {
    OrderByExpr {
        expr,
        options: OrderByOptions {
            asc: None,
            nulls_first: None,
        },
        with_fill: None,
    }
}
