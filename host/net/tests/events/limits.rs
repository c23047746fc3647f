//! What a subscriber costs that does not keep up: itself its events, and nobody else anything.

use std::time::Duration;

use bytes::BytesMut;
use postern_core::{
    Headers,
    event::{HubConfig, QueueBounds},
    limits::Limits,
    wire::{Frame, SessionConfig},
};
use postern_net::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bench::{Bench, Link, next, subscribe, within};

const N_EVENTS: u64 = 3000;

fn small_queue() -> HubConfig {
    HubConfig {
        queue: QueueBounds {
            events_max: 16,
            bytes_max: 8 * 1024 * 1024,
        },
        ..HubConfig::default()
    }
}

/// Subscribes on a session that then reads nothing.
async fn subscribe_raw(bench: &Bench) -> TcpStream {
    let mut headers = Headers::new();
    for (key, value) in [("service", "events"), ("method", "subscribe")] {
        headers.push(key, value).expect("short");
    }
    let mut octets = BytesMut::new();
    Frame::data(headers, ">")
        .encode(&mut octets)
        .expect("short");
    let mut raw = TcpStream::connect(bench.target.destination().socket_addr().expect("bound"))
        .await
        .expect("up");
    raw.write_all(&octets).await.expect("written");
    bench.until_subscriptions(1).await;
    raw
}

/// Reads DATA frames with the number of events each tells as missed, until `n` are accounted for.
async fn account(raw: &mut TcpStream, n: u64) -> (u64, u64) {
    let (mut n_read, mut n_missed) = (0, 0);
    while n_read + n_missed < n {
        let mut head = [0; 11];
        raw.read_exact(&mut head).await.expect("a head");
        let headers = usize::from(u16::from_le_bytes([head[5], head[6]]));
        let payload = u32::from_be_bytes([head[7], head[8], head[9], head[10]]);
        let mut octets = head.to_vec();
        let payload = usize::try_from(payload).expect("short");
        octets.resize(11 + headers + payload + 4, 0);
        raw.read_exact(&mut octets[11..]).await.expect("a frame");
        let frame = Frame::decode_datagram(octets.into(), usize::MAX).expect("a frame");
        if frame.headers.get_str("type").as_deref() != Some("event") {
            continue;
        }
        let missed = frame.headers.get_str("missed");
        n_missed += missed.map_or(0, |missed| missed.parse::<u64>().expect("a number"));
        n_read += 1;
    }
    (n_read, n_missed)
}

#[tokio::test]
async fn a_session_that_does_not_read_loses_events_is_told_how_many_and_stays() {
    let bench = Link::Tcp
        .serve_with(ServerConfig::default(), small_queue())
        .await;
    let mut raw = subscribe_raw(&bench).await;
    let quick = bench.client().await;
    let mut events = quick.events();
    subscribe(&quick, ">").await;
    // 48 MB: more than sockets and the session's queue hold together.
    for n in 0..N_EVENTS {
        assert_eq!(bench.publish(&format!("t.{n}"), vec![7; 16 * 1024]), 2);
        let delivery = next(&mut events).await;
        assert_eq!(
            (&*delivery.event.topic, delivery.missed),
            (&*format!("t.{n}"), 0)
        );
    }
    let dropped = bench.hub.subscriptions()[0].counts.dropped;
    assert!(dropped > 0, "nothing was dropped");
    let (n_read, n_missed) = within(account(&mut raw, N_EVENTS)).await;
    assert_eq!(
        (n_read + n_missed, n_missed),
        (N_EVENTS, bench.hub.totals().dropped)
    );
    assert_eq!(bench.counters.slow_readers.value(), 0);
    drop((raw, events));
    quick.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn events_never_fill_the_queue_that_closes_a_session() {
    let limits = Limits {
        queue_messages_max: 2,
        queue_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let session = SessionConfig {
        limits,
        ..SessionConfig::default()
    };
    let config = ServerConfig {
        session,
        ..ServerConfig::default()
    };
    let bench = Link::Tcp.serve_with(config, small_queue()).await;
    let mut raw = subscribe_raw(&bench).await;
    for n in 0..1000_u32 {
        bench.publish("t", vec![7; 48 * 1024]);
        if n.is_multiple_of(16) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    within(account(&mut raw, 1000)).await;
    assert_eq!(bench.counters.slow_readers.value(), 0);
    drop(raw);
    bench.stop().await;
}

#[tokio::test]
async fn an_event_larger_than_the_peers_frames_is_told_as_missed() {
    let bench = Link::Tcp.serve().await;
    let limits = Limits {
        frame_bytes_max: 4096,
        ..Limits::default()
    };
    let session = SessionConfig {
        limits,
        ..SessionConfig::default()
    };
    let config = ClientConfig {
        session,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    let mut events = client.events();
    subscribe(&client, ">").await;
    bench.publish("large", vec![7; 8192]);
    bench.publish("small", "1");
    let delivery = next(&mut events).await;
    assert_eq!((&*delivery.event.topic, delivery.missed), ("small", 1));
    let totals = bench.hub.totals();
    assert_eq!((totals.delivered, totals.dropped), (1, 1));
    drop(events);
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_events_loses_the_oldest_and_is_told() {
    for link in [
        Link::Tcp,
        Link::Udp,
        Link::MemoryStream,
        Link::MemoryDatagram,
    ] {
        let bench = link.serve().await;
        let config = ClientConfig {
            events: QueueBounds {
                events_max: 8,
                bytes_max: usize::MAX,
            },
            ..ClientConfig::default()
        };
        let client = bench.client_with(config).await;
        let mut events = client.events();
        subscribe(&client, ">").await;
        for n in 0..20 {
            bench.publish(&format!("t.{n}"), "");
        }
        within(async {
            while bench.hub.totals().delivered < 20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        // A reply comes behind all events that were sent before it.
        let echo = crate::bench::call(&client, "echo", "x").await;
        assert_eq!(echo.expect("an echo"), "x");
        let delivery = next(&mut events).await;
        assert_eq!(
            (&*delivery.event.topic, delivery.missed),
            ("t.12", 12),
            "{link:?}"
        );
        for n in 13..20 {
            assert_eq!(&*next(&mut events).await.event.topic, format!("t.{n}"));
        }
        drop(events);
        client.close().await;
        bench.stop().await;
    }
}
