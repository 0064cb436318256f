//! Grouped and cogrouped maps: whole groups in, any rows out, several groups in one call.

use std::time::Instant;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use sandmill_abi::{ARRAY_SIZE, limits};

use super::rows::{Rows, argument_fields, sources};
use super::{Instance, nanos};
use crate::error::Error;
use crate::function::{Function, FunctionKind};

/// One input of a call: groups, one after the other.
#[derive(Debug, Clone)]
pub struct Groups {
    /// The columns of the manifest.
    pub columns: Vec<ArrayRef>,
    /// Where each group starts, and the number of rows at the end.
    pub offsets: Vec<u32>,
}

impl Groups {
    fn count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn rows(&self) -> usize {
        let ends = (self.offsets.first(), self.offsets.last());
        match ends {
            (Some(first), Some(last)) => last.saturating_sub(*first) as usize,
            _ => 0,
        }
    }

    /// Groups `from..to`.
    fn part(&self, from: usize, to: usize) -> Self {
        let offsets = &self.offsets[from..=to];
        let (start, end) = (offsets[0] as usize, offsets[to - from] as usize);
        let slice = |column: &ArrayRef| column.slice(start, end - start);
        Self {
            columns: self.columns.iter().map(slice).collect(),
            offsets: offsets.iter().map(|at| at - offsets[0]).collect(),
        }
    }
}

impl Instance {
    /// Computes whole groups of a grouped map (one input) or cogrouped map (two, with as many groups
    /// each). As many groups as fit into the guest's memory go into one call; gives the rows of each
    /// call, in order. `constants` are arrays of one value.
    ///
    /// # Errors
    /// As [`Instance::call`]; a group that does not fit alone is a `Trap` of the memory's limit.
    pub fn call_groups(
        &mut self,
        function: usize,
        constants: &[ArrayRef],
        inputs: &[Groups],
    ) -> Result<Vec<Rows>, Error> {
        let kinds = [FunctionKind::GroupedMap, FunctionKind::CogroupedMap];
        let described = self.described(function, &kinds)?;
        let count = inputs.first().map_or(0, Groups::count);
        let rising =
            |input: &Groups| input.offsets.is_sorted() && input.offsets.first() == Some(&0);
        if inputs.len() != described.inputs.len()
            || !inputs.iter().all(|i| i.count() == count && rising(i))
        {
            return Err(Error::Arguments("the groups do not fit together".into()));
        }
        let arguments = argument_fields(&described)?;
        let mut results = Vec::new();
        if count > 0 {
            let call = Call {
                function,
                described: &described,
                arguments: &arguments,
                constants,
            };
            self.groups(&call, inputs, &mut results)?;
        }
        Ok(results)
    }

    fn groups(
        &mut self,
        call: &Call<'_>,
        inputs: &[Groups],
        results: &mut Vec<Rows>,
    ) -> Result<(), Error> {
        self.alive()?;
        let started = Instant::now();
        let mut all = sources("constants", call.constants, call.arguments, 1)?;
        for (input, fields) in inputs.iter().zip(&call.described.inputs) {
            all.extend(sources("columns", &input.columns, fields, input.rows())?);
        }
        let bytes: Vec<Vec<u8>> = inputs
            .iter()
            .map(|input| {
                input
                    .offsets
                    .iter()
                    .flat_map(|at| at.to_le_bytes())
                    .collect()
            })
            .collect();
        let extras: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let rows: usize = inputs.iter().map(Groups::rows).sum();
        let count = inputs[0].count();
        // A single group cannot be cut: it is tried in any case, as a single row is.
        let weight = match (count, rows <= limits::ROWS) {
            (1, true) => 1,
            _ => rows,
        };
        self.enter(call.function, 0);
        let outs = call.described.columns.len();
        let Some(laid) = self.place(&all, weight, outs, &extras)? else {
            if count == 1 {
                let size: usize = inputs
                    .iter()
                    .flat_map(|input| &input.columns)
                    .map(|column| column.get_buffer_memory_size())
                    .sum();
                return Err(self.too_large(&format!(
                    "the {rows} rows ({} KiB) of one group",
                    size.div_ceil(1024)
                )));
            }
            let half = count / 2;
            for (from, to) in [(0, half), (half, count)] {
                let part: Vec<_> = inputs.iter().map(|input| input.part(from, to)).collect();
                self.groups(call, &part, results)?;
            }
            return Ok(());
        };
        let written = Instant::now();
        let before = self.enter(call.function, rows);
        let address = |place: usize| (laid.base + place as u32 * ARRAY_SIZE).cast_signed();
        let left = call.constants.len();
        let out = laid.out.cast_signed();
        let offsets = |n: usize| laid.extras[n].cast_signed();
        let result = if call.described.kind == FunctionKind::CogroupedMap {
            let right = left + inputs[0].columns.len();
            let export = self
                .export::<(i32, i32, i32, i32, i32, i32, i32), i32>(call.function, "sm_cogroup.")?;
            let arguments = (
                address(0),
                address(left),
                offsets(0),
                address(right),
                offsets(1),
                count as i32,
                out,
            );
            export.call(&mut self.store, arguments)
        } else {
            let export =
                self.export::<(i32, i32, i32, i32, i32, i32), i32>(call.function, "sm_group.")?;
            let arguments = (
                address(0),
                address(left),
                rows as i32,
                offsets(0),
                count as i32,
                out,
            );
            export.call(&mut self.store, arguments)
        };
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        let called = Instant::now();
        results.push(self.take_rows(laid.out, &call.described.columns, before)?);
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += rows as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(called - written);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(())
    }
}

struct Call<'a> {
    function: usize,
    described: &'a Function,
    arguments: &'a [FieldRef],
    constants: &'a [ArrayRef],
}
