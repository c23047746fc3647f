//! The client of MQTT brokers as a broker of others (`EventBroker`), before brokers that are written out
//! octet by octet: good ones, and some that stall, lie, and close in the middle.
#![expect(
    clippy::indexing_slicing,
    reason = "tests fail by panicking; clippy forgives that inside of `#[test]` only"
)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Call, Kind, Text,
    event::{Event, Publisher, QueueBounds, TopicPattern, broker::EventBroker},
    mqtt::{MqttVersion, Qos, Reason},
};
use postern_net::mqtt_client::{
    BrokerClient, BrokerClientConfig, BrokerClientParts, BrokerMessage, BrokerObserver,
    BrokerQueueFull, BrokerSubscription,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
const CONNACK_V3: &[u8] = &[0x20, 2, 0, 0];
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that runs, and where its broker is to be.
struct Fixture {
    listener: TcpListener,
    client: BrokerClient,
    observer: Arc<Observer>,
    shutdown: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// One connection of the client.
struct Connection(TcpStream);

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Observer {
    taken: Mutex<Vec<BrokerMessage>>,
    told: Mutex<Vec<String>>,
}

impl BrokerObserver for Observer {
    fn take(&self, message: BrokerMessage) -> BoxFuture<Reason> {
        self.taken.lock().push(message);
        Box::pin(std::future::ready(Reason::SUCCESS))
    }

    fn on_connected(&self, has_session: bool) {
        self.told.lock().push(format!("connected {has_session}"));
    }

    fn on_lost(&self, reason: &str) {
        self.told.lock().push(format!("lost {reason}"));
    }

    fn on_refused(&self, filter: &Text, reason: Reason) {
        self.told.lock().push(format!("refused {filter} {reason}"));
    }
}

impl Fixture {
    async fn start(version: MqttVersion, filters: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let authority = listener.local_addr().expect("bound").to_string();
        let config = BrokerClientConfig {
            authority: authority.into(),
            version,
            client_id: "c".into(),
            ack_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            back_off_min: Duration::from_millis(10),
            back_off_max: Duration::from_millis(20),
            requests_max: 2,
            ..BrokerClientConfig::default()
        };
        let observer = Arc::new(Observer::default());
        let subscriptions = filters.iter().map(|filter| BrokerSubscription {
            filter: (*filter).into(),
            qos: Qos::AtLeastOnce,
            is_bridge: true,
        });
        let parts = BrokerClientParts {
            subscriptions: subscriptions.collect(),
            observer: Some(Arc::clone(&observer) as Arc<dyn BrokerObserver>),
            queue: QueueBounds::default(),
            when_full: BrokerQueueFull::DropOldest,
        };
        let (client, driver) = BrokerClient::new(config, parts);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(driver.run(shutdown.clone()));
        Self {
            listener,
            client,
            observer,
            shutdown,
            task: AbortOnDropHandle::new(task),
        }
    }

    async fn accept(&self) -> Connection {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("in time").expect("accepts");
        let mut connection = Connection(stream);
        let connect = connection.packet().await.expect("a CONNECT");
        assert_eq!(connect[0], 0x10);
        connection
    }

    /// A connection that the broker has taken.
    async fn greet(&self, connack: &[u8]) -> Connection {
        let mut connection = self.accept().await;
        connection.say(connack).await;
        let connected = async {
            while !self.client.link().is_connected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, connected).await.expect("in time");
        connection
    }

    async fn lost(&self) -> String {
        let lost = async {
            loop {
                let told = self.observer.told.lock().clone();
                if let Some(lost) = told.iter().find(|told| told.starts_with("lost")) {
                    return lost.clone();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, lost).await.expect("in time")
    }
}

impl Connection {
    async fn say(&mut self, octets: &[u8]) {
        // A client that has had enough closes.
        let _ = self.0.write_all(octets).await;
    }

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
        timeout(PATIENCE, reading)
            .await
            .expect("a packet or the end in time")
    }
}

fn event(topic: &str) -> Event {
    Event {
        topic: topic.into(),
        headers: postern_core::Headers::new(),
        payload: Bytes::from_static(b"x"),
        publisher: Publisher::default(),
    }
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).expect("a pattern")
}

/// A property of a packet, behind its identifier.
fn after<'p>(packet: &'p [u8], identifier: &[u8]) -> &'p [u8] {
    let at = packet
        .windows(identifier.len())
        .position(|window| window == identifier);
    &packet[at.expect("the property is there") + identifier.len()..]
}

