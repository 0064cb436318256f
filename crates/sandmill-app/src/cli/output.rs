//! Tables for people, formats for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use futures::{Stream, StreamExt};
use sandmill_api_types::{ClientError, Column, Format, Rows};
use serde_json::Value;

use super::fault::Fault;
use super::terminal::plain;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned, for people.
    Table,
    /// JSON.
    Json,
    /// CSV with a header.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Output {
    /// The API's format; `None` for tables.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::Table => None,
            Self::Json => Some(Format::Json),
            Self::Csv => Some(Format::Csv),
            Self::Arrow => Some(Format::Arrow),
        }
    }
}

/// Reads `--output` of a command that is about one thing.
pub(crate) fn one() -> impl TypedValueParser<Value = Output> {
    among(&[Output::Table, Output::Json])
}

/// Reads `--output` of a command that lists things.
pub(crate) fn many() -> impl TypedValueParser<Value = Output> {
    among(&[Output::Table, Output::Json, Output::Csv])
}

/// What a command cannot print is refused rather than printed otherwise.
fn among(kinds: &'static [Output]) -> impl TypedValueParser<Value = Output> {
    PossibleValuesParser::new(kinds.iter().filter_map(ValueEnum::to_possible_value))
        .map(|name| Output::from_str(&name, false).unwrap_or(Output::Table))
}

/// Letters of a cell that are shown.
const CELL: usize = 60;

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number),
        other => other.to_string(),
    }
}

fn cell(value: &Value) -> String {
    let text = plain(&text_of(value)).replace(['\n', '\t'], "·");
    match text.char_indices().nth(CELL) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// Floats with at most six digits behind the point: enough to read, aligned well.
fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() && value.abs() >= 1e-3 && value.abs() < 1e15 => {
            let text = format!("{value:.6}");
            let text = text.trim_end_matches('0');
            text.strip_suffix('.')
                .map_or(text.to_owned(), |whole| format!("{whole}.0"))
        }
        _ => number.to_string(),
    }
}

fn is_number(column: &Column) -> bool {
    let names = ["INT", "DOUBLE", "REAL", "DECIMAL", "Decimal", "Float"];
    names.iter().any(|name| column.sql_type.contains(name))
        && !column.sql_type.starts_with("INTERVAL")
}

/// An aligned table.
pub(crate) fn grid(headers: &[&str], right: &[bool], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    let align = |n: usize, text: &str| {
        let side = if right.get(n) == Some(&true) {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        };
        Cell::new(plain(text)).set_alignment(side)
    };
    table.set_header(headers.iter().enumerate().map(|(n, text)| align(n, text)));
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(n, text)| align(n, text)));
    }
    table.to_string()
}

/// Prints a list: JSON as the API gives it, else one line for each item.
pub(crate) fn list(
    output: Output,
    value: &impl serde::Serialize,
    headers: &[&str],
    right: &[bool],
    rows: Vec<Vec<String>>,
) -> Result<(), Fault> {
    match output {
        Output::Json => json(value)?,
        Output::Csv => print!("{}", csv(headers, &rows)),
        Output::Table | Output::Arrow => println!("{}", grid(headers, right, rows)),
    }
    Ok(())
}

/// Comma-separated values with a header, quoted where they must be.
fn csv(headers: &[&str], rows: &[Vec<String>]) -> String {
    let quote = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let mut text = line(headers.iter().map(|h| quote(h)).collect());
    text.extend(
        rows.iter()
            .map(|row| line(row.iter().map(|c| quote(c)).collect())),
    );
    text
}

/// A page of rows with a line that counts them.
pub(crate) fn rows(page: &Rows) -> String {
    let headers: Vec<_> = page.columns.iter().map(|c| c.name.as_str()).collect();
    let right: Vec<_> = page.columns.iter().map(is_number).collect();
    // What EXPLAIN says is read line by line.
    let plans = headers == ["plan_type", "plan"];
    let show = |value: &Value| match plans {
        true => text_of(value).trim_end().to_owned(),
        false => cell(value),
    };
    let cells = page
        .rows
        .iter()
        .map(|row| row.iter().map(show).collect())
        .collect();
    let shown = page.rows.len() as u64;
    let mut text = grid(&headers, &right, cells);
    let plural = if page.total == 1 { "" } else { "s" };
    text += &format!("\n{} row{plural}", page.total);
    if shown < page.total {
        text += &format!(", the first {shown} shown (all: --output csv)");
    }
    if page.truncated {
        text += ", cut at the result limit";
    }
    text
}

/// Copies a download to standard output.
pub(crate) async fn copy(
    stream: impl Stream<Item = Result<Vec<u8>, ClientError>>,
) -> Result<(), Fault> {
    let mut stream = std::pin::pin!(stream);
    let mut out = std::io::stdout().lock();
    let mut last = b'\n';
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        last = bytes.last().copied().unwrap_or(last);
        match out.write_all(&bytes) {
            // The reader has seen enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
    if last != b'\n' && std::io::stdout().is_terminal() {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Fault::failed(e.to_string()))?;
    println!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn csv_quotes_what_it_must() {
        let rows = vec![vec!["a,b".to_owned(), "say \"x\"\nthere".to_owned()]];
        assert_eq!(
            csv(&["one", "two"], &rows),
            "one,two\n\"a,b\",\"say \"\"x\"\"\nthere\"\n"
        );
    }

    #[test]
    fn cells_are_readable_and_harmless() {
        assert_eq!(cell(&json!(null)), "NULL");
        assert_eq!(cell(&json!(1.5)), "1.5");
        assert_eq!(cell(&json!(2.0)), "2.0");
        assert_eq!(cell(&json!(1.0 / 3.0)), "0.333333");
        assert_eq!(cell(&json!(12345678901234567u64)), "12345678901234567");
        assert_eq!(cell(&json!("a\x1b[31m\nb")), "a·[31m·b");
        assert_eq!(plain("a\u{202e}b\u{9b}c\n\td"), "a·b·c\n\td");
        assert!(!grid(&["\x1b]0;x\x07"], &[], vec![vec!["\x1b[2J".into()]]).contains('\x1b'));
        assert_eq!(cell(&json!("ü".repeat(100))).chars().count(), CELL + 1);
    }
}
