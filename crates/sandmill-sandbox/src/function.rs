//! One function of a manifest: its kind, what it takes and what it gives.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use sandmill_abi::limits;
use sandmill_model::{ArgumentInfo, FunctionInfo, Volatility};
use serde::Deserialize;

use crate::error::{Error, clean};
use crate::manifest::check_text;
use crate::types::{RawType, format_of, sql_name, yes};

/// A kind of function; the ABI's table says what each exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// A value for each row.
    Scalar,
    /// A value for each group.
    Aggregate,
    /// A value for each row, computed from its partition.
    Window,
    /// Rows for each row of arguments.
    Table,
    /// A stream of batches into a stream of batches.
    Map,
    /// Rows for each group of rows.
    GroupedMap,
    /// Rows for each pair of groups with the same key.
    CogroupedMap,
}

impl FunctionKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Scalar,
        Self::Aggregate,
        Self::Window,
        Self::Table,
        Self::Map,
        Self::GroupedMap,
        Self::CogroupedMap,
    ];

    /// As the manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Aggregate => "aggregate",
            Self::Window => "window",
            Self::Table => "table",
            Self::Map => "map",
            Self::GroupedMap => "grouped_map",
            Self::CogroupedMap => "cogrouped_map",
        }
    }

    /// The exports that the ABI asks for; names are followed by the function's.
    pub fn exports(self) -> &'static [sandmill_abi::Function] {
        let kind = sandmill_abi::KINDS.iter().find(|k| k.name == self.as_str());
        kind.map_or(&[], |kind| kind.exports)
    }

    /// Whether it gives rows and not values.
    pub fn gives_rows(self) -> bool {
        matches!(
            self,
            Self::Table | Self::Map | Self::GroupedMap | Self::CogroupedMap
        )
    }

    /// How many tables it takes.
    pub fn inputs(self) -> usize {
        match self {
            Self::Map | Self::GroupedMap => 1,
            Self::CogroupedMap => 2,
            _ => 0,
        }
    }
}

/// What a manifest says of the type of an argument or result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// This type.
    Exact(DataType),
    /// Every type; the guest sees its schema.
    Any,
    /// The type of the argument with this index.
    Same(usize),
}

