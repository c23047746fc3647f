//! Searches with `postern_core::fuzz::headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_core::fuzz::headers(octets));
