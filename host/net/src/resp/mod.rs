//! RESP, the protocol of Redis, served: connections that are read and written here and answered by a
//! [`RespService`]. What octets mean is `postern_core::resp`.
//!
//! ```text
//! read ─▶ decode ─▶ lane free? ─▶ RespClient::begin ─▶ at once ──┐
//!  ▲                   │ no: wait                └─▶ a future ─▶ Replies ─▶ output ─▶ write
//!  └── room for answers                RespClient::poll_events ──────────────▶ ┘
//! ```
//! Requests that arrived together are begun together and answered by one write, in their order. A client
//! that does not take its answers is not read; one that does not take its events is closed, as Redis
//! does it.

mod config;
mod connection;
mod replies;
mod server;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use postern_core::{
    BoxFuture, Peer,
    resp::{Lane, RespCommand, RespRequest, RespValue, RespVersion, Unknown},
};

pub use self::{
    config::RespConfig,
    server::{RespReconfigure, RespServer},
};

/// What answers clients.
pub trait RespService: Send + Sync + 'static {
    /// A new client.
    fn open(&self, peer: Arc<Peer>) -> Box<dyn RespClient>;
}

/// One client, for as long as its connection lasts.
pub trait RespClient: Send {
    /// Begins to answer a request. `command` is what it names. The futures of requests that may go on
    /// beside each other are polled first in the order in which they were begun.
    fn begin(
        &mut self,
        request: RespRequest,
        command: Result<&'static RespCommand, Unknown>,
    ) -> RespAnswer;

    /// Begins to answer a request that was judged, and may be answered.
    fn resume(&mut self, request: RespRequest, command: &'static RespCommand) -> RespValue;

    /// What a command may go on beside; by default what Redis would not tell apart.
    fn lane(&self, command: &'static RespCommand) -> Lane {
        command.lane()
    }

    /// The version in which it is answered at present.
    fn version(&self) -> RespVersion;

    /// Whether it has said who it is, or need not.
    fn is_trusted(&self) -> bool;

    /// Whether it waits for events, so that its silence means nothing.
    fn is_subscribed(&self) -> bool;

    /// Appends what it is told of without asking, until `output` has `bytes_max` octets or more. Pending
    /// when there is nothing more at present.
    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut BytesMut,
        bytes_max: usize,
    ) -> Poll<Result<(), EventsEnded>>;
}

/// How a request is answered.
pub enum RespAnswer {
    Now(RespValue),
    Later(BoxFuture<RespValue>),
    /// The client has asked not to be told.
    Untold,
    UntoldLater(BoxFuture<RespValue>),
    /// Once the future says so, by `RespClient::resume`; else by what it says. Only of a request that
    /// goes on alone.
    Judged(BoxFuture<Result<(), RespValue>>, RespRequest),
    /// And nothing after it.
    Last(RespValue),
}

/// Why a client is told of no more events, and is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventsEnded {
    /// It did not take them as they came.
    #[error("slow reader: events were lost for want of room")]
    Lost,
    /// Whoever gives them has ended.
    #[error("there are no events any more")]
    Closed,
}
