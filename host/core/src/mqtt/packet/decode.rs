//! The next packet of what was read.

use super::{
    AckKind, AckPacket, ConnectPacket, Disconnect, Packet, PacketFault, PublishPacket, Subscribe,
    Unsubscribe, kind,
    octets::{self, Reader},
    property::{self, Property, PropertySet},
};
use crate::mqtt::{MqttVersion, Reason};

/// A packet, and how many octets it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub packet: Packet<'a>,
    pub n_octets: usize,
}

/// The packet at the front of `octets`; none while it is not whole. `version` is what the client has said
/// that it speaks, none before CONNECT. What is longer than `limit` is refused by its head.
///
/// # Errors
/// Why these octets are no packet of a client, or not at this moment.
pub fn decode(
    octets: &[u8],
    version: Option<MqttVersion>,
    limit: u32,
) -> Result<Option<Decoded<'_>>, PacketFault> {
    let Some((first, rest)) = octets.split_first() else {
        return Ok(None);
    };
    let (kind, flags) = (first >> 4, first & 0x0f);
    check_head(kind, flags, version)?;
    let Some((length, n_length)) = octets::varint(rest)? else {
        return Ok(None);
    };
    // 3.1.1 says nothing of lengths that are longer than they need to be.
    if version == Some(MqttVersion::V5) && n_length != octets::varint_bytes(length) {
        return Err(PacketFault::LongVarint);
    }
    let whole = 1 + n_length as u64 + u64::from(length);
    if whole > u64::from(limit) {
        return Err(PacketFault::TooLarge {
            length: whole,
            limit,
        });
    }
    let n_octets = usize::try_from(whole).unwrap_or(usize::MAX);
    let Some(body) = octets.get(1 + n_length..n_octets) else {
        return Ok(None);
    };
    let packet = decode_body(kind, flags, body, version)?;
    Ok(Some(Decoded { packet, n_octets }))
}

/// What the first octet alone says, so that nothing is kept of what cannot become a packet.
fn check_head(kind: u8, flags: u8, version: Option<MqttVersion>) -> Result<(), PacketFault> {
    let expected = match kind {
        kind::PUBLISH => flags,
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => 2,
        kind::CONNECT
        | kind::PUBACK
        | kind::PUBREC
        | kind::PUBCOMP
        | kind::PINGREQ
        | kind::DISCONNECT
        | kind::AUTH => 0,
        kind::CONNACK | kind::SUBACK | kind::UNSUBACK | kind::PINGRESP => {
            return Err(PacketFault::ServerPacket { kind });
        }
        _ => return Err(PacketFault::ReservedType { kind }),
    };
    match version {
        None if kind != kind::CONNECT => return Err(PacketFault::NotConnect),
        Some(_) if kind == kind::CONNECT => return Err(PacketFault::ConnectTwice),
        Some(MqttVersion::V3) if kind == kind::AUTH => {
            return Err(PacketFault::NotOfVersion { kind });
        }
        None | Some(MqttVersion::V3 | MqttVersion::V5) => {}
    }
    match flags == expected {
        true => Ok(()),
        false => Err(PacketFault::Flags { kind, flags }),
    }
}

#[inline]
fn decode_body(
    kind: u8,
    flags: u8,
    body: &[u8],
    version: Option<MqttVersion>,
) -> Result<Packet<'_>, PacketFault> {
    let mut reader = Reader(body);
    let version = version.unwrap_or_default();
    let packet = match kind {
        kind::PUBLISH => Packet::Publish(PublishPacket::read(flags, &mut reader, version)?),
        kind::CONNECT => Packet::Connect(Box::new(ConnectPacket::read(&mut reader)?)),
        kind::PUBACK => ack(AckKind::Puback, &mut reader, version)?,
        kind::PUBREC => ack(AckKind::Pubrec, &mut reader, version)?,
        kind::PUBREL => ack(AckKind::Pubrel, &mut reader, version)?,
        kind::PUBCOMP => ack(AckKind::Pubcomp, &mut reader, version)?,
        kind::SUBSCRIBE => Packet::Subscribe(Subscribe::read(&mut reader, version)?),
        kind::UNSUBSCRIBE => Packet::Unsubscribe(Unsubscribe::read(&mut reader, version)?),
        kind::PINGREQ => Packet::PingRequest,
        kind::DISCONNECT => Packet::Disconnect(disconnect(&mut reader, version)?),
        kind::AUTH => auth(&mut reader)?,
        _ => return Err(PacketFault::ReservedType { kind }),
    };
    match reader.0.len() {
        0 => Ok(packet),
        n_octets => Err(PacketFault::Trailing { n_octets }),
    }
}

fn ack<'a>(
    kind: AckKind,
    reader: &mut Reader<'a>,
    version: MqttVersion,
) -> Result<Packet<'a>, PacketFault> {
    let id = reader.packet_id()?;
    let mut reason = Reason::SUCCESS;
    if version == MqttVersion::V5 && !reader.is_empty() {
        reason = Reason(reader.octet()?);
        if !kind.may_say(reason) {
            return Err(PacketFault::ReasonNotAllowed(reason));
        }
        if !reader.is_empty() {
            property::read(reader, PropertySet::ACK, |_| Ok(()))?;
        }
    }
    Ok(Packet::Ack(AckPacket { kind, id, reason }))
}

fn disconnect(reader: &mut Reader<'_>, version: MqttVersion) -> Result<Disconnect, PacketFault> {
    let mut disconnect = Disconnect::default();
    if version == MqttVersion::V3 || reader.is_empty() {
        return Ok(disconnect);
    }
    disconnect.reason = Reason(reader.octet()?);
    if !is_of_client(disconnect.reason) {
        return Err(PacketFault::ReasonNotAllowed(disconnect.reason));
    }
    if !reader.is_empty() {
        property::read(reader, PropertySet::DISCONNECT, |property| {
            if let Property::SessionExpiry(seconds) = property {
                disconnect.session_expiry_s = Some(seconds);
            }
            Ok(())
        })?;
    }
    Ok(disconnect)
}

/// Whether a client's DISCONNECT may say so (the table of section 3.14.2.1).
const fn is_of_client(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SUCCESS
            | Reason::DISCONNECT_WITH_WILL
            | Reason::UNSPECIFIED
            | Reason::MALFORMED
            | Reason::PROTOCOL_ERROR
            | Reason::IMPLEMENTATION_SPECIFIC
            | Reason::TOPIC_NAME_INVALID
            | Reason::RECEIVE_MAXIMUM_EXCEEDED
            | Reason::TOPIC_ALIAS_INVALID
            | Reason::PACKET_TOO_LARGE
            | Reason::MESSAGE_RATE_TOO_HIGH
            | Reason::QUOTA_EXCEEDED
            | Reason::ADMINISTRATIVE_ACTION
            | Reason::PAYLOAD_FORMAT_INVALID
    )
}

fn auth<'a>(reader: &mut Reader<'a>) -> Result<Packet<'a>, PacketFault> {
    if !reader.is_empty() {
        let reason = Reason(reader.octet()?);
        if !matches!(
            reason,
            Reason::SUCCESS | Reason::CONTINUE_AUTHENTICATION | Reason::REAUTHENTICATE
        ) {
            return Err(PacketFault::ReasonNotAllowed(reason));
        }
        if !reader.is_empty() {
            property::read(reader, PropertySet::AUTH, |_| Ok(()))?;
        }
    }
    Ok(Packet::Auth)
}
