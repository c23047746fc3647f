//! Messages of a broker as events of this gateway, and what happens to its connections.
//!
//! A message is acknowledged when its event was accepted: stored where the topic is durable. One that
//! is refused for what it is will not be better next time, so it is acknowledged as well, with the
//! reason where MQTT 5 has room for it; one that cannot be stored at present is tried again and holds up
//! those behind it at the broker's receive maximum.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Kind, Origin, Peer, Principal, Text, Transport,
    channel::ExpectedEchoes,
    event::{Event, Publisher},
    mqtt::Reason,
};
use postern_net::mqtt_client::{BrokerMessage, BrokerObserver, event_of, event_topic_of};
use postern_system::clock;
use serde_json::json;
use tracing::{info, warn};

use super::{
    bridged_events::BridgedEvents,
    counts::BridgeCounts,
    route::{TopicRule, TopicRules},
    via::{BridgeMark, VIA, ViaVerdict},
};
use crate::config::bridges::RetainSetting;

/// What both directions of a bridge share.
#[derive(Debug)]
pub(super) struct BridgeShared {
    pub(super) name: Text,
    pub(super) url: String,
    pub(super) events: Arc<dyn BridgedEvents>,
    pub(super) rules: TopicRules,
    pub(super) mark: BridgeMark,
    pub(super) hops_max: usize,
    pub(super) counts: BridgeCounts,
    /// Where the broker may send back what it is sent, and cannot be asked not to.
    pub(super) sent: Option<Mutex<ExpectedEchoes>>,
}

/// The side that messages come in by.
#[derive(Debug)]
pub(super) struct Inbound {
    shared: Arc<BridgeShared>,
    publisher: Publisher,
}

impl Inbound {
    pub(super) fn new(shared: Arc<BridgeShared>) -> Self {
        let session = format!("bridge {}", shared.name);
        let peer = Peer::new(Transport::Tcp, Origin::Local).with_session(session.clone());
        let principal = Principal {
            name: session.into(),
            ..Principal::default()
        };
        let publisher = Publisher {
            principal: Some(Arc::new(principal)),
            ..Publisher::of(Arc::new(peer))
        };
        Self { shared, publisher }
    }

    /// The event that a message is; otherwise what it is answered with.
    fn event(&self, mut message: BrokerMessage) -> Result<Event, Reason> {
        let shared = &self.shared;
        let counted = |counter: &AtomicU64, reason: Reason| {
            BridgeCounts::count(counter, 1);
            reason
        };
        let counts = &shared.counts;
        let Some(rule) = shared.rules.of_remote(&message.topic) else {
            // The broker may remember what an earlier configuration asked for.
            return Err(counted(&counts.ignored, Reason::SUCCESS));
        };
        if let Some(sent) = &shared.sent
            && sent
                .lock()
                .is_echo(clock::now(), &message.topic, &message.payload)
        {
            return Err(counted(&counts.looped, Reason::SUCCESS));
        }
        let via = message.user(VIA).cloned();
        let via = match shared.mark.judge(via.as_deref(), shared.hops_max) {
            ViaVerdict::Through(via) => via,
            verdict @ (ViaVerdict::Loop | ViaVerdict::TooFar) => {
                tracing::debug!(bridge = %shared.name, topic = %message.topic, ?verdict, "not let in");
                return Err(counted(&counts.looped, Reason::SUCCESS));
            }
        };
        message.properties.user.retain(|(key, _)| key != VIA);
        let Some(topic) = local_topic(rule, &message.topic) else {
            warn!(bridge = %shared.name, topic = %message.topic, "no event can have this topic");
            return Err(counted(&counts.refused, Reason::TOPIC_NAME_INVALID));
        };
        message.is_retained &= rule.retain != RetainSetting::Never;
        let mut event = event_of(&message, topic, clock::now(), self.publisher.clone());
        if event.headers.push(VIA, via).is_err() {
            return Err(counted(&counts.refused, Reason::QUOTA_EXCEEDED));
        }
        Ok(event)
    }

    fn tell(&self, state: &str, reason: Option<&str>) {
        let shared = &self.shared;
        let payload = json!({ "bridge": shared.name.as_str(), "url": shared.url, "state": state, "reason": reason });
        let topic = format!("bridge.{}.{state}", shared.name);
        shared.events.tell(Event::own(&topic, payload.to_string()));
    }
}

impl BrokerObserver for Inbound {
    fn take(&self, message: BrokerMessage) -> BoxFuture<Reason> {
        let event = match self.event(message) {
            Ok(event) => event,
            Err(reason) => return Box::pin(std::future::ready(reason)),
        };
        // Begun at once, so that events are published in the order of their messages.
        let first = self.shared.events.publish(event.clone());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { published(&shared, event, first).await })
    }

    fn on_connected(&self, has_session: bool) {
        let (bridge, url) = (&self.shared.name, &self.shared.url);
        BridgeCounts::count(&self.shared.counts.connects, 1);
        info!(%bridge, url, has_session, "bridge connected");
        self.tell("connected", None);
    }

    fn on_lost(&self, reason: &str) {
        let (bridge, url) = (&self.shared.name, &self.shared.url);
        BridgeCounts::count(&self.shared.counts.losses, 1);
        warn!(%bridge, url, reason, "bridge not connected");
        self.tell("lost", Some(reason));
    }

    fn on_refused(&self, filter: &Text, reason: Reason) {
        let bridge = &self.shared.name;
        warn!(%bridge, %filter, %reason, "the broker does not grant a subscription");
    }
}

/// Follows an event until it was accepted or refused for good.
async fn published(
    shared: &BridgeShared,
    event: Event,
    first: BoxFuture<Result<u32, Error>>,
) -> Reason {
    let counts = &shared.counts;
    let (mut publishing, mut pause) = (first, RETRY_MIN);
    loop {
        let Err(error) = publishing.await else {
            BridgeCounts::count(&counts.taken, 1);
            return Reason::SUCCESS;
        };
        if !may_pass(&error) {
            BridgeCounts::count(&counts.refused, 1);
            warn!(bridge = %shared.name, topic = %event.topic, %error, "a message of the broker is refused");
            return reason_of(&error);
        }
        warn!(bridge = %shared.name, topic = %event.topic, %error, "a message of the broker waits");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
        publishing = shared.events.publish(event.clone());
    }
}

fn local_topic(rule: &TopicRule, remote: &str) -> Option<Text> {
    event_topic_of(&rule.to_local(remote))
}

/// Whether the same event may be accepted later.
fn may_pass(error: &Error) -> bool {
    match error.kind {
        Kind::Unavailable | Kind::ResourceExhausted | Kind::DeadlineExceeded | Kind::Aborted => {
            !error.is_too_large
        }
        Kind::Cancelled
        | Kind::Unknown
        | Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::FailedPrecondition
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Internal
        | Kind::DataLoss
        | Kind::Unauthenticated => false,
    }
}

fn reason_of(error: &Error) -> Reason {
    match error.kind {
        Kind::PermissionDenied | Kind::Unauthenticated => Reason::NOT_AUTHORIZED,
        Kind::InvalidArgument if error.is_too_large => Reason::QUOTA_EXCEEDED,
        Kind::InvalidArgument => Reason::TOPIC_NAME_INVALID,
        Kind::Cancelled
        | Kind::Unknown
        | Kind::DeadlineExceeded
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::ResourceExhausted
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Internal
        | Kind::Unavailable
        | Kind::DataLoss => Reason::IMPLEMENTATION_SPECIFIC,
    }
}

/// Pauses before an event that was not accepted is published again.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
