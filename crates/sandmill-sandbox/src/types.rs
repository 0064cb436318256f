//! Arrow format strings (C data interface) and the types they stand for.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use sandmill_abi::TYPES;

/// Reads a format string of the types that the ABI knows.
pub fn parse_format(format: &str) -> Option<DataType> {
    let unit = |unit, zone: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"/_+-:".contains(&b);
        let zone = match zone {
            "" => None,
            zone if zone.len() <= 64 && zone.bytes().all(legal) => Some(Arc::from(zone)),
            _ => return None,
        };
        Some(DataType::Timestamp(unit, zone))
    };
    Some(match format {
        "b" => DataType::Boolean,
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "u" => DataType::Utf8,
        "z" => DataType::Binary,
        "tdD" => DataType::Date32,
        _ => {
            if let Some(decimal) = format.strip_prefix("d:") {
                let (precision, scale) = decimal.split_once(',')?;
                let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
                let legal = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
                return legal.then_some(DataType::Decimal128(precision, scale));
            }
            return match format.get(..4)? {
                "tss:" => unit(TimeUnit::Second, &format[4..]),
                "tsm:" => unit(TimeUnit::Millisecond, &format[4..]),
                "tsu:" => unit(TimeUnit::Microsecond, &format[4..]),
                "tsn:" => unit(TimeUnit::Nanosecond, &format[4..]),
                _ => None,
            };
        }
    })
}

/// The name of a type in SQL, with its parameters.
pub fn sql_name(ty: &DataType) -> String {
    match ty {
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            match zone {
                Some(zone) => format!("TIMESTAMP({digits}) WITH TIME ZONE '{zone}'"),
                None => format!("TIMESTAMP({digits})"),
            }
        }
        other => {
            let arrow = other.to_string();
            TYPES
                .iter()
                .find(|t| t.arrow == arrow)
                .map_or(arrow, |t| t.sql.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_table_is_known() {
        for ty in TYPES {
            let format = match ty.format {
                "d:" => "d:10,2".to_owned(),
                stamp if stamp.ends_with(':') => format!("{stamp}UTC"),
                other => other.to_owned(),
            };
            let parsed = parse_format(&format).unwrap_or_else(|| unreachable!("{format}"));
            assert!(
                sql_name(&parsed).starts_with(ty.sql),
                "{format}: {}",
                sql_name(&parsed)
            );
        }
    }

    #[test]
    fn strange_formats_are_unknown() {
        for bad in [
            "", "x", "d:", "d:39,0", "d:5,6", "d:5,-1", "d:1", "tsu", "tsu:a b", "+l", "ü",
        ] {
            assert_eq!(parse_format(bad), None, "{bad}");
        }
    }
}
