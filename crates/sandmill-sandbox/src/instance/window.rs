//! Window functions: values computed over a partition, or over frames of its rows.

use std::ops::Range;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::scalar::check_arguments;
use super::{Argument, Instance, Laid, nanos};
use crate::error::Error;
use crate::function::{Function, FunctionKind};
use crate::read::{Promise, strict_nulls};
use crate::sandbox::Module;
use crate::write::{Plan, Source};

/// Frames of one call.
const FRAMES: usize = 8192;
/// Bytes of a frame: two 32-bit numbers.
const FRAME: usize = 8;

/// A partition's arguments in the memory of an instance, which stay there until its next call of
/// another kind.
#[derive(Debug)]
pub struct Loaded {
    function: usize,
    rows: usize,
    laid: Laid,
    placed: u64,
}

/// Arguments, rows, ranges, count, out.
type Call = (i32, i32, i32, i32, i32);

impl Instance {
    /// Computes a value for each row of a partition. NULL in a strict argument gives NULL.
    ///
    /// # Errors
    /// `Arguments` when the arguments are not what the manifest says; `Trap` when the partition is
    /// more than the guest's memory can take, it cannot be halved. `Guest`, `Trap` and `Output` as of
    /// [`Instance::call`].
    pub fn window(
        &mut self,
        function: usize,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        self.alive()?;
        let module = self.module.clone();
        let described = window(&module, function, false)?;
        check_arguments(described, arguments, rows)?;
        let constant_null = arguments
            .iter()
            .any(|a| matches!(a, Argument::Constant(array) if array.null_count() > 0));
        if rows == 0 || (described.strict && constant_null) {
            return Ok(new_null_array(result_type(described)?, rows));
        }
        let started = Instant::now();
        let laid = self.partition(described, arguments, 0)?;
        self.timings.copy_nanos += nanos(started.elapsed());
        let columns = arguments.iter().filter_map(|argument| match argument {
            Argument::Column(array) if described.strict => Some(*array),
            _ => None,
        });
        let loaded = Loaded {
            function,
            rows,
            laid,
            placed: self.placed,
        };
        self.values(described, &loaded, 0, rows, strict_nulls(columns))
    }

    /// Lays a partition's arguments out, for [`Instance::window_frames`].
    ///
    /// # Errors
    /// Those of [`Instance::window`].
    pub fn window_load(
        &mut self,
        function: usize,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<Loaded, Error> {
        self.alive()?;
        let module = self.module.clone();
        let described = window(&module, function, true)?;
        check_arguments(described, arguments, rows)?;
        let started = Instant::now();
        let laid = self.partition(described, arguments, rows.clamp(1, FRAMES))?;
        self.timings.copy_nanos += nanos(started.elapsed());
        Ok(Loaded {
            function,
            rows,
            laid,
            placed: self.placed,
        })
    }

    /// Whether the arguments are still where they were laid.
    pub fn window_holds(&self, loaded: &Loaded) -> bool {
        self.placed == loaded.placed
    }

    /// Computes a value for each frame: a range of the partition's rows.
    ///
    /// # Errors
    /// `Arguments` when the arguments are no longer there or a frame does not lie in the partition;
    /// otherwise those of [`Instance::window`].
    pub fn window_frames(
        &mut self,
        loaded: &Loaded,
        frames: &[Range<usize>],
    ) -> Result<ArrayRef, Error> {
        self.alive()?;
        let module = self.module.clone();
        let described = window(&module, loaded.function, true)?;
        if !self.window_holds(loaded) {
            return Err(Error::Arguments("the partition is no longer there".into()));
        }
        let mut parts = Vec::with_capacity(1);
        for frames in frames.chunks(loaded.rows.clamp(1, FRAMES)) {
            let started = Instant::now();
            let mut bytes = Vec::with_capacity(frames.len() * FRAME);
            for frame in frames {
                if frame.start > frame.end || frame.end > loaded.rows {
                    let message = format!("the frame {frame:?} is not in {} rows", loaded.rows);
                    return Err(Error::Arguments(message));
                }
                bytes.extend_from_slice(&(frame.start as u32).to_le_bytes());
                bytes.extend_from_slice(&(frame.end as u32).to_le_bytes());
            }
            let memory = self.memory.data_mut(&mut self.store);
            let ranges = loaded.laid.extras[0] as usize;
            let out = loaded.laid.out as usize;
            // Both lie in the arena, which was checked when it was laid out.
            memory[ranges..][..bytes.len()].copy_from_slice(&bytes);
            memory[out..][..sandmill_abi::ARRAY_SIZE as usize].fill(0);
            self.timings.copy_nanos += nanos(started.elapsed());
            let ranges = loaded.laid.extras[0];
            parts.push(self.values(described, loaded, ranges, frames.len(), None)?);
        }
        match parts.len() {
            0 => Ok(new_null_array(result_type(described)?, 0)),
            1 => Ok(parts.swap_remove(0)),
            _ => {
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                arrow::compute::concat(&parts)
                    .map_err(|e| Error::Output(format!("the parts do not join: {e}")))
            }
        }
    }

    /// Lays a whole partition out, with room for so many frames.
    fn partition(
        &mut self,
        described: &Function,
        arguments: &[Argument<'_>],
        frames: usize,
    ) -> Result<Laid, Error> {
        let sources = arguments
            .iter()
            .zip(&described.arguments)
            .filter_map(|(argument, parameter)| Some((argument, parameter.ty.exact()?)))
            .map(|(argument, ty)| Source::new(argument.array(), ty))
            .collect::<Result<Vec<_>, _>>()?;
        let ranges = vec![0; frames * FRAME];
        let plan = Plan::new(&sources, 1, &[ranges.len()]);
        // The guest needs room for its result, too.
        if plan.size <= self.memory_limit() / 2
            && let Some(laid) = self.lay(&plan, &sources, &[&ranges])?
        {
            return Ok(laid);
        }
        Err(self.too_large("the arguments of one partition"))
    }

    fn values(
        &mut self,
        described: &Function,
        loaded: &Loaded,
        ranges: u32,
        count: usize,
        input: Option<NullBuffer>,
    ) -> Result<ArrayRef, Error> {
        let started = Instant::now();
        let before = self.enter(loaded.function, count);
        let call = self.export::<Call, i32>(loaded.function, "sm_window.")?;
        let out = loaded.laid.out;
        let result = call.call(
            &mut self.store,
            (
                loaded.laid.base.cast_signed(),
                loaded.rows as i32,
                ranges.cast_signed(),
                count as i32,
                out.cast_signed(),
            ),
        );
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        let called = Instant::now();
        let promise = Promise {
            returns: result_type(described)?,
            rows: count,
            nullable: described.nullable,
            input,
        };
        let array = self.take(out, promise)?;
        self.give_back(out, before)?;
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += count as u64;
        timings.call_nanos += nanos(called - started);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(array)
    }
}

fn window(module: &Module, function: usize, frame: bool) -> Result<&Function, Error> {
    let described = module.0.manifest.functions.get(function);
    described
        .filter(|f| f.kind == FunctionKind::Window && f.frame == frame)
        .ok_or_else(|| {
            let what = if frame { "frames" } else { "partitions" };
            Error::Arguments(format!(
                "function {function} is no window function over {what}"
            ))
        })
}

fn result_type(described: &Function) -> Result<&DataType, Error> {
    described.returns.exact().ok_or_else(|| {
        let message = format!("the result of `{}` has no type", described.name);
        Error::Arguments(message)
    })
}
