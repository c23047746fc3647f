//! Durations in fixed buckets, counted with relaxed atomics: an observation is two additions and
//! no lock. (The histogram of prometheus-client takes a lock for each.)

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use postern_core::quantile::bucket_with;

/// Upper edges of the buckets in nanoseconds; what is longer than the last falls into one more.
/// From 10 µs, a call answered in place, to 30 s, the default deadline.
pub(crate) const EDGES: [u64; 20] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Durations counted by bucket.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; EDGES.len() + 1],
    sum_nanos: AtomicU64,
}

/// What histograms held at one moment; several add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    buckets: [u64; EDGES.len() + 1],
    sum_nanos: u64,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket_idx = EDGES.partition_point(|edge| *edge < nanos);
        if let Some(bucket) = self.buckets.get(bucket_idx) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// Adds what this histogram holds to `total`.
    pub(crate) fn add_to(&self, total: &mut Distribution) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        total.sum_nanos = total.sum_nanos.saturating_add(self.sum_nanos.load(Relaxed));
    }
}

impl Distribution {
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all observations in seconds.
    #[must_use]
    pub(crate) fn sum_seconds(&self) -> f64 {
        seconds(self.sum_nanos)
    }

    /// Each bucket's upper edge in seconds and its own count, the open one last.
    #[must_use]
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let edges = EDGES
            .iter()
            .map(|nanos| seconds(*nanos))
            .chain([f64::INFINITY]);
        edges.zip(self.buckets).collect()
    }

    /// The upper edge in milliseconds of the bucket that holds the `quantile` (0 to 1) of all
    /// observations; `None` without any.
    #[must_use]
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let bucket = bucket_with(&self.buckets, quantile)?;
        let edge = EDGES.get(bucket).or(EDGES.last())?;
        Some(seconds(*edge) * 1e3)
    }
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 ns are 104 days")]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(nanos: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        for nanos in nanos {
            histogram.observe(Duration::from_nanos(*nanos));
        }
        let mut total = Distribution::default();
        histogram.add_to(&mut total);
        total
    }

    #[test]
    fn an_edge_belongs_to_its_bucket_and_one_past_it_to_the_next() {
        let buckets = distribution(&[10_000, 10_001]).buckets();
        assert_eq!(buckets[0], (0.000_01, 1));
        assert_eq!(buckets[1], (0.000_025, 1));
    }

    #[test]
    fn what_passes_the_last_edge_is_counted_in_the_open_bucket() {
        let distribution = distribution(&[30_000_000_000, 30_000_000_001]);
        assert_eq!(distribution.buckets()[19], (30.0, 1));
        assert_eq!(distribution.buckets()[20], (f64::INFINITY, 1));
        assert_eq!(distribution.count(), 2);
    }

    #[test]
    fn sums_in_seconds() {
        assert!((distribution(&[500_000_000, 1_000_000_000]).sum_seconds() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_three_is_the_second() {
        let distribution = distribution(&[9_000, 90_000, 900_000]);
        assert_eq!(distribution.quantile_ms(0.5), Some(0.1));
        assert_eq!(Distribution::default().quantile_ms(0.5), None);
    }
}
