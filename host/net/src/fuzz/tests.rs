//! Replays the corpora of tests/fuzz and mutations of them, the same in every run.

use std::{fs, path::Path};

use postern_core::{fuzz::mutated, testing::Rng};

/// Mutations of each target's corpus beside the corpus itself.
const N_MUTATIONS: usize = 20_000;

#[test]
fn connect_query() {
    replay("connect_query", super::connect_query);
}

#[test]
fn grpc_frames() {
    replay("grpc_frames", super::grpc_frames);
}

#[test]
fn grpc_web() {
    replay("grpc_web", super::grpc_web);
}

/// Runs `body` on every file of the target's corpus and on mutations of them.
fn replay(target: &str, body: fn(&[u8])) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let entries = fs::read_dir(corpora.join(target)).expect("the target has a corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable corpus").path())
        .collect();
    files.sort();
    let read = |file| fs::read(file).expect("a readable corpus");
    let seeds: Vec<Vec<u8>> = files.iter().map(read).collect();
    assert!(seeds.len() >= 3, "{} files of {target}", seeds.len());
    seeds.iter().for_each(|seed| body(seed));
    for seed in 0..N_MUTATIONS {
        let octets = mutated(&seeds, &mut Rng::new(seed as u64));
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
