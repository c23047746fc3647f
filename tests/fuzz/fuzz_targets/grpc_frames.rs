//! Searches with `postern_net::fuzz::grpc_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| postern_net::fuzz::grpc_frames(octets));
