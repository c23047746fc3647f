//! Pseudo headers: what HTTP and streams say of a call and the VSP has no header for. Their names
//! begin with a colon, as those of HTTP/2 do; no HTTP field's does.
//!
//! | header | in | meaning |
//! |---|---|---|
//! | `:method` | request | it came by HTTP, with this method |
//! | `:scheme`, `:authority`, `:path` | request | as in HTTP/2: `:path` is path and query |
//! | `:deadline` | request | `head`: `timeout-ms` is the time to the head of the reply; what streams behind it has none |
//! | `:reply` | request | `stream`: the caller takes a stream for its reply also where it opened none |
//! | `:status` | response | the status for a client that came by HTTP |
//! | `:body` | both | `one`, `messages` or `octets`: what the body is |
//! | `:trailer:NAME` | both | follows the body |
//! | `::NAME` | both | header NAME of the application, which the VSP has a meaning of its own for |
//!
//! Headers that come with any of these are all the application's (`Headers::are_fields`). A peer that
//! knows none of them takes them for headers of the application that it does not ask for.

use bytes::Bytes;

use super::is_hop_header;
use crate::{
    body::{Body, BodyKind, BodyStream},
    call::{Call, Reply},
    error::Error,
    headers::{HeaderError, Headers, HeadersBuilder},
    http::{HttpFacts, HttpStatus},
    text::Text,
};

const METHOD: &[u8] = b":method";
const SCHEME: &[u8] = b":scheme";
const AUTHORITY: &[u8] = b":authority";
const PATH: &[u8] = b":path";
const DEADLINE: &[u8] = b":deadline";
const REPLY: &[u8] = b":reply";
const STATUS: &[u8] = b":status";
const BODY: &[u8] = b":body";
const TRAILER: &[u8] = b":trailer:";
const ESCAPE: &[u8] = b"::";

/// The head of a reply, before anything of its body.
#[derive(Debug, Default)]
pub struct ReplyHead {
    pub headers: Headers,
    pub status: Option<HttpStatus>,
    /// What the peer says that the body is, if it says so.
    pub kind: Option<BodyKind>,
}

/// A body that is at hand, as one frame carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub octets: Bytes,
    /// What it was before it was collected.
    pub kind: BodyKind,
    pub trailers: Option<Headers>,
    /// Of a request: whether the reply may be a stream, although none is opened.
    pub takes_stream: bool,
}

/// What the pseudo headers of a frame say.
#[derive(Debug, Default)]
pub(super) struct Pseudo {
    http: Option<Box<HttpFacts>>,
    status: Option<HttpStatus>,
    kind: Option<BodyKind>,
    trailers: Option<Headers>,
    pub(super) takes_stream: bool,
    is_deadline_of_head: bool,
    /// Those of the application.
    pub(super) headers: Headers,
}

impl ReplyHead {
    /// What `headers` say of a reply.
    #[must_use]
    pub fn read(headers: Headers) -> Self {
        if !has_pseudo(&headers) {
            let (status, kind) = (None, None);
            return Self {
                headers,
                status,
                kind,
            };
        }
        let pseudo = Pseudo::read(&headers);
        Self {
            headers: pseudo.headers,
            status: pseudo.status,
            kind: pseudo.kind,
        }
    }
}

impl Payload {
    /// One message, which nothing follows.
    #[must_use]
    pub const fn one(octets: Bytes) -> Self {
        Self {
            octets,
            kind: BodyKind::One,
            trailers: None,
            takes_stream: false,
        }
    }

    /// Nothing: the body follows as a stream.
    #[must_use]
    pub fn opening(kind: BodyKind) -> Self {
        // Of messages, unless a peer is told otherwise.
        let kind = match kind {
            BodyKind::Octets => BodyKind::Octets,
            BodyKind::One | BodyKind::Messages => BodyKind::One,
        };
        Self {
            kind,
            ..Self::one(Bytes::new())
        }
    }

