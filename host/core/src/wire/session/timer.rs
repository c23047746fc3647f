//! All timers of a session in one small table.

use std::time::Instant;

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// A client's HELLO stays unanswered: the peer speaks the base dialect.
    Greeting,
    /// HELLO is said again: datagrams are lost.
    GreetingRepeat,
    /// Nothing came for too long. Before `KeepAlive`, whose PING would wait in the queue otherwise
    /// when both are due, so that the session looked busy.
    Idle,
    /// Nothing came for a while: is the peer still there?
    KeepAlive,
    /// What is in flight has taken too long to end.
    Drain,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    expiries: [Option<Instant>; Timer::ALL.len()],
}

impl Timer {
    const ALL: [Self; 5] = [
        Self::Greeting,
        Self::GreetingRepeat,
        Self::Idle,
        Self::KeepAlive,
        Self::Drain,
    ];

    /// For logs and for whoever asks why a session wakes up.
    const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::GreetingRepeat => "greeting-repeat",
            Self::KeepAlive => "keep-alive",
            Self::Idle => "idle",
            Self::Drain => "drain",
        }
    }
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, expiry: Option<Instant>) {
        if let Some(slot) = self.expiries.get_mut(timer as usize) {
            *slot = expiry;
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.set(timer, None);
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_running(&self, timer: Timer) -> bool {
        matches!(self.expiries.get(timer as usize), Some(Some(_)))
    }

    /// The earliest expiry and its name.
    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        let running = Timer::ALL.into_iter().zip(self.expiries);
        let named = running.filter_map(|(timer, expiry)| Some((expiry?, timer.name())));
        named.min_by_key(|(expiry, _)| *expiry)
    }

    /// Takes one timer that has expired at `now` out of the table.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        let mut running = Timer::ALL.into_iter().zip(&mut self.expiries);
        let (timer, expiry) = running.find(|(_, expiry)| expiry.is_some_and(|at| at <= now))?;
        *expiry = None;
        Some(timer)
    }
}
