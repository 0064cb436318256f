//! The nodes of the logical plan.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::Call;

/// What a call is named in a statement: its alias and the names of its columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct Named {
    pub qualifier: TableReference,
    pub columns: Vec<String>,
}

impl Named {
    /// The fields of the result; all nullable where rows without results are kept.
    fn fields(&self, call: &Call, outer: bool) -> Vec<(Option<TableReference>, FieldRef)> {
        let fields = call.function().columns.iter().zip(&self.columns);
        fields
            .map(|(field, name)| {
                let nullable = outer || field.is_nullable();
                let field = Field::new(name, field.data_type().clone(), nullable);
                (Some(self.qualifier.clone()), Arc::new(field))
            })
            .collect()
    }
}

fn list(exprs: &[Expr]) -> String {
    let exprs: Vec<_> = exprs.iter().map(Expr::to_string).collect();
    exprs.join(", ")
}

/// A table function: each row of the input with the rows that the function gives for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TableNode {
    pub call: Call,
    pub named: Named,
    pub input: LogicalPlan,
    pub arguments: Vec<Expr>,
    /// Whether rows without results stay, with NULL beside them.
    pub outer: bool,
    schema: DFSchemaRef,
}

impl TableNode {
    pub(super) fn new(
        call: Call,
        named: Named,
        input: LogicalPlan,
        arguments: Vec<Expr>,
        outer: bool,
    ) -> Result<Self> {
        let before = input.schema().iter();
        let before = before.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let fields: Vec<_> = before.chain(named.fields(&call, outer)).collect();
        let metadata = input.schema().metadata().clone();
        Ok(Self {
            schema: Arc::new(DFSchema::new_with_metadata(fields, metadata)?),
            call,
            named,
            input,
            arguments,
            outer,
        })
    }
}

impl PartialOrd for TableNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.call.clone(), node.outer);
        match key(self).partial_cmp(&key(other)) {
            Some(Ordering::Equal) => {
                (&self.arguments, &self.input).partial_cmp(&(&other.arguments, &other.input))
            }
            found => found,
        }
        .filter(|found| *found != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for TableNode {
    fn name(&self) -> &str {
        "TableFunction"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.arguments.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        // Conditions on the rows of the input hold as well before the call.
        self.named.columns.iter().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outer = if self.outer { " outer" } else { "" };
        let (name, arguments) = (self.call.name(), list(&self.arguments));
        write!(f, "TableFunction:{outer} {name}({arguments})")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return internal_err!("a table function has one input");
        };
        Self::new(
            self.call.clone(),
            self.named.clone(),
            input,
            exprs,
            self.outer,
        )
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let count = self.input.schema().fields().len();
        let needed = output_columns.iter().filter(|n| **n < count);
        Some(vec![needed.copied().collect()])
    }
}

/// How the columns of an input of a map follow one another: those of the manifest, keys, order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct Shape {
    pub keys: usize,
    /// For each column of the order whether it falls, and whether NULL comes first.
    pub order: Vec<(bool, bool)>,
    /// Whether the rows are cut at all; otherwise they are one group.
    pub partitioned: bool,
}

/// A map of any of the three kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MapNode {
    pub call: Call,
    pub named: Named,
    /// With the columns that their `shapes` say, and no others.
    pub inputs: Vec<LogicalPlan>,
    pub shapes: Vec<Shape>,
    pub constants: Vec<Expr>,
    schema: DFSchemaRef,
}

impl MapNode {
    pub(super) fn new(
        call: Call,
        named: Named,
        inputs: Vec<LogicalPlan>,
        shapes: Vec<Shape>,
        constants: Vec<Expr>,
    ) -> Result<Self> {
        let fields = named.fields(&call, false);
        Ok(Self {
            schema: Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?),
            call,
            named,
            inputs,
            shapes,
            constants,
        })
    }
}

impl PartialOrd for MapNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.call.partial_cmp(&other.call) {
            Some(Ordering::Equal) => {
                (&self.constants, &self.inputs).partial_cmp(&(&other.constants, &other.inputs))
            }
            found => found,
        }
        .filter(|found| *found != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for MapNode {
    fn name(&self) -> &str {
        "Map"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.constants.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.inputs.len() {
            2 => "CogroupedMap",
            _ if self.shapes.is_empty() => "Map",
            _ => "GroupedMap",
        };
        let (name, constants) = (self.call.name(), list(&self.constants));
        write!(f, "{kind}: {name}({constants})")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if inputs.len() != self.inputs.len() {
            return internal_err!("a map keeps its inputs");
        }
        Ok(Self {
            inputs,
            constants: exprs,
            ..self.clone()
        })
    }
}
