//! Makes modules in languages that cannot write a manifest themselves: AssemblyScript, Go, JavaScript.
//!
//! Functions are declared in comments of their source ([`Declarations`]). From them come the manifest
//! and the glue that walks over rows; the language's own compiler does the rest, and [`pack`] puts the
//! manifest into what it made.
//!
//! Invariant: nothing here runs the module that it makes, and nothing is written outside of a
//! temporary folder.
#![deny(missing_docs)]

mod declaration;
mod glue;
mod pack;
mod recipe;
mod types;

use std::path::{Path, PathBuf};

pub use declaration::{Argument, Declaration, Declarations};
pub use pack::{Program, pack};
pub use recipe::{Language, Tools, build, detect};
pub use types::Shape;

/// Why a module could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A declaration is wrong.
    #[error("line {line} of {file}: {message}")]
    Declaration {
        /// The file's name.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// What was compiled is not a module that can be packed.
    #[error("the module cannot be packed: {0}")]
    Module(String),
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A compiler is missing or refused the source; it has said why on its own.
    #[error("{0}")]
    Tool(String),
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<'_> {
        |error| Self::File {
            path: path.to_owned(),
            error,
        }
    }
}
