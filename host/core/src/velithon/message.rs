//! Requests and responses: a JSON object of a header and a body.
//!
//! ```text
//! {"header":{"request_id":S,"service":S,"endpoint":S,"is_response":B},"body":V}
//! ```
//! Members come in any order, blanks and further members are passed over, of members that come twice the last
//! counts. What the header has is kept as it is written and goes back so, whatever its JSON type.

use bytes::Bytes;

use super::{call_id::CallId, frame::FRAME_PREFIX_BYTES};
use crate::{
    json::{self, JsonError, push_string},
    text::Text,
};

/// A message, as slices of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VelithonMessage {
    pub header: VelithonHeader,
    pub is_response: bool,
    /// JSON.
    pub body: Bytes,
}

/// What a response repeats of its request: each member as JSON, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VelithonHeader {
    pub request_id: Bytes,
    pub service: Bytes,
    pub endpoint: Bytes,
}

/// Why a frame is dropped. The published form answers none of them, since it cannot say to which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VelithonFault {
    #[error("the frame is empty")]
    Empty,
    #[error("the message is MessagePack, which is not spoken here: install orjson at the peer")]
    MessagePack,
    #[error("the message begins with a byte order mark")]
    ByteOrderMark,
    #[error("the message is no JSON: {0}")]
    Json(#[from] JsonError),
    #[error("the message is no object")]
    NoObject,
    #[error("the message has no {0:?}")]
    Missing(&'static str),
    #[error(
        "a message of {length} octets exceeds the limit of {limit}, and has no header to answer"
    )]
    TooLong { length: u32, limit: usize },
}

/// The members of a message and of its header, as they are written.
#[derive(Debug, Default)]
struct Members<'a> {
    header: Option<&'a [u8]>,
    body: Option<&'a [u8]>,
}

#[derive(Debug, Default)]
struct HeaderMembers<'a> {
    request_id: Option<&'a [u8]>,
    service: Option<&'a [u8]>,
    endpoint: Option<&'a [u8]>,
    is_response: Option<&'a [u8]>,
}

impl VelithonHeader {
    /// Of a request of this end.
    #[must_use]
    pub fn of_request(id: CallId, service: &str, endpoint: &str) -> Self {
        let quoted = |text: &str| {
            let mut json = Vec::with_capacity(text.len() + 2);
            push_string(&mut json, text);
            Bytes::from(json)
        };
        Self {
            request_id: quoted(&id.to_string()),
            service: quoted(service),
            endpoint: quoted(endpoint),
        }
    }

    /// The same in octets of its own: it keeps no long message in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |part: &Bytes| Bytes::copy_from_slice(part);
        Self {
            request_id: copy(&self.request_id),
            service: copy(&self.service),
            endpoint: copy(&self.endpoint),
        }
    }

    /// The id, where it is one that this end makes.
    #[must_use]
    pub fn call_id(&self) -> Option<CallId> {
        CallId::parse(&json::string(&self.request_id)?)
    }

    /// The name of the service; `None` where it is no text.
    #[must_use]
    pub fn service_name(&self) -> Option<Text> {
        json::string(&self.service).map(Text::from)
    }

    /// The name of the endpoint; `None` where it is no text.
    #[must_use]
    pub fn endpoint_name(&self) -> Option<Text> {
        json::string(&self.endpoint).map(Text::from)
    }
}

/// Reads the message of a frame.
///
/// # Errors
/// Why it is dropped.
pub fn read(frame: &Bytes) -> Result<VelithonMessage, VelithonFault> {
    match frame.first() {
        None => return Err(VelithonFault::Empty),
        // Maps of MessagePack, of up to 15 members, of up to 2^16 and of up to 2^32.
        Some(0x80..=0x8f | 0xde | 0xdf) => return Err(VelithonFault::MessagePack),
        Some(0xef) => return Err(VelithonFault::ByteOrderMark),
        Some(_) => {}
    }
    let mut members = Members::default();
    json::visit_members(frame, &mut |key, value| members.take(key, value))?;
    if !frame.trim_ascii_start().starts_with(b"{") {
        return Err(VelithonFault::NoObject);
    }
    let header = members.header.ok_or(VelithonFault::Missing("header"))?;
    let body = members.body.ok_or(VelithonFault::Missing("body"))?;
    let (header, is_response) = read_header(frame, header)?;
    Ok(VelithonMessage {
        header,
        is_response,
        body: frame.slice_ref(body),
    })
}

