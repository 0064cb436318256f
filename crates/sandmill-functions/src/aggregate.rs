//! Aggregates whose states live in the sandbox.

mod gathered;
mod groups;
mod single;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
};

use self::gathered::Gathered;
use self::groups::Groups;
use self::single::Single;
use crate::partition::{Callee, Constants};
use crate::{JobScope, Version, coercion, instances};

/// A function version for the statements of one job.
pub(crate) fn aggregate(version: Version, scope: Arc<JobScope>) -> AggregateUDF {
    let callee = Callee { version, scope };
    AggregateUDF::new_from_impl(Aggregate {
        signature: callee.signature(),
        callee,
        of_nothing: OnceLock::new(),
    })
}

/// See [`aggregate`].
#[derive(Debug)]
pub(crate) struct Aggregate {
    callee: Callee,
    signature: Signature,
    /// The result of a group without rows, once it was asked for.
    of_nothing: OnceLock<ScalarValue>,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.callee == other.callee
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.callee.hash(state);
    }
}

impl Aggregate {
    fn single(&self, constants: Constants) -> Single {
        Single::new(self.callee.clone(), instances::partition(), constants)
    }

    fn gathered(&self, args: &AccumulatorArgs<'_>, moving: bool) -> Result<Gathered> {
        let arguments = args.expr_fields.iter().map(|f| Ok(f.data_type().clone()));
        let keys = args.order_bys.iter().map(|e| e.expr.data_type(args.schema));
        Ok(Gathered::new(
            self.single(Constants::new(args.exprs)?),
            arguments.chain(keys).collect::<Result<_>>()?,
            args.order_bys.iter().map(|e| e.options).collect(),
            args.is_distinct,
            moving,
        ))
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.callee.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let returns = self.callee.function().returns.exact();
        returns.cloned().ok_or_else(|| {
            DataFusionError::Plan(format!("the result of {} has no type", self.name()))
        })
    }

    fn return_field(&self, _: &[FieldRef]) -> Result<FieldRef> {
        let returns = self.return_type(&[])?;
        Ok(Arc::new(Field::new(
            self.name(),
            returns,
            self.is_nullable(),
        )))
    }

    fn is_nullable(&self) -> bool {
        self.callee.function().nullable
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coercion::coerce(self.callee.function(), given)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct || !args.order_bys.is_empty() {
            return Ok(Box::new(self.gathered(&args, false)?));
        }
        Ok(Box::new(self.single(Constants::new(args.exprs)?)))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct || !self.callee.function().retract {
            return Ok(Box::new(self.gathered(&args, true)?));
        }
        Ok(Box::new(self.single(Constants::new(args.exprs)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct && args.order_bys.is_empty()
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::new(
            self.callee.clone(),
            instances::partition(),
            Constants::new(args.exprs)?,
        )))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let named = |field: &FieldRef, ty: DataType, nullable: bool| {
            let name = format_state_name(args.name, field.name());
            Arc::new(Field::new(name, ty, nullable))
        };
        if args.is_distinct || !args.ordering_fields.is_empty() {
            // The rows themselves, in lists.
            let fields = args.input_fields.iter().chain(args.ordering_fields);
            let list =
                |f: &FieldRef| named(f, DataType::new_list(f.data_type().clone(), true), true);
            return Ok(fields.map(list).collect());
        }
        let state = self.callee.function().state.iter();
        Ok(state
            .map(|f| named(f, f.data_type().clone(), f.is_nullable()))
            .collect())
    }

    /// Accumulators with ORDER BY sort the rows of a group themselves: those of several partitions
    /// meet in no order.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if let Some(known) = self.of_nothing.get() {
            return Ok(known.clone());
        }
        let immutable = self.callee.function().volatility == sandmill_model::Volatility::Immutable;
        if !immutable && !self.callee.scope.is_executing() {
            return ScalarValue::try_from(data_type);
        }
        let value = self.single(Constants::new(&[])?).evaluate()?;
        Ok(self.of_nothing.get_or_init(|| value).clone())
    }
}
