//! A breaker before a service that fails for stretches of time, with calls that overlap, are slow
//! and are dropped. A plain reckoning beside it says what it must do.

use std::time::{Duration, Instant};

use super::{Agenda, for_each_seed, interarrival};
use crate::{
    resilience::breaker::{Breaker, BreakerConfig, BreakerState, Open, Ticket},
    testing::{self, Rng},
};

#[test]
fn a_breaker_opens_on_time_probes_within_bounds_and_recovers() {
    let runs = for_each_seed("breaker", 2000, |seed| {
        let mut run = Run::new(seed);
        run.go();
        run
    });
    let n_opened: u64 = runs.iter().map(|run| run.n_opened).sum();
    let n_closed: u64 = runs.iter().map(|run| run.n_closed).sum();
    let probes_most = runs.iter().map(|run| run.probes_most).max().unwrap_or(0);
    assert!(n_opened > 0 && n_closed > 0, "both happen");
    println!(
        "simulation breaker: {} seeds, opened {n_opened} times, closed again {n_closed} times, never more than {probes_most} probes at a time of at most 4",
        runs.len(),
    );
}

struct Run {
    rng: Rng,
    config: BreakerConfig,
    breaker: Breaker,
    start: Instant,
    /// Failures in a row while closed, as the reckoning has them.
    n_failures: u32,
    n_successes: u32,
    opened: Option<Instant>,
    n_opened: u64,
    n_closed: u64,
    probes_most: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    /// A call that was admitted ends. `era` counts the states as the reckoning saw them.
    End {
        slot: usize,
        era: u64,
        end: End,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Success,
    Failure,
    Dropped,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut some = |n: u64| u32::try_from(1 + rng.below(n)).expect("small");
        let config = BreakerConfig {
            failure_threshold: some(8),
            timeout: Duration::from_millis(200) * some(10),
            half_open_requests: some(4),
            success_threshold: some(4),
        };
        Self {
            rng,
            config,
            breaker: Breaker::new(config).expect("it works"),
            start: testing::epoch(),
            n_failures: 0,
            n_successes: 0,
            opened: None,
            n_opened: 0,
            n_closed: 0,
            probes_most: 0,
        }
    }

    fn go(&mut self) {
        let end = self.start + Duration::from_secs(30);
        let mut agenda = Agenda::new();
        let mut tickets: Vec<Option<Ticket>> = Vec::new();
        let mut n_probes = 0_u32;
        agenda.push(self.start, Event::Call);
        while let Some((now, event)) = agenda.pop() {
            match event {
                Event::Call => {
                    let next = now + interarrival(&mut self.rng, Duration::from_millis(50));
                    if next < end {
                        agenda.push(next, Event::Call);
                    }
                    let era = self.n_opened + self.n_closed;
                    let Some(ticket) = self.admit(now, n_probes) else {
                        continue;
                    };
                    n_probes += u32::from(self.opened.is_some());
                    self.probes_most = self.probes_most.max(n_probes);
                    let slot = tickets.len();
                    tickets.push(Some(ticket));
                    let takes = interarrival(&mut self.rng, Duration::from_millis(60));
                    let end = self.outcome(now + takes);
                    agenda.push(now + takes, Event::End { slot, era, end });
                }
                Event::End { slot, era, end } => {
                    let ticket = tickets[slot].take().expect("it ends once");
                    let is_current = era == self.n_opened + self.n_closed;
                    if is_current && self.opened.is_some() {
                        n_probes -= 1;
                    }
                    self.finish(now, ticket, end, is_current);
                    if is_current && era != self.n_opened + self.n_closed {
                        // Probes of the state before are none of this one.
                        n_probes = 0;
                    }
                }
            }
        }
        self.recover(end + Duration::from_secs(60));
    }

    /// The service fails in every second stretch of four seconds, and at times otherwise.
    fn outcome(&mut self, at: Instant) -> End {
        let is_bad = at.duration_since(self.start).as_secs() % 8 >= 4;
        let percent = if is_bad { 95 } else { 3 };
        if self.rng.chance(10) {
            End::Dropped
        } else if self.rng.chance(percent) {
            End::Failure
        } else {
            End::Success
        }
    }

    fn admit(&mut self, now: Instant, n_probes: u32) -> Option<Ticket> {
        let expected = match self.opened {
            None => true,
            Some(opened) if now < opened + self.config.timeout => false,
            Some(_) => n_probes < self.config.half_open_requests,
        };
        match self.breaker.try_admit(now) {
            Ok(ticket) => {
                assert!(expected, "{:?} lets a call through", self.breaker);
                Some(ticket)
            }
            Err(Open { retry_after }) => {
                assert!(!expected && !retry_after.is_zero(), "{:?}", self.breaker);
                None
            }
        }
    }

    fn finish(&mut self, now: Instant, ticket: Ticket, end: End, is_current: bool) {
        let change = match end {
            End::Success => self.breaker.on_success(ticket),
            End::Failure => self.breaker.on_failure(ticket, now),
            End::Dropped => {
                self.breaker.on_cancel(ticket);
                None
            }
        };
        let expected = if is_current {
            self.reckon(now, end)
        } else {
            None
        };
        assert_eq!(change, expected, "{:?}", self.breaker);
    }

    fn reckon(&mut self, now: Instant, end: End) -> Option<BreakerState> {
        let is_open = self.opened.is_some();
        match end {
            End::Dropped => return None,
            End::Success if is_open => self.n_successes += 1,
            End::Success => self.n_failures = 0,
            End::Failure => self.n_failures += 1,
        }
        if is_open && self.n_successes == self.config.success_threshold {
            (self.n_failures, self.n_successes, self.opened) = (0, 0, None);
            self.n_closed += 1;
            return Some(BreakerState::Closed);
        }
        let threshold = if is_open {
            1
        } else {
            self.config.failure_threshold
        };
        if end == End::Failure && self.n_failures >= threshold {
            (self.n_failures, self.n_successes, self.opened) = (0, 0, Some(now));
            self.n_opened += 1;
            return Some(BreakerState::Open);
        }
        None
    }

    /// With a service that is well it closes, from whatever state and with no call under way.
    fn recover(&mut self, now: Instant) {
        for _ in 0..self.config.success_threshold {
            let ticket = self
                .breaker
                .try_admit(now)
                .expect("every place was given back");
            let _ = self.breaker.on_success(ticket);
        }
        assert!(self.breaker.is_calm(), "{:?}", self.breaker);
    }
}
