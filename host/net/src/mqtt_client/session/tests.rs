//! Sessions against brokers that are written out octet by octet.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postern_core::mqtt::{MqttVersion, Qos, Reason};
use postern_system::clock;

use super::*;

/// A session, and what it has written and told.
struct Fixture {
    session: ClientSession,
    now: Instant,
    next_ticket: u64,
}

impl Fixture {
    fn new(config: BrokerClientConfig) -> Self {
        let now = clock::now();
        Self {
            session: ClientSession::new(config, 1, now),
            now,
            next_ticket: 0,
        }
    }

    /// One whose broker greets it with `connack`.
    fn greeted(config: BrokerClientConfig, connack: &[u8]) -> Self {
        let mut fixture = Self::new(config);
        fixture.connect(connack);
        fixture
    }

    fn connect(&mut self, connack: &[u8]) {
        self.session.connect(self.now, false).expect("a CONNECT");
        assert_eq!(self.written()[0][0], 0x10);
        self.receive(connack);
        let event = self.session.poll_event();
        assert!(
            matches!(event, Some(SessionEvent::Connected { .. })),
            "{event:?}"
        );
    }

    fn receive(&mut self, octets: &[u8]) {
        self.try_receive(octets).expect("no fault");
    }

    fn try_receive(&mut self, octets: &[u8]) -> Result<(), BrokerFault> {
        let mut input = BytesMut::from(octets);
        self.session.handle_bytes(self.now, &mut input)
    }

    fn publish(&mut self, topic: &str, qos: Qos, on_lost: OnLost) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let message = BrokerMessage::new(topic, "x", qos);
        self.session.publish(self.now, ticket, message, on_lost);
        ticket
    }

    fn written(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.session.poll_transmit())
            .map(|octets| octets.to_vec())
            .collect()
    }

    fn settled(&mut self) -> Vec<(Ticket, Result<(), Unsettled>)> {
        let events = std::iter::from_fn(|| self.session.poll_event());
        let settled = events.filter_map(|event| match event {
            SessionEvent::Settled { ticket, outcome } => Some((ticket, outcome)),
            SessionEvent::Connected { .. }
            | SessionEvent::Message { .. }
            | SessionEvent::Subscribed { .. } => None,
        });
        settled.collect()
    }

    fn token(&mut self) -> MessageToken {
        match self.session.poll_event() {
            Some(SessionEvent::Message {
                token: Some(token), ..
            }) => token,
            other => panic!("no message to judge: {other:?}"),
        }
    }

    fn judge(&mut self, token: MessageToken, reason: Reason) {
        let judged = self.session.on_judged(self.now, token, reason);
        judged.expect("an answer that can be written");
    }
}

fn v3() -> BrokerClientConfig {
    BrokerClientConfig {
        version: MqttVersion::V3,
        client_id: "c".into(),
        is_clean: false,
        ..BrokerClientConfig::default()
    }
}

fn v5() -> BrokerClientConfig {
    BrokerClientConfig {
        version: MqttVersion::V5,
        session_expiry: Duration::from_secs(60),
        ..v3()
    }
}

const CONNACK_V3: &[u8] = &[0x20, 2, 0, 0];
const CONNACK_V3_SESSION: &[u8] = &[0x20, 2, 1, 0];
const CONNACK_V5: &[u8] = &[0x20, 3, 0, 0, 0];
const CONNACK_V5_SESSION: &[u8] = &[0x20, 3, 1, 0, 0];

/// PUBLISH of topic "a" and payload "x".
fn publish(first: u8, packet_id: u8) -> Vec<u8> {
    vec![first, 6, 0, 1, b'a', 0, packet_id, b'x']
}

#[test]
fn a_message_of_qos_1_is_settled_by_its_acknowledgement() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let ticket = fixture.publish("a", Qos::AtLeastOnce, OnLost::Fail);
    assert_eq!(fixture.written(), [publish(0x32, 1)]);
    assert_eq!(fixture.settled(), []);
    fixture.receive(&[0x40, 2, 0, 1]);
    assert_eq!(fixture.settled(), [(ticket, Ok(()))]);
    let again = fixture.try_receive(&[0x40, 2, 0, 1]);
    assert_eq!(again, Err(BrokerFault::Unasked { packet_id: 1 }));
}

