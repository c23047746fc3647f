//! A set of instances of which some turn bad, each in its own way, and become well again. What must
//! hold: who is bad goes out, never more than the share, never the last, and all come back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{for_each_seed, interarrival, percentile};
use crate::{
    resilience::outlier::{EjectionChange, Ejector, OutlierConfig},
    testing::{self, Rng},
};

#[test]
fn bad_instances_go_out_within_the_share_and_all_come_back() {
    let runs = for_each_seed("ejection", 500, |seed| {
        let mut run = Run::new(seed);
        run.go();
        run
    });
    let delays = |sickness: Option<Sickness>| -> Vec<Duration> {
        let of = |run: &&Run| sickness.is_none_or(|sickness| run.sickness == sickness);
        runs.iter().filter(of).filter_map(|run| run.delay).collect()
    };
    let slowest = |sickness| percentile(&mut delays(Some(sickness)), 99).as_secs_f64();
    let n_wrong: usize = runs.iter().map(|run| run.n_wrong).sum();
    let (n_found, n_seeds) = (delays(None).len(), runs.len());
    assert!(
        n_found * 100 >= n_seeds * 99,
        "{n_found} of {n_seeds} found"
    );
    assert!(n_wrong * 100 <= n_seeds, "{n_wrong} good ones ejected");
    println!(
        "simulation ejection: {n_seeds} seeds, bad ones found in {n_found}; 99 % are out after {:.1} s (dead), {:.1} s (a third fails), {:.1} s (slow); {n_wrong} good ones out; never over the share, all back",
        slowest(Sickness::Dead),
        slowest(Sickness::Flaky),
        slowest(Sickness::Slow),
    );
}

struct Run {
    rng: Rng,
    ejector: Ejector<u32>,
    n: u32,
    bad: BTreeSet<u32>,
    sickness: Sickness,
    now: Instant,
    out: BTreeSet<u32>,
    due: Instant,
    /// From the beginning of the sickness to the first ejection.
    delay: Option<Duration>,
    /// Ejections of instances that were well.
    n_wrong: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sickness {
    /// Every call fails.
    Dead,
    /// Every third call fails.
    Flaky,
    /// Every call takes ten times as long.
    Slow,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let n = u32::try_from(5 + rng.below(20)).expect("small");
        // Two of fewer than ten cannot be 1.9 standard deviations below the mean.
        let n_bad = if n < 11 { 1 } else { 1 + rng.below(2) };
        let bad = (0..n_bad)
            .map(|_| u32::try_from(rng.below(u64::from(n))).expect("small"))
            .collect();
        let sickness = match rng.below(3) {
            0 => Sickness::Dead,
            1 => Sickness::Flaky,
            _ => Sickness::Slow,
        };
        let now = testing::epoch();
        let mut ejector = Ejector::new(OutlierConfig::default(), now).expect("it works");
        assert_eq!(ejector.set_members(0..n), []);
        Self {
            rng,
            ejector,
            n,
            bad,
            sickness,
            now,
            out: BTreeSet::new(),
            due: now,
            delay: None,
            n_wrong: 0,
        }
    }

    fn go(&mut self) {
        let sick = self.now;
        self.serve(Duration::from_secs(70), sick);
        self.bad.clear();
        let returns = self.now + Duration::from_secs(300);
        while self.now < returns {
            self.now = self.next_due().max(self.now);
            let changes = self.ejector.poll(self.now);
            self.follow(changes, sick);
        }
        assert_eq!(self.ejector.n_ejected(), 0, "all come back");
        assert!(self.out.is_empty());
    }

    /// Calls for a while, each to one that is in, about 5 a second to each.
    fn serve(&mut self, time: Duration, sick: Instant) {
        let end = self.now + time;
        let between = Duration::from_millis(200) / self.n;
        while self.now < end {
            self.now += between;
            let id = u32::try_from(self.rng.below(u64::from(self.n))).expect("small");
            if self.ejector.is_ejected(id) {
                continue;
            }
            let is_bad = self.bad.contains(&id);
            let is_error = self.rng.chance(match self.sickness {
                Sickness::Dead if is_bad => 100,
                Sickness::Flaky if is_bad => 33,
                Sickness::Dead | Sickness::Flaky | Sickness::Slow => 1,
            });
            let mean = Duration::from_millis(20);
            let is_slow = is_bad && self.sickness == Sickness::Slow;
            let latency = interarrival(&mut self.rng, if is_slow { mean * 10 } else { mean });
            if let Some(change) = self.ejector.on_result(id, self.now, is_error, latency) {
                self.follow([change], sick);
                self.due = self.next_due();
            }
            if self
                .ejector
                .poll_timeout()
                .is_some_and(|(at, _)| at <= self.now)
            {
                let changes = self.ejector.poll(self.now);
                self.follow(changes, sick);
            }
        }
    }

    fn next_due(&self) -> Instant {
        let (at, _) = self.ejector.poll_timeout().expect("more than one member");
        at
    }

    fn follow(&mut self, changes: impl IntoIterator<Item = EjectionChange<u32>>, sick: Instant) {
        for change in changes {
            match change {
                EjectionChange::Ejected { id, until, .. } => {
                    assert!(self.out.insert(id) && until > self.now);
                    if self.bad.contains(&id) {
                        self.delay.get_or_insert(self.now - sick);
                    } else {
                        self.n_wrong += 1;
                    }
                }
                EjectionChange::Returned { id } => assert!(self.out.remove(&id)),
            }
        }
        let most = (self.n / 10).max(1);
        let n_out = u32::try_from(self.out.len()).expect("small");
        assert!(n_out <= most, "{n_out} of {} are out", self.n);
        assert_eq!(self.ejector.n_ejected(), self.out.len());
    }
}
