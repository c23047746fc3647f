//! One subscription of a hub, and what it stands under in the table.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{
    event::{EventCounts, Mailbox, QueueBounds, TopicPattern, shared_queue::SharedQueue},
    resp::glob_matches,
    text::Text,
};

/// Called once, when a subscription has ended. It runs under the hub's lock, so it only wakes others.
pub type EndNotice = Box<dyn FnOnce() + Send + Sync>;

/// One subscription, as the hub has it.
pub(super) struct Subscriber {
    pub id: u64,
    pub name: Text,
    pub owner: Text,
    /// Of one whose topics do not change.
    pub topics: Vec<TopicPattern>,
    /// Of one whose topics do not change.
    pub mailbox: Mailbox,
    /// Of one that is fed.
    pub on_end: Mutex<Option<EndNotice>>,
    /// Those of one whose topics change.
    pub changing: Option<Changing>,
}

/// How a subscriber comes by its events.
pub(super) enum SubscriberKind {
    /// From publishers, under topics that stay.
    Plain,
    /// From a feed; what follows its end is told.
    Fed(EndNotice),
    /// From publishers, under topics that change.
    Changing,
}

/// What a subscription asks for at present, and its events.
#[derive(Debug)]
pub(super) struct Changing {
    /// The key of each in the table is unique over all of them.
    wishes: Mutex<BTreeMap<Wish, (TopicPattern, u64)>>,
    pub queue: SharedQueue,
}

/// One thing asked for, as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Topic(Text),
    Glob(Bytes),
}

/// A subscriber below one of its patterns.
#[derive(Debug)]
pub(super) struct Wanted {
    pub subscriber: Arc<Subscriber>,
    /// Of those of the pattern, the topics that are wanted; none is all.
    pub glob: Option<Bytes>,
}

impl Wanted {
    pub(super) fn all(subscriber: &Arc<Subscriber>) -> Self {
        Self {
            subscriber: Arc::clone(subscriber),
            glob: None,
        }
    }

    pub(super) fn subscriber_to(&self, topic: &Text) -> Option<Arc<Subscriber>> {
        let is_wanted = match &self.glob {
            None => true,
            Some(glob) => glob_matches(glob, topic.as_bytes()),
        };
        is_wanted.then(|| Arc::clone(&self.subscriber))
    }
}

impl Changing {
    pub(super) const fn new(bounds: QueueBounds) -> Self {
        Self {
            wishes: Mutex::new(BTreeMap::new()),
            queue: SharedQueue::new(bounds),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Wish, (TopicPattern, u64)>> {
        // Nothing in here is half-changed.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// What it stands under in the table, where its topics change.
    pub(super) fn changing_entries(&self) -> Vec<(TopicPattern, u64)> {
        let changing = self.changing.as_ref();
        changing.map_or_else(Vec::new, |changing| {
            changing.lock().values().cloned().collect()
        })
    }

    pub(super) fn counts(&self) -> EventCounts {
        match &self.changing {
            Some(changing) => changing.queue.counts(),
            None => self.mailbox.counts(),
        }
    }

    /// Octets that wait.
    pub(super) fn queued_bytes(&self) -> usize {
        match &self.changing {
            Some(changing) => changing.queue.bytes(),
            None => self.mailbox.bytes(),
        }
    }

    /// Takes nothing any more, and drops what waits.
    pub(super) fn discard(&self) {
        self.mailbox.discard();
        if let Some(changing) = &self.changing {
            changing.queue.discard();
        }
    }

    pub(super) fn all_topics(&self) -> Vec<TopicPattern> {
        let entries = self.changing_entries().into_iter();
        let mut topics = self.topics.clone();
        topics.extend(entries.map(|(pattern, _)| pattern));
        topics
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
