//! Who wants which topics: a tree of filters by level.
//!
//! A question visits each node at most once, and of each level the literal child and `+`.

use std::collections::HashMap;

use super::TopicFilter;
use crate::text::Text;

/// Values under filters, told apart by a key: one for each filter and key.
#[derive(Debug)]
pub struct FilterTable<V> {
    root: Node<V>,
    n_values: usize,
}

#[derive(Debug)]
struct Node<V> {
    literal: HashMap<Text, Self>,
    any: Option<Box<Self>>,
    /// Of filters that end here.
    values: Vec<(u64, V)>,
    /// Of filters that end here with `#`.
    rest: Vec<(u64, V)>,
}

impl<V> FilterTable<V> {
    #[must_use]
    pub fn new() -> Self {
        Self {
            root: Node::default(),
            n_values: 0,
        }
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.n_values
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.n_values == 0
    }

    /// Puts `value` under `filter` and gives what `key` had there.
    pub fn insert(&mut self, filter: &TopicFilter, key: u64, value: V) -> Option<V> {
        let mut node = &mut self.root;
        let mut is_rest = false;
        for level in filter.levels() {
            node = match level {
                "#" => {
                    is_rest = true;
                    break;
                }
                "+" => node.any.get_or_insert_default(),
                _ if node.literal.contains_key(level) => node.literal.get_mut(level)?,
                // A buffer of its own: the filter's would keep all of it.
                _ => node.literal.entry(Text::from(level)).or_default(),
            };
        }
        let values = node.values_mut(is_rest);
        let replaced = match values.iter_mut().find(|(other, _)| *other == key) {
            Some((_, there)) => Some(std::mem::replace(there, value)),
            None => {
                values.push((key, value));
                None
            }
        };
        self.n_values += usize::from(replaced.is_none());
        replaced
    }

    /// Takes what `key` has under `filter`.
    pub fn remove(&mut self, filter: &TopicFilter, key: u64) -> Option<V> {
        let levels: Vec<_> = filter.levels().collect();
        let removed = self.root.remove(&levels, key);
        self.n_values -= usize::from(removed.is_some());
        removed
    }

    /// What `key` has under `filter`.
    #[must_use]
    pub fn get(&self, filter: &TopicFilter, key: u64) -> Option<&V> {
        let mut node = &self.root;
        let mut is_rest = false;
        for level in filter.levels() {
            node = match level {
                "#" => {
                    is_rest = true;
                    break;
                }
                "+" => node.any.as_deref()?,
                _ => node.literal.get(level)?,
            };
        }
        let values = if is_rest { &node.rest } else { &node.values };
        let found = values.iter().find(|(other, _)| *other == key);
        found.map(|(_, value)| value)
    }

    /// Gives `found` each value whose filter wants `name`.
    pub fn find<'a>(&'a self, name: &str, mut found: impl FnMut(&'a V)) {
        let is_own = name.starts_with('$');
        self.root.find(Some(name), is_own, &mut found);
    }
}

impl<V> Node<V> {
    const fn values_mut(&mut self, is_rest: bool) -> &mut Vec<(u64, V)> {
        match is_rest {
            true => &mut self.rest,
            false => &mut self.values,
        }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.any.is_none()
            && self.values.is_empty()
            && self.rest.is_empty()
    }

    /// As deep as a filter may have levels. Nodes that have become empty go.
    fn remove(&mut self, levels: &[&str], key: u64) -> Option<V> {
        let (values, is_here) = match levels {
            [] => (&mut self.values, true),
            ["#"] => (&mut self.rest, true),
            _ => (&mut self.values, false),
        };
        if is_here {
            let idx = values.iter().position(|(other, _)| *other == key)?;
            return Some(values.swap_remove(idx).1);
        }
        let (first, below) = levels.split_first()?;
        if *first == "+" {
            let any = self.any.as_mut()?;
            let removed = any.remove(below, key);
            if any.is_empty() {
                self.any = None;
            }
            return removed;
        }
        let child = self.literal.get_mut(*first)?;
        let removed = child.remove(below, key);
        if child.is_empty() {
            self.literal.remove(*first);
        }
        removed
    }

    /// `rest` are the levels that are left, none when all are used up.
    fn find<'a>(&'a self, rest: Option<&str>, is_own: bool, found: &mut impl FnMut(&'a V)) {
        if !is_own {
            self.rest.iter().for_each(|(_, value)| found(value));
        }
        let Some(rest) = rest else {
            self.values.iter().for_each(|(_, value)| found(value));
            return;
        };
        let (level, below) = match rest.split_once('/') {
            Some((level, below)) => (level, Some(below)),
            None => (rest, None),
        };
        if let Some(child) = self.literal.get(level) {
            child.find(below, false, found);
        }
        if let Some(any) = self.any.as_deref().filter(|_| !is_own) {
            any.find(below, false, found);
        }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            literal: HashMap::new(),
            any: None,
            values: Vec::new(),
            rest: Vec::new(),
        }
    }
}

impl<V> Default for FilterTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).expect("a filter")
    }

    fn found(table: &FilterTable<u64>, name: &str) -> Vec<u64> {
        let mut values = Vec::new();
        table.find(name, |value| values.push(*value));
        values.sort_unstable();
        values
    }

    #[test]
    fn one_value_for_each_filter_and_key() {
        let mut table = FilterTable::new();
        assert_eq!(table.insert(&filter("a/+"), 1, 10), None);
        assert_eq!(table.insert(&filter("a/+"), 1, 11), Some(10));
        assert_eq!(table.insert(&filter("a/+"), 2, 20), None);
        assert_eq!(table.insert(&filter("a/#"), 1, 12), None);
        assert_eq!((table.len(), found(&table, "a/b")), (3, vec![11, 12, 20]));
        assert_eq!(table.get(&filter("a/+"), 2), Some(&20));
        assert_eq!(table.get(&filter("a"), 2), None);
        assert_eq!(table.remove(&filter("a/+"), 1), Some(11));
        assert_eq!(table.remove(&filter("a/+"), 1), None);
        assert_eq!(table.remove(&filter("a/+"), 2), Some(20));
        assert_eq!(table.remove(&filter("a/#"), 1), Some(12));
        assert!(
            table.is_empty() && table.root.is_empty(),
            "an empty table keeps no node"
        );
    }

    proptest! {
        #[test]
        fn finds_what_each_filter_by_itself_wants(
            filters in prop::collection::vec("([ab+$]|)(/([ab+]|)){0,3}(/#)?|#", 1..20),
            name in "[ab$]?(/[ab]?){0,4}",
        ) {
            prop_assume!(!name.is_empty());
            let filters: Vec<_> = (0..)
                .zip(&filters)
                .filter_map(|(key, text)| Some((key, TopicFilter::new(text).ok()?)))
                .collect();
            let mut table = FilterTable::new();
            for (key, filter) in &filters {
                table.insert(filter, *key, *key);
            }
            let wanted = filters.iter().filter(|(_, filter)| filter.matches(&name));
            let wanted: Vec<u64> = wanted.map(|(key, _)| *key).collect();
            prop_assert_eq!(found(&table, &name), wanted);
            for (key, filter) in &filters {
                prop_assert_eq!(table.remove(filter, *key), Some(*key));
            }
            prop_assert!(table.root.is_empty());
        }
    }
}
