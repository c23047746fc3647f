//! Searches with `postern_core::fuzz::redis`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_core::fuzz::redis(octets));
