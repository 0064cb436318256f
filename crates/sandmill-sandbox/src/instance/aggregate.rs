//! Aggregates: the guest keeps the states of all groups of one handle.

use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::{FilterBuilder, FilterPredicate};
use arrow::datatypes::{DataType, UInt32Type};
use sandmill_abi::limits;

use super::{Argument, Instance, nanos};
use crate::error::Error;
use crate::function::{Function, FunctionKind};
use crate::read::{Promise, strict_nulls};
use crate::sandbox::Module;
use crate::write::{Source, slice};

/// The states of the groups of one aggregate, which live inside of the instance that opened them.
#[derive(Debug)]
pub struct States {
    function: usize,
    handle: i32,
    groups: usize,
    bytes: u64,
}

impl States {
    /// Groups that the guest knows of.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// What they took after the last change, where the manifest limits it; otherwise 0.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Handle, arguments, rows, group ids, groups.
type Add = (i32, i32, i32, i32, i32);
/// Handle, first, count, out.
type Range = (i32, i32, i32, i32);

impl Instance {
    /// Opens a handle of an aggregate.
    ///
    /// # Errors
    /// `Arguments` when the function is no aggregate. As everywhere here: `Guest` and `Trap` when the
    /// function fails or is stopped, `Output` when what it gives does not hold; then the instance is
    /// `Poisoned`.
    pub fn aggregate_new(&mut self, function: usize) -> Result<States, Error> {
        self.alive()?;
        let module = self.module.clone();
        aggregate(&module, function)?;
        let before = self.enter(function, 0);
        let new = self.export::<(), i32>(function, "sm_agg_new.")?;
        let result = new.call(&mut self.store, ());
        let handle = self.landed(result, Some(before))?;
        if handle < 0 {
            self.succeeded(handle)?;
        }
        if handle == 0 || !self.handles.insert((function, handle)) {
            return self.broken(format!("it gave the handle {handle}, which is 0 or in use"));
        }
        Ok(States {
            function,
            handle,
            groups: 0,
            bytes: 0,
        })
    }

