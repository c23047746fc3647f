//! Which patterns match a topic: a tree with a level of the pattern per step. A topic visits only
//! nodes whose path matches it, however many patterns there are.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

use super::pattern::{ANY, REST, TopicPattern};
use crate::text::Text;

/// Values by pattern. Each has an id, which is unique within its pattern.
#[derive(Debug)]
pub struct SubscriptionTable<T> {
    root: Node<T>,
}

/// One pattern that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternInfo {
    pub pattern: Text,
    pub n_values: usize,
    /// Topics that it matched since it was inserted.
    pub n_matched: u64,
}

/// Everything below one beginning of patterns.
struct Node<T> {
    levels: HashMap<Text, Self, RandomState>,
    /// Below a `*`.
    any: Option<Box<Self>>,
    /// Of the pattern that ends here.
    here: Slot<T>,
    /// Of the pattern that goes on with `>`.
    rest: Slot<T>,
}

/// The values of one pattern.
struct Slot<T> {
    values: Vec<(u64, T)>,
    n_matched: AtomicU64,
}

impl<T> SubscriptionTable<T> {
    #[must_use]
    pub fn new() -> Self {
        Self { root: Node::new() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Adds a value; one of the same id and pattern is replaced.
    pub fn insert(&mut self, pattern: &TopicPattern, id: u64, value: T) {
        let mut node = &mut self.root;
        for level in pattern.levels() {
            node = match level {
                REST => return node.rest.insert(id, value),
                ANY => node.any.get_or_insert_with(|| Box::new(Node::new())),
                level => node
                    .levels
                    .entry(Text::from(level))
                    .or_insert_with(Node::new),
            };
        }
        node.here.insert(id, value);
    }

    /// Takes a value out, and the nodes that held nothing else.
    pub fn remove(&mut self, pattern: &TopicPattern, id: u64) -> Option<T> {
        self.root.remove(&mut pattern.levels(), id)
    }

    /// Calls `found` for every value whose pattern matches `topic`, once per pattern.
    pub fn find<'t>(&'t self, topic: &str, mut found: impl FnMut(u64, &'t T)) {
        let mut nodes: Nodes<'t, T> = smallvec![&self.root];
        let mut next: Nodes<'t, T> = SmallVec::new();
        for level in topic.split('.') {
            for node in &nodes {
                node.rest.matched(&mut found);
                next.extend(node.levels.get(level));
                next.extend(node.any.as_deref());
            }
            std::mem::swap(&mut nodes, &mut next);
            next.clear();
        }
        for node in nodes {
            node.here.matched(&mut found);
        }
    }

    /// Whether a pattern matches `topic`. It counts for none of them.
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        let mut nodes: Nodes<'_, T> = smallvec![&self.root];
        let mut next: Nodes<'_, T> = SmallVec::new();
        for level in topic.split('.') {
            for node in &nodes {
                if !node.rest.values.is_empty() {
                    return true;
                }
                next.extend(node.levels.get(level));
                next.extend(node.any.as_deref());
            }
            std::mem::swap(&mut nodes, &mut next);
            next.clear();
        }
        nodes.iter().any(|node| !node.here.values.is_empty())
    }

    /// Every pattern, in order.
    #[must_use]
    pub fn patterns(&self) -> Vec<PatternInfo> {
        let mut patterns = Vec::new();
        self.root.collect("", &mut patterns);
        patterns.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        patterns
    }
}

/// Nodes at one depth that match a topic so far.
type Nodes<'t, T> = SmallVec<[&'t Node<T>; 8]>;

impl<T> Node<T> {
    fn new() -> Self {
        Self {
            levels: HashMap::default(),
            any: None,
            here: Slot::new(),
            rest: Slot::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty()
            && self.any.is_none()
            && self.here.values.is_empty()
            && self.rest.values.is_empty()
    }

    /// As deep as a pattern has levels, which is bounded.
    fn remove<'p>(&mut self, levels: &mut impl Iterator<Item = &'p str>, id: u64) -> Option<T> {
        match levels.next() {
            None => self.here.remove(id),
            Some(REST) => self.rest.remove(id),
            Some(ANY) => {
                let node = self.any.as_mut()?;
                let removed = node.remove(levels, id);
                if node.is_empty() {
                    self.any = None;
                }
                removed
            }
            Some(level) => {
                let node = self.levels.get_mut(level)?;
                let removed = node.remove(levels, id);
                if node.is_empty() {
                    self.levels.remove(level);
                }
                removed
            }
        }
    }

    fn collect(&self, path: &str, into: &mut Vec<PatternInfo>) {
        into.extend(self.here.info(path));
        into.extend(self.rest.info(&join(path, REST)));
        if let Some(any) = &self.any {
            any.collect(&join(path, ANY), into);
        }
        for (level, node) in &self.levels {
            node.collect(&join(path, level), into);
        }
    }
}

impl<T> Slot<T> {
    const fn new() -> Self {
        Self {
            values: Vec::new(),
            n_matched: AtomicU64::new(0),
        }
    }

