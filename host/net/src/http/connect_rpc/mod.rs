//! The Connect protocol on an HTTP listener (<https://connectrpc.com/docs/protocol>): calls that any client of
//! HTTP can make, over HTTP/1.1 and HTTP/2, without trailers.
//!
//! ```text
//! request ─▶ detect ─┬▶ unary: body or query ─▶ call ─▶ handler ─▶ message and fields
//!                    └▶ streaming: envelopes ─▶ call ─▶ handler ─▶ envelopes, the last with the end
//! ```
//! Envelopes, codings, metadata and details of failures are those of gRPC (`http/grpc`), and so are the limits
//! of messages. What differs is how they stand in a request, and how a failure is told: in JSON, under the
//! status of its code where the call is unary.

mod call;
mod code;
mod codec;
mod coding;
mod detect;
mod end_stream;
mod error;
mod failure;
mod front;
mod limits;
mod metadata;
pub(crate) mod query;
mod streaming;
#[cfg(test)]
mod tests;
mod timeout;
mod unary;

pub(in crate::http) use self::{detect::ConnectRequest, failure::refuse, front::ConnectFront};
