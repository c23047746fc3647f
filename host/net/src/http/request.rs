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
    compression::{self, Coded, Expansion, decoder_bytes},
    content::{
        Form, TakenBody, check_content, coding_of, content_type, form_of, is_form_type, is_short,
    },
    fields,
    lines::Lines,
    pieces::{Pieces, Silence},
    present::Present,
    problem::ErrorShape,
};
use crate::{ByteBudgetError, ConnectionBytes, HeldBytes, byte_budget::Kept};

/// Why the listener answers a request itself.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: Error,
    /// How its error is written, unless the client accepts problem details.
    pub(super) shape: ErrorShape,
    pub(super) detail: Option<Box<RefusalDetail>>,
}

/// What the client is told beside the error.
#[derive(Debug)]
pub(super) enum RefusalDetail {
    /// The methods that the path does serve, with 405.
    Allow(HeaderValue),
    /// What of the request does not fit: a list in JSON, shown as the member `errors`.
    Errors(Bytes),
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

/// What counts as held for a call until its caller is done with it.
#[derive(Debug)]
#[expect(dead_code, reason = "counts until it is dropped, and is asked nothing")]
pub(super) enum CallBytes {
    Alone(HeldBytes),
    /// Whoever reads the body may keep more of it.
    Shared(Kept),
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: Error) -> Self {
        Self {
            status,
            error,
            shape: ErrorShape::Usual,
            detail: None,
        }
    }

    /// Names each member that does not fit, in a list in JSON.
    pub(super) fn with_errors(self, errors: Bytes) -> Self {
        Self {
            detail: Some(Box::new(RefusalDetail::Errors(errors))),
            ..self
        }
    }

    /// Of a method that a path does not serve.
    pub(super) fn wrong_method(method: &Method, allow: HeaderValue) -> Self {
        let named = allow.to_str().unwrap_or_default();
        let message = format!("method {method} is not served here; {named} are");
        let error = Error::new(Kind::Unimplemented, Blame::Client, message);
        Self {
            detail: Some(Box::new(RefusalDetail::Allow(allow))),
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

/// Reads a call of `target`: the head first, whose fields `present` tells of, so that nothing is read of
/// a body that will be refused. What the headers and the body take counts as held until the caller is done with the
/// call.
pub(super) async fn read_call<B>(
    target: CallTarget,
    head: &request::Parts,
    present: Present,
    body: B,
    config: &HttpConfig,
    peer: Arc<Peer>,
    bytes: &ConnectionBytes,
) -> Result<(Call, CallBytes), Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let content_type = content_type(&head.headers, present);
    check_content(content_type, target.takes, body.is_end_stream())?;
    let coding = coding_of(&head.headers, present, target.takes)?;
    let n_octets = fields::n_octets(&head.headers);
    let held = bytes.hold(n_octets)?;
    let headers = match coding {
        None => fields::of_request(&head.headers, present, n_octets),
        Some(_) => {
            let mut plain = head.headers.clone();
            plain.remove(header::CONTENT_ENCODING);
            fields::of_request(&plain, present, n_octets)
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
            let expansion = Expansion::of_request(config.compression.ratio_max);
            let body = Coded::expand(body, coding, expansion, room);
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
            TakenBody::Whole => Form::Whole,
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
        correlation: correlation(headers, present).unwrap_or_default(),
        trace: trace
            .and_then(text)
            .and_then(|trace| TraceContext::parse(&trace)),
        priority: priority(headers, present),
        ..Context::of(peer)
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
        .unwrap_or(Context::USUAL_PRIORITY)
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

#[cfg(test)]
mod tests;
