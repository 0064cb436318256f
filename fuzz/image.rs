//! Draws the memory of a guest that returned an array: mostly what an honest one would write, so that
//! all checks are reached, with lies wherever the input says so.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use sandmill_sandbox::parse_format;

const FLAT: &[&str] = &[
    "n", "b", "c", "S", "i", "L", "e", "f", "g", "u", "U", "vu", "z", "Z", "vz", "tdD", "tdm",
    "tts", "ttn", "tDu", "tiM", "tiD", "tin", "tsm:UTC", "w:3", "d:6,2", "d:40,2,256",
];

/// The input, byte by byte; zeros behind its end.
pub struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> u8 {
        match self.bytes {
            [first, rest @ ..] => {
                self.bytes = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn word(&mut self) -> i64 {
        let mut bytes = [0; 8];
        bytes.fill_with(|| self.byte());
        i64::from_le_bytes(bytes)
    }

    /// `honest`, but for one time in 16 anything near it or anywhere.
    fn mostly(&mut self, honest: i64) -> i64 {
        match self.byte() {
            0xf0..=0xf7 => honest + self.below(16) as i64 - 8,
            0xf8..=0xfb => [0, -1, i64::MAX, i64::MIN, 1 << 31, 1 << 32, 64, 4096][self.below(8)],
            0xfc..=0xff => self.word(),
            _ => honest,
        }
    }
}

/// A type of the ABI.
pub fn any_type(source: &mut Source<'_>, depth: usize) -> DataType {
    let field = |source: &mut Source<'_>, name: &str| {
        let ty = any_type(source, depth + 1);
        Arc::new(Field::new(name, ty, source.below(2) == 0))
    };
    if depth < 3 && source.below(3) == 0 {
        return match source.below(6) {
            0 => DataType::List(field(source, "item")),
            1 => DataType::LargeList(field(source, "item")),
            2 => DataType::FixedSizeList(field(source, "item"), 1 + source.below(3) as i32),
            3 => DataType::Struct(Fields::from(vec![field(source, "a"), field(source, "b")])),
            4 => {
                let key = Field::new("key", DataType::Int32, false);
                let entries = vec![Arc::new(key), field(source, "value")];
                let entries = Field::new("entries", DataType::Struct(entries.into()), false);
                DataType::Map(Arc::new(entries), false)
            }
            _ => {
                let keys = parse_format(["c", "C", "s", "I", "l"][source.below(5)]);
                let values = any_flat(source);
                DataType::Dictionary(Box::new(keys.unwrap_or(DataType::Int8)), Box::new(values))
            }
        };
    }
    any_flat(source)
}

fn any_flat(source: &mut Source<'_>) -> DataType {
    let format = FLAT[source.below(FLAT.len())];
    parse_format(format).unwrap_or(DataType::Null)
}

/// Memory with an array of this type and length, and where its struct lies.
pub fn draw(source: &mut Source<'_>, ty: &DataType, rows: usize) -> (Vec<u8>, u32) {
    let mut memory = vec![0; 64];
    let out = array(source, &mut memory, ty, rows);
    // Sometimes the end is missing.
    if source.below(16) == 15 {
        let cut = source.below(200).min(memory.len());
        memory.truncate(memory.len() - cut);
    }
    (memory, out)
}

fn put(memory: &mut Vec<u8>, bytes: &[u8]) -> u32 {
    let at = memory.len().next_multiple_of(8);
    memory.resize(at, 0);
    memory.extend_from_slice(bytes);
    at as u32
}

fn pointer(source: &mut Source<'_>, honest: u32) -> u32 {
    source.mostly(honest.into()) as u32
}

fn array(source: &mut Source<'_>, memory: &mut Vec<u8>, ty: &DataType, rows: usize) -> u32 {
    let skip = match source.below(4) {
        3 => source.below(20),
        _ => 0,
    };
    let total = rows + skip;
    let bits = |source: &mut Source<'_>, memory: &mut Vec<u8>| {
        let bytes: Vec<u8> = (0..total.div_ceil(8)).map(|_| source.byte()).collect();
        put(memory, &bytes)
    };
    let random = |source: &mut Source<'_>, memory: &mut Vec<u8>, width: usize| {
        // Small numbers, so that decimals and keys often fit.
        let small = source.below(2) == 0;
        let bytes: Vec<u8> = (0..total * width)
            .map(|n| match small && n % width > 0 {
                true => 0,
                false => source.byte() & if small { 3 } else { 255 },
            })
            .collect();
        put(memory, &bytes)
    };
    let validity = match source.below(3) {
        0 => bits(source, memory),
        _ => 0,
    };
    let mut buffers = vec![validity];
    let mut children = Vec::new();
    let mut dictionary = 0;
    match ty {
        DataType::Null => buffers.clear(),
        DataType::Boolean => buffers.push(bits(source, memory)),
        DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
            let wide = matches!(ty, DataType::LargeUtf8 | DataType::LargeBinary);
            let (offsets, last) = offsets(source, memory, total, wide);
            buffers.push(offsets);
            buffers.push(text(source, memory, last));
        }
        DataType::Utf8View | DataType::BinaryView => {
            let (views, data, length) = views(source, memory, total);
            let lengths = put(memory, &length.to_le_bytes());
            buffers.extend([views, data, lengths]);
        }
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            let wide = matches!(ty, DataType::LargeList(_));
            let (offsets, last) = offsets(source, memory, total, wide);
            buffers.push(offsets);
            children.push(array(source, memory, field.data_type(), last));
        }
        DataType::FixedSizeList(field, size) => {
            let inside = total * *size as usize;
            children.push(array(source, memory, field.data_type(), inside));
        }
        DataType::Struct(fields) => {
            for field in fields {
                children.push(array(source, memory, field.data_type(), total));
            }
        }
        DataType::Dictionary(keys, values) => {
            buffers.push(random(source, memory, keys.primitive_width().unwrap_or(1)));
            let values_count = 1 + source.below(6);
            dictionary = array(source, memory, values, values_count);
        }
        DataType::FixedSizeBinary(width) => buffers.push(random(source, memory, *width as usize)),
        other => buffers.push(random(source, memory, other.primitive_width().unwrap_or(1))),
    }
    let list = |source: &mut Source<'_>, memory: &mut Vec<u8>, pointers: &[u32]| {
        let bytes: Vec<u8> = pointers
            .iter()
            .flat_map(|at| pointer(source, *at).to_le_bytes())
            .collect();
        let at = put(memory, &bytes);
        pointer(source, at)
    };
    let buffers_at = list(source, memory, &buffers);
    let children_at = list(source, memory, &children);
    let mut bytes = Vec::with_capacity(64);
    for honest in [rows as i64, -1, skip as i64, buffers.len() as i64, children.len() as i64] {
        bytes.extend(source.mostly(honest).to_le_bytes());
    }
    for honest in [buffers_at, children_at, dictionary, 0, 0] {
        bytes.extend(pointer(source, honest).to_le_bytes());
    }
    bytes.resize(64, 0);
    put(memory, &bytes)
}

