//! Publications as events and back: both are one space.
//!
//! | of a publication | header of the event |
//! | --- | --- |
//! | content type | `content-type` |
//! | payload format "UTF-8" | `event-format: text` |
//! | response topic, correlation data | `event-response-topic`, `event-correlation` |
//! | message expiry, in seconds at publication | `event-expiry` |
//! | QoS 1, 2 | `event-qos` |
//! | user property that an event carries (`event-*`, `ce-*`, `tracestate`, `baggage`) | as it is |
//! | other user property `NAME` | `event-property-NAME` |
//! | the client, where a session may want nothing of its own | `event-client` |

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ClientKey, Publication, PublicationProperties, Qos, Receipt, TopicName};
use crate::{
    event::{Event, Publisher, is_carried},
    headers::{Headers, HeadersBuilder},
    text::Text,
};

impl Publication {
    /// The event that this is. `client_id` is named where what is stored must know whose it was.
    #[must_use]
    pub fn to_event(&self, now: Instant, publisher: Publisher, client_id: Option<&str>) -> Event {
        Event {
            topic: self.topic.event.clone(),
            headers: self.headers(now, client_id),
            payload: self.payload.clone(),
            publisher,
        }
    }

    fn headers(&self, now: Instant, client_id: Option<&str>) -> Headers {
        let is_bare = self.properties.is_none()
            && self.expires_at.is_none()
            && self.qos == Qos::AtMostOnce
            && client_id.is_none();
        if is_bare {
            return Headers::new();
        }
        let mut headers = HeadersBuilder::fields(8, 128);
        // What is longer than a header may be does not fit into a packet either.
        let mut push = |name: &str, value: &[u8]| {
            let _ = headers.push(name, value);
        };
        if self.qos != Qos::AtMostOnce {
            push(QOS, &[b'0' + self.qos.bits()]);
        }
        if let Some(left) = self.expiry_s(now) {
            push(EXPIRY, left.to_string().as_bytes());
        }
        if let Some(client_id) = client_id {
            push(CLIENT, client_id.as_bytes());
            if let Some(Receipt { number, packet_id }) = self.receipt {
                push(RECEIPT, format!("{number} {packet_id}").as_bytes());
            }
        }
        if let Some(properties) = &self.properties {
            put_properties(properties, push);
        }
        headers.build()
    }

    /// The publication that an event is, which was published `age` ago. One that says nothing of its
    /// QoS has 1.
    #[must_use]
    pub fn of_event(event: &Event, now: Instant, age: Duration) -> Self {
        let mut publication = Self {
            topic: TopicName::of_event(&event.topic),
            payload: event.payload.clone(),
            qos: Qos::AtLeastOnce,
            is_retained: false,
            properties: None,
            expires_at: None,
            client: ClientKey::default(),
            receipt: None,
        };
        for (name, value) in event.headers.iter() {
            publication.take_header(name, &value, now, age);
        }
        publication
    }

