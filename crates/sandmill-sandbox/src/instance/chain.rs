//! Several scalar functions of one module in one go: what one gives, the next reads where it lies.

use std::time::Instant;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use sandmill_abi::{ARRAY_SIZE, BUFFER_ALIGN, limits};

use super::scalar::halves;
use super::{Argument, Instance, Laid, nanos};
use crate::error::Error;
use crate::function::{Function, FunctionKind};
use crate::read::Promise;
use crate::sandbox::Module;
use crate::write::Source;

const STRUCT: usize = ARRAY_SIZE as usize;

/// Where an argument of a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// An input of the chain.
    Input(usize),
    /// The result of an earlier step.
    Step(usize),
}

/// One call of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Index of the function in its module.
    pub function: usize,
    /// Its arguments.
    pub operands: Vec<Operand>,
}

/// Whether a function can be a step: scalar, of the plain types, in a module whose results
/// stay where they are until `sm_out_free`.
pub fn can_chain(module: &Module, function: usize) -> bool {
    let flat = |ty: &DataType| {
        use DataType::*;
        ty.is_integer()
            || matches!(ty, Boolean | Float32 | Float64 | Utf8 | Binary)
            || matches!(ty, Date32 | Timestamp(..) | Decimal128(..))
    };
    let keeps = module.0.code.module().get_export("sm_out_free").is_some();
    let fits = |f: &Function| {
        let exact = |ty: &crate::ParameterType| ty.exact().is_some_and(flat);
        f.kind == FunctionKind::Scalar
            && !f.variadic
            && exact(&f.returns)
            && f.arguments.iter().all(|a| exact(&a.ty))
    };
    keeps && module.0.manifest.functions.get(function).is_some_and(fits)
}

impl Instance {
    /// Computes the last of some steps; each may read `inputs` and results of steps before it. All
    /// functions must be such that [`can_chain`] holds. Results in between are not copied: they were
    /// written by the same module that reads them, and of their bits only those for NULL concern the
    /// host.
    ///
    /// # Errors
    /// As [`Instance::call`]; rows of guest errors are those of the failing step.
    pub fn chain(
        &mut self,
        steps: &[Step],
        inputs: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let module = self.module.clone();
        let functions = check(&module, steps, inputs, rows)?;
        let Some(last) = functions.last() else {
            return Err(Error::Arguments("a chain has no steps".into()));
        };
        if rows == 0 {
            return Ok(new_empty_array(returns(last)?));
        }
        self.chain_parts(steps, &functions, inputs, rows)
    }

    fn chain_parts(
        &mut self,
        steps: &[Step],
        functions: &[&Function],
        inputs: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        let types = input_types(steps, functions, inputs)?;
        let sources = inputs.iter().zip(types);
        let sources = sources.map(|(input, ty)| Source::new(input.array(), ty));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let started = Instant::now();
        let rooms = Rooms::new(steps, rows);
        let empty = vec![0; rooms.size];
        if let Some(laid) = self.place(&sources, rows, steps.len(), &[&empty])? {
            return self.chain_once(steps, functions, inputs, rows, &rooms, laid, started);
        }
        if rows == 1 {
            return Err(self.too_large("the arguments of one row"));
        }
        halves(inputs, rows, |part, rows| {
            self.chain_parts(steps, functions, part, rows)
        })
    }

