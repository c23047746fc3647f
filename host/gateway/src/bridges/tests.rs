//! What comes in, against events that are slow, full or closed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Kind, Text,
    error::Blame,
    event::{Event, Hub, QueueBounds, Subscription, TopicPattern, durable::EventLog},
    mqtt::{Qos, Reason},
};
use postern_net::mqtt_client::{BrokerMessage, BrokerObserver};
use tokio::sync::{oneshot, watch};

use super::{
    bridged_events::BridgedEvents,
    counts::BridgeCounts,
    inbound::{BridgeShared, Inbound},
    route::TopicRules,
    via::BridgeMark,
};
use crate::config::bridges::{Bridge, BridgeTopic};

type Answer = oneshot::Receiver<Result<u32, Error>>;

/// Events that are answered as the test says.
#[derive(Debug, Default)]
struct Scripted {
    published: Mutex<Vec<Event>>,
    told: Mutex<Vec<Event>>,
    answers: Mutex<VecDeque<Answer>>,
}

impl BridgedEvents for Scripted {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        self.published.lock().push(event);
        let answer = self.answers.lock().pop_front();
        Box::pin(async move {
            match answer {
                Some(answer) => answer.await.expect("an answer"),
                None => Ok(1),
            }
        })
    }

    fn tell(&self, event: Event) {
        self.told.lock().push(event);
    }

    fn subscribe(
        &self,
        owner: &Text,
        patterns: Vec<TopicPattern>,
        _: QueueBounds,
    ) -> Result<Subscription, Error> {
        Hub::default().subscribe(owner, patterns, None)
    }

    fn is_durable(&self, _: &str) -> bool {
        false
    }

    fn logs(&self, _: &[TopicPattern]) -> BTreeMap<Text, Arc<dyn EventLog>> {
        BTreeMap::new()
    }

    fn changes(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

impl Scripted {
    /// The next event is answered when the sender is told.
    fn next(&self) -> oneshot::Sender<Result<u32, Error>> {
        let (answer, answered) = oneshot::channel();
        self.answers.lock().push_back(answered);
        answer
    }
}

fn inbound() -> (Arc<Scripted>, Arc<BridgeShared>, Inbound) {
    let mut bridge = Bridge::default();
    let topic = BridgeTopic {
        filter: Some("#".to_owned()),
        local_prefix: Some("here/".to_owned()),
        ..BridgeTopic::default()
    };
    bridge.topics.insert("all".to_owned(), topic);
    let events = Arc::new(Scripted::default());
    let shared = Arc::new(BridgeShared {
        name: "b".into(),
        url: "mqtt://a:1".to_owned(),
        events: Arc::clone(&events) as Arc<dyn BridgedEvents>,
        rules: TopicRules::new(&bridge),
        mark: BridgeMark::new("1", "b"),
        hops_max: 8,
        counts: BridgeCounts::default(),
        sent: None,
    });
    (events, Arc::clone(&shared), Inbound::new(shared))
}

fn message(topic: &str) -> BrokerMessage {
    BrokerMessage::new(topic, "x", Qos::AtLeastOnce)
}

fn is_ready(taking: &mut BoxFuture<Reason>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    taking.as_mut().poll(&mut cx) != Poll::Pending
}

#[tokio::test]
async fn a_message_is_taken_when_its_event_is_stored_and_not_before() {
    let (events, _, inbound) = inbound();
    let stored = events.next();
    let mut taking = inbound.take(message("a/b"));
    assert!(!is_ready(&mut taking));
    assert_eq!(events.published.lock()[0].topic, "here.a.b");
    stored.send(Ok(0)).expect("awaited");
    assert_eq!(taking.await, Reason::SUCCESS);
}

#[tokio::test]
async fn events_are_begun_in_the_order_of_their_messages_whoever_polls() {
    let (events, _, inbound) = inbound();
    let _unpolled: Vec<_> = ["1", "2", "3"]
        .map(|topic| inbound.take(message(topic)))
        .into();
    let published = events.published.lock();
    let topics: Vec<_> = published.iter().map(|event| event.topic.as_str()).collect();
    assert_eq!(topics, ["here.1", "here.2", "here.3"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_at_present_is_tried_again_and_what_is_wrong_is_not() {
    let (events, shared, inbound) = inbound();
    let unavailable = Error::unavailable(Blame::Gateway, "the disk is full");
    events.next().send(Err(unavailable)).expect("awaited");
    let full = Error::new(Kind::ResourceExhausted, Blame::Gateway, "the log is full");
    events.next().send(Err(full)).expect("awaited");
    assert_eq!(inbound.take(message("a")).await, Reason::SUCCESS);
    assert_eq!(events.published.lock().len(), 3);
    let denied = Error::new(Kind::PermissionDenied, Blame::Client, "not yours");
    events.next().send(Err(denied)).expect("awaited");
    assert_eq!(inbound.take(message("a")).await, Reason::NOT_AUTHORIZED);
    let large = Error::invalid_argument("too large").with_too_large();
    events.next().send(Err(large)).expect("awaited");
    assert_eq!(inbound.take(message("a")).await, Reason::QUOTA_EXCEEDED);
    let counts = &shared.counts;
    let counted = [&counts.taken, &counts.refused].map(|counter| counter.load(super::Relaxed));
    assert_eq!(counted, [1, 2]);
}

#[tokio::test]
async fn a_topic_that_no_event_has_is_refused_and_a_loop_is_dropped() {
    let (events, shared, inbound) = inbound();
    let deep = ["a"; 40].join("/");
    assert_eq!(
        inbound.take(message(&deep)).await,
        Reason::TOPIC_NAME_INVALID
    );
    let mut looped = message("a");
    looped
        .properties
        .user
        .push(("event-via".into(), "1/b,2/b".into()));
    assert_eq!(inbound.take(looped).await, Reason::SUCCESS);
    assert!(events.published.lock().is_empty());
    assert_eq!(shared.counts.looped.load(super::Relaxed), 1);
}

#[tokio::test]
async fn an_event_says_over_which_bridges_it_came_and_from_whom() {
    let (events, _, inbound) = inbound();
    let mut from_afar = message("a");
    from_afar
        .properties
        .user
        .push(("event-via".into(), "2/x".into()));
    inbound.take(from_afar).await;
    let published = events.published.lock();
    let via = published[0].headers.get_str("event-via");
    assert_eq!(via.as_deref(), Some("2/x,1/b"));
    let principal = published[0].publisher.principal.as_ref().expect("one");
    assert_eq!(principal.name, "bridge b");
}

#[test]
fn changes_of_the_connection_are_told_as_events() {
    let (events, _, inbound) = inbound();
    inbound.on_connected(true);
    inbound.on_lost("it was killed");
    let told = events.told.lock();
    let topics: Vec<_> = told.iter().map(|event| event.topic.as_str()).collect();
    assert_eq!(
        topics,
        ["postern.bridge.b.connected", "postern.bridge.b.lost"]
    );
    let payload = String::from_utf8_lossy(&told[1].payload);
    assert!(
        payload.contains("\"reason\":\"it was killed\""),
        "{payload}"
    );
}
