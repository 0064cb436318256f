//! Scalar functions: one column from one call.

use std::time::Instant;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::{Instance, Laid, nanos};
use crate::error::Error;
use crate::function::{Function, ParameterType};
use crate::read::{Promise, strict_nulls};
use crate::write::{Source, slice};

/// An argument of a call.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    /// One value for each row.
    Column(&'a dyn Array),
    /// The same value for all rows: an array of length 1.
    Constant(&'a dyn Array),
}

impl<'a> Argument<'a> {
    pub(super) fn array(self) -> &'a dyn Array {
        match self {
            Self::Column(array) | Self::Constant(array) => array,
        }
    }
}

impl Instance {
    /// Computes one column of `rows` values. Batches that do not fit into the guest's memory are
    /// computed in parts.
    ///
    /// # Errors
    /// `Arguments` when the arguments are not what the manifest says; `Guest` and `Trap` when the
    /// function fails or is stopped, `Output` when its result does not hold. After `Guest`, `Trap`
    /// and `Output` the instance is `Poisoned`.
    pub fn call(
        &mut self,
        function: usize,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let module = self.module.clone();
        let described = module.0.manifest.functions.get(function);
        let described = described
            .ok_or_else(|| Error::Arguments(format!("there is no function {function}")))?;
        check_arguments(described, arguments, rows)?;
        let constant_null = arguments
            .iter()
            .any(|a| matches!(a, Argument::Constant(array) if array.logical_null_count() > 0));
        if rows == 0 || (described.strict && constant_null) {
            let returns = result_type(described, arguments)?;
            return Ok(new_null_array(returns, rows));
        }
        self.parts(function, described, arguments, rows)
    }

    fn parts(
        &mut self,
        function: usize,
        described: &Function,
        arguments: &[Argument<'_>],
        rows: usize,
    ) -> Result<ArrayRef, Error> {
        let sources = arguments.iter().enumerate().map(|(n, argument)| {
            let ty = argument_type(described, arguments, n)?;
            let source = Source::new(argument.array(), ty)?;
            Ok(match described.argument(n) {
                // The guest cannot know these types, or how many there are.
                Some(p) if described.variadic || p.ty.exact().is_none() => {
                    source.with_schema(&p.name, ty)
                }
                _ => source,
            })
        });
        let sources = sources.collect::<Result<Vec<_>, Error>>()?;
        let started = Instant::now();
        if let Some(laid) = self.place(&sources, rows, 1, &[])? {
            return self.once(function, described, arguments, rows, laid, started);
        }
        if rows == 1 {
            return Err(self.too_large("the arguments of one row"));
        }
        halves(arguments, rows, |part, rows| {
            self.parts(function, described, part, rows)
        })
    }

    fn once(
        &mut self,
        function: usize,
        described: &Function,
        arguments: &[Argument<'_>],
        rows: usize,
        laid: Laid,
        started: Instant,
    ) -> Result<ArrayRef, Error> {
        let written = Instant::now();
        let (base, out) = (laid.base.cast_signed(), laid.out.cast_signed());
        let before = self.enter(function, rows);
        let result = if described.variadic {
            let call =
                self.export::<(i32, i32, i32, i32), i32>(function, sandmill_abi::VARIADIC.name)?;
            let count = arguments.len() as i32;
            call.call(&mut self.store, (base, count, rows as i32, out))
        } else {
            let call = self.export::<(i32, i32, i32), i32>(function, "sm_scalar.")?;
            call.call(&mut self.store, (base, rows as i32, out))
        };
        let status = self.landed(result, Some(before)).map_err(|e| {
            let names = (0..).map_while(|n| described.argument(n));
            let names = names.map(|parameter| parameter.name.as_str());
            self.blame(e, before, names.zip(arguments.iter().copied()))
        })?;
        self.succeeded(status)?;
        let called = Instant::now();

        let input = match described.strict {
            true => strict_nulls(
                arguments
                    .iter()
                    .map(|a| a.array())
                    .filter(|a| a.len() == rows),
            ),
            false => None,
        };
        let promise = Promise {
            returns: result_type(described, arguments)?,
            rows,
            nullable: described.nullable,
            input,
        };
        let array = self.take(laid.out, promise)?;
        self.give_back(laid.out, before)?;
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += rows as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(called - written);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(array)
    }
}

/// Computes both halves of some rows and joins the results.
pub(super) fn halves(
    arguments: &[Argument<'_>],
    rows: usize,
    mut compute: impl FnMut(&[Argument<'_>], usize) -> Result<ArrayRef, Error>,
) -> Result<ArrayRef, Error> {
    let half = rows / 2;
    let mut results = Vec::with_capacity(2);
    for (start, length) in [(0, half), (half, rows - half)] {
        let owned: Vec<_> = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Column(array) => Some(slice(*array, start, length)),
                Argument::Constant(_) => None,
            })
            .collect();
        let part: Vec<_> = arguments
            .iter()
            .zip(&owned)
            .map(|(argument, owned)| owned.as_ref().map_or(*argument, |a| Argument::Column(a)))
            .collect();
        results.push(compute(&part, length)?);
    }
    let parts: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
    concat(&parts).map_err(|e| Error::Output(format!("the parts do not join: {e}")))
}

/// The type of argument `place`, in a call with these arguments.
fn argument_type<'a>(
    described: &'a Function,
    arguments: &[Argument<'a>],
    place: usize,
) -> Result<&'a DataType, Error> {
    let missing = || Error::Arguments(format!("`{}` has no argument {place}", described.name));
    let parameter = described.argument(place).ok_or_else(missing)?;
    match &parameter.ty {
        ParameterType::Exact(ty) => Ok(ty),
        ParameterType::Any => Ok(arguments[place].array().data_type()),
        ParameterType::Same(index) => {
            let like = arguments.get(*index).ok_or_else(missing)?;
            Ok(like.array().data_type())
        }
    }
}

fn result_type<'a>(
    described: &'a Function,
    arguments: &[Argument<'a>],
) -> Result<&'a DataType, Error> {
    match &described.returns {
        ParameterType::Exact(ty) => Ok(ty),
        ParameterType::Same(index) if *index < arguments.len() => {
            Ok(arguments[*index].array().data_type())
        }
        _ => Err(Error::Arguments(format!(
            "the result of `{}` has no type",
            described.name
        ))),
    }
}

pub(super) fn check_arguments(
    described: &Function,
    arguments: &[Argument<'_>],
    rows: usize,
) -> Result<(), Error> {
    let (given, expected) = (arguments.len(), described.arguments.len());
    if given != expected && !(described.variadic && given + 1 >= expected) {
        let message = format!(
            "`{}` takes {expected} arguments, {given} are given",
            described.name
        );
        return Err(Error::Arguments(message));
    }
    for argument in arguments {
        let (length, expected) = match argument {
            Argument::Column(array) => (array.len(), rows),
            Argument::Constant(array) => (array.len(), 1),
        };
        if length != expected {
            let message = format!("an argument has {length} values, expected {expected}");
            return Err(Error::Arguments(message));
        }
    }
    Ok(())
}
