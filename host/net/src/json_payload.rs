//! A payload within a JSON document, such as an event or a message over WebSocket: itself where it is
//! JSON, a string where it is text by its `content-type`, in base64 anything else.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use postern_core::{
    Error,
    json::{self, push_string},
};

/// The members `payload` and `payload-base64` of a document, as they are written.
#[derive(Debug, Default, Clone, Copy)]
pub struct PayloadMembers<'a> {
    pub json: Option<&'a [u8]>,
    pub base64: Option<&'a [u8]>,
}

/// The payload of `document`, and the content type that it has where none is told. `None` where it has
/// neither member.
///
/// # Errors
/// `invalid-argument` where it has both, or one that is no base64.
pub fn read(
    document: &Bytes,
    members: PayloadMembers<'_>,
    content_type: Option<&str>,
) -> Result<Option<(Bytes, &'static str)>, Error> {
    match (members.json, members.base64) {
        (None, None) => Ok(None),
        (Some(value), None) => match json::string(value) {
            Some(text) if content_type.is_some_and(|kind| !is_json(kind)) => {
                Ok(Some((text.into(), JSON)))
            }
            _ => Ok(Some((document.slice_ref(value), JSON))),
        },
        (None, Some(value)) => {
            let text = json::string(value)
                .ok_or_else(|| Error::invalid_argument("member \"payload-base64\" is no string"))?;
            let octets = BASE64_STANDARD.decode(text).map_err(|error| {
                let message = format!("member \"payload-base64\": {error}");
                Error::invalid_argument(message).with_source(error)
            })?;
            Ok(Some((octets.into(), OCTETS)))
        }
        (Some(_), Some(_)) => {
            let message = "one of the members \"payload\" and \"payload-base64\" is enough";
            Err(Error::invalid_argument(message))
        }
    }
}

/// Appends `,"payload":…` or `,"payload-base64":…`, without ends of lines.
pub fn push(document: &mut Vec<u8>, content_type: Option<&str>, payload: &[u8]) {
    if content_type.is_none_or(is_json) && json::check(payload).is_ok() {
        document.extend_from_slice(b",\"payload\":");
        let start = document.len();
        document.extend_from_slice(payload.trim_ascii());
        // Only blanks between tokens may be ends of lines.
        for octet in document.get_mut(start..).unwrap_or_default() {
            if matches!(octet, b'\n' | b'\r') {
                *octet = b' ';
            }
        }
        return;
    }
    let is_text = content_type.is_some_and(|kind| kind.starts_with("text/"));
    if let Some(text) = std::str::from_utf8(payload).ok().filter(|_| is_text) {
        document.extend_from_slice(b",\"payload\":");
        push_string(document, text);
        return;
    }
    document.extend_from_slice(b",\"payload-base64\":");
    push_string(document, &BASE64_STANDARD.encode(payload));
}

/// `application/json`, with or without parameters, and every `+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(JSON) || essence.ends_with("+json")
}

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
