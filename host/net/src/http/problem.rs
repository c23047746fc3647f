//! Errors as problem details (RFC 9457): for clients that ask for `application/problem+json`, and for
//! routes that say so.

use bytes::Bytes;
use http::StatusCode;
use postern_core::{Error, json};

use super::{JSON, accept::PROBLEM};

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ErrorForm<'a> {
    /// As `{"type","title","status","detail","kind","details"?}`, in the place of
    /// `{"error","code","details"?}`.
    pub(super) is_problem: bool,
    /// What is wrong with members of the request: a list in JSON, the member `errors`.
    pub(super) errors: Option<&'a Bytes>,
}

impl ErrorForm<'_> {
    /// The body of a response, and its media type.
    pub(super) fn write(self, status: StatusCode, error: &Error) -> (Bytes, &'static str) {
        let (body, media_type) = match self.is_problem {
            true => (to_json(status, error), PROBLEM),
            false => (error.to_json_as(status.as_u16()), JSON),
        };
        match self.errors {
            Some(errors) => (with_errors(&body, errors), media_type),
            None => (body, media_type),
        }
    }
}

/// The members of RFC 9457 section 3.1, and two of our own: `kind` and `details`.
fn to_json(status: StatusCode, error: &Error) -> Bytes {
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
            to_json(StatusCode::NOT_FOUND, &error),
            "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
             \"detail\":\"no user \\\"7\\\"\",\"kind\":\"not-found\",\"details\":[1]}"
        );
    }

    #[test]
    fn what_is_wrong_with_members_follows() {
        let error = Error::invalid_argument("no");
        let errors = Bytes::from_static(b"[{\"pointer\":\"/a\"}]");
        let written = |is_problem| {
            let errors = Some(&errors);
            let form = ErrorForm { is_problem, errors };
            form.write(StatusCode::UNPROCESSABLE_ENTITY, &error)
        };
        let expected = "{\"error\":\"no\",\"code\":422,\"errors\":[{\"pointer\":\"/a\"}]}";
        assert_eq!(written(false), (expected.into(), JSON));
        let (problem, media_type) = written(true);
        assert!(problem.ends_with(b",\"errors\":[{\"pointer\":\"/a\"}]}"));
        assert_eq!(media_type, PROBLEM);
    }
}
