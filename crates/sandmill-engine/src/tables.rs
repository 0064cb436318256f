//! Tables on local files: which paths are allowed, and how the files are read.

use std::fs;
use std::io::{ErrorKind, Read};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use sandmill_model::{ColumnInfo, ErrorCode, Failure, TableFormat, TableSpec};
use url::Url;

/// Files of a folder that are looked at before it counts as too large to be a table.
const FILES: usize = 100_000;

/// The folders that tables may lie below, without symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct Roots(Vec<PathBuf>);

/// A table's place, checked.
pub(crate) struct Found {
    pub path: PathBuf,
    pub bytes: u64,
    /// A file, and its ending, or a folder of files with this ending.
    folder: bool,
    ending: String,
    /// The file whose beginning tells how JSON is written: the first of a folder's.
    sample: PathBuf,
}

impl Roots {
    pub(crate) fn open(folders: &[PathBuf]) -> Result<Self, Failure> {
        let open = |folder: &PathBuf| {
            fs::canonicalize(folder).map_err(|e| {
                let message = format!(
                    "The allowed folder {} cannot be used: {e}.",
                    folder.display()
                );
                Failure::new(ErrorCode::TableMissing, message)
            })
        };
        folders.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Finds a table's files; everything outside of the roots looks the same, there or not.
    pub(crate) fn find(&self, spec: &TableSpec) -> Result<Found, Failure> {
        let outside = || {
            let roots: Vec<_> = self.0.iter().map(|r| r.display().to_string()).collect();
            let hint = match roots.is_empty() {
                true => "The server was started without an allowed folder; see `sandmill serve --allow`.".to_owned(),
                false => format!("Tables may lie below: {}.", roots.join(", ")),
            };
            let message = format!(
                "The path `{}` of table {} is not below an allowed folder.",
                spec.path, spec.name
            );
            Failure::new(ErrorCode::TablePath, message).hint(hint)
        };
        let path = Path::new(&spec.path);
        let climbs = path
            .components()
            .any(|c| matches!(c, std::path::Component::ParentDir));
        if spec.path.is_empty() || spec.path.contains('\0') || climbs {
            return Err(outside());
        }
        let below = |root: &PathBuf| path.is_relative() || path.starts_with(root);
        let mut missing = false;
        for root in self.0.iter().filter(|root| below(root)) {
            match fs::canonicalize(root.join(path)) {
                Ok(real) if self.0.iter().any(|root| real.starts_with(root)) => {
                    return Found::read(real, spec);
                }
                Ok(_) => {}
                Err(e) => {
                    missing |= matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                }
            }
        }
        // A path may also be written through a link that leads below a root.
        if path.is_absolute()
            && let Ok(real) = fs::canonicalize(path)
            && self.0.iter().any(|root| real.starts_with(root))
        {
            return Found::read(real, spec);
        }
        if missing {
            let message = format!(
                "The file `{}` of table {} does not exist.",
                spec.path, spec.name
            );
            return Err(Failure::new(ErrorCode::TableMissing, message)
                .hint("Check the path; it is a path on the server."));
        }
        Err(outside())
    }
}

impl Found {
    fn read(path: PathBuf, spec: &TableSpec) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| {
            let message = format!(
                "The path `{}` of table {} cannot be read: {e}.",
                spec.path, spec.name
            );
            Failure::new(ErrorCode::TableMissing, message)
        };
        let data = fs::metadata(&path).map_err(failed)?;
        if data.is_file() {
            let ending = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            return Ok(Self {
                bytes: data.len(),
                folder: false,
                ending,
                sample: path.clone(),
                path,
            });
        }
        let endings: &[&str] = match spec.format {
            TableFormat::Parquet => &[".parquet"],
            TableFormat::Csv => &[".csv"],
            TableFormat::Json => &[".json", ".ndjson", ".jsonl"],
        };
        let (mut bytes, mut ending, mut seen) = (0, None, 0usize);
        let mut sample: Option<PathBuf> = None;
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type().map_err(failed)?;
                seen += 1;
                // A link, even to a folder, would be followed when the files are read.
                if kind.is_symlink() || seen > FILES {
                    let what = match kind.is_symlink() {
                        true => format!("has the link `{name}`; links are not followed"),
                        false => format!("has more than {FILES} files"),
                    };
                    let message =
                        format!("The folder `{}` of table {} {what}.", spec.path, spec.name);
                    return Err(Failure::new(ErrorCode::TablePath, message)
                        .hint("Name a folder that holds the table's own files only."));
                }
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if let Some(found) = endings.iter().find(|e| name.ends_with(**e)) {
                    // Files are listed by one ending; those with another would be left out.
                    let first = *ending.get_or_insert(*found);
                    if first != *found {
                        let message = format!(
                            "The folder `{}` of table {} has {first} files and {found} files.",
                            spec.path, spec.name
                        );
                        return Err(Failure::new(ErrorCode::TableFormat, message)
                            .hint("Give all files of a table the same ending."));
                    }
                    bytes += entry.metadata().map_err(failed)?.len();
                    let file = entry.path();
                    if sample.as_ref().is_none_or(|least| file < *least) {
                        sample = Some(file);
                    }
                }
            }
        }
        let (Some(ending), Some(sample)) = (ending, sample) else {
            let message = format!(
                "The folder `{}` of table {} has no {} files.",
                spec.path,
                spec.name,
                endings.join(" or ")
            );
            return Err(Failure::new(ErrorCode::TableMissing, message));
        };
        Ok(Self {
            bytes,
            folder: true,
            ending: ending.to_owned(),
            sample,
            path,
        })
    }
}

