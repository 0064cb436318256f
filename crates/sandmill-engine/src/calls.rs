//! Arguments by name and arguments left out: brought into the order of the signature, before the
//! statement is planned. DataFusion knows neither for functions whose types it asks for.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, UnaryOperator, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use sandmill_functions::Version;
use sandmill_model::{ErrorCode, Failure, Position};
use sandmill_sandbox::{Function, FunctionKind, Parameter};

/// Rewrites the calls of `functions` in a statement.
///
/// # Errors
/// `function.arguments` when a name is unknown, given twice or missing.
pub(crate) fn complete(statement: &mut Statement, functions: &[Version]) -> Result<(), Failure> {
    let described: Vec<_> = functions
        .iter()
        .map(|version| (version.pin.name.as_str(), version.function()))
        .collect();
    rewrite(statement, &described)
}

fn rewrite(statement: &mut Statement, functions: &[(&str, &Function)]) -> Result<(), Failure> {
    let flow = match statement {
        Statement::Statement(statement) => statement.visit(&mut Calls(functions)),
        Statement::Explain(explain) => return rewrite(&mut explain.statement, functions),
        _ => return Ok(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(failure) => Err(*failure),
    }
}

/// The functions by their names in SQL.
struct Calls<'a>(&'a [(&'a str, &'a Function)]);

impl VisitorMut for Calls<'_> {
    type Break = Box<Failure>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Function(call) = expr
            && let FunctionArguments::List(list) = &mut call.args
        {
            return self.call(&call.name, &mut list.args);
        }
        ControlFlow::Continue(())
    }
}

impl Calls<'_> {
    fn call(&self, name: &ObjectName, args: &mut Vec<FunctionArg>) -> ControlFlow<Box<Failure>> {
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else {
            return ControlFlow::Continue(());
        };
        let wanted = normal(name);
        let Some((_, function)) = self.0.iter().find(|(known, _)| *known == wanted) else {
            return ControlFlow::Continue(());
        };
        // Calls in FROM are completed where they are planned.
        let plain = matches!(
            function.kind,
            FunctionKind::Scalar | FunctionKind::Aggregate | FunctionKind::Window
        );
        let changed = if plain {
            arrange(function, std::mem::take(args))
        } else {
            return ControlFlow::Continue(());
        };
        match changed {
            Ok(arranged) => {
                *args = arranged;
                ControlFlow::Continue(())
            }
            // What is wrong with one argument already says where.
            Err(failure) => ControlFlow::Break(Box::new(match failure.position {
                Some(_) => failure,
                None => at(failure, name),
            })),
        }
    }
}

/// Arguments in the order of the signature, with defaults for those that are left out.
///
/// # Errors
/// `function.arguments`.
pub(crate) fn arrange(
    function: &Function,
    args: Vec<FunctionArg>,
) -> Result<Vec<FunctionArg>, Failure> {
    let (name, parameters) = (function.name.as_str(), &function.arguments);
    let wrong = |message: String| {
        let signature = function.info().signature();
        Failure::new(ErrorCode::FunctionArguments, message)
            .hint(format!("Its signature is {signature}."))
    };
    let mut named = false;
    let mut places: Vec<Option<FunctionArg>> = Vec::with_capacity(parameters.len());
    for arg in args {
        let (ident, value) = match assigned(arg) {
            FunctionArg::Named { name, arg, .. } => (name, arg),
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg,
                ..
            } => (name, arg),
            FunctionArg::ExprNamed { name: other, .. } => {
                return Err(wrong(format!(
                    "`{other}` is no name of an argument of {name}."
                )));
            }
            unnamed if named => {
                return Err(wrong(format!(
                    "In the call of {name}, `{unnamed}` has no name but follows an argument with one."
                )));
            }
            unnamed => {
                places.push(Some(unnamed));
                continue;
            }
        };
        named = true;
        let wanted = normal(&ident);
        let Some(place) = parameters.iter().position(|p| p.name == wanted) else {
            let failure = wrong(format!("{name} has no argument `{wanted}`."));
            return Err(at(failure, &ident));
        };
        if places.len() <= place {
            places.resize(place + 1, None);
        }
        if places[place].is_some() {
            let failure = wrong(format!("The argument `{wanted}` of {name} is given twice."));
            return Err(at(failure, &ident));
        }
        places[place] = Some(FunctionArg::Unnamed(value));
    }
    // Where no name is used, too few arguments are counted where their types are looked at.
    let needed = function.required();
    if places.len() < parameters.len() && (named || places.len() >= needed) {
        let all = if function.variadic {
            needed
        } else {
            parameters.len()
        };
        places.resize(places.len().max(all), None);
    }
    let mut arranged = Vec::with_capacity(places.len());
    for (n, given) in places.into_iter().enumerate() {
        let value = match (given, parameters.get(n)) {
            (Some(given), _) => given,
            (None, Some(parameter)) => match &parameter.default {
                Some(text) => FunctionArg::Unnamed(FunctionArgExpr::Expr(
                    default(text).ok_or_else(|| broken(function, parameter))?,
                )),
                None => {
                    let missing = &parameter.name;
                    return Err(wrong(format!(
                        "The call of {name} lacks its argument `{missing}`."
                    )));
                }
            },
            (None, None) => continue,
        };
        arranged.push(value);
    }
    Ok(arranged)
}

