//! Which types an argument may have, and what they are cast to.

use std::sync::Arc;

use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::binary::type_union_coercion;
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
    for (place, ty) in given.iter().enumerate() {
        let Some(parameter) = function.argument(place) else {
            return plan_err!("{ARGUMENTS}{} has no argument {place} | | ", function.name);
        };
        let wrong = |expected: &str, hint: &str| {
            DataFusionError::Plan(format!(
                "{ARGUMENTS}argument {} of {} must be {expected}, not {} | \
                 Its signature is {signature}{hint}. | ",
                parameter.name,
                function.name,
                sql_name(ty),
            ))
        };
        let expected = match &parameter.ty {
            ParameterType::Any => common(function, given, place),
            other => other.resolve(&targets).cloned(),
        };
        let expected = expected
            .ok_or_else(|| wrong("of a type that functions take", "; cast it to another type"))?;
        let cast = target(&expected, ty).ok_or_else(|| {
            let expected = sql_name(&expected);
            let hint = format!("; write CAST(... AS {expected}) if that is what you mean");
            wrong(&expected, &hint)
        })?;
        targets.push(cast);
    }
    Ok(targets)
}

/// The type of an argument that may have any: wide enough for all arguments that follow it with
/// `same:N`, where there is such a type.
fn common(function: &Function, given: &[DataType], place: usize) -> Option<DataType> {
    let follows = |mut other: usize| {
        while let Some(ParameterType::Same(next)) = function.argument(other).map(|p| &p.ty) {
            other = *next;
        }
        other == place
    };
    let mut wide = crossing(&given[place])?;
    for (_, ty) in given
        .iter()
        .enumerate()
        .filter(|(n, _)| *n > place && follows(*n))
    {
        wide = crossing(ty)
            .and_then(|ty| type_union_coercion(&wide, &ty))
            .unwrap_or(wide);
    }
    crossing(&wide)
}

/// The type that a value of any type crosses as: itself, or the nearest that the ABI knows.
fn crossing(ty: &DataType) -> Option<DataType> {
    use DataType::*;
    let field = |f: &FieldRef| {
        let ty = crossing(f.data_type())?;
        Some(Arc::new(f.as_ref().clone().with_data_type(ty)))
    };
    Some(match ty {
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        RunEndEncoded(_, values) => crossing(values.data_type())?,
        ListView(item) => List(field(item)?),
        LargeListView(item) => LargeList(field(item)?),
        List(item) => List(field(item)?),
        LargeList(item) => LargeList(field(item)?),
        FixedSizeList(item, size) => FixedSizeList(field(item)?, *size),
        Struct(fields) => Struct(fields.iter().map(field).collect::<Option<_>>()?),
        Map(entries, sorted) => Map(field(entries)?, *sorted),
        Dictionary(keys, values) => Dictionary(keys.clone(), Box::new(crossing(values)?)),
        Union(..) => return None,
        other => other.clone(),
    })
}

/// What a value of type `given` is cast to where `expected` is wanted; `None` when a user has to
/// write the cast. Casts that lose a value at run time are errors, not NULL.
///
/// The sandbox reads several layouts of a type as they are, and does not look at the names of fields;
/// so nothing is cast that differs in nothing else.
pub(crate) fn target(expected: &DataType, given: &DataType) -> Option<DataType> {
    let cast = match (expected, given) {
        (_, DataType::Null) => expected.clone(),
        (DataType::Dictionary(keys, values), DataType::Dictionary(found, from))
            if keys == found && target(values, from).as_ref() == Some(from) =>
        {
            given.clone()
        }
        (DataType::Dictionary(_, values), DataType::Dictionary(_, from)) => {
            target(values, from).map(|_| expected.clone())?
        }
        (DataType::Dictionary(_, values), given) => {
            target(values, given).map(|_| expected.clone())?
        }
        (expected, DataType::Dictionary(_, from)) => {
            target(expected, from).map(|_| expected.clone())?
        }
        _ if expected.is_nested() => nested(expected, given)?,
        _ => flat(expected, given)?,
    };
    let structs = |ty: &DataType| matches!(ty, DataType::Struct(_));
    let castable = cast == *given || structs(given) || can_cast_types(given, &cast);
    castable.then_some(cast)
}

