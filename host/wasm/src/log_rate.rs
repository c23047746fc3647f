//! How many log lines a plugin may write.

use std::time::Instant;

use parking_lot::Mutex;

use crate::limits::PluginLimits;

/// The rate of one plugin's lines: a bucket of tokens.
pub(crate) struct LogRate {
    per_second: f64,
    burst: f64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
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
        let bucket = Bucket {
            tokens: burst,
            filled: now,
            n_dropped: 0,
        };
        let per_second = f64::from(limits.log_lines_per_second);
        Self {
            per_second,
            burst,
            bucket: Mutex::new(bucket),
        }
    }

    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut bucket = self.bucket.lock();
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = passed
            .mul_add(self.per_second, bucket.tokens)
            .min(self.burst);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            bucket.n_dropped += 1;
            return Admission::Dropped;
        }
        bucket.tokens -= 1.0;
        Admission::Kept {
            n_dropped_before: std::mem::take(&mut bucket.n_dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_drops_are_told() {
        let start = Instant::now();
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
}