    fn insert(&mut self, id: u64, value: T) {
        match self.values.iter_mut().find(|(known, _)| *known == id) {
            Some((_, known)) => *known = value,
            None => self.values.push((id, value)),
        }
    }

    fn remove(&mut self, id: u64) -> Option<T> {
        let index = self.values.iter().position(|(known, _)| *known == id)?;
        Some(self.values.swap_remove(index).1)
    }

    fn matched<'t>(&'t self, found: &mut impl FnMut(u64, &'t T)) {
        if self.values.is_empty() {
            return;
        }
        self.n_matched.fetch_add(1, Relaxed);
        for (id, value) in &self.values {
            found(*id, value);
        }
    }

    fn info(&self, pattern: &str) -> Option<PatternInfo> {
        (!self.values.is_empty()).then(|| PatternInfo {
            pattern: Text::from(pattern),
            n_values: self.values.len(),
            n_matched: self.n_matched.load(Relaxed),
        })
    }
}

impl<T> Default for SubscriptionTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Node<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut patterns = Vec::new();
        self.collect("", &mut patterns);
        f.debug_list().entries(patterns).finish()
    }
}

fn join(path: &str, level: &str) -> String {
    if path.is_empty() {
        level.to_owned()
    } else {
        format!("{path}.{level}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).expect("a pattern")
    }

    fn found(table: &SubscriptionTable<()>, topic: &str) -> Vec<u64> {
        let mut ids = Vec::new();
        table.find(topic, |id, ()| ids.push(id));
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_topic_finds_every_pattern_that_matches_it() {
        let mut table = SubscriptionTable::new();
        let patterns = [
            "user.created",
            "user.*",
            "user.>",
            ">",
            "*",
            "user",
            "*.created",
        ];
        for (id, text) in (0..).zip(patterns) {
            table.insert(&pattern(text), id, ());
        }
        assert_eq!(found(&table, "user.created"), [0, 1, 2, 3, 6]);
        assert_eq!(found(&table, "user"), [3, 4, 5]);
        assert_eq!(found(&table, "order.paid.late"), [3]);
    }

    #[test]
    fn what_is_removed_leaves_no_nodes() {
        let mut table = SubscriptionTable::new();
        table.insert(&pattern("a.*.b.>"), 1, ());
        table.insert(&pattern("a.*.b.>"), 2, ());
        assert_eq!(table.remove(&pattern("a.*.b.>"), 1), Some(()));
        assert_eq!(table.remove(&pattern("a.*.b.>"), 1), None);
        assert_eq!(table.remove(&pattern("a.x"), 2), None);
        assert_eq!(found(&table, "a.x.b.c"), [2]);
        assert_eq!(table.remove(&pattern("a.*.b.>"), 2), Some(()));
        assert!(table.is_empty(), "{table:?}");
    }

    #[test]
    fn patterns_count_the_topics_that_they_matched() {
        let mut table = SubscriptionTable::new();
        table.insert(&pattern("a.*"), 1, ());
        table.insert(&pattern("a.*"), 2, ());
        table.insert(&pattern(">"), 1, ());
        found(&table, "a.b");
        found(&table, "c");
        let info = |text: &str, n_values, n_matched| PatternInfo {
            pattern: text.into(),
            n_values,
            n_matched,
        };
        assert_eq!(table.patterns(), [info(">", 1, 2), info("a.*", 2, 1)]);
    }

    /// Few words, so that patterns and topics meet.
    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "c", "é", "*"])
    }

    fn arbitrary_pattern() -> impl Strategy<Value = TopicPattern> {
        (prop::collection::vec(level(), 0..5), any::<bool>()).prop_map(|(mut levels, rest)| {
            if rest || levels.is_empty() {
                levels.push(REST);
            }
            pattern(&levels.join("."))
        })
    }

    fn arbitrary_topic() -> impl Strategy<Value = String> {
        let level = level().prop_filter("a topic has no wildcards", |level| *level != ANY);
        prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("."))
    }

    proptest! {
        #[test]
        fn finds_what_the_patterns_match_one_by_one(
            patterns in prop::collection::vec(arbitrary_pattern(), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            topics in prop::collection::vec(arbitrary_topic(), 1..10),
        ) {
            let mut table = SubscriptionTable::new();
            let mut left: Vec<_> = (0..).zip(&patterns).collect();
            for (id, pattern) in &left {
                table.insert(pattern, *id, ());
            }
            for index in removed {
                if !left.is_empty() {
                    let (id, pattern) = left.swap_remove(index.index(left.len()));
                    prop_assert!(table.remove(pattern, id).is_some());
                }
            }
            left.sort_unstable();
            for topic in topics {
                let naive: Vec<u64> = left
                    .iter()
                    .filter(|(_, pattern)| pattern.matches(&topic))
                    .map(|(id, _)| *id)
                    .collect();
                prop_assert_eq!(table.has(&topic), !naive.is_empty(), "{}", topic);
                prop_assert_eq!(found(&table, &topic), naive, "{}", topic);
            }
            for (id, pattern) in left {
                table.remove(pattern, id);
            }
            prop_assert!(table.is_empty());
        }
    }
}
