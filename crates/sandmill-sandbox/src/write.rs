//! Lays arguments out in the guest's memory.

mod schema;
mod source;
mod text;

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use sandmill_abi::{ARRAY_SIZE, BUFFER_ALIGN};

pub(crate) use source::Source;
use source::{Offsets, Values};

const STRUCT: usize = ARRAY_SIZE as usize;
/// Buffer pointers of one struct: at most validity, views, bytes, lengths.
const POINTERS: usize = 4 * 4;

/// Where everything of one call lies, relative to the start of the arena.
pub(crate) struct Plan {
    /// The results' structs, side by side.
    pub out: usize,
    /// Plain bytes beside the arguments, such as group ids.
    pub extras: Vec<Range<usize>>,
    outs: usize,
    /// Bytes of the whole.
    pub size: usize,
    /// Validity, values or offsets, bytes: of each array, parents before their children.
    buffers: Vec<[Range<usize>; 3]>,
    pointers: usize,
    /// The structs of arrays inside of others, side by side.
    inner: usize,
    /// The pointers to them.
    links: usize,
    /// Where the schemas of arguments with open types lie, in their order.
    schemas: Vec<Range<usize>>,
}

/// How far writing has come.
#[derive(Default)]
struct Cursor {
    node: usize,
    inner: usize,
    link: usize,
}

/// The arena while it is written.
struct Arena<'a> {
    bytes: &'a mut [u8],
    base: u32,
    release: u32,
}

