//! Streams as logs: nothing acknowledged is lost, what is not acknowledged comes again, and others take over
//! what the dead had.

use std::collections::BTreeSet;

use postern_core::{
    Kind, Text,
    event::{
        Event, Publisher, TopicPattern,
        durable::{
            ConsumerSettings, ConsumerStart, EventConsumer, EventLog as _, Position, Redelivery,
            StoredEvent,
        },
    },
};

use super::*;

fn event(topic: &str, payload: &str) -> Event {
    Event {
        topic: Text::from(topic),
        headers: postern_core::Headers::new(),
        payload: payload.to_owned().into(),
        publisher: Publisher::default(),
    }
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).expect("a pattern")
}

fn settings(name: &str) -> ConsumerSettings {
    ConsumerSettings {
        name: name.into(),
        patterns: vec![pattern(">")],
        start: ConsumerStart::First,
        ack_wait: Duration::from_secs(30),
        back_off: vec![Duration::from_millis(10)],
        deliveries_max: 3,
        in_flight_max: 100,
        is_ordered: false,
    }
}

fn log(store: &RedisStore, change: impl FnOnce(&mut RedisLogConfig)) -> RedisLog {
    let mut config = RedisLogConfig::new("orders.>", vec![pattern("orders.>")]);
    config.claim_idle = Duration::from_millis(300);
    change(&mut config);
    store.log(config, None)
}

pub(super) async fn consumer(log: &RedisLog, name: &str) -> Box<dyn EventConsumer> {
    log.consumer(settings(name)).await.expect("connected")
}

/// Takes until `n` have come.
async fn take(consumer: &dyn EventConsumer, n: usize) -> Vec<StoredEvent> {
    let taking = async {
        let mut taken = Vec::new();
        while taken.len() < n {
            taken.extend(consumer.take(n - taken.len()).await.expect("well"));
        }
        taken
    };
    tokio::time::timeout(PATIENCE, taking)
        .await
        .expect("they come")
}

fn payloads(events: &[StoredEvent]) -> Vec<String> {
    let payloads = events.iter().map(|one| one.event.payload.to_vec());
    payloads
        .map(|octets| String::from_utf8(octets).expect("text"))
        .collect()
}

#[tokio::test]
async fn events_are_kept_given_out_and_acknowledged() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let log = log(&store, |_| {});
    assert!(log.wants("orders.new") && !log.wants("orders"));
    for n in 0..5 {
        log.append(event("orders.new", &n.to_string()))
            .await
            .expect("well");
    }
    let (one, other) = (consumer(&log, "c").await, consumer(&log, "c").await);
    let mut taken = take(&*one, 2).await;
    taken.extend(take(&*other, 3).await);
    assert_eq!(payloads(&taken), ["0", "1", "2", "3", "4"]);
    let positions: Vec<Position> = taken.iter().map(|one| one.position).collect();
    assert_eq!(one.acknowledge(positions.clone()).await.expect("well"), 5);
    assert_eq!(one.acknowledge(positions).await.expect("well"), 0);
    let info = log.info().await.expect("well");
    assert_eq!((info.n_events, info.consumers.len()), (5, 1));
    assert_eq!(
        (info.consumers[0].n_pending, info.consumers[0].n_members),
        (0, 2)
    );
    assert_eq!(log.read(Position(0), 2).await.expect("well").len(), 2);
    // Any client can read it.
    let shown = server.run(&["xrange", "postern:log:{orders.>}", "-", "+", "count", "1"]);
    assert!(shown.contains("topic\norders.new\npayload\n0"), "{shown}");
    assert!(log.delete_consumer(&"c".into()).await.expect("well"));
    assert!(!log.delete_consumer(&"c".into()).await.expect("well"));
    let error = one.take(1).await.expect_err("deleted");
    assert_eq!(error.kind, Kind::NotFound);
}

