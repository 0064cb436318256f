//! Dictionaries, and what their rows take without them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, OffsetSizeTrait, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;

use super::header::{Expect, Header};
use super::{Reader, refused};
use crate::error::Error;

impl Reader<'_, '_> {
    pub(super) fn dictionary<K: ArrowDictionaryKeyType>(
        &mut self,
        header: &Header,
        ty: &DataType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let keys = PrimitiveArray::<K>::new(self.fixed::<K>(header)?, nulls);
        let values = self.array(header.dictionary, ty, Expect::All, None)?;
        // Arrow checks the keys of rows that are not NULL.
        let array = DictionaryArray::try_new(keys, values).map_err(refused)?;
        // A million keys of one long text are a million long texts for whoever casts them or prints
        // them. What is counted so far also bounds the time that counting takes.
        for key in array.keys().iter().flatten() {
            let key = key.as_usize();
            self.charge(size(array.values(), key..key + 1))?;
        }
        Ok(Arc::new(array))
    }
}

/// Bytes of the elements `span`, about: never fewer than there are elements.
fn size(array: &dyn Array, span: Range<usize>) -> usize {
    let count = span.len();
    match array.data_type() {
        DataType::Utf8 => count + covered(array.as_string::<i32>().value_offsets(), &span).len(),
        DataType::LargeUtf8 => {
            count + covered(array.as_string::<i64>().value_offsets(), &span).len()
        }
        DataType::Binary => count + covered(array.as_binary::<i32>().value_offsets(), &span).len(),
        DataType::LargeBinary => {
            count + covered(array.as_binary::<i64>().value_offsets(), &span).len()
        }
        DataType::Utf8View => count + views(&array.as_string_view().views()[span]),
        DataType::BinaryView => count + views(&array.as_binary_view().views()[span]),
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            count + size(array.values(), covered(array.value_offsets(), &span))
        }
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            count + size(array.values(), covered(array.value_offsets(), &span))
        }
        DataType::Map(..) => {
            let array = array.as_map();
            count + size(array.entries(), covered(array.value_offsets(), &span))
        }
        DataType::FixedSizeList(..) => {
            let array = array.as_fixed_size_list();
            let width = usize::try_from(array.value_length()).unwrap_or(0);
            count + size(array.values(), span.start * width..span.end * width)
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            let sizes = columns.map(|column| size(column, span.clone()));
            sizes.fold(count, usize::saturating_add)
        }
        // As if each were all of them.
        DataType::Dictionary(..) => {
            let values = array.as_any_dictionary().values();
            let all = size(values, 0..values.len());
            count.saturating_mul(all.saturating_add(1))
        }
        DataType::FixedSizeBinary(width) => count * usize::try_from(*width).unwrap_or(0).max(1),
        other => count * other.primitive_width().unwrap_or(1),
    }
}

fn covered<O: OffsetSizeTrait>(offsets: &[O], span: &Range<usize>) -> Range<usize> {
    offsets[span.start].as_usize()..offsets[span.end].as_usize()
}

/// The low 32 bits of a view are its length.
fn views(views: &[u128]) -> usize {
    views.iter().map(|view| 16 + *view as u32 as usize).sum()
}
