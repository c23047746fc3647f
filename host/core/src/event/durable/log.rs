//! How many events a log holds and which of them go. Pure: the store asks with what it finds oldest.
//!
//! ```text
//!   first ─────────────── last │ next
//!   goes first: too old,       │ refused while the log is full,
//!   too many, too large        │ where it may not lose the oldest
//! ```

use std::time::Duration;

use super::{
    record::{RecordError, RecordReader, RecordWriter, VERSION},
    stored_event::Position,
};
use crate::error::{Blame, Error, Kind};

/// Charged for an event beside its octets in the store.
pub const RECORD_OVERHEAD_BYTES: u64 = 64;

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// How long an event is kept; none keeps it for ever.
    pub age_max: Option<Duration>,
    pub events_max: u64,
    /// Octets of all records, each with `RECORD_OVERHEAD_BYTES`.
    pub bytes_max: u64,
    pub when_full: WhenFull,
}

/// What becomes of an event for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The oldest ones go, whether or not everybody has had them.
    #[default]
    DropOldest,
    /// Its publisher is told that it was not kept.
    Refuse,
}

/// What is known of a log beside its events. It is stored with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// Of the newest event that was ever kept.
    pub last: Position,
    pub n_events: u64,
    pub n_bytes: u64,
}

/// Why an event is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogFull {
    #[error("event of {bytes} octets in the store exceeds the limit of {limit} (max-bytes)")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("the log holds {n} events, which is the limit (max-messages)")]
    Events { n: u64 },
    #[error(
        "{bytes} octets more than the {n} that the log holds exceed the limit of {limit} (max-bytes)"
    )]
    Bytes { bytes: u64, n: u64, limit: u64 },
}

/// The oldest event of a log, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMark {
    pub position: Position,
    pub record_bytes: u64,
    pub stored_at_ms: u64,
}

impl LogState {
    /// Takes an event of `record_bytes` and says where it lies. In a log that loses its oldest, there
    /// may be too much from here until `is_excess` denies it.
    ///
    /// # Errors
    /// Why it is not kept; nothing has changed.
    pub fn admit(&mut self, limits: &LogLimits, record_bytes: u64) -> Result<Position, LogFull> {
        let bytes = charged(record_bytes);
        let limit = limits.bytes_max;
        if bytes > limit {
            return Err(LogFull::TooLarge { bytes, limit });
        }
        if limits.when_full == WhenFull::Refuse {
            if self.n_events >= limits.events_max {
                return Err(LogFull::Events { n: self.n_events });
            }
            let n = self.n_bytes;
            if n.saturating_add(bytes) > limit {
                return Err(LogFull::Bytes { bytes, n, limit });
            }
        }
        self.last = self.last.next();
        self.n_events += 1;
        self.n_bytes += bytes;
        Ok(self.last)
    }

    /// Whether the oldest event is to go.
    #[must_use]
    pub fn is_excess(&self, limits: &LogLimits, oldest: &EventMark, now_ms: u64) -> bool {
        let is_old = limits.age_max.is_some_and(|age_max| {
            let age_max = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
            // A clock that was set back makes nothing older.
            now_ms.saturating_sub(oldest.stored_at_ms) > age_max
        });
        let is_full = limits.when_full == WhenFull::DropOldest
            && (self.n_events > limits.events_max || self.n_bytes > limits.bytes_max);
        is_old || is_full
    }

    /// An event was taken out of the store.
    pub fn on_removed(&mut self, record_bytes: u64) {
        self.n_events = self.n_events.saturating_sub(1);
        self.n_bytes = self.n_bytes.saturating_sub(charged(record_bytes));
    }

    /// As it lies in a store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.u8(VERSION);
        record.u64(self.last.0);
        record.u64(self.n_events);
        record.u64(self.n_bytes);
        record.0
    }

    /// # Errors
    /// What is wrong with the octets.
    pub fn decode(octets: &[u8]) -> Result<Self, RecordError> {
        let mut record = RecordReader(bytes::Bytes::copy_from_slice(octets));
        record.version()?;
        let state = Self {
            last: Position(record.u64()?),
            n_events: record.u64()?,
            n_bytes: record.u64()?,
        };
        record.end()?;
        Ok(state)
    }
}

impl LogFull {
    /// What the publisher is told. A log has its name from the configuration.
    #[must_use]
    pub fn to_error(self, log: &str) -> Error {
        let message = format!("topics.\"{log}\": {self}");
        let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, message);
        match self {
            Self::TooLarge { .. } => error.with_too_large(),
            Self::Events { .. } | Self::Bytes { .. } => error,
        }
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            age_max: None,
            events_max: 1_000_000,
            bytes_max: 1024 * 1024 * 1024,
            when_full: WhenFull::default(),
        }
    }
}

