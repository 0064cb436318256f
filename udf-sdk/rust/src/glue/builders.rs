//! Columns that grow value by value: of lists, structs, states and functions that give rows.

use crate::abi::{self, ArrowArray};
use crate::host::fail;
use crate::manifest::SqlType;

/// A column that grows.
pub trait Build: Default + 'static {
    /// Adds NULL.
    fn null(&mut self);
    /// Forgets the values and keeps the memory.
    fn clear(&mut self);
    /// Points `out`, which is zeroed, at the values; they stay until something is added.
    fn finish(&mut self, out: &mut ArrowArray);
}

/// A type that columns which grow can hold.
pub trait Store: SqlType {
    /// Its column.
    type Builder: Build;
    /// Whether values own memory.
    const HEAP: bool = false;
    /// Bytes that a value owns beside itself.
    #[inline(always)]
    fn heap(&self) -> usize {
        0
    }
    /// Adds the value.
    fn store(self, builder: &mut Self::Builder);
}

/// Columns side by side: a column and the others, at last nothing.
pub trait BuildRow: Default + 'static {
    /// How many.
    const COUNT: usize;
    /// Adds NULL to all.
    fn null(&mut self);
    /// As for [`Build`].
    fn clear(&mut self);
    /// # Safety
    /// `outs` points to `COUNT` zeroed arrays.
    unsafe fn finish(&mut self, outs: *mut ArrowArray);
}

impl BuildRow for () {
    const COUNT: usize = 0;
    fn null(&mut self) {}
    fn clear(&mut self) {}
    unsafe fn finish(&mut self, _: *mut ArrowArray) {}
}

impl<H: Build, T: BuildRow> BuildRow for (H, T) {
    const COUNT: usize = 1 + T::COUNT;
    fn null(&mut self) {
        self.0.null();
        self.1.null();
    }
    fn clear(&mut self) {
        self.0.clear();
        self.1.clear();
    }
    unsafe fn finish(&mut self, outs: *mut ArrowArray) {
        // SAFETY: as promised.
        unsafe {
            self.0.finish(&mut *outs);
            self.1.finish(outs.add(1));
        }
    }
}

/// A row of columns.
pub trait Row {
    /// Its columns.
    type Builder: BuildRow;
    /// Adds it.
    fn push(self, builder: &mut Self::Builder);
}

/// Which values are NULL. There are no bits before the first.
#[derive(Default)]
pub struct Validity {
    bits: Vec<u8>,
    rows: usize,
    nulls: usize,
}

impl Validity {
    #[inline(always)]
    pub(super) fn valid(&mut self) {
        if self.nulls > 0 {
            self.bit(true);
        }
        self.rows += 1;
    }

    pub(super) fn null(&mut self) {
        if self.nulls == 0 {
            self.bits.clear();
            self.bits.resize(self.rows / 8, 0xff);
            if self.rows % 8 > 0 {
                self.bits.push((1 << (self.rows % 8)) - 1);
            }
        }
        self.bit(false);
        self.nulls += 1;
        self.rows += 1;
    }

    fn bit(&mut self, bit: bool) {
        if self.rows % 8 == 0 {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut() {
            *last |= u8::from(bit) << (self.rows % 8);
        }
    }

    pub(super) fn clear(&mut self) {
        (self.rows, self.nulls) = (0, 0);
    }

    fn start(&self) -> u32 {
        if self.nulls > 0 {
            self.bits.as_ptr() as u32
        } else {
            0
        }
    }

    /// Describes a column with these buffers behind its validity, and these children.
    pub(super) fn finish(&self, out: &mut ArrowArray, pointers: &mut [u32], children: &[u32]) {
        if let Some(first) = pointers.first_mut() {
            *first = self.start();
        }
        out.length = self.rows as i64;
        out.null_count = self.nulls as i64;
        out.n_buffers = pointers.len() as i64;
        out.buffers = pointers.as_ptr() as u32;
        out.n_children = children.len() as i64;
        out.children = if children.is_empty() {
            0
        } else {
            children.as_ptr() as u32
        };
    }
}

/// Values of a fixed width.
pub struct Fixed<T> {
    values: Vec<T>,
    validity: Validity,
    pointers: [u32; 2],
}

impl<T> Default for Fixed<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            validity: Validity::default(),
            pointers: [0; 2],
        }
    }
}

impl<T: Copy + 'static> Fixed<T> {
    #[inline(always)]
    pub(super) fn push(&mut self, value: T) {
        self.values.push(value);
        self.validity.valid();
    }
}

