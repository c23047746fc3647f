//! Events as entries of a stream, and entries as events.
//!
//! | fields of `XADD` | event |
//! | --- | --- |
//! | `payload`, beside it at most `header:NAME` | the payload as it is, with those headers |
//! | any others | an object of JSON with the fields in their order, header `event-form: fields` |
//!
//! A value that is no text is `{"base64":"…"}` in that object. Read again, each gives the fields that it
//! was made of; an event that came another way gives `payload` and its headers, and `topic` where the
//! stream is one of several topics.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use postern_core::{
    Error, Headers,
    error::push_json_string,
    event::{Event, durable::StoredEvent, is_carried},
    resp::{RespValue, StreamId},
};
use serde::{Deserialize, Deserializer, de};

/// What an entry says: headers and payload of the event that it becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryEvent {
    pub headers: Headers,
    pub payload: Bytes,
}

/// # Errors
/// `invalid-argument` for headers that are longer than headers may be.
pub(super) fn event_of(fields: &[(&[u8], &[u8])]) -> Result<EntryEvent, Error> {
    let mut headers = Headers::new();
    let mut push = |name: &[u8], value: &[u8]| {
        let pushed = headers.push(name, value);
        pushed.map_err(|error| Error::invalid_argument(format!("fields of the entry: {error}")))
    };
    let is_payload = |(name, _): &&(&[u8], &[u8])| *name == PAYLOAD;
    let header = |name: &[u8]| {
        let name = name.strip_prefix(HEADER)?.to_owned();
        is_carried(&name).then_some(name)
    };
    let mut others = fields.iter().filter(|field| !is_payload(field));
    let is_event = fields.iter().filter(is_payload).count() == 1
        && others.all(|(name, _)| header(name).is_some());
    if !is_event {
        push(b"content-type", b"application/json")?;
        push(FORM, FIELDS)?;
        let payload = written(fields).into();
        return Ok(EntryEvent { headers, payload });
    }
    let mut payload = Bytes::new();
    for (name, value) in fields {
        match header(name) {
            Some(name) => push(&name, value)?,
            None => payload = Bytes::copy_from_slice(value),
        }
    }
    Ok(EntryEvent { headers, payload })
}

/// The entry of a stored event, in the stream `key`: its id and its fields.
pub(super) fn entry_of(stored: &StoredEvent, key: &[u8]) -> RespValue {
    let id = id_of(stored);
    let fields = fields_of(&stored.event, key);
    let fields = fields.into_iter().flat_map(|(name, value)| [name, value]);
    let fields = fields.map(RespValue::Bulk).collect();
    RespValue::Array(vec![id, RespValue::Array(fields)])
}

/// The id of a stored event.
pub(super) fn id_of(stored: &StoredEvent) -> RespValue {
    RespValue::bulk(StreamId::of(stored.position).to_string())
}

fn fields_of(event: &Event, key: &[u8]) -> Vec<(Bytes, Bytes)> {
    let is_fields = event
        .headers
        .get_bytes(FORM)
        .is_some_and(|form| form == FIELDS);
    if is_fields && let Ok(fields) = serde_json::from_slice::<Fields>(&event.payload) {
        return fields.0;
    }
    let mut fields = Vec::new();
    if event.topic.as_bytes() != key {
        let topic = Bytes::copy_from_slice(event.topic.as_bytes());
        fields.push((Bytes::from_static(b"topic"), topic));
    }
    fields.push((Bytes::from_static(PAYLOAD), event.payload.clone()));
    for (name, value) in event.headers.iter() {
        if is_carried(name) {
            let name = [HEADER, name].concat();
            fields.push((name.into(), Bytes::copy_from_slice(&value)));
        }
    }
    fields
}

/// Fields as an object of JSON.
fn written(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut json = vec![b'{'];
    for (idx, (name, value)) in fields.iter().enumerate() {
        if idx > 0 {
            json.push(b',');
        }
        // A name that is no text is told by what of it is.
        push_json_string(&mut json, &String::from_utf8_lossy(name));
        json.push(b':');
        match std::str::from_utf8(value) {
            Ok(text) => push_json_string(&mut json, text),
            Err(_) => {
                json.extend_from_slice(b"{\"base64\":");
                push_json_string(&mut json, &STANDARD.encode(value));
                json.push(b'}');
            }
        }
    }
    json.push(b'}');
    json
}

/// Fields out of an object of JSON, in their order, those that are there twice included.
struct Fields(Vec<(Bytes, Bytes)>);

/// The value of one field.
struct FieldValue(Bytes);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> de::Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, FieldValue(value))) = map.next_entry::<String, _>()? {
                    fields.push((name.into(), value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Octets { base64: String },
        }
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(text.into())),
            Written::Octets { base64 } => {
                let octets = STANDARD.decode(base64).map_err(de::Error::custom)?;
                Ok(Self(octets.into()))
            }
        }
    }
}

const PAYLOAD: &[u8] = b"payload";
const HEADER: &[u8] = b"header:";
/// Says that a payload is the fields of an entry.
const FORM: &[u8] = b"event-form";
const FIELDS: &[u8] = b"fields";

#[cfg(test)]
mod tests {
    use postern_core::event::Publisher;

    use super::*;

    fn again(fields: &[(&[u8], &[u8])]) -> (String, Vec<(Bytes, Bytes)>) {
        let EntryEvent { headers, payload } = event_of(fields).expect("short");
        let text = String::from_utf8_lossy(&payload).into_owned();
        let event = Event {
            topic: "a.b".into(),
            headers,
            payload,
            publisher: Publisher::default(),
        };
        (text, fields_of(&event, b"a.b"))
    }

    #[track_caller]
    fn check(fields: &[(&[u8], &[u8])], expected: &str) {
        let (payload, read) = again(fields);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)))
            .collect();
        assert_eq!((payload.as_str(), read), (expected, fields));
    }

    #[test]
    fn fields_are_an_object_and_read_as_they_were() {
        check(&[(b"a", b"1"), (b"b", b"x y")], r#"{"a":"1","b":"x y"}"#);
        check(&[(b"a", b"1"), (b"a", b"2")], r#"{"a":"1","a":"2"}"#);
        check(&[(b"a", b"\xff")], r#"{"a":{"base64":"/w=="}}"#);
        check(
            &[(b"payload", b"1"), (b"a", b"2")],
            r#"{"payload":"1","a":"2"}"#,
        );
    }

    #[test]
    fn a_payload_is_the_event_itself() {
        check(&[(b"payload", b"\xff")], "\u{fffd}");
        check(
            &[(b"payload", b"{}"), (b"header:content-type", b"text/x")],
            "{}",
        );
    }
}
