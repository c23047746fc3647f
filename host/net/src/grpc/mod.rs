//! Instances that speak gRPC: calls of the joint over shared HTTP/2 connections. All four kinds of calls,
//! metadata both ways, deadlines, statuses with their details.
//!
//! ```text
//! Call ─▶ request.rs, sending.rs ─▶ connections.rs ─▶ connection.rs ─▶ the instance
//! Reply ◀─ reply.rs, outcome.rs ◀───────────────────────────┘
//! ```
//! | part | file |
//! | --- | --- |
//! | a call as a request: its head, its messages | `request.rs`, `sending.rs` |
//! | an answer as a reply: its messages, how it ended | `reply.rs`, `outcome.rs` |
//! | connections: chosen and opened, run | `connections.rs`, `connection.rs` |
//! | what instances are asked: are you well, what are your services | `health.rs`, `reflection.rs` |
//! | the same for the command line | `client.rs` |
//!
//! Frames, codings, metadata and statuses are those of the front (`http/grpc/`).
//!
//! **Invariant:** a call that an instance has not begun is sent once more on another connection, and only
//! such a one is here: what was begun is tried again by whoever knows whether it may be.

mod client;
mod config;
mod connection;
mod connections;
mod health;
mod outcome;
mod reflection;
mod reply;
mod request;
mod sending;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use postern_core::{BoxFuture, Call, Error, Handler, Reply, service::CallKind};
use postern_system::clock;

pub use self::{
    client::{dial, dial_tls},
    config::{GrpcAddress, GrpcUpstreamConfig},
    reflection::{ReflectedFiles, ReflectionLimits},
};
use self::{
    connections::Connections,
    outcome::{Progress, StreamFailure},
    reply::{Answer, Flight, Reading},
    sending::{Framing, Outgoing},
};
use crate::{ByteBudget, http::grpc::StatusDetails};

/// One instance that speaks gRPC. Clones share its connections.
#[derive(Debug, Clone)]
pub struct GrpcUpstream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connections: Arc<Connections>,
    framing: Framing,
    reading: Reading,
}

impl GrpcUpstream {
    /// Nothing is opened before the first call. `details` are those of failures.
    #[must_use]
    pub fn new(
        address: GrpcAddress,
        config: GrpcUpstreamConfig,
        details: Arc<dyn StatusDetails>,
    ) -> Self {
        // Coders take little beside the messages, which are bounded each.
        let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
        let shared = Shared {
            framing: Framing::new(&config, bytes.clone()),
            reading: Reading {
                message_bytes_max: config.receive_bytes_max,
                ratio_max: config.compression_ratio_max,
                details,
                bytes,
            },
            connections: Connections::new(address, config),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends the call and waits for the begin of its reply; for all of it, where `kind` says that it is
    /// one message. Messages go as they are: `content-type` says what those of call and reply are.
    ///
    /// `Retry::Elsewhere`: the instance has not begun. `Retry::IfIdempotent`: nobody knows.
    /// `Retry::After` and `Retry::Forbidden`: as the instance says.
    ///
    /// # Errors
    /// What the instance answers, or why it does not.
    pub async fn call_of_kind(&self, call: Call, kind: Option<CallKind>) -> Result<Reply, Error> {
        let answer = self.shared.answer(call, kind).await?;
        reply::reply(answer, kind, &self.shared.reading).await
    }

    /// How often a connection was opened. What was learned of the instance over the one before may be
    /// that of another life.
    #[must_use]
    pub fn n_opened(&self) -> u64 {
        self.shared.connections.n_opened()
    }

    #[must_use]
    pub fn address(&self) -> &GrpcAddress {
        self.shared.connections.address()
    }

    /// Whether a connection can be had.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn knock(&self) -> Result<(), Error> {
        self.shared.connections.knock().await
    }

    /// Asks `grpc.health.v1.Health/Check` for `service`, which is empty for the server as a whole. A server
    /// without that service gives a sign of life by saying so.
    ///
    /// # Errors
    /// Why it is not well.
    pub async fn check_health(&self, service: &str) -> Result<(), Error> {
        health::check(self, service).await
    }

    /// Asks the reflection of the instance for the files that describe `service`, and all that they import.
    ///
    /// # Errors
    /// `unimplemented` where it has no reflection, `not-found` where it does not know the service,
    /// `resource-exhausted` where there is more than `limits` allow.
    pub async fn reflect(
        &self,
        service: &str,
        limits: ReflectionLimits,
    ) -> Result<ReflectedFiles, Error> {
        reflection::files_of(self, service, limits).await
    }
}

impl Handler for GrpcUpstream {
    /// As `call_of_kind`, of a method of which nothing is known.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let upstream = self.clone();
        Box::pin(async move { upstream.call_of_kind(call, None).await })
    }
}

impl Shared {
    /// Sends the call on one connection after the other until an instance takes it.
    async fn answer(&self, mut call: Call, kind: Option<CallKind>) -> Result<Answer, Error> {
        let (address, config) = (self.connections.address(), self.connections.config());
        let body = std::mem::take(&mut call.body);
        let mut outgoing = Outgoing::new(body, kind, &self.framing).await?;
        let (mut n_tries, mut n_refused) = (0, 0);
        loop {
            n_tries += 1;
            let lease = self.connections.lease().await?;
            // What is left of the deadline is told anew.
            let head = request::head(&call, kind, address, config, clock::now())?;
            let (response, stream) = match lease.open(head).await {
                Ok(opened) => opened,
                Err(_) if n_tries < TRIES_MAX => continue,
                Err(error) => return Err(StreamFailure::unsent(error)),
            };
            let (sender, at_hand) = outgoing.send(stream);
            let error = match response.await {
                Ok(response) => {
                    let flight = Flight {
                        sender,
                        _lease: lease,
                    };
                    return Ok(Answer { response, flight });
                }
                Err(error) => error,
            };
            if let Some(fault) = sender.take_fault() {
                return Err(fault);
            }
            let StreamFailure { progress, error } = StreamFailure::of(error);
            let may_go_on = match progress {
                Progress::NotTaken => {
                    lease.drain();
                    true
                }
                Progress::Refused => {
                    n_refused += 1;
                    n_refused < REFUSED_MAX
                }
                Progress::Unknown => false,
            };
            // Another call may have its place meanwhile.
            drop(lease);
            if !may_go_on || n_tries >= TRIES_MAX {
                return Err(error);
            }
            match sender.take_back(at_hand).await {
                Some(again) => outgoing = again,
                None => return Err(error),
            }
        }
    }
}

/// Connections that one call tries when they turn out to be closing.
const TRIES_MAX: u32 = 16;
/// Streams that one call is refused on before it is another instance's. The first may be for want of the
/// peer's first settings, which are not waited for.
const REFUSED_MAX: u32 = 4;
