//! Random arrays of random types.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

use crate::types::parse_format;

/// Numbers that follow from a seed, so that a failure can be repeated.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn leaf(&mut self) -> DataType {
        let formats = [
            "n",
            "b",
            "c",
            "C",
            "s",
            "S",
            "i",
            "I",
            "l",
            "L",
            "e",
            "f",
            "g",
            "u",
            "U",
            "vu",
            "z",
            "Z",
            "vz",
            "w:5",
            "tdD",
            "tdm",
            "tts",
            "ttm",
            "ttu",
            "ttn",
            "tDs",
            "tDn",
            "tiM",
            "tiD",
            "tin",
            "tsu:",
            "tsn:UTC",
            "d:6,2",
            "d:38,10",
            "d:50,3,256",
            "u",
            "vu",
        ];
        parse_format(self.pick(&formats)).expect("known")
    }

    fn field(&mut self, name: &str, depth: usize) -> FieldRef {
        let ty = self.ty(depth);
        let nullable = ty == DataType::Null || self.below(3) > 0;
        Arc::new(Field::new(name, ty, nullable))
    }

    pub(super) fn ty(&mut self, depth: usize) -> DataType {
        if depth == 0 || self.below(4) == 0 {
            return self.leaf();
        }
        match self.below(7) {
            0 => DataType::List(self.field("item", depth - 1)),
            1 => DataType::LargeList(self.field("item", depth - 1)),
            2 => DataType::FixedSizeList(self.field("item", depth - 1), 1 + self.below(3) as i32),
            3 | 4 => {
                let names = ["a", "b", "c"];
                let fields = names.iter().take(1 + self.below(3));
                DataType::Struct(fields.map(|n| self.field(n, depth - 1)).collect())
            }
            5 => {
                let key = self.field("key", depth - 1);
                let key = match key.data_type() {
                    DataType::Null => Arc::new(Field::new("key", DataType::Int8, false)),
                    _ => Arc::new(key.as_ref().clone().with_nullable(false)),
                };
                let pair = Fields::from(vec![key, self.field("value", depth - 1)]);
                let entries = Field::new("entries", DataType::Struct(pair), false);
                DataType::Map(Arc::new(entries), false)
            }
            _ => {
                let keys = ["c", "C", "s", "S", "i", "I", "l", "L"];
                let keys = parse_format(self.pick(&keys)).expect("known");
                let values = match self.below(3) {
                    0 => DataType::Utf8,
                    1 => DataType::Int32,
                    // Arrow makes no dictionaries of nothing.
                    _ => match self.leaf() {
                        DataType::Null => DataType::Utf8View,
                        other => other,
                    },
                };
                DataType::Dictionary(Box::new(keys), Box::new(values))
            }
        }
    }

    fn nulls(&mut self, rows: usize, nullable: bool) -> Option<NullBuffer> {
        if !nullable || self.below(3) == 0 {
            return None;
        }
        let often = 2 + self.below(5);
        Some((0..rows).map(|_| self.below(often) > 0).collect())
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn string(&mut self) -> String {
        let letters = if self.below(2) == 0 {
            "abc xyz"
        } else {
            "aé€🌍"
        };
        let letters: Vec<char> = letters.chars().collect();
        let length = self.pick(&[0, 1, 3, 11, 12, 13, 20, 60]);
        (0..length).map(|_| self.pick(&letters)).collect()
    }

    fn offsets(&mut self, rows: usize) -> Vec<usize> {
        let mut offsets = vec![self.below(3)];
        for row in 0..rows {
            offsets.push(offsets[row] + self.below(4));
        }
        offsets
    }

    pub(super) fn array(&mut self, ty: &DataType, rows: usize, nullable: bool) -> ArrayRef {
        let nulls = self.nulls(rows, nullable);
        let valid = |row: usize| nulls.as_ref().is_none_or(|n| n.is_valid(row));
        macro_rules! primitive {
            ($t:ty) => {{
                type Native = <$t as ArrowPrimitiveType>::Native;
                let bytes = self.bytes(rows * size_of::<Native>());
                let values = ScalarBuffer::<Native>::new(Buffer::from_slice_ref(bytes), 0, rows);
                let array = PrimitiveArray::<$t>::new(values, nulls);
                Arc::new(array.with_data_type(ty.clone())) as ArrayRef
            }};
        }
        macro_rules! texts {
            ($t:ty) => {
                Arc::new(
                    (0..rows)
                        .map(|row| valid(row).then(|| self.string()))
                        .collect::<$t>(),
                )
            };
        }
        macro_rules! blobs {
            ($t:ty) => {{
                let blob = |r: &mut Self| {
                    let length = r.pick(&[0, 3, 12, 13, 40]);
                    r.bytes(length)
                };
                let blobs: Vec<_> = (0..rows)
                    .map(|row| valid(row).then(|| blob(self)))
                    .collect();
                Arc::new(blobs.iter().map(|b| b.as_deref()).collect::<$t>())
            }};
        }
        if let DataType::Decimal128(..) | DataType::Decimal256(..) = ty {
            let numbers = (0..rows).map(|_| self.below(200) as i64 - 100);
            let numbers = Int64Array::new(numbers.collect(), nulls);
            // Few digits, whatever the scale.
            return arrow::compute::cast(&numbers, ty).expect("fits");
        }
        downcast_primitive! {
            ty => (primitive),
            DataType::Null => Arc::new(NullArray::new(rows)),
            DataType::Boolean => {
                Arc::new(BooleanArray::new((0..rows).map(|_| self.below(2) > 0).collect(), nulls))
            },
            DataType::Utf8 => texts!(StringArray),
            DataType::LargeUtf8 => texts!(LargeStringArray),
            DataType::Utf8View => texts!(StringViewArray),
            DataType::Binary => blobs!(BinaryArray),
            DataType::LargeBinary => blobs!(LargeBinaryArray),
            DataType::BinaryView => blobs!(BinaryViewArray),
            DataType::FixedSizeBinary(width) => {
                let bytes = self.bytes(rows * *width as usize);
                Arc::new(FixedSizeBinaryArray::new(*width, Buffer::from_vec(bytes), nulls))
            },
            _ => self.nested(ty, rows, nullable, nulls),
        }
    }

    fn nested(
        &mut self,
        ty: &DataType,
        rows: usize,
        nullable: bool,
        nulls: Option<NullBuffer>,
    ) -> ArrayRef {
        match ty {
            DataType::List(field) => {
                let offsets = self.offsets(rows);
                let values = self.array(field.data_type(), offsets[rows] + 2, field.is_nullable());
                let offsets = offsets.iter().map(|o| *o as i32).collect();
                let offsets = OffsetBuffer::new(offsets);
                Arc::new(ListArray::new(field.clone(), offsets, values, nulls))
            }
            DataType::LargeList(field) => {
                let offsets = self.offsets(rows);
                let values = self.array(field.data_type(), offsets[rows] + 2, field.is_nullable());
                let offsets = offsets.iter().map(|o| *o as i64).collect();
                let offsets = OffsetBuffer::new(offsets);
                Arc::new(LargeListArray::new(field.clone(), offsets, values, nulls))
            }
            DataType::Map(field, _) => {
                let offsets = self.offsets(rows);
                let entries = self.array(field.data_type(), offsets[rows] + 2, false);
                let offsets = offsets.iter().map(|o| *o as i32).collect();
                let offsets = OffsetBuffer::new(offsets);
                let entries = entries.as_struct().clone();
                Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, false))
            }
            DataType::FixedSizeList(field, size) => {
                let length = rows * *size as usize;
                let values = self.array(field.data_type(), length, field.is_nullable());
                let field = field.clone();
                let array =
                    FixedSizeListArray::try_new_with_length(field, *size, values, nulls, rows);
                Arc::new(array.expect("valid"))
            }
            DataType::Struct(fields) => {
                let column = |f: &FieldRef| self.array(f.data_type(), rows, f.is_nullable());
                let columns = fields.iter().map(column).collect();
                let array = StructArray::try_new_with_length(fields.clone(), columns, nulls, rows);
                Arc::new(array.expect("valid"))
            }
            DataType::Dictionary(keys, values) => {
                let count = 1 + self.below(20);
                let values = self.array(values, count, nullable);
                // Where a row is NULL, its key means nothing.
                let numbers: Vec<u8> = (0..rows)
                    .map(|row| match nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                        true => self.below(count) as u8,
                        false => self.below(120) as u8,
                    })
                    .collect();
                macro_rules! dictionary {
                    ($t:ty) => {{
                        type Native = <$t as ArrowPrimitiveType>::Native;
                        let keys = numbers.iter().map(|n| *n as Native).collect();
                        let keys = PrimitiveArray::<$t>::new(keys, nulls);
                        Arc::new(DictionaryArray::<$t>::new(keys, values))
                    }};
                }
                downcast_integer! {
                    keys.as_ref() => (dictionary),
                    other => unreachable!("{other}"),
                }
            }
            other => unreachable!("{other}"),
        }
    }

    /// The same type with other layouts, as the writer makes them on the way.
    pub(super) fn relaid(&mut self, ty: &DataType) -> DataType {
        use DataType::*;
        let field = |r: &mut Self, f: &FieldRef| {
            Arc::new(f.as_ref().clone().with_data_type(r.relaid(f.data_type())))
        };
        match ty {
            Utf8 | LargeUtf8 | Utf8View => {
                let n = self.below(3);
                [Utf8, LargeUtf8, Utf8View][n].clone()
            }
            Binary | LargeBinary | BinaryView => {
                let n = self.below(3);
                [Binary, LargeBinary, BinaryView][n].clone()
            }
            List(f) | LargeList(f) => {
                let f = field(self, f);
                if self.below(2) == 0 {
                    List(f)
                } else {
                    LargeList(f)
                }
            }
            FixedSizeList(f, size) => FixedSizeList(field(self, f), *size),
            Struct(fields) => Struct(fields.iter().map(|f| field(self, f)).collect()),
            Map(f, sorted) => Map(field(self, f), *sorted),
            Dictionary(k, v) => Dictionary(k.clone(), Box::new(self.relaid(v))),
            other => other.clone(),
        }
    }
}
