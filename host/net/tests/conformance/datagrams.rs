//! What only datagram links do: losing, repeating, staying silent, and peers without connections.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use postern_core::{
    Call, Handler, Headers, Kind,
    wire::{Dialect, Flags, Frame, FrameType, RetryConfig},
};
use postern_net::{
    Client, ClientConfig, ServerConfig, Speak,
    link::{Datagram, DatagramLink},
    memory::Conditions,
};

use crate::links::{Bench, Link, unary, within};

/// The same tests once per datagram link.
macro_rules! each_datagram_link {
    ($($name:ident),+ $(,)?) => {
        mod udp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Udp).await; })+ }
        mod memory_datagram {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryDatagram).await; })+
        }
    };
}

each_datagram_link!(
    hello_is_answered_by_welcome,
    garbage_is_answered_by_silence_and_counted,
    ping_is_answered_by_pong_with_the_same_payload,
    a_published_easy_client_is_served_and_acknowledged,
    a_repeated_message_is_acknowledged_again_and_handled_once,
    a_base_client_matches_answers_by_order,
    draining_finishes_what_is_in_flight_and_takes_nothing_new,
    steady_traffic_does_not_hold_up_draining,
    the_end_cuts_at_once,
    calls_over_the_limit_are_refused_by_name,
    one_peer_over_the_limit_is_counted,
    closing_a_client_ends_its_session_at_the_server,
);

const SOON: Duration = Duration::from_secs(10);

/// A datagram socket without an endpoint of ours.
pub(crate) struct RawSocket {
    link: Box<dyn DatagramLink>,
    bench: std::net::SocketAddr,
    arrived: Vec<Datagram>,
}

impl RawSocket {
    pub(crate) fn of(bench: &Bench) -> Self {
        Self {
            link: bench.raw_socket(),
            bench: bench.target.destination().socket_addr().expect("bound"),
            arrived: Vec::new(),
        }
    }

    async fn send(&mut self, bytes: impl Into<Bytes>) {
        let mut queue = [Datagram {
            local: None,
            peer: self.bench,
            bytes: bytes.into(),
        }]
        .into();
        std::future::poll_fn(|cx| self.link.poll_send(cx, &mut queue))
            .await
            .expect("sent");
    }

    pub(crate) async fn send_frame(&mut self, frame: &Frame) {
        let mut octets = BytesMut::new();
        frame.encode(&mut octets).expect("short");
        self.send(octets).await;
    }

    pub(crate) async fn recv(&mut self) -> Frame {
        if self.arrived.is_empty() {
            let arrived = &mut self.arrived;
            let recv = std::future::poll_fn(|cx| self.link.poll_recv(cx, arrived));
            within(SOON, recv).await.expect("received");
        }
        let datagram = self.arrived.remove(0);
        Frame::decode_datagram(datagram.bytes, usize::MAX).expect("a frame")
    }

    async fn is_silent(&mut self) -> bool {
        let arrived = &mut self.arrived;
        let recv = std::future::poll_fn(|cx| self.link.poll_recv(cx, arrived));
        tokio::time::timeout(Duration::from_millis(100), recv)
            .await
            .is_err()
    }
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short");
    }
    headers
}

fn defaulted() -> ServerConfig {
    ServerConfig {
        default_service: Some("test".into()),
        ..ServerConfig::default()
    }
}

pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    within(SOON, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn hello_is_answered_by_welcome(link: Link) {
    let bench = link.serve().await;
    let mut raw = RawSocket::of(&bench);
    let hello = Frame {
        headers: headers(&[("agent", "test/1.0")]),
        ..Frame::new(FrameType::Hello)
    };
    raw.send_frame(&hello).await;
    let welcome = raw.recv().await;
    assert_eq!(welcome.kind, FrameType::Welcome);
    assert_eq!(
        welcome.headers.get_str("session-id").expect("an id").len(),
        32
    );
    let client = bench.client().await;
    assert!(matches!(client.dialect(), Dialect::Full(_)));
    client.close().await;
    bench.stop().await;
}

async fn garbage_is_answered_by_silence_and_counted(link: Link) {
    let bench = link.serve().await;
    let mut raw = RawSocket::of(&bench);
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    let mut damaged = BytesMut::new();
    Frame::data(Headers::new(), "x")
        .encode(&mut damaged)
        .expect("short");
    damaged[12] ^= 1;
    raw.send(damaged).await;
    assert!(raw.is_silent().await);
    assert_eq!(bench.counters.protocol_errors.value(), 1);
    assert_eq!(bench.counters.crc_errors.value(), 1);
    let client = bench.client().await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

async fn ping_is_answered_by_pong_with_the_same_payload(link: Link) {
    let bench = link.serve().await;
    let mut raw = RawSocket::of(&bench);
    raw.send_frame(&Frame {
        payload: "still there".into(),
        ..Frame::new(FrameType::Ping)
    })
    .await;
    let pong = raw.recv().await;
    assert_eq!(
        (pong.kind, &pong.payload[..]),
        (FrameType::Pong, &b"still there"[..])
    );
    bench.stop().await;
}

async fn a_published_easy_client_is_served_and_acknowledged(link: Link) {
    let bench = link.serve_with(defaulted(), Conditions::default()).await;
    let mut raw = RawSocket::of(&bench);
    let pairs = [("content-type", "application/json"), ("msg-id", "007")];
    let json = r#"{"content":"xx"}"#;
    let request = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(headers(&pairs), json)
    };
    raw.send_frame(&request).await;
    let ack = raw.recv().await;
    assert_eq!(
        ack,
        Frame {
            headers: headers(&[("msg-id", "7")]),
            ..Frame::new(FrameType::Ack)
        }
    );
    assert_eq!(raw.recv().await, Frame::data(Headers::new(), json));
    bench.stop().await;
}

async fn a_repeated_message_is_acknowledged_again_and_handled_once(link: Link) {
    let bench = link.serve_with(defaulted(), Conditions::default()).await;
    let mut raw = RawSocket::of(&bench);
    let request = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(headers(&[("msg-id", "1")]), "{}")
    };
    let mut kinds = Vec::new();
    for _ in 0..3 {
        raw.send_frame(&request).await;
        kinds.push(raw.recv().await.kind);
    }
    kinds.push(raw.recv().await.kind);
    kinds.sort_by_key(|kind| *kind as u8);
    use FrameType::{Ack, Data};
    assert_eq!(kinds, [Data, Ack, Ack, Ack]);
    assert_eq!(bench.service.n_calls.load(Ordering::SeqCst), 1);
    assert_eq!(bench.counters.duplicates.value(), 2);
    bench.stop().await;
}

