//! Retained messages and sessions as they lie in the store. Pure.
//!
//! ```text
//! message  version:u8  qos:u8  is_text:u8  expires_at_ms:u64  topic  payload  content_type?
//!          response_topic?  correlation?  n:u32 × (name value)
//! session  version:u8  expiry_s:u32  taken_receipt:u64  ended_at_ms:u64 (0: connected)  n:u32 × (subscription)
//!          n:u32 × received:u16  n:u32 × (released:u16 position:u64, 0: none)  will:u8 (0, or 1 and the will)
//! will     delay_s:u32  expiry_s:u32 (u32::MAX: none)  is_retained:u8  message, as the octets of its record
//! subscription  filter  options:u8 (qos, bit 2 no-local, bit 3 retain-as-published, bits 4-5 handling)  id:u32 (0: none)
//! ```
//! Texts and octets are length:u32 and what follows; an optional one is 0, or 1 and the text. Integers
//! are big-endian.

use bytes::{Buf, Bytes};
use postern_core::{
    Text,
    event::durable::Position,
    mqtt::{
        Publication, PublicationProperties, Qos, RetainHandling, SharedFilter, SubscriptionOptions,
        TopicName, Will,
    },
};
use postern_net::mqtt::StoredSession;

/// A retained message of the store.
#[derive(Debug, Clone)]
pub(super) struct RetainedRecord {
    pub publication: Publication,
    /// In milliseconds since 1970; 0 is never.
    pub expires_at_ms: u64,
}

/// Octets that are no record: somebody else wrote them, or another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no record of version {VERSION}")]
pub(super) struct MqttRecordError;

/// A message that is kept until `expires_at_ms`.
#[must_use]
pub(super) fn write_retained(publication: &Publication, expires_at_ms: u64) -> Vec<u8> {
    let Publication {
        topic,
        payload,
        qos,
        properties,
        ..
    } = publication;
    let properties = properties.as_deref();
    write_message(&topic.name, payload, *qos, properties, expires_at_ms)
}

fn write_message(
    topic: &Text,
    payload: &[u8],
    qos: Qos,
    properties: Option<&PublicationProperties>,
    expires_at_ms: u64,
) -> Vec<u8> {
    let nothing = PublicationProperties::default();
    let properties = properties.unwrap_or(&nothing);
    let mut out = vec![VERSION, qos.bits(), u8::from(properties.is_text)];
    out.extend_from_slice(&expires_at_ms.to_be_bytes());
    push(&mut out, topic.as_bytes());
    push(&mut out, payload);
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.clone().into_bytes());
    push_optional(&mut out, text(&properties.content_type));
    push_optional(&mut out, text(&properties.response_topic));
    push_optional(&mut out, properties.correlation.clone());
    push_count(&mut out, properties.user.len());
    for (name, value) in &properties.user {
        push(&mut out, name.as_bytes());
        push(&mut out, value.as_bytes());
    }
    out
}

/// # Errors
/// What is no such record.
pub(super) fn read_retained(record: Vec<u8>) -> Result<RetainedRecord, MqttRecordError> {
    let mut rest = Bytes::from(record);
    let [version, qos, is_text] = [u8_of(&mut rest)?, u8_of(&mut rest)?, u8_of(&mut rest)?];
    let qos = Qos::from_bits(qos).filter(|_| version == VERSION);
    let expires_at_ms = rest.try_get_u64().map_err(|_| MqttRecordError)?;
    let topic = TopicName::new(&text_of(&mut rest)?).map_err(|_| MqttRecordError)?;
    let payload = octets_of(&mut rest)?;
    let mut properties = PublicationProperties {
        is_text: is_text == 1,
        content_type: optional_text(&mut rest)?,
        response_topic: optional_text(&mut rest)?,
        correlation: optional(&mut rest)?,
        user: Vec::new(),
    };
    for _ in 0..count_of(&mut rest)? {
        let pair = (text_of(&mut rest)?, text_of(&mut rest)?);
        properties.user.push(pair);
    }
    let mut publication = Publication::new(topic, payload, qos.ok_or(MqttRecordError)?);
    publication.is_retained = true;
    if properties != PublicationProperties::default() {
        publication.properties = Some(Box::new(properties));
    }
    Ok(RetainedRecord {
        publication,
        expires_at_ms,
    })
}

