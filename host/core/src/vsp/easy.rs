//! The published "easy" layer: JSON in a bare DATA frame, JSON in a bare DATA frame back, matched by
//! order alone. Source: behaviour of the `vstp` crate 0.2.1, `host/docs/wire.md`.
//!
//! Where its server gives no reply at all, to a call whose handler fails, this end answers with the
//! error document: a client that waits 30 s for nothing is worse off than one that reads an error.

use bytes::Bytes;

use crate::{error::Error, headers::Headers, json, wire::Frame};

/// How its server begins the reply to a payload that is not JSON.
pub const INVALID_DATA: &str = "Invalid data: ";

/// A bare DATA frame, the only form of a reply.
#[must_use]
pub fn frame(payload: impl Into<Bytes>) -> Frame {
    Frame::data(Headers::new(), payload)
}

/// Checks that the payload is what the layer takes: JSON, unless its headers say that it is
/// something else.
///
/// # Errors
/// `invalid-argument`; the reply is `invalid_text`.
pub(super) fn check(content_type: Option<&[u8]>, payload: &[u8]) -> Result<(), Error> {
    if !content_type.is_none_or(is_json) {
        return Ok(());
    }
    json::check(payload).map_err(|error| {
        Error::invalid_argument(format!("{INVALID_DATA}{error}")).with_source(error)
    })
}

/// The reply to a payload that is not JSON: the text alone, as the published server gives it.
pub(super) fn invalid_text(error: &Error) -> Bytes {
    Bytes::copy_from_slice(error.message.as_bytes())
}

/// `application/json`, with or without parameters, and every `+json`.
fn is_json(content_type: &[u8]) -> bool {
    let end = content_type
        .iter()
        .position(|octet| *octet == b';')
        .unwrap_or(content_type.len());
    let essence = content_type.get(..end).unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json") || essence.ends_with(b"+json")
}
