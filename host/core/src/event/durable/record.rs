//! Events as octets in a store. Little endian; every text behind its length. A store of another version
//! than `VERSION` is refused, and so is what ends early or goes on too long.
//!
//! ```text
//! version:u8  stored_at_ms:u64
//! topic:text16
//! layout:u8  headers:octets32             0: a header section, 1: key:text32 value:text32 …
//! transport:text16  origin:u8 …           0: this process, 1: address:text16, 2: uid:u32 gid:u32 path:text16
//! session:text16
//! principal:u8 [name:text32  n:u16 roles:text32…  n:u16 claims:(text32 text32)…]
//! trace:text16  priority:u8  depth:u8
//! payload: the rest
//! ```
//! Of a publisher's connection its address stays, and not what TLS told of it.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::stored_event::{Position, StoredEvent};
use crate::{
    event::{Event, Publisher},
    headers::{Headers, HeadersBuilder},
    origin::{Origin, UnixPeer},
    peer::{Peer, Principal},
    text::Text,
    trace::TraceContext,
    transport::Transport,
};

/// What the first octet of a record says.
pub const VERSION: u8 = 1;

/// Why octets are not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("version {found} of the record is not {VERSION}, the only one that is known")]
    Version { found: u8 },
    #[error("the record ends {missing} octets early")]
    Short { missing: usize },
    #[error("{length} octets stand behind the record's end")]
    Long { length: usize },
    #[error("{what} of the record is not valid")]
    Invalid { what: &'static str },
}

/// Writes an event. `stored_at_ms` counts milliseconds since 1970.
#[must_use]
pub fn encode_event(stored_at_ms: u64, event: &Event) -> Vec<u8> {
    let capacity = event.payload.len() + event.headers.section().len() + event.topic.len() + 128;
    let mut record = RecordWriter(Vec::with_capacity(capacity));
    record.u8(VERSION);
    record.u64(stored_at_ms);
    record.text16(event.topic.as_bytes());
    push_headers(&mut record, &event.headers);
    push_publisher(&mut record, &event.publisher);
    record.0.extend_from_slice(&event.payload);
    record.0
}

/// Reads what `encode_event` wrote; the event shares the octets. Its number of deliveries is 0.
///
/// # Errors
/// What is wrong with it first.
pub fn decode_event(position: Position, octets: Bytes) -> Result<StoredEvent, RecordError> {
    let mut record = RecordReader(octets);
    record.version()?;
    let stored_at_ms = record.u64()?;
    let topic = record.text16("the topic")?;
    let headers = read_headers(&mut record)?;
    let publisher = read_publisher(&mut record)?;
    Ok(StoredEvent {
        position,
        stored_at_ms,
        n_deliveries: 0,
        event: Event {
            topic,
            headers,
            payload: record.0,
            publisher,
        },
    })
}

/// When a record was stored, without reading the rest of it.
///
/// # Errors
/// As `decode_event`.
pub fn stored_at_ms(octets: &[u8]) -> Result<u64, RecordError> {
    let mut head = octets;
    let found = head.try_get_u8().map_err(short)?;
    if found != VERSION {
        return Err(RecordError::Version { found });
    }
    head.try_get_u64_le().map_err(short)
}

fn push_headers(record: &mut RecordWriter, headers: &Headers) {
    record.u8(headers.are_fields().into());
    if headers.are_fields() {
        let mut fields = RecordWriter(Vec::with_capacity(headers.section().len()));
        for (key, value) in headers.entries() {
            fields.text32(key);
            fields.text32(value);
        }
        record.text32(&fields.0);
    } else {
        record.text32(headers.section());
    }
}

fn read_headers(record: &mut RecordReader) -> Result<Headers, RecordError> {
    let invalid = |_| RecordError::Invalid { what: "a header" };
    let are_fields = record.flag("the layout of headers")?;
    let octets = record.octets32()?;
    if !are_fields {
        return Headers::from_section(octets).map_err(invalid);
    }
    let mut builder = HeadersBuilder::fields(0, octets.len());
    let mut fields = RecordReader(octets);
    while !fields.0.is_empty() {
        let (key, value) = (fields.octets32()?, fields.octets32()?);
        builder.push(key, value).map_err(invalid)?;
    }
    Ok(builder.build())
}

