//! Lays arguments out in the guest's memory.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, ByteView};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use arrow::datatypes::{DataType, TimeUnit};
use sandmill_abi::{ARRAY_SIZE, BUFFER_ALIGN};

use crate::error::Error;

/// Bytes that may be written past the end of a text buffer: short views are copied whole.
const SLACK: usize = 16;

/// The buffers of one argument, seen from the host.
pub(crate) struct Source<'a> {
    length: usize,
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    /// Booleans: bits and the first bit.
    Bits(&'a arrow::buffer::BooleanBuffer),
    /// Values of a fixed width, without the array's offset.
    Fixed(&'a [u8]),
    /// Offsets of 32 bits and bytes.
    Small(&'a [i32], &'a [u8]),
    /// Offsets of 64 bits and bytes.
    Large(&'a [i64], &'a [u8]),
    /// Views and their buffers.
    Views(&'a [u128], &'a [arrow::buffer::Buffer], usize),
}

impl<'a> Source<'a> {
    /// Sees an array as the type `expected` of the manifest.
    ///
    /// # Errors
    /// `Arguments` when the array is of another type: the planner should have cast it.
    pub(crate) fn new(array: &'a dyn Array, expected: &DataType) -> Result<Self, Error> {
        let values = values(array, expected).ok_or_else(|| {
            Error::Arguments(format!(
                "an argument is {}, expected {expected}",
                array.data_type()
            ))
        })?;
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self {
            length: array.len(),
            nulls,
            values,
        })
    }

    /// Bytes of each buffer: validity, values or offsets, bytes. 0 means that there is none.
    fn sizes(&self) -> [usize; 3] {
        let bits = self.length.div_ceil(8);
        let validity = if self.nulls.is_some() { bits } else { 0 };
        let offsets = (self.length + 1) * 4;
        let (first, second) = match &self.values {
            Values::Bits(_) => (bits, 0),
            Values::Fixed(bytes) => (bytes.len(), 0),
            Values::Small(source, _) => {
                (offsets, (source[self.length] - source[0]) as usize + SLACK)
            }
            Values::Large(source, _) => {
                (offsets, (source[self.length] - source[0]) as usize + SLACK)
            }
            Values::Views(_, _, total) => (offsets, total + SLACK),
        };
        [validity, first, second]
    }

    fn buffers(&self) -> usize {
        match self.values {
            Values::Bits(_) | Values::Fixed(_) => 2,
            _ => 3,
        }
    }
}

fn values<'a>(array: &'a dyn Array, expected: &DataType) -> Option<Values<'a>> {
    macro_rules! fixed {
        ($($t:ty),*) => {
            match expected {
                $(x if *x == <$t>::DATA_TYPE => {
                    Values::Fixed(array.as_primitive_opt::<$t>()?.values().inner().as_slice())
                })*
                _ => return None,
            }
        };
    }
    Some(match (expected, array.data_type()) {
        (DataType::Boolean, _) => Values::Bits(array.as_boolean_opt()?.values()),
        (DataType::Utf8, DataType::Utf8) => {
            let array = array.as_string_opt::<i32>()?;
            Values::Small(array.value_offsets(), array.value_data())
        }
        (DataType::Utf8, DataType::LargeUtf8) => {
            let array = array.as_string_opt::<i64>()?;
            Values::Large(array.value_offsets(), array.value_data())
        }
        (DataType::Utf8, DataType::Utf8View) => {
            let array = array.as_string_view_opt()?;
            Values::Views(array.views(), array.data_buffers(), lengths(array.views()))
        }
        (DataType::Binary, DataType::Binary) => {
            let array = array.as_binary_opt::<i32>()?;
            Values::Small(array.value_offsets(), array.value_data())
        }
        (DataType::Binary, DataType::LargeBinary) => {
            let array = array.as_binary_opt::<i64>()?;
            Values::Large(array.value_offsets(), array.value_data())
        }
        (DataType::Binary, DataType::BinaryView) => {
            let array = array.as_binary_view_opt()?;
            Values::Views(array.views(), array.data_buffers(), lengths(array.views()))
        }
        (DataType::Decimal128(..), found) if found == expected => Values::Fixed(
            array
                .as_primitive_opt::<Decimal128Type>()?
                .values()
                .inner()
                .as_slice(),
        ),
        (DataType::Timestamp(unit, _), found) if found == expected => Values::Fixed(match unit {
            TimeUnit::Second => array
                .as_primitive_opt::<TimestampSecondType>()?
                .values()
                .inner(),
            TimeUnit::Millisecond => array
                .as_primitive_opt::<TimestampMillisecondType>()?
                .values()
                .inner(),
            TimeUnit::Microsecond => array
                .as_primitive_opt::<TimestampMicrosecondType>()?
                .values()
                .inner(),
            TimeUnit::Nanosecond => array
                .as_primitive_opt::<TimestampNanosecondType>()?
                .values()
                .inner(),
        }),
        _ => fixed!(
            Int8Type,
            Int16Type,
            Int32Type,
            Int64Type,
            UInt8Type,
            UInt16Type,
            UInt32Type,
            UInt64Type,
            Float32Type,
            Float64Type,
            Date32Type
        ),
    })
}

fn lengths(views: &[u128]) -> usize {
    // The low 32 bits of a view are its length.
    views.iter().map(|view| *view as u32 as usize).sum()
}

/// Where everything of one call lies, relative to the start of the arena.
pub(crate) struct Plan {
    /// The results' structs, side by side.
    pub out: usize,
    /// Plain bytes beside the arguments, such as group ids.
    pub extras: Vec<Range<usize>>,
    outs: usize,
    /// Bytes of the whole.
    pub size: usize,
    buffers: Vec<[Range<usize>; 3]>,
    pointers: usize,
}

