//! What the macro's code calls. Not for people: it may change with any version.

#[cfg(target_arch = "wasm32")]
pub use crate::abi::ArrowArray;
#[cfg(target_arch = "wasm32")]
pub use wasm::*;

#[cfg(target_arch = "wasm32")]
mod wasm {
    use core::cell::UnsafeCell;
    use core::fmt::Display;

    use crate::abi::{self, ArrowArray};
    use crate::host::fail;
    use crate::memory::{Buffer, Single};
    use crate::types::{Date, Decimal, Timestamp, Unit};

    /// The arrays of one call.
    pub struct Arrays {
        first: *const ArrowArray,
        count: usize,
    }

    impl Arrays {
        /// # Safety
        /// `first` points to `count` arrays as the ABI describes them.
        pub unsafe fn new(first: *const ArrowArray, count: usize) -> Self {
            Self { first, count }
        }

        /// Array `n`, which is less than `count`.
        #[inline(always)]
        pub fn at(&self, n: usize) -> &ArrowArray {
            // SAFETY: see `new`; the macro passes indices below `count`.
            unsafe { &*self.first.add(n) }
        }

        fn any_nulls(&self) -> bool {
            (0..self.count).any(|n| Validity::of(self.at(n)).bits != 0)
        }

        /// Whether no argument is NULL in a row.
        fn valid(&self, row: usize) -> bool {
            (0..self.count).all(|n| Validity::of(self.at(n)).get(row))
        }
    }

    #[inline(always)]
    fn buffer(array: &ArrowArray, n: usize) -> usize {
        // SAFETY: the ABI promises that `buffers` points to as many pointers as the type has buffers.
        unsafe { *(array.buffers as *const u32).add(n) as usize }
    }

    /// 1 for a column, 0 for a constant: the factor of the row.
    #[inline(always)]
    fn step(array: &ArrowArray) -> usize {
        usize::from(array.length != 1)
    }

    #[inline(always)]
    fn bit(bits: usize, n: usize) -> bool {
        // SAFETY: callers pass bitmaps of the host with more than `n` bits.
        unsafe { *(bits as *const u8).add(n / 8) >> (n % 8) & 1 == 1 }
    }

    /// A validity bitmap; 0 means that nothing is NULL.
    #[derive(Clone, Copy)]
    pub struct Validity {
        bits: usize,
        step: usize,
    }

    impl Validity {
        fn of(array: &ArrowArray) -> Self {
            let bits = if array.null_count == 0 {
                0
            } else {
                buffer(array, 0)
            };
            Self {
                bits,
                step: step(array),
            }
        }

        #[inline(always)]
        fn get(&self, row: usize) -> bool {
            self.bits == 0 || bit(self.bits, row * self.step)
        }
    }

    /// A type that an argument can have.
    pub trait Argument: Sized {
        /// Its column.
        type Column: Copy;
        /// Looks at an array.
        fn column(array: &ArrowArray) -> Self::Column;
        /// The value of a row.
        fn get(column: &Self::Column, row: usize) -> Self;
    }

    /// Where values of a fixed width lie.
    #[derive(Clone, Copy)]
    pub struct Fixed<T> {
        values: *const T,
        step: usize,
    }

    macro_rules! fixed {
        ($($t:ty, [$($generic:tt)*];)*) => { $(
            impl<$($generic)*> Argument for $t {
                type Column = Fixed<$t>;
                #[inline(always)]
                fn column(array: &ArrowArray) -> Fixed<$t> {
                    Fixed { values: buffer(array, 1) as *const $t, step: step(array) }
                }
                #[inline(always)]
                fn get(column: &Fixed<$t>, row: usize) -> $t {
                    // SAFETY: the host lays out one value for each row, or one for a constant.
                    unsafe { *column.values.add(row * column.step) }
                }
            }
            impl<$($generic)*> Value for $t {
                #[inline(always)]
                fn start(rows: usize) {
                    output().values.reserve(rows * size_of::<$t>(), 0);
                }
                #[inline(always)]
                fn put(self, row: usize) {
                    // SAFETY: `start` reserved room for every row.
                    unsafe { *(output().values.start() as *mut $t).add(row) = self }
                }
                #[inline(always)]
                fn nothing(row: usize) {
                    // SAFETY: as in `put`; zero is a value of each of these types.
                    unsafe { *(output().values.start() as *mut $t).add(row) = core::mem::zeroed() }
                }
            }
            impl<$($generic)*> Slice for $t {}
        )* };
    }

