//! How deep and how large a statement may be.
//!
//! Parser, planner and expressions recurse, and a stack that overflows ends the whole process with
//! the jobs of everybody else. The text is measured before it is parsed, since already dropping a
//! deep syntax tree recurses. Queries of `WITH` stack up, and double, without any bracket: what they
//! stand for is counted before they are planned, and the plan is measured before it is optimised.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Select, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use sandmill_model::{ErrorCode, Failure};

mod plan;

pub(crate) use plan::check_plan;

/// Operators and keywords that may follow one another without a comma, brackets around included.
/// Half of the terms that one `OR` of comparisons may have.
const OPERATORS: usize = 1000;
/// Tables and queries that one `FROM` may list; each is a join.
const FROM: usize = 300;
/// Tables and queries that a statement may read, a query of `WITH` counted with all it reads at its
/// definition and at each use.
const RELATIONS: usize = 10_000;
/// `WITH` inside `WITH`; the work of finding the tables' names doubles with each.
const NESTED_WITHS: usize = 8;

/// Measures the text of a statement. What cannot be split into tokens is left to the parser.
///
/// # Errors
/// `sql.unsupported`.
pub(crate) fn check_text(sql: &str) -> Result<(), Failure> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else {
        return Ok(());
    };
    // `run` counts since the last comma, `below` what the open brackets stand in.
    let mut open: Vec<usize> = Vec::new();
    let (mut below, mut run, mut dots) = (0_usize, 0, 0);
    for token in &tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(run);
                below += run + 1;
                run = 0;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                let before = open.pop().unwrap_or(run);
                below = below.saturating_sub(before + 1);
                // `a[1][1]` is one level deeper with each bracket.
                run = before + 1;
            }
            Token::Comma | Token::SemiColon => run = 0,
            // Names have up to three dots; more of them reach into values.
            Token::Period => {
                dots += 1;
                run += usize::from(dots > 3);
            }
            Token::Word(word) if word.keyword == Keyword::NoKeyword => {}
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => run += 1,
        }
        if !matches!(token, Token::Word(_) | Token::Period) {
            dots = 0;
        }
        if below + run > OPERATORS {
            return Err(too_deep(format!(
                "The statement has more than {OPERATORS} operators in a row."
            )));
        }
    }
    Ok(())
}

