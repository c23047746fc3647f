//! MQTT 3.1.1 and 5: names, packets, what is kept of a client, and who gets what. Pure.
//!
//! Sections that comments name are those of MQTT 5.0 (OASIS, 7 March 2019) unless they say otherwise.

mod connection;
mod delivery;
mod event;
mod filters;
mod limits;
mod output;
mod packet;
mod publication;
mod reason;
mod topic;
mod window;

pub use self::{
    connection::{
        InboundPublish, KeptState, MqttConnection, MqttInput, ReceivedStage, SendOutcome,
    },
    delivery::{OutgoingPublish, OutgoingQueue, ShareKey},
    event::{client_of, is_of_broker, receipt_of},
    filters::FilterTable,
    limits::{ClientLimits, Negotiated},
    output::PacketBuffer,
    packet::{
        AckKind, AckPacket, Connack, ConnectPacket, Decoded, Disconnect, FilterRequest, Packet,
        PacketFault, PublishHead, PublishPacket, ShownName, Subscribe, Unsubscribe, VARINT_MAX,
        Will, decode, encode_ack, encode_connack, encode_disconnect, encode_pingresp,
        encode_publish_head, encode_suback, encode_unsuback, publish_bytes,
    },
    publication::{ClientKey, Publication, PublicationProperties, Receipt},
    reason::Reason,
    topic::{
        MqttNameError, SHARE_PREFIX, SYS_PREFIX, SharedFilter, TopicFilter, TopicName, check_name,
        filter_to_event, from_event, to_event,
    },
    window::{COMPLETED_ID, Window, WindowStanding},
};

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MqttVersion {
    /// 3.1.1, level 4.
    V3,
    #[default]
    V5,
}

/// How often a message may arrive (section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Qos {
    #[default]
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

/// When a subscription is given what is retained (section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RetainHandling {
    /// At each SUBSCRIBE.
    #[default]
    Always,
    /// Where there was no such subscription before.
    IfNew,
    Never,
}

/// How a client wants what it subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SubscriptionOptions {
    /// The highest that it is sent with.
    pub qos: Qos,
    /// Nothing that the client itself published.
    pub no_local: bool,
    /// Whether messages keep the publisher's retain flag.
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
    /// 1 to 268,435,455.
    pub id: Option<u32>,
}

impl Qos {
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}
