//! Packets: those of clients are read where they lie, those of the broker are written to the end of a
//! buffer.
//!
//! ```text
//! octet 0: type << 4 | flags     octets 1 to 4: remaining length, seven bits each
//! ```
//! | type | packet | flags | read | written |
//! | --- | --- | --- | --- | --- |
//! | 1 | CONNECT | 0 | `connect` | |
//! | 2 | CONNACK | 0 | | `encode` |
//! | 3 | PUBLISH | DUP, QoS, RETAIN | `publish` | `encode` |
//! | 4, 5, 7 | PUBACK, PUBREC, PUBCOMP | 0 | `decode` | `encode` |
//! | 6 | PUBREL | 2 | `decode` | `encode` |
//! | 8, 10 | SUBSCRIBE, UNSUBSCRIBE | 2 | `subscribe` | |
//! | 9, 11 | SUBACK, UNSUBACK | 0 | | `encode` |
//! | 12, 13 | PINGREQ, PINGRESP | 0 | `decode` | `encode` |
//! | 14 | DISCONNECT | 0 | `decode` | `encode` |
//! | 15 | AUTH | 0 | `decode` | |

mod connect;
mod decode;
mod encode;
mod fault;
mod octets;
mod property;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

use super::Reason;

pub use self::{
    connect::{ConnectPacket, Will},
    decode::{Decoded, decode},
    encode::{
        Connack, PublishHead, encode_ack, encode_connack, encode_disconnect, encode_pingresp,
        encode_publish_head, encode_suback, encode_unsuback, publish_bytes,
    },
    fault::{PacketFault, ShownName},
    octets::VARINT_MAX,
    publish::PublishPacket,
    subscribe::{FilterRequest, Subscribe, Unsubscribe},
};

/// A packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    Connect(Box<ConnectPacket>),
    Publish(PublishPacket<'a>),
    Ack(AckPacket),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingRequest,
    Disconnect(Disconnect),
    /// Of enhanced authentication, which has no methods here.
    Auth,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckPacket {
    pub kind: AckKind,
    pub id: u16,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

/// DISCONNECT of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disconnect {
    pub reason: Reason,
    pub session_expiry_s: Option<u32>,
}

impl AckKind {
    const fn kind(self) -> u8 {
        match self {
            Self::Puback => kind::PUBACK,
            Self::Pubrec => kind::PUBREC,
            Self::Pubrel => kind::PUBREL,
            Self::Pubcomp => kind::PUBCOMP,
        }
    }

    const fn flags(self) -> u8 {
        match self {
            Self::Pubrel => 2,
            Self::Puback | Self::Pubrec | Self::Pubcomp => 0,
        }
    }

    /// Whether the packet may say so (the tables of sections 3.4.2.1 to 3.7.2.1).
    const fn may_say(self, reason: Reason) -> bool {
        match self {
            Self::Puback | Self::Pubrec => matches!(
                reason,
                Reason::SUCCESS
                    | Reason::NO_MATCHING_SUBSCRIBERS
                    | Reason::UNSPECIFIED
                    | Reason::IMPLEMENTATION_SPECIFIC
                    | Reason::NOT_AUTHORIZED
                    | Reason::TOPIC_NAME_INVALID
                    | Reason::PACKET_ID_IN_USE
                    | Reason::QUOTA_EXCEEDED
                    | Reason::PAYLOAD_FORMAT_INVALID
            ),
            Self::Pubrel | Self::Pubcomp => {
                matches!(reason, Reason::SUCCESS | Reason::PACKET_ID_NOT_FOUND)
            }
        }
    }
}

/// Types of packets (section 2.1.2).
pub(super) mod kind {
    pub(in super::super) const CONNECT: u8 = 1;
    pub(in super::super) const CONNACK: u8 = 2;
    pub(in super::super) const PUBLISH: u8 = 3;
    pub(in super::super) const PUBACK: u8 = 4;
    pub(in super::super) const PUBREC: u8 = 5;
    pub(in super::super) const PUBREL: u8 = 6;
    pub(in super::super) const PUBCOMP: u8 = 7;
    pub(in super::super) const SUBSCRIBE: u8 = 8;
    pub(in super::super) const SUBACK: u8 = 9;
    pub(in super::super) const UNSUBSCRIBE: u8 = 10;
    pub(in super::super) const UNSUBACK: u8 = 11;
    pub(in super::super) const PINGREQ: u8 = 12;
    pub(in super::super) const PINGRESP: u8 = 13;
    pub(in super::super) const DISCONNECT: u8 = 14;
    pub(in super::super) const AUTH: u8 = 15;
}