    #[allow(clippy::too_many_arguments, reason = "one call in pieces")]
    fn chain_once(
        &mut self,
        steps: &[Step],
        functions: &[&Function],
        inputs: &[Argument<'_>],
        rows: usize,
        rooms: &Rooms,
        laid: Laid,
        started: Instant,
    ) -> Result<ArrayRef, Error> {
        let written = Instant::now();
        let out = |step: usize| laid.out + (step * STRUCT) as u32;
        let room = laid.extras.first().copied().unwrap_or_default();
        let mut nulls: Vec<Option<NullBuffer>> = Vec::with_capacity(steps.len());
        let mut strict = None;
        for (n, (step, function)) in steps.iter().zip(functions).enumerate() {
            let arguments = room + rooms.steps[n] as u32;
            for (place, operand) in step.operands.iter().enumerate() {
                let from = match operand {
                    Operand::Input(input) => laid.base + (input * STRUCT) as u32,
                    Operand::Step(earlier) => out(*earlier),
                } as usize;
                let to = arguments as usize + place * STRUCT;
                // Both lie in the arena that was just laid out.
                let memory = self.memory.data_mut(&mut self.store);
                memory.copy_within(from..from + STRUCT, to);
            }
            let before = self.enter(step.function, rows);
            let call = self.export::<(i32, i32, i32), i32>(step.function, "sm_scalar.")?;
            let raw = (arguments.cast_signed(), rows as i32, out(n).cast_signed());
            let result = call.call(&mut self.store, raw);
            let status = self.landed(result, Some(before))?;
            self.succeeded(status)?;
            let operands = step.operands.iter();
            let taken = operands.map(|operand| match operand {
                Operand::Input(input) => input_nulls(&inputs[*input], rows),
                Operand::Step(earlier) => nulls[*earlier].clone(),
            });
            strict = match function.strict {
                true => taken.fold(None, |all, one| {
                    NullBuffer::union(all.as_ref(), one.as_ref())
                }),
                false => None,
            };
            if n + 1 < steps.len() {
                let own = self.intermediate_nulls(out(n), rows)?;
                if !function.nullable && own.as_ref().is_some_and(|own| lies(own, &strict)) {
                    self.poisoned = true;
                    let message = "it has NULL in rows where its manifest promises a value";
                    return Err(Error::Output(message.into()));
                }
                let all = NullBuffer::union(own.as_ref(), strict.as_ref());
                if let Some(all) = &all {
                    let at = arguments + (step.operands.len() * STRUCT) as u32;
                    self.set_nulls(out(n), at, returns(function)?, all);
                }
                nulls.push(all);
            }
        }
        let called = Instant::now();
        let last = steps.len() - 1;
        let function = functions[last];
        let promise = Promise {
            returns: returns(function)?,
            rows,
            nullable: function.nullable,
            input: strict,
        };
        let array = self.take(out(last), promise)?;
        for n in (0..steps.len()).rev() {
            self.give_back(out(n), 0)?;
        }
        let timings = &mut self.timings;
        timings.calls += steps.len() as u64;
        timings.rows += (rows * steps.len()) as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(called - written);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(array)
    }

    /// The validity of a result that stays in the guest's memory.
    fn intermediate_nulls(&mut self, out: u32, rows: usize) -> Result<Option<NullBuffer>, Error> {
        let found = validity(self.memory.data(&self.store), out as usize, rows);
        found.map_err(|message| {
            self.poisoned = true;
            Error::Output(message.into())
        })
    }

    /// Makes a result that stays in the guest's memory NULL where `nulls` says so: its struct points
    /// to a bitmap and to pointers that the host keeps at `room` in the arena.
    fn set_nulls(&mut self, out: u32, room: u32, ty: &DataType, nulls: &NullBuffer) {
        let count = match ty {
            DataType::Utf8 | DataType::Binary => 3,
            _ => 2,
        };
        let bitmap = room + BUFFER_ALIGN;
        let memory = self.memory.data_mut(&mut self.store);
        let header = out as usize;
        let old = u32::from_le_bytes([
            memory[header + 40],
            memory[header + 41],
            memory[header + 42],
            memory[header + 43],
        ]) as usize;
        let mut pointers = [0; 12];
        // Where the guest's own pointers lie outside of its memory, the next step reads zeros.
        if let Some(found) = memory.get(old..old.saturating_add(count * 4)) {
            pointers[..count * 4].copy_from_slice(found);
        }
        pointers[..4].copy_from_slice(&bitmap.to_le_bytes());
        memory[room as usize..][..12].copy_from_slice(&pointers);
        let bits = nulls.inner().sliced();
        let bytes = nulls.len().div_ceil(8);
        memory[bitmap as usize..][..bytes].copy_from_slice(&bits.as_slice()[..bytes]);
        memory[header + 8..header + 16].copy_from_slice(&(nulls.null_count() as i64).to_le_bytes());
        memory[header + 40..header + 44].copy_from_slice(&room.to_le_bytes());
    }
}

/// What each step needs beside inputs and results: its arguments' structs, pointers and a bitmap.
struct Rooms {
    steps: Vec<usize>,
    size: usize,
}

impl Rooms {
    fn new(steps: &[Step], rows: usize) -> Self {
        let mut rooms = Self {
            steps: Vec::with_capacity(steps.len()),
            size: 0,
        };
        for step in steps {
            rooms.steps.push(rooms.size);
            let bitmap = rows.div_ceil(8).next_multiple_of(BUFFER_ALIGN as usize);
            rooms.size += step.operands.len() * STRUCT + BUFFER_ALIGN as usize + bitmap;
        }
        rooms
    }
}

fn check<'a>(
    module: &'a Module,
    steps: &[Step],
    inputs: &[Argument<'_>],
    rows: usize,
) -> Result<Vec<&'a Function>, Error> {
    let wrong = |message: &str| Error::Arguments(format!("a chain {message}"));
    if steps.len() > limits::CHAIN {
        return Err(wrong("has too many steps"));
    }
    for input in inputs {
        let expected = match input {
            Argument::Column(_) => rows,
            Argument::Constant(_) => 1,
        };
        if input.array().len() != expected {
            return Err(wrong("has an input of another length"));
        }
    }
    let mut functions = Vec::with_capacity(steps.len());
    for (n, step) in steps.iter().enumerate() {
        if !can_chain(module, step.function) {
            return Err(wrong("has a function that cannot be a step"));
        }
        let function = &module.0.manifest.functions[step.function];
        if function.arguments.len() != step.operands.len() {
            return Err(wrong("has a step with the wrong number of arguments"));
        }
        let legal = |operand: &Operand| match operand {
            Operand::Input(input) => *input < inputs.len(),
            Operand::Step(earlier) => *earlier < n,
        };
        if !step.operands.iter().all(legal) {
            return Err(wrong("reads what is not there yet"));
        }
        functions.push(function);
    }
    for (step, function) in steps.iter().zip(&functions) {
        for (operand, parameter) in step.operands.iter().zip(&function.arguments) {
            if let Operand::Step(earlier) = operand
                && functions[*earlier].returns != parameter.ty
            {
                return Err(wrong("hands on a result of another type"));
            }
        }
    }
    Ok(functions)
}

