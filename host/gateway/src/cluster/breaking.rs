//! The breaker of one instance behind a lock that a calm one never takes.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::resilience::{
    Breaker, BreakerConfig,
    breaker::{BreakerState, Ticket},
};

/// A breaker, or none where the policy wants none.
#[derive(Debug)]
pub(super) struct Breaking {
    slot: Mutex<Option<(BreakerConfig, Breaker)>>,
    /// The era of a calm breaker, `UNGUARDED` without one, else 0: then the lock is to be taken.
    calm: AtomicU64,
    n_opened: AtomicU64,
    n_closed: AtomicU64,
}

/// The right to one call, handed back by `on_end`.
#[derive(Debug)]
#[must_use = "what is admitted must be finished"]
pub(super) enum Pass {
    Free,
    Calm(NonZeroU64),
    Held(Ticket),
}

/// What a call says to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failure,
    /// No verdict.
    Cancel,
}

impl Breaking {
    pub(super) fn new() -> Self {
        Self {
            slot: Mutex::new(None),
            calm: AtomicU64::new(UNGUARDED),
            n_opened: AtomicU64::new(0),
            n_closed: AtomicU64::new(0),
        }
    }

    /// A fresh breaker, unless the one that is there has the same configuration.
    pub(super) fn configure(&self, config: Option<BreakerConfig>) {
        let mut slot = self.slot.lock();
        if slot.as_ref().map(|(config, _)| *config) != config {
            // The configuration was checked when it was read; what makes no breaker guards nothing.
            *slot = config.and_then(|config| Some((config, Breaker::new(config).ok()?)));
            self.keep_calm(slot.as_ref());
        }
    }

    /// Whether a call would be let through, but for probes that are under way.
    pub(super) fn may(&self, now: Instant) -> bool {
        self.calm.load(Relaxed) != 0 || self.state(now) != Some(BreakerState::Open)
    }

    /// `None` without a breaker.
    pub(super) fn state(&self, now: Instant) -> Option<BreakerState> {
        let slot = self.slot.lock();
        slot.as_ref().map(|(_, breaker)| breaker.state(now))
    }

    /// # Errors
    /// After how long to ask again.
    pub(super) fn try_admit(&self, now: Instant) -> Result<Pass, Duration> {
        let calm = self.calm.load(Relaxed);
        if calm == UNGUARDED {
            return Ok(Pass::Free);
        }
        if let Some(era) = NonZeroU64::new(calm) {
            return Ok(Pass::Calm(era));
        }
        let mut slot = self.slot.lock();
        let Some((_, breaker)) = slot.as_mut() else {
            return Ok(Pass::Free);
        };
        let admitted = breaker.try_admit(now);
        self.keep_calm(slot.as_ref());
        admitted.map(Pass::Held).map_err(|open| open.retry_after)
    }

    /// After how long a call may be let through.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self.try_admit(now) {
            Ok(pass) => {
                self.on_end(pass, End::Cancel, now);
                Duration::ZERO
            }
            Err(after) => after,
        }
    }

    /// The call has ended.
    pub(super) fn on_end(&self, pass: Pass, end: End, now: Instant) {
        let ticket = match pass {
            Pass::Free => return,
            // Nothing changes a calm breaker but a failure.
            Pass::Calm(era) if end != End::Failure && self.calm.load(Relaxed) == era.get() => {
                return;
            }
            Pass::Calm(era) => Ticket::calm(era),
            Pass::Held(ticket) => ticket,
        };
        let mut slot = self.slot.lock();
        let Some((_, breaker)) = slot.as_mut() else {
            return;
        };
        let changed = match end {
            End::Success => breaker.on_success(ticket),
            End::Failure => breaker.on_failure(ticket, now),
            End::Cancel => {
                breaker.on_cancel(ticket);
                None
            }
        };
        match changed {
            Some(BreakerState::Open) => self.n_opened.fetch_add(1, Relaxed),
            Some(BreakerState::Closed) => self.n_closed.fetch_add(1, Relaxed),
            Some(BreakerState::HalfOpen) | None => 0,
        };
        self.keep_calm(slot.as_ref());
    }

    /// How often it opened and closed.
    pub(super) fn changes(&self) -> (u64, u64) {
        (self.n_opened.load(Relaxed), self.n_closed.load(Relaxed))
    }

    /// Called under the lock, after every change.
    fn keep_calm(&self, slot: Option<&(BreakerConfig, Breaker)>) {
        let calm = match slot {
            None => UNGUARDED,
            Some((_, breaker)) => breaker.calm_era().map_or(0, NonZeroU64::get),
        };
        self.calm.store(calm, Relaxed);
    }
}

/// No breaker counts that many eras.
const UNGUARDED: u64 = u64::MAX;
