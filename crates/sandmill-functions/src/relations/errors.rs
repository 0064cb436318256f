//! What users are told about calls of the wrong shape.

use sandmill_model::{ErrorCode, Failure};
use sandmill_sandbox::{Function, FunctionKind};

/// How a function is written in SQL.
pub(super) fn usage(function: &Function) -> String {
    let name = &function.name;
    let constants = function.arguments.iter().take(function.required());
    let constants: Vec<&str> = constants.map(|a| a.name.as_str()).collect();
    let behind: String = constants.iter().map(|name| format!(", {name}")).collect();
    match function.kind {
        FunctionKind::Table => {
            format!("FROM {name}({})", constants.join(", "))
        }
        FunctionKind::Map => format!("FROM {name}(TABLE(t){behind})"),
        FunctionKind::GroupedMap => {
            format!("FROM {name}(TABLE(t) OVER (PARTITION BY k){behind})")
        }
        FunctionKind::CogroupedMap => format!(
            "FROM {name}(TABLE(t) OVER (PARTITION BY k), TABLE(u) OVER (PARTITION BY k){behind})"
        ),
        FunctionKind::Aggregate | FunctionKind::Scalar => {
            format!("SELECT {name}({})", constants.join(", "))
        }
        FunctionKind::Window => format!("SELECT {name}({}) OVER (...)", constants.join(", ")),
    }
}

/// A call that cannot be what the user meant, with the function's signature and syntax.
pub(super) fn wrong_call(function: &Function, message: impl std::fmt::Display) -> Failure {
    let signature = function.info().signature();
    let message = format!("{} {message}", function.name);
    Failure::new(ErrorCode::FunctionArguments, message).hint(format!(
        "Its signature is {signature}; write `{}`.",
        usage(function)
    ))
}
