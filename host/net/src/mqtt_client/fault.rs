//! Why a connection with a broker ends.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use postern_core::mqtt::Reason;

/// Why a connection with a broker cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerFault {
    #[error("a packet of kind {kind} cannot be read: {reason}")]
    Malformed { kind: u8, reason: String },
    #[error("a packet of {declared} octets exceeds the limit of {limit}")]
    TooLong { declared: u64, limit: u32 },
    #[error("a packet of kind {kind} came where none may")]
    Unexpected { kind: u8 },
    #[error("topic alias {alias} stands for no topic; the limit is {limit}")]
    Alias { alias: u16, limit: u16 },
    #[error("the acknowledgement of packet {packet_id} belongs to none that was sent")]
    Unasked { packet_id: u16 },
    #[error("the broker refuses the connection: {}", connack_text(*code))]
    Refused { code: u8 },
    #[error("the broker ends the connection: {}", Reason(*code))]
    Disconnected { code: u8 },
    #[error("the broker has not acknowledged within {seconds} s")]
    AckLate { seconds: u64 },
    #[error("the broker has not answered a ping within {seconds} s")]
    PingLate { seconds: u64 },
    #[error("the packet cannot be written: {reason}")]
    Unwritable { reason: String },
}

impl BrokerFault {
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
            Self::Alias { .. } => Some(DisconnectReasonCode::TopicAliasInvalid),
            Self::AckLate { .. } | Self::PingLate { .. } => {
                Some(DisconnectReasonCode::UnspecifiedError)
            }
            Self::Refused { .. } | Self::Disconnected { .. } | Self::Unwritable { .. } => None,
        }
    }
}

/// What a broker says on CONNACK: reason codes of MQTT 5, and below them the return codes of 3.1.1
/// (section 3.2.2.3).
fn connack_text(code: u8) -> String {
    let name = match code {
        0x01 => "unacceptable protocol version",
        0x02 => "identifier rejected",
        0x03 => "server unavailable",
        0x04 => "bad user name or password",
        0x05 => "not authorized",
        _ => return Reason(code).to_string(),
    };
    format!("{name} (0x{code:02x})")
}