/// Offsets of so many elements, and the last one.
fn offsets(source: &mut Source<'_>, memory: &mut Vec<u8>, count: usize, wide: bool) -> (u32, usize) {
    let mut at = source.below(4) as i64;
    let mut bytes = Vec::new();
    for n in 0..=count {
        if n > 0 {
            at += source.below(4) as i64;
        }
        let written = source.mostly(at);
        match wide {
            true => bytes.extend(written.to_le_bytes()),
            false => bytes.extend((written as i32).to_le_bytes()),
        }
    }
    (put(memory, &bytes), at as usize)
}

/// Bytes that are mostly UTF-8.
fn text(source: &mut Source<'_>, memory: &mut Vec<u8>, length: usize) -> u32 {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match source.byte() {
            0xf8..=0xff => bytes.push(source.byte()),
            0xe0..=0xf7 => bytes.extend("ü€🌍".as_bytes()),
            other => bytes.push(other & 0x7f),
        }
    }
    bytes.truncate(length);
    put(memory, &bytes)
}

/// Views, the buffer that the long ones point into, and its length.
fn views(source: &mut Source<'_>, memory: &mut Vec<u8>, count: usize) -> (u32, u32, i64) {
    let data_length = 64;
    let data = text(source, memory, data_length);
    let mut bytes = Vec::new();
    for _ in 0..count {
        if source.below(2) == 0 {
            let length = source.below(13);
            bytes.extend((source.mostly(length as i64) as i32).to_le_bytes());
            let at = bytes.len() + 12;
            bytes.extend((0..length).map(|_| source.byte() & 0x7f));
            bytes.resize(at, 0);
            continue;
        }
        let length = 13 + source.below(20);
        let start = source.below(data_length - length);
        let first = data as usize + start;
        let prefix: Vec<u8> = memory[first..first + 4].to_vec();
        bytes.extend((source.mostly(length as i64) as i32).to_le_bytes());
        bytes.extend(prefix);
        bytes.extend((source.mostly(0) as i32).to_le_bytes());
        bytes.extend((source.mostly(start as i64) as i32).to_le_bytes());
    }
    let views = put(memory, &bytes);
    let length = source.mostly(data_length as i64);
    (views, data, length)
}
