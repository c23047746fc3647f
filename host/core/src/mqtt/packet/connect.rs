//! CONNECT (section 3.1).

use std::fmt;

use bytes::Bytes;

use super::{
    PacketFault, ShownName,
    octets::Reader,
    property::{self, Property, PropertySet},
    publish::take_described,
};
use crate::{
    mqtt::{MqttVersion, PublicationProperties, Qos, check_name},
    text::Text,
};

/// What a client says of itself. Its octets are its own.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConnectPacket {
    pub version: MqttVersion,
    /// Clean session in 3.1.1.
    pub clean_start: bool,
    pub keep_alive_s: u16,
    /// May be empty.
    pub client_id: Text,
    pub will: Option<Will>,
    pub user_name: Option<Text>,
    pub password: Option<Bytes>,
    /// Of 3.1.1, for ever where the session is not clean.
    pub session_expiry_s: u32,
    pub receive_max: u16,
    pub packet_bytes_max: u32,
    pub topic_alias_max: u16,
    pub wants_response_information: bool,
    pub wants_problems: bool,
    pub user_properties: Vec<(Text, Text)>,
    pub authentication_method: Option<Text>,
}

/// What is published when the client goes without a word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Will {
    pub topic: Text,
    pub payload: Bytes,
    pub qos: Qos,
    pub is_retained: bool,
    pub delay_s: u32,
    pub expiry_s: Option<u32>,
    pub properties: Option<Box<PublicationProperties>>,
}

/// Without the password.
impl fmt::Debug for ConnectPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectPacket")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// The connect flags (section 3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn has(self, bit: u8) -> bool {
        self.0 & 1 << bit != 0
    }

    const fn will_qos(self) -> u8 {
        self.0 >> 3 & 3
    }

    fn check(self, version: MqttVersion) -> Result<(), PacketFault> {
        if self.has(RESERVED) {
            return Err(PacketFault::ReservedBit);
        }
        if !self.has(WILL) && (self.will_qos() != 0 || self.has(WILL_RETAIN)) {
            return Err(PacketFault::WillFlags);
        }
        if version == MqttVersion::V3 && self.has(PASSWORD) && !self.has(USER_NAME) {
            return Err(PacketFault::PasswordAlone);
        }
        Ok(())
    }
}

impl ConnectPacket {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, PacketFault> {
        let name = reader.binary()?;
        let level = reader.octet()?;
        let version = match (name, level) {
            (b"MQTT", 4) => MqttVersion::V3,
            (b"MQTT", 5) => MqttVersion::V5,
            (b"MQTT" | b"MQIsdp", _) => return Err(PacketFault::ProtocolLevel { level }),
            _ => {
                let length = name.len();
                return Err(PacketFault::ProtocolName(ShownName { length }));
            }
        };
        let flags = Flags(reader.octet()?);
        flags.check(version)?;
        let mut connect = Self {
            version,
            clean_start: flags.has(CLEAN),
            keep_alive_s: reader.u16()?,
            receive_max: u16::MAX,
            packet_bytes_max: u32::MAX,
            wants_problems: true,
            ..Self::default()
        };
        match version {
            MqttVersion::V5 => connect.read_properties(reader)?,
            MqttVersion::V3 if !connect.clean_start => connect.session_expiry_s = u32::MAX,
            MqttVersion::V3 => {}
        }
        connect.client_id = reader.text()?.into();
        if flags.has(WILL) {
            connect.will = Some(Will::read(flags, reader, version)?);
        }
        if flags.has(USER_NAME) {
            connect.user_name = Some(reader.text()?.into());
        }
        if flags.has(PASSWORD) {
            connect.password = Some(Bytes::copy_from_slice(reader.binary()?));
        }
        Ok(connect)
    }

    fn read_properties(&mut self, reader: &mut Reader<'_>) -> Result<(), PacketFault> {
        let mut has_data = false;
        property::read(reader, PropertySet::CONNECT, |property| {
            match property {
                Property::SessionExpiry(seconds) => self.session_expiry_s = seconds,
                Property::ReceiveMax(number) => self.receive_max = number,
                Property::PacketBytesMax(octets) => self.packet_bytes_max = octets,
                Property::TopicAliasMax(number) => self.topic_alias_max = number,
                Property::RequestResponse(is_wanted) => self.wants_response_information = is_wanted,
                Property::RequestProblem(is_wanted) => self.wants_problems = is_wanted,
                Property::User(name, value) => {
                    self.user_properties.push((name.into(), value.into()));
                }
                Property::AuthenticationMethod(name) => {
                    self.authentication_method = Some(name.into());
                }
                Property::AuthenticationData(_) => has_data = true,
                // The set has no others.
                Property::PayloadFormat(_)
                | Property::MessageExpiry(_)
                | Property::ContentType(_)
                | Property::ResponseTopic(_)
                | Property::Correlation(_)
                | Property::SubscriptionId(_)
                | Property::WillDelay(_)
                | Property::ReasonString(_)
                | Property::TopicAlias(_) => {}
            }
            Ok(())
        })?;
        match has_data && self.authentication_method.is_none() {
            true => Err(PacketFault::DataWithoutMethod),
            false => Ok(()),
        }
    }
}

impl Will {
    fn read(
        flags: Flags,
        reader: &mut Reader<'_>,
        version: MqttVersion,
    ) -> Result<Self, PacketFault> {
        let mut will = Self {
            qos: Qos::from_bits(flags.will_qos()).ok_or(PacketFault::QosThree)?,
            is_retained: flags.has(WILL_RETAIN),
            ..Self::default()
        };
        if version == MqttVersion::V5 {
            property::read(reader, PropertySet::WILL, |property| {
                if let Property::WillDelay(seconds) = property {
                    will.delay_s = seconds;
                } else if let Property::MessageExpiry(seconds) = property {
                    will.expiry_s = Some(seconds);
                } else {
                    take_described(&mut will.properties, property)?;
                }
                Ok(())
            })?;
        }
        let topic = reader.text()?;
        check_name(topic).map_err(PacketFault::TopicName)?;
        will.topic = topic.into();
        will.payload = Bytes::copy_from_slice(reader.binary()?);
        Ok(will)
    }
}

const RESERVED: u8 = 0;
const CLEAN: u8 = 1;
const WILL: u8 = 2;
const WILL_RETAIN: u8 = 5;
const PASSWORD: u8 = 6;
const USER_NAME: u8 = 7;
