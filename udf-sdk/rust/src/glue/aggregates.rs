//! Aggregates: the states of all groups of a handle, side by side.

use core::cell::UnsafeCell;

use super::builders::{BuildRow, Row, Store};
use super::{Arrays, Return, rows};
use crate::abi::{self, ArrowArray};
use crate::host::fail;
use crate::memory::Single;

/// The states of a handle.
pub struct Groups<S: Row> {
    states: Vec<S>,
    heap: usize,
    out: <S as Row>::Builder,
}

/// The handles of an aggregate.
pub struct Handles<T>(Single<Vec<Option<Box<T>>>>);

impl<T> Handles<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self(Single(UnsafeCell::new(Vec::new())))
    }

    #[allow(clippy::mut_from_ref, reason = "one thread; see `Single`")]
    fn all(&self) -> &mut Vec<Option<Box<T>>> {
        // SAFETY: one thread, and no caller in this module keeps the reference across another call.
        unsafe { &mut *self.0.0.get() }
    }

    /// A new handle, from 1.
    pub fn open(&self, value: T) -> i32 {
        let all = self.all();
        let free = all.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            all.push(None);
            all.len() - 1
        });
        if let Some(slot) = all.get_mut(place) {
            *slot = Some(Box::new(value));
        }
        place as i32 + 1
    }

    /// What a handle stands for.
    #[allow(clippy::mut_from_ref, reason = "one thread; see `Single`")]
    pub fn get(&self, handle: i32) -> &mut T {
        let slot = self.all().get_mut((handle as usize).wrapping_sub(1));
        match slot.and_then(Option::as_deref_mut) {
            Some(found) => found,
            None => fail(abi::BAD_INPUT, -1, "there is no such handle"),
        }
    }

    /// Forgets a handle.
    pub fn close(&self, handle: i32) {
        if let Some(slot) = self.all().get_mut((handle as usize).wrapping_sub(1)) {
            *slot = None;
        }
    }
}

impl<S: Row + Store + Default> Groups<S> {
    /// No group yet.
    pub fn new() -> Self {
        Self {
            states: Vec::new(),
            heap: 0,
            out: <S as Row>::Builder::default(),
        }
    }

    /// Calls `each` with the state of every row's group.
    ///
    /// # Safety
    /// `ids` points to `rows` numbers below `groups`, which is at least as many as there are.
    #[inline(always)]
    pub unsafe fn each<const STRICT: bool>(
        &mut self,
        arrays: &Arrays,
        rows: usize,
        ids: *const u32,
        groups: usize,
        each: impl Fn(&mut S, usize),
    ) {
        if groups > self.states.len() {
            self.states.resize_with(groups, S::default);
        }
        let states = self.states.as_mut_ptr();
        let mut heap = self.heap;
        let mut one = |row: usize| {
            // SAFETY: the host holds group ids below `groups`, and there are as many states now.
            let state = unsafe { &mut *states.add(*ids.add(row) as usize) };
            if S::HEAP {
                heap = heap.wrapping_sub(state.heap());
            }
            each(state, row);
            if S::HEAP {
                heap = heap.wrapping_add(state.heap());
            }
        };
        if STRICT && arrays.any_nulls() {
            (0..rows).filter(|row| arrays.valid(*row)).for_each(one);
        } else {
            // Between two rounds the engine looks at the deadline.
            let mut row = 0;
            while row + 8 <= rows {
                one(row);
                one(row + 1);
                one(row + 2);
                one(row + 3);
                one(row + 4);
                one(row + 5);
                one(row + 6);
                one(row + 7);
                row += 8;
            }
            while row < rows {
                one(row);
                row += 1;
            }
        }
        self.heap = heap;
    }

    fn range(&self, first: usize, count: usize) -> &[S] {
        let end = first.saturating_add(count);
        match self.states.get(first..end) {
            Some(found) => found,
            None => fail(abi::BAD_INPUT, -1, "there are no such groups"),
        }
    }

    /// Makes sure that there are so many groups: some may have seen no row.
    fn grow(&mut self, groups: usize) {
        if groups > self.states.len() {
            self.states.resize_with(groups, S::default);
        }
    }

    /// Writes states.
    ///
    /// # Safety
    /// `out` points to a zeroed array for each column of the state.
    pub unsafe fn state(&mut self, first: usize, count: usize, out: *mut ArrowArray)
    where
        S: Clone,
    {
        self.grow(first.saturating_add(count));
        let mut builder = core::mem::take(&mut self.out);
        builder.clear();
        for state in self.range(first, count) {
            state.clone().push(&mut builder);
        }
        self.out = builder;
        // SAFETY: as promised.
        unsafe { self.out.finish(out) }
    }

    /// Writes results.
    ///
    /// # Safety
    /// `out` points to a zeroed array.
    #[inline(always)]
    pub unsafe fn finish<'a, R: Return>(
        &'a mut self,
        first: usize,
        count: usize,
        out: *mut ArrowArray,
        finish: impl Fn(&'a S) -> R,
    ) {
        self.grow(first.saturating_add(count));
        let states = self.range(first, count).as_ptr();
        // SAFETY: there are no arguments; each row below `count` has a state.
        unsafe {
            let arrays = Arrays::new(core::ptr::null(), 0);
            rows::<R, false>(out, count, &arrays, |row| finish(&*states.add(row)));
        }
    }

    /// Forgets the first groups.
    pub fn drop_first(&mut self, count: usize) {
        let count = count.min(self.states.len());
        for state in self.states.drain(..count) {
            if S::HEAP {
                self.heap = self.heap.wrapping_sub(state.heap());
            }
        }
    }

    /// Bytes of the states.
    pub fn size(&self) -> i64 {
        (self.states.capacity() * size_of::<S>() + self.heap) as i64
    }
}