const fn charged(record_bytes: u64) -> u64 {
    record_bytes.saturating_add(RECORD_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn limits(events_max: u64, bytes_max: u64, when_full: WhenFull) -> LogLimits {
        LogLimits {
            age_max: Some(Duration::from_millis(1000)),
            events_max,
            bytes_max,
            when_full,
        }
    }

    /// A log as the store drives it.
    #[derive(Default)]
    struct Kept {
        state: LogState,
        events: VecDeque<EventMark>,
    }

    impl Kept {
        fn append(
            &mut self,
            limits: &LogLimits,
            record_bytes: u64,
            now_ms: u64,
        ) -> Result<(), LogFull> {
            self.trim(limits, now_ms);
            let position = self.state.admit(limits, record_bytes)?;
            self.events.push_back(EventMark {
                position,
                record_bytes,
                stored_at_ms: now_ms,
            });
            self.trim(limits, now_ms);
            Ok(())
        }

        fn trim(&mut self, limits: &LogLimits, now_ms: u64) {
            while let Some(oldest) = self.events.front() {
                if !self.state.is_excess(limits, oldest, now_ms) {
                    break;
                }
                self.state.on_removed(oldest.record_bytes);
                self.events.pop_front();
            }
        }

        fn positions(&self) -> Vec<u64> {
            self.events.iter().map(|mark| mark.position.0).collect()
        }
    }

    #[test]
    fn a_full_log_loses_its_oldest() {
        let limits = limits(2, 1000, WhenFull::DropOldest);
        let mut kept = Kept::default();
        for _ in 0..3 {
            assert_eq!(kept.append(&limits, 10, 0), Ok(()));
        }
        assert_eq!(kept.positions(), [2, 3]);
        // 936 and the overhead are 1,000: it alone fits.
        assert_eq!(kept.append(&limits, 936, 0), Ok(()));
        assert_eq!(kept.positions(), [4]);
    }

    #[test]
    fn a_log_that_may_not_lose_any_refuses_at_its_limit_and_takes_again_below_it() {
        let limits = limits(2, 200, WhenFull::Refuse);
        let mut kept = Kept::default();
        assert_eq!(kept.append(&limits, 36, 0), Ok(()));
        let bytes = LogFull::Bytes {
            bytes: 101,
            n: 100,
            limit: 200,
        };
        assert_eq!(kept.append(&limits, 37, 0), Err(bytes));
        assert_eq!(kept.append(&limits, 36, 0), Ok(()));
        assert_eq!(kept.append(&limits, 1, 0), Err(LogFull::Events { n: 2 }));
        // What has become too old makes room.
        assert_eq!(kept.append(&limits, 1, 1000), Err(LogFull::Events { n: 2 }));
        assert_eq!(kept.append(&limits, 1, 1001), Ok(()));
        assert_eq!(kept.positions(), [3]);
    }

    #[test]
    fn an_event_larger_than_the_whole_log_is_refused_by_both() {
        for when_full in [WhenFull::DropOldest, WhenFull::Refuse] {
            let mut kept = Kept::default();
            let limits = limits(10, 100, when_full);
            assert_eq!(kept.append(&limits, 36, 0), Ok(()));
            let full = LogFull::TooLarge {
                bytes: 101,
                limit: 100,
            };
            assert_eq!(kept.append(&limits, 37, 0), Err(full));
            assert_eq!(full.to_error("a.>").http(), 413);
            assert_eq!(kept.positions(), [1]);
        }
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_limits_and_counts_right(
            sizes in prop::collection::vec((0..300_u64, 0..400_u64), 1..60),
            events_max in 1..10_u64,
            bytes_max in 64..2000_u64,
            may_lose in any::<bool>(),
        ) {
            let when_full = if may_lose { WhenFull::DropOldest } else { WhenFull::Refuse };
            let limits = limits(events_max, bytes_max, when_full);
            let (mut kept, mut now) = (Kept::default(), 0);
            for (size, pause) in sizes {
                now += pause;
                let _ = kept.append(&limits, size, now);
                let n_bytes: u64 = kept.events.iter().map(|mark| charged(mark.record_bytes)).sum();
                prop_assert_eq!(kept.state.n_events, kept.events.len() as u64);
                prop_assert_eq!(kept.state.n_bytes, n_bytes);
                prop_assert!(kept.state.n_events <= events_max && n_bytes <= bytes_max);
                prop_assert!(kept.events.iter().all(|mark| now - mark.stored_at_ms <= 1000));
                prop_assert_eq!(LogState::decode(&kept.state.encode()), Ok(kept.state));
            }
        }
    }
}
