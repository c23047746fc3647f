//! Events of a broker for one source.

use std::{future::poll_fn, sync::Arc};

use postern_core::{
    BoxFuture, Text,
    event::{Delivery, Event, Mailbox, QueueBounds, TopicPattern, broker::EventSource},
};

use super::keeper::Keeper;

/// The end of whoever reads. Dropping it ends the subscription when the next event comes.
#[derive(Debug)]
pub(super) struct Inbox {
    mailbox: Arc<Mailbox>,
    keeper: Arc<Keeper>,
}

/// The end of whoever has the connection.
#[derive(Debug, Clone)]
pub(super) struct InboxSender {
    pub(super) patterns: Arc<[TopicPattern]>,
    mailbox: Arc<Mailbox>,
}

pub(super) fn inbox(patterns: Vec<TopicPattern>, keeper: &Arc<Keeper>) -> (InboxSender, Inbox) {
    let mailbox = Arc::new(Mailbox::new(QueueBounds::default()));
    let sender = InboxSender {
        patterns: patterns.into(),
        mailbox: Arc::clone(&mailbox),
    };
    let keeper = Arc::clone(keeper);
    (sender, Inbox { mailbox, keeper })
}

impl InboxSender {
    /// False once nobody reads.
    pub(super) fn push(&self, event: Event, missed: u64) -> bool {
        self.mailbox.push(Delivery {
            event,
            missed,
            subscription: Text::default(),
        })
    }

    /// Whether somebody reads.
    pub(super) fn is_open(&self) -> bool {
        self.mailbox.is_open()
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    pub(super) fn patterns(&self) -> Vec<&str> {
        self.patterns.iter().map(TopicPattern::as_str).collect()
    }
}

impl EventSource for Inbox {
    fn next(&mut self) -> BoxFuture<Option<Event>> {
        let (mailbox, keeper) = (Arc::clone(&self.mailbox), Arc::clone(&self.keeper));
        Box::pin(async move {
            let delivery = poll_fn(|cx| mailbox.poll_take(cx)).await?;
            if delivery.missed > 0 {
                keeper.on_dropped(delivery.missed);
            }
            Some(delivery.event)
        })
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.mailbox.discard();
    }
}
