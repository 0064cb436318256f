//! What the kinds that give rows share: several columns from one call, of a length that the guest
//! chooses.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::datatypes::FieldRef;
use sandmill_abi::{ARRAY_SIZE, limits};

use super::Instance;
use crate::error::{Error, Trap};
use crate::function::{Function, FunctionKind};
use crate::read::Promise;
use crate::write::Source;

/// Rows that a function gave, one array for each column of its manifest.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The columns, all of one length.
    pub columns: Vec<ArrayRef>,
    /// Their length.
    pub length: usize,
}

impl Instance {
    /// The description of a function of one of `kinds`.
    pub(super) fn described(
        &self,
        function: usize,
        kinds: &[FunctionKind],
    ) -> Result<Function, Error> {
        let described = self.module.0.manifest.functions.get(function);
        let described = described
            .ok_or_else(|| Error::Arguments(format!("there is no function {function}")))?;
        if !kinds.contains(&described.kind) {
            let (name, kind) = (&described.name, described.kind.as_str());
            return Err(Error::Arguments(format!("`{name}` is of the kind {kind}")));
        }
        Ok(described.clone())
    }

    /// Between two calls: a guest whose calls are all short never meets the epoch check.
    pub(super) fn alive(&mut self) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let context = &self.store.data().context;
        let late = |end| std::time::Instant::now() >= end;
        let cause = match () {
            () if context.cancellation.is_cancelled() => Trap::Cancelled,
            () if context.deadline.is_some_and(late) => Trap::JobDeadline,
            () => return Ok(()),
        };
        self.poisoned = true;
        Err(Error::Trap {
            cause,
            message: None,
            frames: Vec::new(),
        })
    }

    /// Checks and copies the columns whose structs lie side by side at `out`, then tells the guest.
    pub(super) fn take_rows(
        &mut self,
        out: u32,
        fields: &[FieldRef],
        before: u64,
    ) -> Result<Rows, Error> {
        let place = |n: usize| out + n as u32 * ARRAY_SIZE;
        let lengths: Option<Vec<i64>> = (0..fields.len())
            .map(|n| {
                let memory = self.memory.data(&self.store);
                let bytes = memory.get(place(n) as usize..)?.first_chunk::<8>()?;
                Some(i64::from_le_bytes(*bytes))
            })
            .collect();
        let Some(lengths) = lengths else {
            return self.wrong("the result lies outside of its memory".into());
        };
        let first = lengths.first().copied().unwrap_or(0);
        if let Some(other) = lengths.iter().find(|length| **length != first) {
            return self.wrong(format!("its columns have {first} and {other} rows"));
        }
        let length = match usize::try_from(first) {
            Ok(length) if length <= limits::ROWS => length,
            _ => {
                return self.wrong(format!("it has {first} rows, at most {}", limits::ROWS));
            }
        };
        let (limit, mut budget) = (self.store.data().memory_limit, self.budget());
        let (mut columns, mut bytes) = (Vec::with_capacity(fields.len()), 0_usize);
        for (n, field) in fields.iter().enumerate() {
            if length == 0 {
                columns.push(new_empty_array(field.data_type()));
                continue;
            }
            let promise = Promise {
                returns: field.data_type(),
                rows: length,
                nullable: field.is_nullable(),
                input: None,
            };
            let column = self.take_within(place(n), promise, &mut budget)?;
            // Columns that share their buffers would make much of little memory.
            bytes = bytes.saturating_add(column.get_buffer_memory_size());
            if bytes > limit {
                return self.wrong("its columns together are larger than its memory".into());
            }
            columns.push(column);
        }
        for n in 0..fields.len() {
            self.give_back(place(n), before)?;
        }
        Ok(Rows { columns, length })
    }

    pub(super) fn wrong<T>(&mut self, message: String) -> Result<T, Error> {
        self.poisoned = true;
        Err(Error::Output(message))
    }
}

/// Sees arrays as the types of `fields`; each must have `rows` values.
pub(super) fn sources<'a>(
    what: &str,
    arrays: &'a [ArrayRef],
    fields: &[FieldRef],
    rows: usize,
) -> Result<Vec<Source<'a>>, Error> {
    if arrays.len() != fields.len() {
        let (given, expected) = (arrays.len(), fields.len());
        let message = format!("{given} {what} are given, expected {expected}");
        return Err(Error::Arguments(message));
    }
    if let Some(array) = arrays.iter().find(|array| array.len() != rows) {
        let message = format!("{} values are given, expected {rows}", array.len());
        return Err(Error::Arguments(message));
    }
    let pairs = arrays.iter().zip(fields);
    pairs
        .map(|(array, field)| Source::new(array.as_ref(), field.data_type()))
        .collect()
}

/// The arguments of a function as fields.
pub(super) fn argument_fields(described: &Function) -> Result<Vec<FieldRef>, Error> {
    let field = |parameter: &crate::function::Parameter| {
        let ty = parameter.ty.exact().cloned().ok_or_else(|| {
            Error::Arguments(format!("the argument {} has no type", parameter.name))
        })?;
        Ok(Arc::new(arrow::datatypes::Field::new(
            &parameter.name,
            ty,
            true,
        )))
    };
    described.arguments.iter().map(field).collect()
}
