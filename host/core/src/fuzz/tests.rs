//! Replays the corpora of tests/fuzz and mutations of them, the same in every run.

use std::{fs, path::Path};

use super::mutated;
use crate::testing::Rng;

/// Mutations of each target's corpus beside the corpus itself.
const N_MUTATIONS: usize = 20_000;

#[test]
fn decoder() {
    replay("decoder", super::decoder);
}

#[test]
fn endpoint() {
    replay("endpoint", super::endpoint);
}

#[test]
fn events() {
    replay("events", super::events);
}

#[test]
fn headers() {
    replay("headers", super::headers);
}

#[test]
fn mqtt() {
    replay("mqtt", super::mqtt);
}

#[test]
fn reassembly() {
    replay("reassembly", super::reassembly);
}

#[test]
fn redis() {
    replay("redis", super::redis);
}

#[test]
fn resp() {
    replay("resp", super::resp);
}

#[test]
fn routes() {
    replay("routes", super::routes);
}

#[test]
fn session() {
    replay("session", super::session);
}

#[test]
fn velithon() {
    replay("velithon", super::velithon);
}

#[test]
fn websocket() {
    replay("websocket", super::websocket);
}

/// Runs `body` on every file of the target's corpus and on mutations of them.
pub(super) fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.expect("a readable corpus").path())
        .collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(file).expect("a readable corpus"))
        .collect();
    assert!(
        seeds.len() >= 3,
        "{} files in {}",
        seeds.len(),
        corpus.display()
    );
    seeds.iter().for_each(|seed| body(seed));
    for seed in 0..N_MUTATIONS {
        let mut rng = Rng::new(seed as u64);
        let octets = mutated(&seeds, &mut rng);
        // The failing seed is printed with the panic's message.
        let run = Announce { target, seed };
        body(&octets);
        std::mem::forget(run);
    }
    println!("fuzz {target}: {} executions", seeds.len() + N_MUTATIONS);
}

/// Says which mutation was running when it is dropped by a panic.
struct Announce<'a> {
    target: &'a str,
    seed: usize,
}

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        println!("fuzz {}: mutation {} fails", self.target, self.seed);
    }
}
