//! Keys of a bridge that bound and time, before a broker that the test writes octet by octet.

use std::time::Duration;

use postern_tests::{Gateway, Setup, patiently};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{Listening, connected, publish, publisher, state};
use crate::share;

/// CONNACK of MQTT 5 without properties.
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// A broker that says what the test says.
struct Scripted {
    listener: TcpListener,
}

/// One of its connections.
struct Scene(TcpStream);

impl Scripted {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self { listener }
    }

    fn url(&self) -> String {
        format!("mqtt://{}", self.listener.local_addr().expect("bound"))
    }

    async fn accept(&self) -> Scene {
        let accepted = tokio::time::timeout(Duration::from_secs(60), self.listener.accept());
        let (stream, _) = accepted.await.expect("within a minute").expect("accepts");
        Scene(stream)
    }

    /// Takes a connection; gives its CONNECT.
    async fn greet(&self) -> (Scene, Vec<u8>) {
        let mut scene = self.accept().await;
        let connect = scene.packet().await.expect("a CONNECT");
        assert_eq!(connect[0], 0x10);
        scene.say(CONNACK).await;
        (scene, connect)
    }

    async fn gateway(&self, keys: &str) -> Gateway {
        let config = format!(
            "[bridges.b]\nurl = \"{}\"\nreconnect-min = \"20ms\"\nreconnect-max = \"50ms\"\n{keys}\n",
            self.url()
        );
        Gateway::start(Setup {
            config,
            ..Setup::default()
        })
        .await
    }
}

impl Scene {
    async fn say(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.expect("the gateway reads");
    }

    /// The next packet; none at the end.
    async fn packet(&mut self) -> Option<Vec<u8>> {
        let reading = async {
            let mut packet = vec![self.0.read_u8().await.ok()?];
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let octet = self.0.read_u8().await.ok()?;
                packet.push(octet);
                length |= usize::from(octet & 0x7f) << shift;
                shift += 7;
                if octet & 0x80 == 0 {
                    break;
                }
            }
            let mut rest = vec![0; length];
            self.0.read_exact(&mut rest).await.ok()?;
            packet.extend(rest);
            Some(packet)
        };
        let read = tokio::time::timeout(Duration::from_secs(60), reading);
        read.await.expect("a packet or the end within a minute")
    }

    /// The next packet of that kind, others passed over.
    async fn packet_of(&mut self, first: u8) -> Vec<u8> {
        loop {
            let packet = self.packet().await.expect("the connection is open");
            if packet[0] & 0xf0 == first {
                return packet;
            }
        }
    }
}

