use serde::{Deserialize, Serialize};

use crate::Digest;

/// When the planner may assume the same result for the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Volatility {
    /// Always: may be folded, moved and evaluated once.
    Immutable,
    /// Within one query.
    Stable,
    /// Never: evaluated for each row, never folded or moved.
    Volatile,
}

/// One argument of a function, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentInfo {
    /// Name in the source.
    pub name: String,
    /// SQL type, for example `DOUBLE` or `DECIMAL(10, 2)`.
    pub sql_type: String,
    /// Arrow format string of the C data interface, for example `g`.
    pub format: String,
    /// SQL literal that stands for it where it is left out.
    #[serde(default)]
    pub default: Option<String>,
}

impl ArgumentInfo {
    fn text(&self) -> String {
        let default = self.default.as_ref();
        let default = default.map_or(String::new(), |literal| format!(" DEFAULT {literal}"));
        format!("{} {}{default}", self.name, self.sql_type)
    }
}

fn list(arguments: &[ArgumentInfo]) -> String {
    let texts: Vec<_> = arguments.iter().map(ArgumentInfo::text).collect();
    texts.join(", ")
}

/// One function that a module offers, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Name in SQL.
    pub name: String,
    /// `scalar`, `aggregate`, `window`, `table`, `map`, `grouped_map` or `cogrouped_map`.
    pub kind: String,
    /// Arguments in order.
    pub arguments: Vec<ArgumentInfo>,
    /// Whether the last argument may be given any number of times.
    #[serde(default)]
    pub variadic: bool,
    /// Columns of each input table, for the kinds that take tables.
    #[serde(default)]
    pub inputs: Vec<Vec<ArgumentInfo>>,
    /// SQL type of the result; `TABLE(…)` for the kinds that give rows.
    pub returns: String,
    /// Arrow format string of the result; empty for the kinds that give rows.
    pub returns_format: String,
    /// Whether the result may be NULL for arguments that are not.
    pub nullable: bool,
    /// NULL in any argument gives NULL without a call.
    pub strict: bool,
    /// What the planner may assume.
    pub volatility: Volatility,
    /// One paragraph for people.
    pub doc: String,
    /// SQL examples.
    pub examples: Vec<String>,
}

impl FunctionInfo {
    /// `name(arg TYPE, …) -> TYPE`.
    pub fn signature(&self) -> String {
        let mut parts: Vec<_> = self
            .inputs
            .iter()
            .map(|columns| format!("TABLE({})", list(columns)))
            .collect();
        parts.extend(self.arguments.iter().map(ArgumentInfo::text));
        let more = if self.variadic { ", …" } else { "" };
        format!(
            "{}({}{more}) -> {}",
            self.name,
            parts.join(", "),
            self.returns
        )
    }
}

/// What a module says of itself, read without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleDescription {
    /// Identity: SHA-256 of the bytes.
    pub digest: Digest,
    /// Bytes of the module.
    pub size: u64,
    /// `major.minor` of the function ABI.
    pub abi: String,
    /// Package name.
    pub package: String,
    /// Package version, as the author wrote it.
    pub package_version: String,
    /// Source language.
    pub language: String,
    /// What it was built from.
    #[serde(default)]
    pub build: String,
    /// SDK name and version.
    pub sdk: String,
    /// Functions on offer.
    pub functions: Vec<FunctionInfo>,
    /// Imports, as `module.name`.
    pub imports: Vec<String>,
}

/// The version of a function that a job uses, fixed when the job is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionPin {
    /// Name in SQL, as the statement writes it: `f`, or `f@3` and `f@stable` for a version of `f`.
    pub name: String,
    /// Version number within the tenant, from 1.
    pub version: u32,
    /// Module that holds it.
    pub digest: Digest,
}

impl FunctionPin {
    /// Name of the function, without the version that the statement asks for.
    pub fn function(&self) -> &str {
        self.name
            .split_once('@')
            .map_or(&*self.name, |(name, _)| name)
    }

    /// The version or alias that the statement asks for.
    pub fn asked(&self) -> Option<&str> {
        self.name.split_once('@').map(|(_, asked)| asked)
    }
}
