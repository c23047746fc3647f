//! An HTTP request in, a `Call` out; or the refusal that the client reads instead.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use postern_core::{
    Blame, Body, BodyStream, Call, Context, Error, Headers, Kind, Peer, Text, TraceContext,
};
use postern_system::{clock, wait};

use super::{
    HttpConfig,
    compression::{self, Coded, Coding, decoder_bytes},
    fields, is_json, is_ndjson,
    lines::Lines,
    media_type,
    pieces::{Pieces, Silence},
    present::Present,
};
use crate::{ByteBudgetError, ConnectionBytes, HeldBytes, byte_budget::Kept};

/// Why the listener answers a request itself.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: Error,
    /// The methods that the path does serve, with 405.
    pub(super) allow: Option<Box<HeaderValue>>,
    /// Its error is written as problem details, whatever the client accepts.
    pub(super) is_problem: bool,
    /// What of the request does not fit: a list in JSON, shown as the member `errors`.
    pub(super) errors: Option<Box<Bytes>>,
}

/// What is called, and what is taken of a body.
#[derive(Debug, Clone)]
pub(super) struct CallTarget {
    pub(super) service: Text,
    pub(super) method: Text,
    /// `None` leaves it to the header `version`.
    pub(super) version: Option<Text>,
    pub(super) takes: TakenBody,
    /// Time of a call whose caller says none.
    pub(super) timeout: Option<Duration>,
}

/// Which bodies a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TakenBody {
    /// All but those that a page may send anywhere.
    #[default]
    Message,
    /// JSON and NDJSON.
    Json,
    /// As `Json`; also forms.
    Form,
    /// Whatever it is, as it flows.
    Any,
}

/// What counts as held for a call until its caller is done with it.
#[derive(Debug)]
#[expect(dead_code, reason = "counts until it is dropped, and is asked nothing")]
pub(super) enum CallBytes {
    Alone(HeldBytes),
    /// Whoever reads the body may keep more of it.
    Shared(Kept),
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Before the call begins: it is one message.
    Whole,
    /// A message a line.
    Lines,
    /// As it flows.
    Pieces,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self {
            status,
            error,
            allow: None,
            is_problem: false,
            errors: None,
        }
    }

    /// Names each member that does not fit, in a list in JSON.
    pub(super) fn with_errors(self, errors: Bytes) -> Self {
        Self {
            errors: Some(Box::new(errors)),
            ..self
        }
    }

    /// Of a method that a path does not serve.
    pub(super) fn wrong_method(method: &Method, allow: HeaderValue) -> Self {
        let named = allow.to_str().unwrap_or_default();
        let message = format!("method {method} is not served here; {named} are");
        let error = Error::new(Kind::Unimplemented, Blame::Client, message);
        Self {
            allow: Some(Box::new(allow)),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, error)
        }
    }

    /// Of a body that broke off, or is not what it says that it is.
    fn of_body(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let error = compression::read_error(error, Blame::Client);
        if error.kind == Kind::Cancelled {
            return Self::new(StatusCode::BAD_REQUEST, error);
        }
        error.into()
    }

    pub(super) fn invalid(status: StatusCode, message: String) -> Self {
        Self::new(status, Error::invalid_argument(message))
    }
}

impl From<ByteBudgetError> for Refusal {
    fn from(error: ByteBudgetError) -> Self {
        Error::from(error).into()
    }
}

/// A failed call, with the status of its kind.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        // `Error::http` gives numbers that are all legal statuses.
        let status = StatusCode::from_u16(error.http());
        Self::new(status.unwrap_or(StatusCode::BAD_GATEWAY), error)
    }
}

impl CallTarget {
    pub(super) fn new(service: Text, method: Text, takes: TakenBody) -> Self {
        Self {
            service,
            method,
            version: None,
            takes,
            timeout: None,
        }
    }
}