fn push_publisher(record: &mut RecordWriter, publisher: &Publisher) {
    let peer = &publisher.peer;
    record.text16(peer.transport.name().as_bytes());
    match &peer.origin {
        Origin::Local => record.u8(0),
        Origin::Ip(address) => {
            record.u8(1);
            record.text16(address.to_string().as_bytes());
        }
        Origin::Unix(unix) => {
            record.u8(2);
            record.u32(unix.uid);
            record.u32(unix.gid);
            record.text16(unix.path.as_ref().map_or(b"", |path| path.as_bytes()));
        }
    }
    record.text16(peer.session.as_bytes());
    record.u8(publisher.principal.is_some().into());
    if let Some(principal) = &publisher.principal {
        record.text32(principal.name.as_bytes());
        record.count(principal.roles.len());
        for role in principal.roles.iter().take(COUNT_MAX) {
            record.text32(role.as_bytes());
        }
        record.count(principal.claims.len());
        for (name, value) in principal.claims.iter().take(COUNT_MAX) {
            record.text32(name.as_bytes());
            record.text32(value.as_bytes());
        }
    }
    let trace = publisher.trace.map(|trace| trace.to_string());
    record.text16(trace.as_deref().unwrap_or_default().as_bytes());
    record.u8(publisher.priority);
    record.u8(publisher.depth);
}

fn read_publisher(record: &mut RecordReader) -> Result<Publisher, RecordError> {
    let invalid = |what| RecordError::Invalid { what };
    let transport = record.text16("the transport")?;
    let transport = Transport::from_name(&transport).ok_or_else(|| invalid("the transport"))?;
    let origin = match record.u8()? {
        0 => Origin::Local,
        1 => {
            let address = record.text16("the address")?;
            Origin::Ip(address.parse().map_err(|_| invalid("the address"))?)
        }
        2 => Origin::Unix(UnixPeer {
            uid: record.u32()?,
            gid: record.u32()?,
            pid: None,
            path: Some(record.text16("the path")?).filter(|path| !path.is_empty()),
        }),
        _ => return Err(invalid("the origin")),
    };
    let session = record.text16("the session")?;
    let principal = match record.flag("the principal")? {
        true => Some(Arc::new(read_principal(record)?)),
        false => None,
    };
    let trace = record.text16("the trace")?;
    Ok(Publisher {
        peer: Arc::new(Peer::new(transport, origin).with_session(session)),
        principal,
        trace: TraceContext::parse(&trace),
        priority: record.u8()?,
        depth: record.u8()?,
    })
}

fn read_principal(record: &mut RecordReader) -> Result<Principal, RecordError> {
    let mut principal = Principal {
        name: record.text32("the principal's name")?,
        ..Principal::default()
    };
    for _ in 0..record.u16()? {
        principal.roles.push(record.text32("a role")?);
    }
    for _ in 0..record.u16()? {
        let name = record.text32("a claim")?;
        principal.claims.push((name, record.text32("a claim")?));
    }
    Ok(principal)
}

/// Puts numbers and texts behind each other.
#[derive(Debug, Default)]
pub(super) struct RecordWriter(pub Vec<u8>);

impl RecordWriter {
    pub(super) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A number that is most often small: seven bits an octet, the lowest first.
    pub(super) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }

    /// How many follow; no more than `COUNT_MAX` do.
    fn count(&mut self, n: usize) {
        let n = u16::try_from(n).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    /// Names and addresses, which are far shorter than the 65,535 octets that fit.
    pub(super) fn text16(&mut self, text: &[u8]) {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0
            .extend_from_slice(text.get(..length.into()).unwrap_or(text));
    }

    fn text32(&mut self, text: &[u8]) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self.0.extend_from_slice(text);
    }
}

/// Takes them off again.
#[derive(Debug)]
pub(super) struct RecordReader(pub Bytes);

impl RecordReader {
    pub(super) fn version(&mut self) -> Result<(), RecordError> {
        match self.u8()? {
            VERSION => Ok(()),
            found => Err(RecordError::Version { found }),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        self.0.try_get_u8().map_err(short)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordError> {
        self.0.try_get_u16_le().map_err(short)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        self.0.try_get_u32_le().map_err(short)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        self.0.try_get_u64_le().map_err(short)
    }

    pub(super) fn varint(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let octet = self.u8()?;
            let bits = u64::from(octet & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if octet & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Invalid { what: "a number" })
    }

    pub(super) fn text16(&mut self, what: &'static str) -> Result<Text, RecordError> {
        let length = self.u16()?;
        text(self.octets(length.into())?, what)
    }

    pub(super) fn end(&self) -> Result<(), RecordError> {
        match self.0.len() {
            0 => Ok(()),
            length => Err(RecordError::Long { length }),
        }
    }

    fn flag(&mut self, what: &'static str) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Invalid { what }),
        }
    }

    fn text32(&mut self, what: &'static str) -> Result<Text, RecordError> {
        text(self.octets32()?, what)
    }

    fn octets32(&mut self) -> Result<Bytes, RecordError> {
        let length = self.u32()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.octets(length)
    }

    fn octets(&mut self, length: usize) -> Result<Bytes, RecordError> {
        match length.checked_sub(self.0.len()) {
            None | Some(0) => Ok(self.0.split_to(length)),
            Some(missing) => Err(RecordError::Short { missing }),
        }
    }
}

fn text(octets: Bytes, what: &'static str) -> Result<Text, RecordError> {
    Text::from_utf8(octets).map_err(|_| RecordError::Invalid { what })
}

fn short(error: bytes::TryGetError) -> RecordError {
    let missing = error.requested.saturating_sub(error.available);
    RecordError::Short { missing }
}

/// Roles and claims that a count says; whoever has more does not keep those.
const COUNT_MAX: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;

