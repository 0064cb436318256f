//! Rows as JSON, NDJSON, CSV and Arrow.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::csv::WriterBuilder;
use arrow::datatypes::*;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::http::{HeaderMap, header};
use sandmill_model::{ErrorCode, Failure};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::problem::ApiError;

/// What results come as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Ndjson,
    Csv,
    Arrow,
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow];

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }

    /// What the request asks for: `format` counts before `Accept`.
    pub(crate) fn negotiate(name: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let refuse = |what: String| {
            ApiError::new(ErrorCode::RequestNotAcceptable, what)
                .hint("There are application/json, application/x-ndjson, text/csv and application/vnd.apache.arrow.stream.")
        };
        if let Some(name) = name {
            let found = Self::ALL.into_iter().find(|f| f.name() == name);
            return found.ok_or_else(|| {
                refuse(format!(
                    "The format `{}` is not on offer.",
                    name.escape_debug()
                ))
            });
        }
        let values = headers.get_all(header::ACCEPT);
        let accepted: Vec<_> = values
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .collect();
        if accepted.is_empty() {
            return Ok(Self::Json);
        }
        // The first of the most wanted.
        let mut best: Option<(f32, Self)> = None;
        for range in accepted {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts
                .find_map(|p| p.strip_prefix("q="))
                .and_then(|q| q.parse().ok())
                .unwrap_or(1.0);
            let format = match media.as_str() {
                "*/*" | "application/*" => Some(Self::Json),
                "text/*" => Some(Self::Csv),
                "application/ndjson" | "application/jsonl" => Some(Self::Ndjson),
                other => Self::ALL.into_iter().find(|f| f.media_type() == other),
            };
            if let Some(format) = format
                && quality > best.map_or(0.0, |(q, _)| q)
            {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
            .ok_or_else(|| refuse("No acceptable format is on offer.".into()))
    }
}

fn internal(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "rows cannot be encoded");
    Failure::new(
        ErrorCode::Internal,
        "The rows cannot be encoded in this format.",
    )
}

/// The batches of a chunk.
pub(crate) fn decode(chunk: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let reader = StreamReader::try_new(chunk, None).map_err(internal)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>().map_err(internal)?))
}

/// Rows as lists of JSON values.
pub(crate) fn json_rows(batches: &[RecordBatch]) -> Result<Vec<Vec<Value>>, Failure> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = columns(batch)?;
        for n in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column[n].clone()).collect());
        }
    }
    Ok(rows)
}

fn columns(batch: &RecordBatch) -> Result<Vec<Vec<Value>>, Failure> {
    batch.columns().iter().map(values).collect()
}

/// Encodes batch after batch; each call gives the bytes that follow.
pub(crate) enum Encoder {
    Json { first: bool },
    Ndjson,
    Csv { header: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(format: Format, schema: &Schema) -> Result<Self, Failure> {
        Ok(match format {
            Format::Json => Self::Json { first: true },
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv { header: true },
            Format::Arrow => Self::Arrow(Box::new(
                StreamWriter::try_new(Vec::new(), schema).map_err(internal)?,
            )),
        })
    }

    /// The bytes of one batch. JSON is an array of objects.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        match self {
            Self::Json { first } => objects(batch, |object| {
                bytes.extend_from_slice(if std::mem::take(first) { b"[" } else { b",\n" });
                serde_json::to_writer(&mut bytes, &object).map_err(internal)
            })?,
            Self::Ndjson => objects(batch, |object| {
                serde_json::to_writer(&mut bytes, &object).map_err(internal)?;
                bytes.push(b'\n');
                Ok(())
            })?,
            Self::Csv { header } => {
                let header = std::mem::take(header);
                let mut writer = WriterBuilder::new().with_header(header).build(&mut bytes);
                writer.write(batch).map_err(|_| {
                    Failure::new(
                        ErrorCode::RequestNotAcceptable,
                        "A column is nested; CSV cannot hold it.",
                    )
                    .hint("Ask for JSON or Arrow.")
                })?;
            }
            Self::Arrow(writer) => {
                writer.write(batch).map_err(internal)?;
                bytes = std::mem::take(writer.get_mut());
            }
        }
        Ok(bytes)
    }

    /// The bytes that end the body.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Failure> {
        Ok(match self {
            Self::Json { first } => {
                if first {
                    b"[]\n".to_vec()
                } else {
                    b"]\n".to_vec()
                }
            }
            Self::Ndjson | Self::Csv { .. } => Vec::new(),
            Self::Arrow(writer) => writer.into_inner().map_err(internal)?,
        })
    }
}

