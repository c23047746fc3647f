//! Events that peers send as datagrams.

use postern_core::wire::{Flags, Frame, FrameType};
use postern_net::{QuicConfig, ServerConfig};
use quinn::{TransportConfig, VarInt};

use super::{QuicBench, until};
use crate::sessions::{encode, headers};

fn event(n_bytes: usize) -> Frame {
    let pairs = [("type", "event"), ("event-type", "user.created")];
    Frame::data(headers(&pairs), vec![7; n_bytes])
}

#[tokio::test]
async fn an_event_that_comes_as_a_datagram_is_published() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let octets = encode(&event(100)).freeze();
    peer.connection.send_datagram(octets).expect("it fits");
    until(|| bench.n_calls() == 1).await;
    assert_eq!(peer.echo("x").await, "x");
    bench.end().await;
}

#[tokio::test]
async fn whatever_else_comes_as_a_datagram_is_counted_and_dropped() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let mut damaged = encode(&event(10));
    damaged[20] ^= 1;
    let acknowledged = Frame {
        flags: Flags::REQ_ACK,
        ..event(10)
    };
    for octets in [
        encode(&crate::sessions::request("echo", "1", "x")),
        encode(&Frame::new(FrameType::Bye)),
        encode(&acknowledged),
        b"GET / HTTP/1.1".as_slice().into(),
        damaged,
    ] {
        let sent = peer.connection.send_datagram(octets.freeze());
        sent.expect("it fits");
    }
    until(|| {
        let counters = &bench.counters;
        (
            counters.protocol_errors.value(),
            counters.crc_errors.value(),
        ) == (4, 1)
    })
    .await;
    assert_eq!((bench.n_calls(), &*peer.echo("x").await), (0, "x"));
    bench.end().await;
}

/// While its calls are at their limit a peer's events are not read; those beyond the buffer are lost,
/// and counted.
#[tokio::test]
async fn a_flood_of_datagrams_is_bounded_and_counted() {
    const N_EVENTS: usize = 400;
    const BUFFER: usize = 64 * 1024;
    let config = ServerConfig {
        calls_in_flight_max: 1,
        ..ServerConfig::default()
    };
    let quic = QuicConfig {
        datagram_bytes_max: Some(BUFFER),
        ..QuicConfig::listener()
    };
    let bench = QuicBench::serve_with(config, quic);
    let mut transport = TransportConfig::default();
    // What is not sent yet is not counted as arrived.
    transport.datagram_send_buffer_size(4 * 1024);
    let mut peer = bench.peer_with(transport).await;
    let mut call = peer.call("1", "never", 1).await;
    until(|| bench.n_calls() == 1).await;
    let octets = encode(&event(1000)).freeze();
    for _ in 0..N_EVENTS {
        let sent = peer.connection.send_datagram_wait(octets.clone()).await;
        sent.expect("it fits");
    }
    assert_eq!(bench.n_calls(), 1, "no event is taken");
    call.send.reset(VarInt::from_u32(0x101)).expect("open");
    assert_eq!(peer.echo("x").await, "x");
    let n_events = bench.n_calls() - 2;
    assert!(n_events <= BUFFER / 1000, "{n_events} events");
    let counters = std::sync::Arc::clone(&bench.counters);
    drop((peer, call));
    bench.end().await;
    let n_dropped = counters.datagrams_dropped.value();
    assert!(n_dropped > 100, "{n_dropped} dropped");
}

#[tokio::test]
async fn who_offers_no_datagrams_is_sent_none() {
    let quic = QuicConfig {
        datagram_bytes_max: None,
        ..QuicConfig::listener()
    };
    let bench = QuicBench::serve_with(ServerConfig::default(), quic);
    let peer = bench.peer().await;
    assert_eq!(peer.connection.max_datagram_size(), None);
    bench.end().await;
}
