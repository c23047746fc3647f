//! A handler behind another gateway's HTTP listener.

mod connector;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, uri::InvalidUri};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use postern_core::{
    Blame, Body, BodyKind, BodyStream, BoxFuture, Call, Context, Error, Handler, Headers,
    HttpStatus, Kind, Reply, Retry,
};
use postern_system::clock;
use tokio::time::timeout;

use self::connector::{Connector, Dialer};
use super::{
    CORRELATION_HEADER, ERROR_HEADER, JSON, NDJSON,
    content::{Form, content_type, form_of},
    fields::{self, set},
    forward::SOCKET_HOST,
    head::{FIELDS_MAX, HEAD_BYTES_MAX},
    lines::Lines,
    pieces::{Pieces, Silence},
    present::Present,
    reply::read_error,
    sent::Sent,
};
use crate::{UnixAddress, tls::ClientTls};

/// How an `HttpClient` calls.
#[derive(Debug, Clone)]
pub struct HttpClientConfig {
    /// How long a connection attempt may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a call without a deadline may take. Default 30 s.
    pub call_timeout: Duration,
    /// Longest reply, and longest line of a streamed reply, in octets. Default 8 MiB.
    pub message_bytes_max: usize,
    /// HTTP/2 without an upgrade (h2c) instead of HTTP/1.1. Default false.
    pub http2: bool,
    /// For `https`. Default the system's authorities, and no certificate.
    pub tls: Arc<ClientTls>,
}

/// Calls services by `POST /v1/services/{service}/{method}`; connections are kept and shared.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, RequestBody>,
    /// `http://host:port` or `https://host:port`, without a slash at the end.
    base: Arc<str>,
    /// As messages name it: the same, or `http://unix:/path`.
    shown: Arc<str>,
    config: Arc<HttpClientConfig>,
}

type RequestBody = UnsyncBoxBody<Bytes, Error>;

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            message_bytes_max: 8 * 1024 * 1024,
            http2: false,
            tls: Arc::default(),
        }
    }
}

/// A client of the HTTP listener at `authority`.
///
/// # Errors
/// As `HttpClient::new`.
pub fn dial(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    Ok(Arc::new(HttpClient::new(authority, config)?))
}

/// As `dial`, over TLS.
///
/// # Errors
/// As `HttpClient::new`.
pub fn dial_tls(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    let base = format!("https://{authority}");
    Ok(Arc::new(HttpClient::new(&base, config)?))
}

