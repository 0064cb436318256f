//! Memory for the host's arena and for results: whole pages, kept for the next call.
//!
//! Numeric functions need no other allocator, which keeps their modules at a few KiB.

use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;

const PAGE: usize = 65536;
const SLOTS: usize = 16;

/// One thread only: WebAssembly without threads.
pub(crate) struct Single<T>(pub UnsafeCell<T>);

// SAFETY: a module without threads is entered by one caller at a time; the host holds it to that.
unsafe impl<T> Sync for Single<T> {}

/// Freed blocks: start and size, 0 where there is none.
static FREE: Single<[(usize, usize); SLOTS]> = Single(UnsafeCell::new([(0, 0); SLOTS]));

/// `size` bytes on a page boundary, or 0.
pub(crate) fn allocate(size: usize) -> usize {
    let size = size.max(1).next_multiple_of(PAGE);
    // SAFETY: see `Single`; no reference outlives this block.
    let free = unsafe { &mut *FREE.0.get() };
    let fits = |block: &&mut (usize, usize)| block.1 >= size;
    if let Some(block) = free.iter_mut().filter(|b| fits(b)).min_by_key(|b| b.1) {
        let start = block.0;
        // The rest stays on the list.
        *block = (block.0 + size, block.1 - size);
        return start;
    }
    match memory_grow::<0>(size / PAGE) {
        usize::MAX => 0,
        page => page * PAGE,
    }
}

/// Takes back what [`allocate`] gave.
pub(crate) fn release(start: usize, size: usize) {
    let size = size.max(1).next_multiple_of(PAGE);
    // SAFETY: see `Single`; no reference outlives this block.
    let free = unsafe { &mut *FREE.0.get() };
    // A neighbour grows; otherwise the smallest entry gives way, which loses at worst its pages.
    if let Some(block) = free.iter_mut().find(|b| b.1 > 0 && b.0 + b.1 == start) {
        block.1 += size;
    } else if let Some(block) = free.iter_mut().find(|b| b.1 > 0 && start + size == b.0) {
        *block = (start, block.1 + size);
    } else if let Some(block) = free.iter_mut().min_by_key(|b| b.1)
        && block.1 < size
    {
        *block = (start, size);
    }
}

/// A buffer for results that only grows.
pub(crate) struct Buffer {
    start: usize,
    size: usize,
}

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self { start: 0, size: 0 }
    }

    /// At least `size` bytes, keeping the first `keep`.
    pub(crate) fn reserve(&mut self, size: usize, keep: usize) -> *mut u8 {
        if size > self.size || self.start == 0 {
            let larger = (size + size / 2).max(1).next_multiple_of(PAGE);
            let mut got = (allocate(larger), larger);
            if got.0 == 0 {
                let exact = size.max(1).next_multiple_of(PAGE);
                got = (allocate(exact), exact);
            }
            if got.0 == 0 {
                crate::host::fail(crate::abi::NO_MEMORY, -1, "");
            }
            // SAFETY: both blocks are ours, `keep` bytes lie in the old one, and they do not overlap.
            unsafe {
                core::ptr::copy_nonoverlapping(self.start as *const u8, got.0 as *mut u8, keep);
            }
            if self.start != 0 {
                release(self.start, self.size);
            }
            (self.start, self.size) = got;
        }
        self.start as *mut u8
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start as *mut u8
    }
}

#[unsafe(export_name = "sm_alloc")]
extern "C" fn sm_alloc(size: u32, _align: u32) -> u32 {
    allocate(size as usize) as u32
}

#[unsafe(export_name = "sm_free")]
extern "C" fn sm_free(start: u32, size: u32, _align: u32) {
    release(start as usize, size as usize);
}
