use sandmill_abi::{MAJOR, MINOR, limits};
use sandmill_model::Volatility;
use serde::Deserialize;

use crate::error::{Error, clean};
use crate::function::{Function, RawFunction};

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
    /// What it was built from, or an empty text.
    pub build: String,
    /// What it needs beside its own memory.
    pub capabilities: Capabilities,
    /// Functions in the order of their names.
    pub functions: Vec<Function>,
}

/// What a module needs beside its own memory. Nothing is granted by asking for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Places that it wants to call over HTTP.
    #[serde(default)]
    pub http: Vec<HttpPlace>,
}

/// A place on the network and what is done there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPlace {
    /// Name of the host, exactly.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Methods, in upper case.
    pub methods: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Package(RawPackage),
    Function(Box<RawFunction>),
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
    #[serde(default)]
    build: String,
    #[serde(default)]
    capabilities: Capabilities,
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
        for (what, text, limit) in [
            ("version", &package.version, 64),
            ("language", &package.language, 64),
            ("sdk", &package.sdk, 64),
            ("build", &package.build, 256),
        ] {
            check_text(what, text, limit)?;
        }
        check_capabilities(&package.capabilities)?;
        if functions.is_empty() || functions.len() > limits::FUNCTIONS {
            return Err(wrong(format!(
                "it must have 1 to {} functions",
                limits::FUNCTIONS
            )));
        }
        let mut functions = functions
            .into_iter()
            .map(|raw| Function::check(*raw))
            .collect::<Result<Vec<_>, _>>()?;
        if !package.capabilities.http.is_empty() {
            // What the network says may change: it is never computed while a statement is planned.
            for function in &mut functions {
                if function.volatility == Volatility::Immutable {
                    function.volatility = Volatility::Stable;
                }
            }
        }
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
            build: package.build,
            capabilities: package.capabilities,
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

pub(crate) fn check_text(what: &str, text: &str, limit: usize) -> Result<(), Error> {
    if text.len() > limit || text.chars().any(|c| c.is_control() && c != '\n') {
        let message = format!("`{what}` must be at most {limit} bytes without control characters");
        return Err(Error::Manifest(message));
    }
    Ok(())
}

fn check_capabilities(wanted: &Capabilities) -> Result<(), Error> {
    let legal = |place: &HttpPlace| {
        let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let method =
            |m: &String| (1..=16).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase());
        (1..=253).contains(&place.host.len())
            && place.host.bytes().all(host)
            && place.port > 0
            && (1..=8).contains(&place.methods.len())
            && place.methods.iter().all(method)
    };
    if wanted.http.len() > 16 || !wanted.http.iter().all(legal) {
        return Err(Error::Manifest(
            "`capabilities.http` must be at most 16 places with a host in lower case, a port and \
             methods in upper case"
                .into(),
        ));
    }
    Ok(())
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
                "`magic` is no kind",
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
        let greedy = PACKAGE.replace(
            "\"1\"}",
            r#""1","capabilities":{"http":[{"host":"*","port":1,"methods":["GET"]}]}}"#,
        );
        let greedy = format!("{greedy}\n{}", function("a"));
        let error = Manifest::parse(greedy.as_bytes()).expect_err("no wildcards");
        assert!(error.to_string().contains("capabilities.http"), "{error}");
        let modest = greedy.replace('*', "api.example.org");
        let manifest = Manifest::parse(modest.as_bytes()).expect("valid");
        assert_eq!(manifest.functions[0].volatility, Volatility::Stable);
    }
}
