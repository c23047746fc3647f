//! What becomes of an event that a consumer does not handle: an event of another topic that says why.

use super::{Position, StoredEvent};
use crate::{
    event::{Event, TOPIC_BYTES_MAX},
    headers::{Headers, HeadersBuilder},
    text::Text,
};

/// How the topics of dead letters begin, where the configuration names no other.
pub const DEAD_LETTERS: &str = "dead-letter.";

/// An event that is to be put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadEvent {
    pub position: Position,
    pub n_deliveries: u32,
    pub reason: Text,
}

/// Why an event was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub consumer: Text,
    pub reason: Text,
    pub n_deliveries: u32,
}

/// Whether `event` is a dead letter, whatever its topic: it is not put aside once more, so that no circle
/// of topics has it go round for ever.
#[must_use]
pub fn is_dead_letter(event: &Event) -> bool {
    event.topic.starts_with(DEAD_LETTERS) || event.headers.get(b"event-dead-topic").is_some()
}

impl DeadLetter {
    /// The event as it is kept: its payload and headers, and as headers what happened to it. `topic` is
    /// the configured one; none puts `dead-letter.` before the event's own.
    ///
    /// | header | says |
    /// |---|---|
    /// | `event-dead-topic`, `event-dead-position` | where it was |
    /// | `event-dead-consumer` | who did not handle it |
    /// | `event-dead-reason` | the last failure |
    /// | `event-dead-deliveries` | how often it was tried |
    #[must_use]
    pub fn event(&self, topic: Option<&Text>, stored: &StoredEvent) -> Event {
        let event = &stored.event;
        Event {
            topic: topic.cloned().unwrap_or_else(|| below(&event.topic)),
            headers: self.headers(stored.position, event),
            payload: event.payload.clone(),
            publisher: event.publisher.clone(),
        }
    }

    fn headers(&self, position: Position, event: &Event) -> Headers {
        let is_own = |key: &[u8]| key.starts_with(b"event-dead-");
        let mut headers = HeadersBuilder::from(event.headers.without(is_own));
        let numbers = (position.to_string(), self.n_deliveries.to_string());
        let reason = shortened(&self.reason);
        let pairs = [
            ("event-dead-topic", event.topic.as_str()),
            ("event-dead-position", &numbers.0),
            ("event-dead-consumer", &self.consumer),
            ("event-dead-deliveries", &numbers.1),
            ("event-dead-reason", reason),
        ];
        for (key, value) in pairs {
            // Headers that are full already say less.
            let _ = headers.push(key, value);
        }
        headers.build()
    }
}

/// `dead-letter.` before the topic, without the last levels of one that is too long for that.
fn below(topic: &str) -> Text {
    let mut topic = topic;
    while DEAD_LETTERS.len() + topic.len() > TOPIC_BYTES_MAX
        || topic.split('.').count() >= crate::event::LEVELS_MAX
    {
        match topic.rsplit_once('.') {
            Some((shorter, _)) => topic = shorter,
            None => return Text::from_static("dead-letter.unnamed"),
        }
    }
    format!("{DEAD_LETTERS}{topic}").into()
}

fn shortened(reason: &str) -> &str {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    reason.get(..end).unwrap_or(reason)
}

/// Of a consumer's reason, in octets.
const REASON_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    fn letter(topic: &str, configured: Option<&str>) -> Event {
        let letter = DeadLetter {
            consumer: "billing".into(),
            reason: "é".repeat(600).into(),
            n_deliveries: 5,
        };
        let configured = configured.map(Text::from);
        letter.event(
            configured.as_ref(),
            &StoredEvent {
                position: Position(7),
                stored_at_ms: 0,
                n_deliveries: 5,
                event: event(topic, "x"),
            },
        )
    }

    #[test]
    fn a_dead_letter_says_what_happened() {
        let event = letter("orders.created", None);
        assert_eq!(event.topic, "dead-letter.orders.created");
        assert_eq!(event.payload, "x");
        let header = |key: &str| event.headers.get_str(key).map(|value| value.into_owned());
        assert_eq!(header("event-dead-topic"), Some("orders.created".into()));
        assert_eq!(header("event-dead-position"), Some("7".into()));
        assert_eq!(header("event-dead-consumer"), Some("billing".into()));
        assert_eq!(header("event-dead-deliveries"), Some("5".into()));
        assert_eq!(header("event-dead-reason"), Some("é".repeat(512)));
    }

    #[test]
    fn its_topic_is_the_configured_one_and_always_a_topic() {
        let lost = letter("a.b", Some("lost"));
        assert_eq!(lost.topic, "lost");
        assert!(is_dead_letter(&lost) && !is_dead_letter(&event("lost", "")));
        for topic in [
            "a".repeat(255),
            format!("{}a", "a.".repeat(31)),
            "a.".repeat(100) + &"b".repeat(55),
        ] {
            let topic = letter(&topic, None).topic;
            assert_eq!(crate::event::check_topic(&topic), Ok(()), "{topic}");
            assert!(topic.starts_with(DEAD_LETTERS));
        }
    }
}
