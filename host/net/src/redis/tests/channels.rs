//! Channels: who gets what, once each, over broken connections as well.

use postern_core::{
    Kind, Text,
    event::{
        Event, Publisher, TopicPattern,
        broker::{EventBroker as _, EventSource},
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

async fn source(channels: &RedisChannels, patterns: &[&str]) -> Box<dyn EventSource> {
    let patterns = patterns
        .iter()
        .map(|text| TopicPattern::new(text).expect("a pattern"));
    channels
        .subscribe(patterns.collect())
        .await
        .expect("connected")
}

async fn next(source: &mut Box<dyn EventSource>) -> (String, String) {
    let event = tokio::time::timeout(PATIENCE, source.next()).await;
    let event = event.expect("it comes").expect("the store is open");
    let payload = String::from_utf8(event.payload.to_vec()).expect("text");
    (event.topic.to_string(), payload)
}

fn pair(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn each_source_gets_what_its_patterns_match_once() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let channels = store.channels();
    let mut wide = source(channels, &["orders.>", "orders.*", "orders.new"]).await;
    let mut narrow = source(channels, &["orders.*"]).await;
    let mut other = source(channels, &["stock"]).await;
    for (channel, payload) in [
        ("orders.new", "1"),
        ("orders.new.deep", "2"),
        ("orders..broken", "3"),
        ("orders", "4"),
        ("stock", "5"),
        ("orders.old", "6"),
    ] {
        server.run(&["publish", channel, payload]);
    }
    assert_eq!(next(&mut wide).await, pair("orders.new", "1"));
    assert_eq!(next(&mut wide).await, pair("orders.new.deep", "2"));
    assert_eq!(next(&mut wide).await, pair("orders.old", "6"));
    assert_eq!(next(&mut narrow).await, pair("orders.new", "1"));
    assert_eq!(next(&mut narrow).await, pair("orders.old", "6"));
    assert_eq!(next(&mut other).await, pair("stock", "5"));
    let error = channels.call(postern_core::Call::unary("a", "b", "")).await;
    assert_eq!(error.expect_err("no requests").kind, Kind::Unimplemented);
}

#[tokio::test]
async fn what_is_published_arrives_in_order_under_its_prefix() {
    let server = Server::start(&[]).await;
    let store = store(&server, |config| {
        config.channels.out_prefix = "out:".to_owned();
        config.channels.in_prefix = "in:".to_owned();
    });
    let plain = store
        .channels()
        .with_prefixes(RedisChannelsConfig::default());
    let mut seen = source(&plain, &["out:a"]).await;
    let mut own = source(store.channels(), &["a"]).await;
    for n in 0..200 {
        let published = store.channels().publish(event("a", &n.to_string()));
        published.await.expect("well");
    }
    for n in 0..200 {
        assert_eq!(next(&mut seen).await, pair("out:a", &n.to_string()));
    }
    plain.publish_to("in:a", b"hello").await.expect("well");
    assert_eq!(next(&mut own).await, pair("a", "hello"));
}

#[tokio::test]
async fn a_source_lives_through_connections() {
    let server = Server::start(&[]).await;
    let store = store(&server, |config| {
        config.reconnect_max = Duration::from_millis(100)
    });
    let mut source = source(store.channels(), &["a.*"]).await;
    server.run(&["client", "kill", "type", "pubsub"]);
    // What is published meanwhile is lost, as channels have it.
    let mut n_sent = 0;
    patiently("it is subscribed to again", async || {
        n_sent += 1;
        let n_got = server.run(&["publish", "a.b", &n_sent.to_string()]);
        n_got.trim() == "1"
    })
    .await;
    assert_eq!(next(&mut source).await, pair("a.b", &n_sent.to_string()));
}

#[tokio::test]
async fn without_a_connection_nobody_is_left_waiting() {
    let mut server = Server::start(&[]).await;
    let store = store(&server, |config| {
        config.connect_timeout = Duration::from_millis(200);
        config.response_timeout = Duration::from_millis(200);
    });
    let channels = store.channels();
    let _source = source(channels, &["a"]).await;
    server.kill();
    let pattern = TopicPattern::new("b").expect("a pattern");
    patiently("subscribing fails", async || {
        let subscribed = channels.subscribe(vec![pattern.clone()]).await;
        subscribed.is_err_and(|error| error.kind == Kind::Unavailable)
    })
    .await;
    let error = channels.publish(event("a", "1")).await.expect_err("nobody");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(!channels.standing().is_connected);
}
