//! Table functions and maps: batches in, batches out, each in its own time.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, Field, FieldRef, UInt32Type};
use sandmill_abi::{ARRAY_SIZE, BUFFER_ALIGN};

use super::rows::{Rows, argument_fields, sources};
use super::{Instance, Timings, nanos};
use crate::context::Context;
use crate::error::Error;
use crate::function::FunctionKind;
use crate::read::allocation;
use crate::sandbox::Module;

/// Batches without a row that a guest may give one after the other.
const EMPTY_BATCHES: usize = 256;

/// What a stream answered.
#[derive(Debug, Clone)]
pub enum Pulled {
    /// Rows. `origins` says of each which row of the last push it belongs to (table functions only).
    Batch {
        /// The columns of the manifest.
        rows: Rows,
        /// Never falling, below the rows of the last push.
        origins: Option<UInt32Array>,
    },
    /// It waits for a push or for [`Stream::finish`].
    NeedsInput,
    /// Nothing follows.
    Done,
}

/// One stream of a table function or map. Its instance serves it alone, since what it keeps between
/// two calls must not meet other calls.
pub struct Stream {
    instance: Instance,
    function: usize,
    handle: i32,
    /// The results' structs, apart from the arena, which belongs to the last push.
    out: u32,
    input: Vec<FieldRef>,
    output: Vec<FieldRef>,
    table: bool,
    /// What was pushed and is not in the guest's memory yet.
    columns: Vec<ArrayRef>,
    pushed: usize,
    /// Rows `start..end` of the push lie in the guest's memory.
    start: usize,
    end: usize,
    /// Rows of earlier pushes.
    before: u64,
    /// The highest row that a result belonged to.
    last: u32,
    empty: usize,
    asked: bool,
    ending: bool,
    finished: bool,
    done: bool,
}

impl Stream {
    /// Opens a stream of function `function`. `constants` are arrays of one value: a map's arguments.
    /// A table function has none, its arguments are pushed.
    ///
    /// # Errors
    /// `Exhausted`, `Arguments`, or what goes wrong in the guest.
    pub fn open(
        module: &Module,
        context: &Arc<Context>,
        function: usize,
        constants: &[ArrayRef],
    ) -> Result<Self, Error> {
        let mut instance = module.instantiate(context)?;
        let kinds = [FunctionKind::Table, FunctionKind::Map];
        let described = instance.described(function, &kinds)?;
        let table = described.kind == FunctionKind::Table;
        let arguments = argument_fields(&described)?;
        let (fixed, input) = match table {
            true => (Vec::new(), arguments),
            false => (arguments, described.inputs[0].to_vec()),
        };
        let mut output = described.columns.to_vec();
        if table {
            output.insert(0, Arc::new(Field::new("row", DataType::UInt32, false)));
        }
        let given = sources("constants", constants, &fixed, 1)?;
        instance.alive()?;
        let started = Instant::now();
        instance.enter(function, 0);
        let Some(laid) = instance.place(&given, 1, 0, &[])? else {
            return Err(instance.too_large("the constant arguments"));
        };
        let written = Instant::now();
        instance.enter(function, 0);
        let open = instance.export::<(i32, i32), i32>(function, "sm_open.")?;
        let arguments = (laid.base.cast_signed(), given.len() as i32);
        let result = open.call(&mut instance.store, arguments);
        let handle = instance.landed(result, None)?;
        if handle < 0 {
            instance.succeeded(handle)?;
        }
        if handle == 0 {
            return instance.wrong("it opened a stream with the handle 0".into());
        }
        let out = instance.room(output.len() * ARRAY_SIZE as usize)?;
        let timings = &mut instance.timings;
        timings.calls += 1;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(written.elapsed());
        Ok(Self {
            instance,
            function,
            handle,
            out,
            input,
            output,
            table,
            columns: Vec::new(),
            pushed: 0,
            start: 0,
            end: 0,
            before: 0,
            last: 0,
            empty: 0,
            asked: false,
            ending: false,
            finished: false,
            done: false,
        })
    }

    /// Where the time of its instance went.
    pub fn timings(&self) -> Timings {
        self.instance.timings()
    }

