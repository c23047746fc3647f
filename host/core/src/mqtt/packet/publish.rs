//! PUBLISH of a client (section 3.3).

use super::{
    PacketFault,
    octets::Reader,
    property::{self, Property, PropertySet},
};
use crate::mqtt::{MqttVersion, PublicationProperties, Qos, check_name};

/// A publication, as it lies in the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPacket<'a> {
    pub qos: Qos,
    pub is_duplicate: bool,
    pub is_retained: bool,
    /// Empty where an alias stands for it.
    pub topic: &'a str,
    /// None with QoS 0.
    pub id: Option<u16>,
    pub alias: Option<u16>,
    pub expiry_s: Option<u32>,
    /// None where there are none that go along.
    pub properties: Option<Box<PublicationProperties>>,
    pub payload: &'a [u8],
}

impl<'a> PublishPacket<'a> {
    pub(super) fn read(
        flags: u8,
        reader: &mut Reader<'a>,
        version: MqttVersion,
    ) -> Result<Self, PacketFault> {
        let qos = Qos::from_bits(flags >> 1 & 3).ok_or(PacketFault::QosThree)?;
        let is_duplicate = flags & 8 != 0;
        if is_duplicate && qos == Qos::AtMostOnce {
            return Err(PacketFault::DuplicateQosZero);
        }
        let topic = reader.text()?;
        let id = match qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.packet_id()?),
        };
        let mut packet = Self {
            qos,
            is_duplicate,
            is_retained: flags & 1 != 0,
            topic,
            id,
            alias: None,
            expiry_s: None,
            properties: None,
            payload: &[],
        };
        if version == MqttVersion::V5 {
            packet.read_properties(reader)?;
        }
        if !topic.is_empty() {
            check_name(topic).map_err(PacketFault::TopicName)?;
        } else if packet.alias.is_none() {
            return Err(PacketFault::NoTopic);
        }
        packet.payload = reader.rest();
        Ok(packet)
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), PacketFault> {
        property::read(reader, PropertySet::PUBLISH, |property| {
            if let Property::TopicAlias(alias) = property {
                self.alias = Some(alias);
            } else if let Property::MessageExpiry(seconds) = property {
                self.expiry_s = Some(seconds);
            } else if let Property::SubscriptionId(_) = property {
                return Err(PacketFault::SubscriptionId);
            } else {
                take_described(&mut self.properties, property)?;
            }
            Ok(())
        })
    }
}

/// Takes what describes a message, of a PUBLISH or of a will.
pub(super) fn take_described(
    properties: &mut Option<Box<PublicationProperties>>,
    property: Property<'_>,
) -> Result<(), PacketFault> {
    let properties = properties.get_or_insert_default();
    match property {
        Property::PayloadFormat(is_text) => properties.is_text = is_text,
        Property::ContentType(text) => properties.content_type = Some(text.into()),
        Property::ResponseTopic(text) => {
            check_name(text).map_err(PacketFault::ResponseTopic)?;
            properties.response_topic = Some(text.into());
        }
        Property::Correlation(octets) => {
            properties.correlation = Some(bytes::Bytes::copy_from_slice(octets));
        }
        Property::User(name, value) => properties.user.push((name.into(), value.into())),
        // No set of properties that comes here has them.
        Property::MessageExpiry(_)
        | Property::SubscriptionId(_)
        | Property::SessionExpiry(_)
        | Property::AuthenticationMethod(_)
        | Property::AuthenticationData(_)
        | Property::RequestProblem(_)
        | Property::WillDelay(_)
        | Property::RequestResponse(_)
        | Property::ReasonString(_)
        | Property::ReceiveMax(_)
        | Property::TopicAliasMax(_)
        | Property::TopicAlias(_)
        | Property::PacketBytesMax(_) => {}
    }
    Ok(())
}
