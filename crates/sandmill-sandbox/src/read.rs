//! Checks the array that a guest returned and copies it out. Everything here is hostile: the struct
//! is read once, all arithmetic is checked, nothing is handed to arrow before it is known to hold.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use sandmill_abi::ARRAY_SIZE;

use crate::error::Error;

/// The fields of the returned struct that count.
struct Header {
    rows: usize,
    null_count: i64,
    /// Elements before the first one.
    offset: usize,
    buffers: [u32; 3],
}

fn wrong<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Output(message.into()))
}

/// The part of guest memory from `start`, `length` bytes long.
fn range<'a>(
    memory: &'a [u8],
    what: &str,
    start: u32,
    skip: usize,
    length: usize,
) -> Result<&'a [u8], Error> {
    let start = (start as usize).checked_add(skip);
    let found = start.and_then(|start| memory.get(start..start.checked_add(length)?));
    found.ok_or_else(|| Error::Output(format!("the {what} lie outside of its memory")))
}

impl Header {
    fn read(memory: &[u8], out: usize, rows: usize, buffers: usize) -> Result<Self, Error> {
        let Some(bytes) = memory
            .get(out..)
            .and_then(<[u8]>::first_chunk::<{ ARRAY_SIZE as usize }>)
        else {
            return wrong("the result lies outside of its memory");
        };
        // One copy, because nothing may change between check and use.
        let bytes = *bytes;
        let long = |at: usize| {
            let mut value = [0; 8];
            value.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(value)
        };
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if usize::try_from(long(0)) != Ok(rows) {
            return wrong(format!("it has {} rows, expected {rows}", long(0)));
        }
        let offset = match u32::try_from(long(16)) {
            Ok(offset) if offset <= i32::MAX as u32 => offset as usize,
            _ => return wrong(format!("its offset is {}", long(16))),
        };
        if usize::try_from(long(24)) != Ok(buffers) {
            return wrong(format!("it has {} buffers, expected {buffers}", long(24)));
        }
        if long(32) != 0 || word(48) != 0 {
            return wrong("it has children or a dictionary, which its type does not have");
        }
        let pointers = range(memory, "buffer pointers", word(40), 0, buffers * 4)?;
        let mut found = [0; 3];
        for (pointer, bytes) in found.iter_mut().zip(pointers.chunks_exact(4)) {
            *pointer = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(Self {
            rows,
            null_count: long(8),
            offset,
            buffers: found,
        })
    }

    fn nulls(&self, memory: &[u8]) -> Result<Option<NullBuffer>, Error> {
        if self.null_count < -1 || self.null_count > self.rows as i64 {
            return wrong(format!("its null count is {}", self.null_count));
        }
        if self.buffers[0] == 0 {
            if self.null_count > 0 {
                return wrong("it counts nulls but has no validity bitmap");
            }
            return Ok(None);
        }
        let nulls = NullBuffer::new(self.bits(memory, "validity bits", 0)?);
        Ok((nulls.null_count() > 0).then_some(nulls))
    }

    fn bits(&self, memory: &[u8], what: &str, buffer: usize) -> Result<BooleanBuffer, Error> {
        let (skip, first) = (self.offset / 8, self.offset % 8);
        let bytes = range(
            memory,
            what,
            self.pointer(what, buffer)?,
            skip,
            (first + self.rows).div_ceil(8),
        )?;
        Ok(BooleanBuffer::new(
            Buffer::from_slice_ref(bytes),
            first,
            self.rows,
        ))
    }

    fn fixed<T: ArrowPrimitiveType>(
        &self,
        memory: &[u8],
    ) -> Result<ScalarBuffer<T::Native>, Error> {
        let width = size_of::<T::Native>();
        // Offset and rows are below 2^31, so this stays far below 2^64.
        let (skip, length) = (self.offset * width, self.rows * width);
        let bytes = range(memory, "values", self.pointer("values", 1)?, skip, length)?;
        Ok(ScalarBuffer::new(
            Buffer::from_slice_ref(bytes),
            0,
            self.rows,
        ))
    }

    fn pointer(&self, what: &str, buffer: usize) -> Result<u32, Error> {
        match self.buffers[buffer] {
            0 => wrong(format!("the {what} are missing")),
            pointer => Ok(pointer),
        }
    }

    /// Offsets from 0 and the bytes that they cover.
    #[allow(
        unsafe_code,
        reason = "arrow would check the offsets a second time, at a quarter of a nanosecond a row"
    )]
    fn bytes<'a>(&self, memory: &'a [u8]) -> Result<(OffsetBuffer<i32>, &'a [u8]), Error> {
        let length = (self.rows + 1) * 4;
        let raw = range(
            memory,
            "offsets",
            self.pointer("offsets", 1)?,
            self.offset * 4,
            length,
        )?;
        // The host's own copy, which the guest cannot change after the check.
        let mut offsets = ScalarBuffer::<i32>::from(Buffer::from_slice_ref(raw));
        // Sign bits, without branches: of the offsets, and of their differences, which cannot
        // overflow while no offset is negative.
        let pairs = offsets.iter().zip(&offsets[1..]);
        let signs = pairs.fold(offsets[0], |signs, (a, b)| signs | b | b.wrapping_sub(*a));
        let (first, last) = (offsets[0], offsets[self.rows]);
        if signs < 0 {
            return wrong("its offsets are negative or fall");
        }
        if first != 0 {
            offsets = offsets.iter().map(|offset| offset - first).collect();
        }
        let values = match (last - first) as usize {
            0 => &[][..],
            length => range(
                memory,
                "bytes",
                self.pointer("bytes", 2)?,
                first as usize,
                length,
            )?,
        };
        // SAFETY: `rows + 1` offsets, at least one; the first is 0 now, none is negative, none is
        // less than the one before.
        Ok((unsafe { OffsetBuffer::new_unchecked(offsets) }, values))
    }
}