    fixed! {
        i8, []; i16, []; i32, []; i64, []; u8, []; u16, []; u32, []; u64, []; f32, []; f64, [];
        Date, []; Timestamp<U>, [U: Unit]; Decimal<P, S>, [const P: u8, const S: u8];
    }

    impl Argument for bool {
        type Column = Validity;
        #[inline(always)]
        fn column(array: &ArrowArray) -> Validity {
            Validity {
                bits: buffer(array, 1),
                step: step(array),
            }
        }
        #[inline(always)]
        fn get(column: &Validity, row: usize) -> bool {
            bit(column.bits, row * column.step)
        }
    }

    /// Where texts and bytes lie.
    #[derive(Clone, Copy)]
    pub struct Bytes {
        offsets: *const i32,
        bytes: *const u8,
        step: usize,
    }

    impl Bytes {
        fn of(array: &ArrowArray) -> Self {
            let offsets = buffer(array, 1) as *const i32;
            Self {
                offsets,
                bytes: buffer(array, 2) as *const u8,
                step: step(array),
            }
        }

        #[inline(always)]
        fn get<'a>(&self, row: usize) -> &'a [u8] {
            let row = row * self.step;
            // SAFETY: the host lays out one offset more than rows, rising, within the bytes, which
            // stay as they are until the call returns.
            unsafe {
                let (from, to) = (*self.offsets.add(row), *self.offsets.add(row + 1));
                core::slice::from_raw_parts(self.bytes.add(from as usize), (to - from) as usize)
            }
        }
    }

    macro_rules! bytes {
        ($($t:ty, |$bytes:ident| $make:expr;)*) => { $(
            impl Argument for $t {
                type Column = Bytes;
                #[inline(always)]
                fn column(array: &ArrowArray) -> Bytes {
                    Bytes::of(array)
                }
                #[inline(always)]
                fn get(column: &Bytes, row: usize) -> Self {
                    let $bytes = column.get(row);
                    $make
                }
            }
        )* };
    }

    bytes! {
        // SAFETY: the host passes valid UTF-8 where the manifest says text.
        &str, |bytes| unsafe { core::str::from_utf8_unchecked(bytes) };
        // SAFETY: as above.
        String, |bytes| unsafe { String::from_utf8_unchecked(bytes.to_vec()) };
        &[u8], |bytes| bytes;
        Vec<u8>, |bytes| bytes.to_vec();
    }

    impl<T: Argument> Argument for Option<T> {
        type Column = (T::Column, Validity);
        #[inline(always)]
        fn column(array: &ArrowArray) -> Self::Column {
            (T::column(array), Validity::of(array))
        }
        #[inline(always)]
        fn get((column, validity): &Self::Column, row: usize) -> Self {
            validity.get(row).then(|| T::get(column, row))
        }
    }

    /// The buffers of results; one call's are overwritten by the next.
    struct Output {
        validity: Buffer,
        values: Buffer,
        bytes: Buffer,
        /// Bytes of texts so far.
        used: usize,
        pointers: [u32; 3],
    }

    static OUTPUT: Single<Output> = Single(UnsafeCell::new(Output {
        validity: Buffer::new(),
        values: Buffer::new(),
        bytes: Buffer::new(),
        used: 0,
        pointers: [0; 3],
    }));