    /// Collects `body`.
    ///
    /// # Errors
    /// As `Body::collect`.
    pub async fn collect(body: Body, bytes_max: usize) -> Result<Self, Error> {
        let kind = body.kind();
        let (octets, trailers) = body.collect(bytes_max).await?;
        Ok(Self {
            octets,
            kind,
            trailers,
            takes_stream: false,
        })
    }

    /// What a peer is told of the body beside its octets.
    pub(super) fn push(&self, builder: &mut HeadersBuilder) -> Result<(), HeaderError> {
        if self.kind != BodyKind::One {
            push_kind(builder, self.kind)?;
        }
        if self.takes_stream {
            builder.push(REPLY, "stream")?;
        }
        push_trailers(builder, self.trailers.as_ref())
    }
}

impl Pseudo {
    /// Takes the pseudo headers from among `headers`, and those of the VSP with them; what is left
    /// are the application's.
    pub(super) fn read(headers: &Headers) -> Self {
        let mut pseudo = Self::default();
        let mut facts = HttpFacts::default();
        let mut has_facts = false;
        let mut fields = HeadersBuilder::fields(8, headers.section().len());
        let mut trailers: Option<HeadersBuilder> = None;
        for (key, value) in headers.iter() {
            let text = || Text::from_utf8(Bytes::copy_from_slice(&value)).unwrap_or_default();
            match key {
                METHOD => {
                    facts.method = text();
                    has_facts = true;
                }
                SCHEME => facts.scheme = text(),
                AUTHORITY => facts.authority = text(),
                PATH => (facts.path, facts.query) = HttpFacts::split_target(&text()),
                DEADLINE => pseudo.is_deadline_of_head = &*value == b"head",
                REPLY => pseudo.takes_stream = &*value == b"stream",
                STATUS => pseudo.status = read_status(&value),
                BODY => pseudo.kind = BodyKind::from_name(&value),
                key => {
                    let (into, name) = if let Some(name) = key.strip_prefix(TRAILER) {
                        let trailers =
                            trailers.get_or_insert_with(|| HeadersBuilder::fields(4, 64));
                        (trailers, name)
                    } else if let Some(name) = key.strip_prefix(ESCAPE) {
                        (&mut fields, name)
                    } else if is_hop_header(key) && key != b"traceparent" {
                        continue;
                    } else {
                        (&mut fields, key)
                    };
                    // Cannot fail: parts of a section are shorter than what fields take.
                    let pushed = into.push(name, value);
                    debug_assert!(pushed.is_ok());
                }
            }
        }
        pseudo.http = has_facts.then(|| Box::new(facts));
        pseudo.trailers = trailers.map(HeadersBuilder::build);
        pseudo.headers = fields.build();
        pseudo
    }

    pub(super) fn apply_to_call(self, call: &mut Call) {
        call.body = body(std::mem::take(&mut call.body), self.kind, self.trailers);
        call.headers = self.headers;
        call.http = self.http;
        call.context.is_deadline_of_head = self.is_deadline_of_head;
    }

    pub(super) fn apply_to_reply(self, reply: &mut Reply) {
        reply.body = body(std::mem::take(&mut reply.body), self.kind, self.trailers);
        reply.headers = self.headers;
        reply.status = self.status;
    }
}

/// Whether any of `headers` is a pseudo header.
pub(super) fn has_pseudo(headers: &Headers) -> bool {
    headers.entries().any(|(key, _)| is_pseudo(key))
}

/// Whether `key` is a pseudo header. Other keys with a colon are the application's.
pub(super) fn is_pseudo(key: &[u8]) -> bool {
    key.first() == Some(&b':')
        && (matches!(
            key,
            METHOD | SCHEME | AUTHORITY | PATH | DEADLINE | REPLY | STATUS | BODY
        ) || key.starts_with(ESCAPE)
            || key.starts_with(TRAILER))
}