    /// Seconds until it expires, rounded up, so that what is left is not zero while it counts.
    #[must_use]
    pub fn expiry_s(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    fn take_header(&mut self, name: &[u8], value: &[u8], now: Instant, age: Duration) {
        let Ok(name) = std::str::from_utf8(name) else {
            return;
        };
        if name == CORRELATION {
            let properties = self.properties.get_or_insert_default();
            properties.correlation = Some(Bytes::copy_from_slice(value));
            return;
        }
        let Ok(value) = std::str::from_utf8(value) else {
            return;
        };
        match name {
            QOS => {
                let bits = value.parse().unwrap_or(1);
                self.qos = Qos::from_bits(bits).unwrap_or(Qos::AtLeastOnce);
            }
            EXPIRY => {
                if let Ok(seconds) = value.parse::<u32>() {
                    let left = Duration::from_secs(seconds.into()).saturating_sub(age);
                    self.expires_at = now.checked_add(left);
                }
            }
            CLIENT | RECEIPT => {}
            FORMAT => self.properties.get_or_insert_default().is_text = value == TEXT,
            CONTENT_TYPE => {
                self.properties.get_or_insert_default().content_type = Some(value.into());
            }
            RESPONSE_TOPIC => {
                self.properties.get_or_insert_default().response_topic = Some(value.into());
            }
            _ => {
                let own = name.strip_prefix(PROPERTY);
                if own.is_some() || is_carried(name.as_bytes()) {
                    let properties = self.properties.get_or_insert_default();
                    properties
                        .user
                        .push((own.unwrap_or(name).into(), value.into()));
                }
            }
        }
    }
}

/// Whose client published a stored event.
#[must_use]
pub fn client_of(event: &Event) -> Option<Text> {
    event
        .headers
        .get_str(CLIENT)
        .map(|client| Text::from(&*client))
}

/// Which of its client's publications a stored event is, where it has QoS 2.
#[must_use]
pub fn receipt_of(event: &Event) -> Option<Receipt> {
    let value = event.headers.get_str(RECEIPT)?;
    let (number, packet_id) = value.split_once(' ')?;
    Some(Receipt {
        number: number.parse().ok()?,
        packet_id: packet_id.parse().ok()?,
    })
}

/// Whether a header says whose publication an event is, which nobody says but the broker.
#[must_use]
pub fn is_of_broker(key: &[u8]) -> bool {
    key == CLIENT.as_bytes() || key == RECEIPT.as_bytes()
}

fn put_properties(properties: &PublicationProperties, mut push: impl FnMut(&str, &[u8])) {
    if properties.is_text {
        push(FORMAT, TEXT.as_bytes());
    }
    if let Some(text) = &properties.content_type {
        push(CONTENT_TYPE, text.as_bytes());
    }
    if let Some(text) = &properties.response_topic {
        push(RESPONSE_TOPIC, text.as_bytes());
    }
    if let Some(octets) = &properties.correlation {
        push(CORRELATION, octets);
    }
    for (name, value) in &properties.user {
        if is_carried(name.as_bytes()) && !OWN.contains(&name.as_str()) {
            push(name, value.as_bytes());
        } else {
            push(&format!("{PROPERTY}{name}"), value.as_bytes());
        }
    }
}

const QOS: &str = "event-qos";
const EXPIRY: &str = "event-expiry";
const CLIENT: &str = "event-client";
const RECEIPT: &str = "event-receipt";
const FORMAT: &str = "event-format";
const TEXT: &str = "text";
const CONTENT_TYPE: &str = "content-type";
const RESPONSE_TOPIC: &str = "event-response-topic";
const CORRELATION: &str = "event-correlation";
const PROPERTY: &str = "event-property-";
/// Names that a user property may not take for itself.
const OWN: [&str; 8] = [
    QOS,
    EXPIRY,
    CLIENT,
    RECEIPT,
    FORMAT,
    CONTENT_TYPE,
    RESPONSE_TOPIC,
    CORRELATION,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    fn publication() -> Publication {
        let topic = TopicName::new("orders/created").expect("a name");
        Publication::new(topic, Bytes::from_static(b"payload"), Qos::AtMostOnce)
    }

    fn there_and_back(publication: &Publication) -> Publication {
        let event = publication.to_event(epoch(), Publisher::default(), None);
        Publication::of_event(&event, epoch(), Duration::ZERO)
    }

    #[test]
    fn a_plain_publication_is_an_event_without_headers() {
        let event = publication().to_event(epoch(), Publisher::default(), None);
        assert_eq!(event.topic, "orders.created");
        assert!(event.headers.is_empty());
        let back = Publication::of_event(&event, epoch(), Duration::ZERO);
        assert_eq!(
            (back.topic.name.as_str(), back.qos),
            ("orders/created", Qos::AtLeastOnce)
        );
    }

    #[test]
    fn everything_comes_back_as_it_was() {
        let properties = PublicationProperties {
            is_text: true,
            content_type: Some("application/json".into()),
            response_topic: Some("a/b".into()),
            correlation: Some(Bytes::from_static(&[0xff, 0])),
            user: vec![
                ("ce-id".into(), "7".into()),
                ("Any Name".into(), "x".into()),
                ("event-qos".into(), "9".into()),
                ("Any Name".into(), "y".into()),
            ],
        };
        let publication = Publication {
            qos: Qos::ExactlyOnce,
            properties: Some(Box::new(properties.clone())),
            expires_at: Some(epoch() + Duration::from_secs(60)),
            ..publication()
        };
        let back = there_and_back(&publication);
        assert_eq!(back.properties.as_deref(), Some(&properties));
        assert_eq!(
            (back.qos, back.expires_at),
            (Qos::ExactlyOnce, publication.expires_at)
        );
    }

    #[test]
    fn a_stored_publication_says_which_of_its_client_it_is() {
        let receipt = Receipt {
            number: u64::MAX,
            packet_id: 7,
        };
        let publication = Publication {
            receipt: Some(receipt),
            ..publication()
        };
        let event = publication.to_event(epoch(), Publisher::default(), Some("c1"));
        assert_eq!(receipt_of(&event), Some(receipt));
        let back = Publication::of_event(&event, epoch(), Duration::ZERO);
        assert_eq!(back.properties, None, "subscribers are not told");
        let plain = publication.to_event(epoch(), Publisher::default(), None);
        assert_eq!(receipt_of(&plain), None, "nothing is stored");
    }

    #[test]
    fn what_was_stored_for_a_while_has_less_time_left() {
        let publication = Publication {
            expires_at: Some(epoch() + Duration::from_secs(60)),
            ..publication()
        };
        let event = publication.to_event(epoch(), Publisher::default(), Some("c1"));
        assert_eq!(client_of(&event).as_deref(), Some("c1"));
        assert_eq!(receipt_of(&event), None);
        let back = Publication::of_event(&event, epoch(), Duration::from_secs(50));
        assert_eq!(back.expiry_s(epoch()), Some(10));
        assert!(!back.is_expired(epoch() + Duration::from_millis(9_999)));
        assert_eq!(
            back.expiry_s(epoch() + Duration::from_millis(9_999)),
            Some(1)
        );
        let back = Publication::of_event(&event, epoch(), Duration::from_secs(61));
        assert!(back.is_expired(epoch()));
    }
}
