use std::process::ExitCode;

use sandmill_api_types::{ClientError, Problem};

use super::terminal::plain;

/// Why a command ends without success.
pub(crate) struct Fault {
    code: u8,
    message: String,
}

impl Fault {
    /// The command failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: format!("error: {}", message.into()),
        }
    }

    /// The command was used wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: format!("error: {}", message.into()),
        }
    }

    /// The user pressed Ctrl-C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self {
            code: 130,
            message: message.into(),
        }
    }

    /// A problem, shown with its place in the statement.
    pub(crate) fn problem(problem: &Problem, sql: Option<&str>) -> Self {
        let code = match (problem.code.as_str(), problem.category.as_str()) {
            ("not_found", _) => 3,
            ("service.unavailable", _) => 4,
            ("job.canceled", _) => 130,
            (
                "function.memory_exceeded" | "function.timeout" | "job.timeout" | "resource.memory",
                _,
            )
            | (_, "quota") => 5,
            _ => 1,
        };
        let mut message = format!("error[{}]: {}", problem.code, problem.detail);
        if let (Some(position), Some(sql)) = (problem.position, sql)
            && let Some(line) = sql.lines().nth(position.line.saturating_sub(1) as usize)
        {
            let number = position.line.to_string();
            let gap = " ".repeat(number.len());
            let dent = " ".repeat(position.column.saturating_sub(1) as usize);
            message += &format!("\n{gap} |\n{number} | {line}\n{gap} | {dent}^");
        }
        if let Some(function) = &problem.function {
            let row = function
                .row
                .map(|row| format!(", row {row}"))
                .unwrap_or_default();
            message += &format!(
                "\n  in function {} version {}{row}",
                function.name, function.version
            );
            if let (Some(file), Some(line)) = (&function.file, function.line) {
                message += &format!("\n    in {file}, line {line}");
            }
            for frame in function.frames.iter().take(5) {
                message += &format!("\n    at {frame}");
            }
            for shown in &function.values {
                message += &format!("\n    {} = {}", shown.name, shown.value);
            }
        }
        if let Some(hint) = &problem.hint {
            message += &format!("\n  hint: {hint}");
        }
        Self { code, message }
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        &self.message
    }

    /// Prints it and gives the exit code.
    pub(crate) fn show(self) -> ExitCode {
        // Guests and servers write parts of it.
        eprintln!("{}", plain(&self.message));
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => Self::problem(&problem, None),
            ClientError::Unreachable { .. } => {
                let message = format!(
                    "error: {error}\n  hint: start one with `sandmill serve`, or run the job here with --local."
                );
                Self { code: 4, message }
            }
            ClientError::Answer(_) => Self {
                code: 4,
                message: format!("error: {error}"),
            },
        }
    }
}

impl From<crate::Error> for Fault {
    fn from(error: crate::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandmill_model::{ErrorCode, Failure};

    #[test]
    fn exit_codes_follow_the_problem() {
        let code = |code| Fault::problem(&Failure::new(code, "x").into(), None).code;
        assert_eq!(code(ErrorCode::SqlSyntax), 1);
        assert_eq!(code(ErrorCode::NotFound), 3);
        assert_eq!(code(ErrorCode::Unavailable), 4);
        assert_eq!(code(ErrorCode::FunctionTimeout), 5);
        assert_eq!(code(ErrorCode::LimitResultBytes), 5);
        assert_eq!(code(ErrorCode::QueueFull), 5);
        assert_eq!(code(ErrorCode::JobCanceled), 130);
    }
}
