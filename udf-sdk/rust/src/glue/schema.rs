//! Arguments of any type: what the host says of their types.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};

use super::gather::{Gathered, Pick, gather};
use super::{Argument, Value, buffer, step};
use crate::abi::{self, ArrowArray, ArrowSchema};
use crate::host::fail;
use crate::manifest::{Field, Format, Type};
use crate::memory::Single;
use crate::open::Any;

/// The type of an array that the manifest leaves open.
#[derive(Clone, Copy)]
pub struct Schema(*const ArrowSchema);

impl Schema {
    /// The type of an argument.
    pub fn of(array: *const ArrowArray) -> Self {
        // SAFETY: an argument of the call, whose `private_data` is its schema, as the ABI says.
        Self(unsafe { (*array).private_data } as *const ArrowSchema)
    }

    fn get(&self) -> &ArrowSchema {
        if self.0.is_null() {
            fail(abi::BAD_INPUT, -1, "an argument has no schema");
        }
        // SAFETY: the host laid it out for this call.
        unsafe { &*self.0 }
    }

    /// The format string.
    pub fn format<'a>(&self) -> &'a str {
        // SAFETY: the host writes format strings as C does; they are ASCII, or time zones.
        let text = unsafe { CStr::from_ptr(self.get().format as *const c_char) };
        text.to_str().unwrap_or_default()
    }

    /// How many types there are inside.
    pub fn children(&self) -> usize {
        self.get().n_children as usize
    }

    /// The type inside, which there is.
    pub fn child(&self, n: usize) -> Self {
        // SAFETY: as many pointers as children.
        Self(unsafe { *(self.get().children as *const *const ArrowSchema).add(n) })
    }

    /// Whether the array holds keys of a dictionary.
    pub fn is_dictionary(&self) -> bool {
        self.get().dictionary != 0
    }

    /// Whether it is the type that the manifest would write so.
    pub fn is(&self, ty: &Type) -> bool {
        let format = self.format();
        let same = match ty.format {
            Format::Plain(text) => format == text,
            Format::Zoned(text) => format.starts_with(text),
            Format::Sized(text, size) => {
                format.strip_prefix(text).and_then(|n| n.parse().ok()) == Some(size)
            }
            Format::Decimal(precision, scale, wide) => {
                let mut parts = format.strip_prefix("d:").unwrap_or_default().split(',');
                let mut number = || parts.next().and_then(|n| n.parse::<u8>().ok());
                let digits = (number(), number()) == (Some(precision), Some(scale));
                digits
                    && matches!(
                        (parts.next(), wide),
                        (None | Some("128"), false) | (Some("256"), true)
                    )
            }
        };
        same && !self.is_dictionary() && self.fields_are(ty.children)
    }

    fn fields_are(&self, fields: &[Field]) -> bool {
        let inner = match (self.format(), self.children()) {
            // A map's one child is the struct of its entries.
            ("+m", 1) => self.child(0),
            _ => *self,
        };
        inner.children() == fields.len()
            && fields
                .iter()
                .enumerate()
                .all(|(n, field)| inner.child(n).is(&field.ty))
    }
}

/// The arrays of the arguments of any type of this call.
static SEEN: Single<[u32; 32]> = Single(UnsafeCell::new([0; 32]));

impl<const N: usize> Argument for Any<'_, N> {
    type Column = (*const ArrowArray, usize);
    fn column(array: &ArrowArray, n: usize, _: usize) -> Self::Column {
        // SAFETY: one thread; the reference ends here.
        if let Some(seen) = unsafe { &mut *SEEN.0.get() }.get_mut(n) {
            *seen = core::ptr::from_ref(array) as u32;
        }
        (array, step(array))
    }
    #[inline(always)]
    fn get((array, step): &Self::Column, row: usize) -> Self {
        Any::over(*array, row * step)
    }
}

/// The rows of a result of any type.
pub struct Picks(Vec<Pick>);

/// The last such result, kept for the host.
static LAST: Single<Option<Box<Gathered>>> = Single(UnsafeCell::new(None));

impl<const N: usize> Value for Any<'_, N> {
    type Sink = Picks;
    fn start(rows: usize) -> Picks {
        Picks(Vec::with_capacity(rows))
    }
    fn put(self, sink: &mut Picks, _: usize) {
        // SAFETY: an `Any` points to an array of its call.
        sink.0.push(Pick::of(unsafe { &*self.array }, self.row));
    }
    fn nothing(sink: &mut Picks, _: usize) {
        sink.0.push(Pick::NULL);
    }
    fn finish(sink: Picks, out: &mut ArrowArray, _: usize, _: usize) {
        // SAFETY: one thread; the reference ends here.
        let seen = unsafe { &*SEEN.0.get() }.get(N.wrapping_sub(1)).copied();
        let Some(like) = seen.filter(|seen| *seen != 0) else {
            fail(abi::BAD_INPUT, -1, "the result has the type of no argument");
        };
        let schema = Schema::of(like as *const ArrowArray);
        let mut gathered = Box::new(gather(schema, &sink.0));
        gathered.finish(out);
        // SAFETY: as above.
        unsafe { *LAST.0.get() = Some(gathered) }
    }
}

/// Buffer `n` of an array.
pub(super) fn start(array: &ArrowArray, n: usize) -> usize {
    buffer(array, n)
}
