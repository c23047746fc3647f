//! Several directories that watch each other over a bad network in virtual time, thousands of
//! times, each time from a seed.
//!
//! A failing seed is printed; `POSTERN_SEED=n cargo test -p postern-core registry::simulation`
//! replays it alone.
//!
//! # What is claimed at every step of every seed
//!
//! - What a gateway answers for itself is there as long as it is alive and its lease runs, and a
//!   service that has such a provider can be used, whatever is cut, flaps or fails its probes.
//! - What a peer told is kept through a cut at least as long as its lease or the grace, and at most
//!   `KEPT_MAX` after the peer itself dropped it.
//! - What a peer has had for `LEARNED_MAX` over a link that was good for as long is known.
//! - Nothing is learned from anybody but the gateway that answers for it.
//! - A watcher who lags has exactly the entries of the revision at which its cursor stands.
//! - `CONVERGED_MAX` after everything is healed all gateways know the same.

mod gateway;
mod mirror;
mod network;
mod provider;
mod world;

use std::time::Duration;

use world::{Tally, World};

use crate::simulation::for_each_seed;

/// How finely time passes.
const STEP: Duration = Duration::from_millis(500);
/// How often a gateway asks each peer.
const ROUND: Duration = Duration::from_secs(1);
/// Without an answer for this long a peer is lost.
const IDLE: Duration = Duration::from_secs(3);
const DELAY_MAX: Duration = Duration::from_millis(400);
const GRACE: Duration = Duration::from_secs(6);
const SYNC: Duration = Duration::from_secs(2);
const TTL_MIN: Duration = Duration::from_secs(3);
const TTL_MAX: Duration = Duration::from_secs(6);

/// An answer under way, the silence until the peer counts as lost, the grace, and the time that a
/// peer is given to tell what it has; each noticed at the next step.
const KEPT_MAX: Duration = sum(&[DELAY_MAX, IDLE, GRACE, SYNC, STEP, STEP]);
/// A round in which the session is made and one that fetches, question and answer each; or, where
/// the session still stands and a question was lost just before, the next round.
const LEARNED_MAX: Duration = sum(&[ROUND, ROUND, STEP, STEP, STEP, STEP]);
/// The last dead provider's lease ends, and everybody learns of it.
const CONVERGED_MAX: Duration = sum(&[TTL_MAX, LEARNED_MAX]);

#[test]
fn directories_stay_useful_in_trouble_and_agree_afterwards() {
    let run = |seed| World::new(seed).run();
    tally_seeds("directory", 2000, run);
}

const fn sum(durations: &[Duration]) -> Duration {
    let mut total = Duration::ZERO;
    let mut rest = durations;
    while let [first, others @ ..] = rest {
        total = total.saturating_add(*first);
        rest = others;
    }
    total
}

/// Runs `run` for every seed and prints how many ran and what happened in them.
fn tally_seeds(name: &str, n_seeds: u64, run: impl Fn(u64) -> Tally) {
    let tallies = for_each_seed(name, n_seeds, run);
    let count = tallies.len();
    let mut total = Tally::default();
    for tally in tallies {
        total += tally;
    }
    println!("simulation {name}: {count} seeds, {total}");
    if count > 1 {
        total.check();
    }
}
