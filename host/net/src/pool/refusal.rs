//! Why a call gets no session, as facts, and what its caller is told.

use std::{sync::Arc, time::Duration};

use postern_core::{Blame, Error, Kind, Retry};

/// Why a call gets no session. Nothing of it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The pool is closing, or nobody holds the address any more.
    Closed,
    /// The address failed a moment ago.
    Down {
        reason: Arc<str>,
        n_failures: u32,
        retry_in: Duration,
    },
    /// Too many wait already.
    Full { limit: usize },
    /// It waited as long as it may.
    TimedOut { after: Duration, short: Shortage },
    /// Its deadline came first.
    Deadline { short: Shortage },
}

/// What a call waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// A session was being opened.
    Connecting,
    /// All sessions of its address were busy.
    OfHost { limit: usize, n_calls: usize },
    /// All sessions were in use for other addresses.
    InAll { limit: usize },
}

impl Refusal {
    /// The error for a call of `name`, an address with its transport.
    pub(super) fn into_error(self, name: &str) -> Error {
        match self {
            Self::Closed => Error::unavailable(
                Blame::Gateway,
                format!("no call to {name} can begin: its pool is closing"),
            ),
            Self::Down {
                reason,
                n_failures,
                retry_in,
            } => Error::unavailable(
                Blame::Upstream,
                format!(
                    "{name} is down: {reason}; failures in a row: {n_failures}, {}",
                    next_try(retry_in)
                ),
            ),
            Self::Full { limit } => exhausted(format!(
                "{limit} calls already wait for a session with {name}, which is the limit \
                 (waiting-max)"
            )),
            Self::TimedOut { after, short } => {
                exhausted(format!("no session with {name} within {after:?}: {short}"))
            }
            Self::Deadline { short } => Error::deadline_exceeded(
                short.blame(),
                format!("the deadline passed before there was a session with {name}: {short}"),
            ),
        }
    }
}

impl Shortage {
    /// A peer that does not take connections is at fault; limits are the gateway's own.
    const fn blame(self) -> Blame {
        match self {
            Self::Connecting => Blame::Upstream,
            Self::OfHost { .. } | Self::InAll { .. } => Blame::Gateway,
        }
    }
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connecting => f.write_str("one is being opened"),
            Self::OfHost { limit, n_calls } => write!(
                f,
                "all {limit} are in use by {n_calls} calls; raise connections-per-host-max or \
                 calls-per-session-max"
            ),
            Self::InAll { limit } => write!(
                f,
                "all {limit} of the pool are in use for other addresses; raise connections-max"
            ),
        }
    }
}

fn next_try(retry_in: Duration) -> String {
    if retry_in.is_zero() {
        return "it is being tried again".to_owned();
    }
    let ms = retry_in.as_nanos().div_ceil(1_000_000);
    format!("next try in {ms} ms")
}

/// A limit of this gateway: another instance may have room.
fn exhausted(message: String) -> Error {
    Error::new(Kind::ResourceExhausted, Blame::Gateway, message).with_retry(Retry::Elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(refusal: Refusal, kind: Kind, retry: Retry, message: &str) {
        let error = refusal.into_error("tcp 10.0.0.7:9090");
        assert_eq!(
            (error.kind, error.retry, &*error.message),
            (kind, retry, message)
        );
    }

    #[test]
    fn a_refusal_names_address_reason_and_remedy() {
        let down = |retry_in| Refusal::Down {
            reason: "connection refused".into(),
            n_failures: 3,
            retry_in,
        };
        check(
            down(Duration::from_micros(1_200_001)),
            Kind::Unavailable,
            Retry::Elsewhere,
            "tcp 10.0.0.7:9090 is down: connection refused; failures in a row: 3, next try in 1201 ms",
        );
        check(
            down(Duration::ZERO),
            Kind::Unavailable,
            Retry::Elsewhere,
            "tcp 10.0.0.7:9090 is down: connection refused; failures in a row: 3, it is being tried again",
        );
        check(
            Refusal::Full { limit: 1024 },
            Kind::ResourceExhausted,
            Retry::Elsewhere,
            "1024 calls already wait for a session with tcp 10.0.0.7:9090, which is the limit (waiting-max)",
        );
        let short = Shortage::OfHost {
            limit: 10,
            n_calls: 1280,
        };
        check(
            Refusal::TimedOut {
                after: Duration::from_secs(10),
                short,
            },
            Kind::ResourceExhausted,
            Retry::Elsewhere,
            "no session with tcp 10.0.0.7:9090 within 10s: all 10 are in use by 1280 calls; raise \
             connections-per-host-max or calls-per-session-max",
        );
        check(
            Refusal::Deadline {
                short: Shortage::InAll { limit: 50 },
            },
            Kind::DeadlineExceeded,
            Retry::Never,
            "the deadline passed before there was a session with tcp 10.0.0.7:9090: all 50 of the \
             pool are in use for other addresses; raise connections-max",
        );
    }
}
