//! How long an entry is kept without a sign of its owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::owner::EntryKey;

/// Time to live of a lease, 1 s to 24 h. Default 60 s, `registration_ttl` of the VSP document; an
/// owner sends a heartbeat every third of it, so that two may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(Duration);

/// Why a duration is no time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time to live of {} ms is not within 1 s and 24 h", .0.as_millis())]
pub struct TtlError(pub Duration);

/// What an owner was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryLease {
    /// `None`: kept until its owner removes it.
    pub ttl: Option<Ttl>,
    /// When it ends without a heartbeat. For what a lost peer told: when the grace ends.
    pub expires: Option<Instant>,
}

/// Instants at which something is due, at most one per key.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_key: BTreeMap<EntryKey, Instant>,
    by_instant: BTreeSet<(Instant, EntryKey)>,
}

impl Ttl {
    pub const MIN: Self = Self(Duration::from_secs(1));
    pub const MAX: Self = Self(Duration::from_secs(24 * 60 * 60));

    /// # Errors
    /// Outside of `MIN` and `MAX`.
    pub fn new(ttl: Duration) -> Result<Self, TtlError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&ttl) {
            Ok(Self(ttl))
        } else {
            Err(TtlError(ttl))
        }
    }

    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// How often an owner should send a heartbeat.
    #[must_use]
    pub fn heartbeat_interval(self) -> Duration {
        self.0 / 3
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl Schedule {
    pub(super) fn set(&mut self, key: &EntryKey, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_key.insert(key.clone(), at),
            None => self.by_key.remove(key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_instant.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.by_instant.insert((at, key.clone()));
        }
    }

    pub(super) fn at(&self, key: &EntryKey) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest instant.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_instant.first().map(|(at, _)| *at)
    }

    /// Takes one key out that is due at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<EntryKey> {
        let (at, key) = self.by_instant.first()?;
        if *at > now {
            return None;
        }
        let key = key.clone();
        self.set(&key, None);
        Some(key)
    }

    /// How many keys wait.
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.by_key.len(), self.by_instant.len());
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        registry::owner::{InstanceId, Owner},
        testing::epoch,
    };

    #[test]
    fn ttl_is_one_second_to_a_day() {
        let millis = Duration::from_millis;
        assert_eq!(Ttl::new(millis(999)), Err(TtlError(millis(999))));
        assert_eq!(Ttl::new(millis(1000)), Ok(Ttl::MIN));
        assert_eq!(Ttl::new(millis(86_400_000)), Ok(Ttl::MAX));
        assert_eq!(
            Ttl::new(millis(86_400_001)),
            Err(TtlError(millis(86_400_001)))
        );
        let text = TtlError(millis(999)).to_string();
        assert_eq!(text, "time to live of 999 ms is not within 1 s and 24 h");
    }

    #[test]
    fn default_ttl_is_that_of_the_document() {
        assert_eq!(Ttl::default().duration(), Duration::from_secs(60));
        assert_eq!(Ttl::default().heartbeat_interval(), Duration::from_secs(20));
    }

    #[test]
    fn what_is_due_is_taken_once_and_in_order() {
        let mut schedule = Schedule::default();
        let at = |secs| Some(epoch() + Duration::from_secs(secs));
        schedule.set(&key("a"), at(3));
        schedule.set(&key("b"), at(2));
        schedule.set(&key("c"), at(1));
        schedule.set(&key("c"), None);
        schedule.set(&key("a"), at(1));
        assert_eq!(schedule.len(), 2);
        assert_eq!((schedule.next(), schedule.at(&key("a"))), (at(1), at(1)));
        assert_eq!(schedule.take_due(epoch()), None);
        let now = epoch() + Duration::from_secs(2);
        assert_eq!(schedule.take_due(now), Some(key("a")));
        assert_eq!(schedule.take_due(now), Some(key("b")));
        assert_eq!(schedule.take_due(now), None);
        assert_eq!((schedule.next(), schedule.len()), (None, 0));
    }

    fn key(instance: &str) -> EntryKey {
        EntryKey {
            owner: Owner::Config,
            instance: InstanceId::new(instance),
        }
    }
}
