//! The message in the envelope that ends a stream of replies: whether the call failed, and what follows it
//! (Connect protocol, "Error and EndStreamResponse").
//!
//! ```text
//! {"error":{"code":"unavailable","message":"overloaded"},"metadata":{"acme-cost":["237"]}}
//! ```

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use postern_core::{Error, Headers, json::push_string};

use super::{code, error, metadata};
use crate::http::grpc::{ReplyEnd, StatusDetails, frame::frame};

/// The envelope with the last message, behind those of a reply.
pub(super) struct EndEnvelope {
    pub(super) details: Arc<dyn StatusDetails>,
}

impl ReplyEnd for EndEnvelope {
    fn success(&self, trailers: Option<&Headers>) -> Frame<Bytes> {
        let metadata = trailers.map(metadata::leading).unwrap_or_default();
        Frame::data(envelope(&message(None, &metadata)))
    }

    fn failure(&self, error: &Error) -> Frame<Bytes> {
        Frame::data(of_failure(error, &*self.details))
    }
}

/// The envelope that ends a reply which failed. What a unary one says in fields, this says in its metadata.
pub(super) fn of_failure(error: &Error, details: &dyn StatusDetails) -> Bytes {
    let mut metadata = HeaderMap::new();
    if let Some(delay) = error.retry_after() {
        let seconds = u64::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        metadata.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(headers) = &error.headers {
        metadata::append_missing(&mut metadata, headers);
    }
    let json = error::to_json(code::of(error.kind), error, details);
    envelope(&message(Some(&json), &metadata))
}

fn envelope(message: &[u8]) -> Bytes {
    // An end is as long as its metadata, which memory has room for: never 4 GiB.
    frame(END_STREAM, message, usize::MAX).unwrap_or_default()
}

/// The last message of a stream. `error` is one as `error.rs` writes it; there is none where the call
/// succeeded. Values of `metadata` that are no text are left out: JSON cannot write them.
fn message(error: Option<&[u8]>, metadata: &HeaderMap) -> Bytes {
    let mut json = Vec::with_capacity(64);
    json.push(b'{');
    if let Some(error) = error {
        json.extend_from_slice(b"\"error\":");
        json.extend_from_slice(error);
    }
    push_metadata(&mut json, metadata);
    json.push(b'}');
    json.into()
}

fn push_metadata(json: &mut Vec<u8>, metadata: &HeaderMap) {
    let before = json.len();
    let mut is_first_key = true;
    for key in metadata.keys() {
        let values = metadata.get_all(key).iter();
        let mut texts = values.filter_map(|value| str::from_utf8(value.as_bytes()).ok());
        let Some(first) = texts.next() else {
            continue;
        };
        match is_first_key {
            true if before > 1 => json.extend_from_slice(b",\"metadata\":{"),
            true => json.extend_from_slice(b"\"metadata\":{"),
            false => json.push(b','),
        }
        is_first_key = false;
        push_string(json, key.as_str());
        json.extend_from_slice(b":[");
        push_string(json, first);
        for text in texts {
            json.push(b',');
            push_string(json, text);
        }
        json.push(b']');
    }
    if !is_first_key {
        json.push(b'}');
    }
}

/// The flag of the envelope that ends a reply.
const END_STREAM: u8 = 2;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(error: Option<&str>, pairs: &[(&'static str, &str)], expected: &str) {
        let mut metadata = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_str(value).expect("a value");
            metadata.append(*name, value);
        }
        let told = message(error.map(str::as_bytes), &metadata);
        assert_eq!(told, expected);
        serde_json::from_slice::<serde_json::Value>(&told).expect("JSON");
    }

    #[test]
    fn a_stream_ends_with_its_error_and_its_metadata_where_there_are_any() {
        check(None, &[], "{}");
        let error = r#"{"code":"unavailable"}"#;
        check(Some(error), &[], r#"{"error":{"code":"unavailable"}}"#);
        check(
            Some(error),
            &[("acme-operation-cost", "237")],
            r#"{"error":{"code":"unavailable"},"metadata":{"acme-operation-cost":["237"]}}"#,
        );
    }

    #[test]
    fn values_of_one_key_stand_together_in_their_order() {
        check(
            None,
            &[("a", "1"), ("b-bin", "AAE"), ("a", "\"2\"")],
            r#"{"metadata":{"a":["1","\"2\""],"b-bin":["AAE"]}}"#,
        );
    }

    #[test]
    fn what_json_cannot_write_is_left_out() {
        let mut metadata = HeaderMap::new();
        let octets = HeaderValue::from_bytes(b"\xff").expect("obs-text");
        metadata.append("a", octets.clone());
        assert_eq!(message(None, &metadata), "{}");
        metadata.append("b", HeaderValue::from_static("1"));
        metadata.append("b", octets);
        assert_eq!(message(None, &metadata), r#"{"metadata":{"b":["1"]}}"#);
    }
}
