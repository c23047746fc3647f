//! Single changes, then thousands of random lives beside a plain reckoning.

use super::*;
use crate::{
    simulation::for_each_seed,
    testing::{self, Rng},
};

const CONFIG: FailoverConfig = FailoverConfig {
    failover_after: Duration::from_millis(100),
    return_after: Duration::from_millis(1000),
};

/// A selector at a moment of its own.
struct Life {
    selector: ChannelSelector,
    now: Instant,
}

impl Life {
    fn new(n_members: usize) -> Self {
        let now = testing::epoch();
        let selector = ChannelSelector::new(CONFIG, n_members, now);
        Self { selector, now }
    }

    fn connect(&mut self, member: usize, is_connected: bool) {
        self.selector
            .handle_connection(self.now, member, is_connected);
    }

    fn after(&mut self, ms: u64) -> Option<ChannelSwitch> {
        self.now += Duration::from_millis(ms);
        self.selector.handle_timeout(self.now)
    }
}

fn switch(from: Option<usize>, to: usize) -> Option<ChannelSwitch> {
    Some(ChannelSwitch { from, to })
}

#[test]
fn the_first_that_is_well_carries_and_none_before() {
    let mut life = Life::new(3);
    assert_eq!(life.after(5000), None);
    life.connect(2, true);
    assert_eq!(life.after(0), switch(None, 2));
    assert_eq!(life.selector.usable(), Some(2));
}

#[test]
fn at_the_beginning_a_better_one_is_waited_for_as_long_as_one_that_failed() {
    let mut life = Life::new(2);
    life.connect(1, true);
    assert_eq!(life.after(99), None);
    assert_eq!(life.after(1), switch(None, 1));
    let mut life = Life::new(2);
    life.connect(1, true);
    life.after(50);
    life.connect(0, true);
    assert_eq!(life.after(0), switch(None, 0));
}

#[test]
fn failure_moves_on_when_the_bound_is_reached_and_not_a_millisecond_before() {
    let mut life = Life::new(2);
    life.connect(0, true);
    life.connect(1, true);
    assert_eq!(life.after(0), switch(None, 0));
    life.connect(0, false);
    assert_eq!(life.selector.usable(), None);
    assert_eq!(
        life.selector.poll_timeout(),
        Some(life.now + CONFIG.failover_after)
    );
    assert_eq!(life.after(99), None);
    assert_eq!(life.after(1), switch(Some(0), 1));
}

#[test]
fn a_connection_that_comes_back_within_the_bound_changes_nothing() {
    let mut life = Life::new(2);
    life.connect(0, true);
    life.connect(1, true);
    life.after(0);
    life.connect(0, false);
    life.after(99);
    life.connect(0, true);
    assert_eq!(life.after(500), None);
    assert_eq!(life.selector.usable(), Some(0));
}

#[test]
fn a_better_one_carries_again_after_a_time_of_health_without_a_break() {
    let mut life = Life::new(2);
    life.connect(1, true);
    assert_eq!(life.after(100), switch(None, 1));
    life.connect(0, true);
    assert_eq!(life.after(999), None);
    life.connect(0, false);
    life.connect(0, true);
    assert_eq!(life.after(999), None);
    assert_eq!(life.after(1), switch(Some(1), 0));
}

#[test]
fn where_none_is_well_the_first_to_come_back_carries_at_once() {
    let mut life = Life::new(2);
    life.connect(0, true);
    life.after(0);
    life.connect(0, false);
    assert_eq!(life.after(60_000), None);
    assert_eq!(life.selector.current(), Some(0));
    life.connect(1, true);
    assert_eq!(life.after(0), switch(Some(0), 1));
}

#[test]
fn a_broker_that_answers_nothing_is_left_though_its_connection_holds() {
    let mut life = Life::new(2);
    life.connect(0, true);
    life.connect(1, true);
    life.after(0);
    life.selector.on_failure(life.now, 0);
    assert_eq!(life.after(100), switch(Some(0), 1));
    life.selector.on_failure(life.now, 0);
    // Nobody uses it, so nothing of it succeeds: well again when quiet, and back after as long again.
    assert_eq!(life.after(1000), None);
    assert!(life.selector.is_well(0));
    assert_eq!(life.after(999), None);
    assert_eq!(life.after(1), switch(Some(1), 0));
}

#[test]
fn where_no_other_is_well_one_that_failed_is_tried_again_after_the_shorter_time() {
    let mut life = Life::new(1);
    life.connect(0, true);
    life.after(0);
    life.selector.on_failure(life.now, 0);
    assert_eq!(life.after(99), None);
    assert_eq!(life.selector.usable(), None);
    assert_eq!(life.after(1), None);
    assert_eq!(life.selector.usable(), Some(0));
    life.selector.on_failure(life.now, 0);
    life.selector.on_reconnected(life.now, 0);
    assert_eq!(life.selector.usable(), Some(0));
}

#[test]
fn a_success_ends_an_illness() {
    let mut life = Life::new(2);
    life.connect(0, true);
    life.connect(1, true);
    life.after(0);
    life.selector.on_failure(life.now, 0);
    life.after(99);
    life.selector.on_success(life.now, 0);
    assert_eq!(life.after(1), None);
    assert_eq!(life.selector.usable(), Some(0));
}

#[test]
fn a_broker_that_there_is_not_changes_nothing() {
    let mut life = Life::new(1);
    life.connect(7, true);
    life.selector.on_failure(life.now, 7);
    life.selector.on_success(life.now, 7);
    assert_eq!(life.after(0), None);
    assert_eq!(life.selector.standing(7), None);
}

/// What a broker has been like, told by nobody but the run itself.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_connected: bool,
    well_since: Option<Instant>,
    unwell_since: Option<Instant>,
    failed_at: Option<Instant>,
}

