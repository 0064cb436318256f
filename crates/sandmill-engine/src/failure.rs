//! DataFusion's errors as users see them: one plain sentence, a code, a position, a hint.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Diagnostic, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use sandmill_functions::failure_of;
use sandmill_model::{ErrorCode, Failure, Position, TableSpec, distance, is_near};

/// Translates an error that arose with the statement `sql`.
pub fn failure(error: &DataFusionError, sql: &str) -> Failure {
    if let Some(mut failure) = failure_of(error) {
        failure.position = failure.position.or_else(|| position(error, sql));
        return failure;
    }
    let root = error.find_root();
    let mut failure = match root {
        DataFusionError::SQL(parser, _) => syntax(parser, sql),
        DataFusionError::SchemaError(schema, _) => unknown_column(schema),
        DataFusionError::Plan(text) => plan(text),
        DataFusionError::NotImplemented(text) if text.contains("single SQL statement") => {
            Failure::new(
                ErrorCode::SqlForbidden,
                "A job runs one statement; this text has several.",
            )
            .hint("Submit one job for each statement.")
        }
        DataFusionError::NotImplemented(text) => {
            Failure::new(ErrorCode::SqlUnsupported, sentence(text))
        }
        DataFusionError::ResourcesExhausted(text) => {
            Failure::new(ErrorCode::ResourceMemory, sentence(text))
                .hint("Read fewer rows or columns, aggregate earlier, or run fewer jobs at a time.")
        }
        DataFusionError::Execution(text)
            if text.contains("expects") || text.contains("coercion") =>
        {
            Failure::new(ErrorCode::SqlType, sentence(text))
        }
        DataFusionError::Execution(text) => Failure::new(ErrorCode::SqlExecution, sentence(text)),
        DataFusionError::ArrowError(arrow, _) => value(arrow),
        DataFusionError::ParquetError(e) => Failure::new(
            ErrorCode::StorageFailed,
            format!("A Parquet file cannot be read: {e}."),
        ),
        DataFusionError::ObjectStore(e) => match e.as_ref() {
            datafusion::object_store::Error::NotFound { path, .. } => Failure::new(
                ErrorCode::TableMissing,
                format!("The file `/{path}` does not exist any more."),
            ),
            other => Failure::new(ErrorCode::StorageFailed, sentence(&other.to_string())),
        },
        DataFusionError::IoError(e) => {
            Failure::new(ErrorCode::StorageFailed, sentence(&e.to_string()))
        }
        DataFusionError::Internal(text) => Failure::new(ErrorCode::Internal, sentence(text)),
        other => Failure::new(ErrorCode::SqlInvalid, sentence(&other.strip_backtrace())),
    };
    failure.position = failure.position.or_else(|| position(error, sql));
    if failure.hint.is_none() {
        let help = error
            .diagnostic()
            .and_then(|d| d.helps.first().map(|h| h.message.clone()));
        failure.hint = help.map(|help| sentence(&help));
    }
    failure
}

/// Translates an error that arose while a table was opened.
pub(crate) fn table_failure(error: &DataFusionError, spec: &TableSpec) -> Failure {
    let cause = failure(error, "");
    if cause.code == ErrorCode::TableMissing {
        return cause;
    }
    let format = spec.format.as_str();
    let message = format!(
        "Table {} cannot be read as {format}: {}",
        spec.name, cause.message
    );
    Failure::new(ErrorCode::TableFormat, message)
        .hint(format!("Check that `{}` holds {format} data.", spec.path))
}

/// Adds the nearest name to a failure about an unknown table.
pub(crate) fn with_suggestions<'a>(
    failure: Failure,
    tables: impl Iterator<Item = &'a str>,
) -> Failure {
    if failure.code != ErrorCode::SqlUnknownTable {
        return failure;
    }
    let tables: Vec<_> = tables.collect();
    let wanted = failure
        .message
        .split('`')
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    let nearest = tables.iter().map(|t| (distance(t, &wanted), *t)).min();
    let hint = match nearest {
        Some((distance, name)) if is_near(&wanted, distance) => {
            format!("Did you mean `{name}`?")
        }
        Some(_) if tables.len() <= 10 => format!("There are the tables {}.", tables.join(", ")),
        Some(_) => "List the tables to see their names.".to_owned(),
        None => "No table is registered yet.".to_owned(),
    };
    failure.hint(hint)
}

fn syntax(error: &ParserError, sql: &str) -> Failure {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "The statement is nested too deeply",
    };
    // The parser writes the place at the end of its message.
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, numbers(place)),
        None if text.ends_with("found: EOF") => (text, Some(end(sql))),
        None => (text, None),
    };
    let failure = Failure::new(ErrorCode::SqlSyntax, sentence(message));
    match place {
        Some(position) => failure.at(position),
        None => failure,
    }
}

