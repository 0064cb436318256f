//! Calls within calls of one module: `f(g(x))` runs in one instance, and what `g` gives stays in its
//! memory until `f` has read it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::new_empty_array;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use sandmill_model::FunctionPin;
use sandmill_sandbox::{Argument, CHAIN, Operand, Step, can_chain};

use crate::scalar::{Scalar, array};
use crate::{JobScope, Version, instances};

/// Replaces calls within calls of one module by one call of a chain. Must be the last rule: the
/// others know the functions and not the chain.
#[derive(Debug, Default)]
pub struct ChainRule;

impl OptimizerRule for ChainRule {
    fn name(&self) -> &str {
        "chain_functions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        use datafusion::common::tree_node::TreeNode;
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_down(|expr| match expr {
                Expr::ScalarFunction(call) => Ok(match Chain::of(&call) {
                    Some((chain, inputs)) => {
                        let chain = Arc::new(ScalarUDF::new_from_impl(chain));
                        Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                            chain, inputs,
                        )))
                    }
                    None => Transformed::no(Expr::ScalarFunction(call)),
                }),
                other => Ok(Transformed::no(other)),
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })
    }
}

/// Several functions of one module, each reading inputs of the chain or results of earlier steps.
#[derive(Debug)]
pub(crate) struct Chain {
    name: String,
    /// The version of each step; all of one module.
    versions: Vec<Version>,
    steps: Vec<Step>,
    scope: Arc<JobScope>,
    signature: Signature,
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
            && self.pins().eq(other.pins())
            && Arc::ptr_eq(&self.scope, &other.scope)
    }
}

impl Eq for Chain {}

impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.pins().for_each(|pin| pin.hash(state));
    }
}

fn scalar(call: &ScalarFunction) -> Option<&Scalar> {
    let scalar = call.func.inner().downcast_ref::<Scalar>()?;
    can_chain(&scalar.version.module, scalar.version.index).then_some(scalar)
}

impl Chain {
    fn pins(&self) -> impl Iterator<Item = &FunctionPin> {
        self.versions.iter().map(|v| &v.pin)
    }

    /// The chain that a call is the last step of, and its inputs; `None` when no argument is a call of
    /// the same module.
    fn of(call: &ScalarFunction) -> Option<(Self, Vec<Expr>)> {
        let last = scalar(call)?;
        let mut chain = Self {
            name: String::new(),
            versions: Vec::new(),
            steps: Vec::new(),
            scope: Arc::clone(&last.scope),
            signature: Signature::user_defined(Volatility::Immutable),
        };
        let mut inputs = Vec::new();
        chain.add(call, last, &mut inputs);
        // Of longer ones, the inner calls become a chain.
        if !(2..=CHAIN).contains(&chain.steps.len()) {
            return None;
        }
        let volatility = chain.versions.iter().map(Version::volatility);
        // The least that any step permits the planner to assume.
        let volatility = volatility.fold(Volatility::Immutable, |all, one| match (all, one) {
            (Volatility::Volatile, _) | (_, Volatility::Volatile) => Volatility::Volatile,
            (Volatility::Stable, _) | (_, Volatility::Stable) => Volatility::Stable,
            _ => Volatility::Immutable,
        });
        chain.signature = Signature::user_defined(volatility);
        let names: Vec<_> = chain.versions.iter().map(|v| v.pin.name.as_str()).collect();
        chain.name = format!("chain[{}]", names.join(", "));
        Some((chain, inputs))
    }

    fn add(&mut self, call: &ScalarFunction, function: &Scalar, inputs: &mut Vec<Expr>) -> Operand {
        let mut operands = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            let inner = match argument {
                Expr::ScalarFunction(inner) => scalar(inner).map(|found| (inner, found)),
                _ => None,
            };
            let inner = inner.filter(|(inner, found)| {
                let constant = |e: &Expr| matches!(e, Expr::Literal(..));
                found.version.module.digest() == function.version.module.digest()
                    && !inner.args.iter().all(constant)
            });
            let same = inputs.iter().position(|known| known == argument);
            operands.push(match (inner, same) {
                (Some((inner, found)), _) => self.add(inner, found, inputs),
                (None, Some(place)) if !argument.is_volatile() => Operand::Input(place),
                _ => {
                    inputs.push(argument.clone());
                    Operand::Input(inputs.len() - 1)
                }
            });
        }
        self.versions.push(function.version.clone());
        self.steps.push(Step {
            function: function.version.index,
            operands,
        });
        Operand::Step(self.steps.len() - 1)
    }

    fn last(&self) -> &Version {
        // A chain has at least two steps.
        &self.versions[self.versions.len() - 1]
    }
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let returns = self.last().function().returns.exact();
        Ok(returns.cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let from_inputs = args.arg_fields.iter().any(|f| f.is_nullable());
        let own = |v: &Version| v.function().nullable;
        let nullable = from_inputs || self.versions.iter().any(own);
        let ty = self.return_type(&[])?;
        Ok(Arc::new(datafusion::arrow::datatypes::Field::new(
            self.name(),
            ty,
            nullable,
        )))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        // The calls were coerced before they became a chain.
        Ok(given.to_vec())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !self.scope.is_executing() {
            return datafusion::common::exec_err!(
                "a chain is not evaluated while a statement is planned"
            );
        }
        if args.number_rows == 0 {
            let empty = new_empty_array(args.return_field.data_type());
            return Ok(ColumnarValue::Array(empty));
        }
        let arrays = args.args.iter().map(|value| array(value, false));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
        let volatile = self.signature.volatility == Volatility::Volatile;
        let once = !volatile && args.args.iter().all(constant);
        let rows = if once { 1 } else { args.number_rows };
        let arguments: Vec<_> = args
            .args
            .iter()
            .zip(&arrays)
            .map(|(value, array)| match value {
                ColumnarValue::Array(_) => Argument::Column(array.as_ref()),
                ColumnarValue::Scalar(_) => Argument::Constant(array.as_ref()),
            })
            .collect();
        let (last, all) = (self.last(), &self.versions);
        let result = instances::on_instance_of(last, all, &self.scope, |instance| {
            instance.chain(&self.steps, &arguments, rows)
        })?;
        if once {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
