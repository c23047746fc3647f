//! Events as entries of a stream, which any client of Redis can read and write.
//!
//! | field | value |
//! | --- | --- |
//! | `topic` | the topic; needed |
//! | `payload` | the payload, as it is |
//! | `publisher` | who published it: the principal, or else the plugin or the host; optional |
//! | `traceparent` | the trace in which that was done (W3C); optional |
//! | `priority`, `depth` | numbers, where they are not the usual ones |
//! | `header:NAME` | a header that goes with the event, such as `header:content-type` |
//!
//! Fields of other names are left alone. An entry's id `MS-SEQ` is its position: `MS * 2^20 + SEQ`.

use std::str;

use bytes::Bytes;

use crate::{
    event::{Event, Publisher, TopicError, check_topic, durable::Position, is_carried},
    headers::{Headers, HeadersBuilder},
    origin::Origin,
    peer::Peer,
    text::Text,
    trace::TraceContext,
    transport::Transport,
};

/// Why an entry is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamEntryError {
    #[error("it has no field \"topic\"")]
    NoTopic,
    #[error("its field \"topic\" is not UTF-8")]
    NotText,
    #[error("its topic: {0}")]
    Topic(#[from] TopicError),
    #[error("its headers are too long")]
    Headers,
}

/// The id of the entry at `position`.
#[must_use]
pub fn stream_id(position: Position) -> String {
    format!(
        "{}-{}",
        position.0 >> SEQUENCE_BITS,
        position.0 & SEQUENCE_MAX
    )
}

/// The position of the entry of an id; none of one that no server makes by itself.
#[must_use]
pub fn position_of(id: &str) -> Option<Position> {
    let (ms, sequence) = id.split_once('-')?;
    let (ms, sequence): (u64, u64) = (ms.parse().ok()?, sequence.parse().ok()?);
    let fits = ms <= u64::MAX >> SEQUENCE_BITS && sequence <= SEQUENCE_MAX;
    fits.then_some(Position((ms << SEQUENCE_BITS) | sequence))
}

/// When the entry at `position` was stored, in milliseconds since 1970, as the server's clock had it.
#[must_use]
pub const fn stored_at_ms(position: Position) -> u64 {
    position.0 >> SEQUENCE_BITS
}

/// Names and values of the entry of an event.
#[must_use]
pub fn fields_of(event: &Event) -> Vec<(Bytes, Bytes)> {
    let mut fields = vec![
        (Bytes::from_static(TOPIC), event.topic.clone().into_bytes()),
        (Bytes::from_static(PAYLOAD), event.payload.clone()),
    ];
    let Publisher {
        trace,
        priority,
        depth,
        ..
    } = &event.publisher;
    let mut push = |name: &'static [u8], value: String| {
        fields.push((Bytes::from_static(name), value.into()));
    };
    let key = publisher_key(&event.publisher);
    if !key.is_empty() {
        push(PUBLISHER, key.to_string());
    }
    if let Some(trace) = trace {
        push(TRACE, trace.to_string());
    }
    if *priority != Publisher::USUAL_PRIORITY {
        push(PRIORITY, priority.to_string());
    }
    if *depth != 0 {
        push(DEPTH, depth.to_string());
    }
    for (name, value) in event.headers.iter() {
        if is_carried(name) {
            let name = [HEADER, name].concat();
            fields.push((name.into(), Bytes::copy_from_slice(&value)));
        }
    }
    fields
}

/// The event of an entry.
///
/// # Errors
/// Why it is none.
pub fn event_of(
    fields: impl IntoIterator<Item = (Bytes, Bytes)>,
) -> Result<Event, StreamEntryError> {
    let mut topic = None;
    let mut payload = Bytes::new();
    let mut publisher = Publisher::default();
    let mut headers = HeadersBuilder::default();
    for (name, value) in fields {
        let text = || str::from_utf8(&value).ok();
        match &name[..] {
            TOPIC => topic = Some(Text::from_utf8(value).map_err(|_| StreamEntryError::NotText)?),
            PAYLOAD => payload = value,
            PUBLISHER => {
                // What a principal may do is not in the entry: the name alone keeps events in order.
                if let Ok(name) = Text::from_utf8(value) {
                    publisher.peer = Peer::new(Transport::Plugin, Origin::Local)
                        .with_session(name)
                        .into();
                }
            }
            TRACE => publisher.trace = text().and_then(TraceContext::parse),
            PRIORITY => {
                let priority = text().and_then(|text| text.parse().ok());
                publisher.priority = priority.unwrap_or(Publisher::USUAL_PRIORITY);
            }
            DEPTH => {
                publisher.depth = text()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default();
            }
            name => {
                if let Some(name) = name.strip_prefix(HEADER).filter(|name| is_carried(name)) {
                    let pushed = headers.push(name, &value);
                    pushed.map_err(|_| StreamEntryError::Headers)?;
                }
            }
        }
    }
    let topic = topic.ok_or(StreamEntryError::NoTopic)?;
    check_topic(&topic)?;
    Ok(Event {
        topic,
        headers: headers.build(),
        payload,
        publisher,
    })
}

