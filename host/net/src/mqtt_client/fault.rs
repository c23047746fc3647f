//! Why a connection with a broker ends.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

/// Why a connection with a broker cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttFault {
    #[error("a packet of kind {kind} cannot be read: {reason}")]
    Malformed { kind: u8, reason: String },
    #[error("a packet of {declared} octets exceeds the limit of {limit}")]
    TooLong { declared: u64, limit: u32 },
    #[error("a packet of kind {kind} came where none may")]
    Unexpected { kind: u8 },
    #[error("more than {limit} messages are under way, which is the receive maximum")]
    TooMany { limit: u16 },
    #[error("topic alias {alias} stands for no topic; the limit is {limit}")]
    Alias { alias: u16, limit: u16 },
    #[error("the acknowledgement of packet {packet_id} belongs to none that was sent")]
    Unasked { packet_id: u16 },
    #[error("the broker refuses the connection: {}", name_of(*code))]
    Refused { code: u8 },
    #[error("the broker ends the connection: {}", name_of(*code))]
    Disconnected { code: u8 },
    #[error("the broker has not acknowledged within {seconds} s")]
    AckLate { seconds: u64 },
    #[error("the broker has not answered a ping within {seconds} s")]
    PingLate { seconds: u64 },
    #[error("the packet cannot be written: {reason}")]
    Unwritable { reason: String },
}

impl MqttFault {
    pub(super) fn malformed(kind: u8, error: MqttError) -> Self {
        Self::Malformed {
            kind,
            reason: format!("{error:?}"),
        }
    }

    pub(super) fn unwritable(error: MqttError) -> Self {
        Self::Unwritable {
            reason: format!("{error:?}"),
        }
    }

    /// What a broker of MQTT 5 is told; none where there is nothing to tell, or nobody.
    pub(super) const fn told(&self) -> Option<DisconnectReasonCode> {
        match self {
            Self::Malformed { .. } => Some(DisconnectReasonCode::MalformedPacket),
            Self::TooLong { .. } => Some(DisconnectReasonCode::PacketTooLarge),
            Self::Unexpected { .. } | Self::Unasked { .. } => {
                Some(DisconnectReasonCode::ProtocolError)
            }
            Self::TooMany { .. } => Some(DisconnectReasonCode::ReceiveMaximumExceeded),
            Self::Alias { .. } => Some(DisconnectReasonCode::TopicAliasInvalid),
            Self::AckLate { .. } | Self::PingLate { .. } => {
                Some(DisconnectReasonCode::UnspecifiedError)
            }
            Self::Refused { .. } | Self::Disconnected { .. } | Self::Unwritable { .. } => None,
        }
    }
}

/// A reason code as the specification names it (MQTT 5 section 2.4), and the return codes of CONNACK
/// in 3.1.1 (section 3.2.2.3).
pub(super) fn name_of(code: u8) -> String {
    let name = match code {
        0x00 => "success",
        0x01 => "unacceptable protocol version",
        0x02 => "identifier rejected",
        0x03 => "server unavailable",
        0x04 => "bad user name or password",
        0x05 => "not authorized",
        0x10 => "no matching subscribers",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over",
        0x8f => "topic filter invalid",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcard subscriptions not supported",
        _ => "unknown",
    };
    format!("{name} (0x{code:02x})")
}
