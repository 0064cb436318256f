//! An argument as the host has it: the parts that cross, borrowed, as a tree where its type has
//! types inside.

use std::ops::Range;

use arrow::array::{Array, AsArray, downcast_primitive};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use sandmill_abi::limits;

use super::schema::Schema;
use super::text::{Layout, Text};
use crate::error::Error;

/// Types within types of an argument: a map has one that manifests do not count.
const DEPTH: usize = 2 * limits::TYPE_DEPTH + 1;

/// The elements of an array that cross.
pub(super) type Span = Range<usize>;

/// The buffers of one argument, seen from the host.
pub(crate) struct Source<'a> {
    pub(super) length: usize,
    pub(super) nulls: Option<Nulls<'a>>,
    pub(super) values: Values<'a>,
    pub(super) children: Vec<Source<'a>>,
    pub(super) dictionary: Option<Box<Source<'a>>>,
    pub(super) schema: Option<Box<Schema>>,
}

/// A validity bitmap with at least one NULL.
pub(super) struct Nulls<'a> {
    pub(super) bits: &'a BooleanBuffer,
    pub(super) start: usize,
    count: usize,
}

pub(super) enum Values<'a> {
    /// No buffer at all.
    Null,
    /// Nothing but validity: the children hold the values.
    Parent,
    /// Booleans: bits and the first bit.
    Bits(&'a BooleanBuffer, usize),
    /// Values of a fixed width, without the array's offset.
    Fixed(&'a [u8]),
    /// Texts or bytes.
    Text(Text<'a>, Layout),
    /// Offsets into the child, and whether they become 64 bits wide.
    List(Offsets<'a>, bool),
}

pub(super) enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
}

/// Why an array cannot be seen as a type.
enum Mismatch {
    Type,
    Null(String),
}

impl<'a> Source<'a> {
    /// Sees an array as the type `expected` of the manifest.
    ///
    /// # Errors
    /// `Arguments` when the array is of another type: the planner should have cast it; or when it has
    /// NULL inside, where the type promises none.
    pub(crate) fn new(array: &'a dyn Array, expected: &DataType) -> Result<Self, Error> {
        node(array, 0..array.len(), expected, 0).map_err(|mismatch| {
            Error::Arguments(match mismatch {
                Mismatch::Null(field) => {
                    format!("`{field}` is NULL inside of an argument that must be {expected}")
                }
                Mismatch::Type if array.data_type() == expected => {
                    format!("arguments cannot be {expected}")
                }
                Mismatch::Type => {
                    format!("an argument is {}, expected {expected}", array.data_type())
                }
            })
        })
    }

    /// Lets the guest know the type: for arguments whose type the manifest leaves open.
    pub(crate) fn with_schema(mut self, name: &str, ty: &DataType) -> Self {
        self.schema = Some(Box::new(Schema::new(name, ty)));
        self
    }

    /// Bytes of each buffer: validity, values or offsets, bytes. 0 means that there is none.
    pub(super) fn sizes(&self) -> [usize; 3] {
        let bits = self.length.div_ceil(8);
        let validity = if self.nulls.is_some() { bits } else { 0 };
        let (first, second) = match &self.values {
            Values::Null | Values::Parent => (0, 0),
            Values::Bits(..) => (bits, 0),
            Values::Fixed(bytes) => (bytes.len(), 0),
            Values::Text(text, layout) => text.sizes(*layout, self.length),
            Values::List(_, wide) => ((self.length + 1) * if *wide { 8 } else { 4 }, 0),
        };
        [validity, first, second]
    }

    pub(super) fn buffers(&self) -> usize {
        match self.values {
            Values::Null => 0,
            Values::Parent => 1,
            Values::Bits(..) | Values::Fixed(_) | Values::List(..) => 2,
            Values::Text(_, Layout::Small | Layout::Large) => 3,
            Values::Text(_, Layout::Views) => 4,
        }
    }

    pub(super) fn null_count(&self) -> usize {
        match self.values {
            Values::Null => self.length,
            _ => self.nulls.as_ref().map_or(0, |nulls| nulls.count),
        }
    }

    /// The arrays inside of it: children, then the dictionary.
    pub(super) fn inside(&self) -> impl Iterator<Item = &Source<'a>> {
        self.children.iter().chain(self.dictionary.as_deref())
    }

    /// How many arrays are inside of it, and inside of those.
    pub(super) fn inner(&self) -> usize {
        self.inside().map(|inside| 1 + inside.inner()).sum()
    }

    fn is_null(&self, row: usize) -> bool {
        let nulls = self.nulls.as_ref();
        nulls.is_some_and(|nulls| !nulls.bits.value(nulls.start + row))
    }
}

/// The elements `span` of an array, seen as the type `expected`.
fn node<'a>(
    array: &'a dyn Array,
    span: Span,
    expected: &DataType,
    depth: usize,
) -> Result<Source<'a>, Mismatch> {
    // The ABI has no format for the narrow decimals.
    let unknown = matches!(expected, DataType::Decimal32(..) | DataType::Decimal64(..));
    if unknown || depth > DEPTH {
        return Err(Mismatch::Type);
    }
    let mut source = Source {
        length: span.len(),
        nulls: nulls(array, &span),
        values: Values::Parent,
        children: Vec::new(),
        dictionary: None,
        schema: None,
    };
    match flat(array, &span, expected) {
        Some(values) => source.values = values,
        None => nested(array, span, expected, depth, &mut source)?,
    }
    Ok(source)
}