impl<T: Copy + 'static> Build for Fixed<T> {
    fn null(&mut self) {
        // SAFETY: `T` is one of the plain numbers of `stores`, of which zero is a value.
        self.values.push(unsafe { core::mem::zeroed() });
        self.validity.null();
    }
    fn clear(&mut self) {
        self.values.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.pointers[1] = self.values.as_ptr() as u32;
        self.validity.finish(out, &mut self.pointers, &[]);
    }
}

/// Truth values.
#[derive(Default)]
pub struct Flags {
    values: Vec<u8>,
    validity: Validity,
    pointers: [u32; 2],
}

impl Flags {
    pub(super) fn push(&mut self, value: bool) {
        self.bit(value);
        self.validity.valid();
    }

    fn bit(&mut self, bit: bool) {
        if self.validity.rows % 8 == 0 {
            self.values.push(0);
        }
        if let Some(last) = self.values.last_mut() {
            *last |= u8::from(bit) << (self.validity.rows % 8);
        }
    }
}

impl Build for Flags {
    fn null(&mut self) {
        self.bit(false);
        self.validity.null();
    }
    fn clear(&mut self) {
        self.values.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.pointers[1] = self.values.as_ptr() as u32;
        self.validity.finish(out, &mut self.pointers, &[]);
    }
}

/// A column that has only NULL.
#[derive(Default)]
pub struct Nothing {
    rows: usize,
}

impl Build for Nothing {
    fn null(&mut self) {
        self.rows += 1;
    }
    fn clear(&mut self) {
        self.rows = 0;
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        out.length = self.rows as i64;
        out.null_count = self.rows as i64;
    }
}

/// Where rows end: 32 or 64 bits.
pub trait Offset: Copy + 'static {
    /// The offset, or the end of the call where it is too large.
    fn from(at: usize) -> Self;
}

impl Offset for i32 {
    #[inline(always)]
    fn from(at: usize) -> i32 {
        if at > i32::MAX as usize {
            fail(abi::NO_MEMORY, -1, "a column is larger than 2 GiB");
        }
        at as i32
    }
}

impl Offset for i64 {
    fn from(at: usize) -> i64 {
        at as i64
    }
}

/// Texts or bytes.
pub struct Texts<O> {
    offsets: Vec<O>,
    bytes: Vec<u8>,
    validity: Validity,
    pointers: [u32; 3],
}

impl<O: Offset> Default for Texts<O> {
    fn default() -> Self {
        Self {
            offsets: vec![O::from(0)],
            bytes: Vec::new(),
            validity: Validity::default(),
            pointers: [0; 3],
        }
    }
}

impl<O: Offset> Texts<O> {
    #[inline(always)]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.offsets.push(O::from(self.bytes.len()));
        self.validity.valid();
    }
}

impl<O: Offset> Build for Texts<O> {
    fn null(&mut self) {
        self.offsets.push(O::from(self.bytes.len()));
        self.validity.null();
    }
    fn clear(&mut self) {
        self.offsets.truncate(1);
        self.bytes.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.pointers[1] = self.offsets.as_ptr() as u32;
        self.pointers[2] = self.bytes.as_ptr() as u32;
        self.validity.finish(out, &mut self.pointers, &[]);
    }
}

/// Texts or bytes as views.
#[derive(Default)]
pub struct Views {
    views: Vec<[u8; 16]>,
    bytes: Vec<u8>,
    length: [i64; 1],
    validity: Validity,
    pointers: [u32; 4],
}

impl Views {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut view = [0; 16];
        let (length, rest) = view.split_at_mut(4);
        length.copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        if let Some(inside) = rest.get_mut(..bytes.len()) {
            inside.copy_from_slice(bytes);
        } else {
            // A prefix, the number of the data buffer, which is 0, and the place in it.
            rest.iter_mut()
                .zip(bytes)
                .take(4)
                .for_each(|(to, from)| *to = *from);
            let place = <i32 as Offset>::from(self.bytes.len()).to_le_bytes();
            rest.iter_mut()
                .skip(8)
                .zip(place)
                .for_each(|(to, from)| *to = from);
            self.bytes.extend_from_slice(bytes);
        }
        self.views.push(view);
        self.validity.valid();
    }
}

impl Build for Views {
    fn null(&mut self) {
        self.views.push([0; 16]);
        self.validity.null();
    }
    fn clear(&mut self) {
        self.views.clear();
        self.bytes.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.length = [self.bytes.len() as i64];
        self.pointers[1] = self.views.as_ptr() as u32;
        self.pointers[2] = self.bytes.as_ptr() as u32;
        self.pointers[3] = self.length.as_ptr() as u32;
        self.validity.finish(out, &mut self.pointers, &[]);
    }
}
