//! Texts and bytes: from each of the host's layouts into each of the guest's.

use arrow::array::ByteView;
use arrow::buffer::Buffer;

use super::rebase;

/// Bytes that may be written past the end of a text buffer: short views are copied whole.
const SLACK: usize = 16;
/// Bytes before the data of views, where their lengths lie.
pub(super) const LENGTHS: usize = 64;
/// Bytes that a view holds itself.
const INLINE: usize = 12;

/// Texts or bytes of the host.
pub(crate) enum Text<'a> {
    /// Offsets of 32 bits and bytes.
    Small(&'a [i32], &'a [u8]),
    /// Offsets of 64 bits and bytes.
    Large(&'a [i64], &'a [u8]),
    /// Views and their buffers.
    Views(&'a [u128], &'a [Buffer]),
}

/// How they lie in the guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Offsets of 32 bits and bytes.
    Small,
    /// Offsets of 64 bits and bytes.
    Large,
    /// Views, all of one data buffer.
    Views,
}

/// The bytes that offsets of either width cover.
macro_rules! covered {
    ($offsets:expr, $data:expr, $to:expr) => {
        let data = &$data[$offsets[0] as usize..$offsets[$offsets.len() - 1] as usize];
        $to[..data.len()].copy_from_slice(data);
    };
}

impl Text<'_> {
    /// Bytes of the first and the second buffer behind validity.
    pub(super) fn sizes(&self, layout: Layout, rows: usize) -> (usize, usize) {
        match layout {
            Layout::Small => ((rows + 1) * 4, self.total() + SLACK),
            Layout::Large => ((rows + 1) * 8, self.total() + SLACK),
            Layout::Views => (rows * 16, LENGTHS + self.outside()),
        }
    }

    fn total(&self) -> usize {
        match self {
            Self::Small(offsets, _) => (offsets[offsets.len() - 1] - offsets[0]) as usize,
            Self::Large(offsets, _) => (offsets[offsets.len() - 1] - offsets[0]) as usize,
            Self::Views(views, _) => views.iter().map(|view| length(*view)).sum(),
        }
    }

    /// Bytes of the values that views do not hold themselves.
    fn outside(&self) -> usize {
        let long = |length: usize| if length > INLINE { length } else { 0 };
        match self {
            Self::Small(offsets, _) => {
                let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
                lengths.map(long).sum()
            }
            Self::Large(offsets, _) => {
                let lengths = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize);
                lengths.map(long).sum()
            }
            Self::Views(views, _) => views.iter().map(|view| long(length(*view))).sum(),
        }
    }

    pub(super) fn write(&self, layout: Layout, first: &mut [u8], tail: &mut [u8]) {
        match (self, layout) {
            (Self::Small(offsets, data), Layout::Small) => {
                rebase!(offsets, first, i32);
                covered!(offsets, data, tail);
            }
            (Self::Large(offsets, data), Layout::Small) => {
                rebase!(offsets, first, i32);
                covered!(offsets, data, tail);
            }
            (Self::Small(offsets, data), Layout::Large) => {
                rebase!(offsets, first, i64);
                covered!(offsets, data, tail);
            }
            (Self::Large(offsets, data), Layout::Large) => {
                rebase!(offsets, first, i64);
                covered!(offsets, data, tail);
            }
            (Self::Views(views, buffers), Layout::Small) => {
                gather::<4>(views, buffers, first, tail);
            }
            (Self::Views(views, buffers), Layout::Large) => {
                gather::<8>(views, buffers, first, tail);
            }
            (Self::Small(offsets, data), Layout::Views) => {
                let values = offsets
                    .windows(2)
                    .map(|p| &data[p[0] as usize..p[1] as usize]);
                write_views(values, first, tail);
            }
            (Self::Large(offsets, data), Layout::Views) => {
                let values = offsets
                    .windows(2)
                    .map(|p| &data[p[0] as usize..p[1] as usize]);
                write_views(values, first, tail);
            }
            (Self::Views(views, buffers), Layout::Views) => compact(views, buffers, first, tail),
        }
    }
}

/// The low 32 bits of a view are its length.
fn length(view: u128) -> usize {
    view as u32 as usize
}

/// Views into offsets of `W` bytes and their bytes.
fn gather<const W: usize>(views: &[u128], buffers: &[Buffer], offsets: &mut [u8], to: &mut [u8]) {
    let mut at = 0usize;
    let mut slots = offsets.chunks_exact_mut(W);
    if let Some(first) = slots.next() {
        first.fill(0);
    }
    for (view, slot) in views.iter().zip(slots) {
        let length = length(*view);
        if length <= INLINE {
            // All twelve bytes at once, into the slack: a copy of fixed size is a register move.
            to[at..at + INLINE].copy_from_slice(&view.to_le_bytes()[4..]);
        } else {
            to[at..at + length].copy_from_slice(outside(*view, buffers));
        }
        at += length;
        slot.copy_from_slice(&(at as u64).to_le_bytes()[..W]);
    }
}

/// The bytes of a view that does not hold them itself.
fn outside(view: u128, buffers: &[Buffer]) -> &[u8] {
    let view = ByteView::from(view);
    let start = view.offset as usize;
    &buffers[view.buffer_index as usize].as_slice()[start..start + view.length as usize]
}

/// Views into views of one buffer that holds nothing else.
fn compact(views: &[u128], buffers: &[Buffer], to: &mut [u8], tail: &mut [u8]) {
    let (lengths, data) = tail.split_at_mut(LENGTHS);
    lengths[..8].copy_from_slice(&(data.len() as i64).to_le_bytes());
    let mut at = 0;
    for (view, slot) in views.iter().zip(to.chunks_exact_mut(16)) {
        let length = length(*view);
        let mut moved = *view;
        if length > INLINE {
            data[at..at + length].copy_from_slice(outside(*view, buffers));
            let mut view = ByteView::from(*view);
            (view.buffer_index, view.offset) = (0, at as u32);
            moved = view.as_u128();
            at += length;
        }
        slot.copy_from_slice(&moved.to_le_bytes());
    }
}

fn write_views<'a>(values: impl Iterator<Item = &'a [u8]>, to: &mut [u8], tail: &mut [u8]) {
    let (lengths, data) = tail.split_at_mut(LENGTHS);
    lengths[..8].copy_from_slice(&(data.len() as i64).to_le_bytes());
    let mut at = 0;
    for (value, slot) in values.zip(to.chunks_exact_mut(16)) {
        slot.fill(0);
        slot[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
        if value.len() <= INLINE {
            slot[4..4 + value.len()].copy_from_slice(value);
        } else {
            slot[4..8].copy_from_slice(&value[..4]);
            slot[12..].copy_from_slice(&(at as u32).to_le_bytes());
            data[at..at + value.len()].copy_from_slice(value);
            at += value.len();
        }
    }
}
