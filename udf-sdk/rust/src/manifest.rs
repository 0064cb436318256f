//! The manifest's lines, put together by the compiler: the macros know names, traits know types.

pub use crate::sql::Element;

/// The part of a format string that its parameters make.
#[derive(Debug, Clone, Copy)]
pub enum Format {
    /// The whole string.
    Plain(&'static str),
    /// The attribute's time zone follows.
    Zoned(&'static str),
    /// A number follows.
    Sized(&'static str, usize),
    /// A decimal: digits, digits behind the point, and whether it is a wide one.
    Decimal(u8, u8, bool),
}

/// A type in the manifest.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// The outermost type.
    pub format: Format,
    /// The types inside.
    pub children: &'static [Field],
}

impl Type {
    /// A type without types inside.
    pub const fn plain(format: &'static str) -> Self {
        Self {
            format: Format::Plain(format),
            children: &[],
        }
    }
}

/// A column, or a field of a type with types inside.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl Field {
    /// A field that holds a Rust type.
    pub const fn of<T: SqlType>(name: &'static str) -> Self {
        Self {
            name,
            ty: T::TYPE,
            nullable: T::NULLABLE,
        }
    }
}

/// A Rust type that has a type in SQL.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no type for SQL",
    note = "there are bool, i8 to i64, u8 to u64, f32, f64, &str, String, &[u8], Vec<u8>, [u8; N], the types \
            of the crate `sandmill`, Vec, List, arrays and maps of them, structs with #[derive(sandmill::Record)], \
            and Option and Result of them"
)]
pub trait SqlType {
    /// The type.
    const TYPE: Type;
    /// Whether it can be NULL.
    const NULLABLE: bool = false;
}

/// A struct whose fields are columns.
#[diagnostic::on_unimplemented(note = "add #[derive(sandmill::Record)] to it")]
pub trait Record {
    /// The columns.
    const COLUMNS: &'static [Field];
}

/// A part of a line.
#[derive(Debug, Clone, Copy)]
pub enum Piece {
    /// As it is.
    Text(&'static str),
    /// The members `type` and `children`.
    Type(Type),
    /// A type as a value.
    Returns(Type),
    /// The objects of a list.
    Columns(&'static [Field]),
    /// `true` or `false`.
    Flag(bool),
}

/// Writes a line and gives its length; what does not fit into `out` is only counted.
pub const fn write(pieces: &[Piece], zone: &str, out: &mut [u8]) -> usize {
    let (mut at, mut n) = (0, 0);
    while n < pieces.len() {
        at = match &pieces[n] {
            Piece::Text(text) => put(text, out, at),
            Piece::Type(ty) => members(ty, zone, out, at),
            Piece::Returns(ty) if ty.children.is_empty() => format(&ty.format, zone, out, at),
            Piece::Returns(ty) => {
                at = put("{", out, at);
                at = members(ty, zone, out, at);
                put("}", out, at)
            }
            Piece::Columns(fields) => columns(fields, zone, out, at),
            Piece::Flag(true) => put("true", out, at),
            Piece::Flag(false) => put("false", out, at),
        };
        n += 1;
    }
    at
}

const fn put(text: &str, out: &mut [u8], mut at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut n = 0;
    while n < bytes.len() {
        if at < out.len() {
            out[at] = bytes[n];
        }
        at += 1;
        n += 1;
    }
    at
}

const fn number(value: usize, out: &mut [u8], mut at: usize) -> usize {
    let mut unit = 1;
    while value / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        if at < out.len() {
            out[at] = b'0' + (value / unit % 10) as u8;
        }
        at += 1;
        unit /= 10;
    }
    at
}

const fn format(format: &Format, zone: &str, out: &mut [u8], mut at: usize) -> usize {
    at = put("\"", out, at);
    at = match format {
        Format::Plain(text) => put(text, out, at),
        Format::Zoned(text) => {
            at = put(text, out, at);
            put(zone, out, at)
        }
        Format::Sized(text, size) => {
            at = put(text, out, at);
            number(*size, out, at)
        }
        Format::Decimal(precision, scale, wide) => {
            at = put("d:", out, at);
            at = number(*precision as usize, out, at);
            at = put(",", out, at);
            at = number(*scale as usize, out, at);
            put(if *wide { ",256" } else { "" }, out, at)
        }
    };
    put("\"", out, at)
}

const fn members(ty: &Type, zone: &str, out: &mut [u8], mut at: usize) -> usize {
    at = put("\"type\":", out, at);
    at = format(&ty.format, zone, out, at);
    if !ty.children.is_empty() {
        at = put(",\"children\":[", out, at);
        at = columns(ty.children, zone, out, at);
        at = put("]", out, at);
    }
    at
}

const fn columns(fields: &[Field], zone: &str, out: &mut [u8], mut at: usize) -> usize {
    let mut n = 0;
    while n < fields.len() {
        let field = &fields[n];
        let start = if n == 0 {
            "{\"name\":\""
        } else {
            ",{\"name\":\""
        };
        at = put(start, out, at);
        at = put(field.name, out, at);
        at = put("\",", out, at);
        at = members(&field.ty, zone, out, at);
        let end = if field.nullable {
            "}"
        } else {
            ",\"nullable\":false}"
        };
        at = put(end, out, at);
        n += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::*;

    fn line(pieces: &[Piece]) -> String {
        let mut bytes = vec![0; write(pieces, "UTC", &mut [])];
        write(pieces, "UTC", &mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    fn ty<T: SqlType>() -> String {
        line(&[Piece::Returns(T::TYPE)])
    }

    #[test]
    fn types_are_written_as_the_manifest_wants_them() {
        assert_eq!(ty::<Option<i64>>(), r#""l""#);
        assert_eq!(ty::<Timestamp<Micros>>(), r#""tsu:UTC""#);
        assert_eq!(ty::<Decimal256<50, 4>>(), r#""d:50,4,256""#);
        assert_eq!(ty::<[u8; 100]>(), r#""w:100""#);
        assert_eq!(ty::<Vec<u8>>(), r#""z""#);
        assert_eq!(
            ty::<Vec<Option<&str>>>(),
            r#"{"type":"+l","children":[{"name":"item","type":"u"}]}"#
        );
        assert_eq!(
            ty::<[f64; 3]>(),
            r#"{"type":"+w:3","children":[{"name":"item","type":"g","nullable":false}]}"#
        );
        assert_eq!(
            ty::<BTreeMap<String, Option<i64>>>(),
            r#"{"type":"+m","children":[{"name":"key","type":"u","nullable":false},{"name":"value","type":"l"}]}"#
        );
        assert_eq!(ty::<Any<'_>>(), r#""any""#);
        assert_eq!(ty::<Any<'_, 2>>(), r#""same:2""#);
    }

    #[derive(Record)]
    #[allow(dead_code, reason = "only its type counts")]
    struct Place<'a> {
        name: &'a str,
        at: Vec<Option<f64>>,
    }

    #[test]
    fn records_are_structs_and_columns() {
        let columns = r#"{"name":"name","type":"u","nullable":false},{"name":"at","type":"+l","children":[{"name":"item","type":"g"}],"nullable":false}"#;
        assert_eq!(line(&[Piece::Columns(Place::COLUMNS)]), columns);
        assert_eq!(
            ty::<Place<'_>>(),
            format!(r#"{{"type":"+s","children":[{columns}]}}"#)
        );
    }
}