impl HttpClient {
    /// A client of the listener at `base`: `https://host:port`, `http://host:port`, `http://unix:/path`, or
    /// `host:port` and `unix:/path` for short; `@name` may stand for a path. Nothing is sent before the first
    /// call.
    ///
    /// # Errors
    /// `invalid-argument` where `base` is not such an address, `unavailable` where servers cannot be
    /// verified.
    pub fn new(base: &str, config: HttpClientConfig) -> Result<Self, Error> {
        if let Some(socket) = socket_of(base)? {
            let shown = format!("http://unix:{socket}");
            let base = format!("http://{SOCKET_HOST}");
            return Self::made(&base, &shown, Dialer::Socket(socket), false, config);
        }
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") {
            base.to_owned()
        } else {
            format!("http://{base}")
        };
        let uri: http::Uri = base.parse().map_err(|error: InvalidUri| {
            Error::invalid_argument(format!("{base} is not the address of an http listener"))
                .with_source(error)
        })?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_known || uri.authority().is_none() {
            return Err(Error::invalid_argument(format!(
                "{base} is not http://host:port, https://host:port or unix:/path"
            )));
        }
        let is_secure = uri.scheme_str() == Some("https");
        let dialer = Dialer::tcp(&config);
        Self::made(&base, &base, dialer, is_secure, config)
    }

    fn made(
        base: &str,
        shown: &str,
        dialer: Dialer,
        is_secure: bool,
        config: HttpClientConfig,
    ) -> Result<Self, Error> {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http1_max_headers(FIELDS_MAX)
            .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .http2_only(config.http2)
            .build(dialer.with_tls(is_secure, &config)?);
        Ok(Self {
            client,
            base: base.into(),
            shown: shown.into(),
            config: Arc::new(config),
        })
    }

    /// `GET /v1/services` of the listener, as JSON.
    ///
    /// # Errors
    /// As a call's.
    pub async fn services(&self) -> Result<Bytes, Error> {
        self.fetch("GET", "/v1/services", &Headers::new()).await
    }

    /// Anything else that the listener answers: `GET` `/plugins` of the admin listener, for instance.
    ///
    /// # Errors
    /// As a call's; `invalid-argument` where `method` or `path` cannot stand in a request.
    pub async fn fetch(&self, method: &str, path: &str, headers: &Headers) -> Result<Bytes, Error> {
        let left = self.config.call_timeout;
        let reply = self.exchange(method, path, headers, Body::Empty);
        let reply = timeout(left, reply).await.map_err(|_| late(left))??;
        reply.body.into_one(self.config.message_bytes_max).await
    }

    /// As `fetch`, with a body, and with the reply as it flows. Whoever asks bounds the time.
    ///
    /// # Errors
    /// As `fetch`.
    pub async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
        body: Body,
    ) -> Result<Reply, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        let mut request = request.body(to_request_body(body)).map_err(|error| {
            Error::invalid_argument(format!("{method} {path} is no request")).with_source(error)
        })?;
        *request.headers_mut() = fields::to_map(headers);
        self.send(request).await
    }

    fn to_request(&self, call: Call, left: Duration) -> Result<Request<RequestBody>, Error> {
        let (service, method) = (encode(&call.service), encode(&call.method));
        let uri = format!("{}/v1/services/{service}/{method}", self.base);
        let kind = call.body.kind();
        let mut request = Request::new(to_request_body(call.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.parse().map_err(|error: InvalidUri| {
            Error::internal(format!("address {uri}")).with_source(error)
        })?;
        let headers = request.headers_mut();
        *headers = fields::to_map(&call.headers);
        match kind {
            BodyKind::Messages => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
            }
            BodyKind::One | BodyKind::Octets => {
                let usual = if kind == BodyKind::One { JSON } else { OCTETS };
                let content_type = headers.entry(header::CONTENT_TYPE);
                content_type.or_insert(HeaderValue::from_static(usual));
            }
        }
        // The trailers tell a failed stream from a whole one.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if !call.context.is_deadline_of_head {
            // There it would be the time of all of the reply.
            let left = left.as_millis().to_string();
            set(headers, "timeout-ms", left.as_bytes());
        }
        set_context(headers, &call.context);
        if let Some(version) = &call.version {
            set(headers, "version", version.as_bytes());
        }
        Ok(request)
    }

    async fn send(&self, request: Request<RequestBody>) -> Result<Reply, Error> {
        let response = self.client.request(request).await.map_err(|error| {
            let message = format!("{} does not answer: {}", self.shown, root_cause(&error));
            Error::unavailable(Blame::Upstream, message).with_source(error)
        })?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.read_failure(response).await);
        }
        let headers = fields::of_response(response.headers());
        // Whoever answers with one message says what it is, or how long.
        let is_open = response.body().size_hint().exact().is_none();
        let form = match response.headers().contains_key(header::CONTENT_TYPE) {
            false if is_open => Form::Pieces,
            _ => form_of(
                content_type(response.headers(), Present::CONTENT_TYPE),
                response.body(),
            ),
        };
        let body = response.into_body();
        let silence = Silence::new(None, Blame::Upstream);
        let body = match form {
            Form::Whole => match self.read_whole(body).await? {
                (octets, None) => Body::One(octets),
                (octets, trailers) => Body::Octets(BodyStream::once(octets, trailers)),
            },
            Form::Lines => {
                let lines = Lines::new(body, self.config.message_bytes_max, silence);
                Body::Messages(BodyStream::from_source(lines))
            }
            Form::Pieces => Body::Octets(BodyStream::from_source(Pieces::new(body, silence, None))),
        };
        let status = HttpStatus::new(status.as_u16()).ok();
        Ok(Reply {
            headers,
            body,
            status: status.filter(|status| status.number() != 200),
        })
    }

    async fn read_failure(&self, response: Response<Incoming>) -> Error {
        let named = header_text(&response, ERROR_HEADER).and_then(Kind::from_name);
        let status = response.status();
        let kind = named.unwrap_or_else(|| Kind::from_http(status.as_u16()));
        let after = header_text(&response, header::RETRY_AFTER.as_str());
        let after = after.and_then(|seconds| seconds.parse().ok());
        let headers = fields::of_failed_response(response.headers());
        match self.read_whole(response.into_body()).await {
            Ok((body, _)) => {
                let error = read_error(kind, Some(status), &body).with_headers(headers);
                match after.map(Duration::from_secs) {
                    Some(after) if !error.is_too_large => error.with_retry(Retry::After(after)),
                    Some(_) | None => error,
                }
            }
            Err(error) => error,
        }
    }

    async fn read_whole(&self, body: Incoming) -> Result<(Bytes, Option<Headers>), Error> {
        let limit = self.config.message_bytes_max;
        let collected = Limited::new(body, limit).collect().await.map_err(|error| {
            let is_length = error.is::<http_body_util::LengthLimitError>();
            let message = if is_length {
                format!("reply exceeds the limit of {limit} octets")
            } else {
                "the reply ended early".to_owned()
            };
            Error::unavailable(Blame::Upstream, message).with_source(error)
        })?;
        let trailers = collected.trailers().and_then(fields::of_trailers);
        Ok((collected.to_bytes(), trailers))
    }
}

