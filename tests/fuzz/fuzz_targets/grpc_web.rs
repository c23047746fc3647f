//! Searches with `postern_net::fuzz::grpc_web`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_net::fuzz::grpc_web(octets));