#[must_use]
pub(super) fn write_session(session: &StoredSession) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&session.expiry_s.to_be_bytes());
    out.extend_from_slice(&session.taken_receipt.to_be_bytes());
    out.extend_from_slice(&session.ended_at_ms.unwrap_or_default().to_be_bytes());
    push_count(&mut out, session.subscriptions.len());
    for (filter, options) in &session.subscriptions {
        push(&mut out, filter.to_string().as_bytes());
        out.push(options_bits(options));
        out.extend_from_slice(&options.id.unwrap_or_default().to_be_bytes());
    }
    push_count(&mut out, session.received.len());
    for id in &session.received {
        out.extend_from_slice(&id.to_be_bytes());
    }
    push_count(&mut out, session.released.len());
    for (id, position) in &session.released {
        out.extend_from_slice(&id.to_be_bytes());
        let position = position.map_or(0, |position| position.0);
        out.extend_from_slice(&position.to_be_bytes());
    }
    out.push(u8::from(session.will.is_some()));
    if let Some(will) = &session.will {
        out.extend_from_slice(&will.delay_s.to_be_bytes());
        out.extend_from_slice(&will.expiry_s.unwrap_or(u32::MAX).to_be_bytes());
        out.push(u8::from(will.is_retained));
        let properties = will.properties.as_deref();
        push(
            &mut out,
            &write_message(&will.topic, &will.payload, will.qos, properties, 0),
        );
    }
    out
}

fn read_will(rest: &mut Bytes) -> Result<Option<Box<Will>>, MqttRecordError> {
    if u8_of(rest)? == 0 {
        return Ok(None);
    }
    let delay_s = rest.try_get_u32().map_err(|_| MqttRecordError)?;
    let expiry_s = rest.try_get_u32().map_err(|_| MqttRecordError)?;
    let is_retained = u8_of(rest)? == 1;
    let message = read_retained(octets_of(rest)?.into())?.publication;
    Ok(Some(Box::new(Will {
        topic: message.topic.name,
        payload: message.payload,
        qos: message.qos,
        is_retained,
        delay_s,
        expiry_s: (expiry_s != u32::MAX).then_some(expiry_s),
        properties: message.properties,
    })))
}

/// # Errors
/// What is no such record.
pub(super) fn read_session(
    client_id: String,
    record: Vec<u8>,
) -> Result<StoredSession, MqttRecordError> {
    let mut rest = Bytes::from(record);
    if u8_of(&mut rest)? != VERSION {
        return Err(MqttRecordError);
    }
    let expiry_s = rest.try_get_u32().map_err(|_| MqttRecordError)?;
    let taken_receipt = rest.try_get_u64().map_err(|_| MqttRecordError)?;
    let ended_at_ms = rest.try_get_u64().map_err(|_| MqttRecordError)?;
    let mut subscriptions = Vec::new();
    for _ in 0..count_of(&mut rest)? {
        let filter = SharedFilter::new(&text_of(&mut rest)?).map_err(|_| MqttRecordError)?;
        let options = options_of(u8_of(&mut rest)?)?;
        let id = rest.try_get_u32().map_err(|_| MqttRecordError)?;
        let id = (id > 0).then_some(id);
        subscriptions.push((filter, SubscriptionOptions { id, ..options }));
    }
    let mut received = Vec::new();
    for _ in 0..count_of(&mut rest)? {
        received.push(rest.try_get_u16().map_err(|_| MqttRecordError)?);
    }
    let mut released = Vec::new();
    for _ in 0..count_of(&mut rest)? {
        let id = rest.try_get_u16().map_err(|_| MqttRecordError)?;
        let position = rest.try_get_u64().map_err(|_| MqttRecordError)?;
        released.push((id, (position > 0).then_some(Position(position))));
    }
    Ok(StoredSession {
        client_id: client_id.into(),
        expiry_s,
        ended_at_ms: (ended_at_ms > 0).then_some(ended_at_ms),
        subscriptions,
        received,
        released,
        taken_receipt,
        will: read_will(&mut rest)?,
    })
}

fn options_bits(options: &SubscriptionOptions) -> u8 {
    let handling = match options.retain_handling {
        RetainHandling::Always => 0,
        RetainHandling::IfNew => 1,
        RetainHandling::Never => 2,
    };
    options.qos.bits()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | handling << 4
}

fn options_of(bits: u8) -> Result<SubscriptionOptions, MqttRecordError> {
    let handling = match bits >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(MqttRecordError),
    };
    Ok(SubscriptionOptions {
        qos: Qos::from_bits(bits & 3).ok_or(MqttRecordError)?,
        no_local: bits & 4 != 0,
        retain_as_published: bits & 8 != 0,
        retain_handling: handling,
        id: None,
    })
}