/// What follows a body, among the headers of the frame that ends it.
#[must_use]
pub fn read_trailers(headers: &Headers) -> Option<Headers> {
    let mut trailers: Option<HeadersBuilder> = None;
    for (key, value) in headers.iter() {
        if let Some(name) = key.strip_prefix(TRAILER) {
            let trailers = trailers.get_or_insert_with(|| HeadersBuilder::fields(4, 64));
            // Cannot fail: parts of a section are shorter than what fields take.
            let pushed = trailers.push(name, value);
            debug_assert!(pushed.is_ok());
        }
    }
    trailers.map(HeadersBuilder::build)
}

/// The application's headers, beside those of the VSP.
pub(super) fn push_headers(
    builder: &mut HeadersBuilder,
    headers: &Headers,
) -> Result<(), HeaderError> {
    let are_fields = headers.are_fields();
    for (key, value) in headers.iter() {
        if !(is_hop_header(key) || are_fields && is_taken(key)) {
            builder.push(key, value)?;
        } else if are_fields {
            builder.push([ESCAPE, key].concat(), value)?;
        }
    }
    Ok(())
}

/// As `push_headers`, of a request, whose trace context is written already.
pub(super) fn push_request_headers(
    builder: &mut HeadersBuilder,
    headers: &Headers,
) -> Result<(), HeaderError> {
    if headers.are_fields() && headers.get(b"traceparent").is_some() {
        return push_headers(builder, &headers.without_key(b"traceparent"));
    }
    push_headers(builder, headers)
}

pub(super) fn push_http(
    builder: &mut HeadersBuilder,
    http: Option<&HttpFacts>,
) -> Result<(), HeaderError> {
    let Some(http) = http else { return Ok(()) };
    builder.push(METHOD, http.method.as_bytes())?;
    for (key, value) in [(SCHEME, &http.scheme), (AUTHORITY, &http.authority)] {
        if !value.is_empty() {
            builder.push(key, value.as_bytes())?;
        }
    }
    builder.push(PATH, http.target())
}

pub(super) fn push_deadline_of_head(builder: &mut HeadersBuilder) -> Result<(), HeaderError> {
    builder.push(DEADLINE, "head")
}

pub(super) fn push_status(
    builder: &mut HeadersBuilder,
    status: Option<HttpStatus>,
) -> Result<(), HeaderError> {
    match status {
        Some(status) => builder.push(STATUS, status.number().to_string()),
        None => Ok(()),
    }
}

pub(super) fn push_kind(builder: &mut HeadersBuilder, kind: BodyKind) -> Result<(), HeaderError> {
    builder.push(BODY, kind.name())
}

pub(super) fn push_trailers(
    builder: &mut HeadersBuilder,
    trailers: Option<&Headers>,
) -> Result<(), HeaderError> {
    let Some(trailers) = trailers else {
        return Ok(());
    };
    for (name, value) in trailers.iter() {
        builder.push([TRAILER, name].concat(), value)?;
    }
    Ok(())
}

/// A body at hand as what it was before it was collected.
fn body(body: Body, kind: Option<BodyKind>, trailers: Option<Headers>) -> Body {
    let at_hand = |body: Body| match body {
        Body::One(octets) => BodyStream::once(octets, trailers),
        other @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => other.into_octets(),
    };
    match kind {
        Some(BodyKind::Octets) => Body::Octets(at_hand(body)),
        Some(BodyKind::Messages) => Body::Messages(at_hand(body)),
        Some(BodyKind::One) | None => body,
    }
}

/// Names of the application that mean something else to the VSP, or to whoever reads its frames.
fn is_taken(key: &[u8]) -> bool {
    is_pseudo(key) || matches!(key, b"session-id" | b"nonce" | b"retry")
}

/// A status that is none is as good as absent: a reply is more than its status.
fn read_status(value: &[u8]) -> Option<HttpStatus> {
    let number = std::str::from_utf8(value).ok()?.parse().ok()?;
    HttpStatus::new(number).ok()
}
