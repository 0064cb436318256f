//! Types as manifests write them: Arrow format strings (C data interface) with the types inside.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use sandmill_abi::{TYPES, limits};
use serde::Deserialize;

/// A type as it stands in a manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum RawType {
    /// A format string alone.
    Text(String),
    /// A format string with the types inside.
    Nested(RawNested),
}

/// A type with types inside.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNested {
    #[serde(rename = "type")]
    pub format: String,
    #[serde(default)]
    pub children: Vec<RawField>,
    pub dictionary: Option<Box<RawType>>,
}

/// A field of a nested type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawField {
    pub name: String,
    #[serde(rename = "type")]
    pub format: String,
    #[serde(default)]
    pub children: Vec<RawField>,
    pub dictionary: Option<Box<RawType>>,
    #[serde(default = "yes")]
    pub nullable: bool,
}

pub(crate) fn yes() -> bool {
    true
}

impl RawType {
    /// The type, or `None` when the ABI does not know it.
    pub(crate) fn resolve(&self) -> Option<DataType> {
        let mut nodes = limits::TYPE_NODES;
        match self {
            Self::Text(format) => resolve(format, &[], None, 0, &mut nodes),
            Self::Nested(raw) => resolve(
                &raw.format,
                &raw.children,
                raw.dictionary.as_deref(),
                0,
                &mut nodes,
            ),
        }
    }

    /// The format string of the outermost type.
    pub(crate) fn format(&self) -> &str {
        match self {
            Self::Text(format) => format,
            Self::Nested(raw) => &raw.format,
        }
    }
}

fn resolve(
    format: &str,
    children: &[RawField],
    dictionary: Option<&RawType>,
    depth: usize,
    nodes: &mut usize,
) -> Option<DataType> {
    *nodes = nodes.checked_sub(1)?;
    if depth > limits::TYPE_DEPTH {
        return None;
    }
    if let Some(values) = dictionary {
        let keys = parse_format(format).filter(DataType::is_integer)?;
        let values = match values {
            RawType::Text(format) => resolve(format, &[], None, depth + 1, nodes)?,
            // Dictionaries of dictionaries have no use.
            RawType::Nested(raw) if raw.dictionary.is_some() => return None,
            RawType::Nested(raw) => resolve(&raw.format, &raw.children, None, depth + 1, nodes)?,
        };
        // Nor have dictionaries of nothing, which arrow does not make.
        return (children.is_empty() && values != DataType::Null)
            .then(|| DataType::Dictionary(Box::new(keys), Box::new(values)));
    }
    if !format.starts_with('+') {
        return children.is_empty().then(|| parse_format(format))?;
    }
    let mut fields = Vec::with_capacity(children.len());
    for child in children {
        if child.name.len() > 63 || child.name.chars().any(char::is_control) {
            return None;
        }
        let inner = child.dictionary.as_deref();
        let ty = resolve(&child.format, &child.children, inner, depth + 1, nodes)?;
        fields.push(Arc::new(Field::new(&child.name, ty, child.nullable)));
    }
    match (format, fields.as_slice()) {
        ("+l", [item]) => Some(DataType::List(Arc::clone(item))),
        ("+L", [item]) => Some(DataType::LargeList(Arc::clone(item))),
        ("+s", fields) if !fields.is_empty() => Some(DataType::Struct(Fields::from(fields))),
        ("+m", [key, value]) => {
            let key = Arc::new(key.as_ref().clone().with_nullable(false));
            let entries = DataType::Struct(Fields::from(vec![key, Arc::clone(value)]));
            Some(DataType::Map(
                Arc::new(Field::new("entries", entries, false)),
                false,
            ))
        }
        (sized, [item]) => {
            let size = sized.strip_prefix("+w:")?.parse::<i32>().ok()?;
            (1..=4096)
                .contains(&size)
                .then(|| DataType::FixedSizeList(Arc::clone(item), size))
        }
        _ => None,
    }
}

