use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use sandmill_sandbox::Argument;

use crate::{JobScope, Version, coercion, instances};

/// Values that a dictionary may have in any case before it is packed anew for a batch.
const DICTIONARY_VALUES: usize = 1024;

/// A function version for the statements of one job.
pub(crate) fn scalar(version: Version, scope: Arc<JobScope>) -> ScalarUDF {
    let volatility = version.volatility();
    let signature = if version.function().arguments.is_empty() {
        Signature::nullary(volatility)
    } else {
        Signature::user_defined(volatility)
    };
    ScalarUDF::new_from_impl(Scalar {
        version,
        scope,
        signature,
    })
}

/// See [`scalar`]. Two of them are equal when they are the same version in the same job.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) version: Version,
    pub(crate) scope: Arc<JobScope>,
    signature: Signature,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.version.pin == other.version.pin && Arc::ptr_eq(&self.scope, &other.scope)
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.pin.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        &self.version.pin.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let returns = self.version.function().returns.resolve(given);
        returns.cloned().ok_or_else(|| {
            DataFusionError::Plan(format!("the result of {} has no type", self.name()))
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let function = self.version.function();
        let from_arguments = function.strict && args.arg_fields.iter().any(|f| f.is_nullable());
        let nullable = function.nullable || from_arguments;
        let given: Vec<_> = args
            .arg_fields
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        let returns = self.return_type(&given)?;
        Ok(Arc::new(Field::new(self.name(), returns, nullable)))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coercion::coerce(self.version.function(), given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let function = self.version.function();
        let immutable = function.volatility == sandmill_model::Volatility::Immutable;
        if !immutable && !self.scope.is_executing() {
            // Constant folding keeps an expression that it cannot evaluate.
            return exec_err!(
                "{} is not evaluated while a statement is planned",
                self.name()
            );
        }
        // A batch without rows has no value that could fail.
        if args.number_rows == 0 && self.scope.is_executing() {
            return Ok(ColumnarValue::Array(new_empty_array(
                args.return_field.data_type(),
            )));
        }
        let arrays = args.args.iter().enumerate();
        let arrays = arrays.map(|(place, value)| {
            let exact = function.argument(place).and_then(|p| p.ty.exact());
            // Arguments of open types come as they are.
            array(
                value,
                exact.is_none_or(|ty| matches!(ty, DataType::Dictionary(..))),
            )
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let all_constant = args
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let volatile = function.volatility == sandmill_model::Volatility::Volatile;
        // The same for all rows: computed once. A volatile function has a value for each row.
        let rows = if all_constant && !volatile {
            1
        } else {
            args.number_rows
        };
        let arguments: Vec<_> = args
            .args
            .iter()
            .zip(&arrays)
            .map(|(value, array)| match value {
                ColumnarValue::Array(_) => Argument::Column(array.as_ref()),
                ColumnarValue::Scalar(_) => Argument::Constant(array.as_ref()),
            })
            .collect();
        let result = instances::on_instance(&self.version, &self.scope, |instance| {
            instance.call(self.version.index, &arguments, rows)
        })?;
        if all_constant && !volatile {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The values of an argument. Dictionaries are unpacked unless the function takes them.
pub(crate) fn array(value: &ColumnarValue, takes_dictionary: bool) -> Result<ArrayRef> {
    let array = match value {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    let DataType::Dictionary(_, values) = array.data_type() else {
        return Ok(array);
    };
    // They are the planner's to cast; it does not for constants.
    if !takes_dictionary {
        return Ok(cast(&array, values)?);
    }
    let dictionary = array.as_any_dictionary();
    if dictionary.values().len() <= DICTIONARY_VALUES.max(2 * array.len()) {
        return Ok(array);
    }
    // All of a dictionary crosses: one of a whole table would cross with every batch.
    Ok(cast(&cast(&array, values)?, array.data_type())?)
}
