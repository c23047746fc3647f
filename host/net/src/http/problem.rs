//! How errors are written.
//!
//! | form | where |
//! | --- | --- |
//! | `{"error","code","details"?}` | everywhere else |
//! | problem details (RFC 9457) | for clients that accept `application/problem+json`, and routes that say so |
//! | `{"error":{"code","message","status","details"?}}` | routes by `google.api.http`: <https://google.aip.dev/193> |

use bytes::Bytes;
use http::StatusCode;
use postern_core::{Error, json};

use super::{JSON, accept::PROBLEM};

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ErrorForm<'a> {
    pub(super) shape: ErrorShape,
    /// What is wrong with members of the request: a list in JSON, the member `errors`.
    pub(super) errors: Option<&'a Bytes>,
}

/// Which members an error has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ErrorShape {
    #[default]
    Usual,
    /// `{"type","title","status","detail","kind","details"?}`.
    Problem,
    /// As Google's APIs write `google.rpc.Status`.
    Status,
}

impl ErrorShape {
    /// An error that ends a stream. There is no status of its own for it any more.
    pub(super) fn write_last(self, error: &Error) -> Bytes {
        match self {
            Self::Usual | Self::Problem => error.to_json(),
            Self::Status => to_status(error.http(), error),
        }
    }
}

impl ErrorForm<'_> {
    /// The body of a response, and its media type.
    pub(super) fn write(self, status: StatusCode, error: &Error) -> (Bytes, &'static str) {
        let (body, media_type) = match self.shape {
            ErrorShape::Usual => (error.to_json_as(status.as_u16()), JSON),
            ErrorShape::Problem => (to_problem(status, error), PROBLEM),
            ErrorShape::Status => return (to_status(status.as_u16(), error), JSON),
        };
        match self.errors {
            Some(errors) => (with_errors(&body, errors), media_type),
            None => (body, media_type),
        }
    }
}

/// The members of RFC 9457 section 3.1, and two of our own: `kind` and `details`.
fn to_problem(status: StatusCode, error: &Error) -> Bytes {
    let mut out = Vec::with_capacity(error.message.len() + 128);
    out.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":");
    // RFC 9457 section 4.2.1: of `about:blank`, the phrase of the status.
    json::push_string(&mut out, status.canonical_reason().unwrap_or("Error"));
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b",\"detail\":");
    json::push_string(&mut out, &error.message);
    out.extend_from_slice(b",\"kind\":");
    json::push_string(&mut out, error.kind.name());
    if let Some(details) = &error.details {
        out.extend_from_slice(b",\"details\":");
        out.extend_from_slice(details);
    }
    out.push(b'}');
    out.into()
}

/// `code` is the status of HTTP, `status` the name that gRPC has for the kind. Details are messages with
/// their types; what has none is a `google.protobuf.Value`, as it is over gRPC.
fn to_status(code: u16, error: &Error) -> Bytes {
    let mut out = Vec::with_capacity(error.message.len() + 128);
    out.extend_from_slice(b"{\"error\":{\"code\":");
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    json::push_string(&mut out, &error.message);
    out.extend_from_slice(b",\"status\":");
    let name = error.kind.name().replace('-', "_").to_ascii_uppercase();
    json::push_string(&mut out, &name);
    if let Some(details) = &error.details {
        out.extend_from_slice(b",\"details\":");
        push_details(&mut out, details);
    }
    out.extend_from_slice(b"}}");
    out.into()
}

fn push_details(out: &mut Vec<u8>, details: &[u8]) {
    let is_typed = |value: &[u8]| json::member(value, "@type").is_some();
    let (mut n_elements, mut n_typed) = (0, 0);
    let is_list = json::visit_elements(details, &mut |element| {
        n_elements += 1;
        n_typed += usize::from(is_typed(element));
    });
    if is_list == Ok(true) && n_elements == n_typed {
        out.extend_from_slice(details);
        return;
    }
    out.push(b'[');
    if is_typed(details) {
        out.extend_from_slice(details);
    } else {
        out.extend_from_slice(
            b"{\"@type\":\"type.googleapis.com/google.protobuf.Value\",\"value\":",
        );
        out.extend_from_slice(details);
        out.push(b'}');
    }
    out.push(b']');
}

/// An error with what is wrong with each member of its request, as RFC 9457 section 3 does in its
/// example: `{.., "errors":[{"pointer","detail"}, ..]}`.
fn with_errors(error: &[u8], errors: &[u8]) -> Bytes {
    let open = error.strip_suffix(b"}").unwrap_or(error);
    let mut out = Vec::with_capacity(error.len() + errors.len() + 16);
    out.extend_from_slice(open);
    out.extend_from_slice(b",\"errors\":");
    out.extend_from_slice(errors);
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let error = Error::not_found("no user \"7\"").with_details("[1]");
        assert_eq!(
            to_problem(StatusCode::NOT_FOUND, &error),
            "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
             \"detail\":\"no user \\\"7\\\"\",\"kind\":\"not-found\",\"details\":[1]}"
        );
    }

    #[test]
    fn what_is_wrong_with_members_follows() {
        let error = Error::invalid_argument("no");
        let errors = Bytes::from_static(b"[{\"pointer\":\"/a\"}]");
        let written = |shape| {
            let errors = Some(&errors);
            let form = ErrorForm { shape, errors };
            form.write(StatusCode::UNPROCESSABLE_ENTITY, &error)
        };
        let expected = "{\"error\":\"no\",\"code\":422,\"errors\":[{\"pointer\":\"/a\"}]}";
        assert_eq!(written(ErrorShape::Usual), (expected.into(), JSON));
        let (problem, media_type) = written(ErrorShape::Problem);
        assert!(problem.ends_with(b",\"errors\":[{\"pointer\":\"/a\"}]}"));
        assert_eq!(media_type, PROBLEM);
    }

    #[test]
    fn a_status_has_its_details_as_messages() {
        let written = |details: Option<&'static str>| {
            let error = Error::not_found("no \"7\"");
            let error = match details {
                Some(details) => error.with_details(details),
                None => error,
            };
            let body = ErrorShape::Status.write_last(&error);
            String::from_utf8(body.to_vec()).expect("text")
        };
        let begin =
            "{\"error\":{\"code\":404,\"message\":\"no \\\"7\\\"\",\"status\":\"NOT_FOUND\"";
        assert_eq!(written(None), format!("{begin}}}}}"));
        let value = |json: &str| {
            format!(
                "[{{\"@type\":\"type.googleapis.com/google.protobuf.Value\",\"value\":{json}}}]"
            )
        };
        for (details, expected) in [
            ("[{\"@type\":\"a\"}]", "[{\"@type\":\"a\"}]".to_owned()),
            ("{\"@type\":\"a\"}", "[{\"@type\":\"a\"}]".to_owned()),
            ("[]", "[]".to_owned()),
            ("[{\"@type\":\"a\"},1]", value("[{\"@type\":\"a\"},1]")),
            ("{\"id\":7}", value("{\"id\":7}")),
            ("7", value("7")),
        ] {
            let expected = format!("{begin},\"details\":{expected}}}}}");
            assert_eq!(written(Some(details)), expected);
        }
    }
}
