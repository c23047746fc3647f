//! An error as JSON (Connect protocol, "Error and EndStreamResponse").
//!
//! ```text
//! {"code":"unavailable","message":"overloaded: back off and retry","details":[
//!   {"type":"google.rpc.RetryInfo","value":"CgIIPA","debug":{"retryDelay":"30s"}}]}
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use postern_core::{Error, json::push_string};
use prost_types::Any;
use serde_json::Value;

use crate::http::grpc::StatusDetails;

/// The error under `code`. Its details are messages as `details` makes them of the error's JSON.
pub(super) fn to_json(code: &str, error: &Error, details: &dyn StatusDetails) -> Bytes {
    let mut json = Vec::with_capacity(error.message.len() + 64);
    json.extend_from_slice(b"{\"code\":");
    push_string(&mut json, code);
    if !error.message.is_empty() {
        json.extend_from_slice(b",\"message\":");
        push_string(&mut json, &error.message);
    }
    let messages = error.details.as_ref().map(|said| details.to_any(said));
    push_details(&mut json, &messages.unwrap_or_default(), details);
    json.push(b'}');
    json.into()
}

fn push_details(json: &mut Vec<u8>, messages: &[Any], details: &dyn StatusDetails) {
    if messages.is_empty() {
        return;
    }
    json.extend_from_slice(b",\"details\":");
    for (nth, message) in messages.iter().enumerate() {
        json.push(if nth == 0 { b'[' } else { b',' });
        json.extend_from_slice(b"{\"type\":");
        push_string(json, type_name(message));
        json.extend_from_slice(b",\"value\":");
        push_string(json, &STANDARD_NO_PAD.encode(&message.value));
        if let Some(readable) = readable(message, details) {
            json.extend_from_slice(b",\"debug\":");
            json.extend_from_slice(&readable);
        }
        json.push(b'}');
    }
    json.push(b']');
}

/// The full name of a message's type, without the host that a URL of it begins with.
fn type_name(message: &Any) -> &str {
    let url = &message.type_url;
    url.rsplit_once('/').map_or(url.as_str(), |(_, name)| name)
}

/// A message as people read it, without its type, which stands beside it.
fn readable(message: &Any, details: &dyn StatusDetails) -> Option<Vec<u8>> {
    let json = details.to_json(std::slice::from_ref(message))?;
    let mut value = serde_json::from_slice(&json).ok()?;
    if let Value::Array(members) = &mut value
        && let [Value::Object(member)] = members.as_mut_slice()
        && member.contains_key(TYPE_MEMBER)
    {
        value = Value::Object(std::mem::take(member));
    }
    if let Value::Object(member) = &mut value {
        member.remove(TYPE_MEMBER);
    }
    serde_json::to_vec(&value).ok()
}

/// What says the type of a message in JSON (protobuf's JSON mapping of `Any`).
const TYPE_MEMBER: &str = "@type";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_core::Blame;
    use prost::Message as _;

    use super::*;
    use crate::http::grpc::ValueDetails;

    /// Knows one type, as the gateway knows those of its schemas.
    #[derive(Debug)]
    struct RetryInfo;

    impl StatusDetails for RetryInfo {
        fn to_any(&self, _: &[u8]) -> Vec<Any> {
            let delay = prost_types::Duration::try_from(Duration::from_secs(60));
            let delay = delay.expect("short").encode_to_vec();
            // Field 1 of google.rpc.RetryInfo.
            let length = u8::try_from(delay.len()).expect("short");
            vec![Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: [&[0x0a, length][..], &delay].concat(),
            }]
        }

        fn to_json(&self, _: &[Any]) -> Option<Bytes> {
            let json =
                r#"[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"60s"}]"#;
            Some(json.into())
        }
    }

    fn overloaded() -> Error {
        Error::unavailable(Blame::Guest, "overloaded: back off and retry")
    }

    #[test]
    fn an_error_is_its_code_and_message() {
        let told = to_json("unavailable", &overloaded(), &ValueDetails);
        let expected = r#"{"code":"unavailable","message":"overloaded: back off and retry"}"#;
        assert_eq!(told, expected);
        let silent = Error::unavailable(Blame::Guest, "");
        assert_eq!(
            to_json("unavailable", &silent, &ValueDetails),
            r#"{"code":"unavailable"}"#
        );
    }

    /// The documentation's example: its octets, which are 60 seconds, though it shows 30.
    #[test]
    fn details_are_messages_that_people_can_read() {
        let error = overloaded().with_details("[{}]");
        let told = to_json("unavailable", &error, &RetryInfo);
        let expected = concat!(
            r#"{"code":"unavailable","message":"overloaded: back off and retry","details":"#,
            r#"[{"type":"google.rpc.RetryInfo","value":"CgIIPA","#,
            r#""debug":{"retryDelay":"60s"}}]}"#
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn details_without_a_type_are_a_value() {
        let error = overloaded().with_details("[1]");
        let told = to_json("unavailable", &error, &ValueDetails);
        let told: Value = serde_json::from_slice(&told).expect("json");
        let detail = &told["details"][0];
        assert_eq!(detail["type"], "google.protobuf.Value");
        assert_eq!(detail["debug"], serde_json::json!([1]));
    }
}
