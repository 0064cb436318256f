//! Declarations: comments that say what a function is in SQL.
//!
//! ```text
//! // The square root of a number that is not negative.
//! //sandmill:scalar root(x DOUBLE) -> DOUBLE
//! ```
//!
//! Behind the result may stand `CALLED ON NULL`, `NEVER NULL`, `STABLE`, `VOLATILE`. The comment lines
//! around it are the function's text for people. `//sandmill:package NAME VERSION` names the package.

use sandmill_abi::{MAJOR, MINOR};
use serde_json::json;

use crate::Error;
use crate::types::{Shape, format};

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Arrow's format string.
    pub format: String,
    /// How its values look.
    pub shape: Shape,
}

/// A scalar function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, in SQL and in the source.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// Its result, whose name is empty.
    pub returns: Argument,
    /// Whether it sees rows with NULL.
    pub called_on_null: bool,
    /// Whether its result is never NULL by itself.
    pub never_null: bool,
    /// What the planner may assume.
    pub volatility: &'static str,
    /// For people.
    pub doc: String,
    /// The file that it stands in.
    pub file: String,
}

/// All that the sources of a module declare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declarations {
    /// Name and version of the package, if they are declared.
    pub package: Option<(String, String)>,
    /// The functions.
    pub functions: Vec<Declaration>,
}

const DIRECTIVE: &str = "sandmill:";

