//! Percentiles of recent latencies in half a kilobyte: a histogram with eight buckets to each
//! doubling, so that what it says is at most an eighth too high. What is old fades: whenever 2,048 samples
//! are in it, all counts are halved.

use std::time::Duration;

/// A histogram that forgets.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: [u16; N_BUCKETS],
    n_samples: u32,
}

impl Latencies {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [0; N_BUCKETS],
            n_samples: 0,
        }
    }

    /// Samples in the histogram; up to 2,048 recent ones.
    #[must_use]
    pub const fn n_samples(&self) -> u32 {
        self.n_samples
    }

    pub fn add(&mut self, latency: Duration) {
        let index = index_of(latency);
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
            self.n_samples += 1;
        }
        if self.n_samples >= SAMPLES_MAX {
            self.n_samples = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.n_samples += u32::from(*count);
            }
        }
    }

    /// The latency that `share` (0 to 1) of the recent samples do not exceed, rounded up to the
    /// bucket's end; `None` without samples.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = f64::from(self.n_samples) * share;
        let mut n_below = 0_u32;
        self.counts
            .iter()
            .position(|count| {
                n_below += u32::from(*count);
                n_below > 0 && f64::from(n_below) >= rank
            })
            .map(end_of)
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a latency. In units of 16 µs, numbers below 8 have a bucket each; above, the place
/// of the highest bit and the three bits after it make the number of the bucket.
fn index_of(latency: Duration) -> usize {
    let units = latency.as_micros() / UNIT_MICROS;
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let octave = (u32::BITS - units.leading_zeros()).saturating_sub(4);
    let index = octave * 8 + (units >> octave);
    usize::try_from(index).map_or(N_BUCKETS - 1, |index| index.min(N_BUCKETS - 1))
}

/// The first latency past the bucket.
fn end_of(index: usize) -> Duration {
    let (octave, rest) = if index < 16 {
        (0, index)
    } else {
        (index / 8 - 1, index % 8 + 8)
    };
    let unit = u64::try_from(UNIT_MICROS).unwrap_or(u64::MAX);
    let rest = u64::try_from(rest + 1).unwrap_or(u64::MAX);
    Duration::from_micros((rest * unit) << octave)
}

const UNIT_MICROS: u128 = 16;
/// Up to 2^32 units: 19 hours.
const N_BUCKETS: usize = 16 + 28 * 8;
/// Below what a bucket can count.
const SAMPLES_MAX: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn knows_nothing_without_samples() {
        assert_eq!(Latencies::new().percentile(0.5), None);
    }

    #[test]
    fn says_at_most_an_eighth_too_much() {
        for exponent in 0..36 {
            for part in 0..32_u64 {
                let micros = (32 + part) << exponent >> 5;
                let latency = Duration::from_micros(micros);
                let mut latencies = Latencies::new();
                latencies.add(latency);
                let said = latencies.percentile(0.99).expect("a sample");
                let most = latency + latency / 8 + Duration::from_micros(16);
                assert!(
                    latency < said && said <= most,
                    "{latency:?} read as {said:?}"
                );
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut latencies = Latencies::new();
        let mut rng = Rng::new(7);
        // Uniform from 0 to 100 ms.
        (0..100_000).for_each(|_| latencies.add(Duration::from_micros(rng.below(100_000))));
        for (share, low, high) in [(0.5, 46, 58), (0.9, 85, 104), (0.99, 95, 115)] {
            let said = latencies.percentile(share).expect("samples").as_millis();
            assert!((low..=high).contains(&said), "{share}: {said} ms");
        }
    }

    #[test]
    fn forgets_what_was_long_ago() {
        let mut latencies = Latencies::new();
        (0..100_000).for_each(|_| latencies.add(Duration::from_secs(1)));
        (0..10_000).for_each(|_| latencies.add(Duration::from_millis(1)));
        let said = latencies.percentile(0.99).expect("samples");
        assert!(said < Duration::from_millis(2), "{said:?}");
        assert!(latencies.n_samples() < SAMPLES_MAX);
    }

    #[test]
    fn the_longest_latency_has_a_bucket() {
        let mut latencies = Latencies::new();
        latencies.add(Duration::MAX);
        assert!(latencies.percentile(1.0) > Some(Duration::from_secs(60_000)));
    }
}
