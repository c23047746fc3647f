//! Bodies for fuzzing, as those of `postern_core::fuzz`, for decoders that stand on types of HTTP: plain functions
//! that must not panic, whatever the octets.
//!
//! | target | octets are |
//! |---|---|
//! | `connect_query` | the query of a call by `GET` |
//! | `grpc_frames` | three octets of mode, then a body of messages: gRPC, gRPC-Web, envelopes of Connect |
//! | `grpc_web` | one octet of mode, then a body in base64, or fields that become trailers |

mod connect_query;
mod grpc_frames;
mod grpc_web;
#[cfg(test)]
mod tests;

pub use self::{connect_query::connect_query, grpc_frames::grpc_frames, grpc_web::grpc_web};
