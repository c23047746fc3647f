//! Events beside calls: subscribed to, told to every subscriber, and dropped for who does not read.

use std::sync::atomic::Ordering;

use postern_net::WebSocketConfig;

use crate::listener::{Listener, until};

const SUBSCRIBE: &str =
    r#"{"id":"s","service":"events","method":"subscribe","payload":{"topics":["news.>"]}}"#;

fn subscribed(number: usize) -> String {
    format!(r#"{{"type":"response","id":"s","payload":{{"subscription":"{number}"}}}}"#)
}

#[tokio::test]
async fn an_event_goes_to_every_subscriber_beside_its_calls() {
    let listener = Listener::start().await;
    let (mut one, mut other) = (
        listener.calls().await,
        listener.open("/ws/events/subscribe").await,
    );
    one.check(SUBSCRIBE, &subscribed(1)).await;
    other.check(r#"{"id":"s"}"#, &subscribed(2)).await;
    assert_eq!(listener.publish("news.a", r#"{"n":1}"#), 2);
    for (socket, number) in [(&mut one, 1), (&mut other, 2)] {
        let event = format!(
            r#"{{"type":"event","topic":"news.a","subscription":"{number}","payload":{{"n":1}}}}"#
        );
        assert_eq!(socket.message().await, event);
    }
    one.check(r#"{"id":"1"}"#, r#"{"type":"response","id":"1"}"#)
        .await;
    // A session that ends is no subscriber any more.
    drop(other);
    until(|| listener.service.hub.subscriptions().len() == 1).await;
    assert_eq!(listener.publish("news.b", "x"), 1);
    let event = r#"{"type":"event","topic":"news.b","subscription":"1","payload-base64":"eA=="}"#;
    assert_eq!(one.message().await, event);
    drop(one);
    listener.stop().await;
}

#[tokio::test]
async fn who_does_not_read_loses_events_beyond_queue_max_and_is_told() {
    let queue_max = 4;
    let listener = Listener::start_websocket(WebSocketConfig {
        queue_max,
        ..WebSocketConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket.check(SUBSCRIBE, &subscribed(1)).await;
    let payload = format!("\"{}\"", "z".repeat(100_000));
    // More than sockets and queues hold.
    let mut n_published = 0_u64;
    while listener.service.hub.totals().dropped < 10 {
        assert_eq!(listener.publish("news.a", payload.clone()), 1);
        n_published += 1;
        // The session takes what it has room for.
        tokio::task::yield_now().await;
        assert!(listener.service.hub.totals().queued <= queue_max as u64);
    }
    let (mut n_told, mut n_missed) = (0_u64, 0_u64);
    while n_told + n_missed < n_published {
        let event = socket.message().await;
        n_told += 1;
        let missed = event.rsplit_once(r#","missed":"#).map(|(_, missed)| missed);
        let missed = missed.map_or(0, |missed| {
            missed.trim_end_matches('}').parse().expect("a number")
        });
        n_missed += missed;
    }
    assert_eq!(n_missed, listener.service.hub.totals().dropped);
    assert!(n_missed >= 10);
    assert_eq!(listener.counters.slow_readers.value(), 0);
    drop(socket);
    until(|| listener.service.hub.subscriptions().is_empty()).await;
    assert_eq!(listener.service.n_calls.load(Ordering::SeqCst), 1);
    listener.stop().await;
}
