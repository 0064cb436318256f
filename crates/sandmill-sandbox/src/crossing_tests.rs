//! Arrays of every type cross both ways; what is broken on the way is refused.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use crate::error::Error;
use crate::read::{Budget, Promise, read, read_within};
use crate::types::{format_of, parse_format};
use crate::write::{Plan, Source};

/// Where the arena begins.
const BASE: usize = 192;

/// Numbers that follow from a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
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

    fn ty(&mut self, depth: usize) -> DataType {
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

    fn array(&mut self, ty: &DataType, rows: usize, nullable: bool) -> ArrayRef {
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
            _ => self.nested(ty, rows, nulls),
        }
    }

    fn nested(&mut self, ty: &DataType, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
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
                let values = self.array(values, count, true);
                let numbers = (0..rows).map(|row| {
                    let valid = nulls.as_ref().is_none_or(|n| n.is_valid(row));
                    valid.then(|| self.below(count) as i8)
                });
                let numbers: Int8Array = numbers.collect();
                let keys = arrow::compute::cast(&numbers, keys).expect("small");
                let keys: &dyn Array = &keys;
                macro_rules! dictionary {
                    ($t:ty) => {
                        Arc::new(DictionaryArray::<$t>::new(
                            keys.as_primitive().clone(),
                            values,
                        ))
                    };
                }
                downcast_integer! {
                    keys.data_type() => (dictionary),
                    other => unreachable!("{other}"),
                }
            }
            other => unreachable!("{other}"),
        }
    }

    /// The same type with other layouts, as the writer makes them on the way.
    fn relaid(&mut self, ty: &DataType) -> DataType {
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

/// Guest memory with one array as an argument, which the guest might return as it is.
fn written(array: &dyn Array, ty: &DataType, open: bool) -> Vec<u8> {
    let mut source = Source::new(array, ty).unwrap_or_else(|e| unreachable!("{ty}: {e}"));
    if open {
        source = source.with_schema("x", ty);
    }
    let sources = [source];
    let plan = Plan::new(&sources, 1, &[]);
    // Nothing may rest on what lies there.
    let mut memory = vec![0xa5; BASE + plan.size];
    plan.write(&sources, &mut memory[BASE..], BASE as u32, 7);
    memory
}

fn promise(ty: &DataType, rows: usize) -> Promise<'_> {
    Promise {
        returns: ty,
        rows,
        nullable: true,
        input: None,
    }
}