/// The header of a message of which only the `begin` is there, and whether it is a response; `None` where it
/// is not among that.
pub(super) fn read_begin(begin: &Bytes) -> Option<(VelithonHeader, bool)> {
    let mut members = Members::default();
    // That the rest is missing is known.
    let _ = json::visit_members(begin, &mut |key, value| members.take(key, value));
    read_header(begin, members.header?).ok()
}

/// `header` is a part of `frame`.
fn read_header(frame: &Bytes, header: &[u8]) -> Result<(VelithonHeader, bool), VelithonFault> {
    let mut members = HeaderMembers::default();
    json::visit_members(header, &mut |key, value| members.take(key, value))?;
    let part = |member: Option<&[u8]>, name| {
        let member = member.ok_or(VelithonFault::Missing(name))?;
        Ok::<_, VelithonFault>(frame.slice_ref(member))
    };
    let read = VelithonHeader {
        request_id: part(members.request_id, "header.request_id")?,
        service: part(members.service, "header.service")?,
        endpoint: part(members.endpoint, "header.endpoint")?,
    };
    Ok((read, members.is_response.is_some_and(is_truthy)))
}

/// A frame of `body`, which is JSON, for `header`.
#[must_use]
pub fn write(header: &VelithonHeader, is_response: bool, body: &[u8]) -> Bytes {
    let VelithonHeader {
        request_id,
        service,
        endpoint,
    } = header;
    let is_response: &[u8] = if is_response { b"true" } else { b"false" };
    let parts: [&[u8]; 11] = [
        b"{\"header\":{\"request_id\":",
        request_id,
        b",\"service\":",
        service,
        b",\"endpoint\":",
        endpoint,
        b",\"is_response\":",
        is_response,
        b"},\"body\":",
        body,
        b"}",
    ];
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = Vec::with_capacity(FRAME_PREFIX_BYTES + length);
    // Bodies and headers are bounded far below.
    let prefix = u32::try_from(length).unwrap_or(u32::MAX);
    frame.extend_from_slice(&prefix.to_be_bytes());
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame.into()
}

/// A frame of a request of this end.
#[must_use]
pub fn write_request(id: CallId, service: &str, endpoint: &str, body: &[u8]) -> Bytes {
    write(
        &VelithonHeader::of_request(id, service, endpoint),
        false,
        body,
    )
}

impl<'a> Members<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match_key(key, |name| match name {
            b"header" => self.header = Some(value),
            b"body" => self.body = Some(value),
            _ => {}
        });
    }
}

impl<'a> HeaderMembers<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) {
        match_key(key, |name| match name {
            b"request_id" => self.request_id = Some(value),
            b"service" => self.service = Some(value),
            b"endpoint" => self.endpoint = Some(value),
            b"is_response" => self.is_response = Some(value),
            _ => {}
        });
    }
}

/// Hands on the name that `key` is, in quotes and most often without escapes.
fn match_key(key: &[u8], mut is: impl FnMut(&[u8])) {
    if key.contains(&b'\\') {
        is(json::string(key).unwrap_or_default().as_bytes());
    } else {
        is(key.get(1..key.len().saturating_sub(1)).unwrap_or_default());
    }
}

/// Whether a JSON value counts as true in Python.
fn is_truthy(value: &[u8]) -> bool {
    match value.first() {
        None | Some(b'f' | b'n') => false,
        Some(b'"') => value.len() > 2,
        Some(b'[' | b'{') => {
            let inner = value.get(1..value.len().saturating_sub(1));
            inner.is_some_and(|inner| !inner.trim_ascii().is_empty())
        }
        Some(b'-' | b'0'..=b'9') => {
            let digits = value.iter();
            let mut mantissa = digits.take_while(|octet| !matches!(octet, b'e' | b'E'));
            mantissa.any(|octet| matches!(octet, b'1'..=b'9'))
        }
        Some(_) => true,
    }
}
