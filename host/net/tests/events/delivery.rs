//! Who gets what.

use std::time::Duration;

use bytes::BytesMut;
use postern_core::{
    Headers, Kind,
    wire::{Frame, FrameType},
};
use postern_net::{ClientConfig, Speak, link::Datagram, link::DatagramLink, udp::UdpLink};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bench::{Link, call, next, publish, subscribe, told, within};

/// The same tests once per link.
macro_rules! each_link {
    ($($name:ident),+ $(,)?) => {
        mod tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod unix { $(#[tokio::test] async fn $name() { super::$name(super::Link::Unix).await; })+ }
        mod ws { $(#[tokio::test] async fn $name() { super::$name(super::Link::WebSocket).await; })+ }
        mod wss { $(#[tokio::test] async fn $name() { super::$name(super::Link::SecureWebSocket).await; })+ }
        mod udp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Udp).await; })+ }
        mod memory_stream {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+
        }
        mod memory_datagram {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryDatagram).await; })+
        }
    };
}

each_link!(
    two_sessions_get_each_event_once_and_in_order,
    an_event_names_its_topic_subscription_and_content_type,
    nothing_comes_after_unsubscribing,
    the_end_of_a_session_frees_its_subscriptions,
    one_session_cannot_end_anothers_subscription,
    draining_does_not_wait_for_subscribers,
    calls_and_events_share_a_session,
);

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short");
    }
    headers
}

async fn two_sessions_get_each_event_once_and_in_order(link: Link) {
    let bench = link.serve().await;
    let (one, two, publisher) = (
        bench.client().await,
        bench.client().await,
        bench.client().await,
    );
    let (mut first, mut second) = (one.events(), two.events());
    subscribe(&one, "user.*").await;
    subscribe(&two, ">").await;
    for n in 0..100 {
        assert_eq!(
            publish(&publisher, "user.created", &n.to_string()).await,
            "2"
        );
    }
    assert_eq!(publish(&publisher, "user", "end").await, "1");
    for n in 0..100 {
        let expected = ("user.created".to_owned(), n.to_string());
        assert_eq!(told(&next(&mut first).await), expected);
        assert_eq!(told(&next(&mut second).await), expected);
    }
    // Had an event come twice, it would come before this one.
    assert_eq!(told(&next(&mut second).await).1, "end");
    let totals = bench.hub.totals();
    assert_eq!(
        (totals.offered, totals.delivered, totals.dropped),
        (201, 201, 0)
    );
    drop((first, second));
    for client in [one, two, publisher] {
        client.close().await;
    }
    bench.stop().await;
}

async fn an_event_names_its_topic_subscription_and_content_type(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut events = client.events();
    let id = subscribe(&client, "*").await;
    let mut call = postern_core::Call::unary("events", "publish", "7");
    call.headers = headers(&[
        ("event-type", "t"),
        ("content-type", "text/plain"),
        ("authorization", "secret"),
    ]);
    let published = postern_core::Handler::call(&client, call).await;
    assert!(published.is_ok(), "{published:?}");
    let delivery = next(&mut events).await;
    assert_eq!(told(&delivery), ("t".to_owned(), "7".to_owned()));
    assert_eq!((&*delivery.subscription, delivery.missed), (&*id, 0));
    let expected = headers(&[("content-type", "text/plain")]);
    let own = delivery
        .event
        .headers
        .without(|key| matches!(key, b"msg-id"));
    assert_eq!(own, expected);
    drop(events);
    client.close().await;
    bench.stop().await;
}

async fn nothing_comes_after_unsubscribing(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut events = client.events();
    let id = subscribe(&client, "a").await;
    subscribe(&client, "b").await;
    assert_eq!(bench.publish("a", "1"), 1);
    assert_eq!(told(&next(&mut events).await).1, "1");
    call(&client, "unsubscribe", &id)
        .await
        .expect("it was there");
    assert_eq!(bench.publish("a", "2"), 0);
    assert_eq!(bench.publish("b", "3"), 1);
    assert_eq!(told(&next(&mut events).await).1, "3");
    drop(events);
    client.close().await;
    bench.stop().await;
}

async fn the_end_of_a_session_frees_its_subscriptions(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    subscribe(&client, "a").await;
    subscribe(&client, "b.>").await;
    assert_eq!(bench.hub.totals().subscriptions, 2);
    client.close().await;
    bench.until_subscriptions(0).await;
    assert_eq!(bench.publish("a", "1"), 0);
    bench.stop().await;
}

