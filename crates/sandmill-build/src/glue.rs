//! Generated source: for each function the export that walks over the rows of a batch.

mod assemblyscript;
mod go;
mod javascript;

pub(crate) use assemblyscript::render as assemblyscript;
pub(crate) use go::render as go;
pub(crate) use javascript::render as javascript;