#[tokio::test]
async fn publishing_resolves_with_the_acknowledgement_and_fails_without_a_connection() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let away = fixture.client.clone();
    let early = EventBroker::publish(&away, event("a.b")).await;
    assert_eq!(early.expect_err("no connection").kind, Kind::Unavailable);
    let mut connection = fixture.greet(CONNACK).await;
    let publishing = tokio::spawn(EventBroker::publish(&fixture.client, event("a.b")));
    let packet = connection.packet().await.expect("a PUBLISH");
    assert_eq!(packet[..7], [0x32, 9, 0, 3, b'a', b'/', b'b']);
    let id = [packet[7], packet[8]];
    assert!(!publishing.is_finished());
    connection.say(&[0x40, 2, id[0], id[1]]).await;
    publishing.await.expect("no panic").expect("acknowledged");
    let publishing = tokio::spawn(EventBroker::publish(&fixture.client, event("a.b")));
    connection.packet().await.expect("a PUBLISH");
    drop(connection);
    let broken = publishing.await.expect("no panic");
    assert_eq!(broken.expect_err("it broke").kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_subscription_gets_what_its_patterns_want_until_it_is_dropped() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    let patterns = vec![pattern("a.>"), pattern("b.*")];
    let subscribing = tokio::spawn(EventBroker::subscribe(&fixture.client, patterns));
    let packet = connection.packet().await.expect("a SUBSCRIBE");
    assert_eq!(packet[0], 0x82);
    assert!(packet.windows(3).any(|window| window == b"a/#"));
    connection
        .say(&[0x90, 5, packet[2], packet[3], 0, 1, 1])
        .await;
    let mut source = subscribing.await.expect("no panic").expect("granted");
    // `a/#` brings `a` as well, which the pattern does not want.
    connection.say(b"\x30\x05\0\x01a\0x").await;
    connection.say(b"\x30\x07\0\x03a/b\0y").await;
    let next = timeout(PATIENCE, source.next()).await.expect("in time");
    assert_eq!(next.expect("open").topic, "a.b");
    drop(source);
    let packet = connection.packet().await.expect("an UNSUBSCRIBE");
    assert_eq!(packet[0], 0xa2);
}

#[tokio::test]
async fn a_subscription_that_the_broker_refuses_fails() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    let subscribing = EventBroker::subscribe(&fixture.client, vec![pattern("a")]);
    let subscribing = tokio::spawn(subscribing);
    let packet = connection.packet().await.expect("a SUBSCRIBE");
    connection
        .say(&[0x90, 4, packet[2], packet[3], 0, 0x87])
        .await;
    let refused = subscribing.await.expect("no panic").expect_err("refused");
    assert_eq!(refused.kind, Kind::PermissionDenied);
}

#[tokio::test]
async fn readers_and_own_subscriptions_are_asked_for_again_where_the_session_is_new() {
    let fixture = Fixture::start(MqttVersion::V5, &["own/#"]).await;
    let mut connection = fixture.greet(CONNACK).await;
    connection.packet().await.expect("its own SUBSCRIBE");
    let subscribing = EventBroker::subscribe(&fixture.client, vec![pattern("later")]);
    let subscribing = tokio::spawn(subscribing);
    let packet = connection.packet().await.expect("a SUBSCRIBE");
    connection.say(&[0x90, 4, packet[2], packet[3], 0, 1]).await;
    let _source = subscribing.await.expect("no panic").expect("granted");
    drop(connection);
    let mut connection = fixture.greet(CONNACK).await;
    let packet = connection.packet().await.expect("a SUBSCRIBE");
    for filter in [&b"own/#"[..], b"later"] {
        assert!(packet.windows(filter.len()).any(|window| window == filter));
    }
    connection
        .say(&[0x90, 5, packet[2], packet[3], 0, 1, 0x87])
        .await;
    let refused = async {
        while !fixture
            .observer
            .told
            .lock()
            .iter()
            .any(|told| told.contains("refused later"))
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("it is told");
}

#[tokio::test]
async fn a_call_is_a_request_and_its_response_the_reply_or_the_failure() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    let calling = |body: &'static str| {
        let call = Call::unary("users.v1", "GetUser", body);
        tokio::spawn(EventBroker::call(&fixture.client, call))
    };
    let first = calling("1");
    let packet = connection.packet().await.expect("a SUBSCRIBE");
    connection.say(&[0x90, 4, packet[2], packet[3], 0, 1]).await;
    let request = connection.packet().await.expect("a PUBLISH");
    assert!(
        request
            .windows(16)
            .any(|window| window == b"users/v1/GetUser")
    );
    let second = calling("2");
    let other = connection.packet().await.expect("a PUBLISH");
    // Answered in the other order, and once to nobody.
    connection
        .say(&response(&[9; 8], "success", b"stray"))
        .await;
    let correlation = |request: &[u8]| after(request, &[0x09, 0, 8])[..8].to_vec();
    let failure = br#"{"error":"no such user","code":404}"#;
    connection
        .say(&response(&correlation(&other), "not-found", failure))
        .await;
    connection
        .say(&response(&correlation(&request), "success", b"reply"))
        .await;
    for packet in [&request, &other] {
        let at = 2 + 2 + "users/v1/GetUser".len();
        let at = if packet[1] & 0x80 == 0 { at } else { at + 1 };
        connection.say(&[0x40, 2, packet[at], packet[at + 1]]).await;
    }
    let reply = first.await.expect("no panic").expect("a reply");
    assert_eq!(
        reply.body.into_one(100).await.expect("one message"),
        "reply"
    );
    let failed = second.await.expect("no panic").expect_err("a failure");
    assert_eq!(
        (failed.kind, &*failed.message),
        (Kind::NotFound, "no such user")
    );
}

