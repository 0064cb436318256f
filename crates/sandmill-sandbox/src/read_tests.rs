//! Hostile results: memory images that no honest guest would return, against arrow's own opinion.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use proptest::prelude::*;

use crate::error::Error;
use crate::parse_format;
use crate::read::{Promise, read};

const OUT: usize = 64;

/// Guest memory of 4 KiB with a result struct at `OUT` and its buffer pointers at 128.
#[derive(Debug, Clone)]
struct Image {
    length: i64,
    null_count: i64,
    offset: i64,
    buffers: Vec<u32>,
    memory: Vec<u8>,
}

impl Image {
    fn new(buffers: &[(u32, &[u8])], length: i64) -> Self {
        let mut memory = vec![0; 4096];
        for (at, bytes) in buffers {
            memory[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
        }
        let buffers = buffers
            .iter()
            .map(|(at, bytes)| if bytes.is_empty() { 0 } else { *at });
        Self {
            length,
            null_count: -1,
            offset: 0,
            buffers: buffers.collect(),
            memory,
        }
    }

    fn memory(&self) -> Vec<u8> {
        let mut memory = self.memory.clone();
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        put(OUT, &self.length.to_le_bytes());
        put(OUT + 8, &self.null_count.to_le_bytes());
        put(OUT + 16, &self.offset.to_le_bytes());
        put(OUT + 24, &(self.buffers.len() as i64).to_le_bytes());
        put(OUT + 40, &128u32.to_le_bytes());
        for (n, pointer) in self.buffers.iter().enumerate() {
            put(128 + n * 4, &pointer.to_le_bytes());
        }
        memory
    }

    fn read(&self, returns: &DataType, rows: usize) -> Result<ArrayRef, Error> {
        read(
            &self.memory(),
            OUT as u32,
            Promise {
                returns,
                rows,
                nullable: true,
                input: None,
            },
        )
    }
}

fn text(offsets: &[i32], bytes: &[u8]) -> Image {
    let offsets: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
    Image::new(&[(0, b""), (256, &offsets), (1024, bytes)], 2)
}

#[test]
fn every_flaw_of_a_text_column_is_named() {
    let utf8 = DataType::Utf8;
    assert!(text(&[0, 1, 3], "aü".as_bytes()).read(&utf8, 2).is_ok());
    assert!(text(&[1, 1, 3], b"xab").read(&utf8, 2).is_ok());
    let good = text(&[0, 1, 2], b"ab");
    let cases = [
        (text(&[0, 2, 1], b"ab"), "fall"),
        (text(&[-1, 1, 2], b"ab"), "negative"),
        (text(&[0, 1, i32::MAX], b"ab"), "outside"),
        (text(&[0, 1, 2], &[b'a', 0xff]), "not UTF-8"),
        (text(&[0, 1, 2], "ü".as_bytes()), "inside of a character"),
        (text(&[1, 1, 2], "ü".as_bytes()), "UTF-8"),
        (
            Image {
                length: 3,
                ..good.clone()
            },
            "3 rows",
        ),
        (
            Image {
                length: -1,
                ..good.clone()
            },
            "-1 rows",
        ),
        (
            Image {
                offset: -1,
                ..good.clone()
            },
            "offset is -1",
        ),
        (
            Image {
                offset: i64::MAX,
                ..good.clone()
            },
            "offset is",
        ),
        (
            Image {
                offset: 2000,
                ..good.clone()
            },
            "outside",
        ),
        (
            Image {
                null_count: 1,
                ..good.clone()
            },
            "no validity",
        ),
        (
            Image {
                null_count: 9,
                ..good.clone()
            },
            "null count",
        ),
        (
            Image {
                buffers: vec![0, 256],
                ..good.clone()
            },
            "2 buffers",
        ),
        (
            Image {
                buffers: vec![0, 0, 1024],
                ..good.clone()
            },
            "offsets are missing",
        ),
        (
            Image {
                buffers: vec![0, 256, 0],
                ..good.clone()
            },
            "bytes are missing",
        ),
        (
            Image {
                buffers: vec![0, u32::MAX, 1024],
                ..good.clone()
            },
            "outside",
        ),
        (
            Image {
                buffers: vec![0, 256, u32::MAX],
                ..good.clone()
            },
            "outside",
        ),
        (
            Image {
                buffers: vec![4096, 256, 1024],
                ..good.clone()
            },
            "outside",
        ),
    ];
    for (image, expected) in cases {
        let error = image.read(&utf8, 2).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    for out in [4096 - 63, u32::MAX] {
        let promise = Promise {
            returns: &utf8,
            rows: 2,
            nullable: true,
            input: None,
        };
        assert!(read(&good.memory(), out, promise).is_err());
    }
}

#[test]
fn promises_are_kept() {
    let decimal = parse_format("d:3,1").expect("known");
    let image = |value: i128| Image::new(&[(0, b""), (256, &value.to_le_bytes())], 1);
    assert!(image(999).read(&decimal, 1).is_ok());
    assert!(image(1000).read(&decimal, 1).is_err());
    let image = Image::new(&[(200, &[0b01]), (256, &[7; 16])], 2);
    let promise = Promise {
        returns: &DataType::Int64,
        rows: 2,
        nullable: false,
        input: None,
    };
    let error = read(&image.memory(), OUT as u32, promise)
        .expect_err("null")
        .to_string();
    assert!(error.contains("promises a value"), "{error}");
}

fn formats() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "b", "c", "S", "i", "L", "f", "g", "u", "z", "tdD", "tsm:UTC", "d:6,2",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever lies in memory: what we accept, arrow finds fully valid, and the same values.
    #[test]
    fn accepted_arrays_are_valid(
        format in formats(),
        rows in 0usize..40,
        offset in prop_oneof![Just(0i64), 0i64..64, any::<i64>()],
        null_count in prop_oneof![Just(-1i64), Just(0), -3i64..50],
        validity in prop_oneof![Just(0u32), 0u32..4200],
        first in prop_oneof![Just(512u32), 0u32..4200],
        second in prop_oneof![Just(1024u32), 0u32..4200],
        steps in prop::collection::vec(prop_oneof![9 => 0i32..8, 1 => -2i32..2000], 110),
        bytes in prop_oneof![
            3 => prop::collection::vec(0x20u8..0x7f, 600),
            1 => prop::collection::vec(prop::sample::select("aé€🌍".as_bytes().to_vec()), 600),
        ],
    ) {
        let ty = parse_format(format).expect("known");
        let mut image = Image::new(&[(1024, &bytes)], rows as i64);
        if matches!(ty, DataType::Utf8 | DataType::Binary) {
            let mut at = 0i32;
            for (n, step) in steps.iter().enumerate() {
                image.memory[512 + n * 4..][..4].copy_from_slice(&at.to_le_bytes());
                at = at.saturating_add(*step);
            }
            image.buffers = vec![validity, first, second];
        } else {
            image.buffers = vec![validity, first];
        }
        image.null_count = null_count;
        image.offset = offset;
        let memory = image.memory();
        match image.read(&ty, rows) {
            Ok(array) => {
                array.to_data().validate_full().expect("what is accepted is valid");
                let reference = arrow_opinion(&image, &memory, &ty, rows);
                // Arrow looks at all bytes behind a text column, up to the end of memory.
                let lenient = matches!(ty, DataType::Utf8 | DataType::Binary);
                prop_assert!(reference.is_some() || lenient);
                if let Some(reference) = reference {
                    prop_assert_eq!(&make_array(reference), &array);
                }
            }
            Err(Error::Output(_)) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// Texts within bounds: we refuse exactly what arrow refuses.
    #[test]
    fn texts_are_judged_as_arrow_does(
        rows in 1usize..20,
        steps in prop::collection::vec(prop_oneof![20 => 0i32..4, 1 => -3i32..0], 20),
        characters in prop::collection::vec(prop::sample::select(vec!["a", "é", "€", "🌍"]), 60),
        broken in prop_oneof![4 => Just(None), 1 => (0usize..60).prop_map(Some)],
    ) {
        let mut bytes = characters.concat().into_bytes();
        if let Some(at) = broken {
            bytes[at] = 0xff;
        }
        let offsets: Vec<i32> = steps[..rows + 1].iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
        let raw: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
        let mut image = Image::new(&[(0, b""), (256, &raw), (1024, &bytes)], rows as i64);
        image.null_count = -1;
        let (first, last) = (offsets[0], offsets[rows]);
        // What follows the last offset is not part of the array.
        let cut = first.max(0) as usize..last.max(0) as usize;
        let values = bytes.get(cut).unwrap_or_default();
        let rebased: Vec<i32> = offsets.iter().map(|o| o - first).collect();
        let data = ArrayData::builder(DataType::Utf8)
            .len(rows)
            .add_buffer(Buffer::from_vec(rebased))
            .add_buffer(Buffer::from_slice_ref(values));
        let theirs = first >= 0 && data.build().is_ok_and(|data| data.validate_full().is_ok());
        prop_assert_eq!(image.read(&DataType::Utf8, rows).is_ok(), theirs);
    }
}

/// The same image, read by arrow with all its checks; `None` when arrow refuses it.
fn arrow_opinion(image: &Image, memory: &[u8], ty: &DataType, rows: usize) -> Option<ArrayData> {
    let from = |pointer: u32| memory.get(pointer as usize..).map(Buffer::from_slice_ref);
    let nulls = match image.buffers[0] {
        0 => None,
        pointer => Some(from(pointer)?),
    };
    let mut builder = ArrayData::builder(ty.clone())
        .len(rows)
        .offset(usize::try_from(image.offset).ok()?)
        .null_bit_buffer(nulls);
    for (n, pointer) in image.buffers[1..].iter().enumerate() {
        // Arrow wants whole elements.
        let width = if n == 1 {
            1
        } else {
            ty.primitive_width().unwrap_or(4)
        };
        let bytes = memory.get(*pointer as usize..)?;
        builder = builder.add_buffer(Buffer::from_slice_ref(
            &bytes[..bytes.len() / width * width],
        ));
    }
    let data = builder.align_buffers(true).build().ok()?;
    data.validate_full().ok()?;
    Some(data)
}
