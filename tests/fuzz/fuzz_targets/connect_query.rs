//! Searches with `postern_net::fuzz::connect_query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_net::fuzz::connect_query(octets));
