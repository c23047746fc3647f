//! How a call ended, as trailers say it: `grpc-status`, `grpc-message` and `grpc-status-details-bin`
//! (google.rpc.Status). `grpc/doc/PROTOCOL-HTTP2.md`, "Responses".

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use postern_core::{Error, Retry};
use prost::Message as _;
use prost_types::{Any, ListValue, Struct, Value, value};

use super::metadata;

/// Trailers of the protocol itself.
pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// When the caller may try again, in milliseconds (gRFC A6).
pub(crate) const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Details of a failure, between the JSON of the joint and the messages of gRPC. Which types of messages
/// there are the gateway knows.
pub trait StatusDetails: fmt::Debug + Send + Sync + 'static {
    /// The messages that `details`, a JSON value, stand for: of an array or an object with `@type` the
    /// ones that it names, of anything else one `google.protobuf.Value`.
    fn to_any(&self, details: &[u8]) -> Vec<Any>;

    /// The JSON of messages; `None` where none of them is of a type that is known.
    fn to_json(&self, details: &[Any]) -> Option<Bytes>;
}

/// Details that are JSON: each is one `google.protobuf.Value`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValueDetails;

/// google.rpc.Status (`google/rpc/status.proto`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// The trailers of a call that went well.
pub(crate) fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers
}

/// The trailers of a call that failed, with the metadata of its error.
pub(crate) fn failed(error: &Error, details: &dyn StatusDetails) -> HeaderMap {
    let mut trailers = match &error.headers {
        Some(headers) => metadata::to_map(headers),
        None => HeaderMap::with_capacity(2),
    };
    trailers.insert(STATUS, HeaderValue::from(u16::from(error.kind.grpc())));
    let message = shortened(&error.message);
    if !message.is_empty() {
        trailers.insert(MESSAGE, metadata::encode_text(message));
    }
    match error.retry {
        Retry::After(delay) => drop(trailers.insert(PUSHBACK, HeaderValue::from(millis(delay)))),
        // "a negative value: do not retry" (gRFC A6).
        Retry::Forbidden => drop(trailers.insert(PUSHBACK, HeaderValue::from_static("-1"))),
        Retry::Never | Retry::Elsewhere | Retry::IfIdempotent => {}
    }
    if let Some(status) = status_of(error, message, details) {
        trailers.insert(DETAILS, metadata::encode_binary(&status));
    }
    trailers
}

/// The failure with its details, in octets; `None` where it has none, or too many.
fn status_of(error: &Error, message: &str, details: &dyn StatusDetails) -> Option<Vec<u8>> {
    let details = details.to_any(error.details.as_deref()?);
    let status = RpcStatus {
        code: error.kind.grpc().into(),
        message: message.to_owned(),
        details,
    };
    let is_sent = !status.details.is_empty() && status.encoded_len() <= DETAILS_BYTES_MAX;
    is_sent.then(|| status.encode_to_vec())
}

/// The begin of a message that is too long for trailers.
fn shortened(message: &str) -> &str {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    message.get(..end).unwrap_or_default()
}

/// Rounded up, so that nobody comes too early.
fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl StatusDetails for ValueDetails {
    fn to_any(&self, details: &[u8]) -> Vec<Any> {
        let value = serde_json::from_slice(details).ok().map(to_value);
        let any = value.map(|value| Any {
            type_url: VALUE_TYPE.to_owned(),
            value: value.encode_to_vec(),
        });
        any.into_iter().collect()
    }

    fn to_json(&self, details: &[Any]) -> Option<Bytes> {
        let mut values = details.iter().filter(|any| any.type_url == VALUE_TYPE);
        let value = Value::decode(values.next()?.value.as_slice()).ok()?;
        serde_json::to_vec(&of_value(value)).ok().map(Bytes::from)
    }
}

