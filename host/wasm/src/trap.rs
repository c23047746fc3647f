//! Why the host stopped a guest, and what a trap is called.

use std::time::Duration;

use postern_core::{Blame, Error, Kind};
use wasmtime::Trap;

use crate::{
    guest_output::telling_line,
    limits::{GrowthRefused, octets, time},
    outcome::{EntryOutcome, Outcome, TrapReason},
};

/// Why the host stopped a guest in the middle of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("time limit {}", time(*limit))]
    Time { limit: Duration },
    #[error("processor time limit {}", time(*limit))]
    Cpu { limit: Duration },
    #[error("stream time limit {}", time(*limit))]
    Stream { limit: Duration },
    #[error("the caller's deadline has passed")]
    Deadline,
    #[error("more than {limit} calls of imported functions")]
    HostCalls { limit: u32 },
    #[error("output of {length} octets exceeds the limit of {limit}")]
    Output { length: usize, limit: usize },
    #[error("more than {} logged and printed", octets(*limit))]
    Logged { limit: usize },
    #[error("call.turn({index}) in a batch of {n_calls}")]
    Turn { index: u32, n_calls: usize },
}

/// A trap as it is told: what it was, in a word for counters and a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trapped {
    pub(crate) reason: TrapReason,
    pub(crate) text: String,
    /// Where it happened, as far as that is known.
    pub(crate) context: Option<Box<TrapContext>>,
}

/// The call that a trap ended, and what the guest said before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrapContext {
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) correlation: String,
    /// The trace id, as `traceparent` writes it.
    pub(crate) trace: String,
    /// The end of its standard error.
    pub(crate) stderr: String,
}

impl Trapped {
    /// Reads what wasmtime reports after a call failed. `refused`: what of the store was refused to grow,
    /// if something was.
    pub(crate) fn read(error: &wasmtime::Error, refused: Option<GrowthRefused>) -> Self {
        if let Some(stop) = error.downcast_ref::<Stop>() {
            return Self::from(*stop);
        }
        match refused {
            Some(GrowthRefused::Memory { bytes_max }) => {
                let text = format!("out of memory limit {}", octets(bytes_max));
                return Self::new(TrapReason::MemoryLimit, text);
            }
            Some(GrowthRefused::Tables { elements_max }) => {
                let text = format!("out of table limit {elements_max} elements");
                return Self::new(TrapReason::TableLimit, text);
            }
            None => {}
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            let text = format!("exit with status {}", exit.0);
            return Self::new(TrapReason::Exit, text);
        }
        let Some(trap) = error.downcast_ref::<Trap>() else {
            let text = format!("{:#}", error.root_cause());
            return Self::new(TrapReason::Other, text);
        };
        let reason = reason_of(*trap);
        let text = match reason {
            TrapReason::Unreachable => "unreachable".to_owned(),
            TrapReason::StackOverflow => "stack overflow".to_owned(),
            TrapReason::MemoryLimit
            | TrapReason::TableLimit
            | TrapReason::TimeLimit
            | TrapReason::CpuLimit
            | TrapReason::StreamTimeLimit
            | TrapReason::Deadline
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::LogLimit
            | TrapReason::MemoryAccess
            | TrapReason::Arithmetic
            | TrapReason::Exit
            | TrapReason::Other => trap.to_string().replace("wasm trap: ", ""),
        };
        Self::new(reason, text)
    }

    pub(crate) const fn new(reason: TrapReason, text: String) -> Self {
        Self {
            reason,
            text,
            context: None,
        }
    }

    pub(crate) fn with_context(self, context: TrapContext) -> Self {
        Self {
            context: Some(Box::new(context)),
            ..self
        }
    }

    /// With the names of the call, where the store has them no more.
    pub(crate) fn named(mut self, service: &str, method: &str) -> Self {
        let context = self.context.get_or_insert_default();
        service.clone_into(&mut context.service);
        method.clone_into(&mut context.method);
        self
    }

    /// The line that the guest said why in, if it did.
    pub(crate) fn telling(&self) -> Option<String> {
        telling_line(&self.context.as_ref()?.stderr)
    }