    /// Adds a row to the group at each of `group_ids`, all below `groups`. A strict aggregate does not
    /// see rows with NULL. Rows that do not fit into the guest's memory are added in parts.
    ///
    /// # Errors
    /// `Arguments` when the arguments are not what the manifest says, `States` when the states take
    /// more than it allows, and those of [`Instance::aggregate_new`].
    pub fn aggregate_update(
        &mut self,
        states: &mut States,
        arguments: &[Argument<'_>],
        group_ids: &UInt32Array,
        groups: usize,
    ) -> Result<(), Error> {
        self.change("sm_agg_update.", states, arguments, group_ids, groups)
    }

    /// Takes rows away that [`Instance::aggregate_update`] added.
    ///
    /// # Errors
    /// `Arguments` when the manifest does not offer it, and those of [`Instance::aggregate_update`].
    pub fn aggregate_retract(
        &mut self,
        states: &mut States,
        arguments: &[Argument<'_>],
        group_ids: &UInt32Array,
        groups: usize,
    ) -> Result<(), Error> {
        if !self.module.0.manifest.functions[states.function].retract {
            return Err(Error::Arguments("it takes no rows away".into()));
        }
        self.change("sm_agg_retract.", states, arguments, group_ids, groups)
    }

    fn change(
        &mut self,
        export: &'static str,
        states: &mut States,
        arguments: &[Argument<'_>],
        group_ids: &UInt32Array,
        groups: usize,
    ) -> Result<(), Error> {
        self.alive()?;
        let module = self.module.clone();
        let described = aggregate(&module, states.function)?;
        let types: Vec<_> = described
            .arguments
            .iter()
            .filter_map(|argument| argument.ty.exact())
            .collect();
        check(described, arguments, types.len(), group_ids, groups)?;
        check_groups(states, groups)?;
        let columns = arguments.iter().filter_map(|argument| match argument {
            Argument::Column(array) => Some(*array),
            Argument::Constant(_) => None,
        });
        let constant_null = arguments
            .iter()
            .any(|a| matches!(a, Argument::Constant(array) if array.null_count() > 0));
        if described.strict && constant_null {
            return self.aggregate_grow(states, groups);
        }
        let Some(nulls) = strict_nulls(columns.filter(|_| described.strict)) else {
            return self.add(export, states, arguments, &types, group_ids, groups);
        };
        let mask = BooleanArray::new(nulls.inner().clone(), None);
        let filter = FilterBuilder::new(&mask).optimize().build();
        let kept = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Column(array) => filtered(&filter, *array).map(Some),
                Argument::Constant(_) => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let arguments: Vec<_> = arguments
            .iter()
            .zip(&kept)
            .map(|(argument, kept)| kept.as_ref().map_or(*argument, |a| Argument::Column(a)))
            .collect();
        let group_ids = filtered(&filter, group_ids)?;
        let group_ids = group_ids.as_primitive::<UInt32Type>();
        if group_ids.is_empty() {
            return self.aggregate_grow(states, groups);
        }
        self.add(export, states, &arguments, &types, group_ids, groups)
    }

    /// Adds states, as [`Instance::aggregate_state`] gave them, to the groups at `group_ids`.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_update`].
    pub fn aggregate_merge(
        &mut self,
        states: &mut States,
        columns: &[ArrayRef],
        group_ids: &UInt32Array,
        groups: usize,
    ) -> Result<(), Error> {
        self.alive()?;
        let module = self.module.clone();
        let described = aggregate(&module, states.function)?;
        let types: Vec<_> = described.state.iter().map(|f| f.data_type()).collect();
        let arguments: Vec<_> = columns.iter().map(|a| Argument::Column(a)).collect();
        check(described, &arguments, types.len(), group_ids, groups)?;
        check_groups(states, groups)?;
        for (field, column) in described.state.iter().zip(columns) {
            if !field.is_nullable() && column.null_count() > 0 {
                let message = format!("the state `{}` is NULL, which it cannot be", field.name());
                return Err(Error::Arguments(message));
            }
        }
        if group_ids.is_empty() {
            return self.aggregate_grow(states, groups);
        }
        self.add(
            "sm_agg_merge.",
            states,
            &arguments,
            &types,
            group_ids,
            groups,
        )
    }

    /// Tells the guest that there are `groups` groups, so that those without a row have a state, too.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_new`].
    pub fn aggregate_grow(&mut self, states: &mut States, groups: usize) -> Result<(), Error> {
        self.alive()?;
        if groups <= states.groups {
            return Ok(());
        }
        let module = self.module.clone();
        let described = aggregate(&module, states.function)?;
        let types: Vec<_> = described
            .arguments
            .iter()
            .filter_map(|argument| argument.ty.exact())
            .collect();
        let empty: Vec<_> = types.iter().map(|ty| new_empty_array(ty)).collect();
        let arguments: Vec<_> = empty.iter().map(|a| Argument::Column(a)).collect();
        let none = UInt32Array::from(Vec::<u32>::new());
        self.add("sm_agg_update.", states, &arguments, &types, &none, groups)
    }

    fn add(
        &mut self,
        export: &'static str,
        states: &mut States,
        arguments: &[Argument<'_>],
        types: &[&DataType],
        group_ids: &UInt32Array,
        groups: usize,
    ) -> Result<(), Error> {
        let rows = group_ids.len();
        let started = Instant::now();
        let sources = arguments
            .iter()
            .zip(types)
            .map(|(argument, ty)| Source::new(argument.array(), ty))
            .collect::<Result<Vec<_>, _>>()?;
        let ids = group_ids.values().inner().as_slice();
        let Some(laid) = self.place(&sources, rows, 0, &[ids])? else {
            if rows <= 1 {
                return Err(self.too_large("the arguments of one row"));
            }
            let half = rows / 2;
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
                    .map(|(whole, part)| part.as_ref().map_or(*whole, |a| Argument::Column(a)))
                    .collect();
                let ids = group_ids.slice(start, length);
                self.add(export, states, &part, types, &ids, groups)?;
            }
            return Ok(());
        };
        let written = Instant::now();
        let function = states.function;
        // Rows of the input are counted once, so that errors can name them.
        let new = if export == "sm_agg_update." { rows } else { 0 };
        let before = self.enter(function, new);
        let call = self.export::<Add, i32>(function, export)?;
        let result = call.call(
            &mut self.store,
            (
                states.handle,
                laid.base.cast_signed(),
                rows as i32,
                laid.extras[0].cast_signed(),
                groups as i32,
            ),
        );
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        states.groups = groups;
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.rows += rows as u64;
        timings.copy_nanos += nanos(written - started);
        timings.call_nanos += nanos(written.elapsed());
        self.within_limit(states)
    }

    /// Checks what the states take against the manifest.
    fn within_limit(&mut self, states: &mut States) -> Result<(), Error> {
        let described = &self.module.0.manifest.functions[states.function];
        let Some(limit) = described.state_bytes else {
            return Ok(());
        };
        let bytes = self.aggregate_size(states)?;
        states.bytes = bytes;
        if bytes > limit {
            self.poisoned = true;
            return Err(Error::States { bytes, limit });
        }
        Ok(())
    }

    /// States of the groups `first` to `first + count`, one array for each column. They stay.
    ///
    /// # Errors
    /// `Arguments` when there are no such groups, and those of [`Instance::aggregate_new`].
    pub fn aggregate_state(
        &mut self,
        states: &States,
        first: usize,
        count: usize,
    ) -> Result<Vec<ArrayRef>, Error> {
        let module = self.module.clone();
        let described = aggregate(&module, states.function)?;
        let promised: Vec<_> = described
            .state
            .iter()
            .map(|field| (field.data_type(), field.is_nullable()))
            .collect();
        self.emit("sm_agg_state.", states, first, count, &promised)
    }

    /// Results of the groups `first` to `first + count`. Their states stay.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_state`].
    pub fn aggregate_finish(
        &mut self,
        states: &States,
        first: usize,
        count: usize,
    ) -> Result<ArrayRef, Error> {
        let module = self.module.clone();
        let described = aggregate(&module, states.function)?;
        let returns = result_type(described)?;
        let promised = [(returns, described.nullable)];
        let mut columns = self.emit("sm_agg_finish.", states, first, count, &promised)?;
        columns
            .pop()
            .ok_or_else(|| Error::Internal("an aggregate has no result".into()))
    }

    fn emit(
        &mut self,
        export: &'static str,
        states: &States,
        first: usize,
        count: usize,
        promised: &[(&DataType, bool)],
    ) -> Result<Vec<ArrayRef>, Error> {
        self.alive()?;
        let end = first.checked_add(count);
        if count > limits::ROWS || end.is_none_or(|end| end > states.groups) {
            let message = format!("there are {} groups, not {first} + {count}", states.groups);
            return Err(Error::Arguments(message));
        }
        if count == 0 {
            return Ok(promised.iter().map(|(ty, _)| new_empty_array(ty)).collect());
        }
        let started = Instant::now();
        let Some(laid) = self.place(&[], count, promised.len(), &[])? else {
            return Err(self.too_large("the results"));
        };
        let before = self.enter(states.function, 0);
        let call = self.export::<Range, i32>(states.function, export)?;
        let result = call.call(
            &mut self.store,
            (
                states.handle,
                first as i32,
                count as i32,
                laid.out.cast_signed(),
            ),
        );
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        let called = Instant::now();
        let places = (0u32..).map(|n| laid.out + n * sandmill_abi::ARRAY_SIZE);
        let (mut columns, mut budget) = (Vec::with_capacity(promised.len()), self.budget());
        for (out, (returns, nullable)) in places.clone().zip(promised) {
            let promise = Promise {
                returns,
                rows: count,
                nullable: *nullable,
                input: None,
            };
            columns.push(self.take_within(out, promise, &mut budget)?);
        }
        for (out, _) in places.zip(promised) {
            self.give_back(out, before)?;
        }
        let timings = &mut self.timings;
        timings.calls += 1;
        timings.call_nanos += nanos(called - started);
        timings.validate_nanos += nanos(called.elapsed());
        Ok(columns)
    }

    /// Forgets the first `count` groups; the others move to the front.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_state`].
    pub fn aggregate_drop(&mut self, states: &mut States, count: usize) -> Result<(), Error> {
        self.alive()?;
        if count > states.groups {
            let message = format!("there are {} groups, not {count}", states.groups);
            return Err(Error::Arguments(message));
        }
        let before = self.enter(states.function, 0);
        let call = self.export::<(i32, i32), i32>(states.function, "sm_agg_drop.")?;
        let result = call.call(&mut self.store, (states.handle, count as i32));
        let status = self.landed(result, Some(before))?;
        self.succeeded(status)?;
        states.groups -= count;
        Ok(())
    }

    /// Bytes that the states take, as the guest says; never more than its memory.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_new`].
    pub fn aggregate_size(&mut self, states: &States) -> Result<u64, Error> {
        self.alive()?;
        let before = self.enter(states.function, 0);
        let call = self.export::<i32, i64>(states.function, "sm_agg_size.")?;
        let result = call.call(&mut self.store, states.handle);
        let bytes = self.landed(result, Some(before))?;
        let memory = self.memory_bytes() as u64;
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= memory => Ok(bytes),
            _ => self.broken(format!(
                "its states take {bytes} bytes of a memory of {memory}"
            )),
        }
    }

    /// Forgets all that belongs to the handle.
    ///
    /// # Errors
    /// Those of [`Instance::aggregate_new`].
    pub fn aggregate_close(&mut self, states: States) -> Result<(), Error> {
        self.alive()?;
        self.handles.remove(&(states.function, states.handle));
        let before = self.enter(states.function, 0);
        let call = self.export::<i32, ()>(states.function, "sm_agg_close.")?;
        let result = call.call(&mut self.store, states.handle);
        self.landed(result, Some(before))
    }
}

fn aggregate(module: &Module, function: usize) -> Result<&Function, Error> {
    let described = module.0.manifest.functions.get(function);
    described
        .filter(|f| f.kind == FunctionKind::Aggregate)
        .ok_or_else(|| Error::Arguments(format!("function {function} is no aggregate")))
}

fn result_type(described: &Function) -> Result<&DataType, Error> {
    described.returns.exact().ok_or_else(|| {
        let message = format!("the result of `{}` has no type", described.name);
        Error::Arguments(message)
    })
}

fn check(
    described: &Function,
    arguments: &[Argument<'_>],
    expected: usize,
    group_ids: &UInt32Array,
    groups: usize,
) -> Result<(), Error> {
    let given = arguments.len();
    if given != expected {
        let message = format!(
            "`{}` takes {expected} columns, {given} are given",
            described.name
        );
        return Err(Error::Arguments(message));
    }
    for argument in arguments {
        let (length, expected) = match argument {
            Argument::Column(array) => (array.len(), group_ids.len()),
            Argument::Constant(array) => (array.len(), 1),
        };
        if length != expected {
            let message = format!("an argument has {length} values, expected {expected}");
            return Err(Error::Arguments(message));
        }
    }
    // Without branches: this is looked at for every row.
    let most = group_ids.values().iter().fold(0, |most, id| most.max(*id));
    let outside = !group_ids.is_empty() && most as usize >= groups;
    if outside || group_ids.null_count() > 0 {
        return Err(Error::Arguments(format!(
            "a group id is {most}, there are {groups} groups"
        )));
    }
    Ok(())
}

fn check_groups(states: &States, groups: usize) -> Result<(), Error> {
    if groups < states.groups || i32::try_from(groups).is_err() {
        let message = format!("{} groups cannot become {groups}", states.groups);
        return Err(Error::Arguments(message));
    }
    Ok(())
}

fn filtered(filter: &FilterPredicate, array: &dyn Array) -> Result<ArrayRef, Error> {
    filter
        .filter(array)
        .map_err(|e| Error::Internal(format!("rows cannot be filtered: {e}")))
}
