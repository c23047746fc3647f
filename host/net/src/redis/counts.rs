//! What is counted of a Redis.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Numbers of a store since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedisCounts {
    /// Operations that have ended, repetitions not counted.
    pub operations: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Time of all of them.
    pub time: Duration,
    /// Connections that were opened.
    pub connects: u64,
    pub connects_failed: u64,
    /// Commands that were sent again: to another node, or after a pause.
    pub repeated: u64,
    /// Events that were published to channels, and that came from them.
    pub published: u64,
    pub received: u64,
    /// Messages of channels that are no events, and events of this gateway that came back.
    pub ignored: u64,
    /// Entries that were stored in streams, and that were taken over from gateways that had died.
    pub appended: u64,
    pub claimed: u64,
    /// Events that became dead letters.
    pub dead: u64,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(super) struct StoreCounters {
    pub(super) operations: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) time_ns: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) connects_failed: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) claimed: AtomicU64,
    pub(super) dead: AtomicU64,
}

impl StoreCounters {
    pub(super) fn on_operation(&self, time: Duration, is_ok: bool) {
        self.operations.fetch_add(1, Relaxed);
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.time_ns.fetch_add(time, Relaxed);
        if !is_ok {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn read(&self) -> RedisCounts {
        RedisCounts {
            operations: self.operations.load(Relaxed),
            failed: self.failed.load(Relaxed),
            time: Duration::from_nanos(self.time_ns.load(Relaxed)),
            connects: self.connects.load(Relaxed),
            connects_failed: self.connects_failed.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            published: self.published.load(Relaxed),
            received: self.received.load(Relaxed),
            ignored: self.ignored.load(Relaxed),
            appended: self.appended.load(Relaxed),
            claimed: self.claimed.load(Relaxed),
            dead: self.dead.load(Relaxed),
        }
    }
}

/// One more of something.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