    /// The text, and the line that the guest said why in.
    pub(crate) fn told(&self) -> String {
        match self.telling() {
            Some(line) => format!("{}: {line}", self.text),
            None => self.text.clone(),
        }
    }

    /// A call of a role that the component does not have.
    pub(crate) fn no_role(role: &str) -> Self {
        Self::new(TrapReason::Other, format!("it has no role `{role}`"))
    }

    /// Writes the record of it to the log, where `admits` says that there is room for it. `role` is what the
    /// guest was entered for. That a caller's time is over is no fault of the guest.
    pub(crate) fn tell(&self, plugin: &str, role: &str, admits: impl FnOnce() -> bool) {
        let none = TrapContext::default();
        let TrapContext {
            service,
            method,
            correlation,
            trace,
            stderr,
        } = self.context.as_deref().unwrap_or(&none);
        let reason = self.reason.name();
        macro_rules! record {
            ($level:ident) => {
                tracing::event!(
                    target: "plugin", tracing::Level::$level,
                    plugin, role, service, method, correlation, trace, reason, stderr,
                    "stopped: {}", self.text
                )
            };
        }
        if self.reason == TrapReason::Deadline {
            record!(DEBUG);
        } else if admits() {
            record!(WARN);
        }
    }

    /// The error that the caller gets. What the guest said is for its author: it stands beside the error
    /// as its source, and in it only where callers are `told`.
    pub(crate) fn into_error(self, plugin: &str, told: bool) -> Error {
        let telling = self.telling();
        let mut error = self.to_error(plugin);
        match telling {
            Some(line) if told => error.message = format!("{}: {line}", error.message).into(),
            Some(line) => error = error.with_source(line),
            None => {}
        }
        error
    }

    fn to_error(&self, plugin: &str) -> Error {
        match self.reason {
            TrapReason::TimeLimit | TrapReason::CpuLimit | TrapReason::StreamTimeLimit => {
                let message = format!("plugin {plugin} exceeded its {}", self.text);
                Error::deadline_exceeded(Blame::Guest, message)
            }
            TrapReason::Deadline => {
                let message = format!("plugin {plugin} had not answered: {}", self.text);
                Error::deadline_exceeded(Blame::Guest, message)
            }
            TrapReason::MemoryLimit
            | TrapReason::TableLimit
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::LogLimit
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
        if matches!(
            self.reason,
            TrapReason::TimeLimit
                | TrapReason::CpuLimit
                | TrapReason::StreamTimeLimit
                | TrapReason::Deadline
        ) {
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
            | TrapReason::TableLimit
            | TrapReason::CpuLimit
            | TrapReason::StreamTimeLimit
            | TrapReason::Deadline
            | TrapReason::OutputLimit
            | TrapReason::HostCallLimit
            | TrapReason::LogLimit
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
            Stop::Cpu { .. } => TrapReason::CpuLimit,
            Stop::Stream { .. } => TrapReason::StreamTimeLimit,
            Stop::Logged { .. } => TrapReason::LogLimit,
            Stop::Deadline => TrapReason::Deadline,
            Stop::HostCalls { .. } => TrapReason::HostCallLimit,
            Stop::Output { .. } => TrapReason::OutputLimit,
            Stop::Turn { .. } => TrapReason::Other,
        };
        Self::new(reason, stop.to_string())
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
        let error = Trapped::from(stop).into_error("users", false);
        assert_eq!(
            (error.kind, error.blame),
            (Kind::DeadlineExceeded, Blame::Guest)
        );
        assert_eq!(error.message, "plugin users exceeded its time limit 1 s");
    }

    #[test]
    fn what_a_guest_said_is_told_to_its_author_only() {
        let trapped = Trapped::new(TrapReason::Unreachable, "unreachable".to_owned());
        let trapped = trapped.with_context(TrapContext {
            stderr: "panic: no user 7\n\ngoroutine 1".to_owned(),
            ..TrapContext::default()
        });
        let error = trapped.clone().into_error("users", false);
        assert_eq!(error.message, "plugin users trapped: unreachable");
        let source = error.source.expect("a source").to_string();
        assert_eq!(source, "panic: no user 7");
        let error = trapped.into_error("users", true);
        let expected = "plugin users trapped: unreachable: panic: no user 7";
        assert_eq!(error.message, expected);
    }
}
