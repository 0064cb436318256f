//! A function tried on a few given rows, without a job.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sandmill_model::{
    ArgumentInfo, ColumnInfo, ErrorCode, Failure, FunctionInfo, JobId, JobSpec, LogLine,
    ResultManifest, TenantId, VersionRef,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::translate;
use crate::runner::{Run, RunHandle, Shared};
use crate::service::{Service, now};
use crate::versions::pin;

/// Rows of a trial.
const ROWS: usize = 1000;
/// Bytes of its result.
const RESULT: u64 = 16 << 20;

/// Rows to try a function on.
#[derive(Debug, Clone, Default)]
pub struct Trial {
    /// The version.
    pub version: VersionRef,
    /// Lists with a value for each argument, or objects by the arguments' names.
    pub rows: Vec<Value>,
}

/// What a function made of the rows.
#[derive(Debug, Clone)]
pub struct TrialResult {
    /// The version that was tried.
    pub version: u32,
    /// Columns of the result.
    pub columns: Vec<ColumnInfo>,
    /// The result in chunks, each an Arrow IPC stream.
    pub chunks: Vec<Vec<u8>>,
    /// What the function logged.
    pub logs: Vec<LogLine>,
}

impl Service {
    /// Tries a function, like a job would run it, under its limits and a short deadline.
    ///
    /// # Errors
    /// What the function says of the rows, and `rate.limited` while too many others are tried.
    pub async fn try_function(
        &self,
        tenant: &TenantId,
        name: &str,
        trial: Trial,
    ) -> Result<TrialResult, Failure> {
        let record = self.version(tenant, name, &trial.version).await?;
        let sql = statement(&record.info, &trial.rows)?;
        let limit = self.0.settings.trial_timeout;
        let spec = JobSpec {
            kind: Default::default(),
            sql,
            params: Vec::new(),
            functions: vec![pin(&record)],
            timeout_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            result_bytes: RESULT,
            on_result_limit: Default::default(),
            max_attempts: 1,
            show_values: false,
            labels: BTreeMap::new(),
        };
        let slot = timeout(limit, Arc::clone(&self.0.trials).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else {
            let message = "Too many functions are tried at present.";
            return Err(Failure::new(ErrorCode::RateLimited, message).hint("Try again."));
        };
        // A child of the service's own token: it ends with the server, and with this request.
        let cancel = self.0.stop.child_token();
        let _stop = cancel.clone().drop_guard();
        let (service, tenant) = (self.clone(), tenant.clone());
        // On a task of its own, which cleans up even if the request breaks off.
        let task = self.0.tasks.spawn(async move {
            let shared = Arc::new(Shared::default());
            let (planned, _planning) = mpsc::channel(1);
            let job = JobId::generate();
            let staging = service.0.blobs.stage(job, 0).map_err(translate)?;
            let owner = tenant.clone();
            let run = Run {
                tenant,
                job,
                spec,
                tables: Vec::new(),
                http: service.http_policy(&owner).await?,
                staging: staging.clone(),
                handle: RunHandle {
                    cancel,
                    shared: Arc::clone(&shared),
                    planned,
                },
            };
            let result = service.attempt(run, limit).await;
            let result = result.and_then(|manifest| {
                let read = |n| {
                    let path = staging.join(sandmill_store::blobs::Blobs::chunk_name(n));
                    std::fs::read(&path).map_err(|error| {
                        let path = path.display().to_string();
                        translate(sandmill_store::Error::File { path, error })
                    })
                };
                let chunks = (0..manifest.chunks.len())
                    .map(read)
                    .collect::<Result<Vec<_>, _>>();
                Ok((manifest.columns, chunks?))
            });
            if let Err(error) = service.0.blobs.discard(&staging) {
                tracing::warn!(%error, "the result of a trial stays in staging");
            }
            drop(slot);
            Ok::<_, Failure>((result?, shared.take_lines(Some(now()))))
        });
        let ((columns, chunks), logs) = task.await.map_err(|error| {
            tracing::error!(%error, "a trial ended by a panic");
            Failure::new(ErrorCode::Internal, "Something went wrong inside Sandmill.")
        })??;
        Ok(TrialResult {
            version: record.version,
            columns,
            chunks,
            logs,
        })
    }

    /// Runs it until its deadline.
    async fn attempt(&self, run: Run, limit: Duration) -> Result<ResultManifest, Failure> {
        let cancel = run.handle.cancelled();
        let mut work = self.0.runner.run(run);
        match timeout(limit, &mut work).await {
            Ok(result) => result,
            Err(_) => {
                cancel.cancel();
                // The guest stops at its next look at the context.
                let _ = timeout(crate::worker::STOPPING, work).await;
                let message = format!("The trial ran past its deadline of {} s.", limit.as_secs());
                Err(Failure::new(ErrorCode::JobTimeout, message)
                    .hint("Try fewer rows, or submit a job."))
            }
        }
    }
}

/// A query that calls the function on the rows, in their order.
fn statement(info: &FunctionInfo, rows: &[Value]) -> Result<String, Failure> {
    let wrong = |message: String| Failure::new(ErrorCode::RequestInvalid, message);
    let name = quote(&info.name);
    let aggregate = match info.kind.as_str() {
        "scalar" => false,
        "aggregate" => true,
        other => {
            let message = format!("A {other} function cannot be tried on rows.");
            return Err(wrong(message).hint("Scalar and aggregate functions can; submit a job."));
        }
    };
    if !(1..=ROWS).contains(&rows.len()) {
        return Err(wrong(format!("A trial takes 1 to {ROWS} rows.")));
    }
    let mut values = String::new();
    let mut width = None;
    for (n, row) in rows.iter().enumerate() {
        let row = arguments(info, row).map_err(|e| wrong(format!("Row {n}: {e}.")))?;
        if *width.get_or_insert(row.len()) != row.len() {
            return Err(wrong(format!(
                "Row {n} has another number of values than the rows before."
            )));
        }
        let comma = if n == 0 { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(values, "{comma}({n}");
        for value in row {
            let _ = write!(values, ", {value}");
        }
        values.push(')');
    }
    let columns: Vec<_> = (0..width.unwrap_or(0)).map(|n| format!("a{n}")).collect();
    let names: Vec<_> = std::iter::once("n".to_owned())
        .chain(columns.iter().cloned())
        .collect();
    let order = if aggregate { "" } else { " ORDER BY t.n" };
    Ok(format!(
        "SELECT {name}({}) AS result FROM (VALUES {values}) AS t({}){order}",
        columns.join(", "),
        names.join(", ")
    ))
}

/// The values of a row in the order of the arguments, as SQL. What is left out has its default.
fn arguments(info: &FunctionInfo, row: &Value) -> Result<Vec<String>, String> {
    let absent = |argument: &ArgumentInfo| match &argument.default {
        Some(literal) => literal.clone(),
        None => typed(argument, &Value::Null),
    };
    let expected = info.arguments.len();
    match row {
        Value::Array(values) => {
            let optional = info.arguments.iter().rev();
            let least = expected - optional.take_while(|a| a.default.is_some()).count();
            let fits = least <= values.len() && (info.variadic || values.len() <= expected);
            let Some(last) = info.arguments.last().filter(|_| fits) else {
                return match fits {
                    true => Ok(Vec::new()),
                    false => Err(format!(
                        "{} has {expected} arguments, {} values are given",
                        info.name,
                        values.len()
                    )),
                };
            };
            let more = std::iter::repeat(last);
            let given = info.arguments.iter().chain(more).zip(values);
            let rest = info.arguments.iter().skip(values.len()).map(absent);
            Ok(given.map(|(a, v)| typed(a, v)).chain(rest).collect())
        }
        Value::Object(values) => {
            let known = |name: &&String| info.arguments.iter().any(|a| a.name == **name);
            if let Some(name) = values.keys().find(|name| !known(name)) {
                let name = name.escape_debug();
                return Err(format!("{} has no argument `{name}`", info.name));
            }
            let value = |a: &ArgumentInfo| match values.get(&a.name) {
                Some(value) => typed(a, value),
                None => absent(a),
            };
            Ok(info.arguments.iter().map(value).collect())
        }
        _ => Err("it is neither a list nor an object".into()),
    }
}

/// A value with the argument's type, where SQL would guess another.
fn typed(argument: &ArgumentInfo, value: &Value) -> String {
    let bytes = ["z", "Z", "vz"].contains(&&*argument.format) && value.is_string();
    let text = match bytes {
        // Results show bytes as hexadecimal texts too.
        true => format!("decode({}, 'hex')", literal(value)),
        false => literal(value),
    };
    match arrow_type(&argument.format) {
        Some(ty) => format!("arrow_cast({text}, {})", text_literal(&ty)),
        None => text,
    }
}

/// Arrow's name of a simple type, from its format in the C data interface. Values of other types
/// are left to the coercion that every call has.
fn arrow_type(format: &str) -> Option<String> {
    let simple = match format {
        "b" => "Boolean",
        "c" => "Int8",
        "C" => "UInt8",
        "s" => "Int16",
        "S" => "UInt16",
        "i" => "Int32",
        "I" => "UInt32",
        "l" => "Int64",
        "L" => "UInt64",
        "f" => "Float32",
        "g" => "Float64",
        "e" => "Float16",
        "u" => "Utf8",
        "U" => "LargeUtf8",
        "vu" => "Utf8View",
        "z" => "Binary",
        "Z" => "LargeBinary",
        "vz" => "BinaryView",
        "tdD" => "Date32",
        "tdm" => "Date64",
        "tts" => "Time32(Second)",
        "ttm" => "Time32(Millisecond)",
        "ttu" => "Time64(Microsecond)",
        "ttn" => "Time64(Nanosecond)",
        _ => "",
    };
    if !simple.is_empty() {
        return Some(simple.into());
    }
    if let Some((precision, scale)) = format.strip_prefix("d:").and_then(|d| d.split_once(',')) {
        let (scale, bits) = scale.split_once(',').unwrap_or((scale, "128"));
        let (precision, scale): (u8, i8) = (precision.parse().ok()?, scale.parse().ok()?);
        let bits: u16 = bits.parse().ok()?;
        return Some(format!("Decimal{bits}({precision}, {scale})"));
    }
    let (unit, zone) = format.strip_prefix("ts")?.split_once(':')?;
    let unit = match unit {
        "s" => "Second",
        "m" => "Millisecond",
        "u" => "Microsecond",
        "n" => "Nanosecond",
        _ => return None,
    };
    Some(match zone {
        "" => format!("Timestamp({unit}, None)"),
        zone => format!("Timestamp({unit}, Some(\"{zone}\"))"),
    })
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text_literal(text: &str) -> String {
    // The dialect knows no backslashes in plain texts, and a NUL would end the statement.
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_literal(text),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(literal).collect();
            format!("make_array({})", values.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{}, {}", text_literal(name), literal(value)))
                .collect();
            format!("named_struct({})", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandmill_model::Volatility;
    use serde_json::json;

    fn info(formats: &[&str]) -> FunctionInfo {
        let argument = |(n, format): (usize, &&str)| ArgumentInfo {
            name: format!("x{n}"),
            sql_type: String::new(),
            format: (*format).into(),
            default: None,
        };
        FunctionInfo {
            name: "f".into(),
            kind: "scalar".into(),
            arguments: formats.iter().enumerate().map(argument).collect(),
            variadic: false,
            inputs: vec![],
            returns: "BIGINT".into(),
            returns_format: "l".into(),
            nullable: true,
            strict: true,
            volatility: Volatility::Immutable,
            doc: String::new(),
            examples: vec![],
        }
    }

    #[test]
    fn rows_become_one_statement() {
        let rows = [json!([1, "it's"]), json!({"x1": null})];
        let sql = statement(&info(&["g", "u"]), &rows).expect("a statement");
        assert_eq!(
            sql,
            "SELECT \"f\"(a0, a1) AS result FROM (VALUES \
             (0, arrow_cast(1, 'Float64'), arrow_cast('it''s', 'Utf8')), \
             (1, arrow_cast(NULL, 'Float64'), arrow_cast(NULL, 'Utf8'))) AS t(n, a0, a1) ORDER BY t.n"
        );
        let stamp = typed(&info(&["tsu:UTC"]).arguments[0], &json!("2020-01-01"));
        assert_eq!(
            stamp,
            "arrow_cast('2020-01-01', 'Timestamp(Microsecond, Some(\"UTC\"))')"
        );
        let cast = |format: &str, value| typed(&info(&[format]).arguments[0], &value);
        assert_eq!(
            cast("d:50,2,256", json!("1")),
            "arrow_cast('1', 'Decimal256(50, 2)')"
        );
        assert_eq!(
            cast("Z", json!("00ff")),
            "arrow_cast(decode('00ff', 'hex'), 'LargeBinary')"
        );
        assert_eq!(cast("+l", json!([1])), "make_array(1)");
        assert_eq!(
            literal(&json!([{"a'": [1]}])),
            "make_array(named_struct('a''', make_array(1)))"
        );
    }

    #[test]
    fn defaults_and_repeated_arguments_count() {
        let mut info = info(&["l", "l"]);
        info.arguments[1].default = Some("7".into());
        let row = |info: &FunctionInfo, row: Value| arguments(info, &row);
        let one = "arrow_cast(1, 'Int64')".to_owned();
        assert_eq!(row(&info, json!([1])), Ok(vec![one.clone(), "7".into()]));
        assert_eq!(
            row(&info, json!({"x0": 1})),
            Ok(vec![one.clone(), "7".into()])
        );
        assert!(row(&info, json!([])).is_err());
        assert!(row(&info, json!([1, 1, 1])).is_err());
        info.variadic = true;
        assert_eq!(row(&info, json!([1, 1, 1])), Ok(vec![one; 3]));
        let uneven = statement(&info, &[json!([1, 1]), json!([1, 1, 1])]);
        assert!(
            uneven
                .expect_err("uneven")
                .message
                .contains("Row 1 has another")
        );
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let refuse = |info: &FunctionInfo, rows: &[Value]| {
            statement(info, rows).expect_err("refused").message
        };
        let one = info(&["g"]);
        assert!(refuse(&one, &[]).contains("1 to 1000"));
        assert!(refuse(&one, &[json!([1, 2])]).contains("Row 0: f has 1 arguments"));
        assert!(
            refuse(&one, &[json!([1]), json!({"y": 1})]).contains("Row 1: f has no argument `y`")
        );
        assert!(refuse(&one, &[json!(1)]).contains("neither"));
        let mut table = info(&["g"]);
        table.kind = "table".into();
        assert!(refuse(&table, &[json!([1])]).contains("table function"));
    }
}
