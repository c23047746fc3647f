//! How many log lines a plugin may write, and how many octets.

use std::time::Instant;

use parking_lot::Mutex;

use crate::limits::PluginLimits;

/// The rates of one plugin's lines and of their octets: a bucket of tokens for each.
pub(crate) struct LogRate {
    per_second: f64,
    burst: f64,
    /// As many at once.
    bytes_per_second: f64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    /// Octets. Below zero by a part of the last line at most.
    bytes: f64,
    filled: Instant,
    /// Since the last line that was kept.
    n_dropped: u64,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Kept { n_dropped_before: u64 },
    Dropped,
}

impl LogRate {
    pub(crate) fn new(limits: &PluginLimits, now: Instant) -> Self {
        let burst = f64::from(limits.log_lines_burst);
        let bytes_per_second =
            f64::from(u32::try_from(limits.log_bytes_per_second).unwrap_or(u32::MAX));
        let bucket = Bucket {
            tokens: burst,
            bytes: bytes_per_second,
            filled: now,
            n_dropped: 0,
        };
        let per_second = f64::from(limits.log_lines_per_second);
        Self {
            per_second,
            burst,
            bytes_per_second,
            bucket: Mutex::new(bucket),
        }
    }

    /// Counts a line that is to be written. How long it is, is told afterwards (`charge`): a line that is
    /// dropped is not even read.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut bucket = self.bucket.lock();
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = passed
            .mul_add(self.per_second, bucket.tokens)
            .min(self.burst);
        bucket.bytes = passed
            .mul_add(self.bytes_per_second, bucket.bytes)
            .min(self.bytes_per_second);
        bucket.filled = now;
        if bucket.tokens < 1.0 || bucket.bytes <= 0.0 {
            bucket.n_dropped += 1;
            return Admission::Dropped;
        }
        bucket.tokens -= 1.0;
        Admission::Kept {
            n_dropped_before: std::mem::take(&mut bucket.n_dropped),
        }
    }

    /// A line that was admitted has so many octets.
    pub(crate) fn charge(&self, octets: usize) {
        let octets = f64::from(u32::try_from(octets).unwrap_or(u32::MAX));
        self.bucket.lock().bytes -= octets;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_system::clock;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_drops_are_told() {
        let start = clock::now();
        let limits = PluginLimits {
            log_lines_per_second: 10,
            log_lines_burst: 2,
            ..PluginLimits::default()
        };
        let lines = LogRate::new(&limits, start);
        assert_eq!(
            lines.admit(start),
            Admission::Kept {
                n_dropped_before: 0
            }
        );
        assert_eq!(
            lines.admit(start),
            Admission::Kept {
                n_dropped_before: 0
            }
        );
        assert_eq!(lines.admit(start), Admission::Dropped);
        assert_eq!(
            lines.admit(start + Duration::from_millis(99)),
            Admission::Dropped
        );
        let later = start + Duration::from_millis(101);
        assert_eq!(
            lines.admit(later),
            Admission::Kept {
                n_dropped_before: 2
            }
        );
        assert_eq!(lines.admit(later), Admission::Dropped);
    }

    #[test]
    fn octets_have_a_rate_of_their_own() {
        let start = clock::now();
        let limits = PluginLimits {
            log_bytes_per_second: 1000,
            ..PluginLimits::default()
        };
        let lines = LogRate::new(&limits, start);
        let kept = |n_dropped_before| Admission::Kept { n_dropped_before };
        assert_eq!(lines.admit(start), kept(0));
        lines.charge(1500);
        assert_eq!(lines.admit(start), Admission::Dropped);
        let almost = start + Duration::from_millis(500);
        assert_eq!(lines.admit(almost), Admission::Dropped);
        assert_eq!(lines.admit(almost + Duration::from_millis(1)), kept(2));
    }
}
