//! Events for those who look at a gateway.

use serde::Serialize;

use super::EventService;

/// For the admin listener.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventsView {
    pub published: u64,
    pub unheard: u64,
    pub refused: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub queued: u64,
    pub subscriptions: Vec<SubscriptionView>,
    pub topics: Vec<TopicView>,
}

/// One subscription.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SubscriptionView {
    pub id: String,
    /// The session, the plugin as `plugin NAME`, or the caller's address.
    pub owner: String,
    pub topics: Vec<String>,
    pub delivered: u64,
    pub dropped: u64,
    pub queued: u64,
    pub queued_bytes: usize,
}

/// One pattern that somebody wants.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TopicView {
    pub pattern: String,
    pub subscribers: usize,
    /// Events that it matched since it was first subscribed to.
    pub matched: u64,
}

impl EventService {
    #[must_use]
    pub(crate) fn view(&self) -> EventsView {
        let totals = self.hub.totals();
        let subscriptions = self.hub.subscriptions().into_iter();
        let patterns = self.hub.patterns().into_iter();
        EventsView {
            published: totals.published,
            unheard: totals.unheard,
            refused: totals.refused,
            delivered: totals.delivered,
            dropped: totals.dropped,
            queued: totals.queued,
            subscriptions: subscriptions
                .map(|info| SubscriptionView {
                    id: info.id.to_string(),
                    owner: info.owner.to_string(),
                    topics: info.topics.iter().map(ToString::to_string).collect(),
                    delivered: info.counts.delivered,
                    dropped: info.counts.dropped,
                    queued: info.counts.queued,
                    queued_bytes: info.queued_bytes,
                })
                .collect(),
            topics: patterns
                .map(|info| TopicView {
                    pattern: info.pattern.to_string(),
                    subscribers: info.n_values,
                    matched: info.n_matched,
                })
                .collect(),
        }
    }
}