/// The place after the last letter of the text.
fn end(sql: &str) -> Position {
    let text = sql.trim_end();
    let last = text.rsplit('\n').next().unwrap_or(text);
    Position {
        line: text.matches('\n').count() as u64 + 1,
        column: last.chars().count() as u64 + 1,
    }
}

fn numbers(text: &str) -> Option<Position> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok());
    Some(Position {
        line: numbers.next()?,
        column: numbers.next()?,
    })
}

fn unknown_column(error: &SchemaError) -> Failure {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let message = format!("There is no column `{}`.", field.flat_name());
            let failure = Failure::new(ErrorCode::SqlUnknownColumn, message);
            let nearest = valid_fields
                .iter()
                .map(|f| (distance(f.name(), field.name()), f))
                .min_by_key(|(d, _)| *d);
            match nearest {
                Some((d, found)) if is_near(field.name(), d) => {
                    failure.hint(format!("Did you mean `{}`?", found.flat_name()))
                }
                Some(_) if valid_fields.len() <= 12 => {
                    let names: Vec<_> = valid_fields.iter().map(|f| f.name().to_owned()).collect();
                    failure.hint(format!("There are the columns {}.", names.join(", ")))
                }
                _ => failure,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!(
                "The column `{}` could be of several tables.",
                field.flat_name()
            );
            Failure::new(ErrorCode::SqlInvalid, message).hint("Write the table's name before it.")
        }
        other => Failure::new(ErrorCode::SqlInvalid, sentence(&other.to_string())),
    }
}

fn plan(text: &str) -> Failure {
    if let Some((_, rest)) = text.split_once("table '")
        && let Some((name, _)) = rest.split_once("' not found")
    {
        let name = name.rsplit('.').next().unwrap_or(name);
        return Failure::new(
            ErrorCode::SqlUnknownTable,
            format!("There is no table `{name}`."),
        );
    }
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let (name, rest) = rest.split_once('\'').unwrap_or((rest, ""));
        let failure = Failure::new(
            ErrorCode::SqlUnknownFunction,
            format!("There is no function `{name}`."),
        );
        if let Some((function, version)) = name.split_once('@') {
            return failure.hint(format!(
                "When the job was submitted, `{function}` had no version or alias `{version}`."
            ));
        }
        let hint = rest.trim_start_matches(['.', '\n', ' ']);
        return if hint.is_empty() {
            failure
        } else {
            failure.hint(hint.replace('\'', "`"))
        };
    }
    let types = [
        "No function matches",
        "failed to match any signature",
        "Failed to coerce",
        "Cannot coerce",
        "type_coercion",
        "Cannot infer common",
    ];
    let code = if types.iter().any(|t| text.contains(t)) {
        ErrorCode::SqlType
    } else {
        ErrorCode::SqlInvalid
    };
    Failure::new(code, sentence(text))
}

fn value(error: &ArrowError) -> Failure {
    let text = match error {
        ArrowError::DivideByZero => "Division by zero".to_owned(),
        ArrowError::CastError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ParseError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ArithmeticOverflow(text) => text.clone(),
        ArrowError::CsvError(text) | ArrowError::JsonError(text) => {
            return Failure::new(
                ErrorCode::SqlExecution,
                format!("A file holds a value that does not fit: {}", sentence(text)),
            );
        }
        other => other.to_string(),
    };
    Failure::new(ErrorCode::SqlExecution, sentence(&text))
}

fn position(error: &DataFusionError, sql: &str) -> Option<Position> {
    let span = error.diagnostic().and_then(|d: &Diagnostic| d.span)?;
    let lines = sql.lines().count() as u64;
    let inside = span.start.line >= 1 && span.start.line <= lines.max(1);
    inside.then_some(Position {
        line: span.start.line,
        column: span.start.column,
    })
}

/// One plain sentence: without the prefixes that errors gather on their way, without advice for
/// DataFusion's own developers, ending in a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut text = text.trim();
    let prefixes = [
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Schema error: ",
        "SQL error: ",
        "This feature is not implemented: ",
        "Internal error: ",
        "type_coercion",
        "caused by",
        "sql parser error: ",
        "Optimizer rule ",
    ];
    while let Some(rest) = prefixes.iter().find_map(|p| text.strip_prefix(p)) {
        text = rest.trim_start();
    }
    let text = text
        // What each of a function's signatures had against the arguments.
        .split(", errors: Error")
        .next()
        .unwrap_or(text)
        .split("\nThis issue was likely caused by")
        .next()
        .unwrap_or(text);
    let text = text
        .split("\n\nbacktrace:")
        .next()
        .unwrap_or(text)
        .trim()
        .trim_end_matches('.');
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return "The statement cannot be run.".into();
    };
    format!("{}{}.", first.to_uppercase(), letters.as_str())
}