/// PUBLISH to where responses of client `c` go.
fn response(correlation: &[u8], status: &str, payload: &[u8]) -> Vec<u8> {
    let topic = b"postern/responses/c";
    let length = |octets: &[u8]| u8::try_from(octets.len()).expect("short");
    let short = |text: &[u8]| [&[0, length(text)][..], text].concat();
    let properties = [
        &[0x09][..],
        &short(correlation),
        &[0x26],
        &short(b"status"),
        &short(status.as_bytes()),
    ]
    .concat();
    let rest = [
        &short(topic)[..],
        &[length(&properties)],
        &properties,
        payload,
    ]
    .concat();
    [&[0x30, length(&rest)][..], &rest].concat()
}

#[tokio::test]
async fn mqtt_3_1_1_has_no_requests() {
    let fixture = Fixture::start(MqttVersion::V3, &[]).await;
    let _connection = fixture.greet(CONNACK_V3).await;
    let refused = EventBroker::call(&fixture.client, Call::unary("s", "m", "")).await;
    assert_eq!(refused.expect_err("none").kind, Kind::Unimplemented);
}

#[tokio::test]
async fn a_message_that_is_delivered_survives_connections_that_break() {
    let fixture = Fixture::start(MqttVersion::V3, &[]).await;
    let client = fixture.client.clone();
    let delivering = tokio::spawn(async move {
        client
            .deliver(BrokerMessage::new("t", "x", Qos::AtLeastOnce))
            .await
    });
    for _ in 0..3 {
        let mut connection = fixture.greet(CONNACK_V3).await;
        assert_eq!(
            connection.packet().await.expect("a PUBLISH")[0] & 0xf0,
            0x30
        );
    }
    let mut connection = fixture.greet(CONNACK_V3).await;
    let packet = connection.packet().await.expect("a PUBLISH");
    connection.say(&[0x40, 2, packet[5], packet[6]]).await;
    delivering.await.expect("no panic").expect("acknowledged");
}

#[tokio::test]
async fn an_answer_that_lies_about_its_length_ends_the_connection_before_anything_is_kept() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    connection.say(&[0x30, 0xff, 0xff, 0xff, 0x7f]).await;
    let goodbye = connection.packet().await.expect("a DISCONNECT");
    assert_eq!(goodbye, [0xe0, 1, 0x95]);
    assert!(
        fixture
            .lost()
            .await
            .contains("exceeds the limit of 2097152")
    );
}

#[tokio::test]
async fn a_broker_that_stalls_in_the_middle_of_its_greeting_is_given_up() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.accept().await;
    connection.say(&CONNACK[..2]).await;
    assert!(fixture.lost().await.contains("not taken the connection"));
    let _next = fixture.greet(CONNACK).await;
}

#[tokio::test]
async fn a_broker_that_closes_its_side_is_left_and_dialled_again() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    connection.0.shutdown().await.expect("closes");
    assert!(fixture.lost().await.contains("closed the connection"));
    assert_eq!(connection.packet().await, None);
    let _next = fixture.greet(CONNACK).await;
    let connects = fixture.client.link().n_connects;
    assert_eq!(connects, 2);
}

#[tokio::test]
async fn a_client_that_ends_says_so_and_its_requests_fail() {
    let fixture = Fixture::start(MqttVersion::V5, &[]).await;
    let mut connection = fixture.greet(CONNACK).await;
    fixture.shutdown.cancel();
    assert_eq!(connection.packet().await, Some(vec![0xe0, 0]));
    timeout(PATIENCE, fixture.task)
        .await
        .expect("in time")
        .expect("no panic");
    let late = EventBroker::publish(&fixture.client, event("a")).await;
    assert_eq!(late.expect_err("closed").kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_broker_that_does_not_know_bridges_is_connected_to_without_the_mark() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let config = BrokerClientConfig {
        authority: listener.local_addr().expect("bound").to_string().into(),
        version: MqttVersion::V3,
        is_bridge: true,
        back_off_min: Duration::from_millis(10),
        ..BrokerClientConfig::default()
    };
    let parts = BrokerClientParts {
        subscriptions: Vec::new(),
        observer: None,
        queue: QueueBounds::default(),
        when_full: BrokerQueueFull::DropOldest,
    };
    let (client, driver) = BrokerClient::new(config, parts);
    let _task = AbortOnDropHandle::new(tokio::spawn(driver.run(CancellationToken::new())));
    let mut levels = Vec::new();
    let mut held = Vec::new();
    for answer in [&[0x20, 2, 0, 1][..], CONNACK_V3] {
        let (stream, _) = timeout(PATIENCE, listener.accept())
            .await
            .expect("in time")
            .expect("accepts");
        let mut connection = Connection(stream);
        levels.push(connection.packet().await.expect("a CONNECT")[8]);
        connection.say(answer).await;
        held.push(connection);
    }
    assert_eq!(levels, [0x84, 4]);
    let connected = async {
        while !client.link().is_connected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, connected).await.expect("in time");
    assert!(!client.suppresses_echo());
}
