//! Why a command failed, and what can be done about it: one table over the errors of servers and of the
//! crate.

use std::fmt;

use postern_core::{Blame, Error, Kind, Retry, Text, redis::RedisNode};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a command has no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was sent.
    Unsent(Error),
    /// It was sent, or may have been, and the connection is of no more use.
    Lost(String),
    /// Another node has the slot from here on.
    Moved { slot: u16, node: RedisNode },
    /// Another node has the key this time.
    Ask { node: RedisNode },
    /// It was not carried out, and may be later: the server loads its data, has become a replica, the
    /// cluster elects a master.
    Later(String),
    /// The server knows the script by its text alone.
    NoScript,
    /// It was not carried out.
    Refused(Error),
}

impl Failure {
    /// What the crate tells of a command that was sent to a server of `store`.
    pub(super) fn of(store: &Text, error: &RedisError) -> Self {
        let message = || format!("store {store}: {error}");
        if let Some((authority, slot)) = error.redirect_node() {
            let Some(node) = RedisNode::of_authority(authority) else {
                return Self::Later(message());
            };
            let has_moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
            return match has_moved {
                true => Self::Moved { slot, node },
                false => Self::Ask { node },
            };
        }
        match (error.kind(), error.code()) {
            (ErrorKind::Server(ServerErrorKind::NoScript), _) => Self::NoScript,
            (
                ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask,
                ),
                _,
            )
            | (_, Some("NOREPLICAS")) => Self::Later(message()),
            (ErrorKind::Server(_) | ErrorKind::Extension, _) => {
                Self::Refused(refusal(error, message()))
            }
            (_, _) => Self::Lost(message()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(error) | Self::Refused(error) => f.write_str(&error.message),
            Self::Lost(reason) | Self::Later(reason) => f.write_str(reason),
            Self::Moved { slot, node } => write!(f, "slot {slot} is at {node}"),
            Self::Ask { node } => write!(f, "the key is at {node} this time"),
            Self::NoScript => f.write_str("the script is not known"),
        }
    }
}

/// What callers are told of a command that a server refused.
fn refusal(error: &RedisError, message: String) -> Error {
    let kind = match (error.kind(), error.code()) {
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Kind::PermissionDenied,
        (_, Some("OOM")) => Kind::ResourceExhausted,
        (_, Some("WRONGTYPE")) => Kind::FailedPrecondition,
        (_, Some("NOGROUP")) => Kind::NotFound,
        (_, Some("BUSYGROUP")) => Kind::AlreadyExists,
        // The disk, credentials, connections: of the server, and not of the command.
        (_, Some("MISCONF" | "NOAUTH" | "WRONGPASS")) => Kind::Unavailable,
        (_, _) => Kind::Internal,
    };
    Error::new(kind, Blame::Upstream, message)
}

/// What is told where nobody can say what became of a command.
pub(super) fn unknown(message: String) -> Error {
    Error::unavailable(Blame::Upstream, message).with_retry(Retry::IfIdempotent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> Failure {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a reply");
        let error = value.extract_error().expect_err("an error");
        Failure::of(&Text::from_static("main"), &error)
    }

    #[test]
    fn redirections_name_a_node() {
        let moved = failure("MOVED 3999 127.0.0.1:6381");
        assert!(
            matches!(&moved, Failure::Moved { slot: 3999, node } if node.to_string() == "127.0.0.1:6381")
        );
        assert!(matches!(
            failure("ASK 3999 [::1]:6381"),
            Failure::Ask { .. }
        ));
        // A node without an address is asked for later.
        assert!(matches!(failure("MOVED 3999 :0"), Failure::Later(_)));
    }

    #[test]
    fn what_passes_is_tried_again() {
        for line in [
            "LOADING x",
            "TRYAGAIN x",
            "CLUSTERDOWN x",
            "MASTERDOWN x",
            "READONLY x",
            "NOREPLICAS x",
        ] {
            assert!(matches!(failure(line), Failure::Later(_)), "{line}");
        }
        assert!(matches!(failure("NOSCRIPT x"), Failure::NoScript));
    }

    #[test]
    fn refusals_have_the_kinds_of_calls() {
        let check = |line: &str, kind: Kind| {
            let failure = failure(line);
            let is_it = matches!(&failure, Failure::Refused(error) if error.kind == kind);
            assert!(is_it, "{line}: {failure:?}");
        };
        check("NOPERM no", Kind::PermissionDenied);
        check("OOM full", Kind::ResourceExhausted);
        check("WRONGTYPE a list", Kind::FailedPrecondition);
        check("NOGROUP no", Kind::NotFound);
        check("MISCONF disk", Kind::Unavailable);
        check("ERR syntax", Kind::Internal);
    }
}
