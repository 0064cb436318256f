use std::collections::HashSet;

use arrow::datatypes::DataType;
use sandmill_abi::{MAJOR, MINOR, limits};
use sandmill_model::{ArgumentInfo, FunctionInfo, Volatility};
use serde::Deserialize;

use crate::error::{Error, clean};
use crate::types::{parse_format, sql_name};

/// What a module says of itself, read and checked without running it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// ABI version that the module speaks.
    pub abi: String,
    /// Package name.
    pub package: String,
    /// Package version.
    pub version: String,
    /// Source language, or an empty text.
    pub language: String,
    /// SDK and version, or an empty text.
    pub sdk: String,
    /// Functions in the order of their names.
    pub functions: Vec<Function>,
}

/// One function of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// Name in SQL.
    pub name: String,
    /// Names and types of the arguments.
    pub arguments: Vec<(String, DataType)>,
    /// Format strings of the arguments.
    pub formats: Vec<String>,
    /// Type of the result.
    pub returns: DataType,
    /// Format string of the result.
    pub returns_format: String,
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

impl Function {
    /// As people see it.
    pub fn info(&self) -> FunctionInfo {
        let arguments = self.arguments.iter().zip(&self.formats);
        FunctionInfo {
            name: self.name.clone(),
            kind: "scalar".into(),
            arguments: arguments
                .map(|((name, ty), format)| ArgumentInfo {
                    name: name.clone(),
                    sql_type: sql_name(ty),
                    format: format.clone(),
                })
                .collect(),
            returns: sql_name(&self.returns),
            returns_format: self.returns_format.clone(),
            nullable: self.nullable,
            strict: self.strict,
            volatility: self.volatility,
            doc: self.doc.clone(),
            examples: self.examples.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Package(RawPackage),
    Function(RawFunction),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    abi: String,
    name: String,
    version: String,
    #[serde(default)]
    language: String,
    #[serde(default)]
    sdk: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFunction {
    name: String,
    kind: String,
    arguments: Vec<RawArgument>,
    returns: String,
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
    ty: String,
}

fn yes() -> bool {
    true
}

fn immutable() -> Volatility {
    Volatility::Immutable
}

impl Manifest {
    /// Reads the text of the manifest section: JSON lines, separated by line feeds or NUL bytes.
    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let wrong = |message: String| Error::Manifest(message);
        if section.len() > limits::MANIFEST_BYTES {
            return Err(wrong(format!(
                "it has more than {} bytes",
                limits::MANIFEST_BYTES
            )));
        }
        let text = std::str::from_utf8(section).map_err(|_| wrong("it is not UTF-8".into()))?;
        let (mut package, mut functions) = (None, Vec::new());
        for line in text
            .split(['\n', '\0'])
            .filter(|line| !line.trim().is_empty())
        {
            let parsed = serde_json::from_str(line)
                .map_err(|e| wrong(clean(e.to_string().as_bytes(), 500)))?;
            match parsed {
                Line::Package(raw) if package.is_none() => package = Some(raw),
                Line::Package(_) => return Err(wrong("it has two `package` lines".into())),
                Line::Function(raw) => functions.push(raw),
            }
        }
        let package: RawPackage =
            package.ok_or_else(|| wrong("it has no `package` line".into()))?;
        check_abi(&package.abi)?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=64).contains(&package.name.len()) || !package.name.bytes().all(legal) {
            return Err(wrong(
                "the package name must be 1 to 64 of a-z, A-Z, 0-9, `-`, `_`".into(),
            ));
        }
        for (what, text) in [
            ("version", &package.version),
            ("language", &package.language),
            ("sdk", &package.sdk),
        ] {
            check_text(what, text, 64)?;
        }
        if functions.is_empty() || functions.len() > limits::FUNCTIONS {
            return Err(wrong(format!(
                "it must have 1 to {} functions",
                limits::FUNCTIONS
            )));
        }
        let mut functions = functions
            .into_iter()
            .map(check_function)
            .collect::<Result<Vec<_>, _>>()?;
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(twice) = functions
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            return Err(wrong(format!(
                "the function `{}` occurs twice",
                twice[0].name
            )));
        }
        Ok(Self {
            abi: package.abi,
            package: package.name,
            version: package.version,
            language: package.language,
            sdk: package.sdk,
            functions,
        })
    }
}

fn check_abi(found: &str) -> Result<(), Error> {
    let mut parts = found.split('.').map(|part| part.parse::<u32>().ok());
    let version = (parts.next().flatten(), parts.next().flatten(), parts.next());
    let (Some(major), Some(minor), None) = version else {
        return Err(Error::Manifest("`abi` must be a text like \"1.0\"".into()));
    };
    if major != MAJOR || minor > MINOR {
        let expected = format!("{MAJOR}.{MINOR}");
        return Err(Error::Abi {
            found: format!("{major}.{minor}"),
            expected,
        });
    }
    Ok(())
}

