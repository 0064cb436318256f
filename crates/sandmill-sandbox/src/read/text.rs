//! Texts and bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, GenericBinaryArray, GenericByteViewArray, GenericStringArray, OffsetSizeTrait,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::ByteViewType;

use super::header::Header;
use super::{Reader, refused, wrong};
use crate::error::Error;

/// Offsets of either width.
pub(super) trait Offset: OffsetSizeTrait {
    /// Whether none is negative and none is less than the one before: sign bits, without branches, of
    /// the offsets, and of their differences, which cannot overflow while no offset is negative.
    fn rise(offsets: &[Self]) -> bool;
    /// The same offsets, counted from the first.
    fn rebase(offsets: &[Self]) -> ScalarBuffer<Self>;
}

macro_rules! offset {
    ($width:ty) => {
        impl Offset for $width {
            fn rise(offsets: &[Self]) -> bool {
                let first = offsets.first().copied().unwrap_or(0);
                let pairs = offsets.iter().zip(offsets.iter().skip(1));
                pairs.fold(first, |signs, (a, b)| signs | b | b.wrapping_sub(*a)) >= 0
            }

            fn rebase(offsets: &[Self]) -> ScalarBuffer<Self> {
                let first = offsets.first().copied().unwrap_or(0);
                offsets.iter().map(|offset| offset - first).collect()
            }
        }
    };
}
offset!(i32);
offset!(i64);

impl<'m> Reader<'m, '_> {
    /// Offsets from 0, and the range of values that they cover.
    #[allow(
        unsafe_code,
        reason = "arrow would check the offsets a second time, at a quarter of a nanosecond a row"
    )]
    pub(super) fn offsets<O: Offset>(
        &mut self,
        header: &Header,
    ) -> Result<(OffsetBuffer<O>, usize, usize), Error> {
        if header.rows == 0 {
            return Ok((OffsetBuffer::new_empty(), 0, 0));
        }
        // Both are far below 2^60.
        let (skip, length) = (
            header.offset * size_of::<O>(),
            (header.rows + 1) * size_of::<O>(),
        );
        let raw = self.range("offsets", header.buffers[1], skip, length)?;
        // The host's own copy, which the guest cannot change after the check.
        let mut offsets = ScalarBuffer::<O>::from(Buffer::from_slice_ref(raw));
        if !O::rise(&offsets) {
            return wrong("its offsets are negative or fall");
        }
        let (first, last) = (offsets[0].as_usize(), offsets[header.rows].as_usize());
        if first != 0 {
            offsets = O::rebase(&offsets);
        }
        // SAFETY: `rows + 1` offsets, at least one; the first is 0 now, none is negative, none is
        // less than the one before.
        Ok((unsafe { OffsetBuffer::new_unchecked(offsets) }, first, last))
    }

    /// Offsets from 0 and the bytes that they cover.
    fn bytes<O: Offset>(&mut self, header: &Header) -> Result<(OffsetBuffer<O>, &'m [u8]), Error> {
        let (offsets, first, last) = self.offsets::<O>(header)?;
        let values = self.range("bytes", header.buffers[2], first, last - first)?;
        Ok((offsets, values))
    }

    pub(super) fn binary<O: Offset>(
        &mut self,
        header: &Header,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let (offsets, values) = self.bytes::<O>(header)?;
        let values = Buffer::from_slice_ref(values);
        let array = GenericBinaryArray::<O>::try_new(offsets, values, nulls);
        Ok(Arc::new(array.map_err(refused)?))
    }

    #[allow(
        unsafe_code,
        reason = "arrow would check the UTF-8 a second time, at half the cost of a call"
    )]
    pub(super) fn text<O: Offset>(
        &mut self,
        header: &Header,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let (offsets, values) = self.bytes::<O>(header)?;
        let (values, is_ascii) = copied(values);
        if !is_ascii {
            if simdutf8::basic::from_utf8(&values).is_err() {
                return wrong("its text is not UTF-8");
            }
            let inside = |at: &O| {
                let byte = values.get(at.as_usize());
                byte.is_some_and(|byte| (byte & 0xc0) == 0x80)
            };
            if offsets.iter().any(inside) {
                return wrong("a text begins or ends inside of a character");
            }
        }
        // SAFETY: `offsets` start at 0, never fall and end at the length of `values`; the bytes
        // checked above are the host's own copy, valid UTF-8 (or ASCII) as a whole, and no offset lies
        // inside of a character, so every slice is valid UTF-8; `nulls`, if present, has one bit for
        // each row. The property tests compare with `validate_full`.
        Ok(Arc::new(unsafe {
            GenericStringArray::<O>::new_unchecked(offsets, values, nulls)
        }))
    }

    pub(super) fn views<T: ByteViewType + ?Sized>(
        &mut self,
        header: &Header,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let raw = self.values(header, 16)?;
        let mut views = ScalarBuffer::<u128>::new(raw, 0, header.rows);
        if let Some(nulls) = &nulls {
            // Nobody promises what lies there.
            let valid = views.iter().zip(nulls);
            views = valid.map(|(v, valid)| if valid { *v } else { 0 }).collect();
        }
        let mut buffers = Vec::with_capacity(header.data_buffers);
        if header.data_buffers > 0 {
            let lengths = header.data_buffer(self, header.data_buffers)?;
            let lengths = self.range("lengths of buffers", lengths, 0, header.data_buffers * 8)?;
            for (n, length) in lengths.chunks_exact(8).enumerate() {
                let length = length.first_chunk().map_or(-1, |b| i64::from_le_bytes(*b));
                let Ok(length) = usize::try_from(length) else {
                    return wrong(format!("a buffer has {length} bytes"));
                };
                let pointer = header.data_buffer(self, n)?;
                let bytes = self.range("bytes", pointer, 0, length)?;
                buffers.push(Buffer::from_slice_ref(bytes));
            }
        }
        // A million views of the same text would be as many texts to check, and to write later on.
        // The low 32 bits of a view are its length; short texts are part of it.
        let lengths = views.iter().map(|view| *view as u32 as usize);
        self.charge(lengths.filter(|length| *length > 12).sum())?;
        // Arrow checks buffers, ranges, prefixes, padding and UTF-8.
        let array = GenericByteViewArray::<T>::try_new(views, buffers, nulls);
        Ok(Arc::new(array.map_err(refused)?))
    }
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
