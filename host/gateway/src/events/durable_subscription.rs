//! Durable subscriptions of sessions and streams: events come out of the logs under a name that outlives
//! the session, and go again until they are acknowledged.
//!
//! ```text
//! log ─▶ consumer NAME ─▶ feed ─▶ session or stream ─▶ client
//!            ▲                                           │ events/acknowledge, events/refuse
//!            └───────────────────────────────────────────┘
//! ```
//! A delivery is called `SUBSCRIPTION-MEMBER-POSITION`; only who has subscribed can speak of it.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind, Principal, Text,
    event::{
        EventFeed, Hub, QueueBounds, Subscription, TopicPattern,
        durable::{ConsumerStart, EventConsumer, Position, Redelivery},
    },
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{consuming::told, topics::DurableTopics};

/// Every durable subscription that is under way, by its id.
#[derive(Debug, Default)]
pub(super) struct DurableSubscriptions {
    by_id: Mutex<HashMap<Text, DurableSubscription>>,
}

#[derive(Debug)]
struct DurableSubscription {
    owner: Text,
    members: Arc<Vec<Box<dyn EventConsumer>>>,
    _pumping: AbortOnDropHandle<()>,
}

/// What a subscriber asks for.
#[derive(Debug)]
pub(super) struct DurableWish {
    pub owner: Text,
    pub name: Text,
    pub patterns: Vec<TopicPattern>,
    pub start: ConsumerStart,
    /// Events that may wait for the subscriber, where its transport has a bound.
    pub queue_max: Option<usize>,
}

/// An event as its subscriber calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DeliveryId {
    subscription: Text,
    member: usize,
    position: Position,
}

impl DurableSubscriptions {
    /// Subscribes under a durable name. Must be called on a runtime.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        hub: &Hub,
        topics: &DurableTopics,
        wish: DurableWish,
    ) -> Result<Subscription, Error> {
        let durable = topics.matching(&wish.patterns);
        if durable.is_empty() {
            let wanted: Vec<_> = wish.patterns.iter().map(TopicPattern::as_str).collect();
            let message = format!(
                "no durable topic matches {}; subscribe without a durable name, or write a table \
                 [topics.\"...\"] with delivery = \"at-least-once\"",
                wanted.join(", ")
            );
            return Err(Error::new(Kind::FailedPrecondition, Blame::Client, message));
        }
        let mut members = Vec::new();
        for topic in durable {
            let (name, patterns) = (wish.name.clone(), wish.patterns.clone());
            let mut settings = topic.consumers.settings(name, patterns, wish.start);
            let most = wish.queue_max.unwrap_or(usize::MAX).max(1);
            settings.in_flight_max = settings.in_flight_max.min(most);
            members.push(topic.log.consumer(settings).await?);
        }
        // What may be in flight is the bound, so that nothing is dropped here.
        let queue = QueueBounds {
            events_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let end = CancellationToken::new();
        let on_end = {
            let end = end.clone();
            Box::new(move || end.cancel())
        };
        let (owner, patterns) = (&wish.owner, wish.patterns);
        let (subscription, feed) = hub.subscribe_fed(owner, patterns, queue, on_end)?;
        let id = subscription.id().clone();
        let members = Arc::new(members);
        let pump = Pump {
            subscriptions: Arc::clone(self),
            id: id.clone(),
            members: Arc::clone(&members),
            feed,
            end,
        };
        // Locked, so that the pump cannot end before it is there.
        let mut by_id = self.by_id.lock();
        by_id.insert(
            id,
            DurableSubscription {
                owner: wish.owner,
                members,
                _pumping: AbortOnDropHandle::new(tokio::spawn(pump.run())),
            },
        );
        drop(by_id);
        Ok(subscription)
    }

    /// Acknowledges deliveries. Says how many were still waited for.
    pub(super) async fn acknowledge(&self, owner: &Text, ids: &[String]) -> Result<u64, Error> {
        if ids.len() > ACKNOWLEDGED_MAX {
            return Err(Error::invalid_argument(format!(
                "{} deliveries exceed the limit of {ACKNOWLEDGED_MAX} at a time",
                ids.len()
            )));
        }
        let mut by_member = HashMap::<(Text, usize), Vec<Position>>::new();
        for id in ids {
            let DeliveryId {
                subscription,
                member,
                position,
            } = DeliveryId::read(id)?;
            let positions = by_member.entry((subscription, member)).or_default();
            positions.push(position);
        }
        let mut writing = Vec::new();
        for ((subscription, member), positions) in by_member {
            let members = self.members(owner, &subscription)?;
            if let Some(member) = members.get(member) {
                writing.push(member.acknowledge(positions));
            }
        }
        let mut n_acknowledged = 0;
        for written in join_all(writing).await {
            n_acknowledged += written?;
        }
        Ok(n_acknowledged)
    }

    pub(super) async fn refuse(
        &self,
        owner: &Text,
        id: &str,
        redelivery: Redelivery,
        reason: Text,
    ) -> Result<(), Error> {
        let id = DeliveryId::read(id)?;
        let members = self.members(owner, &id.subscription)?;
        match members.get(id.member) {
            Some(member) => member.refuse(id.position, redelivery, reason).await,
            None => Err(unknown(&id.subscription)),
        }
    }

    fn members(
        &self,
        owner: &Text,
        subscription: &Text,
    ) -> Result<Arc<Vec<Box<dyn EventConsumer>>>, Error> {
        let by_id = self.by_id.lock();
        let known = by_id.get(subscription).filter(|one| one.owner == *owner);
        let known = known.ok_or_else(|| unknown(subscription))?;
        Ok(Arc::clone(&known.members))
    }
}

