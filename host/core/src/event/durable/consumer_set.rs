//! All consumers of a log: who wants which event, and how long it has to be kept for them.
//!
//! | retention | an event goes | a consumer finds its events |
//! |---|---|---|
//! | `Limits` | by age, number and octets | by looking through the log |
//! | `Interest` | once all that wanted it have acknowledged it | in a queue of positions |

use std::collections::{BTreeMap, HashMap, VecDeque};

use smallvec::SmallVec;

use super::{
    ConsumerSettings, ConsumerStart, OrderKey, Position, consumer::ConsumerState,
    record::RecordError,
};
use crate::{event::SubscriptionTable, text::Text};

/// How long a log keeps its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Until they are too old, too many or too large.
    Limits,
    /// Until every consumer that wanted them has acknowledged them; the limits hold beside that. At most
    /// `pending_max` events wait for one consumer: of more, its oldest are lost to it.
    Interest { pending_max: usize },
}

/// A consumer of a set, as long as the gateway runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);

/// The consumers of one log.
#[derive(Debug)]
pub struct ConsumerSet {
    retention: Retention,
    consumers: HashMap<ConsumerId, QueuedConsumer>,
    names: BTreeMap<Text, ConsumerId>,
    index: SubscriptionTable<()>,
    /// By interest: how many consumers still want an event.
    holders: BTreeMap<Position, u32>,
    /// By interest: events that nobody wants any more and that are still in the store.
    freed: Vec<Position>,
    next: u64,
}

#[derive(Debug)]
struct QueuedConsumer {
    state: ConsumerState,
    /// By interest: its events that it has not looked at.
    queue: VecDeque<(Position, OrderKey)>,
}