/// Opens a table: lists its files and finds out its columns.
pub(crate) async fn provider(
    context: &SessionContext,
    found: &Found,
    format: TableFormat,
) -> PlanResult<Arc<dyn TableProvider>> {
    // Readers of damaged files have been seen to panic. They share nothing that could stay broken.
    let opened = AssertUnwindSafe(open(context, found, format)).catch_unwind();
    opened.await.unwrap_or_else(|_| {
        Err(DataFusionError::Execution(
            "a file is damaged at its beginning or end".into(),
        ))
    })
}

async fn open(
    context: &SessionContext,
    found: &Found,
    format: TableFormat,
) -> PlanResult<Arc<dyn TableProvider>> {
    let state = context.state();
    let format: Arc<dyn FileFormat> = match format {
        TableFormat::Parquet => {
            Arc::new(ParquetFormat::default().with_options(state.table_options().parquet.clone()))
        }
        TableFormat::Csv => Arc::new(CsvFormat::default().with_has_header(true)),
        TableFormat::Json => {
            Arc::new(JsonFormat::default().with_newline_delimited(!is_json_array(found)?))
        }
    };
    let url = match found.folder {
        true => Url::from_directory_path(&found.path),
        false => Url::from_file_path(&found.path),
    };
    let url = url.map_err(|()| DataFusionError::Plan("the path is not absolute".into()))?;
    let options = ListingOptions::new(format).with_file_extension(&found.ending);
    let config = ListingTableConfig::new(ListingTableUrl::try_new(url, None)?)
        .with_listing_options(options)
        .infer_schema(&state)
        .await?;
    let cache = context
        .runtime_env()
        .cache_manager
        .get_file_statistic_cache();
    Ok(Arc::new(ListingTable::try_new(config)?.with_cache(cache)))
}

/// Whether JSON is written as one array a file instead of one object a line.
fn is_json_array(found: &Found) -> PlanResult<bool> {
    let mut start = [0; 512];
    let read = fs::File::open(&found.sample)?.read(&mut start)?;
    Ok(start[..read].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'['))
}

/// Columns as people see them.
pub fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    let describe = |field: &Arc<datafusion::arrow::datatypes::Field>| ColumnInfo {
        name: field.name().clone(),
        sql_type: match field.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
            DataType::LargeBinary | DataType::BinaryView => "BYTEA".into(),
            other => sandmill_functions::sql_name(other),
        },
        nullable: field.is_nullable(),
    };
    schema.fields().iter().map(describe).collect()
}