async fn one_session_cannot_end_anothers_subscription(link: Link) {
    let bench = link.serve().await;
    let (owner, other) = (bench.client().await, bench.client().await);
    let id = subscribe(&owner, "a").await;
    let error = call(&other, "unsubscribe", &id).await;
    assert_eq!(error.expect_err("not its own").kind, Kind::NotFound);
    assert_eq!(bench.publish("a", "1"), 1);
    owner.close().await;
    other.close().await;
    bench.stop().await;
}

async fn draining_does_not_wait_for_subscribers(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    subscribe(&client, ">").await;
    let hub = bench.hub.clone();
    let began = tokio::time::Instant::now();
    bench.stop().await;
    // The default drain timeout is 10 s.
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(hub.totals().subscriptions, 0);
}

async fn calls_and_events_share_a_session(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let mut events = client.events();
    subscribe(&client, "n.*").await;
    for n in 0..50 {
        let text = n.to_string();
        assert_eq!(publish(&client, &format!("n.{n}"), &text).await, "1");
        assert_eq!(call(&client, "echo", &text).await.expect("an echo"), text);
    }
    for n in 0..50 {
        assert_eq!(told(&next(&mut events).await).0, format!("n.{n}"));
    }
    drop(events);
    client.close().await;
    bench.stop().await;
}

fn event_frame(topic: &str, payload: &'static str) -> BytesMut {
    let mut octets = BytesMut::new();
    Frame::data(
        headers(&[("type", "event"), ("event-type", topic)]),
        payload,
    )
    .encode(&mut octets)
    .expect("short");
    octets
}

#[tokio::test]
async fn a_bare_event_frame_is_published_and_not_answered() {
    let bench = Link::Tcp.serve().await;
    let client = bench.client().await;
    let mut events = client.events();
    subscribe(&client, "user.*").await;
    let mut raw = TcpStream::connect(bench.target.destination().socket_addr().expect("bound"))
        .await
        .expect("up");
    raw.write_all(&event_frame("user.created", "{}"))
        .await
        .expect("written");
    // One that is no event is passed over as well.
    raw.write_all(&event_frame("user.*", "{}"))
        .await
        .expect("written");
    let mut ping = BytesMut::new();
    Frame::new(FrameType::Ping)
        .encode(&mut ping)
        .expect("short");
    raw.write_all(&ping).await.expect("written");
    let delivery = next(&mut events).await;
    assert_eq!(
        told(&delivery),
        ("user.created".to_owned(), "{}".to_owned())
    );
    // The answer to PING is the first and only one.
    let mut answer = vec![0; ping.len()];
    within(raw.read_exact(&mut answer))
        .await
        .expect("an answer");
    let answer = Frame::decode_datagram(answer.into(), usize::MAX).expect("a frame");
    assert_eq!(answer.kind, FrameType::Pong);
    assert_eq!(bench.hub.totals().refused, 1);
    drop((events, raw));
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_bare_event_datagram_is_published() {
    let bench = Link::Udp.serve().await;
    let client = bench.client().await;
    let mut events = client.events();
    subscribe(&client, ">").await;
    let address = bench.target.destination().socket_addr().expect("bound");
    let mut raw = UdpLink::connect(address).expect("a free port");
    let bytes = event_frame("a.b", "1").freeze();
    let mut queue = [Datagram {
        local: None,
        peer: address,
        bytes,
    }]
    .into();
    std::future::poll_fn(|cx| raw.poll_send(cx, &mut queue))
        .await
        .expect("sent");
    assert_eq!(
        told(&next(&mut events).await),
        ("a.b".to_owned(), "1".to_owned())
    );
    drop(events);
    client.close().await;
    bench.stop().await;
}

async fn a_base_session_gets_events(link: Link) {
    let bench = link.serve().await;
    let speak = Speak::Base;
    let config = ClientConfig {
        speak,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    let mut events = client.events();
    subscribe(&client, "a").await;
    assert_eq!(bench.publish("a", "1"), 1);
    assert_eq!(told(&next(&mut events).await).1, "1");
    // An event that comes while a call is under way is not taken for its answer.
    assert_eq!(publish(&client, "a", "2").await, "1");
    assert_eq!(told(&next(&mut events).await).1, "2");
    drop(events);
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_base_session_over_tcp_gets_events() {
    a_base_session_gets_events(Link::Tcp).await;
}

#[tokio::test]
async fn an_address_that_may_be_forged_gets_no_events() {
    let bench = Link::Udp.serve().await;
    let config = ClientConfig {
        speak: Speak::Base,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    let refused = call(&client, "subscribe", "a").await;
    let error = refused.expect_err("the address is not validated");
    assert_eq!(error.kind, Kind::FailedPrecondition);
    assert_eq!(bench.publish("a", "1"), 0);
    client.close().await;
    bench.stop().await;
}
