//! Arrays of every type cross both ways; what is broken on the way is refused.

mod random;

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use crate::error::Error;
use crate::read::{Budget, Promise, read, read_within};
use crate::types::format_of;
use crate::write::{Plan, Source};
use random::Random;

/// Where the arena begins.
const BASE: usize = 192;

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
    #![proptest_config(ProptestConfig::with_cases(2000))]

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
        flips in prop::collection::vec((any::<u32>(), 0u8..12, any::<bool>()), 1..4),
        nullable in any::<bool>(),
        masked in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let ty = random.ty(depth);
        let length = random.below(13);
        let array = random.array(&ty, length, nullable);
        let mut memory = written(&array, &ty, false);
        for (at, bit, anywhere) in flips {
            // The first bytes of structs and pointers are where it hurts.
            let end = if anywhere { memory.len() - BASE } else { 640.min(memory.len() - BASE) };
            let at = BASE + at as usize % end;
            if bit < 8 {
                memory[at] ^= 1 << bit;
            } else {
                // Pointers, counts and offsets in each other's places.
                let from = BASE + random.below(end - 4) / 4 * 4;
                let to = at.min(memory.len() - 4) / 4 * 4;
                memory.copy_within(from..from + 4, to);
            }
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
        vec![7_u8; 1 << 16].into(),
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
    within((60 << 16) | 64).expect("just enough");
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

#[test]
fn long_values_of_a_dictionary_count_for_each_row() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000), String::new()]));
    let lists = OffsetBuffer::from_lengths([1, 0, 1]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let lists: ArrayRef = Arc::new(ListArray::new(item, lists, Arc::clone(&text), None));
    for values in [text, lists] {
        let codes = |key: i16| {
            let keys = Int16Array::from_iter((0..1000).map(|row| (row > 0).then_some(key)));
            DictionaryArray::new(keys, Arc::clone(&values))
        };
        let within = |key: i16, bytes: usize| {
            let array = codes(key);
            let memory = written(&array, array.data_type(), false);
            let promise = promise(array.data_type(), 1000);
            read_within(&memory, BASE as u32, promise, &mut Budget::of(bytes)).map(|_| ())
        };
        // The same bytes cross; what counts is which value the rows point to.
        within(1, 10_000).expect("short");
        let error = within(0, 990_000).expect_err("long").to_string();
        assert!(error.contains("more bytes than"), "{error}");
        within(0, 1_010_000).expect("long, and allowed");
    }
}

#[test]
fn results_of_a_call_share_what_they_may_have() {
    let array = Int64Array::from_iter_values(0..1000);
    let memory = written(&array, &DataType::Int64, false);
    let mut budget = Budget::of(12_000);
    let mut again = || {
        let promise = promise(&DataType::Int64, 1000);
        read_within(&memory, BASE as u32, promise, &mut budget)
    };
    again().expect("the first column");
    assert!(again().is_err());
}

#[test]
fn masks_of_wide_lists_count() {
    // Lists of lists of nothing: a few bytes that say they have millions of elements.
    let list = |ty: DataType| DataType::FixedSizeList(Arc::new(Field::new("item", ty, true)), 1024);
    let ty = list(list(DataType::Boolean));
    let array = arrow::array::new_null_array(&ty, 2);
    let memory = written(&array, &ty, false);
    let within = |bytes: usize| {
        read_within(
            &memory,
            BASE as u32,
            promise(&ty, 2),
            &mut Budget::of(bytes),
        )
    };
    assert!(within(1 << 20).is_err());
    assert_eq!(within(4 << 20).expect("enough").null_count(), 2);
}
