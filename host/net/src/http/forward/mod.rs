//! The reverse proxy. A request that a route sends to an upstream becomes a call that is forwarded
//! (`HttpFacts::is_forwarded`), goes the way of every call, and becomes the same request again at an
//! instance that speaks HTTP.
//!
//! ```text
//! front: inbound.rs ─▶ Call ─▶ pipeline, cluster ─▶ back: Forwarder ─▶ outbound.rs ─▶ connections.rs
//! client ◀─ outcome.rs ◀─ Reply ◀──────────────────── reply_body.rs, upgraded.rs ◀────────┘
//! ```
//! Nothing is held of a body but what one read gives and one write takes: a piece is asked for when the
//! one before has gone.
//!
//! | part | file |
//! | --- | --- |
//! | a request as a call, an outcome as a response | `inbound.rs`, `outcome.rs` |
//! | who says where a request came from | `claims.rs` |
//! | a call as a request, a response as a reply | `outbound.rs`, `request_body.rs`, `reply_body.rs` |
//! | a stream of another protocol | `tunnel.rs` at the client, `upgraded.rs` at the upstream |
//! | connections, kept and opened | `connections.rs`, `http1.rs`, `http2.rs`, `connect.rs` |
//!
//! **Invariant:** an upstream reads one request where we sent one: lengths are written from what was
//! read, never passed on beside another framing, and a body that does not keep to its length ends the
//! connection.

mod claims;
mod connect;
mod connections;
mod http1;
mod http2;
pub(super) mod inbound;
mod outbound;
pub(super) mod outcome;
mod reply_body;
mod request_body;
mod tunnel;
mod upgraded;

use std::{fmt, sync::Arc, time::Duration};

use http::Response;
use hyper::body::Incoming;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Retry, Text};
use postern_system::clock;
use tokio::time::{sleep_until, timeout};

pub use self::claims::{ForwardedConfig, ForwardedForm, ForwardedSend};
use self::{
    connections::{Connections, Lease},
    outbound::{Head, Outbound},
    request_body::{RequestBody, RequestProgress},
};
use crate::{ProxyVersion, tls::ClientTls};

/// How requests are handed on to one upstream.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// Time to establish a connection, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the head of a response may take once nothing moves of its request. Default 60 s.
    pub head_timeout: Duration,
    /// How long nothing may come of a response, or move on a stream of another protocol. Default
    /// 5 min.
    pub idle_timeout: Duration,
    /// What is spoken. Default what the upstream takes.
    pub version: HttpVersions,
    /// Connections with one address at a time. Default 1024.
    pub connections_max: usize,
    /// Of them, those that are kept without a request. Default 32.
    pub idle_connections_max: usize,
    /// How long one is kept without a request. Default 60 s.
    pub keep_timeout: Duration,
    /// What the upstream is told of the client before anything else; then no two clients share a
    /// connection. Default nothing.
    pub send_proxy: Option<ProxyVersion>,
    /// For `https`.
    pub tls: Arc<ClientTls>,
}

/// Versions of HTTP that are spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// HTTP/2 or HTTP/1.1 as TLS agrees on; HTTP/1.1 without TLS.
    #[default]
    Negotiated,
    Http1,
    /// HTTP/2 alone; without TLS by prior knowledge.
    Http2,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAddress {
    pub is_secure: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: Text,
    pub port: u16,
}

/// One instance that speaks HTTP. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Forwarder {
    connections: Arc<Connections>,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            version: HttpVersions::default(),
            connections_max: 1024,
            idle_connections_max: 32,
            keep_timeout: Duration::from_secs(60),
            send_proxy: None,
            tls: Arc::default(),
        }
    }
}

impl ForwardAddress {
    const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    /// Host and port as a request names them.
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for ForwardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

impl Forwarder {
    /// Nothing is opened before the first request.
    #[must_use]
    pub fn new(address: ForwardAddress, config: ForwardConfig) -> Self {
        Self {
            connections: Connections::new(address, config),
        }
    }

    /// Asks for a sign of life: `GET path` is answered by 200 to 399, or, without a path, a connection
    /// can be had.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn probe(&self, path: Option<&str>) -> Result<(), Error> {
        let Some(path) = path else {
            return self.connections.knock().await;
        };
        let head = Head::of_probe(path, self.connections.address())?;
        let (body, progress) = RequestBody::empty();
        let (response, _lease) = self.exchange(&head, body, &progress).await?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        let message = format!("{} answers {status} to {path}", self.connections.address());
        Err(Error::unavailable(Blame::Upstream, message))
    }

