//! Claims about the hub: who gets what, how often, and what is told of losses.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream;

use super::*;
use crate::{Error, Headers, Kind, testing::Rng};

pub(super) fn event(topic: &str, payload: &'static str) -> Event {
    Event {
        topic: topic.into(),
        headers: Headers::new(),
        payload: payload.into(),
        publisher: Publisher::default(),
    }
}

fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
    let pattern = |text: &&str| TopicPattern::new(text).expect("a pattern");
    texts.iter().map(pattern).collect()
}

fn subscribe(hub: &Hub, owner: &str, topics: &[&str]) -> Subscription {
    hub.subscribe(&owner.into(), patterns(topics), None)
        .expect("there is room")
}

/// What is there without waiting.
fn poll(subscription: &mut Subscription) -> Poll<Option<Delivery>> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(subscription).poll_next(&mut cx)
}

fn drain(subscription: &mut Subscription) -> Vec<(String, u64)> {
    let mut taken = Vec::new();
    while let Poll::Ready(Some(delivery)) = poll(subscription) {
        taken.push((delivery.event.topic.to_string(), delivery.missed));
    }
    taken
}

fn kind<T>(result: Result<T, Error>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

fn small(events_max: usize) -> Hub {
    let bytes_max = usize::MAX;
    Hub::new(HubConfig {
        queue: QueueBounds {
            events_max,
            bytes_max,
        },
        ..HubConfig::default()
    })
}

#[test]
fn every_subscriber_of_the_topic_gets_the_event_once() {
    let hub = Hub::default();
    let mut one = subscribe(&hub, "a", &["user.*", "user.created", ">"]);
    let mut two = subscribe(&hub, "a", &["user.>"]);
    let mut other = subscribe(&hub, "b", &["order.*"]);
    assert_eq!(hub.publish(event("user.created", "x")).ok(), Some(2));
    let expected = vec![("user.created".to_owned(), 0)];
    assert_eq!(
        (drain(&mut one), drain(&mut two)),
        (expected.clone(), expected)
    );
    assert!(poll(&mut other).is_pending());
    assert_eq!(hub.publish(event("payment.late", "x")).ok(), Some(1));
    assert_eq!(hub.totals().unheard, 0);
}

#[test]
fn an_event_for_nobody_is_counted() {
    let hub = Hub::default();
    assert_eq!(hub.publish(event("user.created", "x")).ok(), Some(0));
    assert_eq!((hub.totals().published, hub.totals().unheard), (1, 1));
}

#[test]
fn a_subscriber_that_lags_is_told_how_many_it_missed_and_costs_nobody_else_an_event() {
    let hub = small(3);
    let mut slow = subscribe(&hub, "slow", &[">"]);
    let mut quick = subscribe(&hub, "quick", &[">"]);
    for n in 0..10 {
        assert_eq!(hub.publish(event(&format!("t.{n}"), "")).ok(), Some(2));
        assert_eq!(drain(&mut quick), [(format!("t.{n}"), 0)]);
    }
    let expected = [
        ("t.7".to_owned(), 7),
        ("t.8".to_owned(), 0),
        ("t.9".to_owned(), 0),
    ];
    assert_eq!(drain(&mut slow), expected);
    let totals = hub.totals();
    assert_eq!(
        (totals.offered, totals.delivered, totals.dropped),
        (20, 13, 7)
    );
}

#[test]
fn an_event_waits_up_to_the_edge_of_the_queue() {
    let hub = small(3);
    let mut lazy = subscribe(&hub, "lazy", &["t"]);
    for _ in 0..3 {
        hub.publish(event("t", "")).expect("published");
    }
    let info = &hub.subscriptions()[0];
    assert_eq!((info.counts.queued, info.counts.dropped), (3, 0));
    hub.publish(event("t", "")).expect("published");
    let info = &hub.subscriptions()[0];
    assert_eq!((info.counts.queued, info.counts.dropped), (3, 1));
    assert_eq!(drain(&mut lazy).len(), 3);
}

#[test]
fn a_delivery_that_failed_is_told_as_missed() {
    let hub = Hub::default();
    let mut subscription = subscribe(&hub, "a", &["t"]);
    hub.publish(event("t", "1")).expect("published");
    let Poll::Ready(Some(delivery)) = poll(&mut subscription) else {
        panic!("nothing came")
    };
    subscription.on_undelivered(&delivery);
    hub.publish(event("t", "2")).expect("published");
    assert_eq!(drain(&mut subscription), [("t".to_owned(), 1)]);
    let totals = hub.totals();
    assert_eq!((totals.delivered, totals.dropped), (1, 1));
}

#[test]
fn only_its_owner_ends_a_subscription() {
    let hub = Hub::default();
    let mut subscription = subscribe(&hub, "a", &["t"]);
    let id = subscription.id().clone();
    hub.publish(event("t", "")).expect("published");
    assert!(!hub.unsubscribe("b", &id));
    assert!(!hub.unsubscribe("a", "77"));
    assert!(!hub.unsubscribe("a", &format!("0{id}")));
    assert!(hub.unsubscribe("a", &id));
    assert!(!hub.unsubscribe("a", &id));
    assert!(matches!(poll(&mut subscription), Poll::Ready(None)));
    assert_eq!(hub.publish(event("t", "")).ok(), Some(0));
    let totals = hub.totals();
    assert_eq!(
        (totals.dropped, totals.queued, totals.subscriptions),
        (1, 0, 0)
    );
}

#[test]
fn a_dropped_subscription_leaves_nothing_behind() {
    let hub = Hub::default();
    let subscription = subscribe(&hub, "a", &["t", "u.*"]);
    assert_eq!(hub.patterns().len(), 2);
    drop(subscription);
    assert_eq!(hub.totals().subscriptions, 0);
    assert!(hub.patterns().is_empty());
    assert_eq!(hub.n_owners(), 0);
}

#[test]
fn ending_all_ends_every_stream() {
    let hub = Hub::default();
    let mut one = subscribe(&hub, "a", &["t"]);
    let mut two = subscribe(&hub, "b", &[">"]);
    hub.end_all();
    assert!(matches!(poll(&mut one), Poll::Ready(None)));
    assert!(matches!(poll(&mut two), Poll::Ready(None)));
    assert_eq!(hub.totals().subscriptions, 0);
}

#[test]
fn subscriptions_of_an_owner_and_of_all_are_bounded() {
    let hub = Hub::new(HubConfig {
        subscriptions_max: 3,
        subscriptions_per_owner_max: 2,
        ..HubConfig::default()
    });
    let try_it = |owner: &str| hub.subscribe(&owner.into(), patterns(&["t"]), None);
    let first = try_it("a").expect("room");
    let _second = try_it("a").expect("room");
    assert_eq!(kind(try_it("a")), Some(Kind::ResourceExhausted));
    let _third = try_it("b").expect("room");
    assert_eq!(kind(try_it("b")), Some(Kind::ResourceExhausted));
    drop(first);
    assert_eq!(kind(try_it("a")), None);
}

#[test]
fn topics_of_a_subscription_are_bounded_and_counted_once() {
    let hub = Hub::new(HubConfig {
        topics_max: 2,
        ..HubConfig::default()
    });
    let try_it = |topics: &[&str]| kind(hub.subscribe(&"a".into(), patterns(topics), None));
    assert_eq!(try_it(&[]), Some(Kind::InvalidArgument));
    assert_eq!(try_it(&["a", "b", "a"]), None);
    assert_eq!(try_it(&["a", "b", "c"]), Some(Kind::InvalidArgument));
}

#[test]
fn what_is_no_event_is_refused_and_counted() {
    let hub = Hub::new(HubConfig {
        event_bytes_max: EVENT_OVERHEAD_BYTES + 4,
        ..HubConfig::default()
    });
    let _all = subscribe(&hub, "a", &[">"]);
    assert_eq!(
        kind(hub.publish(event("user.*", ""))),
        Some(Kind::InvalidArgument)
    );
    assert_eq!(kind(hub.publish(event("t", "123"))), None);
    assert_eq!(
        kind(hub.publish(event("t", "1234"))),
        Some(Kind::InvalidArgument)
    );
    let mut deep = event("t", "");
    deep.publisher.depth = 8;
    assert_eq!(kind(hub.publish(deep.clone())), None);
    deep.publisher.depth = 9;
    assert_eq!(kind(hub.publish(deep)), Some(Kind::FailedPrecondition));
    assert_eq!((hub.totals().published, hub.totals().refused), (2, 3));
}

#[test]
fn a_queued_event_shares_no_buffer_with_its_frame_and_no_secret_of_its_publisher() {
    let hub = Hub::default();
    let mut subscription = subscribe(&hub, "a", &["t"]);
    let mut published = event("t", "");
    published.payload = Bytes::from(vec![7; 100]);
    for (key, value) in [
        ("authorization", "Bearer s3cret"),
        ("content-type", "text/plain"),
        ("event-id", "1"),
        ("event-type", "t"),
        ("ce-source", "/x"),
        ("cookie", "s3cret"),
    ] {
        published.headers.push(key, value).expect("short");
    }
    let octets = published.payload.clone();
    hub.publish(published).expect("published");
    let Poll::Ready(Some(delivery)) = poll(&mut subscription) else {
        panic!("nothing came")
    };
    assert_eq!(delivery.event.payload, octets);
    assert_ne!(delivery.event.payload.as_ptr(), octets.as_ptr());
    let keys: Vec<_> = delivery
        .event
        .headers
        .iter()
        .map(|(key, _)| key.to_vec())
        .collect();
    assert_eq!(keys, [&b"content-type"[..], b"event-id", b"ce-source"]);
}

#[test]
fn a_reader_is_woken_once_by_what_comes_and_by_the_end() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let count = Arc::new(Count(0.into()));
    let woken = || count.0.load(std::sync::atomic::Ordering::SeqCst);
    let waker = Waker::from(Arc::clone(&count));
    let hub = Hub::default();
    let mut subscription = subscribe(&hub, "a", &["t"]);
    let mut ask = || Pin::new(&mut subscription).poll_next(&mut Context::from_waker(&waker));
    assert!(ask().is_pending());
    hub.publish(event("t", "")).expect("published");
    hub.publish(event("t", "")).expect("published");
    assert_eq!(woken(), 1);
    assert!(ask().is_ready() && ask().is_ready() && ask().is_pending());
    assert!(hub.unsubscribe("a", "1"));
    assert_eq!(woken(), 2);
}