impl Handler for HttpClient {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let client = self.clone();
        Box::pin(async move {
            let left = call
                .context
                .remaining(clock::now())
                .unwrap_or(client.config.call_timeout);
            let request = client.to_request(call, left)?;
            timeout(left, client.send(request))
                .await
                .map_err(|_| late(left))?
        })
    }
}

fn late(left: Duration) -> Error {
    let message = format!("no reply within {} ms", left.as_millis());
    Error::deadline_exceeded(Blame::Upstream, message)
}

fn to_request_body(body: Body) -> RequestBody {
    match body {
        Body::Empty => Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed_unsync(),
        Body::One(octets) => Full::new(octets)
            .map_err(|never| match never {})
            .boxed_unsync(),
        Body::Messages(stream) => Sent::lines(stream).boxed_unsync(),
        Body::Octets(stream) => Sent::octets(stream).boxed_unsync(),
    }
}

fn set_context(headers: &mut http::HeaderMap, context: &Context) {
    if !context.correlation.is_empty() {
        set(headers, CORRELATION_HEADER, context.correlation.as_bytes());
    }
    if let Some(trace) = context.trace {
        set(headers, "traceparent", trace.to_string().as_bytes());
    }
    if context.priority != Context::USUAL_PRIORITY {
        set(headers, "priority", context.priority.to_string().as_bytes());
    }
}

fn header_text<'a, B: HttpBody>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The socket of this machine that `base` names, if it names one.
///
/// # Errors
/// `invalid-argument` where it begins as one and names none.
fn socket_of(base: &str) -> Result<Option<UnixAddress>, Error> {
    let rest = base.strip_prefix("http://").unwrap_or(base);
    let Some(name) = rest.strip_prefix("unix:") else {
        return Ok(None);
    };
    // A host may be called so: then its port follows.
    if !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit()) {
        return Ok(None);
    }
    // As a URL has it.
    let name = name.strip_prefix("//").unwrap_or(name);
    let socket = name.parse();
    socket
        .map(Some)
        .map_err(|error: crate::UnixAddressError| Error::invalid_argument(error.to_string()))
}

fn encode(segment: &str) -> PercentEncode<'_> {
    utf8_percent_encode(segment, &ESCAPED)
}

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The innermost cause: `Connection refused (os error 111)`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().to_lowercase()
}

/// What octets are whose type nobody names.
const OCTETS: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_everything_but_unreserved_characters() {
        assert_eq!(encode("a-B._~9").to_string(), "a-B._~9");
        assert_eq!(encode("a/b c%é").to_string(), "a%2Fb%20c%25%C3%A9");
    }

    #[test]
    fn takes_host_and_port_with_or_without_scheme() {
        for base in [
            "127.0.0.1:8080",
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
        ] {
            let client = HttpClient::new(base, HttpClientConfig::default()).expect(base);
            assert_eq!(&*client.base, "http://127.0.0.1:8080");
        }
    }

    #[test]
    fn takes_a_socket_of_this_machine() {
        for (base, shown) in [
            ("unix:/run/a.sock", "http://unix:/run/a.sock"),
            ("unix:///run/a.sock", "http://unix:/run/a.sock"),
            ("http://unix:/run/a.sock", "http://unix:/run/a.sock"),
            ("unix:@a", "http://unix:@a"),
        ] {
            let client = HttpClient::new(base, HttpClientConfig::default()).expect(base);
            assert_eq!((&*client.base, &*client.shown), ("http://localhost", shown));
        }
        let host = HttpClient::new("unix:8080", HttpClientConfig::default()).expect("a host");
        assert_eq!(&*host.base, "http://unix:8080");
        for base in ["unix:", "unix:a.sock", "unix:@", "unix:/run/"] {
            let refused = HttpClient::new(base, HttpClientConfig::default());
            let refused = refused.err().expect(base);
            assert!(
                refused
                    .message
                    .contains("neither an absolute path nor a name"),
                "{refused}"
            );
        }
    }

    #[test]
    fn refuses_an_address_of_another_scheme() {
        for base in ["ftp://localhost", "", "a b"] {
            assert!(
                HttpClient::new(base, HttpClientConfig::default()).is_err(),
                "{base}"
            );
        }
    }
}
