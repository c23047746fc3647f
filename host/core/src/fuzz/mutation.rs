//! Inputs that are near those of a corpus, the same in every run. Tests of this crate and of others search with them
//! where no fuzzer is at hand.

use crate::testing::Rng;

/// One of `seeds` with one to eight changes, or two of them spliced together. Nothing where there is none.
#[must_use]
pub fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut octets = pick(seeds, rng).to_vec();
    for _ in 0..=rng.below(8) {
        let at = below(rng, octets.len() + 1);
        match (rng.below(6), octets.get_mut(at)) {
            (0, _) => octets.insert(at, octet(rng)),
            (1, _) => octets.truncate(at),
            (2, _) => octets.extend_from_slice(pick(seeds, rng)),
            (3, Some(_)) => {
                octets.remove(at);
            }
            (4, Some(changed)) => *changed ^= 1 << rng.below(8),
            (_, Some(changed)) => *changed = octet(rng),
            (_, None) => octets.push(0),
        }
        octets.truncate(OCTETS_MAX);
    }
    octets
}

fn pick<'a>(seeds: &'a [Vec<u8>], rng: &mut Rng) -> &'a [u8] {
    let at = below(rng, seeds.len());
    seeds.get(at).map(Vec::as_slice).unwrap_or_default()
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}

fn octet(rng: &mut Rng) -> u8 {
    let [octet, ..] = rng.next_u64().to_le_bytes();
    octet
}

/// Longer inputs find no more and take longer.
const OCTETS_MAX: usize = 4096;
