use sandmill_model as model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Column, Provenance, moment};

/// An argument of a function.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Argument {
    /// Name.
    pub name: String,
    /// SQL type.
    #[serde(rename = "type")]
    pub sql_type: String,
}

/// One version of a function.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Function {
    /// Name in SQL.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// `scalar`.
    pub kind: String,
    /// `name(argument TYPE, …) -> TYPE`.
    pub signature: String,
    /// Arguments.
    pub arguments: Vec<Argument>,
    /// SQL type of the result.
    pub returns: String,
    /// Whether NULL in any argument gives NULL.
    pub strict: bool,
    /// `immutable`, `stable` or `volatile`.
    pub volatility: String,
    /// What it does.
    pub doc: String,
    /// SQL examples.
    pub examples: Vec<String>,
    /// Package.
    pub package: String,
    /// SHA-256 of its module.
    pub digest: String,
    /// When it was published.
    pub created_at: String,
    /// Aliases that name this version: `default` for the one that a call without a version means,
    /// `latest` for the newest, and those that were set.
    pub aliases: Vec<String>,
    /// Where it came from.
    pub provenance: Provenance,
}

impl Function {
    /// Puts a version together. `created` is microseconds since 1970.
    pub fn new(
        info: model::FunctionInfo,
        version: u32,
        package: String,
        digest: model::Digest,
        created: i64,
        aliases: Vec<String>,
        provenance: model::Provenance,
    ) -> Self {
        let volatility = match info.volatility {
            model::Volatility::Immutable => "immutable",
            model::Volatility::Stable => "stable",
            model::Volatility::Volatile => "volatile",
        };
        let argument = |a: model::ArgumentInfo| Argument {
            name: a.name,
            sql_type: a.sql_type,
        };
        Self {
            signature: info.signature(),
            name: info.name,
            version,
            kind: info.kind,
            arguments: info.arguments.into_iter().map(argument).collect(),
            returns: info.returns,
            strict: info.strict,
            volatility: volatility.into(),
            doc: info.doc,
            examples: info.examples,
            package,
            digest: digest.to_string(),
            created_at: moment(created),
            aliases,
            provenance: provenance.into(),
        }
    }
}

/// What an upload published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FunctionUpload {
    /// SHA-256 of the module.
    pub digest: String,
    /// Package.
    pub package: String,
    /// Version of the package, as its author wrote it.
    pub package_version: String,
    /// Bytes of the module.
    pub size: u64,
    /// The functions with the versions they have now.
    pub functions: Vec<Function>,
}

/// Functions, each in its default version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FunctionList {
    /// The functions by name.
    pub items: Vec<Function>,
}

/// All versions of one function.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// The versions, newest first.
    pub items: Vec<Function>,
}

/// Format of a table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line, or one array of objects.
    Json,
}

impl From<TableFormat> for model::TableFormat {
    fn from(format: TableFormat) -> Self {
        match format {
            TableFormat::Parquet => Self::Parquet,
            TableFormat::Csv => Self::Csv,
            TableFormat::Json => Self::Json,
        }
    }
}

impl From<model::TableFormat> for TableFormat {
    fn from(format: model::TableFormat) -> Self {
        match format {
            model::TableFormat::Parquet => Self::Parquet,
            model::TableFormat::Csv => Self::Csv,
            model::TableFormat::Json => Self::Json,
        }
    }
}

/// A table to register.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "flights", "path": "flights.parquet"}))]
pub struct NewTable {
    /// Name in SQL: lower-case letters, digits and `_`.
    pub name: String,
    /// A file or a folder on the server, below an allowed folder.
    pub path: String,
    /// Format; by default what the path's ending says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TableFormat>,
    /// Whether a table of this name may be replaced.
    #[serde(default)]
    pub replace: bool,
}

/// A registered table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Table {
    /// Name in SQL.
    pub name: String,
    /// Where its files lie.
    pub path: String,
    /// Their format.
    pub format: TableFormat,
    /// Columns when it was registered.
    pub columns: Vec<Column>,
    /// Bytes of the files when it was registered.
    pub bytes: u64,
    /// When it was registered.
    pub created_at: String,
}

impl Table {
    /// Puts a table together. `created` is microseconds since 1970.
    pub fn new(table: model::TableDescription, created: i64) -> Self {
        Self {
            name: table.spec.name,
            path: table.spec.path,
            format: table.spec.format.into(),
            columns: table.columns.into_iter().map(Into::into).collect(),
            bytes: table.bytes,
            created_at: moment(created),
        }
    }
}

/// All tables.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TableList {
    /// The tables by name.
    pub items: Vec<Table>,
}

/// Who the credential stands for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// Tenant.
    pub tenant: String,
    /// `viewer` or `engineer`.
    pub role: String,
    /// Name of the token.
    pub token: String,
    /// When the token ends.
    pub expires_at: Option<String>,
}

impl Me {
    /// `expires` is microseconds since 1970.
    pub fn new(tenant: String, role: String, token: String, expires: Option<i64>) -> Self {
        Self {
            tenant,
            role,
            token,
            expires_at: expires.map(moment),
        }
    }
}