#[test]
fn lives_of_any_kind_keep_the_two_bounds() {
    let runs = for_each_seed("channel", 2000, |seed| Run::new(seed).go());
    let (n_failovers, n_returns) = runs
        .iter()
        .fold((0, 0), |(a, b), run| (a + run.0, b + run.1));
    assert!(n_failovers > 1000 && n_returns > 1000, "both happen");
    println!(
        "simulation channel: {} seeds, {n_failovers} failovers, {n_returns} returns",
        runs.len()
    );
}

struct Run {
    rng: Rng,
    selector: ChannelSelector,
    known: Vec<Known>,
    now: Instant,
    n_failovers: u64,
    n_returns: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let now = testing::epoch();
        let n_members = usize::try_from(1 + rng.below(4)).expect("small");
        let known = Known {
            is_connected: false,
            well_since: None,
            unwell_since: Some(now),
            failed_at: None,
        };
        Self {
            rng,
            selector: ChannelSelector::new(CONFIG, n_members, now),
            known: vec![known; n_members],
            now,
            n_failovers: 0,
            n_returns: 0,
        }
    }

    fn go(mut self) -> (u64, u64) {
        for _ in 0..400 {
            let step = match self.rng.below(4) {
                0 => 0,
                1 => self.rng.below(20),
                2 => self.rng.below(150),
                _ => self.rng.below(700),
            };
            self.advance(Duration::from_millis(step));
            self.tell();
            self.look();
        }
        // Everything comes up and stays so: the first carries in the end.
        for member in 0..self.known.len() {
            self.connect(member, true);
        }
        self.advance(CONFIG.return_after * 3);
        self.look();
        assert_eq!(self.selector.usable(), Some(0));
        (self.n_failovers, self.n_returns)
    }

    /// Time passes as a driver lets it: the selector is asked whenever it wanted to be.
    fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) = self.selector.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.look();
        }
        self.now = until;
    }

    fn tell(&mut self) {
        let n_members = u64::try_from(self.known.len()).expect("small");
        let member = usize::try_from(self.rng.below(n_members)).expect("small");
        match self.rng.below(5) {
            0 => {
                self.selector.on_failure(self.now, member);
                let now = self.now;
                let known = &mut self.known[member];
                known.failed_at = Some(now);
                if known.well_since.take().is_some() {
                    known.unwell_since = Some(now);
                }
            }
            1 if self.known[member].is_connected => {
                self.selector.on_success(self.now, member);
                self.recover(member);
            }
            2 => self.connect(member, false),
            _ => self.connect(member, true),
        }
    }

    fn connect(&mut self, member: usize, is_connected: bool) {
        self.selector
            .handle_connection(self.now, member, is_connected);
        let now = self.now;
        let known = &mut self.known[member];
        if known.is_connected == is_connected {
            return;
        }
        known.is_connected = is_connected;
        if is_connected {
            known.well_since = None;
            self.recover(member);
        } else if known.well_since.take().is_some() {
            known.unwell_since = Some(now);
        }
    }

    fn recover(&mut self, member: usize) {
        let now = self.now;
        let known = &mut self.known[member];
        if known.well_since.is_none() {
            known.well_since = Some(now);
            known.unwell_since = None;
        }
        known.failed_at = None;
    }

    fn look(&mut self) {
        let before = self.selector.current();
        let switch = self.selector.handle_timeout(self.now);
        let is_any_well = self.known.iter().any(|known| known.well_since.is_some());
        let bound = match is_any_well {
            true => CONFIG.return_after,
            false => CONFIG.failover_after,
        };
        for member in 0..self.known.len() {
            let known = self.known[member];
            let quiet = |at: Instant| self.now >= at + bound;
            if known.is_connected && known.failed_at.is_some_and(quiet) {
                self.known[member].well_since = None;
                self.recover(member);
            }
        }
        if let Some(switch) = switch {
            self.check_switch(before, switch);
        }
        self.check_bounds();
    }

    fn check_switch(&mut self, before: Option<usize>, switch: ChannelSwitch) {
        assert_eq!(switch.from, before);
        let well_since = self.known[switch.to].well_since;
        let well_since = well_since.expect("nothing changes over to what is unwell");
        let Some(from) = before else { return };
        match self.known[from].unwell_since {
            Some(since) => {
                assert!(self.now >= since + CONFIG.failover_after, "too early");
                self.n_failovers += 1;
            }
            None => {
                assert!(
                    switch.to < from,
                    "what is well is left for a better one only"
                );
                assert!(self.now >= well_since + CONFIG.return_after, "too early");
                self.n_returns += 1;
            }
        }
    }

    /// Neither bound has passed without a change.
    fn check_bounds(&self) {
        let mut well = (0..self.known.len()).filter(|m| self.known[*m].well_since.is_some());
        let best = well.next();
        let Some(current) = self.selector.current() else {
            let is_settled = self.now >= testing::epoch() + CONFIG.failover_after;
            let is_waited_for = best.is_some_and(|best| best > 0) && !is_settled;
            assert!(
                best.is_none() || is_waited_for,
                "one is well and none carries"
            );
            return;
        };
        assert_eq!(
            self.selector.is_well(current),
            self.known[current].well_since.is_some()
        );
        match self.known[current].unwell_since {
            Some(since) => {
                let is_over = self.now >= since + CONFIG.failover_after;
                assert!(!is_over || best.is_none(), "the bound of failover passed");
            }
            None => {
                let overdue = (0..current).filter_map(|member| self.known[member].well_since);
                let mut overdue = overdue.filter(|since| self.now >= *since + CONFIG.return_after);
                assert_eq!(overdue.next(), None, "the time of return passed");
            }
        }
    }
}