impl Plan {
    /// Room for `sources`, the structs of `outs` results, and plain bytes of the sizes `extras`.
    pub(crate) fn new(sources: &[Source<'_>], outs: usize, extras: &[usize]) -> Self {
        let mut plan = Self {
            out: 0,
            outs,
            extras: Vec::with_capacity(extras.len()),
            size: 0,
            buffers: Vec::with_capacity(sources.len()),
            pointers: 0,
        };
        plan.size = sources.len() * ARRAY_SIZE as usize;
        plan.out = plan.take(outs * ARRAY_SIZE as usize).start;
        plan.pointers = plan.take(sources.len() * 3 * 4).start;
        for source in sources {
            let ranges = source.sizes().map(|size| plan.take(size));
            plan.buffers.push(ranges);
        }
        for size in extras {
            let range = plan.take(*size);
            plan.extras.push(range);
        }
        plan
    }

    fn take(&mut self, size: usize) -> Range<usize> {
        let start = self.size.next_multiple_of(BUFFER_ALIGN as usize);
        self.size = start + size;
        start..self.size
    }

    /// Writes structs and buffers into `arena`, which lies at `base` in the guest's memory and has
    /// at least `size` bytes. `release` is what the structs carry as their release callback.
    pub(crate) fn write(&self, sources: &[Source<'_>], arena: &mut [u8], base: u32, release: u32) {
        let address = |at: usize| base + at as u32;
        arena[self.out..self.out + self.outs * ARRAY_SIZE as usize].fill(0);
        for (n, (source, ranges)) in sources.iter().zip(&self.buffers).enumerate() {
            let pointers = self.pointers + n * 12;
            for (slot, range) in ranges.iter().enumerate() {
                // The value buffers of an empty column are still there; a missing bitmap is 0.
                let present = slot > 0 || !range.is_empty();
                let pointer = if present { address(range.start) } else { 0 };
                arena[pointers + slot * 4..][..4].copy_from_slice(&pointer.to_le_bytes());
            }
            let null_count = source.nulls.map_or(0, NullBuffer::null_count) as i64;
            let mut header = [0; ARRAY_SIZE as usize];
            header[0..8].copy_from_slice(&(source.length as i64).to_le_bytes());
            header[8..16].copy_from_slice(&null_count.to_le_bytes());
            header[24..32].copy_from_slice(&(source.buffers() as i64).to_le_bytes());
            header[40..44].copy_from_slice(&address(pointers).to_le_bytes());
            header[52..56].copy_from_slice(&release.to_le_bytes());
            arena[n * ARRAY_SIZE as usize..][..ARRAY_SIZE as usize].copy_from_slice(&header);
            if let Some(nulls) = source.nulls {
                bits(nulls.inner(), &mut arena[ranges[0].clone()]);
            }
            let (before, bytes) = arena.split_at_mut(ranges[2].start);
            let first = &mut before[ranges[1].clone()];
            let bytes = &mut bytes[..ranges[2].len()];
            match &source.values {
                Values::Bits(values) => bits(values, first),
                Values::Fixed(values) => first.copy_from_slice(values),
                Values::Small(offsets, data) => {
                    let start = offsets[0];
                    for (to, from) in first.chunks_exact_mut(4).zip(&offsets[..=source.length]) {
                        to.copy_from_slice(&(from - start).to_le_bytes());
                    }
                    let data = &data[start as usize..offsets[source.length] as usize];
                    bytes[..data.len()].copy_from_slice(data);
                }
                Values::Large(offsets, data) => {
                    let start = offsets[0];
                    for (to, from) in first.chunks_exact_mut(4).zip(&offsets[..=source.length]) {
                        to.copy_from_slice(&((from - start) as i32).to_le_bytes());
                    }
                    let data = &data[start as usize..offsets[source.length] as usize];
                    bytes[..data.len()].copy_from_slice(data);
                }
                Values::Views(views, buffers, _) => gather(views, buffers, first, bytes),
            }
        }
    }
}

fn bits(source: &arrow::buffer::BooleanBuffer, to: &mut [u8]) {
    let (offset, length) = (source.offset(), source.len());
    if offset % 8 == 0 {
        to.copy_from_slice(&source.values()[offset / 8..][..length.div_ceil(8)]);
    } else {
        to.copy_from_slice(&source.sliced().as_slice()[..length.div_ceil(8)]);
    }
}

fn gather(views: &[u128], buffers: &[arrow::buffer::Buffer], offsets: &mut [u8], bytes: &mut [u8]) {
    let mut at = 0usize;
    let mut slots = offsets.chunks_exact_mut(4);
    if let Some(first) = slots.next() {
        first.copy_from_slice(&[0; 4]);
    }
    for (view, slot) in views.iter().zip(slots) {
        let length = *view as u32 as usize;
        if length <= 12 {
            // All twelve bytes at once, into the slack: a copy of fixed size is a register move.
            bytes[at..at + 12].copy_from_slice(&view.to_le_bytes()[4..]);
        } else {
            let view = ByteView::from(*view);
            let start = view.offset as usize;
            let source = &buffers[view.buffer_index as usize].as_slice()[start..start + length];
            bytes[at..at + length].copy_from_slice(source);
        }
        at += length;
        slot.copy_from_slice(&(at as i32).to_le_bytes());
    }
}

/// Rows `start..start + length` of an argument.
pub(crate) fn slice(array: &dyn Array, start: usize, length: usize) -> ArrayRef {
    array.slice(start, length)
}
