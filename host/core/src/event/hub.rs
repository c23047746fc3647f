//! Who subscribed to what. Publishing puts an event into mailboxes and wakes their readers; it runs
//! none of them and waits for none.
//!
//! One publisher's events reach each subscriber in the order in which it published them. Nothing is
//! said about the order between publishers.

mod changing;
mod config;
mod publishing;
mod state;
mod subscriber;

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{self, Poll},
};

use futures_core::Stream;
use smallvec::SmallVec;

pub use self::{changing::ChangingSubscription, config::HubConfig, subscriber::EndNotice};
use self::{
    state::HubState,
    subscriber::{Subscriber, SubscriberKind, Wanted},
};
use super::{
    Delivery, Event, EventTap,
    pattern::TopicPattern,
    queue::{EventCounts, QueueBounds},
    table::{PatternInfo, SubscriptionTable},
};
use crate::{error::Error, text::Text};

/// All subscriptions of a gateway. Clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// Where somebody else puts the events of a subscription that no publisher reaches: those of a durable
/// name, which come out of a log.
#[derive(Debug)]
pub struct EventFeed {
    subscriber: Weak<Subscriber>,
}

/// One subscriber's end. It is a stream; dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    subscriber: Arc<Subscriber>,
}

/// Numbers of all subscriptions, those that have ended included. An event counts once per
/// subscription that it was for: `offered` is `delivered + dropped + queued`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubTotals {
    /// Events taken from publishers.
    pub published: u64,
    /// Of these, events that nobody had subscribed to.
    pub unheard: u64,
    /// Refused: no topic, too large, too deep.
    pub refused: u64,
    pub offered: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub queued: u64,
    /// Subscriptions at present.
    pub subscriptions: u64,
}

/// One subscription, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionInfo {
    pub id: Text,
    pub owner: Text,
    pub topics: Vec<TopicPattern>,
    pub counts: EventCounts,
    /// Octets that wait.
    pub queued_bytes: usize,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<HubState>,
    published: AtomicU64,
    unheard: AtomicU64,
    refused: AtomicU64,
    offered: AtomicU64,
    tap: OnceLock<Arc<dyn EventTap>>,
}

/// Subscribers, and how often each is wanted.
type Found = SmallVec<[(Arc<Subscriber>, u32); 8]>;

