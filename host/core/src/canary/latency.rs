//! Durations in buckets of 9 to 13 %: eight to each power of two, from 8 µs to 137 s. A quantile is known as
//! well as that, which is enough to compare two.

use std::time::Duration;

use crate::quantile::bucket_with;

/// Buckets that there are. The last holds everything longer.
pub const BUCKETS: usize = ((HIGHEST - LOWEST) << STEP_BITS) as usize + 1;

/// Durations counted by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyCounts(pub [u64; BUCKETS]);

/// The bucket of `duration`.
#[must_use]
pub fn bucket_of(duration: Duration) -> usize {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let nanos = nanos.max(1 << LOWEST);
    let exponent = nanos.ilog2();
    let step = (nanos >> (exponent - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    let bucket = u64::from((exponent - LOWEST) << STEP_BITS) + step;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

impl LatencyCounts {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count_from(0)
    }

    /// Those in `bucket` or above.
    #[must_use]
    pub fn count_from(&self, bucket: usize) -> u64 {
        self.0.iter().skip(bucket).sum()
    }

    /// The upper edge of the bucket that holds the `quantile` (0 to 1); `None` without any.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        bucket_with(&self.0, quantile).map(upper_edge)
    }
}

impl Default for LatencyCounts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// The shortest duration that is above `bucket`; of the last, its own lower edge.
fn upper_edge(bucket: usize) -> Duration {
    let next = (bucket + 1).min(BUCKETS - 1) as u64;
    let (octave, step) = (next >> STEP_BITS, next & ((1 << STEP_BITS) - 1));
    // The last begins at 2^37 ns.
    Duration::from_nanos(((1 << STEP_BITS) + step) << (octave + u64::from(LOWEST - STEP_BITS)))
}

/// 2^13 ns are 8 µs: what is shorter is alike to anybody who waits.
const LOWEST: u32 = 13;
/// 2^37 ns are 137 s: longer than the longest deadline by default but two.
const HIGHEST: u32 = 37;
const STEP_BITS: u32 = 3;
