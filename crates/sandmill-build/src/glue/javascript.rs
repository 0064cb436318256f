//! JavaScript: a table of functions that the runtime reads, then the source as it is.

use crate::declaration::Declarations;
use crate::types::Shape;

/// A line for each function (name, shape of the result, what it promises, shapes of the arguments),
/// an empty line, the file's name, and the source with a NUL behind it.
pub(crate) fn render(declarations: &Declarations, file: &str, source: &str) -> Vec<u8> {
    let mut text = String::new();
    for function in &declarations.functions {
        let shapes: String = function.arguments.iter().map(|a| letter(a.shape)).collect();
        let null = if function.called_on_null { '?' } else { '-' };
        text += &format!(
            "{} {}{null}{shapes}\n",
            function.name,
            letter(function.returns.shape)
        );
    }
    let mut bytes = format!("{text}\n{file}\n{source}").into_bytes();
    bytes.push(0);
    bytes
}

/// As the runtime's `switch` has them.
fn letter(shape: Shape) -> char {
    match shape {
        Shape::Bool => 'b',
        Shape::I8 => 'c',
        Shape::I16 => 's',
        Shape::I32 => 'i',
        Shape::I64 => 'l',
        Shape::U8 => 'C',
        Shape::U16 => 'S',
        Shape::U32 => 'I',
        Shape::U64 => 'L',
        Shape::F32 => 'f',
        Shape::F64 => 'g',
        Shape::Decimal => 'd',
        Shape::Text => 'u',
        Shape::Bytes => 'z',
    }
}
