//! Packets octet by octet: as the specification draws them, and everything that they may not be.

mod written;

use bytes::BytesMut;

use super::*;
use crate::mqtt::{MqttNameError, MqttVersion, Qos, RetainHandling};

const V3: Option<MqttVersion> = Some(MqttVersion::V3);
const V5: Option<MqttVersion> = Some(MqttVersion::V5);

fn read(octets: &[u8], version: Option<MqttVersion>) -> Packet<'_> {
    let decoded = decode(octets, version, 1 << 20)
        .expect("a packet")
        .expect("a whole one");
    assert_eq!(decoded.n_octets, octets.len());
    for cut in 0..octets.len() {
        assert_eq!(
            decode(&octets[..cut], version, 1 << 20),
            Ok(None),
            "cut at {cut}"
        );
    }
    decoded.packet
}

fn fault(octets: &[u8], version: Option<MqttVersion>, expected: PacketFault) {
    let found = decode(octets, version, 1 << 20);
    assert_eq!(found.err(), Some(expected), "{octets:02x?}");
}

fn connect(octets: &[u8]) -> ConnectPacket {
    let Packet::Connect(connect) = read(octets, None) else {
        panic!("not CONNECT");
    };
    *connect
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).expect("a short packet");
    assert!(length < 128);
    [&[first, length], body].concat()
}

#[test]
fn connect_of_3_1_1_as_figure_3_6_draws_it() {
    let mut octets = framed(
        0x10,
        b"\0\x04MQTT\x04\xce\0\x0a\0\x01c\0\x01w\0\x02hi\0\x01u\0\x01p",
    );
    let found = connect(&octets);
    let expected = ConnectPacket {
        version: MqttVersion::V3,
        clean_start: true,
        keep_alive_s: 10,
        client_id: "c".into(),
        will: Some(Will {
            topic: "w".into(),
            payload: "hi".into(),
            qos: Qos::AtLeastOnce,
            ..Will::default()
        }),
        user_name: Some("u".into()),
        password: Some("p".into()),
        session_expiry_s: 0,
        receive_max: u16::MAX,
        packet_bytes_max: u32::MAX,
        wants_problems: true,
        ..ConnectPacket::default()
    };
    assert_eq!(found, expected);
    assert!(!format!("{found:?}").contains("112"), "a password in a log");
    // Not clean: the session is kept.
    octets[9] &= !2;
    assert_eq!(connect(&octets).session_expiry_s, u32::MAX);
}

#[test]
fn connect_of_5_with_every_property() {
    let properties = b"\x11\0\0\0\x0a\x21\0\x05\x27\0\0\x04\0\x22\0\x03\x19\x01\x17\0\
        \x26\0\x01a\0\x01b\x15\0\x01m\x16\0\x01d";
    let body = [
        b"\0\x04MQTT\x05\0\0\0".as_slice(),
        &[u8::try_from(properties.len()).expect("short")],
        properties,
        b"\0\0",
    ];
    let found = connect(&framed(0x10, &body.concat()));
    let expected = ConnectPacket {
        session_expiry_s: 10,
        receive_max: 5,
        packet_bytes_max: 1024,
        topic_alias_max: 3,
        wants_response_information: true,
        user_properties: vec![("a".into(), "b".into())],
        authentication_method: Some("m".into()),
        ..ConnectPacket::default()
    };
    assert_eq!(found, expected);
}

#[test]
fn a_will_of_5_with_every_property() {
    let will =
        b"\x18\0\0\0\x05\x01\x01\x02\0\0\0\x09\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v";
    let body = [
        b"\0\x04MQTT\x05\x34\0\0\0\0\0".as_slice(),
        &[u8::try_from(will.len()).expect("short")],
        will,
        b"\0\x01w\0\0",
    ];
    let will = connect(&framed(0x10, &body.concat())).will.expect("a will");
    assert_eq!((will.delay_s, will.expiry_s), (5, Some(9)));
    assert_eq!((will.qos, will.is_retained), (Qos::ExactlyOnce, true));
    let properties = will.properties.expect("properties");
    assert!(properties.is_text);
    assert_eq!(properties.content_type.as_deref(), Some("t"));
    assert_eq!(properties.response_topic.as_deref(), Some("r"));
    assert_eq!(properties.correlation.as_deref(), Some(&b"c"[..]));
    assert_eq!(properties.user, [("k".into(), "v".into())]);
}

