//! Calls as frames.

use std::time::Instant;

use bytes::Bytes;

use super::pseudo::{self, Payload};
use crate::{
    call::Call,
    error::{Blame, Error},
    headers::{HeaderError, Headers, HeadersBuilder},
    wire::Frame,
};

/// The request frame of `call` with `payload` for its one message.
///
/// `correlation` must be unique among what is in flight on the session; it replaces the caller's
/// own. `timeout-ms` is what is left of the deadline at `now`, rounded up to a millisecond.
///
/// # Errors
/// `deadline-exceeded` when nothing is left, `invalid-argument` when the headers do not fit.
pub fn request_frame(
    call: &Call,
    payload: Bytes,
    correlation: &str,
    now: Instant,
) -> Result<Frame, Error> {
    payload_frame(call, Payload::one(payload), correlation, now)
}

/// As `request_frame`, of a body that may be more than its octets.
///
/// # Errors
/// As `request_frame`.
pub fn payload_frame(
    call: &Call,
    payload: Payload,
    correlation: &str,
    now: Instant,
) -> Result<Frame, Error> {
    let remaining = call.context.remaining(now);
    if remaining.is_some_and(|remaining| remaining.is_zero()) {
        let message = "the deadline passed before the request was sent";
        return Err(Error::deadline_exceeded(Blame::Client, message));
    }
    let timeout_ms = remaining.map(|remaining| remaining.as_nanos().div_ceil(1_000_000));
    let headers = headers(call, &payload, correlation, timeout_ms).map_err(|error| {
        Error::invalid_argument("the request's headers do not fit into a frame").with_source(error)
    })?;
    Ok(Frame::data(headers, payload.octets))
}

fn headers(
    call: &Call,
    payload: &Payload,
    correlation: &str,
    timeout_ms: Option<u128>,
) -> Result<Headers, HeaderError> {
    let capacity = 128 + call.service.len() + call.method.len() + call.headers.section().len();
    let mut builder = HeadersBuilder::with_capacity(capacity);
    builder.push("type", "request")?;
    builder.push("service", call.service.as_bytes())?;
    builder.push("method", call.method.as_bytes())?;
    if let Some(version) = &call.version {
        builder.push("version", version.as_bytes())?;
    }
    builder.push("correlation-id", correlation)?;
    if let Some(timeout_ms) = timeout_ms {
        builder.push("timeout-ms", timeout_ms.to_string())?;
    }
    if let Some(trace) = call.context.trace {
        builder.push("traceparent", trace.to_string())?;
    }
    if call.context.depth != 0 {
        builder.push("call-depth", call.context.depth.to_string())?;
    }
    if call.context.priority != 50 {
        builder.push("priority", call.context.priority.to_string())?;
    }
    pseudo::push_http(&mut builder, call.http.as_deref())?;
    if call.context.is_deadline_of_head {
        pseudo::push_deadline_of_head(&mut builder)?;
    }
    payload.push(&mut builder)?;
    pseudo::push_request_headers(&mut builder, &call.headers)?;
    Ok(builder.build())
}
