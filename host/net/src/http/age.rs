//! How long a connection is taken requests of: so that clients which balance over addresses look for them
//! anew, and find gateways that were added. Pure.
//!
//! ```text
//! open ──connection_age_max, a tenth more or less──▶ draining (GOAWAY) ──connection_age_grace──▶ cut off
//! ```
//! One tenth of chance keeps connections that were opened together from being closed together (gRFC A9).

use std::time::{Duration, Instant};

/// When a connection has to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionAge {
    began: Instant,
    /// Its part of the chance, 0 to 1.
    share: f64,
}

/// What is to be done about a connection's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgeStep {
    /// Nothing, before then; for ever, where that is `None`.
    Wait(Option<Instant>),
    /// Its client is told to open another one. What is in flight has until then.
    Drain(Instant),
    CutOff,
}

impl ConnectionAge {
    /// Of a connection that began then; `chance` is any number.
    pub(super) fn new(began: Instant, chance: u64) -> Self {
        let share = u32::try_from(chance >> 32).unwrap_or(u32::MAX);
        Self {
            began,
            share: f64::from(share) / f64::from(u32::MAX),
        }
    }

    /// What is due at `now`, by the bounds in force.
    pub(super) fn step(&self, now: Instant, max: Option<Duration>, grace: Duration) -> AgeStep {
        let jittered = |max: Duration| max.mul_f64(0.9 + 0.2 * self.share);
        let due = max.and_then(|max| self.began.checked_add(jittered(max)));
        let Some(due) = due else {
            return AgeStep::Wait(None);
        };
        if now < due {
            return AgeStep::Wait(Some(due));
        }
        match due.checked_add(grace) {
            Some(end) if now < end => AgeStep::Drain(end),
            Some(_) | None => AgeStep::CutOff,
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    #[test]
    fn a_connection_has_its_age_and_then_its_grace() {
        let (began, second) = (clock::now(), Duration::from_secs(1));
        let (max, grace) = (Some(100 * second), 5 * second);
        for (chance, age) in [(0, 90), (u64::MAX, 110)] {
            let due = began + age * second;
            let step = |at| ConnectionAge::new(began, chance).step(at, max, grace);
            let nano = Duration::from_nanos(1);
            assert_eq!(step(due - 1000 * nano), AgeStep::Wait(Some(due)));
            assert_eq!(step(due), AgeStep::Drain(due + grace));
            assert_eq!(step(due + grace - nano), AgeStep::Drain(due + grace));
            assert_eq!(step(due + grace), AgeStep::CutOff);
        }
        let young = ConnectionAge::new(began, 7);
        assert_eq!(young.step(began, None, grace), AgeStep::Wait(None));
    }
}