/// Rows as JSON objects, their members in the order of the columns.
fn objects(
    batch: &RecordBatch,
    mut each: impl FnMut(Object<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (names, columns) = (names(&batch.schema()), columns(batch)?);
    (0..batch.num_rows()).try_for_each(|row| {
        each(Object {
            names: &names,
            columns: &columns,
            row,
        })
    })
}

struct Object<'a> {
    names: &'a [String],
    columns: &'a [Vec<Value>],
    row: usize,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.columns.iter().map(|column| &column[self.row]);
        serializer.collect_map(self.names.iter().zip(values))
    }
}

/// Names of members. Columns of a join may share one; an object would keep the last of them only,
/// so that the second `id` is called `id_2`.
fn names(schema: &Schema) -> Vec<String> {
    let given: HashSet<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let mut taken = HashSet::new();
    let mut free = |name: &String| {
        let mut chosen = name.clone();
        let mut n = 1_usize;
        while !taken.insert(chosen.clone()) || (n > 1 && given.contains(chosen.as_str())) {
            n += 1;
            chosen = format!("{name}_{n}");
        }
        chosen
    };
    schema.fields().iter().map(|f| free(f.name())).collect()
}

/// Integers beyond this lose digits where numbers are IEEE doubles.
const EXACT: u64 = 1 << 53;

fn integer(value: i128) -> Value {
    if value.unsigned_abs() <= u128::from(EXACT) {
        Value::from(value as i64)
    } else {
        Value::from(value.to_string())
    }
}

fn float(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None => Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}

/// The values of a column as JSON.
fn values(array: &ArrayRef) -> Result<Vec<Value>, Failure> {
    macro_rules! each {
        ($array:expr, $value:expr) => {
            $array
                .iter()
                .map(|v| v.map_or(Value::Null, $value))
                .collect()
        };
    }
    macro_rules! integers {
        ($t:ty) => {
            each!(array.as_primitive::<$t>(), |v| integer(i128::from(v)))
        };
    }
    let hex =
        |bytes: &[u8]| Value::from(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => each!(array.as_boolean(), Value::from),
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Float32 => each!(array.as_primitive::<Float32Type>(), |v| float(
            // The shortest text of the value, not its expansion to 64 bits.
            v.to_string().parse().unwrap_or(f64::from(v))
        )),
        DataType::Float64 => each!(array.as_primitive::<Float64Type>(), float),
        DataType::Utf8 => each!(array.as_string::<i32>(), Value::from),
        DataType::LargeUtf8 => each!(array.as_string::<i64>(), Value::from),
        DataType::Utf8View => each!(array.as_string_view(), Value::from),
        DataType::Binary => each!(array.as_binary::<i32>(), hex),
        DataType::LargeBinary => each!(array.as_binary::<i64>(), hex),
        DataType::BinaryView => each!(array.as_binary_view(), hex),
        DataType::List(_) => lists((0..array.len()).map(|n| {
            let list = array.as_list::<i32>();
            list.is_valid(n).then(|| list.value(n))
        }))?,
        DataType::LargeList(_) => lists((0..array.len()).map(|n| {
            let list = array.as_list::<i64>();
            list.is_valid(n).then(|| list.value(n))
        }))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(values);
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let row = |n: usize| {
                let names = fields.iter().map(|f| f.name().clone());
                Value::Object(names.zip(columns.iter().map(|c| c[n].clone())).collect())
            };
            (0..array.len())
                .map(|n| {
                    if array.is_null(n) {
                        Value::Null
                    } else {
                        row(n)
                    }
                })
                .collect()
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array, &options).map_err(internal)?;
            let text = |n| match array.is_null(n) {
                true => Ok(Value::Null),
                false => formatter
                    .value(n)
                    .try_to_string()
                    .map(Value::from)
                    .map_err(internal),
            };
            (0..array.len()).map(text).collect::<Result<_, _>>()?
        }
    })
}

