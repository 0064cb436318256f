//! Columns with columns inside.

use std::collections::BTreeMap;

use super::builders::*;
use super::{Argument, Bits, buffer, step};
use crate::abi::ArrowArray;
use crate::manifest::{Field, Format, SqlType, Type};
use crate::sql::Element;
use crate::types::*;
use crate::views::List;

/// A zeroed array.
fn empty() -> ArrowArray {
    // SAFETY: it has only numbers.
    unsafe { core::mem::zeroed() }
}

/// Child `n` of an array.
pub fn child(array: &ArrowArray, n: usize) -> &ArrowArray {
    // SAFETY: the host passes the children that the type has.
    unsafe { &*(*(array.children as *const u32).add(n) as *const ArrowArray) }
}

/// Lists.
pub struct Lists<B> {
    offsets: Vec<i32>,
    length: usize,
    items: B,
    validity: Validity,
    pointers: [u32; 2],
    child: [ArrowArray; 1],
    children: [u32; 1],
}

impl<B: Build> Default for Lists<B> {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            length: 0,
            items: B::default(),
            validity: Validity::default(),
            pointers: [0; 2],
            child: [empty()],
            children: [0],
        }
    }
}

impl<B: Build> Lists<B> {
    fn push<T: Store<Builder = B>>(&mut self, items: impl Iterator<Item = T>) {
        items.for_each(|item| {
            item.store(&mut self.items);
            self.length += 1;
        });
        self.offsets.push(<i32 as Offset>::from(self.length));
        self.validity.valid();
    }
}

impl<B: Build> Build for Lists<B> {
    fn null(&mut self) {
        self.offsets.push(self.length as i32);
        self.validity.null();
    }
    fn clear(&mut self) {
        self.offsets.truncate(1);
        self.length = 0;
        self.items.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.child = [empty()];
        let [child] = &mut self.child;
        self.items.finish(child);
        self.children = [core::ptr::from_ref(child) as u32];
        self.pointers[1] = self.offsets.as_ptr() as u32;
        self.validity
            .finish(out, &mut self.pointers, &self.children);
    }
}

/// Lists of `N` values.
pub struct Arrays<B, const N: usize> {
    items: B,
    validity: Validity,
    pointers: [u32; 1],
    child: [ArrowArray; 1],
    children: [u32; 1],
}

impl<B: Build, const N: usize> Default for Arrays<B, N> {
    fn default() -> Self {
        Self {
            items: B::default(),
            validity: Validity::default(),
            pointers: [0],
            child: [empty()],
            children: [0],
        }
    }
}

impl<B: Build, const N: usize> Build for Arrays<B, N> {
    fn null(&mut self) {
        (0..N).for_each(|_| self.items.null());
        self.validity.null();
    }
    fn clear(&mut self) {
        self.items.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.child = [empty()];
        let [child] = &mut self.child;
        self.items.finish(child);
        self.children = [core::ptr::from_ref(child) as u32];
        self.validity
            .finish(out, &mut self.pointers, &self.children);
    }
}

/// Structs.
#[derive(Default)]
pub struct Structs<F> {
    fields: F,
    validity: Validity,
    pointers: [u32; 1],
    arrays: Vec<ArrowArray>,
    children: Vec<u32>,
}

impl<F: BuildRow> Structs<F> {
    /// Adds a struct.
    #[inline(always)]
    pub fn push(&mut self, row: impl Row<Builder = F>) {
        row.push(&mut self.fields);
        self.validity.valid();
    }
}

impl<F: BuildRow> Build for Structs<F> {
    fn null(&mut self) {
        self.fields.null();
        self.validity.null();
    }
    fn clear(&mut self) {
        self.fields.clear();
        self.validity.clear();
    }
    fn finish(&mut self, out: &mut ArrowArray) {
        self.arrays.clear();
        self.arrays.extend((0..F::COUNT).map(|_| empty()));
        // SAFETY: there are as many arrays as fields, zeroed.
        unsafe { self.fields.finish(self.arrays.as_mut_ptr()) }
        self.children.clear();
        let addresses = self.arrays.iter().map(|a| core::ptr::from_ref(a) as u32);
        self.children.extend(addresses);
        self.validity
            .finish(out, &mut self.pointers, &self.children);
    }
}