fn flat(expected: &DataType, given: &DataType) -> Option<DataType> {
    use DataType::*;
    let text = |ty: &DataType| matches!(ty, Utf8 | LargeUtf8 | Utf8View);
    let binary = |ty: &DataType| matches!(ty, Binary | LargeBinary | BinaryView);
    Some(match (expected, given) {
        (expected, given) if text(expected) && text(given) => given.clone(),
        (expected, given) if binary(expected) && binary(given) => given.clone(),
        (expected, given) if expected == given => expected.clone(),
        (Float16 | Float32 | Float64 | Decimal128(..) | Decimal256(..), given)
            if given.is_numeric() =>
        {
            expected.clone()
        }
        (expected, given) if expected.is_integer() && given.is_integer() => expected.clone(),
        (expected, FixedSizeBinary(_)) if binary(expected) => expected.clone(),
        (FixedSizeBinary(_), given) if binary(given) => expected.clone(),
        (Date32 | Date64, Date32 | Date64) => expected.clone(),
        (Timestamp(..), Timestamp(..) | Date32 | Date64) => expected.clone(),
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => expected.clone(),
        // The literals of SQL are months, days and nanoseconds.
        (Duration(_), Duration(_) | Interval(IntervalUnit::MonthDayNano)) => expected.clone(),
        (Interval(_), Interval(_) | Duration(_)) => expected.clone(),
        // Literals of dates, times and spans are texts.
        (Date32 | Date64 | Timestamp(..) | Time32(_) | Time64(_) | Interval(_), given)
            if text(given) =>
        {
            expected.clone()
        }
        _ => return None,
    })
}

