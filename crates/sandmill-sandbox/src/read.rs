//! Checks the array that a guest returned and copies it out. Everything here is hostile: each struct
//! is read once, all arithmetic is checked, nothing is handed to arrow before it is known to hold.
//!
//! How deep structs are followed is a matter of the type that the manifest gives, never of what they
//! say; a cycle of children therefore ends where the type ends. What many structs may say of the same
//! bytes is bounded by a [`Budget`].

mod dictionary;
mod header;
mod nested;
mod text;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeBinaryArray, NullArray,
    PrimitiveArray, downcast_primitive,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::*;

use crate::error::Error;
use header::{Expect, Header};

fn wrong<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Output(message.into()))
}

/// Bytes that a result may say it has, however small the guest's memory is.
const DECLARED: usize = 256 << 20;

/// How many bytes the results of one call may still say they have. Bytes count as often as they are
/// pointed at: a thousand columns over one buffer of 64 MiB would be 64 GiB here. An honest guest
/// does not point at all of its memory four times.
pub(crate) struct Budget(usize);

impl Budget {
    /// The budget of a guest with so much memory.
    pub(crate) fn new(memory: &[u8]) -> Self {
        Self(memory.len().saturating_mul(4).max(DECLARED))
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: usize) -> Self {
        Self(bytes)
    }
}

/// Reads the structs of one call.
struct Reader<'m, 'b> {
    memory: &'m [u8],
    budget: &'b mut Budget,
}