#[test]
fn connects_that_are_none() {
    let check = |body: &[u8], expected| fault(&framed(0x10, body), None, expected);
    let length = 3;
    check(
        b"\0\x03MQT\x04\0\0\0\0\0",
        PacketFault::ProtocolName(ShownName { length }),
    );
    check(
        b"\0\x06MQIsdp\x03\x02\0\0\0\0",
        PacketFault::ProtocolLevel { level: 3 },
    );
    check(
        b"\0\x04MQTT\x06\x02\0\0\0\0",
        PacketFault::ProtocolLevel { level: 6 },
    );
    check(b"\0\x04MQTT\x04\x03\0\0\0\0", PacketFault::ReservedBit);
    check(b"\0\x04MQTT\x04\x0a\0\0\0\0", PacketFault::WillFlags);
    check(b"\0\x04MQTT\x04\x22\0\0\0\0", PacketFault::WillFlags);
    check(
        b"\0\x04MQTT\x04\x1e\0\0\0\0\0\x01w\0\0",
        PacketFault::QosThree,
    );
    check(
        b"\0\x04MQTT\x04\x42\0\0\0\0\0\0",
        PacketFault::PasswordAlone,
    );
    check(b"\0\x04MQTT\x04\x02\0\0", PacketFault::Short);
    check(
        b"\0\x04MQTT\x04\x02\0\0\0\0!",
        PacketFault::Trailing { n_octets: 1 },
    );
    check(b"\0\x04MQTT\x04\x02\0\0\0\x01\xff", PacketFault::NotUtf8);
    check(b"\0\x04MQTT\x04\x02\0\0\0\x01\0", PacketFault::Null);
    check(
        b"\0\x04MQTT\x04\x06\0\0\0\0\0\x01#\0\0",
        PacketFault::TopicName(MqttNameError::Wildcard { found: '#' }),
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\0",
        PacketFault::PropertyValue { id: 0x21 },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\0\0\0",
        PacketFault::PropertyValue { id: 0x27 },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x02\x17\x02\0\0",
        PacketFault::PropertyValue { id: 0x17 },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x04\x17\0\x17\0\0\0",
        PacketFault::PropertyTwice { id: 0x17 },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x02\x01\0\0\0",
        PacketFault::PropertyNotAllowed { id: 1 },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x02\x7f\0\0\0",
        PacketFault::PropertyNotAllowed { id: 0x7f },
    );
    check(
        b"\0\x04MQTT\x05\x02\0\0\x04\x16\0\x01d\0\0",
        PacketFault::DataWithoutMethod,
    );
    check(b"\0\x04MQTT\x05\x02\0\0\x80\0\0\0", PacketFault::LongVarint);
    check(b"\0\x04MQTT\x05\x02\0\0\x09\0\0", PacketFault::Short);
    // A password alone is all right in 5.
    connect(&framed(0x10, b"\0\x04MQTT\x05\x42\0\0\0\0\0\0\x01p"));
}

#[test]
fn publish_of_each_version() {
    let Packet::Publish(found) = read(b"\x3d\x0a\0\x03a/b\0\x0aabc", V3) else {
        panic!("not PUBLISH");
    };
    assert_eq!(
        (found.qos, found.is_duplicate, found.is_retained),
        (Qos::ExactlyOnce, true, true)
    );
    assert_eq!(
        (found.topic, found.id, found.payload),
        ("a/b", Some(10), &b"abc"[..])
    );
    let octets = framed(
        0x30,
        b"\0\x01a\x13\x23\0\x07\x02\0\0\0\x09\x08\0\x01r\x26\0\x01k\0\x01v!",
    );
    let Packet::Publish(found) = read(&octets, V5) else {
        panic!("not PUBLISH");
    };
    assert_eq!(
        (found.alias, found.expiry_s, found.payload),
        (Some(7), Some(9), &b"!"[..])
    );
    let properties = found.properties.expect("properties");
    assert_eq!(properties.response_topic.as_deref(), Some("r"));
}

#[test]
fn publishes_that_are_none() {
    let check = |first: u8, body: &[u8], expected| fault(&framed(first, body), V5, expected);
    check(0x36, b"\0\x01a\0\x01\0", PacketFault::QosThree);
    check(0x38, b"\0\x01a\0", PacketFault::DuplicateQosZero);
    check(0x32, b"\0\x01a\0\0\0", PacketFault::NoPacketId);
    check(0x30, b"\0\0\0", PacketFault::NoTopic);
    check(0x30, b"\0\x05a", PacketFault::Short);
    // The properties' length is missing.
    check(0x30, b"\0\x01a", PacketFault::Short);
    check(0x30, b"\0\x01a\x02\x0b\x01", PacketFault::SubscriptionId);
    check(
        0x30,
        b"\0\x01a\x02\x0b\0",
        PacketFault::PropertyValue { id: 0x0b },
    );
    check(
        0x30,
        b"\0\x01a\x05\x11\0\0\0\0",
        PacketFault::PropertyNotAllowed { id: 0x11 },
    );
    check(
        0x30,
        b"\0\x01a\x02\x01\x02",
        PacketFault::PropertyValue { id: 1 },
    );
    let found = '+';
    check(
        0x30,
        b"\0\x01+\0",
        PacketFault::TopicName(MqttNameError::Wildcard { found }),
    );
    check(
        0x30,
        b"\0\x01a\x04\x08\0\x01+",
        PacketFault::ResponseTopic(MqttNameError::Wildcard { found }),
    );
    fault(b"\x30\x02\0\0", V3, PacketFault::NoTopic);
    fault(b"\x30\x03\0\x01\xc0", V3, PacketFault::NotUtf8);
}