/// Moves events out of consumers into a subscription.
struct Pump {
    subscriptions: Arc<DurableSubscriptions>,
    id: Text,
    members: Arc<Vec<Box<dyn EventConsumer>>>,
    feed: EventFeed,
    end: CancellationToken,
}

impl Pump {
    async fn run(self) {
        let moving = (0..).zip(self.members.iter());
        let moving = join_all(moving.map(|(idx, member)| self.move_events(idx, &**member)));
        tokio::select! {
            () = self.end.cancelled() => {}
            _ = moving => {}
        }
        // Its members go with it, and release what was not acknowledged.
        let ended = self.subscriptions.by_id.lock().remove(&self.id);
        drop(self.members);
        drop(ended);
    }

    async fn move_events(&self, idx: usize, member: &dyn EventConsumer) {
        let id = &self.id;
        loop {
            let events = match member.take(TAKEN_MAX).await {
                Ok(events) => events,
                Err(error) if error.kind == Kind::NotFound => return,
                Err(error) => {
                    tracing::warn!(subscription = %id, %error, "no events out of the log, it is asked again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            for stored in events {
                let delivery = format!("{id}-{idx}-{}", stored.position);
                if !self.feed.push(told(stored, Some(delivery))) {
                    return;
                }
            }
        }
    }
}

impl DeliveryId {
    fn read(text: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().unwrap_or_default();
        let (subscription, member, position) = (part(), part().parse(), part().parse());
        let (Ok(member), Ok(position)) = (member, position) else {
            let shown: String = text.escape_debug().take(SHOWN_CHARS_MAX).collect();
            let message = format!("{shown:?} is no delivery; it is what the header delivery says");
            return Err(Error::invalid_argument(message));
        };
        Ok(Self {
            subscription: subscription.into(),
            member,
            position: Position(position),
        })
    }
}

/// The name of a client's consumer: those of one principal are apart from those of another, and from
/// those of plugins.
pub(super) fn consumer_name(name: &str, principal: Option<&Principal>) -> Result<Text, Error> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_allowed) {
        let shown: String = name.escape_debug().take(SHOWN_CHARS_MAX).collect();
        return Err(Error::invalid_argument(format!(
            "{shown:?} is not a durable name of 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes and underscores"
        )));
    }
    Ok(match principal {
        Some(principal) => format!("{}/{name}", principal.name).into(),
        None => name.into(),
    })
}

fn unknown(subscription: &Text) -> Error {
    let shown: String = subscription.escape_debug().take(SHOWN_CHARS_MAX).collect();
    Error::not_found(format!(
        "this session has no durable subscription {shown}; what it had not acknowledged comes again"
    ))
}

/// Events that are taken at a time.
const TAKEN_MAX: usize = 64;
const ACKNOWLEDGED_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 100;
/// Of a stranger's text, shown back to it.
const SHOWN_CHARS_MAX: usize = 64;
/// Before a log that failed is asked again.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