impl Hub {
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        let state = HubState {
            config,
            table: SubscriptionTable::new(),
            subscribers: BTreeMap::new(),
            owners: HashMap::new(),
            next_id: 1,
            ended: EventCounts::default(),
        };
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(state),
                published: AtomicU64::new(0),
                unheard: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                offered: AtomicU64::new(0),
                tap: OnceLock::new(),
            }),
        }
    }

    /// What begins from here on is held to `config`; subscriptions keep the bounds they began with.
    pub fn apply(&self, config: HubConfig) {
        self.write().config = config;
    }

    /// What may wait for a subscription that begins without bounds of its own.
    #[must_use]
    pub fn queue(&self) -> QueueBounds {
        self.read().config.queue
    }

    /// Subscribes `owner` to every topic that one of `topics` matches; an event that several match
    /// comes once. `queue` is what may wait; none takes that of the configuration.
    ///
    /// # Errors
    /// `resource-exhausted` when the owner or all owners have too many subscriptions,
    /// `invalid-argument` for no topics or too many.
    pub fn subscribe(
        &self,
        owner: &Text,
        mut topics: Vec<TopicPattern>,
        queue: Option<QueueBounds>,
    ) -> Result<Subscription, Error> {
        topics.sort_unstable();
        topics.dedup();
        let mut state = self.write();
        state.admit(owner, topics.len())?;
        let subscriber = state.add(owner, topics, queue, SubscriberKind::Plain);
        for pattern in &subscriber.topics {
            let wanted = Wanted::all(&subscriber);
            state.table.insert(pattern, subscriber.id, wanted);
        }
        drop(state);
        Ok(Subscription {
            hub: self.clone(),
            subscriber,
        })
    }

    /// As `subscribe`, but no publisher reaches the subscription: its events come by the feed.
    ///
    /// # Errors
    /// As `subscribe`.
    pub fn subscribe_fed(
        &self,
        owner: &Text,
        mut topics: Vec<TopicPattern>,
        queue: QueueBounds,
        on_end: EndNotice,
    ) -> Result<(Subscription, EventFeed), Error> {
        topics.sort_unstable();
        topics.dedup();
        let mut state = self.write();
        state.admit(owner, topics.len())?;
        let kind = SubscriberKind::Fed(on_end);
        let subscriber = state.add(owner, topics, Some(queue), kind);
        drop(state);
        let feed = EventFeed {
            subscriber: Arc::downgrade(&subscriber),
        };
        let hub = self.clone();
        Ok((Subscription { hub, subscriber }, feed))
    }

    /// Ends the subscription `id` of `owner`; what waits for it is dropped, and its stream ends.
    /// False when that owner has none of that id.
    #[must_use]
    pub fn unsubscribe(&self, owner: &str, id: &str) -> bool {
        let Ok(number) = id.parse() else { return false };
        let mut state = self.write();
        let is_known = state
            .subscribers
            .get(&number)
            .is_some_and(|subscriber| subscriber.owner == owner && subscriber.name == id);
        let removed = is_known.then(|| state.remove(number)).flatten();
        drop(state);
        removed.is_some()
    }

    /// Ends every subscription, so that nothing that waits for events holds up a shutdown.
    pub fn end_all(&self) {
        let mut state = self.write();
        let ids: Vec<_> = state.subscribers.keys().copied().collect();
        let removed: Vec<_> = ids.into_iter().filter_map(|id| state.remove(id)).collect();
        drop(state);
        drop(removed);
    }

    #[must_use]
    pub fn totals(&self) -> HubTotals {
        let state = self.read();
        let mut counts = state.ended;
        for subscriber in state.subscribers.values() {
            counts.add(subscriber.counts());
        }
        HubTotals {
            published: self.shared.published.load(Relaxed),
            unheard: self.shared.unheard.load(Relaxed),
            refused: self.shared.refused.load(Relaxed),
            offered: self.shared.offered.load(Relaxed),
            delivered: counts.delivered,
            dropped: counts.dropped,
            queued: counts.queued,
            subscriptions: state.subscribers.len() as u64,
        }
    }

    /// Every subscription, the oldest first.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        let state = self.read();
        state
            .subscribers
            .values()
            .map(|subscriber| subscriber.info())
            .collect()
    }

    /// Every pattern that somebody wants, in order.
    #[must_use]
    pub fn patterns(&self) -> Vec<PatternInfo> {
        self.read().table.patterns()
    }

    fn read(&self) -> RwLockReadGuard<'_, HubState> {
        // No panic is possible between two changes that belong together.
        self.shared
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HubState> {
        self.shared
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn n_owners(&self) -> usize {
        self.read().owners.len()
    }

    /// Whoever is to get `event`, once each, with the times that it is told.
    fn subscribers_of(&self, event: &Event) -> Result<Found, Error> {
        let state = self.read();
        state.config.check(event)?;
        let mut found = SmallVec::<[(Arc<Subscriber>, u32); 8]>::new();
        state.table.find(&event.topic, |_, wanted| {
            found.extend(wanted.subscriber_to(&event.topic).map(|one| (one, 1)));
        });
        drop(state);
        found.sort_unstable_by_key(|(subscriber, _)| subscriber.id);
        found.dedup_by(|(later, _), (subscriber, n_times)| {
            let is_same = later.id == subscriber.id;
            *n_times += u32::from(is_same && subscriber.changing.is_some());
            is_same
        });
        Ok(found)
    }
}

impl Subscriber {
    fn info(&self) -> SubscriptionInfo {
        SubscriptionInfo {
            id: self.name.clone(),
            owner: self.owner.clone(),
            topics: self.all_topics(),
            counts: self.counts(),
            queued_bytes: self.queued_bytes(),
        }
    }
}

impl EventFeed {
    /// Hands an event over. False once the subscription has ended.
    #[must_use]
    pub fn push(&self, event: Event) -> bool {
        let Some(subscriber) = self.subscriber.upgrade() else {
            return false;
        };
        subscriber.mailbox.push(Delivery {
            event,
            missed: 0,
            subscription: subscriber.name.clone(),
        })
    }
}

impl Subscription {
    /// Decimal digits; unique within the hub.
    #[must_use]
    pub fn id(&self) -> &Text {
        &self.subscriber.name
    }

    /// The delivery that was taken last did not reach the subscriber: it counts as dropped, and is
    /// told as missed with the next.
    pub fn on_undelivered(&self, delivery: &Delivery) {
        self.subscriber.mailbox.on_undelivered(delivery.missed);
    }

    /// The next event; `None` once the subscription has ended.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Delivery>> {
        self.subscriber.mailbox.poll_take(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let removed = self.hub.write().remove(self.subscriber.id);
        drop(removed);
    }
}

impl EventCounts {
    fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.queued += other.queued;
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(HubConfig::default())
    }
}