/// Whose events keep their order: the principal's, or else the plugin's, or else those of the host that it
/// connected from: what stays when it connects again. Empty where nothing is known.
#[must_use]
pub fn publisher_key(publisher: &Publisher) -> Text {
    if let Some(principal) = &publisher.principal {
        return principal.name.clone();
    }
    let peer = &publisher.peer;
    if peer.transport == Transport::Plugin {
        return peer.session.clone();
    }
    peer.origin.host().unwrap_or_default().into()
}

/// What events of one publisher are kept in order by: their header `event-key`, or else their topic.
#[must_use]
pub fn order_key(event: &Event) -> Text {
    let of_header = |headers: &Headers| {
        let key = headers.get_bytes(b"event-key")?;
        Text::from_utf8(key).ok()
    };
    of_header(&event.headers).unwrap_or_else(|| event.topic.clone())
}

const TOPIC: &[u8] = b"topic";
const PAYLOAD: &[u8] = b"payload";
const PUBLISHER: &[u8] = b"publisher";
const TRACE: &[u8] = b"traceparent";
const PRIORITY: &[u8] = b"priority";
const DEPTH: &[u8] = b"depth";
const HEADER: &[u8] = b"header:";
/// A server counts entries of one millisecond from 0; it stores fewer than a million in one.
const SEQUENCE_BITS: u32 = 20;
const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Principal;

    fn event(topic: &'static str) -> Event {
        Event {
            topic: Text::from_static(topic),
            headers: Headers::new(),
            payload: Bytes::from_static(b"{}"),
            publisher: Publisher::default(),
        }
    }

    #[test]
    fn an_id_is_a_position_and_its_order_is_kept() {
        let position = position_of("1700000000123-7").expect("an id");
        assert_eq!(stream_id(position), "1700000000123-7");
        assert_eq!(stored_at_ms(position), 1_700_000_000_123);
        assert!(position < position_of("1700000000123-8").expect("an id"));
        assert!(position < position_of("1700000000124-0").expect("an id"));
    }

    #[test]
    fn ids_that_no_server_makes_have_no_position() {
        assert_eq!(position_of("0-1048575"), Some(Position(1_048_575)));
        for id in ["0-1048576", "17592186044416-0", "7", "a-1", "1-", ""] {
            assert_eq!(position_of(id), None, "{id}");
        }
    }

    #[test]
    fn what_an_event_says_comes_back() {
        let mut sent = event("orders.created");
        for (name, value) in [
            ("content-type", "application/json"),
            ("event-key", "7"),
            ("authorization", "x"),
        ] {
            sent.headers.push(name, value).expect("short");
        }
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        sent.publisher.trace = TraceContext::parse(trace);
        sent.publisher.priority = 9;
        sent.publisher.depth = 2;
        sent.publisher.principal = Some(
            Principal {
                name: "ann".into(),
                ..Principal::default()
            }
            .into(),
        );
        let fields = fields_of(&sent);
        let names: Vec<_> = fields
            .iter()
            .map(|(name, _)| str::from_utf8(name).expect("text"))
            .collect();
        let expected = [
            "topic",
            "payload",
            "publisher",
            "traceparent",
            "priority",
            "depth",
            "header:content-type",
            "header:event-key",
        ];
        assert_eq!(names, expected);
        let read = event_of(fields).expect("an event");
        assert_eq!((&read.topic, &read.payload), (&sent.topic, &sent.payload));
        assert_eq!(
            read.headers.get_str("content-type").as_deref(),
            Some("application/json")
        );
        assert_eq!(read.headers.get_str("authorization"), None);
        assert_eq!(read.publisher.trace, sent.publisher.trace);
        assert_eq!((read.publisher.priority, read.publisher.depth), (9, 2));
        assert_eq!(publisher_key(&read.publisher), "ann");
        assert_eq!(order_key(&read), "7");
        assert_eq!(order_key(&event("a")), "a");
    }

    #[test]
    fn an_entry_of_others_needs_a_topic_alone() {
        let field =
            |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        let read = event_of([field("colour", "red"), field("topic", "a.b")]).expect("an event");
        assert_eq!((read.topic.as_str(), read.payload.len()), ("a.b", 0));
        assert_eq!(
            event_of([field("payload", "x")]).unwrap_err(),
            StreamEntryError::NoTopic
        );
        let error = event_of([field("topic", "a.*")]).unwrap_err();
        assert!(matches!(error, StreamEntryError::Topic(_)), "{error}");
    }
}