/// Reads a call of `target`: the head first, so that nothing is read of a body that will
/// be refused. What the headers and the body take counts as held until the caller is done with the
/// call.
pub(super) async fn read_call<B>(
    target: CallTarget,
    head: &request::Parts,
    body: B,
    config: &HttpConfig,
    peer: Arc<Peer>,
    bytes: &ConnectionBytes,
) -> Result<(Call, CallBytes), Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let present = Present::of(&head.headers);
    let content_type = content_type(&head.headers, present);
    check_content(content_type, target.takes, body.is_end_stream())?;
    let coding = coding_of(&head.headers, present, target.takes)?;
    let held = bytes.hold(fields::n_octets(&head.headers))?;
    let headers = match coding {
        None => fields::of_request(&head.headers, present),
        Some(_) => {
            let mut plain = head.headers.clone();
            plain.remove(header::CONTENT_ENCODING);
            fields::of_request(&plain, present)
        }
    };
    let mut context = context_of(&head.headers, present, peer)?;
    if context.deadline.is_none() {
        let timeout = target.timeout;
        context.deadline = timeout.and_then(|left| clock::now().checked_add(left));
    }
    let taker = BodyTaker {
        takes: target.takes,
        content_type,
        config,
        bytes,
    };
    let (body, held) = match coding {
        None => taker.take(body, held).await?,
        Some(coding) => {
            let room = bytes.hold(decoder_bytes(coding))?;
            let ratio_max = config.compression.ratio_max;
            let body = Coded::expand(body, coding, ratio_max, room);
            Box::pin(taker.take(body, held)).await?
        }
    };
    let call = Call {
        service: target.service,
        method: target.method,
        version: target.version.or_else(|| version(&head.headers, present)),
        headers,
        body,
        context,
        http: Some(Box::new(fields::facts(
            &head.method,
            &head.uri,
            &head.headers,
        ))),
    };
    Ok((call, held))
}

/// How the body of a call is taken.
struct BodyTaker<'a> {
    takes: TakenBody,
    content_type: Option<&'a str>,
    config: &'a HttpConfig,
    bytes: &'a ConnectionBytes,
}

impl BodyTaker<'_> {
    async fn take<B>(&self, body: B, mut held: HeldBytes) -> Result<(Body, CallBytes), Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self {
            takes,
            content_type,
            config,
            bytes,
        } = *self;
        let silence = || Silence::new(Some(config.body_timeout), Blame::Client);
        let form = match takes {
            TakenBody::Message | TakenBody::Json => form_of(content_type, &body),
            TakenBody::Form if content_type.is_some_and(is_form_type) => Form::Whole,
            TakenBody::Form => form_of(content_type, &body),
            TakenBody::Any if is_short(&body) => Form::Whole,
            TakenBody::Any => Form::Pieces,
        };
        Ok(match form {
            Form::Whole => {
                let body = read_message(body, config, &mut held).await?;
                (body, CallBytes::Alone(held))
            }
            Form::Lines => {
                let (kept, unfinished) = (Kept::new(held), bytes.hold(0)?);
                let lines = Lines::new(body, config.message_bytes_max, silence());
                let lines = BodyStream::from_source(lines.holding(unfinished, kept.clone()));
                (Body::Messages(lines), CallBytes::Shared(kept))
            }
            Form::Pieces => {
                let kept = Kept::new(held);
                let pieces = Pieces::new(body, silence(), Some(kept.clone()));
                let pieces = BodyStream::from_source(pieces);
                (Body::Octets(pieces), CallBytes::Shared(kept))
            }
        })
    }
}

/// What the headers say about a call.
pub(super) fn context_of(
    headers: &HeaderMap,
    present: Present,
    peer: Arc<Peer>,
) -> Result<Context, Refusal> {
    let trace = present.get(Present::TRACEPARENT, headers, &["traceparent"]);
    let timeout = read_timeout(headers, present)?;
    Ok(Context {
        deadline: timeout.and_then(|left| clock::now().checked_add(left)),
        // A caller that says none waits for as long as something comes.
        is_deadline_of_head: timeout.is_none(),
        peer,
        correlation: correlation(headers, present).unwrap_or_default(),
        trace: trace
            .and_then(text)
            .and_then(|trace| TraceContext::parse(&trace)),
        priority: priority(headers, present),
        ..Context::default()
    })
}

/// The service's version that the headers ask for.
pub(super) fn version(headers: &HeaderMap, present: Present) -> Option<Text> {
    text(present.get(Present::VERSION, headers, &["version"])?)
}

/// The caller's correlation id, which the reply echoes whatever comes of the call.
pub(super) fn correlation(headers: &HeaderMap, present: Present) -> Option<Text> {
    let names = [super::CORRELATION_HEADER, "correlation-id"];
    text(present.get(Present::CORRELATION, headers, &names)?)
}

/// What the body is said to be.
pub(super) fn content_type(headers: &HeaderMap, present: Present) -> Option<&str> {
    let is_there = present.contains(Present::CONTENT_TYPE);
    let value = is_there.then(|| headers.get(header::CONTENT_TYPE))??;
    str::from_utf8(value.as_bytes()).ok()
}

