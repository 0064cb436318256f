use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The alias that a call without a version means.
pub const DEFAULT: &str = "default";
/// The alias of the newest version; nobody can move it.
pub const LATEST: &str = "latest";

/// Which version of a function is meant: a number, or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VersionRef {
    /// The version with this number, from 1.
    Number(u32),
    /// The version that this alias names now.
    Alias(String),
}

/// The text names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is neither a version number nor an alias of 1 to 63 of a-z, 0-9, `-` and `_`, a letter first",
    .0.escape_debug()
)]
pub struct NoVersion(pub String);

impl Default for VersionRef {
    fn default() -> Self {
        Self::Alias(DEFAULT.into())
    }
}

impl From<u32> for VersionRef {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}

impl FromStr for VersionRef {
    type Err = NoVersion;
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let none = || NoVersion(text.chars().take(80).collect());
        let first = *text.as_bytes().first().ok_or_else(none)?;
        if first.is_ascii_digit() {
            // One way to write a number: `03` and `3` would be two names of one thing.
            let number = text.parse().ok().filter(|_| first != b'0');
            return number.map(Self::Number).ok_or_else(none);
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let alias = text.len() <= 63 && first.is_ascii_lowercase() && text.bytes().all(legal);
        alias.then(|| Self::Alias(text.into())).ok_or_else(none)
    }
}

/// Where a version came from, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Bytes of the module.
    pub size: u64,
    /// `major.minor` of the function ABI.
    pub abi: String,
    /// Package version, as the author wrote it.
    pub package_version: String,
    /// Source language.
    pub language: String,
    /// What it was built from.
    #[serde(default)]
    pub build: String,
    /// SDK name and version.
    pub sdk: String,
    /// Imports, as `module.name`.
    pub imports: Vec<String>,
    /// Name of the token that published it.
    #[serde(default)]
    pub published_by: Option<String>,
    /// The signature of the module, checked when it was uploaded.
    #[serde(default)]
    pub signature: Option<SignatureInfo>,
}

/// A signature that was checked at upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureInfo {
    /// Id of the key.
    pub key: String,
    /// Name of the key.
    pub key_name: String,
    /// Whether the key is still trusted.
    pub trusted: bool,
    /// The signature as it was given.
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_or_aliases() {
        assert_eq!("3".parse(), Ok(VersionRef::Number(3)));
        for alias in ["stable", "v2", "blue-green_1", DEFAULT, LATEST] {
            let parsed: VersionRef = alias.parse().expect(alias);
            assert_eq!(parsed, VersionRef::Alias(alias.into()));
            assert_eq!(parsed.to_string(), alias);
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "0",
            "03",
            "-1",
            "+1",
            "4294967296",
            "1x",
            "Stable",
            "a b",
            "a@b",
            "_a",
            "é",
            &long,
        ] {
            assert!(bad.parse::<VersionRef>().is_err(), "{bad}");
        }
    }
}
