//! Errors: `{"error": TEXT}` in the body of an ordinary response, and nothing else. TEXT is all that a caller
//! is shown, so the kind stands in front of it, `not-found: no such user`, and is read there again. What the
//! published server says itself has a kind of ours:
//!
//! | text | kind |
//! | --- | --- |
//! | `Endpoint NAME not found` | `unimplemented` |
//! | an argument is missing, unknown, or the body no object | `invalid-argument` |
//! | `Message queue full` | `resource-exhausted` |
//! | `Message serialization failed: …`, `Batch processing failed: …` | `internal` |
//! | `KIND: …` with the name of a kind | that |
//! | anything else: a handler has raised | `unknown` |

use bytes::Bytes;

use crate::{
    error::{Error, Kind},
    json::{self, push_string},
};

/// The body of a response that tells `error` to the caller of `endpoint`.
#[must_use]
pub fn failure_body(error: &Error, endpoint: &str) -> Bytes {
    // What an instance said of an endpoint is said again as it was.
    if error.kind == Kind::Unimplemented && error.message == not_found_text(endpoint) {
        return endpoint_not_found(endpoint);
    }
    body(&error.to_string())
}

/// The body of a response to a caller of an endpoint that is not there.
#[must_use]
pub fn endpoint_not_found(endpoint: &str) -> Bytes {
    body(&not_found_text(endpoint))
}

/// The error that a response to a call of `endpoint` is; `None` where it is an answer.
#[must_use]
pub fn error_of_response(response: &[u8], endpoint: &str) -> Option<Error> {
    let error = json::member(response, "error")?;
    // A caller fails with whatever it is.
    let text = json::string(error).unwrap_or_else(|| String::from_utf8_lossy(error).into_owned());
    let (kind, message) = read(&text, endpoint);
    Some(Error::of_peer(kind, None, message.to_owned()))
}

fn read<'a>(text: &'a str, endpoint: &str) -> (Kind, &'a str) {
    if text == not_found_text(endpoint) {
        return (Kind::Unimplemented, text);
    }
    if let Some((name, message)) = text.split_once(": ")
        && let Some(kind) = Kind::from_name(name)
    {
        return (kind, message);
    }
    let is_of_arguments = ARGUMENTS.iter().any(|part| text.contains(part));
    let kind = match text {
        "Message queue full" => Kind::ResourceExhausted,
        _ if is_of_arguments => Kind::InvalidArgument,
        _ if BROKEN.iter().any(|begin| text.starts_with(begin)) => Kind::Internal,
        _ => Kind::Unknown,
    };
    (kind, text)
}

fn not_found_text(endpoint: &str) -> String {
    format!("Endpoint {endpoint} not found")
}

fn body(text: &str) -> Bytes {
    let mut body = b"{\"error\":".to_vec();
    push_string(&mut body, text);
    body.push(b'}');
    body.into()
}

/// What CPython says of calls whose arguments do not fit.
const ARGUMENTS: [&str; 4] = [
    "() got an unexpected keyword argument ",
    "() missing ",
    "argument after ** must be a mapping",
    "() takes ",
];
/// What the published server says of results that it cannot send.
const BROKEN: [&str; 2] = [
    "Message serialization failed: ",
    "Batch processing failed: ",
];