#[test]
fn acknowledgements_with_and_without_a_reason() {
    let check = |octets: &[u8], version, kind, reason| {
        let expected = Packet::Ack(AckPacket {
            kind,
            id: 258,
            reason,
        });
        assert_eq!(read(octets, version), expected);
    };
    check(b"\x40\x02\x01\x02", V3, AckKind::Puback, Reason::SUCCESS);
    check(b"\x50\x02\x01\x02", V5, AckKind::Pubrec, Reason::SUCCESS);
    check(
        b"\x50\x03\x01\x02\x80",
        V5,
        AckKind::Pubrec,
        Reason::UNSPECIFIED,
    );
    check(
        b"\x62\x04\x01\x02\x92\0",
        V5,
        AckKind::Pubrel,
        Reason::PACKET_ID_NOT_FOUND,
    );
    check(
        b"\x70\x08\x01\x02\0\x04\x1f\0\x01x",
        V5,
        AckKind::Pubcomp,
        Reason::SUCCESS,
    );
}

#[test]
fn acknowledgements_that_are_none() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        fault(&[first, 2, 0, 0], V5, PacketFault::NoPacketId);
        fault(&[first, 1, 0], V5, PacketFault::Short);
        let reason = PacketFault::ReasonNotAllowed(Reason::QUOTA_EXCEEDED);
        if first > 0x60 {
            fault(&[first, 3, 0, 1, 0x97], V5, reason);
        }
        fault(
            &[first, 3, 0, 1, 0x04],
            V5,
            PacketFault::ReasonNotAllowed(Reason(4)),
        );
        fault(
            &[first, 3, 0, 1, 0],
            V3,
            PacketFault::Trailing { n_octets: 1 },
        );
        fault(
            &[first, 5, 0, 1, 0, 1, 0x24],
            V5,
            PacketFault::PropertyNotAllowed { id: 0x24 },
        );
    }
}

#[test]
fn flags_and_types_are_those_of_the_table() {
    for first in [
        0x41, 0x51, 0x60, 0x63, 0x72, 0x80, 0xa0, 0xa3, 0xc1, 0xe1, 0xf1,
    ] {
        let (kind, flags) = (first >> 4, first & 15);
        fault(&[first], V5, PacketFault::Flags { kind, flags });
    }
    fault(&[0x11], None, PacketFault::Flags { kind: 1, flags: 1 });
    for first in [0x20, 0x90, 0xb0, 0xd0] {
        fault(&[first], V5, PacketFault::ServerPacket { kind: first >> 4 });
    }
    fault(&[0x00], V5, PacketFault::ReservedType { kind: 0 });
    fault(&[0xf0], V3, PacketFault::NotOfVersion { kind: 15 });
    fault(&[0x30], None, PacketFault::NotConnect);
    fault(&[0x10], V5, PacketFault::ConnectTwice);
}

#[test]
fn lengths_are_bounded_before_anything_is_kept() {
    let limit = 100;
    let found = decode(&[0x30, 0xff, 0xff, 0xff, 0x7f], V5, limit);
    let length = 5 + u64::from(VARINT_MAX);
    assert_eq!(found, Err(PacketFault::TooLarge { length, limit }));
    assert_eq!(decode(&[0x30, 98], V5, limit), Ok(None));
    let length = 101;
    assert_eq!(
        decode(&[0x30, 99], V5, limit),
        Err(PacketFault::TooLarge { length, limit })
    );
    fault(&[0x30, 0x80, 0x80, 0x80, 0x80], V5, PacketFault::LongVarint);
    fault(&[0xc0, 0x80, 0], V5, PacketFault::LongVarint);
    assert_eq!(read(&[0xc0, 0x80, 0], V3), Packet::PingRequest);
}

#[test]
fn subscribe_with_its_options() {
    let octets = framed(0x82, b"\0\x0a\x02\x0b\x07\0\x03a/b\x2d\0\x0a$share/g/#\x01");
    let Packet::Subscribe(found) = read(&octets, V5) else {
        panic!("not SUBSCRIBE");
    };
    let options: Vec<_> = found
        .requests
        .iter()
        .map(|request| request.options)
        .collect();
    let first = options[0];
    assert_eq!(
        (found.id, first.qos, first.id),
        (10, Qos::AtLeastOnce, Some(7))
    );
    assert!(first.no_local && first.retain_as_published);
    assert_eq!(first.retain_handling, RetainHandling::Never);
    let shared = found.requests[1].filter.as_ref().expect("a filter");
    assert_eq!(shared.group.as_deref(), Some("g"));
    let Packet::Subscribe(found) = read(b"\x82\x06\0\x01\0\x01#\x02", V3) else {
        panic!("not SUBSCRIBE");
    };
    assert_eq!(found.requests[0].options.qos, Qos::ExactlyOnce);
}

