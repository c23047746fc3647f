//! Packets of the broker.

use bytes::{BufMut, BytesMut};

use super::{
    AckPacket, kind,
    octets::{put_text, put_varint, varint_bytes},
    property::{self, Property, id},
};
use crate::mqtt::{MqttVersion, PublicationProperties, Qos, Reason};

/// What a client is told of its connection (section 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connack<'a> {
    pub is_session_present: bool,
    pub reason: Reason,
    /// All that follows is of MQTT 5; what is none is not said.
    pub problem: Option<&'a str>,
    pub session_expiry_s: Option<u32>,
    pub receive_max: Option<u16>,
    pub qos_max: Option<Qos>,
    pub has_retain: bool,
    pub packet_bytes_max: Option<u32>,
    pub assigned_client_id: Option<&'a str>,
    pub topic_alias_max: u16,
    pub has_wildcards: bool,
    pub has_shared: bool,
    pub server_keep_alive_s: Option<u16>,
    pub response_information: Option<&'a str>,
}

/// A PUBLISH before its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishHead<'a> {
    pub version: MqttVersion,
    pub qos: Qos,
    pub is_duplicate: bool,
    pub is_retained: bool,
    /// Empty where the alias says it.
    pub topic: &'a str,
    /// With QoS 1 and 2.
    pub id: u16,
    pub alias: Option<u16>,
    /// Seconds that are left.
    pub expiry_s: Option<u32>,
    pub properties: Option<&'a PublicationProperties>,
    pub subscription_ids: &'a [u32],
    pub payload_bytes: usize,
}

/// Octets of the whole packet.
#[must_use]
pub fn publish_bytes(head: &PublishHead<'_>) -> usize {
    let body = head.body_bytes();
    let length = u32::try_from(body).unwrap_or(u32::MAX);
    1 + varint_bytes(length) + body
}

/// Appends what stands before the payload, which follows as it is.
#[inline]
pub fn encode_publish_head(into: &mut BytesMut, head: &PublishHead<'_>) {
    let length = u32::try_from(head.body_bytes()).unwrap_or(u32::MAX);
    into.reserve(HEAD_BYTES_MAX + head.topic.len());
    let flags =
        u8::from(head.is_duplicate) << 3 | head.qos.bits() << 1 | u8::from(head.is_retained);
    into.put_u8(kind::PUBLISH << 4 | flags);
    put_varint(into, length);
    put_text(into, head.topic);
    if head.qos != Qos::AtMostOnce {
        into.put_u16(head.id);
    }
    if head.version == MqttVersion::V5 {
        put_varint(
            into,
            u32::try_from(head.properties_bytes()).unwrap_or(u32::MAX),
        );
        head.put_properties(into);
    }
}

impl PublishHead<'_> {
    fn body_bytes(&self) -> usize {
        let id = match self.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => 2,
        };
        let properties = match self.version {
            MqttVersion::V3 => 0,
            MqttVersion::V5 => {
                let n_octets = self.properties_bytes();
                varint_bytes(u32::try_from(n_octets).unwrap_or(u32::MAX)) + n_octets
            }
        };
        2 + self.topic.len() + id + properties + self.payload_bytes
    }

    fn properties_bytes(&self) -> usize {
        let ids: usize = self
            .subscription_ids
            .iter()
            .map(|id| 1 + varint_bytes(*id))
            .sum();
        let alias = self.alias.map_or(0, |_| 3);
        let expiry = self.expiry_s.map_or(0, |_| 5);
        let described = self.properties.map_or(0, |properties| {
            let text = |text: usize| 3 + text;
            let user = properties.user.iter();
            usize::from(properties.is_text) * 2
                + properties
                    .content_type
                    .as_ref()
                    .map_or(0, |t| text(t.len()))
                + properties
                    .response_topic
                    .as_ref()
                    .map_or(0, |t| text(t.len()))
                + properties.correlation.as_ref().map_or(0, |c| text(c.len()))
                + user
                    .map(|(name, value)| 5 + name.len() + value.len())
                    .sum::<usize>()
        });
        ids + alias + expiry + described
    }

    fn put_properties(&self, into: &mut BytesMut) {
        if let Some(alias) = self.alias {
            property::put(into, Property::TopicAlias(alias));
        }
        if let Some(seconds) = self.expiry_s {
            property::put(into, Property::MessageExpiry(seconds));
        }
        for number in self.subscription_ids {
            property::put(into, Property::SubscriptionId(*number));
        }
        let Some(properties) = self.properties else {
            return;
        };
        if properties.is_text {
            property::put(into, Property::PayloadFormat(true));
        }
        if let Some(text) = &properties.content_type {
            property::put(into, Property::ContentType(text));
        }
        if let Some(text) = &properties.response_topic {
            property::put(into, Property::ResponseTopic(text));
        }
        if let Some(octets) = &properties.correlation {
            property::put(into, Property::Correlation(octets));
        }
        for (name, value) in &properties.user {
            property::put(into, Property::User(name, value));
        }
    }
}

pub fn encode_connack(into: &mut BytesMut, version: MqttVersion, connack: &Connack<'_>) {
    let mut body = BytesMut::with_capacity(64);
    body.put_u8(connack.is_session_present.into());
    match version {
        MqttVersion::V3 => body.put_u8(connack.reason.connack_v3()),
        MqttVersion::V5 => {
            body.put_u8(connack.reason.0);
            put_section(&mut body, |into| put_connack_properties(into, connack));
        }
    }
    put_packet(into, kind::CONNACK, 0, &body);
}

