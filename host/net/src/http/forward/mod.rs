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
//! | heads of responses | `heads.rs` |
//! | who is told what happens on one | `signal.rs` |
//!
//! **Invariant:** an upstream reads one request where we sent one: lengths are written from what was
//! read, never passed on beside another framing, and a body that does not keep to its length ends the
//! connection.

pub(super) mod claims;
mod config;
mod connect;
mod connections;
mod fault;
mod heads;
mod http1;
mod http2;
pub(super) mod inbound;
mod outbound;
pub(super) mod outcome;
mod reply_body;
mod request_body;
mod signal;
mod tunnel;
mod upgraded;

use std::{sync::Arc, time::Duration};

use http::Response;
use hyper::body::Incoming;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Retry};
use postern_system::clock;
use tokio::time::{sleep_until, timeout};

pub(super) use self::config::SOCKET_HOST;
pub(crate) use self::connect::open_http2;
pub use self::{
    claims::{ForwardedConfig, ForwardedForm, ForwardedSend},
    config::{ForwardAddress, ForwardConfig, HttpVersions},
};
use self::{
    connections::{Connections, Lease},
    fault::{bad_answer, root_cause},
    outbound::{Head, Outbound},
    request_body::{RequestBody, RequestProgress},
};

/// One instance that speaks HTTP. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Forwarder {
    connections: Arc<Connections>,
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
        for n_tries in 1.. {
            let mut lease = match self.connections.try_lease(head.needs_http1()) {
                Some(lease) => lease,
                // Boxed: few requests need a connection of their own, and opening one takes room.
                None => Box::pin(self.connect(head)).await?,
            };
            let request = lease.request(head, self.connections.address(), body)?;
            let sent = self
                .answered(lease.send(request, head.needs_http1()), progress)
                .await?;
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

    /// # Errors
    /// `unavailable` where no connection can be had in time.
    async fn connect(&self, head: &Head) -> Result<Lease, Error> {
        let limit = self.connections.config().connect_timeout;
        let leasing = self.connections.lease(head.client, head.needs_http1());
        let leased = timeout(limit, leasing).await;
        leased.unwrap_or_else(|_| Err(self.unconnected(limit)))
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

/// Connections that one request tries when they turn out to be closed. The last is a new one, unless
/// others are given back as fast as they break.
const TRIES_MAX: u32 = 16;
