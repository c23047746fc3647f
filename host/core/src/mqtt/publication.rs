//! A message on its way from its publisher to whoever subscribed, whatever either speaks.

use std::time::Instant;

use bytes::Bytes;

use super::{Qos, TopicName};
use crate::text::Text;

/// One application message. Shared by everybody that it goes to.
#[derive(Debug, Clone)]
pub struct Publication {
    pub topic: TopicName,
    pub payload: Bytes,
    pub qos: Qos,
    /// Whether it replaces the retained message of its topic; one with an empty payload clears it.
    pub is_retained: bool,
    /// None of most messages.
    pub properties: Option<Box<PublicationProperties>>,
    /// When nobody is to get it any more.
    pub expires_at: Option<Instant>,
    /// The client that published it, for subscribers that do not want their own; 0 of none.
    pub client: ClientKey,
    /// Of a client's publication with QoS 2, where its session is kept.
    pub receipt: Option<Receipt>,
}

/// Which publication with QoS 2 of a session that is kept: what is stored says so, so that one that was
/// stored and not answered when the gateway was killed is not taken twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Grows with each of the client's.
    pub number: u64,
    /// Its packet identifier.
    pub packet_id: u16,
}

/// What MQTT 5 says of a message beside topic and payload (section 3.3.2.3), and what goes along to
/// subscribers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicationProperties {
    /// Whether the payload says to be UTF-8.
    pub is_text: bool,
    pub content_type: Option<Text>,
    pub response_topic: Option<Text>,
    pub correlation: Option<Bytes>,
    pub user: Vec<(Text, Text)>,
}

/// A client's session while the broker knows it. Counts from 1; 0 is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientKey(pub u64);

impl Publication {
    /// One of nobody's, without properties.
    #[must_use]
    pub fn new(topic: TopicName, payload: Bytes, qos: Qos) -> Self {
        Self {
            topic,
            payload,
            qos,
            is_retained: false,
            properties: None,
            expires_at: None,
            client: ClientKey::default(),
            receipt: None,
        }
    }

    /// Whether nobody is to get it any more.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Octets that it is charged for in queues.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let properties = self.properties.as_deref();
        OVERHEAD_BYTES
            + self.topic.name.len()
            + self.topic.event.len()
            + self.payload.len()
            + properties.map_or(0, PublicationProperties::bytes)
    }
}

impl PublicationProperties {
    fn bytes(&self) -> usize {
        let optional = |text: &Option<Text>| text.as_ref().map_or(0, Text::len);
        let user: usize = self.user.iter().map(|(k, v)| k.len() + v.len() + 64).sum();
        OVERHEAD_BYTES
            + optional(&self.content_type)
            + optional(&self.response_topic)
            + self.correlation.as_ref().map_or(0, Bytes::len)
            + user
    }
}

/// No less than what a message takes in memory beside its octets.
const OVERHEAD_BYTES: usize = 192;
