//! Messages of brokers as events, and events as messages. Pure.
//!
//! | message | event |
//! | --- | --- |
//! | topic | topic, as `core::mqtt` maps it |
//! | content type | header `content-type` |
//! | user property that events carry (`event-…`, `ce-…`, `tracestate`, `baggage`) | that header |
//! | any other user property `NAME` | header `event-property-NAME` |
//! | retain flag | header `event-retain: 1` |
//! | message expiry | header `event-expiry`, in seconds |
//! | response topic, correlation data | headers `event-response-topic`, `event-correlation` |
//! | payload format "UTF-8" | header `event-format: text` |
//! | QoS 1, 2 | header `event-qos` |

use std::time::{Duration, Instant};

use postern_core::{
    Text,
    event::{Event, Publisher, TopicPattern, check_topic},
    mqtt::{Publication, PublicationProperties, Qos, TopicName, from_event, to_event},
};

use super::message::BrokerMessage;

/// The filter of a broker that wants at least what `pattern` wants: `a.>` leaves out `a`, which no
/// filter can.
#[must_use]
pub fn filter_of(pattern: &TopicPattern) -> Text {
    let levels = pattern.as_str().split('.').map(|level| match level {
        "*" => "+".to_owned(),
        ">" => "#".to_owned(),
        level => from_event(level),
    });
    levels.collect::<Vec<_>>().join("/").into()
}

/// The event that a message is, in the name of `publisher`.
#[must_use]
pub fn event_of(message: &BrokerMessage, topic: Text, now: Instant, publisher: Publisher) -> Event {
    let expiry = message
        .expiry_s
        .map(|seconds| Duration::from_secs(seconds.into()));
    let mut properties = message.properties.clone();
    // The packet has a flag for it.
    properties.user.retain(|(name, _)| name != RETAIN);
    let publication = Publication {
        properties: (properties != PublicationProperties::default()).then(|| Box::new(properties)),
        expires_at: expiry.and_then(|expiry| now.checked_add(expiry)),
        ..Publication::new(
            TopicName::of_event(&topic),
            message.payload.clone(),
            message.qos,
        )
    };
    let mut event = publication.to_event(now, publisher, None);
    if message.is_retained {
        // A dozen octets fit.
        let _ = event.headers.push(RETAIN, "1");
    }
    event
}

/// The topic of the event that a message of `name` is; none where no event has such a topic.
#[must_use]
pub fn event_topic_of(name: &str) -> Option<Text> {
    let topic = to_event(name);
    check_topic(&topic).ok()?;
    Some(topic.into())
}

/// The message that an event is, at `topic`.
#[must_use]
pub fn message_of(event: &Event, topic: Text, now: Instant, qos: Qos) -> BrokerMessage {
    let publication = Publication::of_event(event, now, Duration::ZERO);
    let expiry_s = publication.expiry_s(now);
    let mut properties = publication
        .properties
        .map_or_else(PublicationProperties::default, |one| *one);
    properties.user.retain(|(name, _)| name != RETAIN);
    let retain = event.headers.get_str(RETAIN);
    BrokerMessage {
        topic,
        payload: event.payload.clone(),
        qos,
        is_retained: retain.is_some_and(|retain| retain == "1"),
        properties,
        expiry_s,
    }
}

const RETAIN: &str = "event-retain";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_system::clock;

    use super::*;

    #[test]
    fn a_message_comes_back_from_an_event_as_it_was() {
        let mut message = BrokerMessage::new("a/b.c", "payload", Qos::AtLeastOnce);
        message.is_retained = true;
        message.expiry_s = Some(60);
        message.properties.content_type = Some("text/plain".into());
        message.properties.response_topic = Some("r/1".into());
        message.properties.correlation = Some(Bytes::from_static(&[0, 255]));
        message.properties.user = vec![
            ("ce-id".into(), "1".into()),
            ("authorization".into(), "of somebody else".into()),
        ];
        let topic = event_topic_of(&message.topic).expect("a topic");
        assert_eq!(topic, "a.b%2Ec");
        let event = event_of(&message, topic, clock::now(), Publisher::default());
        assert_eq!(event.headers.get_str("authorization"), None);
        let again = message_of(
            &event,
            message.topic.clone(),
            clock::now(),
            Qos::AtLeastOnce,
        );
        assert_eq!(again, message);
    }

    #[test]
    fn a_pattern_is_the_nearest_filter() {
        let check = |pattern: &str, filter: &str| {
            let pattern = TopicPattern::new(pattern).expect("a pattern");
            assert_eq!(filter_of(&pattern), filter);
        };
        check("a.*.b", "a/+/b");
        check("a.>", "a/#");
        check(">", "#");
        check("%.a%2Eb", "/a.b");
    }
}