    #[inline(always)]
    fn output() -> &'static mut Output {
        // SAFETY: one thread, and no function of this module keeps the reference across another call.
        unsafe { &mut *OUTPUT.0.get() }
    }

    /// A type that a result can have.
    pub trait Value: Sized {
        /// Whether there is a third buffer.
        const BYTES: bool = false;
        /// Makes room.
        fn start(rows: usize);
        /// Writes the value of a row; rows come in order.
        fn put(self, row: usize);
        /// Writes something for a row that is NULL.
        fn nothing(row: usize);
    }

    impl Value for bool {
        #[inline(always)]
        fn start(rows: usize) {
            let bits = output().values.reserve(rows.div_ceil(8), 0);
            // SAFETY: just reserved.
            unsafe { bits.write_bytes(0, rows.div_ceil(8)) }
        }
        #[inline(always)]
        fn put(self, row: usize) {
            // SAFETY: `start` reserved a bit for every row.
            unsafe { *output().values.start().add(row / 8) |= u8::from(self) << (row % 8) }
        }
        #[inline(always)]
        fn nothing(_: usize) {}
    }

    fn start_bytes(rows: usize) {
        let output = output();
        output.used = 0;
        output.bytes.reserve(1, 0);
        let offsets = output.values.reserve((rows + 1) * 4, 0) as *mut i32;
        // SAFETY: just reserved.
        unsafe { *offsets = 0 }
    }

    #[inline(always)]
    fn put_bytes(bytes: &[u8], row: usize) {
        let output = output();
        let end = output.used + bytes.len();
        if end > output.bytes.size() {
            if end > i32::MAX as usize {
                fail(abi::NO_MEMORY, row as i64, "");
            }
            output.bytes.reserve(end, output.used);
        }
        // SAFETY: there is room for the bytes, and `start_bytes` reserved an offset for every row.
        unsafe {
            let to = output.bytes.start().add(output.used);
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            *(output.values.start() as *mut i32).add(row + 1) = end as i32;
        }
        output.used = end;
    }

    macro_rules! byte_values {
        ($($t:ty)*) => { $(
            impl Value for $t {
                const BYTES: bool = true;
                fn start(rows: usize) {
                    start_bytes(rows);
                }
                #[inline(always)]
                fn put(self, row: usize) {
                    put_bytes(self.as_ref(), row);
                }
                #[inline(always)]
                fn nothing(row: usize) {
                    put_bytes(&[], row);
                }
            }
        )* };
    }

    byte_values!(&str String &[u8] Vec<u8>);

    /// What a function returns.
    pub trait Return {
        /// The value in it.
        type Value: Value;
        /// Whether it can be NULL.
        const NULLABLE: bool;
        /// The value; `None` is NULL. An error ends the call.
        fn value(self, row: usize) -> Option<Self::Value>;
    }

    impl<V: Value> Return for V {
        type Value = V;
        const NULLABLE: bool = false;
        #[inline(always)]
        fn value(self, _: usize) -> Option<V> {
            Some(self)
        }
    }

    impl<V: Value> Return for Option<V> {
        type Value = V;
        const NULLABLE: bool = true;
        #[inline(always)]
        fn value(self, _: usize) -> Option<V> {
            self
        }
    }

    impl<R: Return, E: Display> Return for Result<R, E> {
        type Value = R::Value;
        const NULLABLE: bool = R::NULLABLE;
        #[inline(always)]
        fn value(self, row: usize) -> Option<R::Value> {
            match self {
                Ok(inner) => inner.value(row),
                Err(error) => fail(abi::ERROR, row as i64, &error.to_string()),
            }
        }
    }

    /// Rows that are computed between two looks at the loop: enough that the engine's check for
    /// deadlines, once a round, costs nothing.
    const ROUND: usize = 8;

    /// Computes a column row by row.
    ///
    /// # Safety
    /// `out` is the result's array of a call with `rows` rows, as the ABI describes it.
    #[inline(always)]
    pub unsafe fn rows<R: Return, const STRICT: bool>(
        out: *mut ArrowArray,
        rows: usize,
        arrays: &Arrays,
        compute: impl Fn(usize) -> R,
    ) {
        watch_panics::<R>();
        R::Value::start(rows);
        let skip = STRICT && arrays.any_nulls();
        let mut nulls = 0;
        if skip || R::NULLABLE {
            let bits = output().validity.reserve(rows.div_ceil(8), 0);
            let mut byte = 0u8;
            for row in 0..rows {
                // NULL rows hold no values: computing them could fail for nothing.
                let value = if skip && !arrays.valid(row) {
                    None
                } else {
                    compute(row).value(row)
                };
                match value {
                    Some(value) => {
                        value.put(row);
                        byte |= 1 << (row % 8);
                    }
                    None => {
                        R::Value::nothing(row);
                        nulls += 1;
                    }
                }
                if row % 8 == 7 || row + 1 == rows {
                    // SAFETY: just reserved.
                    unsafe { *bits.add(row / 8) = byte }
                    byte = 0;
                }
            }
        } else {
            let put = |row| {
                if let Some(value) = compute(row).value(row) {
                    value.put(row);
                }
            };
            let mut row = 0;
            while row + ROUND <= rows {
                for n in 0..ROUND {
                    put(row + n);
                }
                row += ROUND;
            }
            while row < rows {
                put(row);
                row += 1;
            }
        }
        finish(out, rows, nulls, if R::Value::BYTES { 3 } else { 2 });
    }

    fn finish(out: *mut ArrowArray, rows: usize, nulls: usize, buffers: usize) {
        let output = output();
        let validity = if nulls > 0 {
            output.validity.start() as u32
        } else {
            0
        };
        output.pointers = [
            validity,
            output.values.start() as u32,
            output.bytes.start() as u32,
        ];
        // SAFETY: see `rows`.
        let out = unsafe { &mut *out };
        out.length = rows as i64;
        out.null_count = nulls as i64;
        out.n_buffers = buffers as i64;
        out.buffers = output.pointers.as_ptr() as u32;
    }

    /// An element of the slices that a function over columns sees.
    pub trait Slice: Copy + 'static {
        /// The whole column of argument `n`; a constant is spread out.
        fn read(array: &ArrowArray, n: usize, rows: usize) -> &'static [Self] {
            let mut values = buffer(array, 1) as *const Self;
            if step(array) == 0 && rows != 1 {
                // SAFETY: one thread; macros pass each `n` once a call; a constant has one value.
                let (spread, value) = unsafe { (&mut (&mut *SPREAD.0.get())[n], *values) };
                let start = spread.reserve(rows * size_of::<Self>(), 0) as *mut Self;
                for row in 0..rows {
                    // SAFETY: just reserved.
                    unsafe { *start.add(row) = value }
                }
                values = start;
            }
            // SAFETY: one value for each row, of the host or spread out above; they stay until the
            // call returns.
            unsafe { core::slice::from_raw_parts(values, rows) }
        }
    }

    /// Constants of functions over columns, spread out; one buffer for each argument.
    static SPREAD: Single<[Buffer; 32]> = Single(UnsafeCell::new([const { Buffer::new() }; 32]));

    /// The slice that a function over columns writes.
    pub fn slice<T: Slice + Value>(rows: usize) -> &'static mut [T] {
        T::start(rows);
        for row in 0..rows {
            T::nothing(row);
        }
        // SAFETY: `start` reserved the rows, and they were just written.
        unsafe { core::slice::from_raw_parts_mut(output().values.start() as *mut T, rows) }
    }

    /// # Safety
    /// As for [`rows`].
    pub unsafe fn finish_slice<T: Slice>(out: *mut ArrowArray, rows: usize) {
        finish(out, rows, 0, 2);
    }

    /// Makes panics errors with their message and place, in modules that can have them anyway.
    #[inline(always)]
    fn watch_panics<R: Return>() {
        #[cfg(feature = "panic-messages")]
        {
            static SET: Single<bool> = Single(UnsafeCell::new(false));
            // SAFETY: one thread; the reference ends here.
            let set = unsafe { &mut *SET.0.get() };
            if !core::mem::replace(set, true) {
                std::panic::set_hook(Box::new(|panic| fail(abi::PANIC, -1, &panic.to_string())));
            }
        }
    }
}
