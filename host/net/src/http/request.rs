//! An HTTP request in, a `Call` out; or the refusal that the client reads instead.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header, request};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use postern_core::{
    Blame, Body, BodyStream, Call, Context, Error, Headers, Kind, Peer, Text, TraceContext,
    headers::HeadersBuilder,
};
use postern_system::clock;

use super::{HttpConfig, is_hop_by_hop, is_ndjson, lines::Lines, media_type};
use crate::{ByteBudgetError, ConnectionBytes, HeldBytes};

/// Why the listener answers a request itself.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: Error,
    /// The methods that the path does serve, with 405.
    pub(super) allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self {
            status,
            error,
            allow: None,
        }
    }

    pub(super) fn invalid(status: StatusCode, message: String) -> Self {
        Self::new(status, Error::invalid_argument(message))
    }
}

impl From<ByteBudgetError> for Refusal {
    fn from(error: ByteBudgetError) -> Self {
        let error = Error::from(error);
        let status = StatusCode::from_u16(error.http());
        Self::new(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), error)
    }
}

/// Reads a call of `service`/`method`: the head first, so that nothing is read of a body that will
/// be refused. What the headers and the body take counts as held until the caller is done with the
/// call.
pub(super) async fn read_call<B>(
    (service, method): (Text, Text),
    head: &request::Parts,
    body: B,
    config: &HttpConfig,
    peer: Arc<Peer>,
    bytes: &ConnectionBytes,
) -> Result<(Call, HeldBytes), Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    check_content(&head.headers)?;
    let mut held = bytes.hold(section_bytes(&head.headers))?;
    let headers = to_call_headers(&head.headers)?;
    let context = Context {
        deadline: read_timeout(&head.headers)?.and_then(|left| clock::now().checked_add(left)),
        peer,
        correlation: correlation(&head.headers).unwrap_or_default(),
        trace: text(&head.headers, "traceparent").and_then(|trace| TraceContext::parse(&trace)),
        priority: priority(&head.headers),
        ..Context::default()
    };
    let is_stream = text(&head.headers, "content-type").is_some_and(|value| is_ndjson(&value));
    let body = if is_stream {
        let (line_bytes_max, timeout) = (config.message_bytes_max, Some(config.body_timeout));
        let lines = Lines::new(body, line_bytes_max, timeout, Blame::Client);
        let lines = lines.holding(bytes.hold(0)?);
        Body::Many(BodyStream::new(lines))
    } else {
        read_message(body, config, &mut held).await?
    };
    let version = text(&head.headers, "version");
    let call = Call {
        service,
        method,
        version,
        headers,
        body,
        context,
    };
    Ok((call, held))
}

/// The caller's correlation id, which the reply echoes whatever comes of the call.
pub(super) fn correlation(headers: &HeaderMap) -> Option<Text> {
    text(headers, super::CORRELATION_HEADER).or_else(|| text(headers, "correlation-id"))
}

/// Refuses bodies that cannot be a message for a handler.
///
/// The three refused media types are those that a web page may send anywhere without asking
/// (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>); handlers on localhost must not be
/// reachable so.
fn check_content(headers: &HeaderMap) -> Result<(), Refusal> {
    const REFUSED: [&str; 3] = [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ];
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if let Some(value) = text(headers, "content-type") {
        let media = media_type(&value);
        if REFUSED
            .iter()
            .any(|refused| media.eq_ignore_ascii_case(refused))
        {
            let message = format!(
                "content type {media} is not accepted; send application/json (curl: -H 'content-type: application/json')"
            );
            return Err(Refusal::invalid(status, message));
        }
    }
    match text(headers, "content-encoding") {
        Some(value) if !value.eq_ignore_ascii_case("identity") => {
            let message = format!("content encoding {value} is not accepted; send identity");
            Err(Refusal::invalid(status, message))
        }
        _ => Ok(()),
    }
}

/// Octets of a header section with every field written out. HPACK sends a field that was sent before
/// in one octet, so what a section takes up is not what came over the wire.
fn section_bytes(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 2)
        .sum()
}

/// All headers but those of the connection and those that the call's context holds instead.
fn to_call_headers(headers: &HeaderMap) -> Result<Headers, Refusal> {
    // What `connection` most often says, which names no field or one that never passes.
    const OPTIONS: [&str; 3] = ["keep-alive", "close", "upgrade"];
    let listed: HashSet<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|listed| listed.to_str().ok())
        .flat_map(|listed| listed.split(',').map(str::trim))
        .filter(|item| !OPTIONS.iter().any(|known| item.eq_ignore_ascii_case(known)))
        .map(str::to_ascii_lowercase)
        .collect();
    let mut builder = HeadersBuilder::with_capacity(section_bytes(headers));
    for (name, value) in headers {
        let name = name.as_str();
        if is_hop_by_hop(name) || TIMEOUTS.contains(&name) || listed.contains(name) {
            continue;
        }
        builder.push(name, value).map_err(|error| {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Refusal::invalid(status, error.to_string())
        })?;
    }
    Ok(builder.build())
}

/// What is left until the caller stops waiting, as it says.
fn read_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    for name in TIMEOUTS {
        let Some(value) = headers.get(name) else {
            continue;
        };
        let number = value.to_str().ok().and_then(|value| value.parse().ok());
        return number.map(Duration::from_millis).map(Some).ok_or_else(|| {
            let message = format!("{name} {value:?} is not a number of milliseconds");
            Refusal::invalid(StatusCode::BAD_REQUEST, message)
        });
    }
    Ok(None)
}

fn priority(headers: &HeaderMap) -> u8 {
    let value = headers
        .get("priority")
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| Context::default().priority)
}

fn text(headers: &HeaderMap, name: &str) -> Option<Text> {
    let value = headers.get(name)?;
    Text::from_utf8(Bytes::copy_from_slice(value.as_bytes())).ok()
}

/// Reads the one message of a unary call within the time for it.
async fn read_message<B>(
    body: B,
    config: &HttpConfig,
    held: &mut HeldBytes,
) -> Result<Body, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Body::Empty);
    }
    let reading = collect(body, config.message_bytes_max, held);
    let octets = tokio::time::timeout(config.body_timeout, reading)
        .await
        .map_err(|_| {
            let limit = config.body_timeout.as_millis();
            let message = format!("the body did not arrive within {limit} ms");
            let error = Error::deadline_exceeded(Blame::Client, message);
            Refusal::new(StatusCode::REQUEST_TIMEOUT, error)
        })??;
    Ok(if octets.is_empty() {
        Body::Empty
    } else {
        Body::One(octets)
    })
}

/// Joins a body; one that comes in a single piece is not copied. Room is made for what has arrived and
/// is held, not for what is declared.
async fn collect<B>(mut body: B, bytes_max: usize, held: &mut HeldBytes) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    check_length(declared, bytes_max)?;
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error = Error::new(Kind::Cancelled, Blame::Client, "the body ended early")
                .with_source(error);
            Refusal::new(StatusCode::BAD_REQUEST, error)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        check_length(first.len() + joined.len() + data.len(), bytes_max)?;
        held.grow(data.len())?;
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(first.len() + data.len());
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })
}

fn check_length(length: usize, limit: usize) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    let message = format!("body of {length} octets or more exceeds the limit of {limit}");
    let error = Error::invalid_argument(message).with_too_large();
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))
}

/// Request headers that set the deadline; the first one that is there counts.
pub(super) const TIMEOUTS: [&str; 2] = ["timeout-ms", "x-timeout-ms"];

/// Sets `name` on an outgoing head; a value that HTTP cannot carry is left out.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = header::HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