impl ConsumerSet {
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            consumers: HashMap::new(),
            names: BTreeMap::new(),
            index: SubscriptionTable::new(),
            holders: BTreeMap::new(),
            freed: Vec::new(),
            next: 1,
        }
    }

    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Whether a consumer would get an event of `topic`.
    #[must_use]
    pub fn wants(&self, topic: &str) -> bool {
        self.index.has(topic)
    }

    /// The consumer of that name, with these settings; made where there is none. `last` is the log's newest
    /// position. Says also whether there is something new to store of it.
    pub fn open(&mut self, mut settings: ConsumerSettings, last: Position) -> (ConsumerId, bool) {
        if let Some(id) = self.names.get(&settings.name).copied()
            && let Some(consumer) = self.consumers.get_mut(&id)
        {
            let before = consumer.state.settings().patterns.clone();
            let is_changed = consumer.state.apply(settings, last);
            if is_changed {
                let after = consumer.state.settings().patterns.clone();
                for pattern in before.iter().filter(|pattern| !after.contains(pattern)) {
                    self.index.remove(pattern, id.0);
                }
                for pattern in &after {
                    self.index.insert(pattern, id.0, ());
                }
            }
            return (id, is_changed);
        }
        if matches!(self.retention, Retention::Interest { .. }) {
            // What nobody wanted is not there.
            settings.start = ConsumerStart::New;
        }
        (self.insert(ConsumerState::new(settings, last)), true)
    }

    /// A consumer as it was stored.
    ///
    /// # Errors
    /// What is wrong with the octets.
    pub fn restore(&mut self, name: Text, octets: &[u8]) -> Result<ConsumerId, RecordError> {
        let state = ConsumerState::decode(name, octets)?;
        Ok(self.insert(state))
    }

    /// An event as it was stored, by interest; the oldest first, all consumers restored.
    pub fn restore_event(&mut self, position: Position, topic: &str, key: OrderKey) {
        self.hold(position, topic, key, |state| {
            state.wants(position, topic) && !state.is_acknowledged(position)
        });
    }

    /// An event has been stored. Calls `told` with each consumer that wants it.
    pub fn on_stored(
        &mut self,
        position: Position,
        topic: &str,
        key: OrderKey,
        mut told: impl FnMut(ConsumerId),
    ) {
        match self.retention {
            Retention::Limits => self.find(topic).into_iter().for_each(told),
            Retention::Interest { .. } => {
                let holders = self.hold(position, topic, key, |state| {
                    state.wants_matching(position, topic)
                });
                holders.into_iter().for_each(&mut told);
            }
        }
    }

    /// Forgets a consumer. What only it wanted is freed.
    pub fn remove(&mut self, name: &Text) -> Option<ConsumerId> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers.remove(&id)?;
        for pattern in &consumer.state.settings().patterns {
            self.index.remove(pattern, id.0);
        }
        let queued = consumer.queue.iter().map(|(position, _)| *position);
        for position in consumer.state.positions().chain(queued) {
            self.let_go(position);
        }
        Some(id)
    }

    #[must_use]
    pub fn state(&self, id: ConsumerId) -> Option<&ConsumerState> {
        self.consumers.get(&id).map(|consumer| &consumer.state)
    }

    pub fn state_mut(&mut self, id: ConsumerId) -> Option<&mut ConsumerState> {
        self.consumers
            .get_mut(&id)
            .map(|consumer| &mut consumer.state)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, ConsumerId)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    /// Whether one more of that name would be one too many of `n_max`.
    #[must_use]
    pub fn is_full_for(&self, name: &Text, n_max: usize) -> bool {
        self.names.len() >= n_max && !self.names.contains_key(name)
    }

    /// Has the consumer look at as many events of its queue as it can give out; by limits it has none.
    pub fn look(&mut self, id: ConsumerId, wanted: usize) {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return;
        };
        while consumer.state.room(wanted) > 0
            && let Some((position, key)) = consumer.queue.pop_front()
        {
            // The limits may have taken it meanwhile.
            if self.holders.contains_key(&position) {
                consumer.state.offer(position, key);
            } else {
                consumer.state.on_passed_over();
            }
        }
    }

    /// Says how many of these events had been given out.
    pub fn acknowledge(&mut self, id: ConsumerId, positions: &[Position]) -> u64 {
        let mut n_acknowledged = 0;
        for position in positions {
            let state = self.state_mut(id);
            if state.is_some_and(|state| state.acknowledge(*position)) {
                n_acknowledged += 1;
                self.let_go(*position);
            }
        }
        n_acknowledged
    }

    /// The event's dead letter is kept.
    pub fn on_dead_letter_kept(&mut self, id: ConsumerId, position: Position) {
        if let Some(state) = self.state_mut(id) {
            state.on_dead_letter_kept(position);
            self.let_go(position);
        }
    }

    /// The limits have taken an event out of the store.
    pub fn on_removed(&mut self, position: Position) {
        self.holders.remove(&position);
    }

    /// Events that nobody wants any more, to be taken out of the store.
    #[must_use]
    pub fn take_freed(&mut self) -> Vec<Position> {
        std::mem::take(&mut self.freed)
    }

    #[must_use]
    pub const fn has_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// They could not be taken out.
    pub fn give_back_freed(&mut self, mut freed: Vec<Position>) {
        self.freed.append(&mut freed);
    }

    /// Events that wait for the consumer's members. By limits an upper bound: the log's events of other
    /// topics that it has not looked at yet count as well.
    #[must_use]
    pub fn n_pending(&self, id: ConsumerId, last: Position) -> u64 {
        let Some(consumer) = self.consumers.get(&id) else {
            return 0;
        };
        let ahead = match self.retention {
            Retention::Limits => last.0.saturating_sub(consumer.state.looked().0),
            Retention::Interest { .. } => consumer.queue.len() as u64,
        };
        ahead + consumer.state.n_waiting() as u64
    }

    fn insert(&mut self, state: ConsumerState) -> ConsumerId {
        let id = ConsumerId(self.next);
        self.next += 1;
        for pattern in &state.settings().patterns {
            self.index.insert(pattern, id.0, ());
        }
        self.names.insert(state.settings().name.clone(), id);
        let queue = VecDeque::new();
        self.consumers.insert(id, QueuedConsumer { state, queue });
        id
    }

    /// Consumers of whose patterns one matches, each once.
    fn find(&self, topic: &str) -> SmallVec<[ConsumerId; 8]> {
        let mut found = SmallVec::<[ConsumerId; 8]>::new();
        self.index.find(topic, |id, ()| found.push(ConsumerId(id)));
        found.sort_unstable();
        found.dedup();
        found
    }

    fn hold(
        &mut self,
        position: Position,
        topic: &str,
        key: OrderKey,
        wants: impl Fn(&ConsumerState) -> bool,
    ) -> SmallVec<[ConsumerId; 8]> {
        let Retention::Interest { pending_max } = self.retention else {
            return SmallVec::new();
        };
        let mut holders = self.find(topic);
        holders.retain(|id| self.consumers.get(id).is_some_and(|one| wants(&one.state)));
        let Some(n_holders) = u32::try_from(holders.len()).ok().filter(|n| *n > 0) else {
            self.freed.push(position);
            return holders;
        };
        self.holders.insert(position, n_holders);
        for id in &holders {
            let Some(consumer) = self.consumers.get_mut(id) else {
                continue;
            };
            consumer.queue.push_back((position, key));
            if consumer.queue.len() > pending_max
                && let Some((lost, _)) = consumer.queue.pop_front()
            {
                consumer.state.on_passed_over();
                self.let_go(lost);
            }
        }
        holders
    }

    /// One consumer less wants the event.
    fn let_go(&mut self, position: Position) {
        let Some(n) = self.holders.get_mut(&position) else {
            return;
        };
        *n -= 1;
        if *n == 0 {
            self.holders.remove(&position);
            self.freed.push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        event::{TopicPattern, durable::MemberId},
        testing::epoch,
    };

    fn settings(name: &str, patterns: &[&str]) -> ConsumerSettings {
        let pattern = |text: &&str| TopicPattern::new(text).expect("a pattern");
        ConsumerSettings {
            name: name.into(),
            patterns: patterns.iter().map(pattern).collect(),
            start: ConsumerStart::New,
            ack_wait: Duration::ZERO,
            back_off: Vec::new(),
            deliveries_max: 0,
            in_flight_max: 10,
            is_ordered: false,
        }
    }

    fn by_interest(pending_max: usize) -> ConsumerSet {
        ConsumerSet::new(Retention::Interest { pending_max })
    }

    fn store(set: &mut ConsumerSet, position: u64, topic: &str) -> Vec<u64> {
        let mut told = Vec::new();
        set.on_stored(Position(position), topic, OrderKey(0), |id| told.push(id.0));
        told
    }

    fn deliver(set: &mut ConsumerSet, id: ConsumerId) -> Vec<u64> {
        set.look(id, 10);
        let state = set.state_mut(id).expect("it is there");
        let given = state.deliver(epoch(), MemberId(1), 10);
        given.iter().map(|(position, _)| position.0).collect()
    }

    fn freed(set: &mut ConsumerSet) -> Vec<u64> {
        let mut freed: Vec<_> = set.take_freed().iter().map(|one| one.0).collect();
        freed.sort_unstable();
        freed
    }

    #[test]
    fn an_event_is_freed_by_the_last_that_wanted_it() {
        let mut set = by_interest(100);
        let (a, _) = set.open(settings("a", &["x.*", "x.1"]), Position(0));
        let (b, _) = set.open(settings("b", &["x.1"]), Position(0));
        assert!(set.wants("x.1") && !set.wants("y"));
        assert_eq!(store(&mut set, 1, "x.1"), [a.0, b.0]);
        assert_eq!(store(&mut set, 2, "x.2"), [a.0]);
        assert_eq!(store(&mut set, 3, "y"), [0; 0]);
        assert_eq!(freed(&mut set), [3]);
        assert_eq!(
            (deliver(&mut set, a), deliver(&mut set, b)),
            (vec![1, 2], vec![1])
        );
        assert_eq!(
            set.acknowledge(a, &[Position(1), Position(2), Position(2)]),
            2
        );
        assert_eq!(freed(&mut set), [2]);
        assert_eq!(set.acknowledge(b, &[Position(1)]), 1);
        assert_eq!(freed(&mut set), [1]);
    }

    #[test]
    fn a_consumer_that_is_removed_wants_nothing_any_more() {
        let mut set = by_interest(100);
        let (a, _) = set.open(settings("a", &[">"]), Position(0));
        for position in 1..=20 {
            store(&mut set, position, "t");
        }
        // Ten are in its window, ten in its queue.
        assert_eq!(deliver(&mut set, a).len(), 10);
        assert_eq!(set.n_pending(a, Position(20)), 10);
        assert_eq!(set.remove(&"a".into()), Some(a));
        assert_eq!(set.remove(&"a".into()), None);
        assert_eq!(freed(&mut set), (1..=20).collect::<Vec<_>>());
        let (b, _) = set.open(settings("b", &[">"]), Position(20));
        assert!(!set.is_full_for(&"c".into(), 2) && set.is_full_for(&"c".into(), 1));
        assert!(!set.is_full_for(&"b".into(), 1), "{b:?} is there");
        set.remove(&"b".into());
        assert!(!set.wants("t"));
    }

    #[test]
    fn what_exceeds_a_queue_is_lost_to_that_consumer_alone() {
        let mut set = by_interest(2);
        let (a, _) = set.open(settings("a", &[">"]), Position(0));
        let (b, _) = set.open(settings("b", &[">"]), Position(0));
        store(&mut set, 1, "t");
        assert_eq!(deliver(&mut set, b), [1]);
        store(&mut set, 2, "t");
        store(&mut set, 3, "t");
        assert_eq!(deliver(&mut set, a), [2, 3]);
        assert_eq!(set.state(a).map(|one| one.counts().n_lost), Some(1));
        assert_eq!(freed(&mut set), [0; 0]);
        set.acknowledge(b, &[Position(1)]);
        assert_eq!(freed(&mut set), [1]);
    }

    #[test]
    fn a_pattern_that_comes_later_matches_what_is_stored_later() {
        let mut set = by_interest(100);
        let (b, _) = set.open(settings("b", &[">"]), Position(0));
        let (a, _) = set.open(settings("a", &["x"]), Position(0));
        store(&mut set, 1, "x");
        store(&mut set, 2, "y");
        let (again, is_changed) = set.open(settings("a", &["x", "y"]), Position(2));
        assert_eq!((again, is_changed), (a, true));
        assert!(!set.open(settings("a", &["x", "y"]), Position(2)).1);
        store(&mut set, 3, "y");
        // As the store has it after a restart.
        let stored = |id| set.state(id).expect("it is there").encode();
        let (a_record, b_record) = (stored(a), stored(b));
        assert_eq!(deliver(&mut set, a), [1, 3]);
        let mut again = by_interest(100);
        let a = again.restore("a".into(), &a_record).expect("as written");
        again.restore("b".into(), &b_record).expect("as written");
        for (position, topic) in [(1, "x"), (2, "y"), (3, "y")] {
            again.restore_event(Position(position), topic, OrderKey(0));
        }
        let (opened, is_changed) = again.open(settings("a", &["x", "y"]), Position(3));
        assert_eq!((opened, is_changed), (a, false));
        assert_eq!(deliver(&mut again, a), [1, 3]);
    }

    #[test]
    fn what_was_acknowledged_before_a_restart_is_freed_after_it() {
        let mut set = by_interest(100);
        let (a, _) = set.open(settings("a", &[">"]), Position(0));
        for position in 1..=3 {
            store(&mut set, position, "t");
        }
        deliver(&mut set, a);
        set.acknowledge(a, &[Position(1), Position(3)]);
        let record = set.state(a).expect("it is there").encode();
        let mut again = by_interest(100);
        let a = again.restore("a".into(), &record).expect("as written");
        for position in 1..=3 {
            again.restore_event(Position(position), "t", OrderKey(0));
        }
        assert_eq!(freed(&mut again), [1, 3]);
        again.open(settings("a", &[">"]), Position(3));
        assert_eq!(deliver(&mut again, a), [2]);
    }
}