/// Lists element by element, structs by the names of their fields or else by their places, maps by
/// keys and values. The result is as the given type, with the types inside cast.
fn nested(expected: &DataType, given: &DataType) -> Option<DataType> {
    use DataType::*;
    let inside = |expected: &FieldRef, given: &FieldRef| {
        let ty = target(expected.data_type(), given.data_type())?;
        Some(Arc::new(given.as_ref().clone().with_data_type(ty)))
    };
    let item = |ty: &DataType| match ty {
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) => Some(item.clone()),
        FixedSizeList(item, _) => Some(item.clone()),
        _ => None,
    };
    Some(match (expected, given) {
        (List(wanted) | LargeList(wanted), List(found)) => List(inside(wanted, found)?),
        (List(wanted) | LargeList(wanted), LargeList(found)) => LargeList(inside(wanted, found)?),
        (List(wanted), given) => List(inside(wanted, &item(given)?)?),
        (LargeList(wanted), given) => LargeList(inside(wanted, &item(given)?)?),
        (FixedSizeList(_, size), FixedSizeList(_, other)) if size != other => return None,
        (FixedSizeList(wanted, size), given) => {
            FixedSizeList(inside(wanted, &item(given)?)?, *size)
        }
        (Struct(wanted), Struct(found)) if wanted.len() == found.len() => {
            let named = |w: &FieldRef| found.iter().find(|f| f.name() == w.name());
            let by_name = wanted.iter().all(|w| named(w).is_some());
            let pairs = wanted.iter().zip(found).map(|(wanted, next)| {
                let found = if by_name { named(wanted)? } else { next };
                inside(wanted, found)
            });
            Struct(pairs.collect::<Option<Fields>>()?)
        }
        (Map(wanted, _), Map(found, sorted)) => {
            let (Struct(wanted), Struct(pair)) = (wanted.data_type(), found.data_type()) else {
                return None;
            };
            let pairs = wanted
                .iter()
                .zip(pair)
                .map(|(wanted, found)| inside(wanted, found));
            let pairs = Struct(pairs.collect::<Option<Fields>>()?);
            let entries = Field::new(found.name(), pairs, found.is_nullable());
            Map(Arc::new(entries), *sorted)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;
    use datafusion::arrow::datatypes::TimeUnit;

    fn list(ty: DataType) -> DataType {
        List(Arc::new(Field::new_list_field(ty, true)))
    }

    fn large(name: &str, ty: DataType) -> DataType {
        LargeList(Arc::new(Field::new(name, ty, true)))
    }

    fn fixed(ty: DataType, size: i32) -> DataType {
        FixedSizeList(Arc::new(Field::new_list_field(ty, true)), size)
    }

    fn record(fields: &[(&str, DataType)]) -> DataType {
        Struct(
            fields
                .iter()
                .map(|(n, ty)| Field::new(*n, ty.clone(), true))
                .collect(),
        )
    }

    fn codes(ty: DataType) -> DataType {
        Dictionary(Box::new(Int32), Box::new(ty))
    }

    fn map(key: DataType, value: DataType) -> DataType {
        let pair = vec![
            Field::new("key", key, false),
            Field::new("value", value, true),
        ];
        Map(
            Arc::new(Field::new("entries", Struct(pair.into()), false)),
            false,
        )
    }

    #[test]
    fn casts_are_those_that_users_expect() {
        let nanos = Time64(TimeUnit::Nanosecond);
        let micros = Time64(TimeUnit::Microsecond);
        let interval = Interval(IntervalUnit::MonthDayNano);
        let days = Interval(IntervalUnit::DayTime);
        let hours = Duration(TimeUnit::Second);
        for (expected, given, target_type) in [
            (Float64, Int64, Some(Float64)),
            (Int32, Int64, Some(Int32)),
            (Int64, Float64, None),
            (Utf8, Utf8View, Some(Utf8View)),
            (LargeUtf8, Utf8, Some(Utf8)),
            (Utf8View, Utf8, Some(Utf8)),
            (Utf8, Int64, None),
            (Boolean, Int64, None),
            (Decimal128(10, 2), Int64, Some(Decimal128(10, 2))),
            (
                Decimal256(50, 2),
                Decimal128(10, 1),
                Some(Decimal256(50, 2)),
            ),
            (Float16, Int64, Some(Float16)),
            (Date32, Utf8, Some(Date32)),
            (Boolean, Null, Some(Boolean)),
            (nanos.clone(), micros.clone(), Some(nanos.clone())),
            (micros.clone(), Utf8View, Some(micros)),
            (interval.clone(), Utf8, Some(interval.clone())),
            (interval.clone(), days.clone(), Some(interval.clone())),
            (days, interval.clone(), None),
            (hours.clone(), interval, Some(hours)),
            (FixedSizeBinary(4), Binary, Some(FixedSizeBinary(4))),
            (FixedSizeBinary(4), FixedSizeBinary(5), None),
            (Utf8, codes(Utf8), Some(Utf8)),
            (codes(Utf8), codes(Utf8View), Some(codes(Utf8View))),
            (codes(Utf8), Utf8, Some(codes(Utf8))),
            (codes(Utf8), Int64, None),
            (list(Int64), Null, Some(list(Int64))),
            (list(Int32), list(Int64), Some(list(Int32))),
            (list(Utf8), large("x", Utf8View), Some(large("x", Utf8View))),
            (list(Int64), fixed(Int64, 2), Some(list(Int64))),
            (fixed(Int64, 2), list(Int32), Some(fixed(Int64, 2))),
            (fixed(Int64, 2), fixed(Int64, 3), None),
            (list(Int64), list(Utf8), None),
            (list(Int64), Int64, None),
            (
                list(list(Float64)),
                list(list(Int64)),
                Some(list(list(Float64))),
            ),
            (
                map(Utf8, Float64),
                map(Utf8, Int64),
                Some(map(Utf8, Float64)),
            ),
            (map(Utf8, Float64), map(Int64, Int64), None),
            (
                record(&[("a", Int64)]),
                record(&[("c0", Int32)]),
                Some(record(&[("c0", Int64)])),
            ),
            (record(&[("a", Int64)]), record(&[("a", Utf8)]), None),
            (
                record(&[("a", Int64)]),
                record(&[("a", Int64), ("b", Int64)]),
                None,
            ),
            (
                record(&[("a", Int64), ("b", Utf8)]),
                record(&[("b", Utf8View), ("a", Int32)]),
                Some(record(&[("a", Int64), ("b", Utf8View)])),
            ),
        ] {
            assert_eq!(
                target(&expected, &given),
                target_type,
                "{expected} from {given}"
            );
        }
    }

    #[test]
    fn open_types_cross_as_what_the_abi_knows() {
        let ends = Arc::new(Field::new("run_ends", Int32, false));
        let runs = RunEndEncoded(ends, Arc::new(Field::new("values", Utf8, true)));
        assert_eq!(crossing(&runs), Some(Utf8));
        assert_eq!(
            crossing(&list(Decimal32(5, 1))),
            Some(list(Decimal128(5, 1)))
        );
        assert_eq!(crossing(&codes(Utf8)), Some(codes(Utf8)));
        let union = datafusion::arrow::datatypes::UnionFields::empty();
        assert_eq!(
            crossing(&Union(
                union,
                datafusion::arrow::datatypes::UnionMode::Dense
            )),
            None
        );
    }
}
