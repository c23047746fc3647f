//! What is said of an upstream that fails.

use std::fmt;

use postern_core::{Blame, Error, Kind};

/// The upstream answers as nobody may.
pub(super) fn bad_answer(what: impl fmt::Display) -> Error {
    let message = format!("the upstream {what}");
    Error::new(Kind::Internal, Blame::Upstream, message)
}

/// The innermost cause: `connection refused (os error 111)`.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().to_lowercase()
}
