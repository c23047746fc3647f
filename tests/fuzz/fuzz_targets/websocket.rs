//! Searches with `postern_core::fuzz::websocket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_core::fuzz::websocket(octets));
