//! Puts rows of arrays of one type together, whatever that type is.

use super::nested::child;
use super::schema::{Schema, start};
use super::stores::is_null;
use crate::abi::{self, ArrowArray};
use crate::host::fail;

/// A row of an array; no array stands for NULL.
#[derive(Clone, Copy)]
pub struct Pick {
    array: *const ArrowArray,
    row: usize,
}

impl Pick {
    pub const NULL: Self = Self {
        array: core::ptr::null(),
        row: 0,
    };

    /// A row, or NULL where it is.
    pub fn of(array: &ArrowArray, row: usize) -> Self {
        if is_null(array, row) {
            Self::NULL
        } else {
            Self { array, row }
        }
    }

    fn get(&self) -> Option<(&ArrowArray, usize)> {
        // SAFETY: a pick lives no longer than the call that passed its array.
        unsafe { self.array.as_ref() }.map(|array| (array, self.row))
    }
}

/// A column that was put together.
#[derive(Default)]
pub struct Gathered {
    rows: usize,
    nulls: usize,
    buffers: Vec<Vec<u8>>,
    children: Vec<Gathered>,
    dictionary: u32,
    pointers: Vec<u32>,
    arrays: Vec<ArrowArray>,
    addresses: Vec<u32>,
}

impl Gathered {
    /// Points `out` at it.
    pub fn finish(&mut self, out: &mut ArrowArray) {
        let pointer = |buffer: &Vec<u8>| buffer.as_ptr() as u32;
        self.pointers = self.buffers.iter().map(pointer).collect();
        if let (Some(validity), 0) = (self.pointers.first_mut(), self.nulls) {
            *validity = 0;
        }
        self.arrays.clear();
        for child in &mut self.children {
            // SAFETY: it has only numbers.
            let mut array = unsafe { core::mem::zeroed() };
            child.finish(&mut array);
            self.arrays.push(array);
        }
        let address = |array: &ArrowArray| core::ptr::from_ref(array) as u32;
        self.addresses = self.arrays.iter().map(address).collect();
        out.length = self.rows as i64;
        out.null_count = self.nulls as i64;
        out.n_buffers = self.buffers.len() as i64;
        out.buffers = self.pointers.as_ptr() as u32;
        out.n_children = self.children.len() as i64;
        out.children = if self.children.is_empty() {
            0
        } else {
            self.addresses.as_ptr() as u32
        };
        out.dictionary = self.dictionary;
    }
}

fn set(bits: &mut [u8], row: usize) {
    if let Some(byte) = bits.get_mut(row / 8) {
        *byte |= 1 << (row % 8);
    }
}

/// Puts rows together.
pub fn gather(schema: Schema, picks: &[Pick]) -> Gathered {
    let mut column = Gathered {
        rows: picks.len(),
        ..Gathered::default()
    };
    let format = schema.format();
    if format == "n" {
        column.nulls = picks.len();
        return column;
    }
    let mut validity = vec![0; picks.len().div_ceil(8)];
    for (row, pick) in picks.iter().enumerate() {
        match pick.get() {
            Some(_) => set(&mut validity, row),
            None => column.nulls += 1,
        }
    }
    column.buffers.push(validity);
    match format {
        "b" => {
            let mut bits = vec![0; picks.len().div_ceil(8)];
            for (row, pick) in picks.iter().enumerate() {
                if let Some((array, at)) = pick.get() {
                    // SAFETY: the host lays out a bit for each row.
                    let byte = unsafe { *(start(array, 1) as *const u8).add(at / 8) };
                    if byte >> (at % 8) & 1 == 1 {
                        set(&mut bits, row);
                    }
                }
            }
            column.buffers.push(bits);
        }
        "u" | "z" => texts::<i32>(&mut column, picks),
        "U" | "Z" => texts::<i64>(&mut column, picks),
        "vu" | "vz" => views(&mut column, picks),
        "+l" | "+m" => lists::<i32>(&mut column, schema, picks),
        "+L" => lists::<i64>(&mut column, schema, picks),
        "+s" => {
            for n in 0..schema.children() {
                let inside = picks.iter().map(|pick| match pick.get() {
                    Some((array, row)) => Pick::of(child(array, n), row),
                    None => Pick::NULL,
                });
                let inside: Vec<_> = inside.collect();
                column.children.push(gather(schema.child(n), &inside));
            }
        }
        sized if sized.starts_with("+w:") => {
            let size = sized.get(3..).and_then(|n| n.parse().ok()).unwrap_or(0);
            let mut inside = Vec::with_capacity(picks.len() * size);
            for pick in picks {
                match pick.get() {
                    Some((array, row)) => inside.extend(
                        (row * size..(row + 1) * size).map(|at| Pick::of(child(array, 0), at)),
                    ),
                    None => inside.extend((0..size).map(|_| Pick::NULL)),
                }
            }
            column.children.push(gather(schema.child(0), &inside));
        }
        other => fixed(&mut column, schema, width(other), picks),
    }
    column
}