    fn origin() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::Local),
            any::<std::net::SocketAddr>().prop_map(|address| match address {
                // A flow is not written.
                std::net::SocketAddr::V6(v6) => {
                    Origin::Ip((*v6.ip(), v6.port()).into())
                }
                std::net::SocketAddr::V4(_) => Origin::Ip(address),
            }),
            (any::<u32>(), any::<u32>(), "[a-z/]{1,20}").prop_map(|(uid, gid, path)| {
                Origin::Unix(UnixPeer {
                    uid,
                    gid,
                    pid: None,
                    path: Some(path.into()),
                })
            }),
        ]
    }

    fn headers() -> impl Strategy<Value = Headers> {
        let pairs = prop::collection::vec(("[a-z-]{1,20}", ".{0,300}"), 0..6);
        (any::<bool>(), pairs).prop_map(|(are_fields, pairs)| {
            let mut builder = match are_fields {
                true => HeadersBuilder::fields(0, 0),
                false => HeadersBuilder::default(),
            };
            for (key, value) in pairs {
                builder.push(key, value).expect("short");
            }
            builder.build()
        })
    }

    fn principal() -> impl Strategy<Value = Principal> {
        let text = || ".{0,20}".prop_map(Text::from);
        let claims = prop::collection::vec((text(), text()), 0..4);
        (text(), prop::collection::vec(text(), 0..4), claims).prop_map(|(name, roles, claims)| {
            Principal {
                name,
                roles,
                claims,
            }
        })
    }

    fn publisher() -> impl Strategy<Value = Publisher> {
        let transport = prop::sample::select(&Transport::ALL[..]);
        let parts = (transport, origin(), "[a-z0-9]{0,32}");
        let rest = (
            prop::option::of(principal()),
            prop::option::of((1..u128::MAX, 1..u64::MAX, any::<u8>())),
            any::<u8>(),
            any::<u8>(),
        );
        (parts, rest).prop_map(
            |((transport, origin, session), (principal, trace, priority, depth))| Publisher {
                peer: Arc::new(Peer::new(transport, origin).with_session(session)),
                principal: principal.map(Arc::new),
                trace: trace.map(|(trace_id, span_id, flags)| TraceContext {
                    trace_id: NonZero::new(trace_id).expect("not 0"),
                    span_id: NonZero::new(span_id).expect("not 0"),
                    flags,
                }),
                priority,
                depth,
            },
        )
    }

    fn arbitrary_event() -> impl Strategy<Value = Event> {
        let payload = prop::collection::vec(any::<u8>(), 0..200);
        ("[a-z.]{1,40}", headers(), payload, publisher()).prop_map(
            |(topic, headers, payload, publisher)| Event {
                topic: topic.into(),
                headers,
                payload: payload.into(),
                publisher,
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(event in arbitrary_event(), at in any::<u64>()) {
            let octets = encode_event(at, &event);
            prop_assert_eq!(stored_at_ms(&octets), Ok(at));
            let read = decode_event(Position(7), octets.into()).expect("as written");
            prop_assert_eq!((read.position, read.stored_at_ms), (Position(7), at));
            prop_assert_eq!(&read.event.topic, &event.topic);
            prop_assert_eq!(&read.event.headers, &event.headers);
            prop_assert_eq!(&read.event.payload, &event.payload);
            let (found, expected) = (&read.event.publisher, &event.publisher);
            prop_assert_eq!(&found.peer, &expected.peer);
            prop_assert_eq!(&found.principal, &expected.principal);
            prop_assert_eq!(found.trace, expected.trace);
            prop_assert_eq!((found.priority, found.depth), (expected.priority, expected.depth));
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_event(Position(1), octets.into());
        }

        #[test]
        fn a_record_that_was_cut_off_is_refused(event in arbitrary_event(), cut in any::<prop::sample::Index>()) {
            let mut octets = encode_event(1, &event);
            octets.truncate(octets.len() - event.payload.len());
            octets.truncate(cut.index(octets.len()));
            let cut_off = decode_event(Position(1), octets.into());
            prop_assert!(cut_off.is_err());
        }

        #[test]
        fn numbers_are_read_as_they_were_written(number in any::<u64>()) {
            let mut record = RecordWriter::default();
            record.varint(number);
            let mut reader = RecordReader(record.0.into());
            prop_assert_eq!(reader.varint(), Ok(number));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let refused = decode_event(Position(1), Bytes::from_static(&[2, 0, 0]));
        assert_eq!(refused.err(), Some(RecordError::Version { found: 2 }));
        assert_eq!(
            stored_at_ms(b"\x01\0"),
            Err(RecordError::Short { missing: 7 })
        );
    }
}