#[tokio::test]
async fn each_consumer_begins_where_it_says_and_gets_what_it_wants() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let log = log(&store, |_| {});
    let first = log.append(event("orders.a", "1")).await.expect("well");
    log.append(event("orders.b", "2")).await.expect("well");
    let open = async |name: &str, start, patterns: &[&str]| {
        let settings = ConsumerSettings {
            start,
            patterns: patterns.iter().map(|text| pattern(text)).collect(),
            ..settings(name)
        };
        log.consumer(settings).await.expect("connected")
    };
    let new = open("new", ConsumerStart::New, &[">"]).await;
    let after = open("after", ConsumerStart::After(first), &[">"]).await;
    let some = open("some", ConsumerStart::First, &["orders.b"]).await;
    log.append(event("orders.c", "3")).await.expect("well");
    assert_eq!(payloads(&take(&*new, 1).await), ["3"]);
    assert_eq!(payloads(&take(&*after, 2).await), ["2", "3"]);
    assert_eq!(payloads(&take(&*some, 1).await), ["2"]);
    patiently("what it does not want is not kept for it", async || {
        let pending = server.run(&["xpending", "postern:log:{orders.>}", "some"]);
        pending.lines().next() == Some("1")
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_comes_again_and_dies_with_its_reason() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let config = RedisLogConfig::new("orders.>", vec![pattern("orders.>")]);
    let dead_letters: DeadLetters = Arc::new(move |stored: StoredEvent, group, reason| {
        let _ = tell.send((stored.n_deliveries, group, reason));
        Box::pin(std::future::ready(Ok(())))
    });
    let log = store.log(config, Some(dead_letters));
    log.append(event("orders.new", "x")).await.expect("well");
    let consumer = consumer(&log, "c").await;
    for n_deliveries in 1..=3 {
        let taken = take(&*consumer, 1).await;
        assert_eq!(taken[0].n_deliveries, n_deliveries);
        let refused = consumer.refuse(taken[0].position, Redelivery::BackOff, "no".into());
        refused.await.expect("well");
    }
    let (n_deliveries, group, reason) = told.recv().await.expect("it is told");
    assert_eq!((n_deliveries, group.as_str()), (3, "c"));
    assert_eq!(reason, "no, 3 deliveries of 3");
    let dead = server.run(&["xrange", "postern:log:{orders.>}:dead", "-", "+"]);
    assert!(
        dead.contains("payload\nx") && dead.contains("group\nc"),
        "{dead}"
    );
    assert_eq!(
        server
            .run(&["xpending", "postern:log:{orders.>}", "c"])
            .lines()
            .next(),
        Some("0")
    );
    assert_eq!(log.info().await.expect("well").consumers[0].n_dead, 1);
}

#[tokio::test]
async fn what_a_member_leaves_is_given_to_another_one() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let log = log(&store, |_| {});
    log.append(event("orders.new", "x")).await.expect("well");
    let (one, other) = (consumer(&log, "c").await, consumer(&log, "c").await);
    assert_eq!(take(&*one, 1).await[0].n_deliveries, 1);
    drop(one);
    assert_eq!(take(&*other, 1).await[0].n_deliveries, 1);
}

#[tokio::test]
async fn entries_of_a_dead_gateway_are_taken_over_with_their_deliveries() {
    let server = Server::start(&[]).await;
    let alive = store(&server, |_| {});
    let alive_log = log(&alive, |_| {});
    alive_log
        .append(event("orders.new", "x"))
        .await
        .expect("well");
    // Another gateway, whose threads end all at once.
    let gateway = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads");
    let (has_taken, taken) = tokio::sync::oneshot::channel();
    let url = server.url();
    gateway.spawn(async move {
        let store = store_at(&url, |_| {});
        let consumer = consumer(&log(&store, |_| {}), "c").await;
        let taken = take(&*consumer, 1).await;
        has_taken
            .send(taken[0].n_deliveries)
            .expect("the test waits");
        std::future::pending::<()>().await;
    });
    assert_eq!(taken.await.expect("it takes"), 1);
    // While it is alive nobody takes what it has, however long it keeps it.
    let second = consumer(&alive_log, "c").await;
    let early = tokio::time::timeout(Duration::from_millis(900), second.take(1)).await;
    assert!(early.is_err(), "{early:?}");
    gateway.shutdown_background();
    let taken = take(&*second, 1).await;
    assert_eq!(payloads(&taken), ["x"]);
    assert_eq!(taken[0].n_deliveries, 2);
    assert_eq!(alive.snapshot().counts.claimed, 1);
}