fn nulls<'a>(array: &'a dyn Array, span: &Span) -> Option<Nulls<'a>> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0)?;
    let count = match span.len() == nulls.len() {
        true => nulls.null_count(),
        false => nulls.slice(span.start, span.len()).null_count(),
    };
    (count > 0).then(|| Nulls {
        bits: nulls.inner(),
        start: span.start,
        count,
    })
}

/// The values of a type without types inside.
fn flat<'a>(array: &'a dyn Array, span: &Span, expected: &DataType) -> Option<Values<'a>> {
    macro_rules! fixed {
        ($t:ty) => {{
            let width = size_of::<<$t as arrow::array::ArrowPrimitiveType>::Native>();
            let found = array.data_type();
            // Only types with parameters can differ from their own arrays.
            let array = array.as_primitive_opt::<$t>()?;
            if found != expected {
                return None;
            }
            let bytes = array.values().inner().as_slice();
            Values::Fixed(&bytes[span.start * width..span.end * width])
        }};
    }
    Some(downcast_primitive! {
        expected => (fixed),
        DataType::Boolean => Values::Bits(array.as_boolean_opt()?.values(), span.start),
        DataType::Utf8 => Values::Text(text(array, span)?, Layout::Small),
        DataType::LargeUtf8 => Values::Text(text(array, span)?, Layout::Large),
        DataType::Utf8View => Values::Text(text(array, span)?, Layout::Views),
        DataType::Binary => Values::Text(binary(array, span)?, Layout::Small),
        DataType::LargeBinary => Values::Text(binary(array, span)?, Layout::Large),
        DataType::BinaryView => Values::Text(binary(array, span)?, Layout::Views),
        DataType::FixedSizeBinary(width) => {
            let array = array.as_fixed_size_binary_opt()?;
            let found = usize::try_from(array.value_length()).ok()?;
            if usize::try_from(*width) != Ok(found) {
                return None;
            }
            Values::Fixed(&array.value_data()[span.start * found..span.end * found])
        },
        DataType::Null => {
            if array.data_type() != &DataType::Null {
                return None;
            }
            Values::Null
        },
        _ => return None,
    })
}

fn text<'a>(array: &'a dyn Array, span: &Span) -> Option<Text<'a>> {
    Some(match array.data_type() {
        DataType::Utf8 => {
            let array = array.as_string_opt::<i32>()?;
            Text::Small(offsets(array.value_offsets(), span), array.value_data())
        }
        DataType::LargeUtf8 => {
            let array = array.as_string_opt::<i64>()?;
            Text::Large(offsets(array.value_offsets(), span), array.value_data())
        }
        DataType::Utf8View => {
            let array = array.as_string_view_opt()?;
            Text::Views(&array.views()[span.clone()], array.data_buffers())
        }
        _ => return None,
    })
}

fn binary<'a>(array: &'a dyn Array, span: &Span) -> Option<Text<'a>> {
    Some(match array.data_type() {
        DataType::Binary => {
            let array = array.as_binary_opt::<i32>()?;
            Text::Small(offsets(array.value_offsets(), span), array.value_data())
        }
        DataType::LargeBinary => {
            let array = array.as_binary_opt::<i64>()?;
            Text::Large(offsets(array.value_offsets(), span), array.value_data())
        }
        DataType::BinaryView => {
            let array = array.as_binary_view_opt()?;
            Text::Views(&array.views()[span.clone()], array.data_buffers())
        }
        _ => return None,
    })
}

/// The offsets of the elements `span`, with the end of the last one.
fn offsets<'a, O>(all: &'a [O], span: &Span) -> &'a [O] {
    &all[span.start..=span.end]
}

