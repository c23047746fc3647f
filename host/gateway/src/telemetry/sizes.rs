//! Lengths of messages in fixed buckets, counted as durations are (histogram.rs).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper edges of the buckets in octets: from what fits in a datagram of any network's to the limit that
/// most operators raise to.
pub(crate) const EDGES: [u64; 11] = [
    64,
    256,
    1 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
];

/// Lengths counted by bucket.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    buckets: [AtomicU64; EDGES.len() + 1],
    sum: AtomicU64,
}

/// What `Sizes` held at one moment; several add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SizeDistribution {
    buckets: [u64; EDGES.len() + 1],
    sum: u64,
}

impl Sizes {
    pub(crate) fn observe(&self, n_octets: u64) {
        let bucket_idx = EDGES.partition_point(|edge| *edge < n_octets);
        if let Some(bucket) = self.buckets.get(bucket_idx) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(n_octets, Relaxed);
    }

    /// Adds what is held here to `total`.
    pub(crate) fn add_to(&self, total: &mut SizeDistribution) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        total.sum = total.sum.saturating_add(self.sum.load(Relaxed));
    }
}

impl SizeDistribution {
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    #[must_use]
    pub(crate) fn sum(&self) -> f64 {
        octets(self.sum)
    }

    /// Each bucket's upper edge and its own count, the open one last.
    #[must_use]
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let edges = EDGES.iter().copied().map(octets).chain([f64::INFINITY]);
        edges.zip(self.buckets).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 octets are 9 petabytes")]
fn octets(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_its_bucket_and_one_past_it_to_the_next() {
        let sizes = Sizes::default();
        for n_octets in [0, 64, 65, 64 << 20, (64 << 20) + 1] {
            sizes.observe(n_octets);
        }
        let mut total = SizeDistribution::default();
        sizes.add_to(&mut total);
        let buckets = total.buckets();
        assert_eq!((buckets[0], buckets[1]), ((64.0, 2), (256.0, 1)));
        assert_eq!((buckets[10].1, buckets[11]), (1, (f64::INFINITY, 1)));
        assert_eq!(total.count(), 5);
        assert!((total.sum() - f64::from((128 << 20) + 130)).abs() < 1.0);
    }
}