#[test]
fn subscribes_that_are_none() {
    let check = |body: &[u8], expected| fault(&framed(0x82, body), V5, expected);
    check(b"\0\x01\0", PacketFault::NoFilter);
    check(b"\0\0\0\0\x01a\0", PacketFault::NoPacketId);
    check(b"\0\x01\0\0\x01a", PacketFault::Short);
    check(b"\0\x01\0\0\x01a\x03", PacketFault::QosThree);
    check(b"\0\x01\0\0\x01a\x40", PacketFault::ReservedBit);
    check(b"\0\x01\0\0\x01a\x30", PacketFault::RetainHandling);
    check(b"\0\x01\0\0\x0a$share/g/a\x04", PacketFault::NoLocalShared);
    check(
        b"\0\x01\x02\x0b\0\0\x01a\0",
        PacketFault::PropertyValue { id: 0x0b },
    );
    check(
        b"\0\x01\x04\x0b\x01\x0b\x02\0\x01a\0",
        PacketFault::PropertyTwice { id: 0x0b },
    );
    fault(b"\x82\x06\0\x01\0\x01a\x04", V3, PacketFault::ReservedBit);
    fault(b"\x82\x02\0\x01", V3, PacketFault::NoFilter);
    // A filter that is none is answered, not fatal.
    let Packet::Subscribe(found) = read(b"\x82\x07\0\x01\0\x02a#\x02", V3) else {
        panic!("not SUBSCRIBE");
    };
    assert!(found.requests[0].filter.is_err());
}

#[test]
fn unsubscribe_and_what_is_none() {
    let Packet::Unsubscribe(found) = read(b"\xa2\x06\0\x09\0\0\x01a", V5) else {
        panic!("not UNSUBSCRIBE");
    };
    assert_eq!((found.id, found.filters.len()), (9, 1));
    fault(b"\xa2\x03\0\x01\0", V5, PacketFault::NoFilter);
    fault(b"\xa2\x05\0\0\0\x01a", V3, PacketFault::NoPacketId);
    fault(
        b"\xa2\x05\0\x01\x02\x0b\x01",
        V5,
        PacketFault::PropertyNotAllowed { id: 0x0b },
    );
}

#[test]
fn the_rest_and_what_is_none() {
    assert_eq!(read(&[0xc0, 0], V3), Packet::PingRequest);
    fault(&[0xc0, 1, 0], V5, PacketFault::Trailing { n_octets: 1 });
    assert_eq!(
        read(&[0xe0, 0], V3),
        Packet::Disconnect(Disconnect::default())
    );
    let expected = Disconnect {
        reason: Reason::DISCONNECT_WITH_WILL,
        session_expiry_s: Some(5),
    };
    let found = read(b"\xe0\x07\x04\x05\x11\0\0\0\x05", V5);
    assert_eq!(found, Packet::Disconnect(expected));
    fault(
        &[0xe0, 1, 0x8e],
        V5,
        PacketFault::ReasonNotAllowed(Reason::SESSION_TAKEN_OVER),
    );
    fault(&[0xe0, 1, 0], V3, PacketFault::Trailing { n_octets: 1 });
    assert_eq!(read(&[0xf0, 0], V5), Packet::Auth);
    fault(
        &[0xf0, 1, 0x80],
        V5,
        PacketFault::ReasonNotAllowed(Reason::UNSPECIFIED),
    );
}

#[test]
fn filters_and_user_properties_of_a_packet_are_counted() {
    let filters: Vec<u8> = b"\0\x01a\0".repeat(4097);
    let body = [b"\0\x01\0".as_slice(), &filters].concat();
    let mut octets = BytesMut::from(&[0x82][..]);
    octets::put_varint(&mut octets, u32::try_from(body.len()).expect("short"));
    octets.extend_from_slice(&body);
    fault(&octets, V5, PacketFault::TooManyFilters { limit: 4096 });
    let properties: Vec<u8> = b"\x26\0\0\0\0".repeat(129);
    let mut body = BytesMut::from(&b"\0\x01a"[..]);
    octets::put_varint(&mut body, 129 * 5);
    body.extend_from_slice(&properties);
    let mut octets = BytesMut::from(&[0x30][..]);
    octets::put_varint(&mut octets, u32::try_from(body.len()).expect("short"));
    octets.extend_from_slice(&body);
    fault(&octets, V5, PacketFault::TooManyProperties { limit: 128 });
}
