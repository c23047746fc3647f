//! Errors as problem details (RFC 9457): for clients that ask for `application/problem+json`, and for
//! routes that say so.

use bytes::Bytes;
use http::StatusCode;
use postern_core::{Error, json};

/// How an error is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ErrorForm {
    /// `{"error","code","details"?}`
    #[default]
    Own,
    /// `{"type","title","status","detail","kind","details"?}`
    Problem,
}

/// The members of RFC 9457 section 3.1, and two of our own: `kind` and `details`.
pub(super) fn to_json(status: StatusCode, error: &Error) -> Bytes {
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
}
