//! The manifest's text: any bytes are either a manifest or a typed error.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sandmill_sandbox::Manifest;

fuzz_target!(|text: &[u8]| -> Corpus {
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(!manifest.functions.is_empty());
            for function in &manifest.functions {
                // What people see of it must not fail either, nor carry control characters.
                let signature = function.info().signature();
                assert!(!signature.chars().any(char::is_control), "{signature:?}");
            }
            Corpus::Keep
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 10_000 && !words.contains('\u{1b}'), "{words:?}");
            Corpus::Keep
        }
    }
});
