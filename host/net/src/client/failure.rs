//! What callers are told when their session ends.

use std::fmt;

use postern_core::{Blame, Error, Retry};

/// The session ended before anything of a call was sent.
pub(super) fn lost(peer: &dyn fmt::Display, reason: &dyn fmt::Display) -> Error {
    Error::unavailable(
        Blame::Upstream,
        format!("session with {peer} ended: {reason}"),
    )
}

/// The session ended, and the peer may have begun the call.
pub(super) fn unanswered(peer: &dyn fmt::Display, reason: &dyn fmt::Display) -> Error {
    let message = format!("session with {peer} ended before it answered: {reason}");
    Error::unavailable(Blame::Upstream, message).with_retry(Retry::IfIdempotent)
}
