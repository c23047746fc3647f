//! Between the guest's failures and the gateway's errors, and from traps to reasons with names.

use std::time::Duration;

use postern_core::{Blame, Error, Kind};
use wasmtime::Trap;

use crate::{
    bindings::Failure,
    limits::{octets, time},
    state::State,
    stats::{Outcome, TrapReason},
};

/// Longest text that a guest may put into an error, in octets; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Why the host stopped a guest in the middle of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("time limit {}", time(*limit))]
    Time { limit: Duration },
    #[error("the caller's deadline has passed")]
    Deadline,
    #[error("more than {limit} calls of imported functions")]
    HostCalls { limit: u32 },
    #[error("output of {length} octets exceeds the limit of {limit}")]
    Output { length: usize, limit: usize },
    #[error("call.turn({index}) in a batch of {n_calls}")]
    Turn { index: u32, n_calls: usize },
}

/// A trap as it is told: what it was, in a word for counters and a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trapped {
    pub(crate) reason: TrapReason,
    pub(crate) text: String,
}

impl Trapped {
    /// Reads what wasmtime reports after a call into `state`'s store failed.
    pub(crate) fn read(error: &wasmtime::Error, state: &State) -> Self {
        if let Some(stop) = error.downcast_ref::<Stop>() {
            return Self::from(*stop);
        }
        if state.memory.refused {
            let limit = octets(state.memory.bytes_max);
            let text = format!("out of memory limit {limit}");
            return Self {
                reason: TrapReason::MemoryLimit,
                text,
            };
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            let text = format!("exit with status {}", exit.0);
            return Self {
                reason: TrapReason::Exit,
                text,
            };
        }
        let Some(trap) = error.downcast_ref::<Trap>() else {
            let text = format!("{:#}", error.root_cause());
            return Self {
                reason: TrapReason::Other,
                text,
            };
        };
        let reason = reason_of(*trap);
        let text = match reason {
            TrapReason::Unreachable => "unreachable".to_owned(),
            TrapReason::StackOverflow => "stack overflow".to_owned(),
            TrapReason::MemoryLimit
            | TrapReason::TimeLimit
            | TrapReason::Deadline
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::MemoryAccess
            | TrapReason::Arithmetic
            | TrapReason::Exit
            | TrapReason::Other => trap.to_string().replace("wasm trap: ", ""),
        };
        Self { reason, text }
    }

    /// A call of a role that the component does not have.
    pub(crate) fn no_role(role: &str) -> Self {
        let text = format!("it has no role `{role}`");
        Self {
            reason: TrapReason::Other,
            text,
        }
    }

    /// The error that the caller gets.
    pub(crate) fn into_error(self, plugin: &str) -> Error {
        match self.reason {
            TrapReason::TimeLimit => {
                let message = format!("plugin {plugin} exceeded its {}", self.text);
                Error::deadline_exceeded(Blame::Guest, message)
            }
            TrapReason::Deadline => {
                let message = format!("plugin {plugin} had not answered: {}", self.text);
                Error::deadline_exceeded(Blame::Guest, message)
            }
            TrapReason::MemoryLimit
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::Unreachable
            | TrapReason::StackOverflow
            | TrapReason::MemoryAccess
            | TrapReason::Arithmetic
            | TrapReason::Exit
            | TrapReason::Other => {
                let message = format!("plugin {plugin} trapped: {}", self.text);
                Error::new(Kind::Internal, Blame::Guest, message)
            }
        }
    }

    pub(crate) const fn outcome(&self) -> Outcome {
        if matches!(self.reason, TrapReason::TimeLimit | TrapReason::Deadline) {
            Outcome::TimedOut
        } else {
            Outcome::Trapped
        }
    }
}

impl From<Stop> for Trapped {
    fn from(stop: Stop) -> Self {
        let reason = match stop {
            Stop::Time { .. } => TrapReason::TimeLimit,
            Stop::Deadline => TrapReason::Deadline,
            Stop::HostCalls { .. } => TrapReason::HostCallLimit,
            Stop::Output { .. } => TrapReason::OutputLimit,
            Stop::Turn { .. } => TrapReason::Other,
        };
        Self {
            reason,
            text: stop.to_string(),
        }
    }
}

/// A guest's failure as the caller gets it. Details that are not one JSON value would break the
/// error's own JSON, so they are wrapped as a string.
pub(crate) fn to_error(failure: Failure) -> Error {
    let Failure {
        kind,
        mut message,
        details,
    } = failure;
    cut(&mut message, MESSAGE_BYTES_MAX);
    let error = Error::new(Kind::from(kind), Blame::Guest, message);
    let Some(mut details) = details else {
        return error;
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(&details).is_ok() {
        return error.with_details(details);
    }
    cut(&mut details, MESSAGE_BYTES_MAX);
    let mut json = Vec::with_capacity(details.len() + 2);
    postern_core::error::push_json_string(&mut json, &details);
    error.with_details(json)
}

/// An error of the gateway, or of a service that was called, as a guest sees it.
pub(crate) fn to_failure(error: Error) -> Failure {
    let details = error
        .details
        .and_then(|details| String::from_utf8(details.into()).ok());
    Failure {
        kind: error.kind.into(),
        message: error.message.into_owned(),
        details,
    }
}

/// An error that somebody else keeps, as a guest sees it.
pub(crate) fn shown(error: &Error) -> Failure {
    let details = error.details.as_deref();
    Failure {
        kind: error.kind.into(),
        message: error.message.clone().into_owned(),
        details: details.and_then(|details| String::from_utf8(details.to_vec()).ok()),
    }
}

pub(crate) fn failure(kind: Kind, message: impl Into<String>) -> Failure {
    Failure {
        kind: kind.into(),
        message: message.into(),
        details: None,
    }
}

/// Cuts `text` to at most `bytes_max`, at a character.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "wasmtime may add traps in any release"
)]
const fn reason_of(trap: Trap) -> TrapReason {
    match trap {
        Trap::UnreachableCodeReached => TrapReason::Unreachable,
        Trap::StackOverflow => TrapReason::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::HeapMisaligned => {
            TrapReason::MemoryAccess
        }
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapReason::Arithmetic
        }
        Trap::Interrupt | Trap::OutOfFuel => TrapReason::TimeLimit,
        _ => TrapReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(details: &str) -> Error {
        to_error(Failure {
            details: Some(details.to_owned()),
            ..failure(Kind::NotFound, "no user 7")
        })
    }

    #[test]
    fn a_failure_keeps_its_kind_text_and_details() {
        let error = error_of(r#"{"id":7}"#);
        assert_eq!((error.kind, error.blame), (Kind::NotFound, Blame::Guest));
        assert_eq!(
            error.to_json(),
            r#"{"error":"no user 7","code":404,"details":{"id":7}}"#
        );
    }

    #[test]
    fn details_that_are_not_json_become_a_string() {
        let expected = r#"{"error":"no user 7","code":404,"details":"a \"b\","}"#;
        assert_eq!(error_of("a \"b\",").to_json(), expected);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut text = "aé".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
        let mut text = "aé".to_owned();
        cut(&mut text, 3);
        assert_eq!(text, "aé");
    }

    #[test]
    fn too_slow_is_deadline_exceeded_and_the_guests_fault() {
        let stop = Stop::Time {
            limit: Duration::from_secs(1),
        };
        let error = Trapped::from(stop).into_error("users");
        assert_eq!(
            (error.kind, error.blame),
            (Kind::DeadlineExceeded, Blame::Guest)
        );
        assert_eq!(error.message, "plugin users exceeded its time limit 1 s");
    }
}
