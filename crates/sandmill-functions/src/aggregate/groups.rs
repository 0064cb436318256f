//! Many groups: the states of all of them in one instance of their own.

use std::mem::size_of;
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array,
};
use datafusion::arrow::compute::{FilterBuilder, concat};
use datafusion::arrow::datatypes::{DataType, UInt32Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use sandmill_sandbox::{Error, Instance, States};

use crate::partition::{Callee, Constants, Partition, lock};

/// Groups of one call that gives states or results.
const CHUNK: usize = 1 << 16;

/// A size that no memory pool grants, far from overflow even in sums: it makes the operator emit or
/// spill, after which this accumulator is small.
const TOO_MUCH: usize = 1 << 50;

/// See the module. The instance comes with the first row and goes when all groups are emitted,
/// because the memory of a guest never shrinks.
pub(super) struct Groups {
    callee: Callee,
    partition: Arc<Partition>,
    constants: Constants,
    open: Option<(Instance, States)>,
    /// Makes states of single rows.
    converter: Mutex<Option<Instance>>,
    groups: usize,
    /// Batches since all groups were emitted, and the rows of the largest one.
    batches: usize,
    largest: usize,
    /// Whether the input is sorted, so that the first groups are emitted while it goes on.
    ordered: bool,
}

type Read = fn(&mut Instance, &States, usize, usize) -> Result<Vec<ArrayRef>, Error>;

impl Groups {
    pub(super) fn new(callee: Callee, partition: Arc<Partition>, constants: Constants) -> Self {
        Self {
            callee,
            partition,
            constants,
            open: None,
            converter: Mutex::new(None),
            groups: 0,
            batches: 0,
            largest: 0,
            ordered: false,
        }
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Instance, &mut States, &Constants) -> Result<T, Error>,
    ) -> Result<T> {
        let (callee, partition) = (&self.callee, &self.partition);
        let (instance, states) = match &mut self.open {
            Some(open) => open,
            closed => {
                let mut instance = partition.own(callee)?;
                let states = partition.run(callee, &mut instance, |instance| {
                    instance.aggregate_new(callee.version.index)
                })?;
                closed.insert((instance, states))
            }
        };
        let constants = &self.constants;
        partition.run(callee, instance, |instance| {
            work(instance, states, constants)
        })
    }

    fn seen(&mut self, rows: usize, groups: usize) {
        self.groups = self.groups.max(groups);
        self.batches += 1;
        self.largest = self.largest.max(rows);
    }

    fn forget(&mut self) {
        self.open = None;
        self.groups = 0;
        self.batches = 0;
    }

    fn emit(&mut self, emit_to: EmitTo, read: Read, types: &[DataType]) -> Result<Vec<ArrayRef>> {
        let count = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(count) => count.min(self.groups),
        };
        if count == 0 {
            return Ok(types.iter().map(new_empty_array).collect());
        }
        let groups = self.groups;
        let parts = self.run(|instance, states, _| {
            instance.aggregate_grow(states, groups)?;
            chunks(instance, states, count, read)
        })?;
        if count == groups {
            self.forget();
        } else {
            self.run(|instance, states, _| instance.aggregate_drop(states, count))?;
            self.groups -= count;
            if self.is_full() && self.groups <= count {
                self.move_out()?;
            }
        }
        self.ordered |= matches!(emit_to, EmitTo::First(_));
        join(&parts)
    }

    /// Moves the groups that are left into a new instance, to get rid of the memory of the old one.
    fn move_out(&mut self) -> Result<()> {
        let groups = self.groups;
        let parts = self.run(|instance, states, _| {
            chunks(instance, states, groups, Instance::aggregate_state)
        })?;
        self.open = None;
        let columns = join(&parts)?;
        let ids = UInt32Array::from_iter_values(0..groups as u32);
        self.run(|instance, states, _| instance.aggregate_merge(states, &columns, &ids, groups))
    }

    /// Whether so much of the guest's memory is taken that doubling it once may fail.
    fn is_full(&self) -> bool {
        let Some((instance, states)) = &self.open else {
            return false;
        };
        let allowed = self.callee.function().state_bytes;
        instance.memory_bytes() > instance.memory_limit() / 3
            || allowed.is_some_and(|allowed| states.bytes() > allowed / 2)
    }

    /// Whether emitting or spilling would help. An operator over sorted input emits what it can
    /// anyway and fails when it is told to spill, so it is told only if its groups do not go.
    fn must_emit(&self) -> bool {
        let many = match self.ordered {
            true => self.groups > 2 * self.largest,
            false => self.groups > 1 && self.batches > 1,
        };
        many && self.is_full()
    }
}

