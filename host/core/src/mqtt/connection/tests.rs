//! The machine, packet by packet, in virtual time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::*;
use crate::{
    event::durable::Position,
    mqtt::{
        ClientLimits, ConnectPacket, Decoded, Publication, PublicationProperties, TopicName, decode,
    },
    testing::epoch,
};

struct Peer {
    connection: MqttConnection,
    out: PacketBuffer,
    version: MqttVersion,
}

impl Peer {
    fn with(connect: &ConnectPacket, limits: &ClientLimits, kept: KeptState) -> Self {
        let negotiated = Negotiated::new(connect, limits);
        let had_expiry = connect.session_expiry_s > 0;
        Self {
            connection: MqttConnection::new(epoch(), negotiated, had_expiry, kept),
            out: PacketBuffer::default(),
            version: connect.version,
        }
    }

    fn new(version: MqttVersion) -> Self {
        Self::with(&connect(version), &limits(), KeptState::default())
    }

    /// What a packet asks for, in short, and what is answered.
    fn handle(&mut self, octets: &[u8]) -> Result<(String, Vec<u8>), PacketFault> {
        let Decoded { packet, .. } = decode(octets, Some(self.version), 1 << 20)?.expect("whole");
        let input = self.connection.handle(epoch(), packet, &mut self.out)?;
        let input = match input {
            MqttInput::Nothing => String::new(),
            MqttInput::Publish(publish) => format!("publish {}", publish.topic()),
            MqttInput::Subscribe(_) => "subscribe".to_owned(),
            MqttInput::Unsubscribe(_) => "unsubscribe".to_owned(),
            MqttInput::Acknowledged(_) => "acknowledged".to_owned(),
            MqttInput::Received(id, _) => format!("received {id}"),
            MqttInput::Completed(id) => format!("completed {id}"),
            MqttInput::Released(id) => format!("released {id}"),
            MqttInput::Disconnected(_) => "disconnected".to_owned(),
        };
        Ok((input, self.written()))
    }

    fn check(&mut self, octets: &[u8], expected: &str, written: &[u8]) {
        let found = self.handle(octets).expect("no fault");
        assert_eq!(
            found,
            (expected.to_owned(), written.to_vec()),
            "{octets:02x?}"
        );
    }

    fn written(&mut self) -> Vec<u8> {
        let written = self.out.tail().to_vec();
        self.out = PacketBuffer::default();
        written
    }

    fn published(&mut self, id: u16, qos: Qos, reason: Reason) -> (bool, Vec<u8>) {
        let goes_on = self
            .connection
            .on_published(id, qos, reason, Some("x"), &mut self.out);
        (goes_on, self.written())
    }

    fn send(&mut self, outgoing: OutgoingPublish) -> (SendOutcome, Vec<u8>) {
        let outcome = self.connection.send(epoch(), outgoing, &mut self.out);
        (outcome, self.written())
    }
}

fn connect(version: MqttVersion) -> ConnectPacket {
    ConnectPacket {
        version,
        receive_max: 2,
        packet_bytes_max: u32::MAX,
        wants_problems: true,
        ..ConnectPacket::default()
    }
}

fn limits() -> ClientLimits {
    ClientLimits {
        receive_max: 2,
        topic_alias_max: 1,
        ..ClientLimits::default()
    }
}

fn outgoing(topic: &str, qos: Qos) -> OutgoingPublish {
    let topic = TopicName::new(topic).expect("a name");
    OutgoingPublish::new(
        Arc::new(Publication::new(topic, Bytes::from_static(b"!"), qos)),
        qos,
    )
}

const V3: MqttVersion = MqttVersion::V3;
const V5: MqttVersion = MqttVersion::V5;

#[test]
fn qos_1_is_acknowledged_once_it_is_taken() {
    let mut peer = Peer::new(V5);
    peer.check(b"\x32\x06\0\x01a\0\x07\0", "publish a", b"");
    assert_eq!(
        peer.published(7, Qos::AtLeastOnce, Reason::SUCCESS),
        (true, b"\x40\x02\0\x07".into())
    );
    peer.check(b"\x32\x06\0\x01a\0\x08\0", "publish a", b"");
    let (goes_on, written) = peer.published(8, Qos::AtLeastOnce, Reason::QUOTA_EXCEEDED);
    assert_eq!(
        (goes_on, &written[..]),
        (true, &b"\x40\x08\0\x08\x97\x04\x1f\0\x01x"[..])
    );
}