#[test]
fn a_message_of_qos_2_is_settled_by_four_packets() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let ticket = fixture.publish("a", Qos::ExactlyOnce, OnLost::Fail);
    assert_eq!(fixture.written(), [publish(0x34, 1)]);
    let early = fixture.try_receive(&[0x70, 2, 0, 1]);
    assert_eq!(early, Err(BrokerFault::Unasked { packet_id: 1 }));
    fixture.receive(&[0x50, 2, 0, 1]);
    assert_eq!(fixture.written(), [[0x62, 2, 0, 1]]);
    assert_eq!(fixture.settled(), []);
    fixture.receive(&[0x70, 2, 0, 1]);
    assert_eq!(fixture.settled(), [(ticket, Ok(()))]);
}

#[test]
fn what_the_broker_refuses_is_told_with_its_reason() {
    let mut fixture = Fixture::greeted(v5(), CONNACK_V5);
    let first = fixture.publish("a", Qos::AtLeastOnce, OnLost::Repeat);
    let second = fixture.publish("a", Qos::ExactlyOnce, OnLost::Repeat);
    fixture.receive(&[0x40, 3, 0, 1, 0x87]);
    fixture.receive(&[0x50, 3, 0, 2, 0x97]);
    let refused = |reason| Err(Unsettled::Refused(reason));
    assert_eq!(
        fixture.settled(),
        [
            (first, refused(Reason::NOT_AUTHORIZED)),
            (second, refused(Reason::QUOTA_EXCEEDED))
        ]
    );
}

#[test]
fn a_broker_that_kept_the_session_is_sent_the_same_again() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let kept = fixture.publish("a", Qos::AtLeastOnce, OnLost::Repeat);
    let given_up = fixture.publish("a", Qos::AtLeastOnce, OnLost::Fail);
    let released = fixture.publish("a", Qos::ExactlyOnce, OnLost::Repeat);
    fixture.receive(&[0x50, 2, 0, 3]);
    fixture.session.on_lost();
    assert_eq!(fixture.settled(), [(given_up, Err(Unsettled::Lost))]);
    fixture.connect(CONNACK_V3_SESSION);
    let expected = [publish(0x3a, 1), vec![0x62, 2, 0, 3]];
    assert_eq!(fixture.written(), expected);
    fixture.receive(&[0x70, 2, 0, 3, 0x40, 2, 0, 1]);
    assert_eq!(fixture.settled(), [(released, Ok(())), (kept, Ok(()))]);
}

#[test]
fn a_broker_that_forgot_the_session_is_sent_everything_anew() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let kept = fixture.publish("a", Qos::ExactlyOnce, OnLost::Repeat);
    fixture.publish("a", Qos::ExactlyOnce, OnLost::Fail);
    fixture.receive(&[0x50, 2, 0, 1]);
    fixture.session.on_lost();
    fixture.settled();
    fixture.connect(CONNACK_V3);
    assert_eq!(fixture.written(), [publish(0x34, 1)]);
    fixture.receive(&[0x50, 2, 0, 1, 0x70, 2, 0, 1]);
    assert_eq!(fixture.settled(), [(kept, Ok(()))]);
}

#[test]
fn a_message_of_qos_2_that_nobody_waits_for_is_still_brought_to_its_end() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let ticket = fixture.publish("a", Qos::ExactlyOnce, OnLost::Fail);
    fixture.session.on_lost();
    assert_eq!(fixture.settled(), [(ticket, Err(Unsettled::Lost))]);
    fixture.connect(CONNACK_V3_SESSION);
    assert_eq!(fixture.written()[0], publish(0x3c, 1));
    fixture.receive(&[0x50, 2, 0, 1, 0x70, 2, 0, 1]);
    assert_eq!(fixture.settled(), []);
    assert_eq!(fixture.session.n_in_flight(), 0);
}

