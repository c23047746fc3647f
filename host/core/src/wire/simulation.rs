//! Two parties over a bad link in virtual time, thousands of times, each time from a seed.
//!
//! A failing seed is printed; `POSTERN_SEED=n cargo test -p postern-core simulation` replays it
//! alone.

mod datagrams;
mod link;
mod party;
mod streams;

use crate::{simulation, testing::Rng};

/// Runs `run` for every seed and prints how many ran.
fn for_each_seed(name: &str, n_seeds: u64, run: impl Fn(u64)) {
    let count = simulation::for_each_seed(name, n_seeds, run).len();
    println!("simulation {name}: {count} seeds");
}

/// `length` octets that follow from `tag` alone; the first eight are the tag, as far as they fit.
pub(in crate::wire) fn payload(tag: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(tag);
    let mut octets = tag.to_be_bytes().to_vec();
    while octets.len() < length {
        octets.extend_from_slice(&rng.next_u64().to_be_bytes());
    }
    octets.truncate(length);
    octets
}

/// A number of octets: mostly a short message, at times one of many fragments.
fn random_length(rng: &mut Rng) -> usize {
    let length = match rng.below(100) {
        0..70 => rng.below(200),
        70..85 => 1100 + rng.below(200),
        85..97 => rng.below(8000),
        _ => 50_000 + rng.below(1200),
    };
    usize::try_from(length).expect("small")
}