/// The values of a type with types inside. Fields go by their place: the planner knows their names.
fn nested<'a>(
    array: &'a dyn Array,
    span: Span,
    expected: &DataType,
    depth: usize,
    source: &mut Source<'a>,
) -> Result<(), Mismatch> {
    let depth = depth + 1;
    match (expected, array.data_type()) {
        (DataType::List(field), _) => list(array, &span, field, false, depth, source),
        (DataType::LargeList(field), _) => list(array, &span, field, true, depth, source),
        (DataType::Map(entries, _), DataType::Map(..)) => {
            let array = array.as_map_opt().ok_or(Mismatch::Type)?;
            let offsets = Offsets::Small(offsets(array.value_offsets(), &span));
            let child = node(
                array.entries(),
                offsets.covered(),
                entries.data_type(),
                depth,
            )?;
            promised_in_lists(entries, &child, source, &offsets)?;
            (source.values, source.children) = (Values::List(offsets, false), vec![child]);
            Ok(())
        }
        (DataType::FixedSizeList(field, size), DataType::FixedSizeList(_, found)) => {
            let array = array.as_fixed_size_list_opt().ok_or(Mismatch::Type)?;
            let width = usize::try_from(*size).map_err(|_| Mismatch::Type)?;
            if size != found {
                return Err(Mismatch::Type);
            }
            let inside = span.start * width..span.end * width;
            let child = node(array.values().as_ref(), inside, field.data_type(), depth)?;
            promised(field, &child, |element| source.is_null(element / width))?;
            source.children = vec![child];
            Ok(())
        }
        (DataType::Struct(fields), DataType::Struct(found)) if fields.len() == found.len() => {
            let array = array.as_struct_opt().ok_or(Mismatch::Type)?;
            let mut children = Vec::with_capacity(fields.len());
            for (field, column) in fields.iter().zip(array.columns()) {
                let child = node(column.as_ref(), span.clone(), field.data_type(), depth)?;
                promised(field, &child, |row| source.is_null(row))?;
                children.push(child);
            }
            source.children = children;
            Ok(())
        }
        (DataType::Dictionary(keys, values), DataType::Dictionary(found, _)) if keys == found => {
            let array = array.as_any_dictionary_opt().ok_or(Mismatch::Type)?;
            let all = array.values();
            let values = node(all.as_ref(), 0..all.len(), values, depth)?;
            source.values = flat(array.keys(), &span, keys).ok_or(Mismatch::Type)?;
            source.dictionary = Some(Box::new(values));
            Ok(())
        }
        _ => Err(Mismatch::Type),
    }
}

fn list<'a>(
    array: &'a dyn Array,
    span: &Span,
    field: &Field,
    wide: bool,
    depth: usize,
    source: &mut Source<'a>,
) -> Result<(), Mismatch> {
    let (offsets, values) = if let Some(array) = array.as_list_opt::<i32>() {
        let offsets = offsets(array.value_offsets(), span);
        (Offsets::Small(offsets), array.values())
    } else if let Some(array) = array.as_list_opt::<i64>() {
        let offsets = offsets(array.value_offsets(), span);
        (Offsets::Large(offsets), array.values())
    } else {
        return Err(Mismatch::Type);
    };
    let child = node(values.as_ref(), offsets.covered(), field.data_type(), depth)?;
    promised_in_lists(field, &child, source, &offsets)?;
    (source.values, source.children) = (Values::List(offsets, wide), vec![child]);
    Ok(())
}

impl Offsets<'_> {
    /// The elements of the child that they cover.
    fn covered(&self) -> Span {
        let last = self.len() - 1;
        self.at(0)..self.at(last)
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(offsets) => offsets.len(),
            Self::Large(offsets) => offsets.len(),
        }
    }

    fn at(&self, place: usize) -> usize {
        match self {
            Self::Small(offsets) => offsets[place] as usize,
            Self::Large(offsets) => offsets[place] as usize,
        }
    }
}

/// Checks that a field without NULL has none but where its parent `is_null` itself.
fn promised(
    field: &Field,
    child: &Source<'_>,
    is_null: impl Fn(usize) -> bool,
) -> Result<(), Mismatch> {
    if field.is_nullable() || child.null_count() == 0 {
        return Ok(());
    }
    let broken = (0..child.length).any(|row| child.is_null(row) && !is_null(row));
    match broken {
        true => Err(Mismatch::Null(field.name().clone())),
        false => Ok(()),
    }
}

fn promised_in_lists(
    field: &Field,
    child: &Source<'_>,
    parent: &Source<'_>,
    offsets: &Offsets<'_>,
) -> Result<(), Mismatch> {
    if field.is_nullable() || child.null_count() == 0 {
        return Ok(());
    }
    let first = offsets.at(0);
    let broken = (0..parent.length)
        .filter(|row| !parent.is_null(*row))
        .flat_map(|row| offsets.at(row) - first..offsets.at(row + 1) - first)
        .any(|element| child.is_null(element));
    match broken {
        true => Err(Mismatch::Null(field.name().clone())),
        false => Ok(()),
    }
}