impl<'m> Reader<'m, '_> {
    /// Takes bytes from the budget, before they are copied.
    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        match self.budget.0.checked_sub(bytes) {
            Some(left) => self.budget.0 = left,
            None => return wrong("it says it has more bytes than a result may have"),
        }
        Ok(())
    }

    /// The part of guest memory at `start`, without its first `skip` bytes, `length` bytes long.
    fn range(
        &mut self,
        what: &str,
        start: u32,
        skip: usize,
        length: usize,
    ) -> Result<&'m [u8], Error> {
        if start == 0 {
            return match length {
                0 => Ok(&[]),
                _ => wrong(format!("the {what} are missing")),
            };
        }
        let start = (start as usize).checked_add(skip);
        let found = start.and_then(|start| self.memory.get(start..start.checked_add(length)?));
        let Some(found) = found else {
            return wrong(format!("the {what} lie outside of its memory"));
        };
        self.charge(length)?;
        Ok(found)
    }

    fn nulls(&mut self, header: &Header) -> Result<Option<NullBuffer>, Error> {
        if header.buffers[0] == 0 {
            if header.null_count > 0 {
                return wrong("it counts nulls but has no validity bitmap");
            }
            return Ok(None);
        }
        let nulls = NullBuffer::new(self.bits(header, "validity bits", 0)?);
        Ok((nulls.null_count() > 0).then_some(nulls))
    }

    fn bits(&mut self, header: &Header, what: &str, buffer: usize) -> Result<BooleanBuffer, Error> {
        let (skip, first) = (header.offset / 8, header.offset % 8);
        let length = (first + header.rows).div_ceil(8);
        let bytes = self.range(what, header.buffers[buffer], skip, length)?;
        let bits = BooleanBuffer::new(Buffer::from_slice_ref(bytes), first, header.rows);
        // Arrow holds the length of a validity bitmap against the place of the first boolean; they
        // agree where all bits begin at 0.
        Ok(match first {
            0 => bits,
            _ => BooleanBuffer::new(bits.sliced(), 0, header.rows),
        })
    }

    /// Values of `width` bytes.
    fn values(&mut self, header: &Header, width: usize) -> Result<Buffer, Error> {
        let skip = header.offset.checked_mul(width);
        let (Some(skip), Some(length)) = (skip, header.rows.checked_mul(width)) else {
            return wrong("the values lie outside of its memory");
        };
        let bytes = self.range("values", header.buffers[1], skip, length)?;
        Ok(Buffer::from_slice_ref(bytes))
    }

    fn fixed<T: ArrowPrimitiveType>(
        &mut self,
        header: &Header,
    ) -> Result<ScalarBuffer<T::Native>, Error> {
        let values = self.values(header, size_of::<T::Native>())?;
        Ok(ScalarBuffer::new(values, 0, header.rows))
    }

    /// Reads the array whose struct lies at `at`. Where `mask` is NULL, so is the array, whatever
    /// the guest wrote there.
    fn array(
        &mut self,
        at: u32,
        ty: &DataType,
        expect: Expect,
        mask: Option<&NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let header = Header::read(self, at, ty, expect)?;
        if *ty == DataType::Null {
            // They take no memory here, but wherever they are written.
            self.charge(header.rows)?;
            return Ok(Arc::new(NullArray::new(header.rows)));
        }
        let own = self.nulls(&header)?;
        let nulls = NullBuffer::union(own.as_ref(), mask);
        macro_rules! fixed {
            ($t:ty) => {
                self.primitive::<$t>(&header, ty, nulls)?
            };
        }
        Ok(downcast_primitive! {
            ty => (fixed),
            DataType::Boolean => {
                Arc::new(BooleanArray::new(self.bits(&header, "values", 1)?, nulls))
            },
            DataType::Utf8 => self.text::<i32>(&header, nulls)?,
            DataType::LargeUtf8 => self.text::<i64>(&header, nulls)?,
            DataType::Binary => self.binary::<i32>(&header, nulls)?,
            DataType::LargeBinary => self.binary::<i64>(&header, nulls)?,
            DataType::Utf8View => self.views::<StringViewType>(&header, nulls)?,
            DataType::BinaryView => self.views::<BinaryViewType>(&header, nulls)?,
            DataType::FixedSizeBinary(size) => {
                let width = usize::try_from(*size).unwrap_or(0);
                let values = self.values(&header, width)?;
                let array =
                    FixedSizeBinaryArray::try_new_with_len(*size, values, nulls, header.rows);
                Arc::new(array.map_err(refused)?)
            },
            _ => self.nested(&header, ty, nulls)?,
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &mut self,
        header: &Header,
        ty: &DataType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let array = PrimitiveArray::<T>::new(self.fixed::<T>(header)?, nulls);
        Ok(match ty {
            DataType::Decimal128(precision, scale) => {
                decimal::<Decimal128Type>(&array, *precision, *scale)?
            }
            DataType::Decimal256(precision, scale) => {
                decimal::<Decimal256Type>(&array, *precision, *scale)?
            }
            DataType::Timestamp(..) => Arc::new(array.with_data_type(ty.clone())),
            _ => Arc::new(array),
        })
    }
}

fn decimal<T: DecimalType>(array: &dyn Array, precision: u8, scale: i8) -> Result<ArrayRef, Error> {
    let array = array.as_any().downcast_ref::<PrimitiveArray<T>>();
    let array = array.ok_or_else(|| Error::Internal("a decimal has another width".into()))?;
    let array = array
        .clone()
        .with_precision_and_scale(precision, scale)
        .map_err(|e| Error::Internal(e.to_string()))?;
    if array.validate_decimal_precision(precision).is_err() {
        return wrong(format!("a value has more than {precision} digits"));
    }
    Ok(Arc::new(array))
}

/// What arrow's own checks say.
fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Output(error.to_string())
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

/// Reads the array whose struct lies at `out`, with a budget of its own.
#[cfg(test)]
pub(crate) fn read(memory: &[u8], out: u32, promise: Promise<'_>) -> Result<ArrayRef, Error> {
    read_within(memory, out, promise, &mut Budget::new(memory))
}

/// Reads the array whose struct lies at `out`. All results of a call share a budget.
///
/// # Errors
/// `Output`, saying what does not hold.
pub(crate) fn read_within(
    memory: &[u8],
    out: u32,
    promise: Promise<'_>,
    budget: &mut Budget,
) -> Result<ArrayRef, Error> {
    let mut reader = Reader { memory, budget };
    let input = promise.input.as_ref();
    let array = reader.array(out, promise.returns, Expect::Rows(promise.rows), input)?;
    if !promise.nullable {
        let expected = input.map_or(0, NullBuffer::null_count);
        if logical_nulls(&array) != expected {
            return wrong("it has NULL in rows where its manifest promises a value");
        }
    }
    Ok(array)
}

/// How many rows are NULL, also through a dictionary.
fn logical_nulls(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Null | DataType::Dictionary(..) => array.logical_null_count(),
        _ => array.null_count(),
    }
}

/// Nulls of the strict arguments together: the rows whose result is NULL whatever the guest says.
pub(crate) fn strict_nulls<'a>(arrays: impl Iterator<Item = &'a dyn Array>) -> Option<NullBuffer> {
    arrays.fold(None, |all, array| {
        // The NULLs of these two types are not those of a bitmap.
        if let DataType::Null | DataType::Dictionary(..) = array.data_type() {
            return NullBuffer::union(all.as_ref(), array.logical_nulls().as_ref());
        }
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