/// A key and its value.
pub struct Entry<K, V>(K, V);

impl<K: SqlType, V: SqlType> SqlType for Entry<K, V> {
    const TYPE: Type = Type {
        format: Format::Plain("+s"),
        children: &[Field::of::<K>("key"), Field::of::<V>("value")],
    };
}

impl<K: Store, V: Store> Row for Entry<K, V> {
    type Builder = (K::Builder, (V::Builder, ()));
    fn push(self, builder: &mut Self::Builder) {
        self.0.store(&mut builder.0);
        self.1.store(&mut builder.1.0);
    }
}

impl<K: Store, V: Store> Store for Entry<K, V> {
    type Builder = Structs<<Self as Row>::Builder>;
    fn store(self, builder: &mut Self::Builder) {
        builder.push(self);
    }
}

fn heap<'a, T: Store + 'a>(values: impl Iterator<Item = &'a T>, capacity: usize) -> usize {
    let inside = if T::HEAP {
        values.map(T::heap).sum()
    } else {
        0
    };
    inside + capacity * size_of::<T>()
}

impl<T: Store + Element> Store for Vec<T> {
    type Builder = Lists<T::Builder>;
    const HEAP: bool = true;
    fn heap(&self) -> usize {
        heap(self.iter(), self.capacity())
    }
    fn store(self, builder: &mut Self::Builder) {
        builder.push(self.into_iter());
    }
}

impl<T: Store + Argument> Store for List<'_, T> {
    type Builder = Lists<T::Builder>;
    fn store(self, builder: &mut Self::Builder) {
        builder.push(self.iter());
    }
}

impl<T: Store + Element, const N: usize> Store for [T; N] {
    type Builder = Arrays<T::Builder, N>;
    const HEAP: bool = T::HEAP;
    fn heap(&self) -> usize {
        heap(self.iter(), 0)
    }
    fn store(self, builder: &mut Self::Builder) {
        self.into_iter()
            .for_each(|item| item.store(&mut builder.items));
        builder.validity.valid();
    }
}

impl<K: Store, V: Store> Store for Map<K, V> {
    type Builder = Lists<<Entry<K, V> as Store>::Builder>;
    const HEAP: bool = true;
    fn heap(&self) -> usize {
        let pairs = self.0.capacity() * size_of::<(K, V)>();
        pairs + heap(self.0.iter().map(|p| &p.0), 0) + heap(self.0.iter().map(|p| &p.1), 0)
    }
    fn store(self, builder: &mut Self::Builder) {
        builder.push(self.0.into_iter().map(|(key, value)| Entry(key, value)));
    }
}

impl<K: Store, V: Store> Store for BTreeMap<K, V> {
    type Builder = Lists<<Entry<K, V> as Store>::Builder>;
    const HEAP: bool = true;
    fn heap(&self) -> usize {
        heap(self.keys(), self.len()) + heap(self.values(), self.len())
    }
    fn store(self, builder: &mut Self::Builder) {
        builder.push(self.into_iter().map(|(key, value)| Entry(key, value)));
    }
}

/// Where lists lie.
#[derive(Clone, Copy)]
pub struct Spans {
    offsets: *const i32,
    child: *const ArrowArray,
    step: usize,
}

impl Spans {
    fn of(array: &ArrowArray) -> Self {
        Self {
            offsets: buffer(array, 1) as *const i32,
            child: child(array, 0),
            step: step(array),
        }
    }

    #[inline(always)]
    fn list<'a, T>(&self, row: usize) -> List<'a, T> {
        // SAFETY: the host passes one offset more than rows; they rise and lie within the child.
        unsafe {
            let ends = self.offsets.add(row * self.step);
            let (from, to) = (*ends as usize, *ends.add(1) as usize);
            List::over(self.child, from, to - from)
        }
    }
}

