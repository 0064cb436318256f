//! Arrays with arrays inside: lists, structs, maps, dictionaries.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, FixedSizeListArray, GenericListArray, MapArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::filter;
use arrow::datatypes::*;

use super::header::{Expect, Header};
use super::text::Offset;
use super::{Reader, logical_nulls, refused, wrong};
use crate::error::Error;

impl Reader<'_, '_> {
    pub(super) fn nested(
        &mut self,
        header: &Header,
        ty: &DataType,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        Ok(match ty {
            DataType::List(field) => {
                let (offsets, values) = self.elements::<i32>(header, field, nulls.as_ref())?;
                let array =
                    GenericListArray::<i32>::try_new(Arc::clone(field), offsets, values, nulls);
                Arc::new(array.map_err(refused)?)
            }
            DataType::LargeList(field) => {
                let (offsets, values) = self.elements::<i64>(header, field, nulls.as_ref())?;
                let array =
                    GenericListArray::<i64>::try_new(Arc::clone(field), offsets, values, nulls);
                Arc::new(array.map_err(refused)?)
            }
            DataType::Map(field, sorted) => {
                let (offsets, entries) = self.elements::<i32>(header, field, nulls.as_ref())?;
                let Some(entries) = entries.as_struct_opt() else {
                    return wrong("the entries of a map are no structs");
                };
                let field = Arc::clone(field);
                let array = MapArray::try_new(field, offsets, entries.clone(), nulls, *sorted);
                Arc::new(array.map_err(refused)?)
            }
            DataType::FixedSizeList(field, size) => self.fixed_list(header, field, *size, nulls)?,
            DataType::Struct(fields) => self.structs(header, fields, nulls)?,
            DataType::Dictionary(keys, values) => match keys.as_ref() {
                DataType::Int8 => self.dictionary::<Int8Type>(header, values, nulls)?,
                DataType::Int16 => self.dictionary::<Int16Type>(header, values, nulls)?,
                DataType::Int32 => self.dictionary::<Int32Type>(header, values, nulls)?,
                DataType::Int64 => self.dictionary::<Int64Type>(header, values, nulls)?,
                DataType::UInt8 => self.dictionary::<UInt8Type>(header, values, nulls)?,
                DataType::UInt16 => self.dictionary::<UInt16Type>(header, values, nulls)?,
                DataType::UInt32 => self.dictionary::<UInt32Type>(header, values, nulls)?,
                DataType::UInt64 => self.dictionary::<UInt64Type>(header, values, nulls)?,
                other => return wrong(format!("its type has keys of the type {other}")),
            },
            other => return wrong(format!("its type {other} is not known")),
        })
    }

    /// The elements of lists: only those that the offsets cover are looked at.
    fn elements<O: Offset>(
        &mut self,
        header: &Header,
        field: &Field,
        nulls: Option<&NullBuffer>,
    ) -> Result<(OffsetBuffer<O>, ArrayRef), Error> {
        let (offsets, first, last) = self.offsets::<O>(header)?;
        let child = header.child(self, 0)?;
        let part = Expect::Part(first, last - first);
        let values = self.array(child, field.data_type(), part, None)?;
        if field.is_nullable() || logical_nulls(&values) == 0 {
            return Ok((offsets, values));
        }
        // NULL may still lie in lists that are NULL themselves, where it does not count. Arrow wants
        // it gone.
        let (offsets, values) = match nulls {
            Some(nulls) => without_hidden(&offsets, &values, nulls)?,
            None => (offsets, values),
        };
        match logical_nulls(&values) {
            0 => Ok((offsets, values)),
            _ => broken(field),
        }
    }

    fn fixed_list(
        &mut self,
        header: &Header,
        field: &FieldRef,
        size: i32,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let width = usize::try_from(size).unwrap_or(0);
        let first = header.offset.checked_mul(width);
        let (Some(first), Some(length)) = (first, header.rows.checked_mul(width)) else {
            return wrong("its lists have more elements than any memory holds");
        };
        let mask = match &nulls {
            Some(nulls) => {
                // Arrow makes the mask bit by bit, so that each is work as well.
                self.charge(length)?;
                Some(nulls.expand(width))
            }
            None => None,
        };
        let child = header.child(self, 0)?;
        let part = Expect::Part(first, length);
        let values = self.array(child, field.data_type(), part, mask.as_ref())?;
        kept(field, &values, mask.as_ref())?;
        let (field, rows) = (Arc::clone(field), header.rows);
        let array = FixedSizeListArray::try_new_with_length(field, size, values, nulls, rows);
        Ok(Arc::new(array.map_err(refused)?))
    }

    fn structs(
        &mut self,
        header: &Header,
        fields: &Fields,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        // Without fields and validity, rows cost the guest nothing.
        self.charge(header.rows / 8)?;
        let mut columns = Vec::with_capacity(fields.len());
        for (n, field) in fields.iter().enumerate() {
            let child = header.child(self, n)?;
            let part = Expect::Part(header.offset, header.rows);
            let column = self.array(child, field.data_type(), part, nulls.as_ref())?;
            kept(field, &column, nulls.as_ref())?;
            columns.push(column);
        }
        let (fields, rows) = (fields.clone(), header.rows);
        let array = StructArray::try_new_with_length(fields, columns, nulls, rows);
        Ok(Arc::new(array.map_err(refused)?))
    }
}

/// Checks a field that promises no NULL. `array` is NULL wherever its parent is.
fn kept(field: &Field, array: &dyn Array, parent: Option<&NullBuffer>) -> Result<(), Error> {
    let hidden = parent.map_or(0, NullBuffer::null_count);
    match field.is_nullable() || logical_nulls(array) == hidden {
        true => Ok(()),
        false => broken(field),
    }
}

fn broken<T>(field: &Field) -> Result<T, Error> {
    let name = field.name();
    wrong(format!("`{name}` is NULL where its type promises a value"))
}

/// Lists without the elements of those that are NULL.
fn without_hidden<O: Offset>(
    offsets: &OffsetBuffer<O>,
    values: &dyn Array,
    nulls: &NullBuffer,
) -> Result<(OffsetBuffer<O>, ArrayRef), Error> {
    let mut keep = BooleanBufferBuilder::new(values.len());
    let mut kept = Vec::with_capacity(offsets.len());
    let mut end = O::usize_as(0);
    kept.push(end);
    for (pair, valid) in offsets.windows(2).zip(nulls) {
        let length = pair[1] - pair[0];
        keep.append_n(length.as_usize(), valid);
        end += if valid { length } else { O::usize_as(0) };
        kept.push(end);
    }
    let keep = arrow::array::BooleanArray::new(keep.finish(), None);
    let values = filter(values, &keep).map_err(|e| Error::Internal(e.to_string()))?;
    Ok((OffsetBuffer::new(ScalarBuffer::from(kept)), values))
}
