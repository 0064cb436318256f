//! Calls of functions that give rows, in the syntax tree.
//!
//! Names of tables inside of arguments must be seen as tables before the engine opens those that a
//! statement names: `TABLE(t)` becomes `TABLE((SELECT * FROM t))`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr,
    Spanned, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use sandmill_model::{Failure, Position};
use sandmill_sandbox::{Function, FunctionKind};

use super::errors::{usage, wrong_call};
use crate::Version;

/// Rewrites calls in `FROM` into the form that [`super::Relations`] plans, and refuses functions in
/// places where their kind has no meaning. `builtin` says whether SQL has a function of that name: in
/// `FROM` (true) or as a value (false).
///
/// # Errors
/// `function.arguments`, with the right syntax as a hint.
pub fn prepare(
    statement: &mut Statement,
    functions: &[Version],
    builtin: impl Fn(&str, bool) -> bool,
) -> Result<(), Failure> {
    if functions.is_empty() {
        return Ok(());
    }
    match statement {
        Statement::Statement(statement) => {
            let named = functions
                .iter()
                .map(|v| (v.pin.name.as_str(), v.function()));
            let mut calls = Calls {
                functions: named.collect(),
                builtin: &builtin,
            };
            match statement.visit(&mut calls) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(failure) => Err(*failure),
            }
        }
        Statement::Explain(explain) => prepare(&mut explain.statement, functions, builtin),
        _ => Ok(()),
    }
}

struct Calls<'a> {
    functions: HashMap<&'a str, &'a Function>,
    builtin: &'a dyn Fn(&str, bool) -> bool,
}

impl Calls<'_> {
    fn find(&self, name: &ObjectName) -> Option<&Function> {
        self.functions.get(ident(name)?.as_str()).copied()
    }
}

/// A name as functions have it: one part, lower case unless quoted.
pub(super) fn ident(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(normal),
        _ => None,
    }
}

pub(super) fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn refuse(failure: Failure, name: &ObjectName) -> ControlFlow<Box<Failure>> {
    let start = name.span().start;
    let failure = match start.line {
        0 => failure,
        line => failure.at(Position {
            line,
            column: start.column,
        }),
    };
    ControlFlow::Break(Box::new(failure))
}

impl VisitorMut for Calls<'_> {
    type Break = Box<Failure>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        // `FROM TABLE(f(1))` is the standard's way to write `FROM f(1)`.
        if let TableFactor::TableFunction {
            expr: Expr::Function(call),
            alias,
        } = factor
            && let FunctionArguments::List(list) = &mut call.args
            && list.clauses.is_empty()
            && call.over.is_none()
            && self
                .functions
                .contains_key(ident(&call.name).unwrap_or_default().as_str())
        {
            *factor = TableFactor::Function {
                lateral: true,
                name: call.name.clone(),
                args: std::mem::take(&mut list.args),
                with_ordinality: false,
                alias: alias.take(),
            };
        }
        let (name, args, alias, ordinality) = match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                alias,
                with_ordinality,
                ..
            } => (name, &mut args.args, alias, *with_ordinality),
            TableFactor::Function {
                name,
                args,
                alias,
                with_ordinality,
                ..
            } => (name, args, alias, *with_ordinality),
            _ => return ControlFlow::Continue(()),
        };
        let Some(function) = self.find(name) else {
            return ControlFlow::Continue(());
        };
        if !function.kind.gives_rows() {
            let known = &function.name;
            if (self.builtin)(known, true) {
                return ControlFlow::Continue(());
            }
            let message = "gives values and cannot stand in FROM";
            return refuse(wrong_call(function, message), name);
        }
        if ordinality {
            return refuse(wrong_call(function, "takes no WITH ORDINALITY"), name);
        }
        if function.kind != FunctionKind::Table {
            args.iter_mut().for_each(|arg| tables(value(arg)));
        }
        // As in PostgreSQL, a table function sees the tables before it with or without LATERAL.
        *factor = TableFactor::Function {
            lateral: function.kind == FunctionKind::Table,
            name: name.clone(),
            args: std::mem::take(args),
            with_ordinality: false,
            alias: alias.take(),
        };
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(call) = expr else {
            return ControlFlow::Continue(());
        };
        let Some(function) = self.find(&call.name) else {
            return ControlFlow::Continue(());
        };
        if !function.kind.gives_rows() || (self.builtin)(&function.name, false) {
            return ControlFlow::Continue(());
        }
        let message = format!("gives rows and stands in FROM: write `{}`", usage(function));
        refuse(wrong_call(function, message), &call.name)
    }
}

fn value(arg: &mut FunctionArg) -> Option<&mut Expr> {
    let (FunctionArg::Named { arg, .. }
    | FunctionArg::ExprNamed { arg, .. }
    | FunctionArg::Unnamed(arg)) = arg;
    match arg {
        FunctionArgExpr::Expr(expr) => Some(expr),
        _ => None,
    }
}

/// Puts a query in the place of the name in `TABLE(t)`.
fn tables(expr: Option<&mut Expr>) {
    let Some(Expr::Function(call)) = expr else {
        return;
    };
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    if ident(&call.name).as_deref() != Some("table") || list.args.len() != 1 {
        return;
    }
    let Some(inner) = list.args.first_mut().and_then(value) else {
        return;
    };
    let parts = match inner {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return,
    };
    if let Some(query) = everything_of(ObjectName::from(parts)) {
        *inner = Expr::Subquery(Box::new(query));
    }
}

/// `SELECT * FROM name`.
fn everything_of(table: ObjectName) -> Option<Query> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT * FROM t")
        .ok()?;
    let mut query = parser.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let relation = &mut select.from.first_mut()?.relation;
    let TableFactor::Table { name, .. } = relation else {
        return None;
    };
    *name = table;
    Some(*query)
}

/// An SQL literal, as manifests write defaults.
pub(super) fn literal(text: &str) -> Option<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    parser.parse_expr().ok()
}

/// NULL, for what is missing.
pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.into())
}