impl<T: Argument> Argument for List<'_, T> {
    type Column = Spans;
    fn column(array: &ArrowArray, _: usize, _: usize) -> Spans {
        Spans::of(array)
    }
    #[inline(always)]
    fn get(column: &Spans, row: usize) -> Self {
        column.list(row)
    }
}

impl<T: Argument + Element> Argument for Vec<T> {
    type Column = Spans;
    fn column(array: &ArrowArray, _: usize, _: usize) -> Spans {
        Spans::of(array)
    }
    fn get(column: &Spans, row: usize) -> Self {
        column.list::<T>(row).iter().collect()
    }
}

impl<T: Argument + Element, const N: usize> Argument for [T; N] {
    type Column = (T::Column, usize);
    fn column(array: &ArrowArray, n: usize, _: usize) -> Self::Column {
        let items = child(array, 0);
        (T::column(items, n, items.length as usize), step(array))
    }
    fn get((column, step): &Self::Column, row: usize) -> Self {
        let first = row * step * N;
        core::array::from_fn(|n| T::get(column, first + n))
    }
}

impl<K: Argument, V: Argument> Argument for Entry<K, V> {
    type Column = (K::Column, V::Column);
    fn column(array: &ArrowArray, n: usize, _: usize) -> Self::Column {
        let (keys, values) = (child(array, 0), child(array, 1));
        let rows = array.length as usize;
        (K::column(keys, n, rows), V::column(values, n, rows))
    }
    fn get((keys, values): &Self::Column, row: usize) -> Self {
        Self(K::get(keys, row), V::get(values, row))
    }
}

macro_rules! maps {
    ($($map:ident, $wrap:expr, [$($bound:tt)*];)*) => { $(
        impl<K: Argument $($bound)*, V: Argument> Argument for $map<K, V> {
            type Column = Spans;
            fn column(array: &ArrowArray, _: usize, _: usize) -> Spans {
                Spans::of(array)
            }
            fn get(column: &Spans, row: usize) -> Self {
                let entries = column.list::<Entry<K, V>>(row);
                $wrap(entries.iter().map(|entry| (entry.0, entry.1)).collect())
            }
        }
    )* };
}

maps! {
    Map, Map, [];
    BTreeMap, core::convert::identity::<BTreeMap<K, V>>, [+ Ord];
}

/// The column of a struct: its fields', whether it is NULL is asked elsewhere.
#[derive(Clone, Copy)]
pub struct Inside<C> {
    pub columns: C,
    step: usize,
}

impl<C> Inside<C> {
    /// Looks at the fields.
    pub fn of<T: Fields<Columns = C>>(array: &ArrowArray) -> Self {
        let children = array.children as *const *const ArrowArray;
        Self {
            // SAFETY: the host passes a child for each field.
            columns: unsafe { T::inside(children) },
            step: step(array),
        }
    }

    /// The place of a row.
    #[inline(always)]
    pub fn at(&self, row: usize) -> usize {
        row * self.step
    }
}

/// A struct whose fields can be read from columns.
pub trait Fields: Sized {
    /// The columns.
    type Columns: Copy;
    /// # Safety
    /// `children` points to a pointer for each field.
    unsafe fn inside(children: *const *const ArrowArray) -> Self::Columns;
    /// # Safety
    /// `first` points to an array for each field.
    unsafe fn columns(first: *const ArrowArray) -> Self::Columns;
    /// The struct of a row.
    fn read(columns: &Self::Columns, row: usize) -> Self;
}

/// Field `n` of columns that lie side by side or at these addresses.
///
/// # Safety
/// There are more than `n`.
#[inline(always)]
pub unsafe fn field<T: Argument>(array: *const ArrowArray) -> T::Column {
    // SAFETY: as promised.
    let array = unsafe { &*array };
    T::column(array, 0, array.length as usize)
}

#[allow(dead_code, reason = "names the type that `Option` reads nulls with")]
type Nulls = Bits;
