//! Which types an argument may have, and what they are cast to.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, plan_err};
use sandmill_sandbox::{Function, ParameterType, sql_name};

use crate::failure::ARGUMENTS;

/// The types that DataFusion casts the arguments to.
pub(crate) fn coerce(function: &Function, given: &[DataType]) -> Result<Vec<DataType>> {
    let signature = function.info().signature();
    let (least, most) = (function.required(), function.arguments.len());
    let found = given.len();
    if found < least || (found > most && !function.variadic) {
        let expected = match (function.variadic, least == most) {
            (true, _) => format!("at least {least} arguments"),
            (_, true) => format!("{most} argument{}", if most == 1 { "" } else { "s" }),
            _ => format!("{least} to {most} arguments"),
        };
        return plan_err!(
            "{ARGUMENTS}{} takes {expected}, {found} given | Its signature is {signature}. | ",
            function.name
        );
    }
    let mut targets: Vec<DataType> = Vec::with_capacity(found);
    for (place, given) in given.iter().enumerate() {
        let Some(parameter) = function.argument(place) else {
            return plan_err!("{ARGUMENTS}{} has no argument {place} | | ", function.name);
        };
        let expected = match &parameter.ty {
            ParameterType::Any => given,
            other => other.resolve(&targets).unwrap_or(given),
        };
        let cast = target(expected, given).ok_or_else(|| {
            let expected = sql_name(expected);
            DataFusionError::Plan(format!(
                "{ARGUMENTS}argument {} of {} must be {expected}, not {} | \
                 Its signature is {signature}; write CAST(... AS {expected}) if that is what you mean. | ",
                parameter.name,
                function.name,
                sql_name(given),
            ))
        })?;
        targets.push(cast);
    }
    Ok(targets)
}

/// What a value of type `given` is cast to where `expected` is wanted; `None` when a user has to
/// write the cast. Casts that lose a value at run time are errors, not NULL.
pub(crate) fn target(expected: &DataType, given: &DataType) -> Option<DataType> {
    use DataType::*;
    if let Dictionary(_, values) = given {
        return target(expected, values).map(|_| expected.clone());
    }
    let number = |ty: &DataType| ty.is_numeric();
    let text = |ty: &DataType| matches!(ty, Utf8 | LargeUtf8 | Utf8View);
    Some(match (expected, given) {
        (_, Null) => expected.clone(),
        // The sandbox reads all layouts of text and bytes as they are.
        (Utf8, given) if text(given) => given.clone(),
        (Binary, Binary | LargeBinary | BinaryView) => given.clone(),
        (expected, given) if expected == given => expected.clone(),
        (Float32 | Float64 | Decimal128(..), given) if number(given) => expected.clone(),
        (expected, given) if expected.is_integer() && given.is_integer() => expected.clone(),
        (Date32, Date64) => expected.clone(),
        (Timestamp(..), Timestamp(..) | Date32 | Date64) => expected.clone(),
        // Literals of dates and times are texts.
        (Date32 | Timestamp(..), given) if text(given) => expected.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    #[test]
    fn casts_are_those_that_users_expect() {
        for (expected, given, target_type) in [
            (Float64, Int64, Some(Float64)),
            (Int32, Int64, Some(Int32)),
            (Int64, Float64, None),
            (Utf8, Utf8View, Some(Utf8View)),
            (Utf8, Int64, None),
            (Boolean, Int64, None),
            (Decimal128(10, 2), Int64, Some(Decimal128(10, 2))),
            (Date32, Utf8, Some(Date32)),
            (Boolean, Null, Some(Boolean)),
            (
                Utf8,
                Dictionary(Box::new(Int32), Box::new(Utf8)),
                Some(Utf8),
            ),
        ] {
            assert_eq!(
                target(&expected, &given),
                target_type,
                "{expected} from {given}"
            );
        }
    }
}