#[test]
fn no_more_is_under_way_than_the_broker_allows_also_after_it_came_back() {
    let two = [0x20, 6, 0, 0, 3, 0x21, 0, 2];
    let mut fixture = Fixture::greeted(v5(), &two);
    for _ in 0..2 {
        assert!(fixture.session.has_room());
        fixture.publish("a", Qos::AtLeastOnce, OnLost::Repeat);
    }
    assert!(!fixture.session.has_room());
    fixture.receive(&[0x40, 2, 0, 1]);
    assert!(fixture.session.has_room());
    fixture.publish("a", Qos::AtLeastOnce, OnLost::Repeat);
    assert_eq!(fixture.written().len(), 3);
    fixture.session.on_lost();
    fixture.settled();
    let one = [0x20, 6, 1, 0, 3, 0x21, 0, 1];
    fixture.connect(&one);
    assert_eq!(fixture.written().len(), 1);
    fixture.receive(&[0x40, 2, 0, 2]);
    assert_eq!(fixture.written().len(), 1);
}

#[test]
fn an_incoming_message_is_acknowledged_when_it_was_judged_and_not_before() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    fixture.receive(&publish(0x32, 7));
    let token = fixture.token();
    assert_eq!(fixture.written().len(), 0);
    fixture.judge(token, Reason::SUCCESS);
    assert_eq!(fixture.written(), [[0x40, 2, 0, 7]]);
}

#[test]
fn an_incoming_message_of_qos_2_counts_once_over_two_connections() {
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    fixture.receive(&publish(0x34, 7));
    let token = fixture.token();
    fixture.session.on_lost();
    fixture.judge(token, Reason::SUCCESS);
    fixture.connect(CONNACK_V3_SESSION);
    fixture.receive(&publish(0x3c, 7));
    assert_eq!(fixture.session.poll_event(), None);
    assert_eq!(fixture.written(), [[0x50, 2, 0, 7]]);
    fixture.receive(&[0x62, 2, 0, 7]);
    assert_eq!(fixture.written(), [[0x70, 2, 0, 7]]);
}

#[test]
fn a_message_that_is_refused_for_good_says_why_in_mqtt_5() {
    let mut fixture = Fixture::greeted(v5(), CONNACK_V5);
    fixture.receive(&[0x32, 7, 0, 1, b'a', 0, 7, 0, b'x']);
    let token = fixture.token();
    fixture.judge(token, Reason::NOT_AUTHORIZED);
    assert_eq!(fixture.written()[0][..5], [0x40, 3, 0, 7, 0x87]);
}

#[test]
fn more_than_the_receive_maximum_is_taken_as_mosquitto_sends_it_when_a_session_resumes() {
    let config = BrokerClientConfig {
        receive_maximum: 1,
        ..v5()
    };
    let mut fixture = Fixture::greeted(config, CONNACK_V5);
    for packet_id in 1..=3 {
        fixture.receive(&[0x32, 7, 0, 1, b'a', 0, packet_id, 0, b'x']);
    }
    let tokens = [fixture.token(), fixture.token(), fixture.token()];
    for token in tokens {
        fixture.judge(token, Reason::SUCCESS);
    }
    let acknowledged = [1, 2, 3].map(|packet_id| vec![0x40, 2, 0, packet_id]);
    assert_eq!(fixture.written(), acknowledged);
}

#[test]
fn a_fault_is_told_to_a_broker_of_mqtt_5() {
    let mut fixture = Fixture::greeted(v5(), CONNACK_V5);
    let fault = BrokerFault::Unasked { packet_id: 7 };
    fixture.session.disconnect(fixture.now, Some(&fault));
    assert_eq!(fixture.written()[0][..3], [0xe0, 1, 0x82]);
}

