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
            (0..self.count).any(|n| Bits::validity(self.at(n)).bits != 0)
        }

        /// Whether no argument is NULL in a row.
        fn valid(&self, row: usize) -> bool {
            (0..self.count).all(|n| Bits::validity(self.at(n)).valid(row))
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

    /// Bits of the host; no bits at all stand for ones.
    #[derive(Clone, Copy)]
    pub struct Bits {
        bits: usize,
        step: usize,
    }

    impl Bits {
        fn validity(array: &ArrowArray) -> Self {
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
            let n = row * self.step;
            // SAFETY: the host lays out a bit for each row, or one for a constant.
            unsafe { *(self.bits as *const u8).add(n / 8) >> (n % 8) & 1 == 1 }
        }

        #[inline(always)]
        fn valid(&self, row: usize) -> bool {
            self.bits == 0 || self.get(row)
        }
    }

    /// A type that an argument can have.
    pub trait Argument: Sized {
        /// Its column.
        type Column: Copy;
        /// Looks at argument `n` of a call with so many rows.
        fn column(array: &ArrowArray, n: usize, rows: usize) -> Self::Column;
        /// The value of a row.
        fn get(column: &Self::Column, row: usize) -> Self;
    }

    /// A buffer for each argument.
    type Buffers = Single<[Buffer; 32]>;

    /// Constants, spread out.
    static SPREAD: Buffers = Single(UnsafeCell::new([const { Buffer::new() }; 32]));

    /// The starts of constant texts, whose ends are in `SPREAD`.
    static STARTS: Buffers = Single(UnsafeCell::new([const { Buffer::new() }; 32]));

    /// Values of a fixed width: one for each row, also where the host passed a constant. A loop over
    /// them has no factor in its index, which lets compilers compute several rows at once.
    #[inline(always)]
    fn values<T: Copy>(array: &ArrowArray, n: usize, rows: usize) -> *const T {
        let values = buffer(array, 1) as *const T;
        if array.length != 1 || rows == 1 {
            values
        } else {
            spread(&SPREAD, values, n, rows)
        }
    }

    #[inline(never)]
    fn spread<T: Copy>(to: &Buffers, value: *const T, n: usize, rows: usize) -> *const T {
        // SAFETY: one thread; each `n` is used once in a call and is below 32; a constant has one
        // value; the buffer has room for the rows.
        unsafe {
            let start = (&mut *to.0.get())[n].reserve(rows * size_of::<T>(), 0) as *mut T;
            let value = *value;
            (0..rows).for_each(|row| *start.add(row) = value);
            start
        }
    }

    macro_rules! fixed {
        ($($t:ty, [$($generic:tt)*];)*) => { $(
            impl<$($generic)*> Argument for $t {
                type Column = *const $t;
                #[inline(always)]
                fn column(array: &ArrowArray, n: usize, rows: usize) -> *const $t {
                    values(array, n, rows)
                }
                #[inline(always)]
                fn get(column: &*const $t, row: usize) -> $t {
                    // SAFETY: `values` gives one value for each row.
                    unsafe { *column.add(row) }
                }
            }
            impl<$($generic)*> Value for $t {
                type Sink = *mut $t;
                #[inline(always)]
                fn start(rows: usize) -> *mut $t {
                    output().values.reserve(rows * size_of::<$t>(), 0) as *mut $t
                }
                #[inline(always)]
                fn put(self, sink: &mut *mut $t, row: usize) {
                    // SAFETY: `start` reserved room for every row.
                    unsafe { *sink.add(row) = self }
                }
                #[inline(always)]
                fn nothing(sink: &mut *mut $t, row: usize) {
                    // SAFETY: as in `put`; zero is a value of each of these types.
                    unsafe { *sink.add(row) = core::mem::zeroed() }
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
        type Column = Bits;
        #[inline(always)]
        fn column(array: &ArrowArray, _: usize, _: usize) -> Bits {
            Bits {
                bits: buffer(array, 1),
                step: step(array),
            }
        }
        #[inline(always)]
        fn get(column: &Bits, row: usize) -> bool {
            column.get(row)
        }
    }

    /// Where texts and bytes lie: the offsets at which rows start and those at which they end.
    #[derive(Clone, Copy)]
    pub struct Bytes {
        starts: *const i32,
        ends: *const i32,
        bytes: *const u8,
    }

    impl Bytes {
        #[inline(always)]
        fn of(array: &ArrowArray, n: usize, rows: usize) -> Self {
            let offsets = buffer(array, 1) as *const i32;
            // SAFETY: the host lays out one offset more than rows.
            let next = unsafe { offsets.add(1) };
            let (starts, ends) = if array.length != 1 || rows == 1 {
                (offsets, next)
            } else {
                (
                    spread(&STARTS, offsets, n, rows),
                    spread(&SPREAD, next, n, rows),
                )
            };
            Self {
                starts,
                ends,
                bytes: buffer(array, 2) as *const u8,
            }
        }

        #[inline(always)]
        fn get<'a>(&self, row: usize) -> &'a [u8] {
            // SAFETY: the offsets of the host rise and lie within the bytes, which stay as they are
            // until the call returns.
            unsafe {
                let (from, to) = (*self.starts.add(row), *self.ends.add(row));
                core::slice::from_raw_parts(self.bytes.add(from as usize), (to - from) as usize)
            }
        }
    }

    macro_rules! bytes {
        ($($t:ty, |$bytes:ident| $make:expr;)*) => { $(
            impl Argument for $t {
                type Column = Bytes;
                #[inline(always)]
                fn column(array: &ArrowArray, n: usize, rows: usize) -> Bytes {
                    Bytes::of(array, n, rows)
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
        type Column = (T::Column, Bits);
        #[inline(always)]
        fn column(array: &ArrowArray, n: usize, rows: usize) -> Self::Column {
            (T::column(array, n, rows), Bits::validity(array))
        }
        #[inline(always)]
        fn get((column, validity): &Self::Column, row: usize) -> Self {
            validity.valid(row).then(|| T::get(column, row))
        }
    }

    /// The buffers of results; one call's are overwritten by the next.
    struct Output {
        validity: Buffer,
        values: Buffer,
        bytes: Buffer,
        pointers: [u32; 3],
    }

    static OUTPUT: Single<Output> = Single(UnsafeCell::new(Output {
        validity: Buffer::new(),
        values: Buffer::new(),
        bytes: Buffer::new(),
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
        /// Where values go; lives in the loop, so that its pointers stay in registers.
        type Sink;
        /// Makes room.
        fn start(rows: usize) -> Self::Sink;
        /// Writes the value of a row; rows come in order.
        fn put(self, sink: &mut Self::Sink, row: usize);
        /// Writes the values of a part that begins at `row`, a multiple of `N`.
        #[inline(always)]
        fn put_part<const N: usize>(values: [Self; N], sink: &mut Self::Sink, row: usize) {
            for (n, value) in values.into_iter().enumerate() {
                value.put(sink, row + n);
            }
        }
        /// Writes something for a row that is NULL.
        fn nothing(sink: &mut Self::Sink, row: usize);
    }

    impl Value for bool {
        type Sink = *mut u8;
        #[inline(always)]
        fn start(rows: usize) -> *mut u8 {
            let bits = output().values.reserve(rows.div_ceil(8), 0);
            // SAFETY: just reserved.
            unsafe { bits.write_bytes(0, rows.div_ceil(8)) }
            bits
        }
        #[inline(always)]
        fn put(self, sink: &mut *mut u8, row: usize) {
            // SAFETY: `start` reserved a bit for every row.
            unsafe { *sink.add(row / 8) |= u8::from(self) << (row % 8) }
        }
        #[inline(always)]
        fn put_part<const N: usize>(values: [bool; N], sink: &mut *mut u8, row: usize) {
            for (n, bits) in values.chunks_exact(8).enumerate() {
                let byte = bits
                    .iter()
                    .rev()
                    .fold(0, |byte, bit| byte << 1 | u8::from(*bit));
                // SAFETY: as in `put`; a part is whole bytes.
                unsafe { *sink.add(row / 8 + n) = byte }
            }
        }
        #[inline(always)]
        fn nothing(_: &mut *mut u8, _: usize) {}
    }

    /// Where texts go.
    pub struct ByteSink {
        offsets: *mut i32,
        bytes: *mut u8,
        used: usize,
        size: usize,
    }

    impl ByteSink {
        fn start(rows: usize) -> Self {
            let output = output();
            let bytes = output.bytes.reserve(1, 0);
            let offsets = output.values.reserve((rows + 1) * 4, 0) as *mut i32;
            // SAFETY: just reserved.
            unsafe { *offsets = 0 }
            Self {
                offsets,
                bytes,
                used: 0,
                size: output.bytes.size(),
            }
        }

        /// Room for `more` bytes. Hands values over, not the sink itself, which would move to memory
        /// for the sake of a call that is rare.
        #[inline(always)]
        fn room(&mut self, more: u64, row: usize) {
            let end = self.used as u64 + more;
            if end > self.size as u64 {
                (self.bytes, self.size) = Self::grow(self.used, end, row);
            }
        }

        #[cold]
        #[inline(never)]
        fn grow(used: usize, end: u64, row: usize) -> (*mut u8, usize) {
            if end > i32::MAX as u64 {
                fail(abi::NO_MEMORY, row as i64, "");
            }
            let bytes = &mut output().bytes;
            (bytes.reserve(end as usize, used), bytes.size())
        }

        /// # Safety
        /// There is room for the bytes.
        #[inline(always)]
        unsafe fn put(&mut self, bytes: &[u8], row: usize) {
            // SAFETY: as promised, and `start` reserved an offset for every row.
            unsafe {
                copy(bytes.as_ptr(), self.bytes.add(self.used), bytes.len());
                self.used += bytes.len();
                *self.offsets.add(row + 1) = self.used as i32;
            }
        }
    }

    /// Copies bytes; short texts in two overlapping pieces, because a bulk copy costs a call.
    ///
    /// # Safety
    /// As for `copy_nonoverlapping`.
    #[inline(always)]
    unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
        // SAFETY: both pieces lie within `length` bytes from the starts.
        unsafe {
            match length {
                0 => {}
                8..=16 => {
                    let (first, last) = (from as *const u64, from.add(length - 8) as *const u64);
                    let (first, last) = (first.read_unaligned(), last.read_unaligned());
                    (to as *mut u64).write_unaligned(first);
                    (to.add(length - 8) as *mut u64).write_unaligned(last);
                }
                17..=32 => {
                    type Wide = [u64; 2];
                    let (first, last) = (from as *const Wide, from.add(length - 16) as *const Wide);
                    let (first, last) = (first.read_unaligned(), last.read_unaligned());
                    (to as *mut Wide).write_unaligned(first);
                    (to.add(length - 16) as *mut Wide).write_unaligned(last);
                }
                4..=7 => {
                    let (first, last) = (from as *const u32, from.add(length - 4) as *const u32);
                    let (first, last) = (first.read_unaligned(), last.read_unaligned());
                    (to as *mut u32).write_unaligned(first);
                    (to.add(length - 4) as *mut u32).write_unaligned(last);
                }
                1..=3 => {
                    let (first, middle, last) =
                        (*from, *from.add(length / 2), *from.add(length - 1));
                    *to = first;
                    *to.add(length / 2) = middle;
                    *to.add(length - 1) = last;
                }
                _ => core::ptr::copy_nonoverlapping(from, to, length),
            }
        }
    }

    macro_rules! byte_values {
        ($($t:ty)*) => { $(
            impl Value for $t {
                const BYTES: bool = true;
                type Sink = ByteSink;
                fn start(rows: usize) -> ByteSink {
                    ByteSink::start(rows)
                }
                #[inline(always)]
                fn put(self, sink: &mut ByteSink, row: usize) {
                    let bytes: &[u8] = self.as_ref();
                    sink.room(bytes.len() as u64, row);
                    // SAFETY: there is room now.
                    unsafe { sink.put(bytes, row) }
                }
                #[inline(always)]
                fn put_part<const N: usize>(values: [Self; N], sink: &mut ByteSink, row: usize) {
                    let length = |value: &Self| AsRef::<[u8]>::as_ref(value).len() as u64;
                    sink.room(values.iter().map(length).sum(), row);
                    for (n, value) in values.iter().enumerate() {
                        // SAFETY: there is room for all of them.
                        unsafe { sink.put(value.as_ref(), row + n) }
                    }
                }
                #[inline(always)]
                fn nothing(sink: &mut ByteSink, row: usize) {
                    // SAFETY: nothing needs no room.
                    unsafe { sink.put(&[], row) }
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
        watch_panics();
        let mut sink = R::Value::start(rows);
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
                        value.put(&mut sink, row);
                        byte |= 1 << (row % 8);
                    }
                    None => {
                        R::Value::nothing(&mut sink, row);
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
            // Such a function has a value for each row.
            let value = |row| match compute(row).value(row) {
                Some(value) => value,
                None => core::arch::wasm32::unreachable(),
            };
            // Between two rounds the engine looks at the deadline. Where a row costs little, the
            // compiler unrolls the loop over parts, so that this costs nothing; where it costs much,
            // the parts stay a loop. Texts cost more than the look.
            let mut row = 0;
            if R::Value::BYTES {
                while row + 4 <= rows {
                    part::<R, 4>(&mut sink, row, &value);
                    row += 4;
                }
            } else {
                while row + 32 <= rows {
                    for _ in 0..4 {
                        part::<R, 8>(&mut sink, row, &value);
                        row += 8;
                    }
                }
            }
            while row < rows {
                value(row).put(&mut sink, row);
                row += 1;
            }
        }
        finish(out, rows, nulls, if R::Value::BYTES { 3 } else { 2 });
    }

    /// Computes `N` rows, then writes them. For all the compiler knows, what is written could be what
    /// is read next: between writes it could not compute two rows at once.
    #[inline(always)]
    fn part<R: Return, const N: usize>(
        sink: &mut <R::Value as Value>::Sink,
        row: usize,
        value: &impl Fn(usize) -> R::Value,
    ) {
        R::Value::put_part(
            core::array::from_fn::<_, N, _>(|n| value(row + n)),
            sink,
            row,
        );
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
            // SAFETY: one value for each row, of the host or spread out; they stay until the call
            // returns.
            unsafe { core::slice::from_raw_parts(values(array, n, rows), rows) }
        }
    }

    /// The slice that a function over columns writes.
    pub fn slice<T: Slice + Value>(rows: usize) -> &'static mut [T] {
        let mut sink = T::start(rows);
        for row in 0..rows {
            T::nothing(&mut sink, row);
        }
        // SAFETY: `start` reserved the rows, and they were just written.
        unsafe { core::slice::from_raw_parts_mut(output().values.start() as *mut T, rows) }
    }

    /// # Safety
    /// As for [`rows`].
    pub unsafe fn finish_slice<T: Slice>(out: *mut ArrowArray, rows: usize) {
        finish(out, rows, 0, 2);
    }

    /// Makes panics errors with their message and place, where the module asks for it.
    #[inline(always)]
    fn watch_panics() {
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
