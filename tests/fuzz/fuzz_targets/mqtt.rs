//! Searches with `postern_core::fuzz::mqtt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_core::fuzz::mqtt(octets));
