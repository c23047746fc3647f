//! A map that never holds more than its bound: when it is full, the entry of least eviction priority
//! among a few makes room. In shards, so that threads rarely meet.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
};

use parking_lot::Mutex;

/// Entries by key.
#[derive(Debug)]
pub(super) struct BoundedMap<K, V> {
    shards: Box<[Mutex<HashMap<K, V>>]>,
    shard_entries_max: usize,
    hasher: RandomState,
    /// The least is given up first.
    eviction_priority: fn(&V) -> u64,
}

impl<K: Hash + Eq + Copy, V> BoundedMap<K, V> {
    pub(super) fn new(entries_max: usize, eviction_priority: fn(&V) -> u64) -> Self {
        let n_shards = if entries_max < SHARED_ENTRIES_MIN {
            1
        } else {
            SHARDS
        };
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(n_shards)
                .collect(),
            shard_entries_max: entries_max / n_shards,
            hasher: RandomState::new(),
            eviction_priority,
        }
    }

    /// Reads the entry of `key`.
    pub(super) fn read<T>(&self, key: &K, read: impl FnOnce(&V) -> T) -> Option<T> {
        self.shard(key)?.lock().get(key).map(read)
    }

    /// Replaces the entry of `key` by what `update` makes of it, unless that fails.
    pub(super) fn update<T, E>(
        &self,
        key: &K,
        update: impl FnOnce(Option<&V>) -> Result<(T, V), E>,
    ) -> Result<T, E> {
        let Some(shard) = self.shard(key) else {
            return update(None).map(|(told, _)| told);
        };
        let mut shard = shard.lock();
        if let Some(entry) = shard.get_mut(key) {
            let (told, value) = update(Some(entry))?;
            *entry = value;
            return Ok(told);
        }
        let (told, value) = update(None)?;
        if shard.len() >= self.shard_entries_max {
            // Keys are spread at random, so the first few of a table are as good as any.
            let sample = shard.iter().take(SAMPLE);
            let least = sample.min_by_key(|(_, value)| (self.eviction_priority)(value));
            let Some(least) = least.map(|(key, _)| *key) else {
                return Ok(told);
            };
            shard.remove(&least);
        }
        shard.insert(*key, value);
        Ok(told)
    }

    pub(super) fn retain(&self, keep: impl Fn(&V) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.retain(|_, value| keep(value));
            // A burst of callers long ago should not hold memory for ever.
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: &K) -> Option<&Mutex<HashMap<K, V>>> {
        let hash = self.hasher.hash_one(key);
        // The number of shards is a power of two, at most 16.
        let idx = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        self.shards.get(idx & (self.shards.len() - 1))
    }
}

const SHARDS: usize = 16;
/// Below this, one lock is enough and the bound is exact.
const SHARED_ENTRIES_MIN: usize = 1024;
/// Redis samples 5 keys for an eviction and finds 10 nearly as good as all
/// (<https://redis.io/docs/latest/develop/reference/eviction/>, "approximated LRU").
const SAMPLE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn put(map: &BoundedMap<u64, u64>, key: u64, value: u64) {
        let put: Result<(), ()> = map.update(&key, |_| Ok(((), value)));
        assert_eq!(put, Ok(()));
    }

    #[test]
    fn holds_as_many_as_its_bound_and_gives_up_the_least() {
        let map = BoundedMap::new(3, |value: &u64| *value);
        for key in [5, 1, 9] {
            put(&map, key, key);
        }
        assert_eq!(map.len(), 3);
        put(&map, 7, 7);
        assert_eq!(map.len(), 3);
        assert_eq!(map.read(&1, |value| *value), None);
        assert_eq!(map.read(&9, |value| *value), Some(9));
    }

    #[test]
    fn a_large_one_never_passes_its_bound() {
        let map = BoundedMap::new(2048, |value: &u64| *value);
        for key in 0..10_000 {
            put(&map, key, key);
        }
        assert!(map.len() <= 2048 && map.len() > 1900, "{}", map.len());
    }

    #[test]
    fn a_bound_of_nothing_holds_nothing() {
        let map = BoundedMap::new(0, |value: &u64| *value);
        put(&map, 1, 1);
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn a_refused_update_leaves_what_was_there() {
        let map = BoundedMap::new(3, |value: &u64| *value);
        put(&map, 1, 1);
        assert_eq!(map.update(&1, |_| Err::<((), u64), _>("no")), Err("no"));
        assert_eq!(map.update(&2, |_| Err::<((), u64), _>("no")), Err("no"));
        assert_eq!(map.read(&1, |value| *value), Some(1));
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn retains_what_it_is_told_to() {
        let map = BoundedMap::new(10, |value: &u64| *value);
        (0..10).for_each(|key| put(&map, key, key));
        map.retain(|value| *value < 4);
        assert_eq!(map.len(), 4);
    }
}
