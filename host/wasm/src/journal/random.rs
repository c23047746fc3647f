//! Random numbers that follow from a seed: SHA-256 of the seed, the number of a stream, and a counter.
//! As hard to foresee as the seed, which is of the system's entropy and stands in the recording.

use std::{convert::Infallible, fmt};

use postern_system::random;
use rand_core::TryRng;
use sha2::{Digest as _, Sha256};

/// Of which all random numbers of a call are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed([u8; 32]);

/// One stream of them.
#[derive(Debug)]
pub(crate) struct JournalRandom {
    seed: Seed,
    stream: u8,
    counter: u64,
    block: [u8; 32],
    /// Octets of the block that are used.
    n_used: usize,
}

impl Seed {
    pub(super) fn fresh() -> Self {
        let mut octets = [0; 32];
        let (first, second) = octets.split_at_mut(16);
        first.copy_from_slice(&random::secret().to_le_bytes());
        second.copy_from_slice(&random::secret().to_le_bytes());
        Self(octets)
    }

    /// # Errors
    /// Where `text` is not 64 hex digits.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("the seed {text:?} is not 64 hex digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut octets = [0; 32];
        for (index, octet) in octets.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(octets))
    }

    pub(super) const fn random(self, stream: u8) -> JournalRandom {
        JournalRandom {
            seed: self,
            stream,
            counter: 0,
            block: [0; 32],
            n_used: 32,
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl JournalRandom {
    fn fill(&mut self, target: &mut [u8]) {
        for octet in target {
            if self.n_used == self.block.len() {
                let mut hash = Sha256::new();
                hash.update(self.seed.0);
                hash.update([self.stream]);
                hash.update(self.counter.to_le_bytes());
                self.block = hash.finalize().into();
                self.counter = self.counter.wrapping_add(1);
                self.n_used = 0;
            }
            *octet = self.block.get(self.n_used).copied().unwrap_or_default();
            self.n_used += 1;
        }
    }

    /// The next 128 bits.
    pub(crate) fn next_u128(&mut self) -> u128 {
        let mut octets = [0; 16];
        self.fill(&mut octets);
        u128::from_le_bytes(octets)
    }
}

impl TryRng for JournalRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut octets = [0; 4];
        self.fill(&mut octets);
        Ok(u32::from_le_bytes(octets))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut octets = [0; 8];
        self.fill(&mut octets);
        Ok(u64::from_le_bytes(octets))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        self.fill(target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_each_stream_its_own() {
        let seed = Seed::fresh();
        let again = Seed::parse(&seed.to_string()).unwrap();
        assert_eq!(seed, again);
        let numbers = |seed: Seed, stream| {
            let mut random = seed.random(stream);
            let first = random.try_next_u32().unwrap();
            let mut octets = [0; 61];
            random.try_fill_bytes(&mut octets).unwrap();
            (first, octets, random.next_u128())
        };
        assert_eq!(numbers(seed, 0), numbers(again, 0));
        assert_ne!(numbers(seed, 0), numbers(seed, 1));
        assert_ne!(numbers(seed, 0), numbers(Seed::fresh(), 0));
    }

    #[test]
    fn a_seed_is_64_hex_digits() {
        for text in [
            "",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(Seed::parse(text).is_err(), "{text}");
        }
    }
}