#[test]
fn aliases_stand_for_topics_in_both_directions() {
    let config = BrokerClientConfig {
        topic_aliases_max: 2,
        ..v5()
    };
    let one_alias = [0x20, 6, 0, 0, 3, 0x22, 0, 1];
    let mut fixture = Fixture::greeted(config, &one_alias);
    fixture.publish("first", Qos::AtMostOnce, OnLost::Fail);
    fixture.publish("first", Qos::AtMostOnce, OnLost::Fail);
    fixture.publish("second", Qos::AtMostOnce, OnLost::Fail);
    let lengths: Vec<_> = fixture.written().iter().map(Vec::len).collect();
    // With the alias's property of three octets; without the topic; without an alias.
    assert_eq!(lengths, [14, 9, 12]);
    fixture.settled();
    fixture.receive(&[0x30, 8, 0, 1, b'a', 3, 0x23, 0, 2, b'x']);
    fixture.receive(&[0x30, 7, 0, 0, 3, 0x23, 0, 2, b'x']);
    for _ in 0..2 {
        let event = fixture.session.poll_event();
        let Some(SessionEvent::Message { message, .. }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(message.topic, "a");
    }
    for (octets, alias) in [
        ([0x30, 7, 0, 0, 3, 0x23, 0, 1, b'x'], 1),
        ([0x30, 7, 0, 0, 3, 0x23, 0, 3, b'x'], 3),
    ] {
        let unknown = fixture.try_receive(&octets);
        assert_eq!(unknown, Err(BrokerFault::Alias { alias, limit: 2 }));
    }
}

#[test]
fn aliases_end_with_their_connection() {
    let one_alias = [0x20, 6, 1, 0, 3, 0x22, 0, 1];
    let mut fixture = Fixture::greeted(v5(), &one_alias);
    fixture.publish("topic", Qos::AtLeastOnce, OnLost::Repeat);
    let first = fixture.written();
    fixture.session.on_lost();
    fixture.connect(CONNACK_V5_SESSION);
    let again = fixture.written();
    assert!(again[0].windows(5).any(|window| window == b"topic"));
    assert!(again[0].len() < first[0].len());
}

#[test]
fn what_does_not_fit_is_told_and_not_sent() {
    let small = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 20];
    let mut fixture = Fixture::greeted(v5(), &small);
    let long = "t".repeat(20);
    let qos_0 = fixture.publish(&long, Qos::AtMostOnce, OnLost::Fail);
    let qos_1 = fixture.publish(&long, Qos::AtLeastOnce, OnLost::Repeat);
    assert_eq!(fixture.written().len(), 0);
    let settled = fixture.settled();
    let too_long = |(_, outcome): &(Ticket, Result<(), Unsettled>)| {
        matches!(outcome, Err(Unsettled::TooLong { limit: 20, .. }))
    };
    assert!(settled.iter().all(too_long), "{settled:?}");
    assert_eq!([settled[0].0, settled[1].0], [qos_0, qos_1]);
    assert!(fixture.session.has_room());
}

#[test]
fn qos_and_retain_are_lowered_to_what_the_broker_has() {
    let little = [0x20, 7, 0, 0, 4, 0x24, 0, 0x25, 0];
    let mut fixture = Fixture::greeted(v5(), &little);
    let mut message = BrokerMessage::new("a", "x", Qos::ExactlyOnce);
    message.is_retained = true;
    let now = fixture.now;
    fixture
        .session
        .publish(now, Ticket(9), message, OnLost::Fail);
    assert_eq!(fixture.written(), [[0x30, 5, 0, 1, b'a', 0, b'x']]);
    assert_eq!(fixture.settled(), [(Ticket(9), Ok(()))]);
}

#[test]
fn a_silent_connection_is_pinged_and_one_without_an_answer_ends() {
    let config = BrokerClientConfig {
        keep_alive: Duration::from_secs(10),
        ack_timeout: Duration::from_secs(5),
        ..v3()
    };
    let mut fixture = Fixture::greeted(config, CONNACK_V3);
    let (at, what) = fixture.session.poll_timeout().expect("a timer");
    assert_eq!(
        (at - fixture.now, what),
        (Duration::from_secs(10), "keep-alive")
    );
    fixture.now = at;
    fixture.session.handle_timeout(at).expect("a ping");
    assert_eq!(fixture.written(), [[0xc0, 0]]);
    fixture.receive(&[0xd0, 0]);
    let (at, _) = fixture.session.poll_timeout().expect("a timer");
    fixture.now = at;
    fixture.session.handle_timeout(at).expect("a ping");
    let (at, _) = fixture.session.poll_timeout().expect("a timer");
    assert_eq!(at - fixture.now, Duration::from_secs(5));
    let late = fixture.session.handle_timeout(at);
    assert_eq!(late, Err(BrokerFault::PingLate { seconds: 5 }));
}

