//! Who is on the lists of a hub: admitted, added and removed under its lock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    config::HubConfig,
    subscriber::{Changing, Subscriber, SubscriberKind, Wanted},
};
use crate::{
    error::{Blame, Error, Kind},
    event::{EventCounts, Mailbox, QueueBounds, SubscriptionTable, TopicPattern},
    text::Text,
};

#[derive(Debug)]
pub(super) struct HubState {
    pub config: HubConfig,
    pub table: SubscriptionTable<Wanted>,
    pub subscribers: BTreeMap<u64, Arc<Subscriber>>,
    pub owners: HashMap<Text, usize>,
    pub next_id: u64,
    /// Of subscriptions that have ended.
    pub ended: EventCounts,
}

impl HubState {
    /// Puts a subscriber on every list but the table. Its topics are there once each.
    pub(super) fn add(
        &mut self,
        owner: &Text,
        topics: Vec<TopicPattern>,
        queue: Option<QueueBounds>,
        kind: SubscriberKind,
    ) -> Arc<Subscriber> {
        let queue = queue.unwrap_or(self.config.queue);
        let (on_end, changing) = match kind {
            SubscriberKind::Plain => (None, None),
            SubscriberKind::Fed(on_end) => (Some(on_end), None),
            SubscriberKind::Changing => (None, Some(Changing::new(queue))),
        };
        let id = self.next_id;
        self.next_id += 1;
        let subscriber = Arc::new(Subscriber {
            id,
            name: id.to_string().into(),
            owner: Text::from(owner.as_str()),
            topics,
            mailbox: Mailbox::new(queue),
            on_end: Mutex::new(on_end),
            changing,
        });
        self.subscribers.insert(id, Arc::clone(&subscriber));
        *self.owners.entry(subscriber.owner.clone()).or_insert(0) += 1;
        subscriber
    }

    /// Whether `owner` may have one more.
    pub(super) fn admit(&self, owner: &Text, n_topics: usize) -> Result<(), Error> {
        let config = &self.config;
        let limit = config.topics_max;
        if n_topics == 0 {
            return Err(Error::invalid_argument("a subscription needs a topic"));
        }
        if n_topics > limit {
            return Err(Error::invalid_argument(format!(
                "{n_topics} topics exceed the limit of {limit} for one subscription"
            )));
        }
        let full = |message| Err(Error::new(Kind::ResourceExhausted, Blame::Client, message));
        let limit = config.subscriptions_per_owner_max;
        if self.owners.get(owner).is_some_and(|n| *n >= limit) || limit == 0 {
            return full(format!(
                "the session has {limit} subscriptions, which is the limit"
            ));
        }
        let limit = config.subscriptions_max;
        if self.subscribers.len() >= limit {
            return full(format!("all {limit} subscriptions are in use"));
        }
        Ok(())
    }

    /// Takes a subscriber off every list. What waits for it counts as dropped.
    pub(super) fn remove(&mut self, id: u64) -> Option<Arc<Subscriber>> {
        let subscriber = self.subscribers.remove(&id)?;
        for pattern in &subscriber.topics {
            self.table.remove(pattern, id);
        }
        for (pattern, key) in subscriber.changing_entries() {
            self.table.remove(&pattern, key);
        }
        if let Some(n) = self.owners.get_mut(&subscriber.owner) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.owners.remove(&subscriber.owner);
            }
        }
        subscriber.discard();
        let on_end = subscriber.on_end.lock();
        let on_end = on_end.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_end) = on_end {
            on_end();
        }
        self.ended.add(subscriber.counts());
        Some(subscriber)
    }
}
