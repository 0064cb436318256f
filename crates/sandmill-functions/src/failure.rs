use std::error::Error as StdError;

use datafusion::common::DataFusionError;
use sandmill_model::{ErrorCode, Failure};

/// Marks errors of argument types: DataFusion turns what coercion reports into text.
pub(crate) const ARGUMENTS: &str = "wrong arguments: ";

/// Puts a failure into DataFusion's error.
pub(crate) fn external(failure: Failure) -> DataFusionError {
    DataFusionError::External(Box::new(failure))
}

/// Finds the failure of a function, if that is what lies at the bottom of an error.
pub fn failure_of(error: &DataFusionError) -> Option<Failure> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Some(failure.clone());
        }
        next = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => {
                Some(inner.as_ref())
            }
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Collection(errors)) => return errors.iter().find_map(failure_of),
            Some(DataFusionError::ArrowError(inner, _)) => match inner.as_ref() {
                datafusion::arrow::error::ArrowError::ExternalError(inner) => Some(inner.as_ref()),
                _ => None,
            },
            Some(DataFusionError::Plan(text) | DataFusionError::Execution(text)) => {
                let (_, rest) = text.split_once(ARGUMENTS)?;
                let message = rest.lines().next().unwrap_or(rest).trim();
                // DataFusion goes on after the last bar with words of its own.
                let mut parts = message.split(" | ");
                let message = parts.next().unwrap_or(message);
                let hint = parts.next().unwrap_or_default();
                let failure = Failure::new(ErrorCode::FunctionArguments, message);
                return Some(if hint.is_empty() {
                    failure
                } else {
                    failure.hint(hint)
                });
            }
            _ => error.source(),
        };
    }
    None
}