impl Declarations {
    /// Reads one more source file.
    ///
    /// # Errors
    /// `Declaration` for what is not understood.
    pub fn read(&mut self, file: &str, source: &str) -> Result<(), Error> {
        let lines: Vec<_> = source.lines().map(comment).collect();
        for (n, line) in lines.iter().enumerate() {
            let Some(text) = line.and_then(|text| text.trim_start().strip_prefix(DIRECTIVE)) else {
                continue;
            };
            let wrong = |message: String| Error::Declaration {
                file: file.into(),
                line: n + 1,
                message,
            };
            let (what, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            match what {
                "package" => {
                    let words: Vec<_> = rest.split_whitespace().collect();
                    let [name, version] = words.as_slice() else {
                        return Err(wrong("write `sandmill:package NAME VERSION`".into()));
                    };
                    if self.package.is_some() {
                        return Err(wrong("the package is named twice".into()));
                    }
                    self.package = Some(((*name).to_owned(), (*version).to_owned()));
                }
                "scalar" => {
                    let mut function = scalar(rest).map_err(wrong)?;
                    if self.functions.iter().any(|f| f.name == function.name) {
                        return Err(wrong(format!("`{}` is declared twice", function.name)));
                    }
                    function.doc = doc(&lines, n);
                    function.file = file.to_owned();
                    self.functions.push(function);
                }
                other => {
                    return Err(wrong(format!(
                        "`sandmill:{other}` is neither `package` nor `scalar`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The manifest: JSON lines.
    pub fn manifest(&self, name: &str, language: &str) -> String {
        let (name, version) = match &self.package {
            Some((name, version)) => (name.as_str(), version.as_str()),
            None => (name, "0.1.0"),
        };
        let package = json!({"package": {
            "abi": format!("{MAJOR}.{MINOR}"), "name": name, "version": version, "language": language,
            "sdk": concat!("sandmill-build ", env!("CARGO_PKG_VERSION")),
        }});
        let mut text = format!("{package}\n");
        for function in &self.functions {
            let argument = |a: &Argument| json!({"name": a.name, "type": a.format});
            let mut line = json!({
                "name": function.name, "kind": "scalar", "returns": function.returns.format,
                "arguments": function.arguments.iter().map(argument).collect::<Vec<_>>(),
            });
            for (field, value, given) in [
                ("strict", json!(false), function.called_on_null),
                ("nullable", json!(false), function.never_null),
                (
                    "volatility",
                    json!(function.volatility),
                    function.volatility != "immutable",
                ),
                ("doc", json!(function.doc), !function.doc.is_empty()),
            ] {
                if given {
                    line[field] = value;
                }
            }
            text += &format!("{}\n", json!({"function": line}));
        }
        text
    }
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//")
}

/// The comment lines around a declaration.
fn doc(lines: &[Option<&str>], at: usize) -> String {
    let text = |line: &Option<&str>| {
        let text = line.map(str::trim)?;
        (!text.starts_with(DIRECTIVE)).then(|| text.to_owned())
    };
    let mut around: Vec<_> = lines[..at].iter().rev().map_while(text).collect();
    around.reverse();
    around.extend(lines[at + 1..].iter().map_while(text));
    around
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn scalar(text: &str) -> Result<Declaration, String> {
    let form = || "write `sandmill:scalar NAME(ARGUMENT TYPE, …) -> TYPE`".to_owned();
    let (name, rest) = text.split_once('(').ok_or_else(form)?;
    let (inside, rest) = close(rest).ok_or_else(form)?;
    let result = rest.trim_start().strip_prefix("->").ok_or_else(form)?;
    let mut arguments = Vec::new();
    for part in split(inside) {
        let (name, ty) = part
            .trim()
            .split_once(char::is_whitespace)
            .ok_or_else(form)?;
        arguments.push(argument(name, ty)?);
    }
    let (mut called_on_null, mut never_null, mut volatility) = (false, false, "immutable");
    let mut result = result.trim();
    while let Some((start, flag)) = ["CALLED ON NULL", "NEVER NULL", "STABLE", "VOLATILE"]
        .into_iter()
        .find_map(|flag| {
            let at = result.len().checked_sub(flag.len())?;
            let tail = result.get(at..)?;
            tail.eq_ignore_ascii_case(flag).then_some((at, flag))
        })
    {
        match flag {
            "CALLED ON NULL" => called_on_null = true,
            "NEVER NULL" => never_null = true,
            "STABLE" => volatility = "stable",
            _ => volatility = "volatile",
        }
        result = result[..start].trim_end();
    }
    let name = identifier(name.trim())?;
    Ok(Declaration {
        name,
        arguments,
        returns: Argument {
            name: String::new(),
            ..argument("result", result)?
        },
        called_on_null,
        never_null,
        volatility,
        doc: String::new(),
        file: String::new(),
    })
}

fn argument(name: &str, ty: &str) -> Result<Argument, String> {
    let format =
        format(ty).ok_or_else(|| format!("`{}` is no type that functions take", ty.trim()))?;
    let shape = Shape::of(&format).ok_or_else(|| {
        format!(
            "`{}` needs a function on whole arrays, as Rust and C have them",
            ty.trim()
        )
    })?;
    Ok(Argument {
        name: identifier(name)?,
        format,
        shape,
    })
}

/// Names end up in generated source, so they are checked before anything is made of them.
fn identifier(name: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let fits = (1..=63).contains(&name.len()) && name.bytes().all(legal);
    if fits && !name.as_bytes()[0].is_ascii_digit() {
        return Ok(name.to_owned());
    }
    Err(format!(
        "`{name}` is no name: use lower-case letters, digits and `_`"
    ))
}

/// What stands before the closing parenthesis, and what follows it.
fn close(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Parts between commas that stand in neither parentheses nor quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' | '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !(part.trim().is_empty() && text.trim().is_empty()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<Declarations, String> {
        let mut found = Declarations::default();
        found.read("f.go", source).map_err(|e| e.to_string())?;
        Ok(found)
    }

    #[test]
    fn declarations_become_a_manifest() {
        let found = read(
            "//sandmill:package words 1.2.3\n\n// First letter\n// of a \"name\".\n//\n\
             //sandmill:scalar initial(name VARCHAR, price DECIMAL(10, 2), at \"tsu:UTC\") -> VARCHAR called on null NEVER NULL STABLE\n\
             func initial() {}\n//sandmill:scalar answer() -> INT\n// It is 42.\nfunc answer() {}\n",
        )
        .expect("declarations");
        let expected = "{\"package\":{\"abi\":\"ABI\",\"language\":\"go\",\"name\":\"words\",\"sdk\":\"sandmill-build 0.1.0\",\"version\":\"1.2.3\"}}\n\
            {\"function\":{\"arguments\":[{\"name\":\"name\",\"type\":\"u\"},{\"name\":\"price\",\"type\":\"d:10,2\"},{\"name\":\"at\",\"type\":\"tsu:UTC\"}],\"doc\":\"First letter of a \\\"name\\\".\",\"kind\":\"scalar\",\"name\":\"initial\",\"nullable\":false,\"returns\":\"u\",\"strict\":false,\"volatility\":\"stable\"}}\n\
            {\"function\":{\"arguments\":[],\"doc\":\"It is 42.\",\"kind\":\"scalar\",\"name\":\"answer\",\"returns\":\"i\"}}\n";
        let lines = |text: &str| -> Vec<serde_json::Value> {
            text.lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect()
        };
        let expected = expected.replace("ABI", &format!("{MAJOR}.{MINOR}"));
        assert_eq!(lines(&found.manifest("folder", "go")), lines(&expected));
        assert!(
            Declarations::default()
                .manifest("folder", "go")
                .contains("\"folder\"")
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (source, expected) in [
            ("\n//sandmill:scalar f(x) -> INT", "line 2 of f.go: write"),
            ("//sandmill:scalar f(x INT", "write"),
            ("//sandmill:scalar f(x INT) INT", "write"),
            ("//sandmill:scalar f(x INT,) -> INT", "write"),
            (
                "//sandmill:scalar f(x NUMBER) -> INT",
                "`NUMBER` is no type",
            ),
            ("//sandmill:scalar f(x \"+l\") -> INT", "whole arrays"),
            ("//sandmill:scalar f(x INT) -> ", "no type"),
            ("//sandmill:scalar F(x INT) -> INT", "`F` is no name"),
            ("//sandmill:scalar f;g(x INT) -> INT", "no name"),
            ("//sandmill:aggregate f(x INT) -> INT", "neither"),
            ("//sandmill:package one", "NAME VERSION"),
            (
                "//sandmill:scalar f() -> INT\n//sandmill:scalar f() -> INT",
                "declared twice",
            ),
        ] {
            let error = read(source).expect_err(source);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        assert_eq!(
            read("let x = 1; // sandmill is not here\n"),
            Ok(Declarations::default())
        );
    }
}