#[test]
fn qos_2_is_taken_once_however_often_it_comes() {
    let mut peer = Peer::new(V5);
    peer.check(b"\x34\x06\0\x01a\0\x07\0", "publish a", b"");
    // It is still being taken: its answer is on its way.
    peer.check(b"\x3c\x06\0\x01a\0\x07\0", "", b"");
    assert_eq!(
        peer.published(7, Qos::ExactlyOnce, Reason::SUCCESS),
        (true, b"\x50\x02\0\x07".into())
    );
    peer.check(b"\x3c\x06\0\x01a\0\x07\0", "", b"\x50\x02\0\x07");
    peer.check(b"\x62\x02\0\x07", "released 7", b"");
    peer.connection.release(7);
    peer.connection.on_released(7, &mut peer.out);
    assert_eq!(peer.written(), b"\x70\x02\0\x07");
    peer.check(b"\x62\x02\0\x07", "", b"\x70\x03\0\x07\x92");
    peer.check(b"\x34\x06\0\x01a\0\x07\0", "publish a", b"");
}

#[test]
fn qos_2_that_was_refused_may_come_again() {
    let mut peer = Peer::new(V5);
    peer.check(b"\x34\x06\0\x01a\0\x07\0", "publish a", b"");
    let (_, written) = peer.published(7, Qos::ExactlyOnce, Reason::NOT_AUTHORIZED);
    assert_eq!(written, b"\x50\x08\0\x07\x87\x04\x1f\0\x01x");
    peer.check(b"\x34\x06\0\x01a\0\x07\0", "publish a", b"");
}

#[test]
fn an_identifier_of_qos_2_outlives_the_connection() {
    let mut peer = Peer::new(V3);
    peer.check(b"\x34\x05\0\x01a\0\x07", "publish a", b"");
    peer.check(b"\x34\x05\0\x01a\0\x08", "publish a", b"");
    assert!(peer.published(7, Qos::ExactlyOnce, Reason::SUCCESS).0);
    let kept = peer.connection.into_kept();
    let mut peer = Peer::with(&connect(V3), &limits(), kept);
    peer.check(b"\x3c\x05\0\x01a\0\x07", "", b"\x50\x02\0\x07");
    // This one was not answered: it is taken anew.
    peer.check(b"\x3c\x05\0\x01a\0\x08", "publish a", b"");
}

#[test]
fn a_client_of_3_1_1_is_not_told_of_what_it_may_not() {
    let mut peer = Peer::new(V3);
    peer.check(b"\x32\x05\0\x01a\0\x07", "publish a", b"");
    let found = peer.published(7, Qos::AtLeastOnce, Reason::NOT_AUTHORIZED);
    assert_eq!(found, (true, b"\x40\x02\0\x07".into()));
    peer.check(b"\x32\x05\0\x01a\0\x08", "publish a", b"");
    // What was not stored is not acknowledged.
    assert_eq!(
        peer.published(8, Qos::AtLeastOnce, Reason::QUOTA_EXCEEDED),
        (false, vec![])
    );
}

#[test]
fn no_more_is_read_than_may_be_taken() {
    let mut peer = Peer::new(V3);
    for id in [7, 8] {
        assert!(peer.connection.may_read());
        peer.check(&[0x32, 5, 0, 1, b'a', 0, id], "publish a", b"");
    }
    assert!(!peer.connection.may_read());
    assert!(peer.published(7, Qos::AtLeastOnce, Reason::SUCCESS).0);
    assert!(peer.connection.may_read());
}

#[test]
fn the_receive_maximum_ends_a_connection_of_5() {
    let mut peer = Peer::new(V5);
    for id in [7, 8] {
        peer.check(&[0x34, 6, 0, 1, b'a', 0, id, 0], "publish a", b"");
        assert!(
            peer.published(id.into(), Qos::ExactlyOnce, Reason::SUCCESS)
                .0
        );
    }
    let fault = peer.handle(b"\x34\x06\0\x01a\0\x09\0").err();
    assert_eq!(fault, Some(PacketFault::ReceiveMax { limit: 2 }));
}

#[test]
fn an_alias_stands_for_the_topic_that_it_came_with() {
    let mut peer = Peer::new(V5);
    peer.check(b"\x30\x07\0\x01a\x03\x23\0\x01", "publish a", b"");
    peer.check(b"\x30\x06\0\0\x03\x23\0\x01", "publish a", b"");
    peer.check(b"\x30\x07\0\x01b\x03\x23\0\x01", "publish b", b"");
    peer.check(b"\x30\x06\0\0\x03\x23\0\x01", "publish b", b"");
    let fault = peer.handle(b"\x30\x06\0\0\x03\x23\0\x02").err();
    assert_eq!(fault, Some(PacketFault::TopicAlias { alias: 2, limit: 1 }));
    let fault = peer.handle(b"\x30\x06\0\0\x03\x23\0\0").err();
    assert_eq!(fault, Some(PacketFault::TopicAlias { alias: 0, limit: 1 }));
    let fault = Peer::new(V5).handle(b"\x30\x06\0\0\x03\x23\0\x01").err();
    assert_eq!(fault, Some(PacketFault::TopicAliasUnknown { alias: 1 }));
}