fn lists(items: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>, Failure> {
    items
        .map(|item| item.map_or(Ok(Value::Null), |item| values(&item).map(Value::Array)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::*;
    use serde_json::json;

    #[test]
    fn json_keeps_every_digit() {
        let decimal = Decimal128Array::from(vec![Some(-12345), None])
            .with_precision_and_scale(10, 2)
            .expect("fits");
        let cases: Vec<(ArrayRef, Value)> = vec![
            (
                Arc::new(Int64Array::from(vec![1 << 53, (1 << 53) + 1])),
                json!([9007199254740992i64, "9007199254740993"]),
            ),
            (
                Arc::new(UInt64Array::from(vec![u64::MAX])),
                json!(["18446744073709551615"]),
            ),
            (
                Arc::new(Float64Array::from(vec![0.1, f64::NAN, f64::NEG_INFINITY])),
                json!([0.1, "NaN", "-Infinity"]),
            ),
            (Arc::new(Float32Array::from(vec![0.1])), json!([0.1])),
            (Arc::new(decimal), json!(["-123.45", null])),
            (Arc::new(Date32Array::from(vec![0])), json!(["1970-01-01"])),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
                json!(["1970-01-01T00:00:00.000001Z"]),
            ),
            (
                Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"])),
                json!(["00ff"]),
            ),
            (
                Arc::new(StringViewArray::from(vec![Some("ü"), None])),
                json!(["ü", null]),
            ),
            (Arc::new(BooleanArray::from(vec![true])), json!([true])),
        ];
        for (array, expected) in cases {
            assert_eq!(Value::Array(values(&array).expect("encodes")), expected);
        }
    }

    #[test]
    fn objects_keep_every_column_in_its_place() {
        let number = |n: i64| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
        let names = ["z", "id", "id_2", "id", "id", "a"];
        let fields: Vec<_> = names
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true))
            .collect();
        let columns = (1..=6).map(number).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("fits");
        let mut encoder = Encoder::new(Format::Json, &batch.schema()).expect("starts");
        let mut bytes = encoder.batch(&batch).expect("encodes");
        bytes.extend(encoder.finish().expect("ends"));
        assert_eq!(
            String::from_utf8(bytes).expect("text"),
            "[{\"z\":1,\"id\":2,\"id_2\":3,\"id_3\":4,\"id_4\":5,\"a\":6}]\n"
        );
    }

    #[test]
    fn the_most_wanted_format_is_chosen() {
        let ask = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("legal"));
            Format::negotiate(None, &headers).map_err(|e| e.0.code)
        };
        assert_eq!(ask("text/csv"), Ok(Format::Csv));
        assert_eq!(ask("text/html, */*;q=0.1"), Ok(Format::Json));
        assert_eq!(
            ask("text/csv;q=0.5, application/vnd.apache.arrow.stream"),
            Ok(Format::Arrow)
        );
        assert_eq!(ask("image/png"), Err(ErrorCode::RequestNotAcceptable));
        assert_eq!(
            Format::negotiate(None, &HeaderMap::new()).ok(),
            Some(Format::Json)
        );
        assert!(Format::negotiate(Some("xml"), &HeaderMap::new()).is_err());
    }
}