impl Arena<'_> {
    fn address(&self, at: usize) -> u32 {
        self.base + at as u32
    }

    fn word(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl Plan {
    /// Room for `sources`, the structs of `outs` results, and plain bytes of the sizes `extras`.
    pub(crate) fn new(sources: &[Source<'_>], outs: usize, extras: &[usize]) -> Self {
        let inner: usize = sources.iter().map(Source::inner).sum();
        let nodes = sources.len() + inner;
        let mut plan = Self {
            out: 0,
            outs,
            extras: Vec::with_capacity(extras.len()),
            size: 0,
            buffers: Vec::with_capacity(nodes),
            pointers: 0,
            inner: 0,
            links: 0,
            schemas: Vec::new(),
        };
        plan.size = sources.len() * STRUCT;
        plan.out = plan.take(outs * STRUCT).start;
        plan.pointers = plan.take(nodes * POINTERS).start;
        if inner > 0 {
            plan.inner = plan.take(inner * STRUCT).start;
            plan.links = plan.take(inner * 4).start;
        }
        for source in sources {
            plan.room(source);
            if let Some(schema) = &source.schema {
                let range = plan.take(schema.size());
                plan.schemas.push(range);
            }
        }
        for size in extras {
            let range = plan.take(*size);
            plan.extras.push(range);
        }
        plan
    }

    fn room(&mut self, source: &Source<'_>) {
        let ranges = source.sizes().map(|size| self.take(size));
        self.buffers.push(ranges);
        source.inside().for_each(|inside| self.room(inside));
    }

    fn take(&mut self, size: usize) -> Range<usize> {
        let start = self.size.next_multiple_of(BUFFER_ALIGN as usize);
        self.size = start + size;
        start..self.size
    }

    /// Writes structs and buffers into `arena`, which lies at `base` in the guest's memory and has
    /// at least `size` bytes. `release` is what the structs carry as their release callback.
    pub(crate) fn write(&self, sources: &[Source<'_>], arena: &mut [u8], base: u32, release: u32) {
        arena[self.out..self.out + self.outs * STRUCT].fill(0);
        let mut arena = Arena {
            bytes: arena,
            base,
            release,
        };
        let mut cursor = Cursor::default();
        let mut schemas = self.schemas.iter();
        for (n, source) in sources.iter().enumerate() {
            self.array(source, n * STRUCT, &mut cursor, &mut arena);
            if let (Some(schema), Some(range)) = (&source.schema, schemas.next()) {
                let address = arena.address(range.start);
                schema.write(&mut arena.bytes[range.clone()], address, release);
                arena.word(n * STRUCT + 56, address);
            }
        }
    }

    /// Writes one array, with its struct at `at`, and those inside of it.
    fn array(&self, source: &Source<'_>, at: usize, cursor: &mut Cursor, arena: &mut Arena<'_>) {
        let ranges = &self.buffers[cursor.node];
        let pointers = self.pointers + cursor.node * POINTERS;
        cursor.node += 1;
        for (slot, range) in ranges.iter().enumerate() {
            // The value buffers of an empty column are still there; a missing bitmap is 0.
            let present = slot > 0 || !range.is_empty();
            let pointer = if present {
                arena.address(range.start)
            } else {
                0
            };
            arena.word(pointers + slot * 4, pointer);
        }
        let mut header = [0; STRUCT];
        header[0..8].copy_from_slice(&(source.length as i64).to_le_bytes());
        header[8..16].copy_from_slice(&(source.null_count() as i64).to_le_bytes());
        header[24..32].copy_from_slice(&(source.buffers() as i64).to_le_bytes());
        header[40..44].copy_from_slice(&arena.address(pointers).to_le_bytes());
        header[52..56].copy_from_slice(&arena.release.to_le_bytes());
        if !source.children.is_empty() {
            let (links, count) = (self.links + cursor.link * 4, source.children.len());
            cursor.link += count;
            header[32..40].copy_from_slice(&(count as i64).to_le_bytes());
            header[44..48].copy_from_slice(&arena.address(links).to_le_bytes());
            for (n, child) in source.children.iter().enumerate() {
                let at = self.inside(child, cursor, arena);
                arena.word(links + n * 4, at);
            }
        }
        if let Some(values) = &source.dictionary {
            let at = self.inside(values, cursor, arena);
            header[48..52].copy_from_slice(&at.to_le_bytes());
        }
        arena.bytes[at..at + STRUCT].copy_from_slice(&header);
        if let Some(nulls) = &source.nulls {
            let to = &mut arena.bytes[ranges[0].clone()];
            bits(nulls.bits, nulls.start, source.length, to);
        }
        let (before, tail) = arena.bytes.split_at_mut(ranges[2].start);
        let (first, tail) = (&mut before[ranges[1].clone()], &mut tail[..ranges[2].len()]);
        match &source.values {
            Values::Null | Values::Parent => {}
            Values::Bits(values, start) => bits(values, *start, source.length, first),
            Values::Fixed(values) => first.copy_from_slice(values),
            Values::Text(text, layout) => {
                text.write(*layout, first, tail);
                if *layout == text::Layout::Views {
                    // The lengths of the data buffers lie before the only one.
                    let lengths = arena.address(ranges[2].start);
                    arena.word(pointers + 8, lengths + text::LENGTHS as u32);
                    arena.word(pointers + 12, lengths);
                }
            }
            Values::List(offsets, wide) => offsets.write(*wide, first),
        }
    }

    /// Writes an array inside of another one; gives the address of its struct.
    fn inside(&self, source: &Source<'_>, cursor: &mut Cursor, arena: &mut Arena<'_>) -> u32 {
        let at = self.inner + cursor.inner * STRUCT;
        cursor.inner += 1;
        self.array(source, at, cursor, arena);
        arena.address(at)
    }
}

impl Offsets<'_> {
    /// Offsets from 0, of 64 bits where they are `wide`.
    fn write(&self, wide: bool, to: &mut [u8]) {
        match (self, wide) {
            (Self::Small(from), false) => rebase!(from, to, i32),
            (Self::Small(from), true) => rebase!(from, to, i64),
            (Self::Large(from), false) => rebase!(from, to, i32),
            (Self::Large(from), true) => rebase!(from, to, i64),
        }
    }
}

/// Offsets of one width into those of another, counted from the first one. What is too large for
/// the narrow one is too large for any guest, so that it is never written.
macro_rules! rebase {
    ($from:expr, $to:expr, $width:ty) => {{
        let from = *$from;
        let start = from[0];
        let slots = $to.chunks_exact_mut(size_of::<$width>());
        for (slot, offset) in slots.zip(from) {
            slot.copy_from_slice(&((offset - start) as $width).to_le_bytes());
        }
    }};
}
use rebase;

fn bits(source: &BooleanBuffer, start: usize, length: usize, to: &mut [u8]) {
    let (offset, bytes) = (source.offset() + start, length.div_ceil(8));
    if offset.is_multiple_of(8) {
        to.copy_from_slice(&source.values()[offset / 8..][..bytes]);
    } else {
        let aligned = source.slice(start, length).sliced();
        to.copy_from_slice(&aligned.as_slice()[..bytes]);
    }
}

/// Rows `start..start + length` of an argument.
pub(crate) fn slice(array: &dyn Array, start: usize, length: usize) -> ArrayRef {
    array.slice(start, length)
}
