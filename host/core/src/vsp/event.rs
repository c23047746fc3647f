//! Events as frames, between a server and those who subscribed on their sessions. What a publisher
//! sends is read by `inbound`.

use super::is_hop_header;
use crate::{
    event::{Delivery, Event, Publisher},
    headers::{HeaderError, Headers, HeadersBuilder},
    text::Text,
    trace::TraceContext,
    wire::Frame,
};

/// The frame that carries an event to a subscriber.
///
/// # Errors
/// When the event's headers leave no room for those of the frame.
pub fn event_frame(delivery: &Delivery) -> Result<Frame, HeaderError> {
    let event = &delivery.event;
    let capacity = 160 + event.topic.len() + event.headers.section().len();
    let mut builder = HeadersBuilder::with_capacity(capacity);
    builder.push("type", "event")?;
    builder.push("event-type", event.topic.as_bytes())?;
    if !delivery.subscription.is_empty() {
        builder.push("subscription", delivery.subscription.as_bytes())?;
    }
    if delivery.missed > 0 {
        builder.push("missed", delivery.missed.to_string())?;
    }
    if let Some(trace) = event.publisher.trace {
        builder.push("traceparent", trace.to_string())?;
    }
    for (key, value) in event.headers.iter() {
        if !is_of_frame(key) {
            builder.push(key, value)?;
        }
    }
    Ok(Frame::data(builder.build(), event.payload.clone()))
}

/// Whether a DATA frame is an event, and thus no answer to a call.
#[must_use]
pub fn is_event(frame: &Frame) -> bool {
    frame.headers.get(b"type").as_deref() == Some(b"event")
}

/// What a subscriber makes of an event's frame. Whatever is not there is empty or 0.
#[must_use]
pub fn read_event(frame: Frame) -> Delivery {
    let text = |key: &str| text(&frame.headers, key);
    let missed = frame.headers.get_str("missed");
    let missed = missed.and_then(|missed| missed.parse().ok()).unwrap_or(0);
    let publisher = Publisher {
        trace: text("traceparent").and_then(|trace| TraceContext::parse(&trace)),
        ..Publisher::default()
    };
    Delivery {
        missed,
        subscription: text("subscription").unwrap_or_default(),
        event: Event {
            topic: text("event-type").unwrap_or_default(),
            headers: frame.headers.without(is_of_frame),
            payload: frame.payload,
            publisher,
        },
    }
}

fn text(headers: &Headers, key: &str) -> Option<Text> {
    let octets = headers.get_bytes(key.as_bytes())?;
    Text::from_utf8(octets).ok()
}

/// Headers that say how an event travels; the others are the event's own.
fn is_of_frame(key: &[u8]) -> bool {
    is_hop_header(key) || matches!(key, b"event-type" | b"subscription" | b"missed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (key, value) in pairs {
            headers.push(key, value).expect("short headers");
        }
        headers
    }

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn delivery(missed: u64, own: &[(&str, &str)]) -> Delivery {
        Delivery {
            missed,
            subscription: "7".into(),
            event: Event {
                topic: "user.created".into(),
                headers: headers(own),
                payload: "{}".into(),
                publisher: Publisher::default(),
            },
        }
    }

    #[test]
    fn an_event_is_written_with_its_topic_and_what_was_missed() {
        let own = [("content-type", "text/plain"), ("missed", "forged")];
        let frame = event_frame(&delivery(3, &own)).expect("short");
        let expected = [
            ("type", "event"),
            ("event-type", "user.created"),
            ("subscription", "7"),
            ("missed", "3"),
            ("content-type", "text/plain"),
        ];
        assert_eq!(frame.headers, headers(&expected));
        assert_eq!(frame.payload, "{}");
    }

    #[test]
    fn nothing_is_said_about_losses_when_there_were_none() {
        let frame = event_frame(&delivery(0, &[])).expect("short");
        assert_eq!(frame.headers.get(b"missed"), None);
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let mut sent = delivery(3, &[("content-type", "text/plain")]);
        sent.event.publisher.trace = TraceContext::parse(TRACE);
        let frame = event_frame(&sent).expect("short");
        assert!(is_event(&frame));
        let read = read_event(frame);
        assert_eq!((read.missed, &*read.subscription), (3, "7"));
        assert_eq!(read.event.topic, sent.event.topic);
        assert_eq!(read.event.headers, sent.event.headers);
        assert_eq!(read.event.payload, sent.event.payload);
        assert_eq!(read.event.publisher.trace, sent.event.publisher.trace);
    }

    #[test]
    fn the_frame_is_not_longer_than_what_is_charged_for_the_event() {
        let mut long = delivery(u64::MAX, &[("event-id", &"1".repeat(600))]);
        long.event.topic = "t".repeat(crate::event::TOPIC_BYTES_MAX).into();
        long.event.publisher.trace = TraceContext::parse(TRACE);
        long.subscription = u64::MAX.to_string().into();
        let frame = event_frame(&long).expect("it fits");
        assert!(frame.encoded_len() <= long.bytes());
    }
}
