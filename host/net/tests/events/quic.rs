//! Events as QUIC datagrams: to who offers to take them, of a length that fits, and lost for good.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::event::HubConfig;
use postern_net::{
    Client, ClientConfig, QuicConfig, QuicDialer, ServerConfig, Target, client::Events,
};

use crate::{
    bench::{Bench, Link, call, next, subscribe, within},
    relay::Relay,
    server::quic::certificate,
};

/// Octets of an event that fits into a datagram, which no other event shares with it.
const SHORT: usize = 900;

async fn serve() -> Bench {
    let bench = Link::Quic.serve_with(ServerConfig::default(), HubConfig::default());
    bench.await
}

/// A client that offers to take datagrams, on a path that may be cut.
async fn taking_datagrams(bench: &Bench) -> (Client, Relay) {
    let server = bench.target.destination().socket_addr().expect("bound");
    let relay = Relay::to(server).await;
    let config = QuicConfig {
        datagram_bytes_max: Some(64 * 1024),
        ..QuicConfig::default()
    };
    let dialer = QuicDialer::new(Arc::new(certificate().client()), config).expect("settings");
    let target = Target::quic(dialer, relay.address);
    let client = Client::connect(target, ClientConfig::default()).await;
    (client.expect("up"), relay)
}

/// An event that begins with its number.
fn payload(n: u8, n_bytes: usize) -> Bytes {
    let mut payload = vec![7; n_bytes];
    payload[0] = n;
    payload.into()
}

async fn numbers(events: &mut Events, n_events: usize) -> Vec<u8> {
    let mut numbers = Vec::new();
    for _ in 0..n_events {
        numbers.push(next(events).await.event.payload[0]);
    }
    numbers
}

#[tokio::test]
async fn events_that_are_lost_end_nothing_and_do_not_come_again() {
    let bench = serve().await;
    let (client, relay) = taking_datagrams(&bench).await;
    let mut events = client.events();
    subscribe(&client, "user.*").await;
    for n in 0..3 {
        bench.publish("user.created", payload(n, SHORT));
        assert_eq!(numbers(&mut events, 1).await, [n]);
    }
    relay.to_client.cut(true);
    for n in 3..8 {
        bench.publish("user.created", payload(n, SHORT));
    }
    within(async {
        while relay.to_client.n_large_lost() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    relay.to_client.cut(false);
    // A call comes through: its reply is sent again when it is lost.
    assert_eq!(call(&client, "echo", "x").await.expect("an echo"), "x");
    bench.publish("user.created", payload(8, SHORT));
    assert_eq!(numbers(&mut events, 1).await, [8]);
    assert_eq!(bench.counters.connections_opened.value(), 1);
    drop(events);
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn an_event_that_fits_no_datagram_comes_on_the_sessions_stream() {
    let bench = serve().await;
    let (client, relay) = taking_datagrams(&bench).await;
    let mut events = client.events();
    subscribe(&client, "user.*").await;
    relay.to_client.cut(true);
    bench.publish("user.created", payload(1, 100 * 1024));
    within(async {
        while relay.to_client.n_large_lost() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    relay.to_client.cut(false);
    // It was lost, and is sent again.
    assert_eq!(numbers(&mut events, 1).await, [1]);
    drop(events);
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn who_offers_no_datagrams_loses_no_event() {
    let bench = serve().await;
    let server = bench.target.destination().socket_addr().expect("bound");
    let relay = Relay::to(server).await;
    let client = Client::connect(
        crate::server::quic::target(relay.address),
        ClientConfig::default(),
    );
    let client = Arc::new(client.await.expect("up"));
    let mut events = client.events();
    subscribe(&client, "user.*").await;
    relay.to_client.cut(true);
    for n in 0..5 {
        bench.publish("user.created", payload(n, SHORT));
    }
    within(async {
        while relay.to_client.n_large_lost() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    relay.to_client.cut(false);
    assert_eq!(numbers(&mut events, 5).await, [0, 1, 2, 3, 4]);
    drop((events, client));
    bench.stop().await;
}
