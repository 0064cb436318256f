//! Arguments whose number or type a call decides, and rows that a function gives.

use core::marker::PhantomData;

#[cfg(target_arch = "wasm32")]
use crate::abi::ArrowArray;
#[cfg(target_arch = "wasm32")]
use crate::glue::{Argument, BuildRow, Row, Schema};
#[cfg(target_arch = "wasm32")]
use crate::manifest::SqlType;
use crate::views::Read;

/// The last arguments of a function that takes any number of them.
#[derive(Debug, Clone, Copy)]
pub struct Variadic<'a, T> {
    #[cfg(target_arch = "wasm32")]
    first: *const ArrowArray,
    #[cfg(target_arch = "wasm32")]
    row: usize,
    length: usize,
    #[cfg(not(target_arch = "wasm32"))]
    values: &'a [T],
    lifetime: PhantomData<&'a T>,
}

impl<'a, T> Variadic<'a, T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// # Safety
    /// `first` points to so many arrays of the type of `T`, for `'a`.
    #[cfg(target_arch = "wasm32")]
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn over(first: *const ArrowArray, length: usize, row: usize) -> Self {
        Self {
            first,
            row,
            length,
            lifetime: PhantomData,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<'a, T> From<&'a [T]> for Variadic<'a, T> {
    fn from(values: &'a [T]) -> Self {
        Self {
            length: values.len(),
            values,
            lifetime: PhantomData,
        }
    }
}

impl<'a, T: Read + 'a> Variadic<'a, T> {
    /// One of them, counted from 0.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<T> {
        #[cfg(target_arch = "wasm32")]
        return (index < self.length).then(|| {
            // SAFETY: see `over`.
            let array = unsafe { &*self.first.add(index) };
            let column = T::column(array, 0, array.length as usize);
            let step = usize::from(array.length != 1);
            T::get(&column, self.row * step)
        });
        #[cfg(not(target_arch = "wasm32"))]
        self.values.get(index).cloned()
    }

    /// All of them.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let all = Self {
            #[cfg(target_arch = "wasm32")]
            first: self.first,
            #[cfg(target_arch = "wasm32")]
            row: self.row,
            length: self.length,
            #[cfg(not(target_arch = "wasm32"))]
            values: self.values,
            lifetime: PhantomData,
        };
        (0..self.length).filter_map(move |n| all.get(n))
    }
}

/// A value of any type. With `N`, it has the type of argument `N`, counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct Any<'a, const N: usize = 0> {
    #[cfg(target_arch = "wasm32")]
    pub(crate) array: *const ArrowArray,
    #[cfg(target_arch = "wasm32")]
    pub(crate) row: usize,
    lifetime: PhantomData<&'a ()>,
}

impl<'a, const N: usize> Any<'a, N> {
    /// The same value where another place asks for its type. The host holds a result to the type
    /// that was promised.
    pub fn same<const M: usize>(self) -> Any<'a, M> {
        Any {
            #[cfg(target_arch = "wasm32")]
            array: self.array,
            #[cfg(target_arch = "wasm32")]
            row: self.row,
            lifetime: PhantomData,
        }
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn over(array: *const ArrowArray, row: usize) -> Self {
        Self {
            array,
            row,
            lifetime: PhantomData,
        }
    }

    /// Whether it is NULL, which only functions with `called_on_null` see.
    pub fn is_null(&self) -> bool {
        #[cfg(target_arch = "wasm32")]
        // SAFETY: an `Any` points to an array of its call.
        return crate::glue::is_null(unsafe { &*self.array }, self.row);
        #[cfg(not(target_arch = "wasm32"))]
        true
    }

    /// The Arrow format string of its type.
    pub fn format(&self) -> &'a str {
        #[cfg(target_arch = "wasm32")]
        return Schema::of(self.array).format();
        #[cfg(not(target_arch = "wasm32"))]
        ""
    }

    /// The value, where it has the type of `T` and is not NULL.
    #[cfg(target_arch = "wasm32")]
    pub fn get<T: Argument + SqlType>(&self) -> Option<T> {
        if !Schema::of(self.array).is(&T::TYPE) {
            return None;
        }
        // SAFETY: an `Any` points to an array of its call.
        let array = unsafe { &*self.array };
        let column = <Option<T> as Argument>::column(array, 0, array.length as usize);
        <Option<T> as Argument>::get(&column, self.row)
    }

    /// The value, where it has the type of `T` and is not NULL.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn get<T>(&self) -> Option<T> {
        None
    }
}

/// The rows that a function gives.
#[cfg(target_arch = "wasm32")]
#[derive(Default)]
pub struct Rows<T: Row> {
    #[doc(hidden)]
    pub builder: T::Builder,
    #[doc(hidden)]
    pub length: usize,
}

#[cfg(target_arch = "wasm32")]
impl<T: Row> Rows<T> {
    /// Adds a row.
    #[inline(always)]
    pub fn push(&mut self, row: T) {
        row.push(&mut self.builder);
        self.length += 1;
    }

    #[doc(hidden)]
    pub fn clear(&mut self) {
        self.builder.clear();
        self.length = 0;
    }
}

/// The rows that a function gives.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub struct Rows<T>(Vec<T>);

#[cfg(not(target_arch = "wasm32"))]
impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<T> Rows<T> {
    /// Adds a row.
    pub fn push(&mut self, row: T) {
        self.0.push(row);
    }

    /// What was added, for tests.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: Row> Rows<T> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<T> Rows<T> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