#[test]
fn the_broker_has_the_last_word_on_the_keep_alive() {
    let asked = [0x20, 6, 0, 0, 3, 0x13, 0, 7];
    let fixture = Fixture::greeted(v5(), &asked);
    let (at, _) = fixture.session.poll_timeout().expect("a timer");
    assert_eq!(at - fixture.now, Duration::from_secs(7));
    let off = [0x20, 6, 0, 0, 3, 0x13, 0, 0];
    let fixture = Fixture::greeted(v5(), &off);
    assert_eq!(fixture.session.poll_timeout(), None);
}

#[test]
fn an_acknowledgement_that_does_not_come_ends_the_connection_but_not_while_nothing_is_read() {
    let config = BrokerClientConfig {
        keep_alive: Duration::ZERO,
        ack_timeout: Duration::from_secs(5),
        ..v3()
    };
    let mut fixture = Fixture::greeted(config, CONNACK_V3);
    fixture.publish("a", Qos::AtLeastOnce, OnLost::Repeat);
    let (late, _) = fixture.session.poll_timeout().expect("a timer");
    fixture.session.set_reading(fixture.now, false);
    assert_eq!(fixture.session.poll_timeout(), None);
    fixture.session.set_reading(late, true);
    assert_eq!(fixture.session.handle_timeout(late), Ok(()));
    let (at, _) = fixture.session.poll_timeout().expect("a timer");
    let ended = fixture.session.handle_timeout(at);
    assert_eq!(ended, Err(BrokerFault::AckLate { seconds: 5 }));
}

#[test]
fn a_broker_says_nothing_before_its_greeting_and_greets_once() {
    for octets in [&[0xd0, 0][..], &[0x40, 2, 0, 1], &publish(0x30, 1)] {
        let mut fixture = Fixture::new(v3());
        fixture
            .session
            .connect(fixture.now, false)
            .expect("a CONNECT");
        let kind = octets[0] >> 4;
        let early = fixture.try_receive(octets);
        assert_eq!(early, Err(BrokerFault::Unexpected { kind }));
    }
    let mut fixture = Fixture::greeted(v3(), CONNACK_V3);
    let again = fixture.try_receive(CONNACK_V3);
    assert_eq!(again, Err(BrokerFault::Unexpected { kind: 2 }));
}

#[test]
fn a_greeting_that_refuses_is_told_by_its_code() {
    for (config, connack, code) in [
        (v3(), &[0x20, 2, 0, 5][..], 5),
        (v5(), &[0x20, 3, 0, 0x86, 0], 0x86),
    ] {
        let mut fixture = Fixture::new(config);
        fixture
            .session
            .connect(fixture.now, false)
            .expect("a CONNECT");
        let refused = fixture.try_receive(connack);
        assert_eq!(refused, Err(BrokerFault::Refused { code }));
        assert!(!fixture.session.is_connected());
    }
}

#[test]
fn a_bridge_of_3_1_1_is_marked_in_the_level_of_the_protocol() {
    let mut fixture = Fixture::new(v3());
    fixture
        .session
        .connect(fixture.now, true)
        .expect("a CONNECT");
    assert_eq!(fixture.written()[0][2..9], *b"\0\x04MQTT\x84");
}

#[test]
fn subscriptions_are_answered_filter_by_filter() {
    let mut fixture = Fixture::greeted(v5(), CONNACK_V5);
    let wanted = ["a", "b/#"].map(|filter| BrokerSubscription {
        filter: filter.into(),
        qos: Qos::ExactlyOnce,
        is_bridge: true,
    });
    let ticket = Ticket(3);
    let asked = fixture
        .session
        .subscribe(fixture.now, Some(ticket), &wanted);
    asked.expect("a SUBSCRIBE");
    // QoS 2, no local, retain as published, retained ones where the subscription is new.
    let options = 0x02 | 0x04 | 0x08 | 0x10;
    let expected = [
        &[0x82, 13, 0, 1, 0, 0, 1, b'a', options, 0, 3][..],
        b"b/#",
        &[options],
    ];
    assert_eq!(fixture.written(), [expected.concat()]);
    fixture.receive(&[0x90, 5, 0, 1, 0, 2, 0x87]);
    let codes = vec![2, 0x87];
    let answered = SessionEvent::Subscribed { ticket, codes };
    assert_eq!(fixture.session.poll_event(), Some(answered));
}
