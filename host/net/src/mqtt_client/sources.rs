//! Readers of a client's messages that came later than the client: each has patterns and a bounded
//! queue, and the client asks the broker for what they want together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    event::{Delivery, Event, Mailbox, QueueBounds, TopicPattern},
};

use super::mapping::filter_of;

/// All readers of a client.
#[derive(Debug, Default)]
pub(super) struct Sources {
    readers: Mutex<BTreeMap<u64, Reader>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Reader {
    patterns: Vec<TopicPattern>,
    mailbox: Arc<Mailbox>,
}

impl Sources {
    pub(super) fn add(
        &self,
        patterns: Vec<TopicPattern>,
        queue: QueueBounds,
    ) -> (u64, Arc<Mailbox>) {
        let id = self.next_id.fetch_add(1, Relaxed);
        let mailbox = Arc::new(Mailbox::new(queue));
        let reader = Reader {
            patterns,
            mailbox: Arc::clone(&mailbox),
        };
        self.readers.lock().insert(id, reader);
        (id, mailbox)
    }

    /// Gives an event to every reader that wants its topic.
    pub(super) fn offer(&self, event: &Event) {
        let readers = self.readers.lock();
        for reader in readers.values() {
            let mut patterns = reader.patterns.iter();
            if patterns.any(|pattern| pattern.matches(&event.topic)) {
                let delivery = Delivery {
                    event: event.clone(),
                    missed: 0,
                    subscription: Text::default(),
                };
                reader.mailbox.push(delivery);
            }
        }
    }

    /// Filters that the readers want together.
    pub(super) fn filters(&self) -> Vec<Text> {
        let readers = self.readers.lock();
        let patterns = readers.values().flat_map(|reader| &reader.patterns);
        let mut filters: Vec<_> = patterns.map(filter_of).collect();
        filters.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        filters.dedup();
        filters
    }

    pub(super) fn is_empty(&self) -> bool {
        self.readers.lock().is_empty()
    }

    /// Filters that nobody wants any more.
    pub(super) fn remove(&self, id: u64) -> Vec<Text> {
        let removed = self.readers.lock().remove(&id);
        let left = self.filters();
        let patterns = removed.iter().flat_map(|reader| &reader.patterns);
        let filters = patterns.map(filter_of);
        filters.filter(|filter| !left.contains(filter)).collect()
    }

    /// No more will come.
    pub(super) fn close(&self) {
        for reader in self.readers.lock().values() {
            reader.mailbox.close();
        }
    }
}