/// Random subscribers, publishers and readers: every event that was offered is delivered, dropped or
/// queued, in order, and what is told as missed is what was dropped.
#[test]
fn no_event_is_lost_untold_whatever_the_order_of_things() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let hub = small(1 + usize::try_from(rng.below(4)).expect("small"));
        let mut readers: Vec<(Subscription, u64, Option<u64>)> = Vec::new();
        let mut n_offered = 0;
        for n in 0..200_u64 {
            match rng.below(8) {
                0 if readers.len() < 6 => {
                    let topics = [["a", "b.*"], ["*", ">"], ["b.x", "b.>"]];
                    let topics = topics[usize::try_from(rng.below(3)).expect("small")];
                    readers.push((subscribe(&hub, "o", &topics), 0, None));
                }
                1 if !readers.is_empty() && rng.chance(20) => drop(readers.swap_remove(0)),
                2 | 3 if !readers.is_empty() => {
                    let at = usize::try_from(rng.below(readers.len() as u64)).expect("small");
                    let (subscription, n_missed, last) = &mut readers[at];
                    if let Poll::Ready(Some(delivery)) = poll(subscription) {
                        let payload = std::str::from_utf8(&delivery.event.payload);
                        let number = payload.expect("digits").parse::<u64>();
                        let number = number.expect("a number");
                        assert!(last.is_none_or(|last| last < number), "seed {seed}");
                        (*last, *n_missed) = (Some(number), *n_missed + delivery.missed);
                    }
                }
                _ => {
                    let topic =
                        ["a", "b.x", "b.y.z"][usize::try_from(rng.below(3)).expect("small")];
                    let mut event = event(topic, "");
                    event.payload = n.to_string().into();
                    n_offered += u64::from(hub.publish(event).expect("a topic"));
                }
            }
            let totals = hub.totals();
            let accounted = totals.delivered + totals.dropped + totals.queued;
            assert_eq!(
                (totals.offered, accounted),
                (n_offered, n_offered),
                "seed {seed}"
            );
        }
        for (subscription, n_missed, _) in &mut readers {
            let told: u64 = drain(subscription).iter().map(|(_, missed)| missed).sum();
            let infos = hub.subscriptions();
            let info = infos.iter().find(|info| info.id == *subscription.id());
            let dropped = info.expect("alive").counts.dropped;
            assert_eq!(*n_missed + told, dropped, "seed {seed}");
        }
    }
}
