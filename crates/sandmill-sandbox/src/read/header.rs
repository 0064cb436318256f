//! The struct of an array: read once, held against the type that it must have.

use arrow::datatypes::DataType;
use sandmill_abi::ARRAY_SIZE;

use super::{Reader, wrong};
use crate::error::Error;

/// Elements that an array may have or skip: so many that no check overflows, and more than any
/// memory holds.
const ELEMENTS: usize = 1 << 36;
/// Data buffers that an array of views may have.
const VIEW_BUFFERS: usize = 4096;

/// The elements of an array that are wanted.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// All, and exactly so many.
    Rows(usize),
    /// All, however many there are.
    All,
    /// So many, behind so many others.
    Part(usize, usize),
}

/// What the structs of a type look like.
struct Shape {
    buffers: usize,
    /// Whether any number of buffers may follow before the last one.
    views: bool,
    children: usize,
    dictionary: bool,
}

impl Shape {
    fn of(ty: &DataType) -> Option<Self> {
        let (buffers, children) = match ty {
            DataType::Null => (0, 0),
            DataType::Utf8 | DataType::LargeUtf8 => (3, 0),
            DataType::Binary | DataType::LargeBinary => (3, 0),
            DataType::Utf8View | DataType::BinaryView => (3, 0),
            DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => (2, 1),
            DataType::FixedSizeList(..) => (1, 1),
            DataType::Struct(fields) => (1, fields.len()),
            DataType::Boolean | DataType::FixedSizeBinary(_) | DataType::Dictionary(..) => (2, 0),
            DataType::Decimal32(..) | DataType::Decimal64(..) => return None,
            ty if ty.is_primitive() => (2, 0),
            _ => return None,
        };
        Some(Self {
            buffers,
            views: matches!(ty, DataType::Utf8View | DataType::BinaryView),
            children,
            dictionary: matches!(ty, DataType::Dictionary(..)),
        })
    }
}

/// The fields of a struct that count.
pub(super) struct Header {
    pub(super) rows: usize,
    pub(super) null_count: i64,
    /// Elements before the first one that is wanted.
    pub(super) offset: usize,
    /// Pointers to validity, values and bytes, as far as the type has them. 0 where it has not.
    pub(super) buffers: [u32; 3],
    /// Of views: how many data buffers there are.
    pub(super) data_buffers: usize,
    pointers: u32,
    children: u32,
    pub(super) dictionary: u32,
}

impl Header {
    pub(super) fn read(
        reader: &Reader<'_, '_>,
        at: u32,
        ty: &DataType,
        expect: Expect,
    ) -> Result<Self, Error> {
        let Some(shape) = Shape::of(ty) else {
            return wrong(format!("its type {ty} is not known"));
        };
        let bytes = reader
            .memory
            .get(at as usize..)
            .and_then(<[u8]>::first_chunk::<{ ARRAY_SIZE as usize }>);
        // One copy, because nothing may change between check and use.
        let Some(bytes) = bytes.copied() else {
            return wrong("the result lies outside of its memory");
        };
        let long = |at: usize| {
            let mut value = [0; 8];
            value.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(value)
        };
        let count = |at: usize| usize::try_from(long(at)).ok().filter(|n| *n <= ELEMENTS);
        let (skip, rows) = match (expect, count(0)) {
            (Expect::Rows(rows), found) if found != Some(rows) => {
                return wrong(format!("it has {} rows, expected {rows}", long(0)));
            }
            (Expect::Rows(rows), _) => (0, rows),
            (Expect::All, Some(rows)) => (0, rows),
            (Expect::Part(skip, rows), Some(length)) if length.checked_sub(skip) >= Some(rows) => {
                (skip, rows)
            }
            (Expect::Part(skip, rows), _) => {
                let needed = skip.saturating_add(rows);
                let found = long(0);
                return wrong(format!(
                    "values inside of it are {found}, {needed} are needed"
                ));
            }
            (Expect::All, None) => return wrong(format!("a dictionary has {} values", long(0))),
        };
        let null_count = long(8);
        if null_count < -1 || null_count > long(0) {
            return wrong(format!("its null count is {null_count}"));
        }
        let offset = count(16).and_then(|offset| offset.checked_add(skip));
        let Some(offset) = offset.filter(|offset| *offset <= ELEMENTS) else {
            return wrong(format!("its offset is {}", long(16)));
        };
        let data_buffers = match (count(24), shape.views) {
            (Some(n), true) if (3..=3 + VIEW_BUFFERS).contains(&n) => n - 3,
            (Some(n), false) if n == shape.buffers => 0,
            _ => {
                let (found, expected) = (long(24), shape.buffers);
                return wrong(format!("it has {found} buffers, expected {expected}"));
            }
        };
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if count(32) != Some(shape.children) {
            let (found, expected) = (long(32), shape.children);
            return wrong(format!("it has {found} children, expected {expected}"));
        }
        if (word(48) != 0) != shape.dictionary {
            return wrong(match shape.dictionary {
                true => "its dictionary is missing",
                false => "it has a dictionary, which its type does not have",
            });
        }
        let mut header = Self {
            rows,
            null_count,
            offset,
            buffers: [0; 3],
            data_buffers,
            pointers: word(40),
            children: word(44),
            dictionary: word(48),
        };
        let plain = if shape.views { 2 } else { shape.buffers };
        let found = header.words(reader, "buffer pointers", header.pointers, 0, plain)?;
        for (pointer, bytes) in header.buffers.iter_mut().zip(found.chunks_exact(4)) {
            *pointer = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(header)
    }

    /// `count` pointers behind `skip` others.
    fn words<'m>(
        &self,
        reader: &Reader<'m, '_>,
        what: &str,
        start: u32,
        skip: usize,
        count: usize,
    ) -> Result<&'m [u8], Error> {
        let start = start as usize + skip * 4;
        match reader.memory.get(start..start + count * 4) {
            _ if count == 0 => Ok(&[]),
            Some(found) => Ok(found),
            None => wrong(format!("the {what} lie outside of its memory")),
        }
    }

    /// The pointer of a buffer of views: the data buffers are followed by their lengths.
    pub(super) fn data_buffer(&self, reader: &Reader<'_, '_>, n: usize) -> Result<u32, Error> {
        let found = self.words(reader, "buffer pointers", self.pointers, 2 + n, 1)?;
        Ok(first_word(found))
    }

    /// Where the struct of a child lies.
    pub(super) fn child(&self, reader: &Reader<'_, '_>, n: usize) -> Result<u32, Error> {
        let found = self.words(reader, "children's pointers", self.children, n, 1)?;
        Ok(first_word(found))
    }
}

fn first_word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