#[tokio::test]
async fn a_stream_keeps_about_as_many_entries_as_it_may() {
    let server = Server::start(&["--stream-node-max-entries", "10"]).await;
    let store = store(&server, |_| {});
    let log = log(&store, |config| config.events_max = Some(100));
    for n in 0..500 {
        log.append(event("orders.new", &n.to_string()))
            .await
            .expect("well");
    }
    let n_events = log.info().await.expect("well").n_events;
    assert!((100..=120).contains(&n_events), "{n_events}");
    let young = store.log(
        RedisLogConfig {
            age_max: Some(Duration::from_millis(1)),
            ..RedisLogConfig::new("stock", vec![pattern("stock")])
        },
        None,
    );
    for n in 0..100 {
        young
            .append(event("stock", &n.to_string()))
            .await
            .expect("well");
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    young.append(event("stock", "last")).await.expect("well");
    let n_events = young.info().await.expect("well").n_events;
    assert!(n_events <= 20, "{n_events}");
}

#[tokio::test]
async fn an_entry_of_others_that_is_no_event_holds_nobody_up() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let log = log(&store, |_| {});
    server.run(&["xadd", "postern:log:{orders.>}", "*", "colour", "red"]);
    server.run(&[
        "xadd",
        "postern:log:{orders.>}",
        "*",
        "topic",
        "orders.new",
        "payload",
        "of others",
    ]);
    let consumer = consumer(&log, "c").await;
    assert_eq!(payloads(&take(&*consumer, 1).await), ["of others"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&arguments).await;
    let store = store(&server, |config| {
        config.connect_timeout = Duration::from_millis(500);
        config.response_timeout = Duration::from_millis(500);
        config.reconnect_max = Duration::from_millis(100);
    });
    let publisher_log = log(&store, |_| {});
    let publishing = tokio::spawn(async move {
        let mut acknowledged = BTreeSet::new();
        let mut n_failed = 0;
        let mut n = 0_u32;
        while acknowledged.len() < 2000 {
            n += 1;
            let payload = n.to_string();
            match publisher_log.append(event("orders.new", &payload)).await {
                Ok(_) => drop(acknowledged.insert(payload)),
                Err(error) => {
                    assert_eq!(error.kind, Kind::Unavailable, "{error}");
                    n_failed += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        (acknowledged, n_failed)
    });
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill();
        server.start_again().await;
    }
    let (acknowledged, n_failed) = publishing.await.expect("it ends");
    let log = log(&store, |_| {});
    let settings = ConsumerSettings {
        in_flight_max: 1000,
        ..settings("c")
    };
    let consumer = log.consumer(settings).await.expect("connected");
    let mut seen = BTreeSet::new();
    while !seen.is_superset(&acknowledged) {
        let taken = tokio::time::timeout(PATIENCE, consumer.take(500)).await;
        let taken = taken.expect("they come").expect("well");
        seen.extend(payloads(&taken));
        let positions = taken.iter().map(|one| one.position).collect();
        consumer.acknowledge(positions).await.expect("well");
    }
    let n_extra = seen.difference(&acknowledged).count();
    eprintln!(
        "5 times kill -9: {} acknowledged, 0 lost, {n_failed} failed, of which {n_extra} were stored",
        acknowledged.len()
    );
}

#[tokio::test]
async fn a_consumer_goes_on_when_the_server_comes_back() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(&arguments).await;
    let store = store(&server, |config| {
        config.reconnect_max = Duration::from_millis(100)
    });
    let log = log(&store, |_| {});
    let consumer = consumer(&log, "c").await;
    log.append(event("orders.new", "1")).await.expect("well");
    let taken = take(&*consumer, 1).await;
    server.kill();
    server.start_again().await;
    patiently("it is acknowledged", async || {
        consumer.acknowledge(vec![taken[0].position]).await.is_ok()
    })
    .await;
    patiently("another is stored", async || {
        log.append(event("orders.new", "2")).await.is_ok()
    })
    .await;
    assert_eq!(payloads(&take(&*consumer, 1).await), ["2"]);
}
