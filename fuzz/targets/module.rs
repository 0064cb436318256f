//! Whole modules: reading and checking one never fails but with a typed error. What is neither
//! WebAssembly nor looks like it is taken for the sections behind a module's first eight bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandmill_sandbox::inspect;

const HEAD: &[u8] = b"\0asm\x01\0\0\0";

fuzz_target!(|bytes: &[u8]| {
    let owned;
    let wasm = match bytes.starts_with(b"\0asm") {
        true => bytes,
        false => {
            owned = [HEAD, bytes].concat();
            &owned
        }
    };
    match inspect(wasm) {
        Ok(found) => assert_eq!(found.manifest.functions.len(), found.description.functions.len()),
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 10_000 && !words.contains('\u{1b}'), "{words:?}");
        }
    }
});
