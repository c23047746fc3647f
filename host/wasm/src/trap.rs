//! Why the host stopped a guest, and what a trap is called.

use std::time::Duration;

use postern_core::{Blame, Error, Kind};
use wasmtime::Trap;

use crate::{
    limits::{octets, time},
    outcome::{EntryOutcome, Outcome, TrapReason},
};

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
    /// Reads what wasmtime reports after a call failed. `refused`: the limit at which the store's memory
    /// was refused to grow, if it was.
    pub(crate) fn read(error: &wasmtime::Error, refused: Option<usize>) -> Self {
        if let Some(stop) = error.downcast_ref::<Stop>() {
            return Self::from(*stop);
        }
        if let Some(limit) = refused {
            let limit = octets(limit);
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

impl Trapped {
    /// How a direct entry ended that ended so.
    pub(crate) const fn entry_outcome(&self) -> EntryOutcome {
        match self.reason {
            TrapReason::TimeLimit => EntryOutcome::OverBudget,
            TrapReason::MemoryLimit
            | TrapReason::Deadline
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::Unreachable
            | TrapReason::StackOverflow
            | TrapReason::MemoryAccess
            | TrapReason::Arithmetic
            | TrapReason::Exit
            | TrapReason::Other => EntryOutcome::Trapped,
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

/// The trap of a function that would wait in a store that cannot.
pub(crate) fn waiting(name: &str) -> wasmtime::Error {
    wasmtime::format_err!("{name} may wait, which a component that is entered directly may not")
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
