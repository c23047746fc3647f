//! VSP: calls and replies as DATA frames. Pure functions between frames and the joint.
//!
//! | header | in | meaning |
//! |---|---|---|
//! | `type` | all | `request` (default when `service` is there), `response`, `error`, `event` |
//! | `service`, `method`, `version` | request | the target; `method` is `call` when absent |
//! | `correlation-id` | all | chosen by the caller, echoed |
//! | `status` | response, error | `success`, or the name of the error's kind |
//! | `code` | error | the kind's HTTP number |
//! | `retry-after-ms` | error | milliseconds after which the same call may succeed |
//! | `event-type` | event | what happened: the topic |
//! | `subscription` | event to a subscriber | the id that `subscribe` answered |
//! | `missed` | event to a subscriber | how many were lost just before it; absent when none were |
//! | `content-type` | all | `application/json` when absent |
//! | `timeout-ms` | request | what is left of the deadline |
//! | `call-depth` | request | how many gateways and plugins stand before this one; 0 when absent |
//! | `retry` | error | `if-idempotent`: an upstream was sent the call and did not answer |
//! | `traceparent` | request | W3C trace context; `tracestate` and `baggage` travel along |
//! | `priority` | all | 0 to 255, see `wire::priority` |
//! | `x-auto-probe` | any | a probe of the published client; dropped |
//!
//! Names that begin with a colon are pseudo headers: what HTTP and streams say, see `pseudo.rs`.
//!
//! The payload of an error is `{"error":TEXT,"code":NUMBER}` with `"details"` where there are any.
//!
//! A frame without `service` goes to the listener's `default-service`. When it has none of `type`,
//! `method` and `correlation-id` either, it is one of the published easy layer; see [`easy`].

pub mod easy;
mod event;
mod inbound;
pub mod mux;
mod pseudo;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use self::{
    event::{event_frame, is_event, read_event},
    inbound::{Inbound, Reader},
    pseudo::{Payload, ReplyHead, read_trailers},
    reply::{ReplyToken, Response, read_response},
    request::{payload_frame, request_frame},
};

/// The method of a request that names none.
pub const METHOD_DEFAULT: &str = "call";

/// Whether a header is about one hop of the VSP and not about the call: a back leaves it out of its
/// own request, and a reply does not repeat it.
#[must_use]
pub fn is_hop_header(key: &[u8]) -> bool {
    matches!(
        key,
        b"type"
            | b"service"
            | b"method"
            | b"version"
            | b"correlation-id"
            | b"status"
            | b"code"
            | b"retry-after-ms"
            | b"timeout-ms"
            | b"call-depth"
            | b"traceparent"
            | b"priority"
            | b"stream"
            | b"credit"
            | b"msg-id"
            | b"encoding"
            | b"frag-id"
            | b"frag-index"
            | b"frag-total"
            | b"x-auto-probe"
    )
}