#[test]
fn what_the_listener_does_not_have_ends_the_connection() {
    let limits = ClientLimits {
        qos_max: Qos::AtLeastOnce,
        retain: false,
        ..limits()
    };
    let mut peer = Peer::with(&connect(V5), &limits, KeptState::default());
    let fault = peer.handle(b"\x34\x06\0\x01a\0\x07\0").err();
    assert_eq!(fault, Some(PacketFault::Qos { qos: 2, limit: 1 }));
    assert_eq!(
        peer.handle(b"\x31\x04\0\x01a\0").err(),
        Some(PacketFault::Retain)
    );
    assert_eq!(peer.handle(b"\xf0\0").err(), Some(PacketFault::AuthUnasked));
    let fault = peer.handle(b"\xe0\x07\0\x05\x11\0\0\0\x05").err();
    assert_eq!(fault, Some(PacketFault::SessionExpiry));
    peer.check(b"\xe0\0", "disconnected", b"");
}

#[test]
fn a_ping_is_answered() {
    Peer::new(V3).check(b"\xc0\0", "", b"\xd0\0");
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let connect = ConnectPacket {
        keep_alive_s: 10,
        ..connect(V5)
    };
    let peer = Peer::with(&connect, &limits(), KeptState::default());
    let at = epoch() + Duration::from_secs(15);
    assert_eq!(peer.connection.poll_timeout(), Some(at));
    assert_eq!(
        peer.connection.handle_timeout(at - Duration::from_nanos(1)),
        Ok(())
    );
    let seconds = 10;
    assert_eq!(
        peer.connection.handle_timeout(at),
        Err(PacketFault::KeepAlive { seconds })
    );
    assert_eq!(Peer::new(V5).connection.poll_timeout(), None);
}

#[test]
fn qos_1_and_2_wait_for_the_clients_window() {
    let mut peer = Peer::new(V3);
    let (_, written) = peer.send(outgoing("a", Qos::AtLeastOnce));
    assert_eq!(written, b"\x32\x06\0\x01a\0\x01!");
    let (_, written) = peer.send(outgoing("a", Qos::ExactlyOnce));
    assert_eq!(written, b"\x34\x06\0\x01a\0\x02!");
    let (outcome, written) = peer.send(outgoing("a", Qos::AtLeastOnce));
    assert!(matches!(outcome, SendOutcome::Full(_)) && written.is_empty());
    let (outcome, written) = peer.send(outgoing("a", Qos::AtMostOnce));
    assert!(matches!(outcome, SendOutcome::Sent));
    assert_eq!(written, b"\x30\x04\0\x01a!");
    peer.check(b"\x40\x02\0\x01", "acknowledged", b"");
    assert!(peer.connection.has_window());
    peer.check(b"\x50\x02\0\x02", "received 2", b"");
    peer.connection.on_received(2, &mut peer.out);
    assert_eq!(peer.written(), b"\x62\x02\0\x02");
    peer.check(b"\x70\x02\0\x02", "completed 2", b"");
    assert!(peer.connection.kept().window.is_empty());
}

#[test]
fn acknowledgements_of_what_was_not_sent_change_nothing() {
    let mut peer = Peer::new(V5);
    peer.check(b"\x40\x02\0\x09", "", b"");
    peer.check(b"\x50\x02\0\x09", "", b"\x62\x03\0\x09\x92");
    peer.check(b"\x70\x02\0\x09", "", b"");
    assert!(matches!(
        peer.send(outgoing("a", Qos::ExactlyOnce)).0,
        SendOutcome::Sent
    ));
    peer.check(b"\x50\x03\0\x01\x97", "acknowledged", b"");
}

#[test]
fn what_was_not_acknowledged_is_sent_again_with_its_identifier() {
    let mut peer = Peer::new(V3);
    peer.send(outgoing("a", Qos::AtLeastOnce));
    peer.send(outgoing("b", Qos::ExactlyOnce));
    peer.check(b"\x50\x02\0\x02", "received 2", b"");
    let kept = peer.connection.into_kept();
    let mut peer = Peer::with(&connect(V3), &limits(), kept);
    peer.connection.resend(epoch(), &mut peer.out);
    assert_eq!(peer.written(), b"\x3a\x06\0\x01a\0\x01!\x62\x02\0\x02");
    assert!(!peer.connection.has_window());
}