fn put_connack_properties(into: &mut BytesMut, connack: &Connack<'_>) {
    if let Some(problem) = connack.problem {
        property::put(into, Property::ReasonString(problem));
    }
    if connack.reason.is_failure() {
        return;
    }
    if let Some(seconds) = connack.session_expiry_s {
        property::put(into, Property::SessionExpiry(seconds));
    }
    if let Some(number) = connack.receive_max {
        property::put(into, Property::ReceiveMax(number));
    }
    if let Some(qos) = connack.qos_max.filter(|qos| *qos != Qos::ExactlyOnce) {
        property::put_octet(into, id::QOS_MAX, qos.bits());
    }
    if let Some(octets) = connack.packet_bytes_max {
        property::put(into, Property::PacketBytesMax(octets));
    }
    if let Some(client_id) = connack.assigned_client_id {
        property::put_text(into, id::ASSIGNED_CLIENT_ID, client_id);
    }
    if connack.topic_alias_max > 0 {
        property::put(into, Property::TopicAliasMax(connack.topic_alias_max));
    }
    for (name, is_there) in [
        (id::RETAIN_AVAILABLE, connack.has_retain),
        (id::WILDCARDS_AVAILABLE, connack.has_wildcards),
        (id::SHARED_AVAILABLE, connack.has_shared),
    ] {
        if !is_there {
            property::put_octet(into, name, 0);
        }
    }
    if let Some(seconds) = connack.server_keep_alive_s {
        property::put_u16(into, id::SERVER_KEEP_ALIVE, seconds);
    }
    if let Some(text) = connack.response_information {
        property::put_text(into, id::RESPONSE_INFORMATION, text);
    }
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP. 3.1.1 has no reasons; MQTT 5 is spared that of success.
pub fn encode_ack(
    into: &mut BytesMut,
    version: MqttVersion,
    ack: AckPacket,
    problem: Option<&str>,
) {
    let first = ack.kind.kind() << 4 | ack.kind.flags();
    if version == MqttVersion::V3 || ack.reason == Reason::SUCCESS {
        let [high, low] = ack.id.to_be_bytes();
        into.extend_from_slice(&[first, 2, high, low]);
        return;
    }
    let mut body = BytesMut::with_capacity(64);
    body.put_u16(ack.id);
    body.put_u8(ack.reason.0);
    if let Some(problem) = problem {
        put_section(&mut body, |into| {
            property::put(into, Property::ReasonString(problem))
        });
    }
    put_packet(into, ack.kind.kind(), ack.kind.flags(), &body);
}

/// Appends SUBACK with a reason for each filter. 3.1.1 knows one failure only.
pub fn encode_suback(into: &mut BytesMut, version: MqttVersion, id: u16, reasons: &[Reason]) {
    let mut body = BytesMut::with_capacity(3 + reasons.len());
    body.put_u16(id);
    if version == MqttVersion::V5 {
        body.put_u8(0);
    }
    for reason in reasons {
        body.put_u8(match version {
            MqttVersion::V3 if reason.is_failure() => Reason::UNSPECIFIED.0,
            MqttVersion::V3 | MqttVersion::V5 => reason.0,
        });
    }
    put_packet(into, kind::SUBACK, 0, &body);
}

/// Appends UNSUBACK, in MQTT 5 with a reason for each filter.
pub fn encode_unsuback(into: &mut BytesMut, version: MqttVersion, id: u16, reasons: &[Reason]) {
    let mut body = BytesMut::with_capacity(3 + reasons.len());
    body.put_u16(id);
    if version == MqttVersion::V5 {
        body.put_u8(0);
        body.extend(reasons.iter().map(|reason| reason.0));
    }
    put_packet(into, kind::UNSUBACK, 0, &body);
}

pub fn encode_pingresp(into: &mut BytesMut) {
    into.extend_from_slice(&[kind::PINGRESP << 4, 0]);
}

/// Appends DISCONNECT of MQTT 5; servers of 3.1.1 close without one.
pub fn encode_disconnect(into: &mut BytesMut, reason: Reason, problem: Option<&str>) {
    let mut body = BytesMut::with_capacity(64);
    body.put_u8(reason.0);
    if let Some(problem) = problem {
        put_section(&mut body, |into| {
            property::put(into, Property::ReasonString(problem))
        });
    }
    put_packet(into, kind::DISCONNECT, 0, &body);
}

/// Writes properties behind their length.
fn put_section(body: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let mut section = BytesMut::with_capacity(64);
    put(&mut section);
    put_varint(body, u32::try_from(section.len()).unwrap_or(u32::MAX));
    body.extend_from_slice(&section);
}

fn put_packet(into: &mut BytesMut, kind: u8, flags: u8, body: &[u8]) {
    into.put_u8(kind << 4 | flags);
    put_varint(into, u32::try_from(body.len()).unwrap_or(u32::MAX));
    into.extend_from_slice(body);
}

/// Of a PUBLISH without properties: type, length, the topic's length, identifier, empty section.
const HEAD_BYTES_MAX: usize = 1 + 4 + 2 + 2 + 1;