fn push_count(out: &mut Vec<u8>, count: usize) {
    // Packets bound all counts far below.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

fn push(out: &mut Vec<u8>, octets: &[u8]) {
    push_count(out, octets.len());
    out.extend_from_slice(octets);
}

fn push_optional(out: &mut Vec<u8>, octets: Option<Bytes>) {
    out.push(u8::from(octets.is_some()));
    if let Some(octets) = octets {
        push(out, &octets);
    }
}

fn u8_of(rest: &mut Bytes) -> Result<u8, MqttRecordError> {
    rest.try_get_u8().map_err(|_| MqttRecordError)
}

fn count_of(rest: &mut Bytes) -> Result<u32, MqttRecordError> {
    rest.try_get_u32().map_err(|_| MqttRecordError)
}

fn octets_of(rest: &mut Bytes) -> Result<Bytes, MqttRecordError> {
    let length = usize::try_from(count_of(rest)?).map_err(|_| MqttRecordError)?;
    if length > rest.len() {
        return Err(MqttRecordError);
    }
    Ok(rest.split_to(length))
}

fn text_of(rest: &mut Bytes) -> Result<Text, MqttRecordError> {
    Text::from_utf8(octets_of(rest)?).map_err(|_| MqttRecordError)
}

fn optional(rest: &mut Bytes) -> Result<Option<Bytes>, MqttRecordError> {
    match u8_of(rest)? {
        0 => Ok(None),
        _ => octets_of(rest).map(Some),
    }
}

fn optional_text(rest: &mut Bytes) -> Result<Option<Text>, MqttRecordError> {
    let text = |octets| Text::from_utf8(octets).map_err(|_| MqttRecordError);
    optional(rest)?.map(text).transpose()
}

/// The first octet of each record.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(properties: Option<PublicationProperties>) -> Publication {
        let topic = TopicName::new("a/é").expect("a name");
        let mut made = Publication::new(topic, Bytes::from_static(b"\0\xff"), Qos::ExactlyOnce);
        made.is_retained = true;
        made.properties = properties.map(Box::new);
        made
    }

    #[test]
    fn a_message_that_is_written_is_read() {
        let full = PublicationProperties {
            is_text: true,
            content_type: Some("x/y".into()),
            response_topic: Some("r".into()),
            correlation: Some(Bytes::from_static(b"\x01")),
            user: vec![("k".into(), "v".into()), ("k".into(), "".into())],
        };
        for properties in [None, Some(full)] {
            let written = publication(properties);
            let read = read_retained(write_retained(&written, 7)).expect("a record");
            assert_eq!(read.expires_at_ms, 7);
            let found = &read.publication;
            assert_eq!(
                (&found.topic, &found.payload, found.qos, &found.properties),
                (
                    &written.topic,
                    &written.payload,
                    written.qos,
                    &written.properties
                )
            );
            assert!(found.is_retained);
        }
    }

    #[test]
    fn a_session_that_is_written_is_read() {
        let options = SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::Never,
            id: Some(268_435_455),
        };
        let shared = SharedFilter::new("$share/g/a/#").expect("a filter");
        let plain = SharedFilter::new("+").expect("a filter");
        let will = Will {
            topic: "gone".into(),
            payload: Bytes::from_static(b"\xff"),
            qos: Qos::AtLeastOnce,
            is_retained: true,
            delay_s: 7,
            expiry_s: Some(9),
            properties: None,
        };
        for ended_at_ms in [None, Some(1_700_000_000_000)] {
            let session = StoredSession {
                client_id: "c".into(),
                expiry_s: u32::MAX,
                ended_at_ms,
                subscriptions: vec![
                    (shared.clone(), options),
                    (plain.clone(), SubscriptionOptions::default()),
                ],
                received: vec![1, 65_535],
                released: vec![(2, None), (3, Some(Position(9)))],
                taken_receipt: 1_700_000_000_000_000,
                will: ended_at_ms.map(|_| Box::new(will.clone())),
            };
            let read = read_session("c".to_owned(), write_session(&session));
            assert_eq!(read, Ok(session));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_record() {
        let message = write_retained(&publication(None), 0);
        for end in 0..message.len() {
            let cut = message.get(..end).unwrap_or_default().to_vec();
            assert!(read_retained(cut).is_err(), "{end}");
        }
        let mut long = message;
        // The length of the topic.
        if let Some(octet) = long.get_mut(11) {
            *octet = 0xff;
        }
        assert!(read_retained(long).is_err());
        assert_eq!(read_session(String::new(), vec![9]), Err(MqttRecordError));
    }
}
