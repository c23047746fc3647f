//! A request that goes to an upstream as a call that is forwarded.
//!
//! | of the request | in the call |
//! | --- | --- |
//! | method, target, host | `HttpFacts`; method of the call is that of the request |
//! | fields of the connection, and those that `connection` names | nowhere |
//! | `content-length`, `te: trailers`, `expect: 100-continue` | stay: the back says the same anew |
//! | `cookie` in pieces, of HTTP/2 | one field (RFC 9113 section 8.2.3) |
//! | claims of where it came from | `claims.rs` |
//! | `upgrade: websocket` | `HttpFacts::upgrade`; the body is what the client sends then |
//! | a short body of known length | one message, so that another instance may be tried |
//! | any other body | octets as they come |
//!
//! No other protocol is asked for: a connection that goes on as HTTP/2 would carry requests that nobody
//! here sees.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header, request};
use http_body::Body as HttpBody;
use postern_core::{
    Blame, Body, BodyStream, Call, Context, Error, Headers, HttpFacts, Kind, Text, TraceContext,
    headers::HeadersBuilder,
};
use postern_system::random;

use super::{
    claims::{Claims, Hop},
    tunnel::{self, FromClient},
};
use crate::{
    byte_budget::Kept,
    http::{
        HttpConfig,
        asker::Asker,
        fields::{self, listed},
        is_hop_by_hop,
        pieces::{Pieces, Silence},
        present::Present,
        request::{self as calls, CallBytes, Refusal},
        upgrade::asked_protocol,
    },
};

/// What is kept of a request while its call is answered.
pub(in crate::http) struct Asked {
    pub(super) held: CallBytes,
    /// Of a client that asks to go on in another protocol.
    pub(super) from_client: Option<FromClient>,
}

/// Reads a request to `service`. `facts` are those of the request, as the upstream is to have them.
///
/// # Errors
/// What cannot be forwarded, and a body of which the connection may not hold more.
pub(in crate::http) async fn read<B>(
    service: Text,
    mut facts: HttpFacts,
    head: &request::Parts,
    body: B,
    config: &HttpConfig,
    asker: &Asker,
) -> Result<(Call, Asked), Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let asked = asked_protocol(head).filter(|_| body.is_end_stream());
    let asks_to_go_on = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(WEBSOCKET));
    if head.method == Method::CONNECT && !asks_to_go_on {
        let message = "CONNECT is not forwarded";
        let error = Error::new(Kind::Unimplemented, Blame::Client, message);
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, error));
    }
    let bytes = &asker.bytes;
    let mut held = bytes.hold(fields::n_octets(&head.headers))?;
    let present = Present::of(&head.headers);
    let has_body = !body.is_end_stream();
    let headers = headers(head, present, config, asker, asks_to_go_on, has_body);
    facts.is_forwarded = true;
    if asks_to_go_on {
        facts.upgrade = Some(Text::from_static(WEBSOCKET));
        // An extended CONNECT (RFC 8441) is a GET of HTTP/1.1, which upstreams are asked with.
        facts.method = Text::from_static("GET");
    }
    let (body, held, from_client) = if asks_to_go_on {
        let (from_client, body) = tunnel::body();
        (body, CallBytes::Alone(held), Some(from_client))
    } else if body.is_end_stream() {
        (Body::Empty, CallBytes::Alone(held), None)
    } else if !present.contains(Present::EXPECT) && is_short(&body) {
        // It is on its way without being asked for.
        let body = calls::read_message(body, config, &mut held).await?;
        (body, CallBytes::Alone(held), None)
    } else {
        let kept = Kept::new(held);
        let silence = Silence::new(Some(config.body_timeout), Blame::Client);
        let pieces = Pieces::new(body, silence, Some(kept.clone()));
        let body = Body::Octets(BodyStream::from_source(pieces));
        (body, CallBytes::Shared(kept), None)
    };
    let call = Call {
        service,
        method: facts.method.clone(),
        version: None,
        headers,
        body,
        context: Context {
            peer: Arc::clone(&asker.peer),
            correlation: calls::correlation(&head.headers, present).unwrap_or_default(),
            trace: trace(&head.headers, present),
            is_deadline_of_head: true,
            ..Context::default()
        },
        http: Some(Box::new(facts)),
    };
    Ok((call, Asked { held, from_client }))
}