    async fn forward(self, call: Call) -> Result<Reply, Error> {
        let Outbound {
            head,
            body,
            progress,
            upgrade,
        } = Head::of_call(call, self.connections.address())?;
        let (response, lease) = self.exchange(&head, body, &progress).await?;
        let idle_timeout = self.connections.config().idle_timeout;
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            return match upgrade {
                Some(stream) => upgraded::reply(response, lease, stream, idle_timeout).await,
                None => Err(bad_answer("switches protocols, which was not asked for")),
            };
        }
        reply_body::reply(response, lease, progress, idle_timeout)
    }

    /// Sends a request and waits for the head of its response. A connection that was kept and that the
    /// upstream has closed meanwhile is replaced, where nothing of the request was sent.
    async fn exchange(
        &self,
        head: &Head,
        mut body: RequestBody,
        progress: &Arc<RequestProgress>,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let limit = self.connections.config().connect_timeout;
        for n_tries in 1.. {
            let leasing = self.connections.lease(head.client, head.needs_http1());
            let leased = timeout(limit, leasing).await;
            let mut lease = leased.unwrap_or_else(|_| Err(self.unconnected(limit)))?;
            let request = lease.request(head, self.connections.address(), body)?;
            let sent = self.answered(lease.send(request), progress).await?;
            let mut error = match sent {
                Ok(response) => return Ok((response, lease)),
                Err(error) => error,
            };
            match error.take_message() {
                Some(request) if lease.is_reused() && n_tries < TRIES_MAX => {
                    body = request.into_body();
                }
                Some(_) => return Err(self.unsent(&error.into_error())),
                None => return Err(self.broken(error.into_error(), progress)),
            }
        }
        Err(Error::internal("a request is out of tries"))
    }

    /// Waits for a response as long as its request moves, and `head_timeout` more.
    async fn answered<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: &RequestProgress,
    ) -> Result<T, Error> {
        let limit = self.connections.config().head_timeout;
        let mut answer = std::pin::pin!(answer);
        let mut seen = progress.n_pieces();
        let mut until = clock::now() + limit;
        loop {
            tokio::select! {
                biased;
                answer = answer.as_mut() => return Ok(answer),
                () = sleep_until(until.into()) => {
                    let now = progress.n_pieces();
                    if now == seen {
                        break;
                    }
                    seen = now;
                    until = clock::now() + limit;
                }
            }
        }
        let message = format!(
            "{} does not answer within {} ms",
            self.connections.address(),
            limit.as_millis()
        );
        let error = Error::deadline_exceeded(Blame::Upstream, message);
        Err(error.with_retry(Retry::IfIdempotent))
    }

    fn unconnected(&self, limit: Duration) -> Error {
        let address = self.connections.address();
        let message = format!(
            "cannot connect to {address} within {} ms",
            limit.as_millis()
        );
        Error::unavailable(Blame::Upstream, message)
    }

    /// Nothing of the request was sent.
    fn unsent(&self, error: &hyper::Error) -> Error {
        let address = self.connections.address();
        let message = format!("{address} takes no request: {}", root_cause(error));
        Error::unavailable(Blame::Upstream, message)
    }

    /// The request was sent in part at least, and there is no response.
    fn broken(&self, error: hyper::Error, progress: &RequestProgress) -> Error {
        if let Some(error) = progress.take_fault() {
            return error;
        }
        let address = self.connections.address();
        let cause = root_cause(&error);
        if error.is_parse() {
            let message = format!("{address} does not answer as http: {cause}");
            return Error::new(Kind::Internal, Blame::Upstream, message).with_source(error);
        }
        let message = format!("{address} closed the connection before it answered: {cause}");
        let error = Error::unavailable(Blame::Upstream, message).with_source(error);
        error.with_retry(Retry::IfIdempotent)
    }
}

impl Handler for Forwarder {
    /// Sends the request that `call` came as. `Retry::Elsewhere`: nothing of it was sent.
    /// `Retry::IfIdempotent`: it was sent, or may have been. A response is a reply whatever its status.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(self.clone().forward(call))
    }
}

/// The upstream answers as nobody may.
fn bad_answer(what: impl fmt::Display) -> Error {
    let message = format!("the upstream {what}");
    Error::new(Kind::Internal, Blame::Upstream, message)
}

/// The innermost cause: `connection refused (os error 111)`.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().to_lowercase()
}

/// Connections that one request tries when they turn out to be closed. The last is a new one, unless
/// others are given back as fast as they break.
const TRIES_MAX: u32 = 16;
