//! Arrays that a guest returned: whatever lies in its memory, what the sandbox accepts is valid for
//! arrow in every detail, and what it refuses is refused with a typed error.
#![no_main]

#[path = "../image.rs"]
mod image;

use arrow::array::Array;
use libfuzzer_sys::fuzz_target;
use sandmill_sandbox::{Error, fuzzing};

fuzz_target!(|bytes: &[u8]| {
    let mut source = image::Source::new(bytes);
    let ty = image::any_type(&mut source, 0);
    let (rows, nullable) = (source.below(40), source.below(2) == 0);
    let (memory, out) = image::draw(&mut source, &ty, rows);
    match fuzzing::read_result(&memory, out, &ty, rows, nullable) {
        Ok(array) => {
            assert_eq!((array.data_type(), array.len()), (&ty, rows));
            let valid = array.to_data().validate_full();
            assert!(valid.is_ok(), "{ty}: {valid:?}");
            assert!(nullable || array.logical_null_count() == 0, "{ty}");
            // Looking at every value must not fail.
            let row = arrow::compute::concat(&[array.as_ref(), array.as_ref()]);
            assert_eq!(row.map(|twice| twice.len()).ok(), Some(rows * 2));
        }
        Err(Error::Output(words)) => assert!(words.len() < 10_000),
        Err(other) => unreachable!("{ty}: {other}"),
    }
});
