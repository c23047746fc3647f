//! A map by name that many threads read without a lock, and that few change: a change copies the few
//! entries of one bucket, never the map.

use std::{collections::BTreeMap, fmt, hash::BuildHasher as _, sync::Arc};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use postern_core::Text;

/// Values by name. Each name is changed by itself: who reads several may find them of different
/// moments.
pub(crate) struct NameTable<V> {
    buckets: Box<[ArcSwap<Bucket<V>>]>,
    hasher: RandomState,
}

type Bucket<V> = Vec<(Text, V)>;

impl<V: Clone> NameTable<V> {
    /// Reads the value of `name`.
    pub(crate) fn read<T>(&self, name: &Text, read: impl FnOnce(&V) -> T) -> Option<T> {
        let bucket = self.bucket(name)?.load();
        let mut entries = bucket.iter();
        let (_, value) = entries.find(|(own, _)| own == name)?;
        Some(read(value))
    }

    pub(crate) fn get(&self, name: &Text) -> Option<V> {
        self.read(name, V::clone)
    }

    /// `name` has `value` from here on.
    pub(crate) fn insert(&self, name: &Text, value: &V) {
        let Some(bucket) = self.bucket(name) else {
            return;
        };
        bucket.rcu(|before| {
            let others = before.iter().filter(|(own, _)| own != name).cloned();
            others
                .chain([(name.clone(), value.clone())])
                .collect::<Bucket<V>>()
        });
    }

    /// Nothing is called `name` from here on.
    pub(crate) fn remove(&self, name: &Text) {
        let Some(bucket) = self.bucket(name) else {
            return;
        };
        bucket.rcu(|before| {
            let others = before.iter().filter(|(own, _)| own != name);
            others.cloned().collect::<Bucket<V>>()
        });
    }

    /// Everything that is in it.
    pub(crate) fn all(&self) -> BTreeMap<Text, V> {
        let mut all = BTreeMap::new();
        for bucket in &self.buckets {
            all.extend(bucket.load().iter().cloned());
        }
        all
    }

    /// Every name, in no order.
    pub(crate) fn names(&self) -> Vec<Text> {
        let mut names = Vec::new();
        for bucket in &self.buckets {
            names.extend(bucket.load().iter().map(|(name, _)| name.clone()));
        }
        names
    }

    fn bucket(&self, name: &Text) -> Option<&ArcSwap<Bucket<V>>> {
        let hash = self.hasher.hash_one(name.as_bytes());
        // The number of buckets is a power of two and fits any integer.
        let idx = usize::try_from(hash % BUCKETS as u64).unwrap_or_default();
        self.buckets.get(idx)
    }
}

impl<V> Default for NameTable<V> {
    fn default() -> Self {
        let empty = Arc::<Bucket<V>>::default();
        let buckets = std::iter::repeat_with(|| ArcSwap::new(Arc::clone(&empty)));
        Self {
            buckets: buckets.take(BUCKETS).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl<V> fmt::Debug for NameTable<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTable").finish_non_exhaustive()
    }
}

/// 32 KiB of empty buckets; of 10,000 names two or three share one.
const BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_the_value_that_it_was_given_last() {
        let table = NameTable::<u64>::default();
        let names: Vec<Text> = (0..20_000).map(|n| format!("s{n}").into()).collect();
        for (n, name) in (0..).zip(&names) {
            table.insert(name, &n);
        }
        for name in names.iter().step_by(2) {
            table.remove(name);
        }
        for name in names.iter().skip(1).step_by(4) {
            table.insert(name, &7);
        }
        for (n, name) in names.iter().enumerate() {
            let expected = match n % 4 {
                0 | 2 => None,
                1 => Some(7),
                _ => Some(n as u64),
            };
            assert_eq!(table.get(name), expected, "{name}");
        }
        assert_eq!(table.all().len(), 10_000);
        table.remove(&"never there".into());
        assert_eq!(table.get(&"".into()), None);
    }

    #[test]
    fn changes_of_many_threads_are_all_kept() {
        let table = NameTable::<u64>::default();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for n in 0..2_000 {
                        table.insert(&format!("{thread}/{n}").into(), &n);
                    }
                });
            }
        });
        assert_eq!(table.all().len(), 8_000);
        assert_eq!(table.get(&"3/1999".into()), Some(1999));
    }
}
