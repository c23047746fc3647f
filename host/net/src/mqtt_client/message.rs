//! A message as it goes to a broker and comes from one.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, CorrelationData, MessageExpiryInterval, PayloadFormat, PayloadFormatIndicator,
    Property, Qos as PacketQos, ResponseTopic, TopicAlias, UserProperty, v3_1_1, v5_0,
};
use postern_core::{
    Text,
    mqtt::{PublicationProperties, Qos},
};

use super::fault::BrokerFault;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerMessage {
    pub topic: Text,
    pub payload: Bytes,
    pub qos: Qos,
    pub is_retained: bool,
    /// What MQTT 5 says beside it; 3.1.1 carries none of it.
    pub properties: PublicationProperties,
    /// Seconds for which it is of use. MQTT 5.
    pub expiry_s: Option<u32>,
}

impl BrokerMessage {
    #[must_use]
    pub fn new(topic: impl Into<Text>, payload: impl Into<Bytes>, qos: Qos) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            is_retained: false,
            properties: PublicationProperties::default(),
            expiry_s: None,
        }
    }

    /// What it is charged for in queues: no less than it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let user = self.properties.user.iter();
        let user: usize = user.map(|(key, value)| key.len() + value.len() + 5).sum();
        let others = [
            self.properties.content_type.as_ref().map_or(0, Text::len),
            self.properties.response_topic.as_ref().map_or(0, Text::len),
            self.properties.correlation.as_ref().map_or(0, Bytes::len),
        ];
        let others: usize = others.into_iter().sum();
        OVERHEAD_BYTES + self.topic.len() + self.payload.len() + user + others
    }

    /// As a packet of 3.1.1.
    pub(super) fn to_v3(&self, packet_id: Option<u16>, is_dup: bool) -> Result<Bytes, BrokerFault> {
        let built = v3_1_1::Publish::builder()
            .topic_name(self.topic.as_str())
            .map_err(BrokerFault::unwritable)?
            .qos(to_packet(self.qos))
            .retain(self.is_retained)
            .dup(is_dup)
            .payload(&self.payload[..]);
        let built = match packet_id {
            Some(packet_id) => built.packet_id(packet_id),
            None => built,
        };
        let packet = built.build().map_err(BrokerFault::unwritable)?;
        Ok(packet.to_continuous_buffer().into())
    }

    /// As a packet of 5. With an alias that the broker knows the topic is left out.
    pub(super) fn to_v5(
        &self,
        packet_id: Option<u16>,
        is_dup: bool,
        alias: Option<SentAlias>,
    ) -> Result<Bytes, BrokerFault> {
        let topic = match alias {
            Some(SentAlias { is_known: true, .. }) => "",
            Some(_) | None => self.topic.as_str(),
        };
        let mut properties = self.packet_properties()?;
        if let Some(alias) = alias {
            let alias = TopicAlias::new(alias.alias).map_err(BrokerFault::unwritable)?;
            properties.push(Property::TopicAlias(alias));
        }
        let built = v5_0::Publish::builder()
            .topic_name(topic)
            .map_err(BrokerFault::unwritable)?
            .qos(to_packet(self.qos))
            .retain(self.is_retained)
            .dup(is_dup)
            .props(properties)
            .payload(&self.payload[..]);
        let built = match packet_id {
            Some(packet_id) => built.packet_id(packet_id),
            None => built,
        };
        let packet = built.build().map_err(BrokerFault::unwritable)?;
        Ok(packet.to_continuous_buffer().into())
    }

    pub(super) fn of_v3(packet: &v3_1_1::Publish) -> Self {
        Self {
            topic: packet.topic_name().into(),
            payload: Bytes::copy_from_slice(packet.payload().as_slice()),
            qos: of_packet(packet.qos()),
            is_retained: packet.retain(),
            properties: PublicationProperties::default(),
            expiry_s: None,
        }
    }

    /// The message, and its topic's alias where it has one.
    pub(super) fn of_v5(packet: &v5_0::Publish) -> (Self, Option<u16>) {
        let mut message = Self {
            topic: packet.topic_name().into(),
            payload: Bytes::copy_from_slice(packet.payload().as_slice()),
            qos: of_packet(packet.qos()),
            is_retained: packet.retain(),
            properties: PublicationProperties::default(),
            expiry_s: None,
        };
        let mut alias = None;
        for property in packet.props() {
            message.take(property, &mut alias);
        }
        (message, alias)
    }

    /// The first user property of that name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Text> {
        let mut user = self.properties.user.iter();
        user.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn packet_properties(&self) -> Result<Vec<Property>, BrokerFault> {
        let mut properties = Vec::new();
        let (failed, own) = (BrokerFault::unwritable, &self.properties);
        if let Some(content_type) = &own.content_type {
            let content_type = ContentType::new(content_type.as_str()).map_err(failed)?;
            properties.push(Property::ContentType(content_type));
        }
        if own.is_text {
            let text = PayloadFormatIndicator::new(PayloadFormat::String).map_err(failed)?;
            properties.push(Property::PayloadFormatIndicator(text));
        }
        if let Some(expiry_s) = self.expiry_s {
            let expiry = MessageExpiryInterval::new(expiry_s).map_err(failed)?;
            properties.push(Property::MessageExpiryInterval(expiry));
        }
        if let Some(topic) = &own.response_topic {
            let topic = ResponseTopic::new(topic.as_str()).map_err(failed)?;
            properties.push(Property::ResponseTopic(topic));
        }
        if let Some(correlation) = &own.correlation {
            let correlation = CorrelationData::new(correlation.to_vec()).map_err(failed)?;
            properties.push(Property::CorrelationData(correlation));
        }
        for (key, value) in &own.user {
            let user = UserProperty::new(key.as_str(), value.as_str()).map_err(failed)?;
            properties.push(Property::UserProperty(user));
        }
        Ok(properties)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the packet's reader has refused those that no PUBLISH has"
    )]
    fn take(&mut self, property: &Property, alias: &mut Option<u16>) {
        match property {
            Property::ContentType(one) => self.properties.content_type = Some(one.val().into()),
            Property::PayloadFormatIndicator(one) => {
                self.properties.is_text = one.val() == PayloadFormat::String as u8;
            }
            Property::MessageExpiryInterval(one) => self.expiry_s = Some(one.val()),
            Property::ResponseTopic(one) => self.properties.response_topic = Some(one.val().into()),
            Property::CorrelationData(one) => {
                self.properties.correlation = Some(Bytes::copy_from_slice(one.val()));
            }
            Property::TopicAlias(one) => *alias = Some(one.val()),
            Property::UserProperty(one) => {
                self.properties
                    .user
                    .push((one.key().into(), one.val().into()));
            }
            _ => {}
        }
    }
}

/// As packets have it.
pub(super) const fn to_packet(qos: Qos) -> PacketQos {
    match qos {
        Qos::AtMostOnce => PacketQos::AtMostOnce,
        Qos::AtLeastOnce => PacketQos::AtLeastOnce,
        Qos::ExactlyOnce => PacketQos::ExactlyOnce,
    }
}

const fn of_packet(qos: PacketQos) -> Qos {
    match qos {
        PacketQos::AtMostOnce => Qos::AtMostOnce,
        PacketQos::AtLeastOnce => Qos::AtLeastOnce,
        PacketQos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// A topic's number, and whether the broker has been told what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentAlias {
    pub(super) alias: u16,
    pub(super) is_known: bool,
}

/// Charged for a message beside what it holds: its entry in a queue and the fixed parts of its packet.
const OVERHEAD_BYTES: usize = 256;