    /// Gives it a batch, after it asked for one. What does not fit into the guest's memory reaches
    /// it in parts.
    ///
    /// # Errors
    /// `Arguments` when it did not ask, or for other columns than the manifest's.
    pub fn push(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<(), Error> {
        if !self.asked || self.ending || self.done {
            return Err(Error::Arguments("the stream takes no input now".into()));
        }
        sources("columns", &columns, &self.input, rows)?;
        self.columns = columns;
        self.before += self.pushed as u64;
        (self.pushed, self.start, self.end) = (rows, 0, 0);
        (self.last, self.asked) = (0, false);
        Ok(())
    }

    /// Says that no push follows.
    pub fn finish(&mut self) {
        self.ending = true;
    }

    /// Asks for the next batch.
    ///
    /// # Errors
    /// What goes wrong in the guest; afterwards the stream is of no more use.
    pub fn pull(&mut self) -> Result<Pulled, Error> {
        while !self.done {
            self.instance.alive()?;
            match self.ask()? {
                1 => return self.batch(),
                2 => self.done = true,
                0 if self.end < self.pushed => self.part()?,
                0 if self.finished => {
                    let message = "it asks for input after its end";
                    return self.instance.wrong(message.into());
                }
                0 if self.ending => self.end_input()?,
                0 => {
                    // Asking for input, too, is a step.
                    (self.asked, self.empty) = (true, 0);
                    return Ok(Pulled::NeedsInput);
                }
                status => self.instance.succeeded(status)?,
            }
        }
        Ok(Pulled::Done)
    }

    /// Closes it. Without this the guest is not asked, its instance just goes.
    ///
    /// # Errors
    /// What goes wrong in the guest.
    pub fn close(mut self) -> Result<Timings, Error> {
        let instance = &mut self.instance;
        instance.alive()?;
        instance.enter(self.function, 0);
        let close = instance.export::<i32, ()>(self.function, "sm_close.")?;
        let result = close.call(&mut instance.store, self.handle);
        instance.landed(result, Some(self.before))?;
        Ok(instance.timings())
    }

    fn ask(&mut self) -> Result<i32, Error> {
        let instance = &mut self.instance;
        let pull = instance.export::<(i32, i32), i32>(self.function, "sm_pull.")?;
        let size = self.output.len() * ARRAY_SIZE as usize;
        instance.memory.data_mut(&mut instance.store)[self.out as usize..][..size].fill(0);
        instance.enter(self.function, 0);
        let started = Instant::now();
        let arguments = (self.handle, self.out.cast_signed());
        let result = pull.call(&mut instance.store, arguments);
        instance.timings.calls += 1;
        instance.timings.call_nanos += nanos(started.elapsed());
        instance.landed(result, Some(self.before + self.start as u64))
    }

    /// Lays the next part of the push out: all that is left, or half of it while that does not fit.
    fn part(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let start = self.end;
        let mut length = self.pushed - start;
        let instance = &mut self.instance;
        // For the deadline of what follows.
        instance.enter(self.function, 0);
        let laid = loop {
            let part: Vec<_> = self
                .columns
                .iter()
                .map(|column| column.slice(start, length))
                .collect();
            let part = sources("columns", &part, &self.input, length)?;
            if let Some(laid) = instance.place(&part, length, 0, &[])? {
                break laid;
            }
            if length == 1 {
                return Err(instance.too_large("the values of one row"));
            }
            length /= 2;
        };
        let written = Instant::now();
        (self.start, self.end) = (start, start + length);
        let before = self.before + start as u64;
        instance.enter(self.function, length);
        let push = instance.export::<(i32, i32, i32), i32>(self.function, "sm_push.")?;
        let arguments = (self.handle, laid.base.cast_signed(), length as i32);
        let result = push.call(&mut instance.store, arguments);
        let status = instance.landed(result, Some(before))?;
        instance.succeeded(status)?;
        let timings = &mut instance.timings;
        timings.calls += 1;
        timings.rows += length as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(written.elapsed());
        (self.last, self.empty) = (self.start as u32, 0);
        if self.end == self.pushed {
            self.columns.clear();
        }
        Ok(())
    }

    fn end_input(&mut self) -> Result<(), Error> {
        let instance = &mut self.instance;
        instance.enter(self.function, 0);
        let finish = instance.export::<i32, i32>(self.function, "sm_finish.")?;
        let started = Instant::now();
        let result = finish.call(&mut instance.store, self.handle);
        instance.timings.calls += 1;
        instance.timings.call_nanos += nanos(started.elapsed());
        let status = instance.landed(result, Some(self.before))?;
        instance.succeeded(status)?;
        (self.finished, self.empty) = (true, 0);
        Ok(())
    }

    fn batch(&mut self) -> Result<Pulled, Error> {
        let started = Instant::now();
        let before = self.before + self.start as u64;
        let mut rows = self.instance.take_rows(self.out, &self.output, before)?;
        self.empty = match rows.length {
            0 => self.empty + 1,
            _ => 0,
        };
        if self.empty > EMPTY_BATCHES {
            let message = format!("it gave {EMPTY_BATCHES} batches without a row, one by one");
            return self.instance.wrong(message);
        }
        let mut origins = None;
        if self.table {
            let numbers = rows.columns.remove(0);
            origins = Some(self.origins(&numbers)?);
        }
        self.instance.timings.validate_nanos += nanos(started.elapsed());
        Ok(Pulled::Batch { rows, origins })
    }

    /// Row numbers of the whole push from those of its part.
    fn origins(&mut self, numbers: &dyn Array) -> Result<UInt32Array, Error> {
        let (start, end) = (self.start as u32, self.end as u32);
        let numbers = numbers.as_primitive::<UInt32Type>().values();
        let mut last = self.last;
        for number in numbers {
            let number = number.saturating_add(start);
            if number >= end {
                let message = format!(
                    "its rows belong to row {} of {}",
                    number - start,
                    end - start
                );
                return self.instance.wrong(message);
            }
            if number < last {
                return self.instance.wrong("its row numbers fall".into());
            }
            last = number;
        }
        self.last = last;
        if start == 0 {
            return Ok(UInt32Array::new(numbers.clone(), None));
        }
        Ok(numbers
            .iter()
            .map(|number| number + start)
            .collect::<Vec<_>>()
            .into())
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("function", &self.function)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// Memory that stays the host's for as long as the instance lives.
    fn room(&mut self, size: usize) -> Result<u32, Error> {
        let arguments = (size as i32, BUFFER_ALIGN as i32);
        let result = self.alloc.call(&mut self.store, arguments);
        let ptr = self.landed(result, None)?.cast_unsigned();
        if ptr == 0 {
            return Err(self.too_large("the structs of its results"));
        }
        let memory = self.memory.data_size(&self.store);
        if allocation(ptr, size, memory).is_none() {
            let message = "sm_alloc gave a range that is not aligned or outside of its memory";
            return self.wrong(message.into());
        }
        Ok(ptr)
    }
}