#[test]
fn what_is_sent_again_waits_for_the_window_as_well() {
    let mut peer = Peer::new(V3);
    peer.send(outgoing("a", Qos::AtLeastOnce));
    peer.send(outgoing("b", Qos::AtLeastOnce));
    let kept = peer.connection.into_kept();
    let narrow = ConnectPacket {
        receive_max: 1,
        ..connect(V3)
    };
    let mut peer = Peer::with(&narrow, &limits(), kept);
    peer.connection.resend(epoch(), &mut peer.out);
    assert_eq!(peer.written(), b"\x3a\x06\0\x01a\0\x01!");
    peer.check(b"\x40\x02\0\x01", "acknowledged", b"");
    peer.connection.resend(epoch(), &mut peer.out);
    assert_eq!(peer.written(), b"\x3a\x06\0\x01b\0\x02!");
}

#[test]
fn what_lies_in_a_stored_queue_has_its_identifier_by_its_position() {
    let mut peer = Peer::new(V3);
    let stored = OutgoingPublish {
        position: Some(Position(65_536 + 2)),
        ..outgoing("a", Qos::ExactlyOnce)
    };
    assert_eq!(peer.send(stored).1, b"\x34\x06\0\x01a\0\x03!");
    let same = OutgoingPublish {
        position: Some(Position(3)),
        ..outgoing("a", Qos::AtLeastOnce)
    };
    assert!(matches!(peer.send(same).0, SendOutcome::Full(_)));
}

#[test]
fn topics_get_aliases_while_there_are_any() {
    let connect = ConnectPacket {
        topic_alias_max: 9,
        ..connect(V5)
    };
    let mut peer = Peer::with(&connect, &limits(), KeptState::default());
    let mut send = |topic: &str| peer.send(outgoing(topic, Qos::AtMostOnce)).1;
    assert_eq!(send("long/one"), b"\x30\x0f\0\x08long/one\x03\x23\0\x01!");
    assert_eq!(send("long/one"), b"\x30\x07\0\0\x03\x23\0\x01!");
    assert_eq!(send("long/two"), b"\x30\x0c\0\x08long/two\0!");
    assert_eq!(send("abc"), b"\x30\x07\0\x03abc\0!");
}

#[test]
fn what_is_too_large_or_too_old_for_the_client_is_dropped() {
    let connect = ConnectPacket {
        packet_bytes_max: 11,
        ..connect(V5)
    };
    let mut peer = Peer::with(&connect, &limits(), KeptState::default());
    let (outcome, written) = peer.send(outgoing("abcdefg", Qos::AtLeastOnce));
    assert!(matches!(outcome, SendOutcome::Dropped(_)) && written.is_empty());
    assert!(matches!(
        peer.send(outgoing("abc", Qos::AtLeastOnce)).0,
        SendOutcome::Sent
    ));
    let mut old = outgoing("a", Qos::AtMostOnce);
    Arc::make_mut(&mut old.publication).expires_at = Some(epoch());
    assert!(matches!(peer.send(old).0, SendOutcome::Dropped(_)));
}

#[test]
fn clients_of_3_1_1_see_nothing_of_5() {
    let mut outgoing = outgoing("a", Qos::AtMostOnce);
    outgoing.subscription_ids = Some(Arc::from([1]));
    let publication = Arc::make_mut(&mut outgoing.publication);
    publication.expires_at = Some(epoch() + Duration::from_secs(9));
    publication.properties = Some(Box::new(PublicationProperties {
        is_text: true,
        ..PublicationProperties::default()
    }));
    assert_eq!(Peer::new(V3).send(outgoing.clone()).1, b"\x30\x04\0\x01a!");
    let expected = b"\x30\x0e\0\x01a\x09\x02\0\0\0\x09\x0b\x01\x01\x01!";
    assert_eq!(Peer::new(V5).send(outgoing).1, expected);
}

#[test]
fn explanations_fit_into_what_the_client_takes() {
    let connect = ConnectPacket {
        packet_bytes_max: 17,
        ..connect(V5)
    };
    let peer = Peer::with(&connect, &limits(), KeptState::default());
    assert!(peer.connection.may_explain("x") && !peer.connection.may_explain("xy"));
    let connect = ConnectPacket {
        wants_problems: false,
        ..connect
    };
    let peer = Peer::with(&connect, &limits(), KeptState::default());
    assert!(!peer.connection.may_explain("x"));
}