/// Bytes of a value.
fn width(format: &str) -> usize {
    match format.as_bytes() {
        [b'c' | b'C'] => 1,
        [b's' | b'S' | b'e'] => 2,
        [b'i' | b'I' | b'f'] | b"tdD" | b"tts" | b"ttm" | b"tiM" => 4,
        b"tin" => 16,
        [b'l' | b'L' | b'g'] | [b't', ..] => 8,
        [b'd', ..] if format.ends_with(",256") => 32,
        [b'd', ..] => 16,
        [b'w', b':', ..] => format.get(2..).and_then(|n| n.parse().ok()).unwrap_or(0),
        _ => fail(
            abi::BAD_INPUT,
            -1,
            "rows of this type cannot be put together",
        ),
    }
}

fn fixed(column: &mut Gathered, schema: Schema, width: usize, picks: &[Pick]) {
    let mut bytes = Vec::with_capacity(picks.len() * width);
    for pick in picks {
        match pick.get() {
            Some((array, row)) => {
                let first = start(array, 1) + row * width;
                // SAFETY: the host lays out a value for each row.
                let value = unsafe { core::slice::from_raw_parts(first as *const u8, width) };
                bytes.extend_from_slice(value);
                if schema.is_dictionary() {
                    if column.dictionary != 0 && column.dictionary != array.dictionary {
                        let message = "values of two dictionaries cannot be put together";
                        fail(abi::BAD_INPUT, -1, message);
                    }
                    column.dictionary = array.dictionary;
                }
            }
            None => bytes.resize(bytes.len() + width, 0),
        }
    }
    column.buffers.push(bytes);
}

/// Offsets of 32 or 64 bits.
trait Width: Copy {
    fn index(self) -> usize;
    fn write(at: usize, to: &mut Vec<u8>);
}

impl Width for i32 {
    fn index(self) -> usize {
        self as usize
    }
    fn write(at: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(&(at as i32).to_le_bytes());
    }
}

impl Width for i64 {
    fn index(self) -> usize {
        self as usize
    }
    fn write(at: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(&i64_bytes(at));
    }
}

fn i64_bytes(at: usize) -> [u8; 8] {
    (at as i64).to_le_bytes()
}

fn ends<O: Width>(array: &ArrowArray, row: usize) -> (usize, usize) {
    let offsets = start(array, 1) as *const O;
    // SAFETY: the host lays out one offset more than rows.
    unsafe { ((*offsets.add(row)).index(), (*offsets.add(row + 1)).index()) }
}

fn texts<O: Width>(column: &mut Gathered, picks: &[Pick]) {
    let (mut offsets, mut bytes) = (Vec::new(), Vec::new());
    O::write(0, &mut offsets);
    for pick in picks {
        if let Some((array, row)) = pick.get() {
            let (from, to) = ends::<O>(array, row);
            let first = (start(array, 2) + from) as *const u8;
            // SAFETY: the offsets of the host rise and lie within the bytes.
            bytes.extend_from_slice(unsafe { core::slice::from_raw_parts(first, to - from) });
        }
        O::write(bytes.len(), &mut offsets);
    }
    column.buffers.push(offsets);
    column.buffers.push(bytes);
}

fn views(column: &mut Gathered, picks: &[Pick]) {
    let (mut views, mut bytes) = (Vec::with_capacity(picks.len() * 16), Vec::new());
    for pick in picks {
        let Some((array, row)) = pick.get() else {
            views.extend_from_slice(&[0; 16]);
            continue;
        };
        // SAFETY: the views of the host lie within its buffers.
        unsafe {
            let [length, prefix, number, offset] = *(start(array, 1) as *const [u32; 4]).add(row);
            let view = if length <= 12 {
                [length, prefix, number, offset]
            } else {
                let first = (start(array, 2 + number as usize) + offset as usize) as *const u8;
                let place = bytes.len() as u32;
                bytes.extend_from_slice(core::slice::from_raw_parts(first, length as usize));
                [length, prefix, 0, place]
            };
            view.iter()
                .for_each(|word| views.extend_from_slice(&word.to_le_bytes()));
        }
    }
    let length = i64_bytes(bytes.len()).to_vec();
    column.buffers.extend([views, bytes, length]);
}

fn lists<O: Width>(column: &mut Gathered, schema: Schema, picks: &[Pick]) {
    let (mut offsets, mut inside) = (Vec::new(), Vec::new());
    O::write(0, &mut offsets);
    for pick in picks {
        if let Some((array, row)) = pick.get() {
            let (from, to) = ends::<O>(array, row);
            inside.extend((from..to).map(|at| Pick::of(child(array, 0), at)));
        }
        O::write(inside.len(), &mut offsets);
    }
    column.buffers.push(offsets);
    column.children.push(gather(schema.child(0), &inside));
}
