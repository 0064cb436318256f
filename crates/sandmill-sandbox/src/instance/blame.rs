//! The values of a row that failed, for jobs that may show them.

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sandmill_model::ShownValue;

use super::{Argument, Instance};
use crate::error::{Error, clean};

/// Bytes of a value that are shown.
const VALUE_BYTES: usize = 200;

impl Instance {
    /// Adds the arguments of the failing row to an error that names one. `before` counts the rows of
    /// earlier calls; the arguments are those of the present one.
    pub(super) fn blame<'a>(
        &self,
        mut error: Error,
        before: u64,
        arguments: impl Iterator<Item = (&'a str, Argument<'a>)>,
    ) -> Error {
        if let Error::Guest {
            row: Some(row),
            values,
            ..
        } = &mut error
            && self.store.data().context.show_values
        {
            let row = usize::try_from(row.saturating_sub(before)).unwrap_or(usize::MAX);
            *values = arguments
                .map(|(name, argument)| ShownValue {
                    name: name.into(),
                    value: shown(argument, row),
                })
                .collect();
        }
        error
    }
}

fn shown(argument: Argument<'_>, row: usize) -> String {
    let (array, row): (&dyn Array, _) = match argument {
        Argument::Column(array) => (array, row),
        Argument::Constant(array) => (array, 0),
    };
    // A guest may name any row.
    if row >= array.len() {
        return "?".into();
    }
    if array.is_null(row) {
        return "NULL".into();
    }
    let array = array.slice(row, 1);
    let options = FormatOptions::default().with_display_error(true);
    let text = ArrayFormatter::try_new(&array, &options).map(|f| f.value(0).to_string());
    let text = text.unwrap_or_else(|e| e.to_string());
    let mut shown = clean(text.as_bytes(), VALUE_BYTES);
    if text.len() > VALUE_BYTES {
        shown.push('…');
    }
    shown
}
