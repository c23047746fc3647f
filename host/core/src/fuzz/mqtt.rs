//! Octets of an MQTT client, cut anywhere, are the same packets; a publication that is written is the one
//! that was read; whatever comes, a connection answers or ends.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Script;
use crate::{
    mqtt::{
        ClientLimits, ConnectPacket, Decoded, KeptState, MqttConnection, MqttInput, MqttVersion,
        Negotiated, OutgoingPublish, Packet, PacketBuffer, PacketFault, Publication, PublishHead,
        PublishPacket, Qos, Reason, TopicName, decode, encode_publish_head, publish_bytes,
    },
    testing::epoch,
};

const PACKET_BYTES_MAX: u32 = 1 << 12;

/// The first octet: bits 0 and 1 are the version, none before CONNECT; the others how long the pieces
/// are.
pub fn mqtt(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mode = script.octet();
    let version = match mode & 3 {
        0 => None,
        1 => Some(MqttVersion::V3),
        _ => Some(MqttVersion::V5),
    };
    let stream = script.octets(usize::MAX);
    let whole = read(stream, stream.len().max(1), version);
    let pieces = read(stream, 1 + usize::from(mode >> 2), version);
    assert_eq!(whole, pieces, "a cut changes what is read");
    if let Some(version) = version {
        serve(stream, version);
    }
}

/// The packets as they print, and the fault that ends them.
fn read(
    stream: &[u8],
    piece: usize,
    version: Option<MqttVersion>,
) -> (Vec<String>, Option<PacketFault>) {
    let (mut input, mut packets) = (Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match decode(&input, version, PACKET_BYTES_MAX) {
                Ok(Some(Decoded { packet, n_octets })) => {
                    if let (Packet::Publish(publish), Some(version)) = (&packet, version) {
                        write(publish, version);
                    }
                    packets.push(format!("{packet:?}"));
                    input.drain(..n_octets);
                }
                Ok(None) => break,
                Err(fault) => return (packets, Some(fault)),
            }
        }
    }
    (packets, None)
}

/// Writes a publication and reads it again.
fn write(publish: &PublishPacket<'_>, version: MqttVersion) {
    let head = PublishHead {
        version,
        qos: publish.qos,
        is_duplicate: publish.is_duplicate,
        is_retained: publish.is_retained,
        topic: publish.topic,
        id: publish.id.unwrap_or_default(),
        alias: publish.alias,
        expiry_s: publish.expiry_s,
        properties: publish.properties.as_deref(),
        subscription_ids: &[],
        payload_bytes: publish.payload.len(),
    };
    let mut octets = BytesMut::new();
    encode_publish_head(&mut octets, &head);
    octets.extend_from_slice(publish.payload);
    assert_eq!(octets.len(), publish_bytes(&head), "a length that is not");
    let decoded = decode(&octets, Some(version), u32::MAX);
    let Ok(Some(Decoded {
        packet: Packet::Publish(found),
        ..
    })) = decoded
    else {
        unreachable!("a publication that was written is none: {decoded:?}");
    };
    // What has properties of which none goes along has none afterwards.
    let described = |publish: &PublishPacket<'_>| publish.properties.clone().unwrap_or_default();
    assert_eq!(described(&found), described(publish));
    let bare = |publish: &PublishPacket<'_>| PublishPacket {
        topic: "",
        payload: &[],
        properties: None,
        ..publish.clone()
    };
    assert_eq!(
        format!("{:?}", bare(&found)),
        format!("{:?}", bare(publish))
    );
    assert_eq!(
        (found.topic, found.payload),
        (publish.topic, publish.payload)
    );
}

/// Hands the packets to a connection that takes everything, and sends it something with each.
fn serve(stream: &[u8], version: MqttVersion) {
    let connect = ConnectPacket {
        version,
        receive_max: 3,
        packet_bytes_max: 64,
        topic_alias_max: 2,
        ..ConnectPacket::default()
    };
    let negotiated = Negotiated::new(&connect, &ClientLimits::default());
    let mut connection = MqttConnection::new(epoch(), negotiated, false, KeptState::default());
    let (mut rest, mut out) = (stream, PacketBuffer::default());
    let Ok(topic) = TopicName::new("topic/of/some/length") else {
        return;
    };
    while let Ok(Some(Decoded { packet, n_octets })) = decode(rest, Some(version), PACKET_BYTES_MAX)
    {
        rest = rest.get(n_octets..).unwrap_or_default();
        let Ok(input) = connection.handle(epoch(), packet, &mut out) else {
            return;
        };
        match input {
            MqttInput::Publish(publish) => {
                let (qos, id) = (publish.packet.qos, publish.packet.id.unwrap_or_default());
                let _ = connection.on_published(id, qos, Reason::SUCCESS, None, &mut out);
            }
            MqttInput::Received(id, _) => connection.on_received(id, &mut out),
            MqttInput::Released(id) => {
                connection.release(id);
                connection.on_released(id, &mut out);
            }
            MqttInput::Disconnected(_) => break,
            MqttInput::Nothing
            | MqttInput::Subscribe(_)
            | MqttInput::Unsubscribe(_)
            | MqttInput::Acknowledged(_)
            | MqttInput::Completed(_) => {}
        }
        let qos = Qos::from_bits(out.len().to_le_bytes()[0] % 3).unwrap_or_default();
        let publication = Publication::new(topic.clone(), Bytes::from_static(b"payload"), qos);
        let _ = connection.send(
            epoch(),
            OutgoingPublish::new(Arc::new(publication), qos),
            &mut out,
        );
        let n_open = connection.kept().window.n_open();
        assert!(
            n_open <= 3,
            "{n_open} publications over a receive maximum of 3"
        );
    }
    let mut again = MqttConnection::new(epoch(), negotiated, false, connection.into_kept());
    again.resend(epoch(), &mut out);
    assert!(again.kept().window.n_open() <= 3);
}