fn check_text(what: &str, text: &str, limit: usize) -> Result<(), Error> {
    if text.len() > limit || text.chars().any(|c| c.is_control() && c != '\n') {
        let message = format!("`{what}` must be at most {limit} bytes without control characters");
        return Err(Error::Manifest(message));
    }
    Ok(())
}

fn check_function(raw: RawFunction) -> Result<Function, Error> {
    let name = clean(raw.name.as_bytes(), 80);
    let wrong = |message: &str| Error::Manifest(format!("function `{name}`: {message}"));
    if !is_name(&raw.name) || raw.name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong(
            "a name is a letter or `_`, then letters, digits or `_`, lower case, at most 63",
        ));
    }
    if raw.kind != "scalar" {
        return Err(wrong("the only kind of ABI 1.0 is `scalar`"));
    }
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
    let mut names = HashSet::new();
    let mut arguments = Vec::with_capacity(raw.arguments.len());
    let mut formats = Vec::with_capacity(raw.arguments.len());
    for argument in raw.arguments {
        if !is_name(&argument.name) || !names.insert(argument.name.clone()) {
            return Err(wrong("argument names must be names and distinct"));
        }
        let ty = known(&format!("{name}.{}", argument.name), &argument.ty)?;
        arguments.push((argument.name, ty));
        formats.push(argument.ty);
    }
    Ok(Function {
        returns: known(&format!("{name} (result)"), &raw.returns)?,
        returns_format: raw.returns,
        name: raw.name,
        arguments,
        formats,
        nullable: raw.nullable,
        strict: raw.strict,
        volatility: raw.volatility,
        doc: raw.doc,
        examples: raw.examples,
    })
}

fn known(place: &str, format: &str) -> Result<DataType, Error> {
    parse_format(format).ok_or_else(|| Error::Type {
        place: place.into(),
        format: clean(format.as_bytes(), 80),
    })
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

    const PACKAGE: &str = r#"{"package":{"abi":"1.0","name":"p","version":"1"}}"#;

    fn function(name: &str) -> String {
        format!(
            r#"{{"function":{{"name":"{name}","kind":"scalar","arguments":[{{"name":"a","type":"l"}}],"returns":"g"}}}}"#
        )
    }

    #[test]
    fn lines_may_come_in_any_order_and_with_either_separator() {
        let text = format!("{}\0{PACKAGE}\n\n{}\0\0", function("b"), function("a"));
        let manifest = Manifest::parse(text.as_bytes()).expect("valid");
        let names: Vec<_> = manifest.functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let function = &manifest.functions[0];
        assert!(function.strict && function.nullable);
        assert_eq!(function.info().signature(), "a(a BIGINT) -> DOUBLE");
    }

    #[test]
    fn every_rule_is_kept() {
        let long = format!("{PACKAGE}\n{}", function(&"x".repeat(64)));
        let big = " ".repeat(limits::MANIFEST_BYTES + 1);
        let deep = format!("{PACKAGE}\n{{\"function\":{}", "[".repeat(50_000));
        let cases = [
            ("", "no `package`"),
            (PACKAGE, "1 to 256 functions"),
            (&format!("{PACKAGE}\n{PACKAGE}"), "two `package`"),
            (
                &format!("{PACKAGE}\n{}\n{}", function("a"), function("a")),
                "twice",
            ),
            (&format!("{PACKAGE}\n{}", function("1a")), "a name is"),
            (&format!("{PACKAGE}\n{}", function("Ab")), "a name is"),
            (&long, "a name is"),
            (&big, "more than"),
            (&deep, "invalid type"),
            (&function("a").replace("scalar", "magic"), "no `package`"),
            (
                &format!("{PACKAGE}\n{}", function("a").replace("scalar", "magic")),
                "only kind",
            ),
            (
                &format!("{PACKAGE}\n{}", function("a").replace("kind", "kid")),
                "unknown field",
            ),
            (&PACKAGE.replace("1.0", "one"), "like \"1.0\""),
        ];
        for (text, expected) in cases {
            let error = Manifest::parse(text.as_bytes())
                .expect_err(text)
                .to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        let newer = PACKAGE.replace("1.0", "2.0");
        assert!(matches!(
            Manifest::parse(newer.as_bytes()),
            Err(Error::Abi { .. })
        ));
        let unknown = format!("{PACKAGE}\n{}", function("a").replace("\"l\"", "\"+l\""));
        assert!(matches!(
            Manifest::parse(unknown.as_bytes()),
            Err(Error::Type { .. })
        ));
        assert!(Manifest::parse(&[0xff]).is_err());
    }
}
