//! What is wrong with octets that are no packet, or with a packet at the wrong moment.

use super::super::{MqttNameError, Reason};

/// Why a connection cannot go on. The peer sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketFault {
    #[error("the packet ends before what it is to hold")]
    Short,
    #[error("{n_octets} octets are left behind what the packet is to hold")]
    Trailing { n_octets: usize },
    #[error("a variable byte integer is longer than it needs to be, or than four octets")]
    LongVarint,
    #[error("a text is not UTF-8")]
    NotUtf8,
    #[error("a text holds U+0000")]
    Null,
    #[error("packet type {kind} is reserved")]
    ReservedType { kind: u8 },
    #[error("packet type {kind} is sent by servers only")]
    ServerPacket { kind: u8 },
    #[error("flags {flags:#06b} are not those of packet type {kind}")]
    Flags { kind: u8, flags: u8 },
    #[error("a packet of {length} octets exceeds the limit of {limit}")]
    TooLarge { length: u64, limit: u32 },
    #[error("packet identifier 0")]
    NoPacketId,
    #[error("QoS 3")]
    QosThree,
    #[error("a publication with QoS 0 says that it is a repetition")]
    DuplicateQosZero,
    #[error("property {id:#04x} is not one of this packet")]
    PropertyNotAllowed { id: u32 },
    #[error("property {id:#04x} is there twice")]
    PropertyTwice { id: u32 },
    #[error("property {id:#04x} has a value that it may not have")]
    PropertyValue { id: u8 },
    #[error("reason {0} is not one of this packet")]
    ReasonNotAllowed(Reason),
    #[error("topic name: {0}")]
    TopicName(MqttNameError),
    #[error("response topic: {0}")]
    ResponseTopic(MqttNameError),
    #[error("a reserved bit is set")]
    ReservedBit,
    #[error("protocol name {0}")]
    ProtocolName(ShownName),
    #[error("protocol level {level} is not served")]
    ProtocolLevel { level: u8 },
    #[error("a will that is not there has QoS or is retained")]
    WillFlags,
    #[error("a password without a user name, which 3.1.1 does not allow")]
    PasswordAlone,
    #[error("there is no filter in it")]
    NoFilter,
    #[error("more than {limit} filters in one packet")]
    TooManyFilters { limit: usize },
    #[error("more than {limit} user properties in one packet")]
    TooManyProperties { limit: usize },
    #[error("a shared subscription does not want what the client itself publishes")]
    NoLocalShared,
    #[error("retain handling 3")]
    RetainHandling,
    #[error("the first packet is not CONNECT")]
    NotConnect,
    #[error("CONNECT comes a second time")]
    ConnectTwice,
    #[error("authentication data without a method")]
    DataWithoutMethod,
    #[error("AUTH without a method in CONNECT")]
    AuthUnasked,
    #[error("packet type {kind} is not one of 3.1.1")]
    NotOfVersion { kind: u8 },
    #[error("a session expiry in DISCONNECT where CONNECT had none")]
    SessionExpiry,
    #[error("topic alias {alias}, the limit is {limit}")]
    TopicAlias { alias: u16, limit: u16 },
    #[error("topic alias {alias} stands for nothing yet")]
    TopicAliasUnknown { alias: u16 },
    #[error("neither a topic name nor a topic alias")]
    NoTopic,
    #[error("{limit} publications wait for their acknowledgement, which is the limit")]
    ReceiveMax { limit: u16 },
    #[error("QoS {qos} exceeds the maximum of {limit}")]
    Qos { qos: u8, limit: u8 },
    #[error("a retained message, and nothing is retained here")]
    Retain,
    #[error("a subscription identifier in a publication of a client")]
    SubscriptionId,
    #[error("nothing was heard for one and a half times the keep alive of {seconds} s")]
    KeepAlive { seconds: u32 },
}

/// Of a protocol name, what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownName {
    /// Octets of it.
    pub length: usize,
}

impl std::fmt::Display for ShownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "of {} octets is not \"MQTT\"", self.length)
    }
}

impl PacketFault {
    /// What a client of MQTT 5 is told (section 4.13).
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Short
            | Self::Trailing { .. }
            | Self::LongVarint
            | Self::NotUtf8
            | Self::Null
            | Self::ReservedType { .. }
            | Self::Flags { .. }
            | Self::NoPacketId
            | Self::QosThree
            | Self::DuplicateQosZero
            | Self::PropertyNotAllowed { .. }
            | Self::ReasonNotAllowed(_)
            | Self::ReservedBit
            | Self::WillFlags => Reason::MALFORMED,
            Self::ServerPacket { .. }
            | Self::PropertyTwice { .. }
            | Self::PropertyValue { .. }
            | Self::ResponseTopic(_)
            | Self::PasswordAlone
            | Self::NoFilter
            | Self::NoLocalShared
            | Self::RetainHandling
            | Self::NotConnect
            | Self::ConnectTwice
            | Self::DataWithoutMethod
            | Self::AuthUnasked
            | Self::NotOfVersion { .. }
            | Self::SessionExpiry
            | Self::TopicAliasUnknown { .. }
            | Self::NoTopic
            | Self::SubscriptionId => Reason::PROTOCOL_ERROR,
            Self::TooLarge { .. } => Reason::PACKET_TOO_LARGE,
            Self::TopicName(_) => Reason::TOPIC_NAME_INVALID,
            Self::ProtocolName(_) | Self::ProtocolLevel { .. } => Reason::UNSUPPORTED_VERSION,
            Self::TopicAlias { .. } => Reason::TOPIC_ALIAS_INVALID,
            Self::ReceiveMax { .. } => Reason::RECEIVE_MAXIMUM_EXCEEDED,
            Self::TooManyFilters { .. } | Self::TooManyProperties { .. } => Reason::QUOTA_EXCEEDED,
            Self::Qos { .. } => Reason::QOS_NOT_SUPPORTED,
            Self::Retain => Reason::RETAIN_NOT_SUPPORTED,
            Self::KeepAlive { .. } => Reason::KEEP_ALIVE_TIMEOUT,
        }
    }
}