/// Reads the first `count` groups, no more of them at a time than there is room for.
fn chunks(
    instance: &mut Instance,
    states: &States,
    count: usize,
    read: Read,
) -> Result<Vec<Vec<ArrayRef>>, Error> {
    let bytes = instance.aggregate_size(states)? / states.groups().max(1) as u64;
    let room = instance.memory_limit() as u64 / 8;
    let chunk = (room / bytes.max(1)).clamp(1, CHUNK as u64) as usize;
    let mut parts = Vec::with_capacity(count.div_ceil(chunk));
    for first in (0..count).step_by(chunk) {
        parts.push(read(instance, states, first, chunk.min(count - first))?);
    }
    Ok(parts)
}

/// The parts one after the other.
fn join(parts: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
    let Some((first, rest)) = parts.split_first() else {
        return internal_err!("no groups were read");
    };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    (0..first.len())
        .map(|n| {
            let column: Vec<&dyn Array> = parts.iter().map(|part| part[n].as_ref()).collect();
            Ok(concat(&column)?)
        })
        .collect()
}

fn result(
    instance: &mut Instance,
    states: &States,
    first: usize,
    count: usize,
) -> Result<Vec<ArrayRef>, Error> {
    Ok(vec![instance.aggregate_finish(states, first, count)?])
}

/// The rows that pass the filter, NULL does not.
fn filtered(
    values: &[ArrayRef],
    ids: UInt32Array,
    filter: Option<&BooleanArray>,
) -> Result<(Vec<ArrayRef>, UInt32Array)> {
    let Some(filter) = filter else {
        return Ok((values.to_vec(), ids));
    };
    let filter = FilterBuilder::new(filter).optimize().build();
    let values = values.iter().map(|column| filter.filter(column));
    let values = values.collect::<Result<_, _>>()?;
    let ids = filter.filter(&ids)?;
    Ok((values, ids.as_primitive::<UInt32Type>().clone()))
}

fn group_ids(indices: &[usize]) -> UInt32Array {
    // The sandbox refuses more groups than fit.
    UInt32Array::from_iter_values(indices.iter().map(|index| *index as u32))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.seen(group_indices.len(), total_num_groups);
        let (values, ids) = filtered(values, group_ids(group_indices), opt_filter)?;
        if ids.is_empty() {
            return Ok(());
        }
        self.run(|instance, states, constants| {
            let arguments = constants.arguments(&values);
            instance.aggregate_update(states, &arguments, &ids, total_num_groups)
        })
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.seen(group_indices.len(), total_num_groups);
        if group_indices.is_empty() {
            return Ok(());
        }
        let ids = group_ids(group_indices);
        self.run(|instance, states, _| {
            instance.aggregate_merge(states, values, &ids, total_num_groups)
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let types: Vec<_> = self
            .callee
            .function()
            .returns
            .exact()
            .cloned()
            .into_iter()
            .collect();
        match self.emit(emit_to, result, &types)?.pop() {
            Some(column) => Ok(column),
            None => internal_err!("an aggregate has no result"),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = &self.callee.function().state;
        let types: Vec<_> = state.iter().map(|f| f.data_type().clone()).collect();
        self.emit(emit_to, Instance::aggregate_state, &types)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let groups = values.first().map_or(0, |column| column.len());
        let state = &self.callee.function().state;
        if groups == 0 {
            return Ok(state
                .iter()
                .map(|f| new_empty_array(f.data_type()))
                .collect());
        }
        let ids = UInt32Array::from_iter_values(0..groups as u32);
        let (values, ids) = filtered(values, ids, opt_filter)?;
        let mut converter = lock(&self.converter);
        let instance = match converter.as_mut() {
            Some(instance) => instance,
            None => converter.insert(self.partition.own(&self.callee)?),
        };
        let arguments = self.constants.arguments(&values);
        let parts = self.partition.run(&self.callee, instance, |instance| {
            let mut states = instance.aggregate_new(self.callee.version.index)?;
            if !ids.is_empty() {
                instance.aggregate_update(&mut states, &arguments, &ids, groups)?;
            }
            instance.aggregate_grow(&mut states, groups)?;
            let parts = chunks(instance, &states, groups, Instance::aggregate_state)?;
            instance.aggregate_close(states)?;
            Ok(parts)
        })?;
        join(&parts)
    }

    fn size(&self) -> usize {
        if self.must_emit() {
            return TOO_MUCH;
        }
        let guest = self.open.as_ref().map_or(0, |(i, _)| i.memory_bytes());
        let converter = lock(&self.converter)
            .as_ref()
            .map_or(0, Instance::memory_bytes);
        size_of::<Self>() + guest + converter
    }
}