/// What a result must keep.
pub(crate) struct Promise<'a> {
    pub returns: &'a DataType,
    pub rows: usize,
    /// Whether nulls may stand where the input has none.
    pub nullable: bool,
    /// Nulls that the result takes over from strict arguments.
    pub input: Option<NullBuffer>,
}

/// Reads the array whose struct lies at `out`.
///
/// # Errors
/// `Output`, saying what does not hold.
pub(crate) fn read(memory: &[u8], out: u32, promise: Promise<'_>) -> Result<ArrayRef, Error> {
    let buffers = match promise.returns {
        DataType::Utf8 | DataType::Binary => 3,
        _ => 2,
    };
    let header = Header::read(memory, out as usize, promise.rows, buffers)?;
    let own = header.nulls(memory)?;
    let nulls = NullBuffer::union(own.as_ref(), promise.input.as_ref());
    if !promise.nullable {
        let count = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, NullBuffer::null_count);
        if count(&nulls) != count(&promise.input) {
            return wrong("it has NULL in rows where its manifest promises a value");
        }
    }
    macro_rules! fixed {
        ($($t:ty),*) => {
            match promise.returns {
                $(x if *x == <$t>::DATA_TYPE => {
                    Arc::new(PrimitiveArray::<$t>::new(header.fixed::<$t>(memory)?, nulls)) as ArrayRef
                })*
                other => return wrong(format!("its type {other} is not known")),
            }
        };
    }
    macro_rules! stamp {
        ($t:ty, $zone:expr) => {
            Arc::new(
                PrimitiveArray::<$t>::new(header.fixed::<$t>(memory)?, nulls)
                    .with_timezone_opt($zone.clone()),
            ) as ArrayRef
        };
    }
    Ok(match promise.returns {
        DataType::Boolean => Arc::new(BooleanArray::new(header.bits(memory, "values", 1)?, nulls)),
        DataType::Utf8 => text(&header, memory, nulls)?,
        DataType::Binary => {
            let (offsets, values) = header.bytes(memory)?;
            Arc::new(BinaryArray::new(
                offsets,
                Buffer::from_slice_ref(values),
                nulls,
            ))
        }
        DataType::Decimal128(precision, scale) => {
            let array = Decimal128Array::new(header.fixed::<Decimal128Type>(memory)?, nulls);
            let array = array.with_precision_and_scale(*precision, *scale);
            let array = array.map_err(|e| Error::Internal(e.to_string()))?;
            if array.validate_decimal_precision(*precision).is_err() {
                return wrong(format!("a value has more than {precision} digits"));
            }
            Arc::new(array)
        }
        DataType::Timestamp(TimeUnit::Second, zone) => stamp!(TimestampSecondType, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => stamp!(TimestampMillisecondType, zone),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => stamp!(TimestampMicrosecondType, zone),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => stamp!(TimestampNanosecondType, zone),
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

#[allow(
    unsafe_code,
    reason = "arrow would check the UTF-8 a second time, at half the cost of a call"
)]
fn text(header: &Header, memory: &[u8], nulls: Option<NullBuffer>) -> Result<ArrayRef, Error> {
    let (offsets, values) = header.bytes(memory)?;
    let (values, is_ascii) = copied(values);
    if !is_ascii {
        if simdutf8::basic::from_utf8(&values).is_err() {
            return wrong("its text is not UTF-8");
        }
        let inside = |at: &i32| {
            values
                .get(*at as usize)
                .is_some_and(|byte| (byte & 0xc0) == 0x80)
        };
        if offsets.iter().any(inside) {
            return wrong("a text begins or ends inside of a character");
        }
    }
    // SAFETY: `Header::bytes` made offsets that start at 0, never fall and end at the length of
    // `values`; the bytes checked above are the host's own copy, valid UTF-8 (or ASCII) as a whole,
    // and no offset lies inside of a character, so every slice is valid UTF-8; `nulls`, if present,
    // has one bit for each row. The property test in `tests` compares with `validate_full`.
    Ok(Arc::new(unsafe {
        StringArray::new_unchecked(offsets, values, nulls)
    }))
}

/// A copy, and whether it is ASCII: looked at piece by piece, while each is near.
fn copied(bytes: &[u8]) -> (Buffer, bool) {
    let mut copy = MutableBuffer::with_capacity(bytes.len());
    let mut is_ascii = true;
    for piece in bytes.chunks(8192) {
        let start = copy.len();
        copy.extend_from_slice(piece);
        is_ascii &= copy[start..].is_ascii();
    }
    (copy.into(), is_ascii)
}

/// Nulls of the strict arguments together: the rows whose result is NULL whatever the guest says.
pub(crate) fn strict_nulls<'a>(arrays: impl Iterator<Item = &'a dyn Array>) -> Option<NullBuffer> {
    arrays.fold(None, |all, array| {
        let own = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match (all, own) {
            (None, own) => own.cloned(),
            (all, None) => all,
            (all, own) => NullBuffer::union(all.as_ref(), own),
        }
    })
}

/// The range of an allocation that the guest gave, if it is aligned and inside of its memory.
pub(crate) fn allocation(ptr: u32, size: usize, memory: usize) -> Option<Range<usize>> {
    let (start, end) = (ptr as usize, (ptr as usize).checked_add(size)?);
    (ptr != 0 && ptr.is_multiple_of(sandmill_abi::BUFFER_ALIGN) && end <= memory)
        .then_some(start..end)
}
