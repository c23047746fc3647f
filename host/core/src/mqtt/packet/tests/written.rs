//! Packets of the broker, octet by octet.

use bytes::BytesMut;

use super::{super::*, read};
use crate::mqtt::{MqttVersion, PublicationProperties, Qos};

fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut octets = BytesMut::new();
    write(&mut octets);
    octets.to_vec()
}

#[test]
fn connack_says_what_differs_from_the_default() {
    let connack = Connack {
        is_session_present: true,
        has_retain: true,
        has_wildcards: true,
        has_shared: true,
        ..Connack::default()
    };
    let v3 = written(|into| encode_connack(into, MqttVersion::V3, &connack));
    assert_eq!(v3, [0x20, 2, 1, 0]);
    let v5 = written(|into| encode_connack(into, MqttVersion::V5, &connack));
    assert_eq!(v5, [0x20, 3, 1, 0, 0]);
    let connack = Connack {
        session_expiry_s: Some(1),
        receive_max: Some(2),
        qos_max: Some(Qos::AtLeastOnce),
        packet_bytes_max: Some(3),
        assigned_client_id: Some("i"),
        topic_alias_max: 4,
        server_keep_alive_s: Some(5),
        response_information: Some("r"),
        ..Connack::default()
    };
    let v5 = written(|into| encode_connack(into, MqttVersion::V5, &connack));
    let expected = b"\x20\x26\0\0\x23\x11\0\0\0\x01\x21\0\x02\x24\x01\x27\0\0\0\x03\x12\0\x01i\
        \x22\0\x04\x25\0\x28\0\x2a\0\x13\0\x05\x1a\0\x01r";
    assert_eq!(v5, expected);
    let refused = Connack {
        reason: Reason::NOT_AUTHORIZED,
        problem: Some("no"),
        ..Connack::default()
    };
    let v5 = written(|into| encode_connack(into, MqttVersion::V5, &refused));
    assert_eq!(v5, b"\x20\x08\0\x87\x05\x1f\0\x02no");
    let v3 = written(|into| encode_connack(into, MqttVersion::V3, &refused));
    assert_eq!(v3, [0x20, 2, 0, 5]);
}

#[test]
fn a_publication_is_written_as_it_is_read() {
    let properties = PublicationProperties {
        is_text: true,
        content_type: Some("t".into()),
        response_topic: Some("r/s".into()),
        correlation: Some(vec![1, 2].into()),
        user: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
    };
    for version in [MqttVersion::V3, MqttVersion::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let is_v5 = version == MqttVersion::V5;
            let head = PublishHead {
                version,
                qos,
                is_duplicate: qos != Qos::AtMostOnce,
                is_retained: true,
                topic: "a/b",
                id: 77,
                alias: is_v5.then_some(3),
                expiry_s: is_v5.then_some(9),
                properties: Some(&properties),
                subscription_ids: &[],
                payload_bytes: 200,
            };
            let mut octets = written(|into| encode_publish_head(into, &head));
            octets.extend_from_slice(&[7; 200]);
            assert_eq!(octets.len(), publish_bytes(&head));
            let expected = PublishPacket {
                qos,
                is_duplicate: head.is_duplicate,
                is_retained: true,
                topic: "a/b",
                id: (qos != Qos::AtMostOnce).then_some(77),
                alias: head.alias,
                expiry_s: head.expiry_s,
                properties: is_v5.then(|| Box::new(properties.clone())),
                payload: &[7; 200],
            };
            assert_eq!(read(&octets, Some(version)), Packet::Publish(expected));
        }
    }
}

#[test]
fn subscription_identifiers_go_with_a_publication() {
    let head = PublishHead {
        version: MqttVersion::V5,
        qos: Qos::AtMostOnce,
        is_duplicate: false,
        is_retained: false,
        topic: "a",
        id: 0,
        alias: None,
        expiry_s: None,
        properties: None,
        subscription_ids: &[1, 200],
        payload_bytes: 0,
    };
    let octets = written(|into| encode_publish_head(into, &head));
    assert_eq!(octets, b"\x30\x09\0\x01a\x05\x0b\x01\x0b\xc8\x01");
    assert_eq!(publish_bytes(&head), octets.len());
}

#[test]
fn acknowledgements_are_short_where_nothing_failed() {
    let ack = |version, kind, reason, problem| {
        written(|into| {
            encode_ack(
                into,
                version,
                AckPacket {
                    kind,
                    id: 258,
                    reason,
                },
                problem,
            )
        })
    };
    let (v3, v5) = (MqttVersion::V3, MqttVersion::V5);
    assert_eq!(
        ack(v5, AckKind::Puback, Reason::SUCCESS, Some("x")),
        b"\x40\x02\x01\x02"
    );
    assert_eq!(
        ack(v3, AckKind::Pubrel, Reason::PACKET_ID_NOT_FOUND, None),
        b"\x62\x02\x01\x02"
    );
    let found = ack(v5, AckKind::Pubcomp, Reason::PACKET_ID_NOT_FOUND, None);
    assert_eq!(found, b"\x70\x03\x01\x02\x92");
    let found = ack(v5, AckKind::Pubrec, Reason::NOT_AUTHORIZED, Some("no"));
    assert_eq!(found, b"\x50\x09\x01\x02\x87\x05\x1f\0\x02no");
}

#[test]
fn other_packets_of_the_broker() {
    let reasons = [Reason::GRANTED_QOS_1, Reason::NOT_AUTHORIZED];
    let (v3, v5) = (MqttVersion::V3, MqttVersion::V5);
    assert_eq!(
        written(|into| encode_suback(into, v3, 5, &reasons)),
        b"\x90\x04\0\x05\x01\x80"
    );
    assert_eq!(
        written(|into| encode_suback(into, v5, 5, &reasons)),
        b"\x90\x05\0\x05\0\x01\x87"
    );
    let reasons = [Reason::NO_SUBSCRIPTION_EXISTED];
    assert_eq!(
        written(|into| encode_unsuback(into, v3, 5, &reasons)),
        b"\xb0\x02\0\x05"
    );
    assert_eq!(
        written(|into| encode_unsuback(into, v5, 5, &reasons)),
        b"\xb0\x04\0\x05\0\x11"
    );
    assert_eq!(written(encode_pingresp), b"\xd0\0");
    let reason = Reason::SESSION_TAKEN_OVER;
    assert_eq!(
        written(|into| encode_disconnect(into, reason, None)),
        b"\xe0\x01\x8e"
    );
    let found = written(|into| encode_disconnect(into, reason, Some("no")));
    assert_eq!(found, b"\xe0\x07\x8e\x05\x1f\0\x02no");
}