fn holds(packet: &[u8], part: &[u8]) -> bool {
    packet.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_receive_maximum_topic_aliases_max_and_packet_bytes_max_stand_in_connect() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let keys = "keep-alive = \"7s\"\nclean-session = false\nsession-expiry = \"258s\"\nclient-id = \"me\"\n\
                receive-maximum = 259\ntopic-aliases-max = 5\npacket-bytes-max = \"70000B\"";
    let _gateway = broker.gateway(keys).await;
    let (mut scene, connect) = broker.greet().await;
    let protocol = [b"\0\x04MQTT\x05", &[0_u8, 0, 7][..]].concat();
    assert!(holds(&connect, &protocol), "{connect:02x?}");
    for property in [
        &[0x11, 0, 0, 1, 2][..],
        &[0x21, 1, 3],
        &[0x22, 0, 5],
        &[0x27, 0, 1, 0x11, 0x70],
        b"\0\x02me",
    ] {
        assert!(
            holds(&connect, property),
            "{connect:02x?} has no {property:02x?}"
        );
    }
    // A packet above the limit ends the connection, with its reason.
    scene.say(&[0x30, 0xff, 0xff, 0x7f]).await;
    let goodbye = scene.packet().await.expect("a DISCONNECT");
    assert_eq!(goodbye, [0xe0, 1, 0x95]);
    assert_eq!(scene.packet().await, None);
    broker.greet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_given_up_after_keep_alive_and_ack_timeout() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let keys = "keep-alive = \"1s\"\nack-timeout = \"300ms\"";
    let gateway = broker.gateway(keys).await;
    let (mut scene, _) = broker.greet().await;
    assert_eq!(scene.packet_of(0xc0).await, [0xc0, 0]);
    let (_next, _) = broker.greet().await;
    patiently("it is told", async || {
        gateway.log().contains("has not answered a ping")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_takes_no_connection_is_given_up_after_connect_timeout() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let gateway = broker.gateway("connect-timeout = \"200ms\"").await;
    let mut silent = broker.accept().await;
    silent.packet().await.expect("a CONNECT");
    let _second = broker.accept().await;
    patiently("it is told", async || {
        let reason = state(&gateway, "b").await["reason"].to_string();
        reason.contains("not taken the connection within 200ms")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_in_flight_max_is_under_way_and_an_unacknowledged_message_comes_again() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let keys = "in-flight-max = 2\nack-timeout = \"400ms\"\nclean-session = false\nclient-id = \"me\"\n\
                [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 1";
    let gateway = broker.gateway(keys).await;
    let (mut scene, _) = broker.greet().await;
    connected(&gateway, "b").await;
    let handler = publisher(&gateway).await;
    for number in 0..3 {
        publish(&handler, "out.x", &number.to_string()).await;
    }
    let (first, second) = (scene.packet_of(0x30).await, scene.packet_of(0x30).await);
    // The third does not come: what comes is the end, because nothing is acknowledged.
    loop {
        match scene.packet().await {
            None => break,
            Some(packet) => assert_ne!(packet[0] & 0xf0, 0x30, "{packet:02x?}"),
        }
    }
    let mut scene = broker.accept().await;
    scene.packet().await.expect("a CONNECT");
    scene.say(&[0x20, 3, 1, 0, 0]).await;
    for before in [first, second] {
        let again = scene.packet_of(0x30).await;
        assert_eq!(again[0], 0x3a, "a repetition says so");
        let id_at = 2 + 2 + "out/x".len();
        assert_eq!(again[id_at..id_at + 2], before[id_at..id_at + 2]);
        scene.say(&[0x40, 2, again[id_at], again[id_at + 1]]).await;
    }
    let third = scene.packet_of(0x30).await;
    assert_eq!((third[0], third.last()), (0x32, Some(&b'2')));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_acknowledged_after_its_event_was_accepted_or_refused_for_good() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let keys = "[bridges.b.topics.in]\nfilter = \"#\"\nqos = 1";
    let gateway = broker.gateway(keys).await;
    let (mut scene, _) = broker.greet().await;
    let subscribe = scene.packet_of(0x80).await;
    scene
        .say(&[0x90, 4, subscribe[2], subscribe[3], 0, 1])
        .await;
    let mut heard = Listening::to(&gateway, &["in.>"]).await;
    scene.say(b"\x32\x0b\0\x04in/x\0\x01\0ok").await;
    assert_eq!(scene.packet_of(0x40).await[..4], [0x40, 2, 0, 1]);
    assert_eq!(heard.next().await.payload, "ok");
    // Topics of the gateway itself are nobody else's.
    scene.say(b"\x32\x0f\0\x09postern/x\0\x02\0x").await;
    assert_eq!(scene.packet_of(0x40).await[2..5], [0, 2, 0x87]);
    patiently("it is counted", async || {
        state(&gateway, "b").await["refused"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_grow_from_reconnect_min_and_nothing_that_a_broker_says_ends_the_gateway() {
    let _machine = share().await;
    let broker = Scripted::start().await;
    let gateway = broker.gateway("").await;
    for octets in [
        &[0xff_u8][..],
        &[0x00, 0x00],
        &[0x20, 2, 0],
        &[0x20, 3, 0, 0x87, 0],
        &[0x20, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0],
        &[0x40, 2, 0, 1],
    ] {
        let mut scene = broker.accept().await;
        scene.packet().await.expect("a CONNECT");
        scene.say(octets).await;
        drop(scene);
    }
    for octets in [
        &[0x40_u8, 2, 0, 9][..],
        &[0x50, 1, 0],
        &[0x90, 3, 0, 1, 0],
        &[0x32, 4, 0, 9, b'a', 0],
        &[0x62, 2, 0, 0],
        &[0xf0, 0],
        &[0xe0, 2, 0x8e, 0],
        &[0x10, 0],
    ] {
        let (mut scene, _) = broker.greet().await;
        scene.say(octets).await;
        while scene.packet().await.is_some() {}
    }
    let (_scene, _) = broker.greet().await;
    connected(&gateway, "b").await;
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}
