use serde::{Deserialize, Serialize};

use crate::ColumnInfo;

/// Format of a table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Json,
}

impl TableFormat {
    /// The format that a file name's ending stands for.
    pub fn of_path(path: &str) -> Option<Self> {
        match path.rsplit('.').next()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "json" | "ndjson" | "jsonl" => Some(Self::Json),
            _ => None,
        }
    }

    /// The name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// A table as its owner registers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Name in SQL.
    pub name: String,
    /// A file or a folder of files, relative to an allowed root or absolute below one.
    pub path: String,
    /// Format of every file.
    pub format: TableFormat,
}

/// A table as the engine found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescription {
    /// What was registered, with the path made absolute.
    pub spec: TableSpec,
    /// Columns in order.
    pub columns: Vec<ColumnInfo>,
    /// Bytes on disk.
    pub bytes: u64,
}