impl ParameterType {
    /// The type, if it does not depend on a call.
    pub fn exact(&self) -> Option<&DataType> {
        match self {
            Self::Exact(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type in a call whose arguments have these types.
    pub fn resolve<'a>(&'a self, given: &'a [DataType]) -> Option<&'a DataType> {
        match self {
            Self::Exact(ty) => Some(ty),
            Self::Any => None,
            Self::Same(index) => given.get(*index),
        }
    }

    fn sql_name(&self) -> String {
        match self {
            Self::Exact(ty) => sql_name(ty),
            Self::Any => "ANY".into(),
            Self::Same(index) => format!("SAME AS {}", index + 1),
        }
    }

    fn format(&self) -> String {
        match self {
            Self::Exact(ty) => format_of(ty),
            Self::Any => "any".into(),
            Self::Same(index) => format!("same:{}", index + 1),
        }
    }
}

/// How a result follows an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Monotonic {
    /// It never falls while the argument rises.
    Increasing,
    /// It never rises while the argument rises.
    Decreasing,
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name in SQL.
    pub name: String,
    /// Type.
    pub ty: ParameterType,
    /// SQL literal that stands for it where it is left out.
    pub default: Option<String>,
    /// How the result follows it.
    pub monotonic: Option<Monotonic>,
}

/// One function of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Name in SQL.
    pub name: String,
    /// Kind.
    pub kind: FunctionKind,
    /// Arguments; for the kinds that take tables, the constants beside them.
    pub arguments: Vec<Parameter>,
    /// Whether the last argument may be given any number of times.
    pub variadic: bool,
    /// Type of the result; `Exact(Null)` for the kinds that give rows.
    pub returns: ParameterType,
    /// Columns of the result of the kinds that give rows.
    pub columns: Fields,
    /// Columns of each table that it takes.
    pub inputs: Vec<Fields>,
    /// Columns of an aggregate's state.
    pub state: Fields,
    /// What an aggregate's states may take in bytes.
    pub state_bytes: Option<u64>,
    /// Whether an aggregate can take rows away.
    pub retract: bool,
    /// Whether a window function computes over frames.
    pub frame: bool,
    /// Whether the result may be NULL where no argument is.
    pub nullable: bool,
    /// NULL in any argument gives NULL.
    pub strict: bool,
    /// What the planner may assume.
    pub volatility: Volatility,
    /// For people.
    pub doc: String,
    /// SQL examples.
    pub examples: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFunction {
    name: String,
    kind: String,
    arguments: Vec<RawArgument>,
    #[serde(default)]
    variadic: bool,
    returns: Option<RawType>,
    #[serde(default)]
    columns: Vec<RawArgument>,
    #[serde(default)]
    input: Vec<RawArgument>,
    #[serde(default)]
    right: Vec<RawArgument>,
    #[serde(default)]
    state: Vec<RawArgument>,
    state_bytes: Option<u64>,
    #[serde(default)]
    retract: bool,
    #[serde(default)]
    frame: bool,
    #[serde(default = "yes")]
    nullable: bool,
    #[serde(default = "yes")]
    strict: bool,
    #[serde(default = "immutable")]
    volatility: Volatility,
    #[serde(default)]
    doc: String,
    #[serde(default)]
    examples: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArgument {
    name: String,
    #[serde(rename = "type")]
    format: String,
    #[serde(default)]
    children: Vec<crate::types::RawField>,
    dictionary: Option<Box<RawType>>,
    #[serde(default = "yes")]
    nullable: bool,
    default: Option<String>,
    monotonic: Option<Monotonic>,
}

impl RawArgument {
    fn raw_type(&mut self) -> RawType {
        RawType::Nested(crate::types::RawNested {
            format: self.format.clone(),
            children: std::mem::take(&mut self.children),
            dictionary: self.dictionary.take(),
        })
    }
}

fn immutable() -> Volatility {
    Volatility::Immutable
}

impl Function {
    /// As people see it.
    pub fn info(&self) -> FunctionInfo {
        let column = |field: &Arc<Field>| ArgumentInfo {
            name: field.name().clone(),
            sql_type: sql_name(field.data_type()),
            format: format_of(field.data_type()),
            default: None,
        };
        let columns = |fields: &Fields| fields.iter().map(column).collect::<Vec<_>>();
        let (returns, returns_format) = if self.kind.gives_rows() {
            let text =
                |field: &Arc<Field>| format!("{} {}", field.name(), sql_name(field.data_type()));
            let texts: Vec<_> = self.columns.iter().map(text).collect();
            (format!("TABLE({})", texts.join(", ")), String::new())
        } else {
            (self.returns.sql_name(), self.returns.format())
        };
        let arguments = self.arguments.iter().map(|argument| ArgumentInfo {
            name: argument.name.clone(),
            sql_type: argument.ty.sql_name(),
            format: argument.ty.format(),
            default: argument.default.clone(),
        });
        FunctionInfo {
            name: self.name.clone(),
            kind: self.kind.as_str().into(),
            arguments: arguments.collect(),
            variadic: self.variadic,
            inputs: self.inputs.iter().map(columns).collect(),
            returns,
            returns_format,
            nullable: self.nullable,
            strict: self.strict,
            volatility: self.volatility,
            doc: self.doc.clone(),
            examples: self.examples.clone(),
        }
    }

    /// How many arguments a call must have at least.
    pub fn required(&self) -> usize {
        let required = self.arguments.iter().filter(|a| a.default.is_none());
        required.count() - usize::from(self.variadic)
    }

    /// The argument at a place of a call; behind the last one, where it is variadic, that one.
    pub fn argument(&self, place: usize) -> Option<&Parameter> {
        match self.arguments.get(place) {
            None if self.variadic => self.arguments.last(),
            found => found,
        }
    }

    /// Whether the guest needs to be told the types of a call.
    pub fn is_polymorphic(&self) -> bool {
        self.arguments.iter().any(|a| a.ty.exact().is_none())
    }

    /// Checks what a manifest says.
    pub(crate) fn check(raw: RawFunction) -> Result<Self, Error> {
        let name = clean(raw.name.as_bytes(), 80);
        let wrong = |message: &str| Error::Manifest(format!("function `{name}`: {message}"));
        if !is_name(&raw.name) || raw.name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong(
                "a name is a letter or `_`, then letters, digits or `_`, lower case, at most 63",
            ));
        }
        let kind = FunctionKind::ALL
            .into_iter()
            .find(|k| k.as_str() == raw.kind);
        let kind = kind.ok_or_else(|| {
            wrong(&format!(
                "`{}` is no kind of function",
                clean(raw.kind.as_bytes(), 80)
            ))
        })?;
        if raw.arguments.len() > limits::ARGUMENTS {
            return Err(wrong("it has more than 32 arguments"));
        }
        check_text("doc", &raw.doc, 4096)?;
        if raw.examples.len() > 16 {
            return Err(wrong("it has more than 16 examples"));
        }
        raw.examples
            .iter()
            .try_for_each(|example| check_text("examples", example, 1024))?;
        let scalar = kind == FunctionKind::Scalar;
        let arguments = parameters(&name, raw.arguments, scalar)?;
        let late = arguments.iter().skip_while(|a| a.default.is_none());
        if late.clone().any(|a| a.default.is_none()) {
            return Err(wrong("only its last arguments may have defaults"));
        }
        if raw.variadic && (!scalar || arguments.is_empty() || late.count() > 0) {
            return Err(wrong(
                "only a scalar function with arguments and without defaults can be variadic",
            ));
        }
        let returns = match (raw.returns, kind.gives_rows()) {
            (None, true) => ParameterType::Exact(DataType::Null),
            (Some(raw), false) => {
                let place = format!("{name} (result)");
                let ty = parameter_type(&place, &raw, scalar, arguments.len())?;
                if ty == ParameterType::Any {
                    return Err(wrong("its result must have a type or be `same:N`"));
                }
                ty
            }
            (Some(_), true) => return Err(wrong("its result is written as `columns`")),
            (None, false) => return Err(wrong("it has no `returns`")),
        };
        for (what, given, allowed) in [
            ("columns", raw.columns.len(), kind.gives_rows()),
            ("input", raw.input.len(), kind.inputs() > 0),
            ("right", raw.right.len(), kind.inputs() > 1),
            ("state", raw.state.len(), kind == FunctionKind::Aggregate),
        ] {
            if given > limits::COLUMNS || allowed != (given > 0) {
                return Err(wrong(&match allowed {
                    true => format!("`{what}` must have 1 to {} columns", limits::COLUMNS),
                    false => format!("its kind has no `{what}`"),
                }));
            }
        }
        let aggregate = kind == FunctionKind::Aggregate;
        if !aggregate && (raw.retract || raw.state_bytes.is_some()) {
            return Err(wrong("only an aggregate has `retract` and `state_bytes`"));
        }
        if raw.frame && kind != FunctionKind::Window {
            return Err(wrong("only a window function has `frame`"));
        }
        let mut inputs = vec![raw.input, raw.right];
        inputs.truncate(kind.inputs());
        Ok(Self {
            columns: columns(&name, raw.columns)?,
            inputs: inputs
                .into_iter()
                .map(|input| columns(&name, input))
                .collect::<Result<_, _>>()?,
            state: columns(&name, raw.state)?,
            name: raw.name,
            kind,
            arguments,
            variadic: raw.variadic,
            returns,
            state_bytes: raw.state_bytes,
            retract: raw.retract,
            frame: raw.frame,
            nullable: raw.nullable,
            strict: raw.strict,
            volatility: raw.volatility,
            doc: raw.doc,
            examples: raw.examples,
        })
    }
}

fn parameters(function: &str, raw: Vec<RawArgument>, open: bool) -> Result<Vec<Parameter>, Error> {
    let wrong = |message: &str| Error::Manifest(format!("function `{function}`: {message}"));
    let (mut names, count) = (HashSet::new(), raw.len());
    let mut parameters = Vec::with_capacity(count);
    for (n, mut argument) in raw.into_iter().enumerate() {
        if !is_name(&argument.name) || !names.insert(argument.name.clone()) {
            return Err(wrong("argument names must be names and distinct"));
        }
        if let Some(default) = &argument.default {
            check_text("default", default, 256)?;
        }
        let place = format!("{function}.{}", argument.name);
        let ty = parameter_type(&place, &argument.raw_type(), open, n)?;
        if !open && argument.monotonic.is_some() {
            return Err(wrong("only arguments of scalar functions are monotonic"));
        }
        parameters.push(Parameter {
            name: argument.name,
            ty,
            default: argument.default,
            monotonic: argument.monotonic,
        });
    }
    Ok(parameters)
}

/// `open` types are allowed in scalar functions; `same:N` looks back at one of `before` arguments.
fn parameter_type(
    place: &str,
    raw: &RawType,
    open: bool,
    before: usize,
) -> Result<ParameterType, Error> {
    let unknown = || Error::Type {
        place: place.into(),
        format: clean(raw.format().as_bytes(), 80),
    };
    if open && raw.format() == "any" {
        return Ok(ParameterType::Any);
    }
    if let Some(number) = raw.format().strip_prefix("same:") {
        let index = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let index = index.filter(|index| open && *index < before);
        return index.map(ParameterType::Same).ok_or_else(unknown);
    }
    raw.resolve().map(ParameterType::Exact).ok_or_else(unknown)
}

fn columns(function: &str, raw: Vec<RawArgument>) -> Result<Fields, Error> {
    let wrong = |message: &str| Error::Manifest(format!("function `{function}`: {message}"));
    let mut names = HashSet::new();
    let mut fields = Vec::with_capacity(raw.len());
    for mut column in raw {
        if !is_name(&column.name) || !names.insert(column.name.clone()) {
            return Err(wrong("column names must be names and distinct"));
        }
        if column.default.is_some() || column.monotonic.is_some() {
            return Err(wrong("columns have neither `default` nor `monotonic`"));
        }
        let raw = column.raw_type();
        let ty = raw.resolve().ok_or_else(|| Error::Type {
            place: format!("{function}.{}", column.name),
            format: clean(column.format.as_bytes(), 80),
        })?;
        fields.push(Field::new(column.name, ty, column.nullable));
    }
    Ok(fields.into())
}

fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=63).contains(&text.len())
        && text.bytes().all(legal)
        && !text.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Function, Error> {
        Function::check(serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn signatures_show_every_kind() {
        for (json, expected) in [
            (
                r#"{"name":"f","kind":"scalar","arguments":[{"name":"a","type":"any"},{"name":"b","type":"same:1"}],"returns":"same:1","variadic":true}"#,
                "f(a ANY, b SAME AS 1, …) -> SAME AS 1",
            ),
            (
                r#"{"name":"f","kind":"aggregate","arguments":[{"name":"x","type":"g"}],"returns":"g","state":[{"name":"s","type":"g"}],"retract":true}"#,
                "f(x DOUBLE) -> DOUBLE",
            ),
            (
                r#"{"name":"f","kind":"table","arguments":[{"name":"t","type":"u"},{"name":"n","type":"l","default":"5"}],"columns":[{"name":"w","type":"u"}]}"#,
                "f(t VARCHAR, n BIGINT DEFAULT 5) -> TABLE(w VARCHAR)",
            ),
            (
                r#"{"name":"f","kind":"cogrouped_map","arguments":[],"input":[{"name":"a","type":"l"}],"right":[{"name":"b","type":"+l","children":[{"name":"item","type":"l"}]}],"columns":[{"name":"c","type":"i","dictionary":"u"}]}"#,
                "f(TABLE(a BIGINT), TABLE(b BIGINT[])) -> TABLE(c VARCHAR)",
            ),
        ] {
            let function = check(json).unwrap_or_else(|e| unreachable!("{json}: {e}"));
            assert_eq!(function.info().signature(), expected);
        }
    }

    #[test]
    fn what_does_not_fit_its_kind_is_named() {
        for (json, expected) in [
            (
                r#"{"name":"f","kind":"scalar","arguments":[]}"#,
                "no `returns`",
            ),
            (
                r#"{"name":"f","kind":"map","arguments":[],"columns":[{"name":"a","type":"l"}]}"#,
                "`input`",
            ),
            (
                r#"{"name":"f","kind":"scalar","arguments":[],"returns":"l","state":[{"name":"a","type":"l"}]}"#,
                "no `state`",
            ),
            (
                r#"{"name":"f","kind":"scalar","arguments":[],"returns":"any"}"#,
                "must have a type",
            ),
            (
                r#"{"name":"f","kind":"scalar","arguments":[],"returns":"same:1"}"#,
                "same:1",
            ),
            (
                r#"{"name":"f","kind":"window","arguments":[{"name":"a","type":"any"}],"returns":"l"}"#,
                "any",
            ),
            (
                r#"{"name":"f","kind":"scalar","arguments":[{"name":"a","type":"same:1"}],"returns":"l"}"#,
                "same:1",
            ),
            (
                r#"{"name":"f","kind":"scalar","arguments":[{"name":"a","type":"l","default":"1"},{"name":"b","type":"l"}],"returns":"l"}"#,
                "last arguments",
            ),
            (
                r#"{"name":"f","kind":"window","variadic":true,"arguments":[{"name":"a","type":"l"}],"returns":"l"}"#,
                "variadic",
            ),
            (
                r#"{"name":"f","kind":"scalar","frame":true,"arguments":[],"returns":"l"}"#,
                "`frame`",
            ),
            (
                r#"{"name":"f","kind":"scalar","retract":true,"arguments":[],"returns":"l"}"#,
                "`retract`",
            ),
            (
                r#"{"name":"f","kind":"table","arguments":[],"columns":[{"name":"a","type":"l"},{"name":"a","type":"l"}]}"#,
                "distinct",
            ),
        ] {
            let error = check(json).expect_err(json).to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