/// Reads a format string of a type without types inside.
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
        "n" => DataType::Null,
        "b" => DataType::Boolean,
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "e" => DataType::Float16,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "u" => DataType::Utf8,
        "U" => DataType::LargeUtf8,
        "vu" => DataType::Utf8View,
        "z" => DataType::Binary,
        "Z" => DataType::LargeBinary,
        "vz" => DataType::BinaryView,
        "tdD" => DataType::Date32,
        "tdm" => DataType::Date64,
        "tts" => DataType::Time32(TimeUnit::Second),
        "ttm" => DataType::Time32(TimeUnit::Millisecond),
        "ttu" => DataType::Time64(TimeUnit::Microsecond),
        "ttn" => DataType::Time64(TimeUnit::Nanosecond),
        "tDs" => DataType::Duration(TimeUnit::Second),
        "tDm" => DataType::Duration(TimeUnit::Millisecond),
        "tDu" => DataType::Duration(TimeUnit::Microsecond),
        "tDn" => DataType::Duration(TimeUnit::Nanosecond),
        "tiM" => DataType::Interval(IntervalUnit::YearMonth),
        "tiD" => DataType::Interval(IntervalUnit::DayTime),
        "tin" => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => {
            if let Some(width) = format.strip_prefix("w:") {
                let width = width.parse::<i32>().ok()?;
                return (1..=65536)
                    .contains(&width)
                    .then_some(DataType::FixedSizeBinary(width));
            }
            if let Some(decimal) = format.strip_prefix("d:") {
                return parse_decimal(decimal);
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

/// `precision,scale` with `,256` behind it for the wide one.
fn parse_decimal(text: &str) -> Option<DataType> {
    let mut parts = text.split(',');
    let precision = parts.next()?.parse::<u8>().ok()?;
    let scale = parts.next()?.parse::<i8>().ok()?;
    let (wide, limit) = match (parts.next(), parts.next()) {
        (None | Some("128"), None) => (false, 38),
        (Some("256"), None) => (true, 76),
        _ => return None,
    };
    if !(1..=limit).contains(&precision) || !(0..=precision as i8).contains(&scale) {
        return None;
    }
    Some(if wide {
        DataType::Decimal256(precision, scale)
    } else {
        DataType::Decimal128(precision, scale)
    })
}

/// The format string of the outermost type of `ty`: the reverse of [`parse_format`].
pub fn format_of(ty: &DataType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 's',
        TimeUnit::Millisecond => 'm',
        TimeUnit::Microsecond => 'u',
        TimeUnit::Nanosecond => 'n',
    };
    match ty {
        DataType::Timestamp(u, zone) => format!("ts{}:{}", unit(u), zone.as_deref().unwrap_or("")),
        DataType::Time32(u) | DataType::Time64(u) => format!("tt{}", unit(u)),
        DataType::Duration(u) => format!("tD{}", unit(u)),
        DataType::Decimal128(precision, scale) => format!("d:{precision},{scale}"),
        DataType::Decimal256(precision, scale) => format!("d:{precision},{scale},256"),
        DataType::FixedSizeBinary(width) => format!("w:{width}"),
        DataType::FixedSizeList(_, size) => format!("+w:{size}"),
        DataType::List(_) => "+l".into(),
        DataType::LargeList(_) => "+L".into(),
        DataType::Struct(_) => "+s".into(),
        DataType::Map(..) => "+m".into(),
        DataType::Dictionary(keys, _) => format_of(keys),
        DataType::Interval(IntervalUnit::YearMonth) => "tiM".into(),
        DataType::Interval(IntervalUnit::DayTime) => "tiD".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "tin".into(),
        other => {
            let arrow = other.to_string();
            let known = TYPES.iter().find(|t| t.arrow == arrow);
            known.map_or(String::new(), |t| t.format.to_owned())
        }
    }
}

/// The name of a type in SQL, with its parameters.
pub fn sql_name(ty: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::Timestamp(unit, zone) => match zone {
            Some(zone) => format!("TIMESTAMP({}) WITH TIME ZONE '{zone}'", digits(unit)),
            None => format!("TIMESTAMP({})", digits(unit)),
        },
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Duration(unit) => format!("DURATION({})", digits(unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        DataType::Interval(IntervalUnit::DayTime) => "INTERVAL DAY TO SECOND".into(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "INTERVAL".into(),
        DataType::FixedSizeBinary(width) => format!("BYTEA({width})"),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("{}[]", sql_name(item.data_type()))
        }
        DataType::FixedSizeList(item, size) => format!("{}[{size}]", sql_name(item.data_type())),
        DataType::Struct(fields) => {
            let field = |f: &Arc<Field>| format!("{} {}", f.name(), sql_name(f.data_type()));
            format!(
                "STRUCT<{}>",
                fields.iter().map(field).collect::<Vec<_>>().join(", ")
            )
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let (key, value) = (pair[0].data_type(), pair[1].data_type());
                format!("MAP<{}, {}>", sql_name(key), sql_name(value))
            }
            other => other.to_string(),
        },
        DataType::Dictionary(_, values) => sql_name(values),
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

    fn parse(json: &str) -> Option<DataType> {
        serde_json::from_str::<RawType>(json).ok()?.resolve()
    }

    #[test]
    fn every_type_of_the_table_is_known() {
        for ty in TYPES {
            let item = r#"{"name":"item","type":"l"}"#;
            let json = match ty.format {
                "d:" => r#""d:10,2""#.to_owned(),
                "w:" => r#""w:4""#.to_owned(),
                "+w:" => format!(r#"{{"type":"+w:3","children":[{item}]}}"#),
                "+m" => format!(r#"{{"type":"+m","children":[{item},{item}]}}"#),
                nested if nested.starts_with('+') => {
                    format!(r#"{{"type":"{nested}","children":[{item}]}}"#)
                }
                stamp if stamp.starts_with("ts") => format!(r#""{stamp}UTC""#),
                other => format!("\"{other}\""),
            };
            let parsed = parse(&json).unwrap_or_else(|| unreachable!("{json}"));
            assert!(
                format_of(&parsed).starts_with(ty.format),
                "{json}: {}",
                format_of(&parsed)
            );
            let name = sql_name(&parsed);
            let starts = name.starts_with(ty.sql) || ty.format.starts_with("+l");
            assert!(starts || name.ends_with(']'), "{json}: {name}");
        }
        let codes = parse(r#"{"type":"i","dictionary":"u"}"#).expect("dictionary");
        assert_eq!(
            (format_of(&codes), sql_name(&codes)),
            ("i".into(), "VARCHAR".into())
        );
    }

    #[test]
    fn strange_types_are_unknown() {
        for bad in [
            "",
            "x",
            "d:",
            "d:39,0",
            "d:5,6",
            "d:5,-1",
            "d:1",
            "d:77,0,256",
            "d:5,1,7",
            "tsu",
            "tsu:a b",
            "+l",
            "+s",
            "w:0",
            "w:x",
            "w:-1",
            "ü",
            "any",
            "same:1",
        ] {
            assert_eq!(parse(&format!("\"{bad}\"")), None, "{bad}");
        }
        let item = r#"{"name":"item","type":"l"}"#;
        let deep = (0..9).fold(r#""type":"l""#.to_owned(), |inner, _| {
            format!(r#""type":"+l","children":[{{"name":"item",{inner}}}]"#)
        });
        let wide = vec![item; 64].join(",");
        for bad in [
            r#"{"type":"+l"}"#.to_owned(),
            format!(r#"{{"type":"+l","children":[{item},{item}]}}"#),
            format!(r#"{{"type":"l","children":[{item}]}}"#),
            format!(r#"{{"type":"+w:0","children":[{item}]}}"#),
            format!("{{{deep}}}"),
            format!(r#"{{"type":"+s","children":[{wide}]}}"#),
            r#"{"type":"g","dictionary":"u"}"#.to_owned(),
            r#"{"type":"i","dictionary":{"type":"i","dictionary":"u"}}"#.to_owned(),
            r#"{"type":"i","dictionary":"n"}"#.to_owned(),
            r#"{"type":"+s","children":[]}"#.to_owned(),
        ] {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }
}
