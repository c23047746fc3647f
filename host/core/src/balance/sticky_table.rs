//! Which key has which member, of `sticky.rs`.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::hash;

/// A power of two.
pub(super) const SLOTS: usize = 1 << 14;

/// Which member a key has. Upper half of a slot: the key; lower half: the member. 0 is empty.
pub struct StickyTable(Box<[AtomicU64]>);

impl StickyTable {
    fn slot(&self, key: u64) -> Option<&AtomicU64> {
        self.0.get(hash::place(key << 32, SLOTS))
    }

    pub(super) fn find(&self, key: u64) -> Option<u64> {
        let slot = self.slot(key)?.load(Relaxed);
        (slot != 0 && half(slot) == half(key)).then_some(slot << 32 >> 32)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|slot| slot.load(Relaxed) == 0)
    }

    pub(super) fn keep(&self, key: u64, member: u64) {
        if let Some(slot) = self.slot(key) {
            slot.store(half(key) << 32 | member, Relaxed);
        }
    }
}

impl Default for StickyTable {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl fmt::Debug for StickyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table of {SLOTS} slots")
    }
}

/// What of a number a slot has room for.
pub(super) const fn half(number: u64) -> u64 {
    number >> 32
}
