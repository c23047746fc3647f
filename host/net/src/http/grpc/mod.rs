//! gRPC and gRPC-Web on an HTTP listener: requests as calls of the joint, replies as their responses.
//!
//! ```text
//! request ─▶ content_type ─▶ call: path, metadata, timeout, messages ─▶ handler
//!                                   messages: frame ─▶ coding
//! response ◀─ web ◀─ reply: metadata, coding, frame, status ◀──────────────┘
//! ```
//! What is asked and how it ends are those of `grpc/doc/PROTOCOL-HTTP2.md`: every failure is a status in
//! trailers over HTTP 200, but for what is no gRPC at all. What differs between the two protocols is in
//! `content_type.rs` and `web.rs`.
//!
//! **Invariant:** a client that resets its stream drops the handler's future, or the stream of its reply.

mod call;
pub(crate) mod coding;
mod content_type;
pub(crate) mod frame;
mod front;
mod messages;
pub(crate) mod metadata;
mod outcome;
mod reply;
mod reply_frames;
pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod timeout;
mod web;

pub use self::status::{StatusDetails, ValueDetails};
pub(crate) use self::web::{TRAILERS as WEB_TRAILERS, TextReader, last_frame};
pub(in crate::http) use self::{
    call::{CallReader, RpcPath},
    content_type::{Framing, GrpcContent, UnknownContent},
    front::GrpcFront,
    outcome::judged,
    reply::refuse,
    reply_frames::{FrameForm, ReplyEnd, ReplyFrames},
    web::{STATUS_FIELDS, expose},
};
