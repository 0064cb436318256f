use sandmill_model::{ErrorCode, Failure};
use sandmill_store::Error;

/// The store's error as users see it. Details of the machine go to the log, not to users.
pub fn translate(error: Error) -> Failure {
    match error {
        Error::NotFound(what) => {
            Failure::new(ErrorCode::NotFound, format!("{what} does not exist."))
        }
        Error::Conflict(message) => Failure::new(ErrorCode::StateConflict, message),
        Error::InUse { what, jobs, count } => {
            let shown: Vec<_> = jobs
                .iter()
                .map(|job| format!("{} ({})", job.id, job.state))
                .collect();
            let more = count.saturating_sub(jobs.len() as u64);
            let more = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let plural = if count == 1 { "A job uses" } else { "Jobs use" };
            let message = format!("{plural} {what}: {}{more}.", shown.join(", "));
            Failure::new(ErrorCode::StateConflict, message)
                .hint("Wait until they have ended, or cancel them.")
        }
        Error::Unsigned => Failure::new(
            ErrorCode::FunctionUnsigned,
            "Modules must be signed here, and this one carries no signature.",
        )
        .hint("Sign it with a trusted key: `sandmill function upload FILE --sign KEY`."),
        Error::Untrusted(key) => Failure::new(
            ErrorCode::FunctionUntrustedKey,
            format!("The key {key} is not trusted."),
        )
        .hint("Sign with a trusted key, or have this one trusted: `sandmill key trust`."),
        Error::NotOwner(_) => Failure::new(ErrorCode::ExecutorLost, format!("{error}.")),
        Error::QueueFull(waiting) => Failure::new(
            ErrorCode::QueueFull,
            format!("{waiting} jobs wait already."),
        )
        .hint("Wait until some have ended, or cancel some.")
        .limit("queue.jobs", waiting, Some(waiting)),
        Error::Damaged { what, reason } => {
            tracing::error!(what, reason, "stored data is damaged");
            Failure::new(
                ErrorCode::Internal,
                format!("The stored {what} is damaged."),
            )
        }
        Error::Database(error) => {
            tracing::error!(%error, "the database failed");
            Failure::new(
                ErrorCode::StorageFailed,
                "The database cannot be used at present.",
            )
            .hint("Try again; the operator finds the cause in the server's log.")
        }
        Error::File { path, error } => {
            tracing::error!(path, %error, "a file failed");
            Failure::new(
                ErrorCode::StorageFailed,
                format!("A stored file cannot be used: {error}."),
            )
            .hint("Try again; the operator finds the cause in the server's log.")
        }
    }
}