fn rows(array: &dyn Array) -> Vec<String> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_display_error(true);
    let formatter = ArrayFormatter::try_new(array, &options).expect("printable");
    (0..array.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

fn word(memory: &[u8], at: usize) -> usize {
    u32::from_le_bytes(memory[at..at + 4].try_into().expect("four")) as usize
}

fn text_at(memory: &[u8], at: usize) -> &str {
    let end = memory[at..].iter().position(|b| *b == 0).expect("ends");
    std::str::from_utf8(&memory[at..at + end]).expect("UTF-8")
}

/// Holds the schema at `at` against a type.
fn check_schema(memory: &[u8], at: usize, name: &str, ty: &DataType, nullable: bool) {
    assert_eq!(at % 8, 0);
    assert_eq!(text_at(memory, word(memory, at)), format_of(ty));
    assert_eq!(text_at(memory, word(memory, at + 4)), name);
    assert_eq!(word(memory, at + 16), if nullable { 2 } else { 0 });
    assert_eq!(word(memory, at + 40), 7);
    let fields: Vec<&FieldRef> = match ty {
        DataType::List(f) | DataType::LargeList(f) | DataType::Map(f, _) => vec![f],
        DataType::FixedSizeList(f, _) => vec![f],
        DataType::Struct(fields) => fields.iter().collect(),
        _ => vec![],
    };
    assert_eq!(word(memory, at + 24), fields.len());
    for (n, field) in fields.into_iter().enumerate() {
        let child = word(memory, word(memory, at + 32) + n * 4);
        check_schema(
            memory,
            child,
            field.name(),
            field.data_type(),
            field.is_nullable(),
        );
    }
    match ty {
        DataType::Dictionary(_, v) => check_schema(memory, word(memory, at + 36), "", v, true),
        _ => assert_eq!(word(memory, at + 36), 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// What is written and read back is the same, whatever part of a larger array it is.
    #[test]
    fn arrays_of_all_types_come_back(seed in any::<u64>(), depth in 0usize..4) {
        let mut random = Random(seed);
        let ty = random.ty(depth);
        let length = random.below(30);
        let all = random.array(&ty, length, true);
        let start = random.below(length + 1);
        let part = all.slice(start, random.below(length - start + 1));
        let memory = written(&part, &ty, true);
        let found = read(&memory, BASE as u32, promise(&ty, part.len())).expect("honest");
        prop_assert_eq!(&found, &part, "{}", ty);
        prop_assert_eq!(found.data_type(), &ty);
        found.to_data().validate_full().expect("valid");
        check_schema(&memory, word(&memory, BASE + 56), "x", &ty, true);

        let relaid = random.relaid(&ty);
        let memory = written(&part, &relaid, false);
        let found = read(&memory, BASE as u32, promise(&relaid, part.len())).expect("honest");
        prop_assert_eq!(rows(&found), rows(&part), "{} from {}", relaid, ty);
        prop_assert_eq!(found.data_type(), &relaid);
    }

    /// Bits that flip anywhere give the same rows, other valid ones, or an error.
    #[test]
    fn broken_arrays_never_get_through(
        seed in any::<u64>(),
        depth in 0usize..4,
        flips in prop::collection::vec((any::<u32>(), 0u8..8, any::<bool>()), 1..4),
        nullable in any::<bool>(),
        masked in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let ty = random.ty(depth);
        let length = 1 + random.below(12);
        let array = random.array(&ty, length, nullable);
        let mut memory = written(&array, &ty, false);
        for (at, bit, anywhere) in flips {
            // The first bytes of structs and pointers are where it hurts.
            let end = if anywhere { memory.len() - BASE } else { 640.min(memory.len() - BASE) };
            memory[BASE + at as usize % end] ^= 1 << bit;
        }
        let input = masked.then(|| (0..length).map(|row| row % 3 > 0).collect::<NullBuffer>());
        let promise = Promise { returns: &ty, rows: length, nullable, input };
        let mut budget = Budget::of(1 << 22);
        match read_within(&memory, BASE as u32, promise, &mut budget) {
            Ok(found) => {
                found.to_data().validate_full().expect("what is accepted is valid");
                prop_assert_eq!((found.len(), found.data_type()), (length, &ty));
                rows(&found);
            }
            Err(Error::Output(_)) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

fn structs(fields: &[(&str, DataType, bool)]) -> DataType {
    let field =
        |(name, ty, nullable): &(&str, DataType, bool)| Field::new(*name, ty.clone(), *nullable);
    DataType::Struct(fields.iter().map(field).collect())
}

/// Reads memory that `change` has changed; gives the error.
fn refusal(array: &dyn Array, change: impl FnOnce(&mut [u8])) -> String {
    let ty = array.data_type();
    let mut memory = written(array, ty, false);
    change(&mut memory);
    let result = read(&memory, BASE as u32, promise(ty, array.len()));
    result.expect_err("must be refused").to_string()
}

fn put(memory: &mut [u8], at: usize, value: i64) {
    memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn every_flaw_of_a_nested_array_is_named() {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    let child = |memory: &[u8]| word(memory, word(memory, BASE + 44));
    let error = refusal(&list, |m| put(m, child(m), 1));
    assert!(error.contains("2 are needed"), "{error}");
    let error = refusal(&list, |m| put(m, child(m), i64::MAX));
    assert!(error.contains("needed"), "{error}");
    let error = refusal(&list, |m| put(m, child(m) + 16, 1 << 40));
    assert!(error.contains("offset is"), "{error}");
    let error = refusal(&list, |m| put(m, BASE + 32, 2));
    assert!(error.contains("2 children, expected 1"), "{error}");
    let error = refusal(&list, |m| put(m, BASE + 44, 0xffff_fff0));
    assert!(error.contains("children's pointers lie outside"), "{error}");
    let error = refusal(&list, |m| put(m, BASE + 48, 64));
    assert!(error.contains("has a dictionary"), "{error}");
    // A list that is its own child.
    let error = refusal(&list, |m| {
        let links = word(m, BASE + 44);
        m[links..links + 4].copy_from_slice(&(BASE as u32).to_le_bytes());
    });
    assert!(error.contains("children, expected 0"), "{error}");

    let codes: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
    let keys = |m: &[u8]| word(m, word(m, BASE + 40) + 4);
    for key in [2, 0x80] {
        let error = refusal(&codes, |m| m[keys(m)] = key);
        assert!(error.contains("dictionary key"), "{error}");
    }
    let error = refusal(&codes, |m| put(m, BASE + 48, 0));
    assert!(error.contains("dictionary is missing"), "{error}");

    let views = StringViewArray::from(vec!["short", "a text of more than twelve bytes"]);
    let first = |m: &[u8]| word(m, word(m, BASE + 40) + 4);
    for (at, value, expected) in [(4, 0xff, "UTF-8"), (15, 1, "padding"), (20, b'x', "prefix")] {
        let error = refusal(&views, |m| m[first(m) + at] = value);
        assert!(
            error.to_lowercase().contains(&expected.to_lowercase()),
            "{error}"
        );
    }
    for at in [16, 24, 28] {
        refusal(&views, |m| m[first(m) + at] = 99);
    }
    let error = refusal(&views, |m| {
        let lengths = word(m, word(m, BASE + 40) + 12);
        put(m, lengths, -1);
    });
    assert!(error.contains("-1 bytes"), "{error}");

    let wide = Decimal256Array::from(vec![i256::from_i128(999)]);
    let wide = wide.with_precision_and_scale(3, 0).expect("fits");
    let error = refusal(&wide, |m| m[first(m) + 1] = 0x10);
    assert!(error.contains("more than 3 digits"), "{error}");
}

#[test]
fn fields_that_promise_values_have_them() {
    let open = structs(&[("a", DataType::Int64, true)]);
    let closed = structs(&[("a", DataType::Int64, false)]);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let of = |nulls: Option<NullBuffer>| {
        let DataType::Struct(fields) = &open else {
            unreachable!()
        };
        StructArray::new(fields.clone(), vec![Arc::clone(&values)], nulls)
    };
    // The struct is NULL where its field is.
    let hidden = of(Some(NullBuffer::from(vec![true, false])));
    let memory = written(&hidden, &open, false);
    let found = read(&memory, BASE as u32, promise(&closed, 2)).expect("kept");
    found.to_data().validate_full().expect("valid");
    assert!(Source::new(&hidden, &closed).is_ok());
    let seen = of(None);
    let memory = written(&seen, &open, false);
    let error = read(&memory, BASE as u32, promise(&closed, 2))
        .expect_err("broken")
        .to_string();
    assert!(error.contains("`a` is NULL"), "{error}");
    let error = Source::new(&seen, &closed).err().map(|e| e.to_string());
    assert!(error.is_some_and(|e| e.contains("`a` is NULL")));
    // A strict argument that is NULL hides it, too.
    let input = Some(NullBuffer::from(vec![true, false]));
    let strict = Promise {
        returns: &closed,
        rows: 2,
        nullable: false,
        input,
    };
    assert!(read(&memory, BASE as u32, strict).is_ok());

    let item = Arc::new(Field::new("item", DataType::Int64, false));
    let closed = DataType::List(item);
    let lists = [Some(vec![Some(1)]), Some(vec![None, Some(2)])];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let memory = written(&lists, lists.data_type(), false);
    let error = read(&memory, BASE as u32, promise(&closed, 2))
        .expect_err("broken")
        .to_string();
    assert!(error.contains("`item` is NULL"), "{error}");
    let input = Some(NullBuffer::from(vec![true, false]));
    let strict = Promise {
        returns: &closed,
        rows: 2,
        nullable: false,
        input,
    };
    let found = read(&memory, BASE as u32, strict).expect("hidden");
    found.to_data().validate_full().expect("valid");
    assert_eq!(rows(&found), ["[1]", "NULL"]);

    // NULL through a dictionary is NULL.
    let values = StringArray::from(vec![Some("a"), None]);
    let codes = DictionaryArray::new(Int8Array::from(vec![0, 1]), Arc::new(values));
    let memory = written(&codes, codes.data_type(), false);
    let whole = Promise {
        nullable: false,
        ..promise(codes.data_type(), 2)
    };
    assert!(read(&memory, BASE as u32, whole).is_err());
}

#[test]
fn many_columns_over_one_buffer_are_too_much() {
    let wide = DataType::FixedSizeBinary(1024);
    let names: Vec<String> = (0..60).map(|n| format!("c{n}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), wide.clone(), true))
        .collect();
    let ty = structs(&fields);
    let column: ArrayRef = Arc::new(FixedSizeBinaryArray::new(
        1024,
        vec![7; 1 << 16].into(),
        None,
    ));
    let DataType::Struct(fields) = &ty else {
        unreachable!()
    };
    let array = StructArray::new(fields.clone(), vec![column; 60], None);
    let mut memory = written(&array, &ty, false);
    // All children are the first one.
    let links = word(&memory, BASE + 44);
    for n in 1..60 {
        memory.copy_within(links..links + 4, links + n * 4);
    }
    let within = |bytes: usize| {
        let mut budget = Budget::of(bytes);
        read_within(&memory, BASE as u32, promise(&ty, 64), &mut budget)
    };
    assert!(within(60 << 16 | 64).is_ok());
    let error = within(59 << 16).expect_err("too much").to_string();
    assert!(
        error.contains("more bytes than a result may have"),
        "{error}"
    );

    // A million views of one text, and a list of more NULLs than anybody can write.
    let text = "x".repeat(1 << 16);
    let views = StringViewArray::from_iter_values(std::iter::repeat_n(text.as_str(), 2));
    let memory = written(&views, &DataType::Utf8View, false);
    let mut budget = Budget::of(1 << 16);
    assert!(
        read_within(
            &memory,
            BASE as u32,
            promise(&DataType::Utf8View, 2),
            &mut budget
        )
        .is_err()
    );
    let nulls: ArrayRef = Arc::new(NullArray::new(1 << 20));
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([1 << 20]), nulls, None);
    let memory = written(&list, list.data_type(), false);
    let mut budget = Budget::of(1 << 16);
    assert!(
        read_within(
            &memory,
            BASE as u32,
            promise(list.data_type(), 1),
            &mut budget
        )
        .is_err()
    );
}