fn to_value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => value::Kind::NullValue(0),
        Json::Bool(is_true) => value::Kind::BoolValue(is_true),
        // Every number of JSON is a double here (`google/protobuf/struct.proto`).
        Json::Number(number) => value::Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => value::Kind::StringValue(text),
        Json::Array(items) => value::Kind::ListValue(ListValue {
            values: items.into_iter().map(to_value).collect(),
        }),
        Json::Object(members) => value::Kind::StructValue(Struct {
            fields: members
                .into_iter()
                .map(|(name, value)| (name, to_value(value)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn of_value(value: Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.kind {
        None | Some(value::Kind::NullValue(_)) => Json::Null,
        Some(value::Kind::BoolValue(is_true)) => Json::Bool(is_true),
        Some(value::Kind::NumberValue(number)) => whole(number)
            .map(Json::from)
            .unwrap_or_else(|| Json::from(number)),
        Some(value::Kind::StringValue(text)) => Json::String(text),
        Some(value::Kind::ListValue(list)) => list.values.into_iter().map(of_value).collect(),
        Some(value::Kind::StructValue(members)) => members
            .fields
            .into_iter()
            .map(|(name, value)| (name, of_value(value)))
            .collect(),
    }
}

/// The whole number that a double is, so that `3` does not come back as `3.0`.
fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() <= SAFE_INTEGER_MAX;
    is_whole.then(|| format!("{number:.0}").parse().ok())?
}

/// `google/protobuf/any.proto` demands a `/` before the name.
const VALUE_TYPE: &str = "type.googleapis.com/google.protobuf.Value";
/// Largest whole number below which a double holds every one: 2^53 - 1.
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_991.0;
/// Longest message and details, in octets before they are encoded. Clients on the C core refuse trailers
/// of 8 KiB at times and of 16 KiB always (GRPC_ARG_MAX_METADATA_SIZE).
const MESSAGE_BYTES_MAX: usize = 1024;
const DETAILS_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use postern_core::{Blame, Headers, Kind};

    use super::*;

    fn text<'a>(trailers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
        trailers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }

    #[test]
    fn a_failure_says_its_number_and_message() {
        for kind in Kind::ALL {
            let error = Error::new(kind, Blame::Client, "50 % é");
            let trailers = failed(&error, &ValueDetails);
            let number = kind.grpc().to_string();
            assert_eq!(text(&trailers, &STATUS), Some(&*number));
            assert_eq!(text(&trailers, &MESSAGE), Some("50 %25 %C3%A9"));
            assert_eq!(trailers.len(), 2);
        }
        let silent = Error::new(Kind::Aborted, Blame::Client, "");
        assert_eq!(failed(&silent, &ValueDetails).len(), 1);
    }

    #[test]
    fn details_are_a_status_of_their_own() {
        let error = Error::not_found("no user").with_details("{\"id\":3,\"of\":[true,null]}");
        let trailers = failed(&error, &ValueDetails);
        let octets = trailers.get(DETAILS).expect("details").as_bytes();
        let octets = metadata::decode_binary(octets).expect("base64");
        let status = RpcStatus::decode(octets.as_slice()).expect("a status");
        assert_eq!((status.code, &*status.message), (5, "no user"));
        let json = ValueDetails.to_json(&status.details).expect("a value");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("json");
        assert_eq!(json, serde_json::json!({"id": 3, "of": [true, null]}));
    }

    #[test]
    fn what_trailers_cannot_carry_is_left_out() {
        let long = "é".repeat(MESSAGE_BYTES_MAX);
        let details = format!("{:?}", "x".repeat(DETAILS_BYTES_MAX));
        let error = Error::not_found(long).with_details(details);
        let trailers = failed(&error, &ValueDetails);
        assert_eq!(text(&trailers, &MESSAGE), Some(&*"%C3%A9".repeat(512)));
        assert!(!trailers.contains_key(DETAILS));
        let error = Error::not_found("").with_details("no json");
        assert!(!failed(&error, &ValueDetails).contains_key(DETAILS));
    }

    #[test]
    fn a_failure_has_its_metadata_and_when_to_come_again() {
        let mut headers = Headers::new();
        headers.push("x-reason", "full").expect("short");
        headers.push("x-bin", [0xab_u8; 4]).expect("short");
        let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, "full")
            .with_retry(Retry::After(Duration::from_micros(1_500)))
            .with_headers(headers);
        let trailers = failed(&error, &ValueDetails);
        assert_eq!(text(&trailers, &PUSHBACK), Some("2"));
        assert_eq!(trailers["x-reason"], "full");
        assert_eq!(trailers["x-bin"], "q6urqw");
        let never = Error::internal("no").with_retry(Retry::Forbidden);
        assert_eq!(text(&failed(&never, &ValueDetails), &PUSHBACK), Some("-1"));
    }
}