/// Counts what a statement reads, each query of `WITH` where it is used.
///
/// # Errors
/// `sql.unsupported`.
pub(crate) fn check_statement(statement: &Statement) -> Result<(), Failure> {
    let mut relations = Relations::default();
    let flow = match statement {
        Statement::Statement(statement) => statement.visit(&mut relations),
        Statement::Explain(explain) => return check_statement(&explain.statement),
        _ => return Ok(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(failure) => Err(*failure),
    }
}

#[derive(Default)]
struct Relations {
    open: Vec<Level>,
    /// Names of the queries that define something, by their place in the syntax tree.
    definitions: HashMap<*const Query, String>,
    defined: usize,
    withs: usize,
}

/// A query that is being visited.
#[derive(Default)]
struct Level {
    count: usize,
    names: Vec<(String, usize)>,
}

impl Relations {
    fn add(&mut self, count: usize) -> ControlFlow<Box<Failure>> {
        if let Some(level) = self.open.last_mut() {
            level.count = level.count.saturating_add(count);
            if level.count > RELATIONS {
                return Self::many();
            }
        }
        ControlFlow::Continue(())
    }

    fn many() -> ControlFlow<Box<Failure>> {
        ControlFlow::Break(Box::new(too_deep(format!(
            "The statement reads more than {RELATIONS} tables and queries, those of WITH at each use."
        ))))
    }
}

impl Visitor for Relations {
    type Break = Box<Failure>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &query.with {
            self.withs += 1;
            if self.withs > NESTED_WITHS {
                let message = format!("The statement nests WITH more than {NESTED_WITHS} times.");
                return ControlFlow::Break(Box::new(too_deep(message)));
            }
            for defined in &with.cte_tables {
                let place = std::ptr::from_ref::<Query>(&defined.query);
                self.definitions.insert(place, name(&defined.alias.name));
            }
        }
        self.open.push(Level::default());
        self.add(1)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        // The check of the plan would refuse them after much work.
        if select.from.len() > FROM {
            return Self::many();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        let weight = match relation.0.as_slice() {
            [part] => part.as_ident().and_then(|ident| {
                let wanted = name(ident);
                let names = self.open.iter().rev().flat_map(|l| l.names.iter().rev());
                names.clone().find(|(n, _)| *n == wanted).map(|(_, c)| *c)
            }),
            _ => None,
        };
        self.add(weight.unwrap_or(1))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.withs -= usize::from(query.with.is_some());
        let count = self.open.pop().unwrap_or_default().count;
        let Some(name) = self.definitions.remove(&std::ptr::from_ref(query)) else {
            return self.add(count);
        };
        self.defined += count;
        if self.defined > RELATIONS {
            return Self::many();
        }
        if let Some(level) = self.open.last_mut() {
            level.names.push((name, count));
        }
        ControlFlow::Continue(())
    }
}

/// The name that the planner looks for.
fn name(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

fn too_deep(message: String) -> Failure {
    Failure::new(ErrorCode::SqlUnsupported, message).hint(
        "Write `x IN (...)` for many comparisons, VALUES for many rows, or split it into jobs.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::parser::DFParser;

    #[test]
    fn chains_count_and_lists_do_not() {
        let repeat = |text: &str, times| text.repeat(times);
        let numbers = vec!["1"; 50_000].join(", ");
        for fine in [
            format!("SELECT * FROM t WHERE a IN ({numbers})"),
            format!("VALUES (1){}", repeat(", (1)", 50_000)),
            format!("SELECT {numbers}"),
            format!("SELECT 1{}", repeat(" + 1", 900)),
            format!("SELECT * FROM t WHERE a = 1{}", repeat(" OR a = 1", 450)),
            format!("SELECT {}", repeat("s.t.a, ", 5000)),
            "SELECT 'open".to_owned(),
        ] {
            assert!(check_text(&fine).is_ok(), "{:.60}", fine);
        }
        for deep in [
            format!("SELECT 1{}", repeat("+1", 1001)),
            format!("SELECT a{}", repeat("::int", 1001)),
            format!("SELECT a{}", repeat("[1]", 1001)),
            format!("SELECT a{}", repeat(" IS NULL", 501)),
            format!("SELECT a{}", repeat(".b", 1004)),
            format!("SELECT a{}", repeat(" !", 1001)),
            format!("SELECT 1{}", repeat(" LIKE or LIKE 'x'", 400)),
            format!("SELECT a{}", repeat(" AND \"or\" = e'x'", 400)),
            repeat("(", 1001),
            format!("SELECT 1{}", repeat("+(1+1", 340)),
            format!("SELECT 1{}", repeat(" UNION SELECT 1", 501)),
        ] {
            let failure = check_text(&deep).expect_err("too deep");
            assert_eq!(failure.code, ErrorCode::SqlUnsupported, "{:.60}", deep);
        }
    }

    fn parsed(sql: &str) -> Result<(), Failure> {
        let mut statements = DFParser::parse_sql(sql).expect("parses");
        check_statement(&statements.pop_front().expect("one"))
    }

    /// Queries of `WITH`, each of which reads the one before as often as `body` does.
    fn chain(times: usize, body: impl Fn(usize) -> String) -> String {
        let defined: Vec<_> = (1..=times)
            .map(|n| format!("c{n} AS ({})", body(n - 1)))
            .collect();
        format!(
            "WITH c0 AS (SELECT 1 AS x), {} SELECT * FROM C{times}",
            defined.join(", ")
        )
    }

    #[test]
    fn queries_of_with_count_where_they_are_used() {
        let once = |n| format!("SELECT x FROM c{n}");
        let twice = |n| format!("SELECT a.x FROM c{n} a, C{n} b");
        let inside = |n| format!("SELECT (SELECT max(x) FROM c{n}) + (SELECT min(x) FROM c{n})");
        for fine in [
            chain(100, once),
            chain(9, twice),
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r"
                .into(),
            // The inner name hides the outer one; a quoted one is another.
            "WITH c AS (WITH c AS (SELECT 1) SELECT * FROM c) SELECT * FROM c, \"C\"".into(),
        ] {
            assert!(parsed(&fine).is_ok(), "{:.80}", fine);
        }
        let nested = (0..9).fold("SELECT 1".to_owned(), |inner, n| {
            format!("WITH w{n} AS ({inner}) SELECT * FROM w{n}")
        });
        for large in [
            chain(200, once),
            chain(20, twice),
            chain(60, inside),
            format!("EXPLAIN {}", chain(20, twice)),
            nested,
        ] {
            let failure = parsed(&large).expect_err("too large");
            assert_eq!(failure.code, ErrorCode::SqlUnsupported, "{:.80}", large);
        }
    }
}