/// The parser takes `name := value` for an operator where the name might be any expression.
fn assigned(arg: FunctionArg) -> FunctionArg {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Assignment,
            right,
        })) => FunctionArg::ExprNamed {
            name: *left,
            arg: FunctionArgExpr::Expr(*right),
            operator: FunctionArgOperator::Assignment,
        },
        other => other,
    }
}

/// As PostgreSQL reads names: in lower case unless they are quoted.
fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

fn place(ident: &Ident) -> Option<Position> {
    let start = ident.span.start;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
}

fn at(failure: Failure, ident: &Ident) -> Failure {
    match place(ident) {
        Some(position) => failure.at(position),
        None => failure,
    }
}

fn broken(function: &Function, parameter: &Parameter) -> Failure {
    let message = format!(
        "The default of the argument `{}` of {} is no literal of SQL.",
        parameter.name, function.name
    );
    Failure::new(ErrorCode::FunctionManifest, message)
        .hint("Write a number, a text, true, false, null, a date or time, or an array of these.")
}

/// A literal. Whatever else a module calls its default, such as a query, is not run for it.
fn default(text: &str) -> Option<Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(16)
        .try_with_sql(text);
    let parser = parser.as_mut().ok()?;
    let expr = parser.parse_expr().ok()?;
    let end = datafusion::sql::sqlparser::tokenizer::Token::EOF;
    (parser.peek_token().token == end && is_literal(&expr)).then_some(expr)
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::TypedString(_) => true,
        Expr::Nested(inner) => is_literal(inner),
        Expr::Interval(interval) => is_literal(&interval.value),
        Expr::Cast { expr, .. } => is_literal(expr),
        Expr::UnaryOp { op, expr } => {
            matches!(op, UnaryOperator::Minus | UnaryOperator::Plus) && is_literal(expr)
        }
        Expr::Array(array) => array.elem.iter().all(is_literal),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    fn function(json: &str) -> Function {
        let package = r#"{"package":{"abi":"1.1","name":"p","version":"1"}}"#;
        let json = json.replace('\n', "");
        let text = format!("{package}\n{{\"function\":{json}}}");
        let manifest = sandmill_sandbox::Manifest::parse(text.as_bytes());
        manifest
            .unwrap_or_else(|e| panic!("{json}: {e}"))
            .functions
            .remove(0)
    }

    fn functions() -> Vec<Function> {
        [
            r#"{"name":"f","kind":"scalar","returns":"l","arguments":[{"name":"a","type":"l"},
               {"name":"b","type":"u","default":"'x'"},{"name":"c","type":"l","default":"-1"}]}"#,
            r#"{"name":"v","kind":"scalar","returns":"l","variadic":true,"arguments":[
               {"name":"a","type":"l"},{"name":"rest","type":"l"}]}"#,
            r#"{"name":"t","kind":"table","columns":[{"name":"x","type":"l"}],"arguments":[
               {"name":"a","type":"l"},{"name":"b","type":"l","default":"CAST('2' AS BIGINT)"}]}"#,
            r#"{"name":"evil","kind":"scalar","returns":"l","arguments":[
               {"name":"a","type":"l","default":"(SELECT secret FROM vault)"}]}"#,
            r#"{"name":"m","kind":"map","input":[{"name":"a","type":"l"}],
               "columns":[{"name":"x","type":"l"}],"arguments":[{"name":"n","type":"l"}]}"#,
        ]
        .into_iter()
        .map(function)
        .collect()
    }

    fn rewritten(sql: &str) -> Result<String, Failure> {
        let mut statement = DFParser::parse_sql_with_dialect(sql, &PostgreSqlDialect {})
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
            .remove(0)
            .expect("one statement");
        let functions = functions();
        let named: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f)).collect();
        rewrite(&mut statement, &named)?;
        Ok(statement.to_string())
    }

    #[test]
    fn arguments_come_into_the_order_of_the_signature() {
        for (sql, expected) in [
            ("SELECT f(1)", "SELECT f(1, 'x', -1)"),
            ("SELECT F(1, c => 2)", "SELECT F(1, 'x', 2)"),
            (
                "SELECT f(c := 3, A => x) FROM s",
                "SELECT f(x, 'x', 3) FROM s",
            ),
            ("SELECT f(1, c := 2 + 3 * 4)", "SELECT f(1, 'x', 2 + 3 * 4)"),
            ("SELECT f(1, 'y', 2)", "SELECT f(1, 'y', 2)"),
            (
                "SELECT f(f(a => 1), 'y')",
                "SELECT f(f(1, 'x', -1), 'y', -1)",
            ),
            (
                "SELECT 1 WHERE f(1) > (SELECT f(b => 'z', a => 2))",
                "SELECT 1 WHERE f(1, 'x', -1) > (SELECT f(2, 'z', -1))",
            ),
            ("EXPLAIN SELECT f(1)", "EXPLAIN SELECT f(1, 'x', -1)"),
            ("SELECT v(1)", "SELECT v(1)"),
            ("SELECT v(1, 2, 3)", "SELECT v(1, 2, 3)"),
            ("SELECT v(rest => 2, a => 1)", "SELECT v(1, 2)"),
            // Not ours to look at, or counted or completed later.
            ("SELECT * FROM t(1)", "SELECT * FROM t(1)"),
            ("SELECT g(a => 1)", "SELECT g(a => 1)"),
            ("SELECT f()", "SELECT f()"),
            ("SELECT f(1, 'x', 2, 3)", "SELECT f(1, 'x', 2, 3)"),
        ] {
            assert_eq!(rewritten(sql).unwrap_or_else(|f| f.message), expected);
        }
    }

    #[test]
    fn wrong_names_are_told_with_the_signature() {
        for (sql, expected, column) in [
            ("SELECT f(d => 1)", "no argument `d`", 10),
            ("SELECT f(1, \"A\" => 1)", "no argument `A`", 13),
            ("SELECT f(1, a => 2)", "`a` of f is given twice", 13),
            ("SELECT f(a => 1, a => 2)", "given twice", 18),
            ("SELECT f(b => 'x')", "lacks its argument `a`", 8),
            ("SELECT f(a => 1, 'x')", "follows an argument with one", 8),
            ("SELECT f(1 + 1 => 2)", "no name of an argument", 8),
        ] {
            let failure = rewritten(sql).expect_err(sql);
            assert_eq!(failure.code, ErrorCode::FunctionArguments);
            assert!(failure.message.contains(expected), "{}", failure.message);
            let hint = failure.hint.unwrap_or_default();
            assert!(hint.contains("f(a BIGINT, b VARCHAR DEFAULT 'x'"), "{hint}");
            assert_eq!(failure.position.map(|p| p.column), Some(column), "{sql}");
        }
    }

    #[test]
    fn defaults_are_literals_and_nothing_else() {
        let failure = rewritten("SELECT evil()").expect_err("no query");
        assert_eq!(failure.code, ErrorCode::FunctionManifest);
        for good in [
            "1",
            "-1.5",
            "'a'",
            "true",
            "NULL",
            "DATE '2020-01-01'",
            "ARRAY[1, 2]",
            "INTERVAL '1 day'",
            "CAST('1' AS BIGINT)",
            "'1'::DOUBLE",
            "((1))",
        ] {
            assert!(default(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a",
            "1 + 1",
            "now()",
            "(SELECT 1)",
            "1; DROP TABLE x",
            "1, 2",
            "ARRAY[a]",
            "CASE WHEN true THEN 1 END",
            "$1",
        ] {
            assert!(default(bad).is_none(), "{bad}");
        }
    }
}
