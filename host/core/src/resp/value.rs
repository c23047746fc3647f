//! Replies and pushes into octets, in version 2 or 3 of the protocol.
//!
//! | value | version 2 | version 3 |
//! | --- | --- | --- |
//! | `Simple`, `Error`, `Integer`, `Bulk`, `Array` | `+ - : $ *` | the same |
//! | `Null`, `NullArray` | `$-1`, `*-1` | `_` |
//! | `Map`, `Set`, `Push` | `*`, a map's keys and values alternating | `% ~ >` |
//! | `Boolean` | `:1`, `:0` | `#t`, `#f` |
//! | `Double` | `$`, its text | `,` |
//! | `Verbatim` | `$` | `=`, with `txt:` |

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::request::NumberLine;

/// What is said to a client.
#[derive(Debug, Clone, PartialEq)]
pub enum RespValue {
    /// One line.
    Simple(Cow<'static, str>),
    /// One line whose first word says what kind of error it is.
    Error(Cow<'static, str>),
    Integer(i64),
    Bulk(Bytes),
    Null,
    NullArray,
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Set(Vec<Self>),
    /// Said without having been asked.
    Push(Vec<Self>),
    Boolean(bool),
    Double(f64),
    /// Text for people.
    Verbatim(Bytes),
    /// Several replies to one request, as `SUBSCRIBE a b` has.
    Each(Vec<Self>),
}

/// The version of the protocol that a client has asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RespVersion {
    #[default]
    V2,
    V3,
}

impl RespValue {
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));

    #[must_use]
    pub fn bulk(octets: impl Into<Bytes>) -> Self {
        Self::Bulk(octets.into())
    }

    #[must_use]
    pub const fn text(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    #[must_use]
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(text.into())
    }

    #[must_use]
    pub fn count(n: usize) -> Self {
        Self::Integer(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// A bulk string, or null.
    #[must_use]
    pub fn maybe(octets: Option<Bytes>) -> Self {
        octets.map_or(Self::Null, Self::Bulk)
    }

    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Octets of strings in it, about: what it holds of memory.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Bulk(octets) | Self::Verbatim(octets) => octets.len() + VALUE_BYTES,
            Self::Array(values) | Self::Set(values) | Self::Push(values) | Self::Each(values) => {
                values.iter().map(Self::n_bytes).sum::<usize>() + VALUE_BYTES
            }
            Self::Map(pairs) => {
                let pairs = pairs.iter();
                pairs
                    .map(|(key, value)| key.n_bytes() + value.n_bytes())
                    .sum::<usize>()
                    + VALUE_BYTES
            }
            Self::Simple(_)
            | Self::Error(_)
            | Self::Integer(_)
            | Self::Null
            | Self::NullArray
            | Self::Boolean(_)
            | Self::Double(_) => VALUE_BYTES,
        }
    }

    /// Appends it.
    pub fn encode(&self, version: RespVersion, out: &mut BytesMut) {
        use RespVersion::{V2, V3};
        match (self, version) {
            (Self::Simple(line), _) => push_line(out, b'+', line),
            (Self::Error(line), _) => push_line(out, b'-', line),
            (Self::Integer(number), _) => push_number(out, b':', *number),
            (Self::Bulk(octets), _) => push_bulk(out, octets),
            (Self::Null, V2) => out.extend_from_slice(b"$-1\r\n"),
            (Self::NullArray, V2) => out.extend_from_slice(b"*-1\r\n"),
            (Self::Null | Self::NullArray, V3) => out.extend_from_slice(b"_\r\n"),
            (Self::Array(values), _) => push_all(out, b'*', values, version),
            (Self::Set(values), V3) => push_all(out, b'~', values, version),
            (Self::Push(values), V3) => push_all(out, b'>', values, version),
            (Self::Set(values) | Self::Push(values), V2) => push_all(out, b'*', values, version),
            (Self::Map(pairs), _) => {
                match version {
                    V2 => push_count(out, b'*', pairs.len().saturating_mul(2)),
                    V3 => push_count(out, b'%', pairs.len()),
                }
                for (key, value) in pairs {
                    key.encode(version, out);
                    value.encode(version, out);
                }
            }
            (Self::Boolean(value), V2) => push_number(out, b':', i64::from(*value)),
            (Self::Boolean(true), V3) => out.extend_from_slice(b"#t\r\n"),
            (Self::Boolean(false), V3) => out.extend_from_slice(b"#f\r\n"),
            (Self::Double(number), V2) => push_bulk(out, number.to_string().as_bytes()),
            (Self::Double(number), V3) => push_line(out, b',', &number.to_string()),
            (Self::Verbatim(octets), V2) => push_bulk(out, octets),
            (Self::Verbatim(octets), V3) => {
                push_count(out, b'=', octets.len().saturating_add(VERBATIM_KIND.len()));
                out.extend_from_slice(VERBATIM_KIND);
                out.extend_from_slice(octets);
                out.extend_from_slice(b"\r\n");
            }
            (Self::Each(values), _) => {
                for value in values {
                    value.encode(version, out);
                }
            }
        }
    }
}

/// Appends an event of a channel: `message`, or `pmessage` with the `pattern` that it was asked by.
pub fn encode_event(
    version: RespVersion,
    pattern: Option<&[u8]>,
    channel: &[u8],
    payload: &[u8],
    out: &mut BytesMut,
) {
    out.reserve(channel.len() + payload.len() + EVENT_BYTES);
    let begin: &[u8] = match (version, pattern) {
        (RespVersion::V2, None) => b"*3\r\n$7\r\nmessage\r\n",
        (RespVersion::V3, None) => b">3\r\n$7\r\nmessage\r\n",
        (RespVersion::V2, Some(_)) => b"*4\r\n$8\r\npmessage\r\n",
        (RespVersion::V3, Some(_)) => b">4\r\n$8\r\npmessage\r\n",
    };
    out.extend_from_slice(begin);
    if let Some(pattern) = pattern {
        push_bulk(out, pattern);
    }
    push_bulk(out, channel);
    push_bulk(out, payload);
}

/// Text that is one line: whoever wrote it, it cannot end the reply that it stands in.
#[must_use]
pub fn sanitized(text: &str) -> Cow<'_, str> {
    match text.contains(['\r', '\n']) {
        true => Cow::Owned(text.replace(['\r', '\n'], " ")),
        false => Cow::Borrowed(text),
    }
}

fn push_all(out: &mut BytesMut, sign: u8, values: &[RespValue], version: RespVersion) {
    push_count(out, sign, values.len());
    for value in values {
        value.encode(version, out);
    }
}

fn push_line(out: &mut BytesMut, sign: u8, line: &str) {
    out.extend_from_slice(&[sign]);
    out.extend_from_slice(sanitized(line).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_bulk(out: &mut BytesMut, octets: &[u8]) {
    push_count(out, b'$', octets.len());
    out.extend_from_slice(octets);
    out.extend_from_slice(b"\r\n");
}

fn push_count(out: &mut BytesMut, sign: u8, count: usize) {
    out.extend_from_slice(NumberLine::count(sign, count).as_bytes());
}

fn push_number(out: &mut BytesMut, sign: u8, number: i64) {
    out.extend_from_slice(NumberLine::new(sign, number).as_bytes());
}

/// What a verbatim string says of itself: plain text.
const VERBATIM_KIND: &[u8] = b"txt:";
/// Charged for a value beside its octets.
const VALUE_BYTES: usize = 32;
/// Signs and lengths of an event, at most.
const EVENT_BYTES: usize = 64;