/// Refuses bodies that are not taken.
///
/// The three media types of `PAGE_TYPES` are those that a web page may send anywhere without asking
/// (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>); handlers on localhost must not be
/// reachable so, unless a route says that it takes them.
fn check_content(
    content_type: Option<&str>,
    takes: TakenBody,
    is_empty: bool,
) -> Result<(), Refusal> {
    const PAGE_TYPES: [&str; 3] = [FORM, MULTIPART, "text/plain"];
    if takes == TakenBody::Any {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if let Some(value) = content_type {
        let is_of_page = || {
            let media = media_type(value);
            PAGE_TYPES.iter().any(|one| media.eq_ignore_ascii_case(one))
        };
        let is_taken = match takes {
            TakenBody::Message => !is_of_page(),
            TakenBody::Json => is_empty && !is_of_page(),
            TakenBody::Form => is_form_type(value) || (is_empty && !is_of_page()),
            TakenBody::Any => true,
        };
        if !(is_json(value) || is_taken || (takes != TakenBody::Message && is_ndjson(value))) {
            let media = media_type(value);
            let message = format!(
                "content type {media} is not accepted; send application/json (curl: -H 'content-type: application/json')"
            );
            return Err(Refusal::invalid(status, message));
        }
    }
    Ok(())
}

/// How a body is coded that somebody here reads; what is passed on stays as it is.
fn coding_of(
    headers: &HeaderMap,
    present: Present,
    takes: TakenBody,
) -> Result<Option<Coding>, Refusal> {
    if takes == TakenBody::Any || !present.contains(Present::CONTENT_ENCODING) {
        return Ok(None);
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    compression::of_request(headers).map_err(|message| Refusal::invalid(status, message))
}

/// Whether the body is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers, Present::CONTENT_TYPE).is_some_and(is_form_type)
}

fn is_form_type(value: &str) -> bool {
    let media = media_type(value);
    [FORM, MULTIPART]
        .iter()
        .any(|form| media.eq_ignore_ascii_case(form))
}

/// JSON is one message. What is something else flows, but for what is short and of a known length:
/// it may be looked at, and sent once more.
pub(super) fn form_of<B: HttpBody>(content_type: Option<&str>, body: &B) -> Form {
    let Some(kind) = content_type else {
        return Form::Whole;
    };
    if is_json(kind) {
        Form::Whole
    } else if is_ndjson(kind) {
        Form::Lines
    } else if is_short(body) {
        Form::Whole
    } else {
        Form::Pieces
    }
}

fn is_short<B: HttpBody>(body: &B) -> bool {
    let length = body.size_hint().exact();
    length.is_some_and(|length| length <= WHOLE_BYTES_MAX)
}

/// What is left until the caller stops waiting, as it says.
fn read_timeout(headers: &HeaderMap, present: Present) -> Result<Option<Duration>, Refusal> {
    if !present.contains(Present::TIMEOUT) {
        return Ok(None);
    }
    for name in fields::TIMEOUTS {
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

fn priority(headers: &HeaderMap, present: Present) -> u8 {
    let value = present.get(Present::PRIORITY, headers, &["priority"]);
    value
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or_else(|| Context::default().priority)
}

fn text(value: &HeaderValue) -> Option<Text> {
    Text::from_utf8(Bytes::copy_from_slice(value.as_bytes())).ok()
}

/// Reads the one message of a unary call within the time for it.
pub(super) async fn read_message<B>(
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
    let (octets, trailers) = wait::within(config.body_timeout, reading)
        .await
        .ok_or_else(|| {
            let limit = config.body_timeout.as_millis();
            let message = format!("the body did not arrive within {limit} ms");
            let error = Error::deadline_exceeded(Blame::Client, message);
            Refusal::new(StatusCode::REQUEST_TIMEOUT, error)
        })??;
    Ok(match trailers {
        Some(_) => Body::Octets(BodyStream::once(octets, trailers)),
        None if octets.is_empty() => Body::Empty,
        None => Body::One(octets),
    })
}

/// Joins a body; one that comes in a single piece is not copied. Room is made for what has arrived and
/// is held, not for what is declared.
async fn collect<B>(
    mut body: B,
    bytes_max: usize,
    held: &mut HeldBytes,
) -> Result<(Bytes, Option<Headers>), Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    check_length(declared, bytes_max)?;
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::of_body(error.into()))?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.trailers_ref().and_then(fields::of_trailers);
                continue;
            }
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
    let octets = if joined.is_empty() {
        first
    } else {
        joined.freeze()
    };
    Ok((octets, trailers))
}

fn check_length(length: usize, limit: usize) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    let message = format!("body of {length} octets or more exceeds the limit of {limit}");
    let error = Error::invalid_argument(message).with_too_large();
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error))
}

/// Forms of web pages: <https://html.spec.whatwg.org/multipage/form-control-infrastructure.html>.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const MULTIPART: &str = "multipart/form-data";
/// Longest body of a known length and of any content that is read before its call begins, in octets:
/// about the initial window of HTTP/2 (RFC 9113 section 6.9.2).
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