/// Headers of the call.
fn headers(
    head: &request::Parts,
    present: Present,
    config: &HttpConfig,
    asker: &Asker,
    asks_to_go_on: bool,
    has_body: bool,
) -> Headers {
    let listed = match present.contains(Present::CONNECTION) {
        true => listed(&head.headers),
        false => HashSet::new(),
    };
    let forwarded = &config.forwarded;
    let claims = Claims::read(&head.headers, &asker.link.origin, forwarded);
    let hop = Hop {
        peer: &asker.link.origin,
        is_secure: asker.link.tls.is_some(),
        host: fields::authority(&head.uri, &head.headers),
    };
    let told = claims.fields(hop, forwarded);
    let n_told: usize = told
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let n_octets = fields::n_octets(&head.headers) + n_told + KEY_FIELD_BYTES;
    let mut builder = HeadersBuilder::fields(head.headers.len() + told.len() + 1, n_octets);
    // Cannot fail: a field of HTTP is shorter than what fields take.
    let mut push = |name: &str, value: &[u8]| {
        let pushed = builder.push(name, value);
        debug_assert!(pushed.is_ok());
    };
    let is_http2 = head.version >= Version::HTTP_2;
    let (mut is_cookie_written, mut takes_trailers) = (false, false);
    for (name, value) in &head.headers {
        takes_trailers |= name == header::TE && asks_for_trailers(value);
        if name == header::COOKIE && is_http2 {
            if !std::mem::replace(&mut is_cookie_written, true) {
                push("cookie", &joined(&head.headers));
            }
        } else if passes(name.as_str(), head, &listed, has_body)
            && !claims.replaces(name.as_str(), forwarded)
        {
            push(name.as_str(), value.as_bytes());
        }
    }
    if takes_trailers {
        push("te", b"trailers");
    }
    if asks_to_go_on && is_http2 {
        push("sec-websocket-key", websocket_key().as_bytes());
    }
    for (name, value) in told {
        push(name, value.as_bytes());
    }
    builder.build()
}

/// Whether a field goes on.
fn passes(name: &str, head: &request::Parts, listed: &HashSet<String>, has_body: bool) -> bool {
    match name {
        "content-length" => true,
        // An upstream of HTTP/1.1 is asked, and the client with it.
        "expect" => has_body && head.version == Version::HTTP_11,
        name => !is_hop_by_hop(name) && !listed.contains(name),
    }
}

fn asks_for_trailers(value: &http::HeaderValue) -> bool {
    let value = value.to_str().unwrap_or_default();
    let mut items = value.split(',');
    items.any(|item| item.trim().eq_ignore_ascii_case("trailers"))
}

/// The pieces of a cookie as one.
fn joined(headers: &HeaderMap) -> Vec<u8> {
    let pieces = headers.get_all(header::COOKIE).iter();
    let pieces: Vec<_> = pieces.map(|piece| piece.as_bytes()).collect();
    pieces.join(&b"; "[..])
}

/// Whether a body is short and of a known length.
fn is_short<B: HttpBody>(body: &B) -> bool {
    let length = body.size_hint().exact();
    length.is_some_and(|length| length <= WHOLE_BYTES_MAX)
}

fn trace(headers: &HeaderMap, present: Present) -> Option<TraceContext> {
    let value = present.get(Present::TRACEPARENT, headers, &["traceparent"])?;
    TraceContext::parse(value.to_str().ok()?)
}

/// What a client of HTTP/1.1 would ask with (RFC 6455 section 4.1).
fn websocket_key() -> String {
    STANDARD.encode(random::secret().to_ne_bytes())
}

/// The one protocol that clients may go on in.
const WEBSOCKET: &str = "websocket";
/// Octets of `sec-websocket-key` and its value.
const KEY_FIELD_BYTES: usize = 41;
/// Longest body that is read before its request is sent, in octets: as of calls (request.rs).
const WHOLE_BYTES_MAX: u64 = 64 * 1024;
