//! Retained messages for a client that has subscribed: those of one filter at a time, so that they are
//! bounded by what there is, whatever the client subscribes to.

use std::{collections::VecDeque, sync::Arc};

use postern_core::mqtt::{OutgoingPublish, Publication, SubscriptionOptions, TopicFilter};

use crate::mqtt::{Broker, sys};

/// Takes no memory while there is nothing.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// Whose messages were not looked up yet.
    filters: VecDeque<(TopicFilter, SubscriptionOptions)>,
    messages: VecDeque<Arc<Publication>>,
    /// Of the filter that `messages` are of.
    options: SubscriptionOptions,
}

impl Retained {
    /// Whether another filter may wait.
    pub(super) fn has_room(&self, filters_max: usize) -> bool {
        self.filters.len() < filters_max
    }

    /// The messages of a filter are wanted. One that waits already does so with its last options.
    pub(super) fn push(&mut self, filter: TopicFilter, options: SubscriptionOptions) {
        let known = self.filters.iter_mut().find(|(known, _)| *known == filter);
        match known {
            Some((_, known)) => *known = options,
            None => self.filters.push_back((filter, options)),
        }
    }

    /// The next message.
    pub(super) fn pop(&mut self, broker: &Broker) -> Option<OutgoingPublish> {
        while self.messages.is_empty() {
            let Some((filter, options)) = self.filters.pop_front() else {
                *self = Self::default();
                return None;
            };
            self.options = options;
            self.messages.extend(sys::retained(broker, &filter));
            let store = &broker.shared.store;
            store.retained(&filter, &mut |publication| {
                self.messages.push_back(publication)
            });
        }
        let publication = self.messages.pop_front()?;
        let qos = publication.qos.min(self.options.qos);
        let mut outgoing = OutgoingPublish::new(publication, qos);
        // What is retained says so, whatever the subscription says of it (section 3.3.1.3).
        outgoing.is_retained = true;
        outgoing.subscription_ids = self.options.id.map(|id| Arc::from([id]));
        Some(outgoing)
    }

    /// Puts back what was popped and could not be sent.
    pub(super) fn push_front(&mut self, outgoing: OutgoingPublish) {
        self.messages.push_front(outgoing.publication);
    }
}
