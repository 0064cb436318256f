//! Types as declarations write them: names of SQL, or format strings of Arrow in quotes.

use sandmill_abi::TYPES;

/// How a value looks in the language of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// True or false.
    Bool,
    /// Signed integers of 8 to 64 bits.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// Unsigned integers of 8 to 64 bits.
    U8,
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
    /// 64 bits.
    U64,
    /// Floating point, 32 bits.
    F32,
    /// Floating point, 64 bits.
    F64,
    /// 128 bits: the digits of a decimal number without its point.
    Decimal,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

impl Shape {
    /// The shape of the values of a format string, if the glue can walk over it.
    pub fn of(format: &str) -> Option<Self> {
        Some(match format {
            "b" => Self::Bool,
            "c" => Self::I8,
            "s" => Self::I16,
            "i" | "tdD" | "tts" | "ttm" | "tiM" => Self::I32,
            "l" | "tdm" | "ttu" | "ttn" | "tDs" | "tDm" | "tDu" | "tDn" => Self::I64,
            "C" => Self::U8,
            "S" => Self::U16,
            "I" => Self::U32,
            "L" => Self::U64,
            "f" => Self::F32,
            "g" => Self::F64,
            "u" => Self::Text,
            "z" => Self::Bytes,
            stamp if stamp.starts_with("ts") && stamp.get(3..4) == Some(":") => Self::I64,
            decimal if decimal.starts_with("d:") && decimal.matches(',').count() == 1 => {
                Self::Decimal
            }
            _ => return None,
        })
    }

    /// Bytes of a value of fixed width.
    pub fn width(self) -> Option<u32> {
        Some(match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
            Self::Decimal => 16,
            Self::Bool | Self::Text | Self::Bytes => return None,
        })
    }
}

/// The format string that a declaration means, or `None`.
pub(crate) fn format(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return Some(quoted.to_owned());
    }
    let (plain, zone) = match text.split_once('\'') {
        Some((before, zone)) => (before, Some(zone.strip_suffix('\'')?)),
        None => (text, None),
    };
    let upper = plain.to_ascii_uppercase();
    let words: Vec<_> = upper.split_whitespace().collect();
    let name = words.join(" ").replace(" (", "(").replace(", ", ",");
    let alias = match name.as_str() {
        "TEXT" | "STRING" => "VARCHAR",
        "BINARY" | "BYTES" => "BYTEA",
        "FLOAT" => "REAL",
        "INTEGER" => "INT",
        "TIMESTAMP" => "TIMESTAMP(6)",
        "TIMESTAMP WITH TIME ZONE" => "TIMESTAMP(6) WITH TIME ZONE",
        "TIME" => "TIME(6)",
        other => other,
    };
    if let Some(digits) = alias
        .strip_prefix("DECIMAL(")
        .and_then(|d| d.strip_suffix(')'))
    {
        return Some(format!("d:{digits}"));
    }
    let (alias, zone) = match (alias.strip_suffix(" WITH TIME ZONE"), zone) {
        (Some(stamp), Some(zone)) => (stamp, zone),
        (None, None) => (alias, ""),
        _ => return None,
    };
    let known = TYPES
        .iter()
        .find(|ty| ty.sql == alias && ty.format != "d:")?;
    Some(match known.format.strip_suffix(':') {
        Some(_) if known.format.starts_with("ts") => format!("{}{zone}", known.format),
        _ if zone.is_empty() => known.format.to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sql_mean_formats() {
        for (text, expected) in [
            ("bigint", Some("l")),
            ("TINYINT  UNSIGNED", Some("C")),
            ("VARCHAR", Some("u")),
            ("text", Some("u")),
            ("DOUBLE", Some("g")),
            ("DECIMAL(10, 2)", Some("d:10,2")),
            ("TIMESTAMP", Some("tsu:")),
            ("TIMESTAMP(9)", Some("tsn:")),
            (
                "TIMESTAMP(3) WITH TIME ZONE 'Europe/Berlin'",
                Some("tsm:Europe/Berlin"),
            ),
            ("DATE", Some("tdD")),
            ("\"tdm\"", Some("tdm")),
            ("TIMESTAMP WITH TIME ZONE", None),
            ("BIGINT 'x'", None),
            ("NUMBER", None),
            ("", None),
        ] {
            assert_eq!(format(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn shapes_are_as_wide_as_the_table_says() {
        for ty in TYPES {
            let given = if ty.format == "d:" {
                "d:10,2"
            } else {
                ty.format
            };
            if let (Some(width), sandmill_abi::Layout::Fixed(bytes)) =
                (Shape::of(given).and_then(Shape::width), ty.layout)
            {
                assert_eq!(width, bytes, "{}", ty.arrow);
            }
        }
        assert_eq!(Shape::of("d:40,2,256"), None);
        assert_eq!(Shape::of("+l"), None);
        assert_eq!(Shape::of("tsu:UTC"), Some(Shape::I64));
    }
}
