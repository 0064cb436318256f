//! Values for `$name` and `$1` in a statement.

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{DFSchema, DataFusionError, ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use sandmill_model::{ErrorCode, Failure, Parameter};
use serde_json::Value;

/// Puts the values in. The error is either ours or DataFusion's.
pub(crate) fn bind(
    context: &SessionContext,
    plan: LogicalPlan,
    params: &[Parameter],
) -> Result<LogicalPlan, Result<Failure, DataFusionError>> {
    if params.is_empty() {
        let names = plan.get_parameter_names().map_err(Err)?;
        return match names.iter().min() {
            None => Ok(plan),
            Some(name) => Err(Ok(missing(name))),
        };
    }
    let mut values = HashMap::new();
    for param in params {
        let value = scalar(context, param).map_err(Ok)?;
        if values
            .insert(param.name.clone(), ScalarAndMetadata::from(value))
            .is_some()
        {
            let message = format!("The parameter `{}` is given twice.", param.name);
            return Err(Ok(Failure::new(ErrorCode::ParamInvalid, message)));
        }
    }
    let names = plan.get_parameter_names().map_err(Err)?;
    let bare = |name: &String| name.trim_start_matches('$').to_owned();
    if let Some(name) = names
        .iter()
        .map(bare)
        .filter(|n| !values.contains_key(n))
        .min()
    {
        return Err(Ok(missing(&name)));
    }
    plan.with_param_values(ParamValues::Map(values))
        .map_err(Err)
}

fn missing(name: &str) -> Failure {
    let name = name.trim_start_matches('$');
    let message = format!("The statement uses the parameter `${name}`, which has no value.");
    Failure::new(ErrorCode::ParamInvalid, message)
        .hint(format!("Give `params` a value named `{name}`."))
}

fn scalar(context: &SessionContext, param: &Parameter) -> Result<ScalarValue, Failure> {
    let wrong = |message: String| Failure::new(ErrorCode::ParamInvalid, message);
    let name = &param.name;
    let value = match &param.value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::from(*value),
        Value::String(value) => ScalarValue::from(value.as_str()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => ScalarValue::from(value),
            (None, Some(value), _) => ScalarValue::from(value),
            (None, None, Some(value)) => ScalarValue::from(value),
            _ => {
                return Err(wrong(format!(
                    "The parameter `{name}` is a number that does not fit."
                )));
            }
        },
        _ => {
            let message =
                format!("The parameter `{name}` must be a text, a number, true, false or null.");
            return Err(wrong(message));
        }
    };
    let Some(text) = &param.sql_type else {
        return Ok(value);
    };
    let ty = sql_type(context, text).ok_or_else(|| {
        wrong(format!(
            "The parameter `{name}` has the unknown type `{text}`."
        ))
    })?;
    value.cast_to(&ty).map_err(|_| {
        wrong(format!(
            "The parameter `{name}` cannot be read as {text}: {value}."
        ))
    })
}

/// The type that a name in SQL stands for.
fn sql_type(context: &SessionContext, text: &str) -> Option<DataType> {
    let legal = |c: char| c.is_ascii_alphanumeric() || " (),_'/:+-".contains(c);
    if text.len() > 100 || !text.chars().all(legal) {
        return None;
    }
    let cast = format!("CAST(NULL AS {text})");
    let state = context.state();
    match state.create_logical_expr(&cast, &DFSchema::empty()).ok()? {
        Expr::Cast(cast) => Some(cast.field.data_type().clone()),
        _ => None,
    }
}