async fn a_base_client_matches_answers_by_order(link: Link) {
    let bench = link.serve_with(defaulted(), Conditions::default()).await;
    let config = ClientConfig {
        speak: Speak::Base,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    assert_eq!(client.dialect(), Dialect::Base);
    let both = tokio::join!(unary(&client, "echo", "1"), unary(&client, "echo", "2"));
    assert_eq!(
        (both.0.expect("first"), both.1.expect("second")),
        ("1".into(), "2".into())
    );
    client.close().await;
    bench.stop().await;
}

async fn draining_finishes_what_is_in_flight_and_takes_nothing_new(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let slow = unary(&client, "sleep", "300");
    let drain = async {
        until(|| bench.service.n_calls.load(Ordering::SeqCst) > 0).await;
        bench.shutdown.drain();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let config = ClientConfig {
            speak: Speak::Vsp,
            ..ClientConfig::default()
        };
        let connecting = Client::connect(bench.target.clone(), config);
        tokio::time::timeout(Duration::from_millis(200), connecting).await
    };
    let (answer, late) = tokio::join!(slow, drain);
    assert_eq!(answer.expect("what was in flight is answered"), "300");
    assert!(late.is_err(), "a new peer was taken while draining");
    bench.stop().await;
}

async fn steady_traffic_does_not_hold_up_draining(link: Link) {
    let bench = link.serve_with(defaulted(), Conditions::default()).await;
    let mut raw = RawSocket::of(&bench);
    let request = Frame::data(Headers::new(), "{}");
    raw.send_frame(&request).await;
    // What it gets has the form of a request without its header.
    let marked = headers(&[("type", "response")]);
    assert_eq!(raw.recv().await, Frame::data(marked, "{}"));
    let traffic = async {
        loop {
            raw.send_frame(&request).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let stopped = within(Duration::from_secs(2), bench.stop());
    tokio::select! { () = traffic => {}, () = stopped => {} }
}

async fn the_end_cuts_at_once(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let never = tokio::spawn(client.call(Call::unary("test", "never", "")));
    until(|| bench.service.n_calls.load(Ordering::SeqCst) > 0).await;
    bench.shutdown.end();
    until(|| bench.service.n_cancelled.load(Ordering::SeqCst) > 0).await;
    assert_eq!(bench.counters.connections_open(), 0);
    never.abort();
    within(Duration::from_secs(1), bench.stop()).await;
}

async fn calls_over_the_limit_are_refused_by_name(link: Link) {
    let config = ServerConfig {
        calls_in_flight_max: 2,
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let client = bench.client().await;
    let (one, two, three) = tokio::join!(
        unary(&client, "sleep", "100"),
        unary(&client, "sleep", "100"),
        unary(&client, "sleep", "100"),
    );
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(
        three.expect_err("over the limit").kind,
        Kind::ResourceExhausted
    );
    // Their places are free again.
    assert!(unary(&client, "sleep", "1").await.is_ok());
    client.close().await;
    bench.stop().await;
}

async fn one_peer_over_the_limit_is_counted(link: Link) {
    let config = ServerConfig {
        connections_max: 2,
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let clients = [bench.client().await, bench.client().await];
    for client in &clients {
        // By then its address is known to be no forgery.
        assert_eq!(unary(client, "echo", "x").await.expect("an echo"), "x");
    }
    let config = ClientConfig {
        speak: Speak::Vsp,
        ..ClientConfig::default()
    };
    let refused = Client::connect(bench.target.clone(), config).await;
    assert_eq!(
        refused.expect_err("over the limit").kind,
        Kind::FailedPrecondition
    );
    assert!(bench.counters.connections_refused.value() >= 1);
    for client in clients {
        assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
        client.close().await;
    }
    bench.stop().await;
}

async fn closing_a_client_ends_its_session_at_the_server(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    assert_eq!(bench.counters.connections_open(), 1);
    client.close().await;
    until(|| bench.counters.connections_open() == 0).await;
    bench.stop().await;
}

/// 100 calls of 50 KB each way over 10 % loss, 10 % duplication and reordering, in virtual time.
#[tokio::test(start_paused = true)]
async fn every_call_arrives_once_over_a_bad_network() {
    let conditions = Conditions {
        loss_percent: 10,
        duplicate_percent: 10,
        reorder_percent: 20,
        delay: Duration::from_millis(10),
        mtu: 1200,
        ..Conditions::default()
    };
    let bench = Link::MemoryDatagram
        .serve_with(ServerConfig::default(), conditions)
        .await;
    let retry = RetryConfig {
        max_retries: 10,
        ..RetryConfig::default()
    };
    let call_timeout = Duration::from_secs(600);
    let client = bench.client_with(ClientConfig {
        retry,
        call_timeout,
        ..ClientConfig::default()
    });
    let client = Arc::new(client.await);
    let calls = (0..100_usize).map(|n| {
        let client = Arc::clone(&client);
        async move {
            let body: Bytes = (0..50_000).map(|at| ((at + n) % 251) as u8).collect();
            let echoed = unary(&client, "echo", body.clone()).await;
            assert!(
                echoed.expect("an echo") == body,
                "call {n} came back different"
            );
        }
    });
    join_all(calls).await;
    assert_eq!(bench.service.n_calls.load(Ordering::SeqCst), 100);
    assert!(
        bench.counters.retransmits.value() > 0,
        "nothing was repeated"
    );
    assert!(
        bench.counters.duplicates.value() > 0,
        "nothing arrived twice"
    );
    bench.stop().await;
}

/// Nobody answers: the caller is told so when the repetitions are over.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_acknowledged_is_unavailable() {
    let bench = Link::MemoryDatagram.serve().await;
    let client = bench.client().await;
    bench.network.cut();
    let error = unary(&client, "echo", "x")
        .await
        .expect_err("the network is cut");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("not acknowledged after"),
        "{}",
        error.message
    );
    bench.network.heal();
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    bench.stop().await;
}