/// The type that each input has in the first step that reads it.
fn input_types<'a>(
    steps: &[Step],
    functions: &[&'a Function],
    inputs: &[Argument<'a>],
) -> Result<Vec<&'a DataType>, Error> {
    let mut types: Vec<Option<&DataType>> = vec![None; inputs.len()];
    for (step, function) in steps.iter().zip(functions) {
        for (operand, parameter) in step.operands.iter().zip(&function.arguments) {
            let (Operand::Input(input), Some(ty)) = (operand, parameter.ty.exact()) else {
                continue;
            };
            if types[*input].is_some_and(|known| known != ty) {
                let message = "an input of a chain is read as two types";
                return Err(Error::Arguments(message.into()));
            }
            types[*input] = Some(ty);
        }
    }
    let found = types.into_iter().zip(inputs);
    Ok(found
        .map(|(ty, input)| ty.unwrap_or_else(|| input.array().data_type()))
        .collect())
}

fn returns(function: &Function) -> Result<&DataType, Error> {
    let missing = || Error::Arguments(format!("the result of `{}` is open", function.name));
    function.returns.exact().ok_or_else(missing)
}

fn input_nulls(input: &Argument<'_>, rows: usize) -> Option<NullBuffer> {
    match input {
        Argument::Column(array) => array.nulls().filter(|n| n.null_count() > 0).cloned(),
        Argument::Constant(array) => (array.null_count() > 0).then(|| NullBuffer::new_null(rows)),
    }
}

/// Whether a result has NULL where no strict argument has.
fn lies(own: &NullBuffer, strict: &Option<NullBuffer>) -> bool {
    let all = NullBuffer::union(Some(own), strict.as_ref());
    let count = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, NullBuffer::null_count);
    count(&all) != count(strict)
}

fn validity(memory: &[u8], out: usize, rows: usize) -> Result<Option<NullBuffer>, &'static str> {
    let long = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(memory.get(at..at.checked_add(8)?)?);
        Some(i64::from_le_bytes(bytes))
    };
    let word = |at: usize| {
        let bytes = memory.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    if long(out).and_then(|n| usize::try_from(n).ok()) != Some(rows) {
        return Err("it has another number of rows than its arguments");
    }
    if long(out + 16) != Some(0) {
        return Err("its offset is not 0");
    }
    let outside = "its buffers lie outside of its memory";
    let bitmap = word(out + 40).and_then(word).ok_or(outside)?;
    if bitmap == 0 {
        return Ok(None);
    }
    let bytes = memory
        .get(bitmap..bitmap + rows.div_ceil(8))
        .ok_or(outside)?;
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_slice_ref(bytes), 0, rows));
    Ok((nulls.null_count() > 0).then_some(nulls))
}
