//! What a session tells its driver, and why it ends or refuses.

use std::time::Duration;

use bytes::Bytes;

use super::config::{Features, SessionId};
use crate::{
    text::Text,
    wire::frame::{Frame, FrameError, FrameType},
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// How both ends will speak is settled. Comes once, before any other event; a second time only
    /// when a peer first takes up the base dialect and says HELLO later.
    Established(Dialect),
    /// A DATA frame.
    Message(Frame),
    /// An ACK frame on a stream link; datagram links keep theirs below the session.
    Acknowledged(Frame),
    /// A PONG that carries what a PING of this end carried. Those of keep-alive carry nothing and
    /// are not told.
    Pong(Bytes),
    /// The peer said BYE or ended its side: it begins nothing more, what is in flight goes on.
    PeerDraining,
    /// The session is over. What `poll_frame` still gives is the last word (ERR or BYE) and may be
    /// written before the link is closed. Comes once, last.
    Closed(CloseReason),
}

/// How both ends speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialect {
    /// The peer says no HELLO, as the published crate: no features, no keep-alive, BYE comes last.
    Base,
    /// HELLO and WELCOME were exchanged.
    Full(Greeting),
}

/// What HELLO and WELCOME settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub session: SessionId,
    /// The peer's `agent`; empty when it names none.
    pub agent: Text,
    /// What both ends can do.
    pub features: Features,
    /// Largest frame the peer accepts, in octets.
    pub frame_bytes_max: usize,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("closed by this end")]
    Requested,
    #[error("the gateway shuts down")]
    Shutdown,
    #[error("the peer said bye")]
    PeerBye,
    #[error("the link ended")]
    LinkEnded,
    #[error("the peer reports {code}: {reason}")]
    PeerError { code: Text, reason: Text },
    #[error("protocol violation: {0}")]
    Violation(SessionError),
    #[error("nothing came for {after:?}")]
    Idle { after: Duration },
    #[error("slow reader: {messages} messages of {bytes} octets are queued")]
    SlowReader { messages: usize, bytes: usize },
    /// What the peer sends finds no room, or its rest does not come.
    #[error("{0}")]
    ResourceExhausted(Text),
    #[error("{in_flight} calls still in flight {after:?} after bye")]
    DrainTimeout { in_flight: usize, after: Duration },
}

/// What the peer did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{kind} is not for a {receiver}")]
    Unexpected {
        kind: FrameType,
        receiver: &'static str,
    },
    #[error("header {key} of {kind} is {found:?}")]
    Header {
        kind: FrameType,
        key: &'static str,
        found: String,
    },
}

/// Why a frame is not sent. The frame is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the session is closed")]
    Closed,
    #[error("frame of {length} octets exceeds the peer's limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("slow reader: {messages} messages of {bytes} octets are queued")]
    QueueFull { messages: usize, bytes: usize },
}

impl CloseReason {
    /// The name in logs, metrics and the `code` of ERR.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Shutdown => "shutdown",
            Self::PeerBye => "peer-bye",
            Self::LinkEnded => "link-ended",
            Self::PeerError { .. } => "peer-error",
            Self::Violation(error) => error.name(),
            Self::Idle { .. } => "idle",
            Self::SlowReader { .. } => "slow-reader",
            Self::ResourceExhausted(_) => "resource-exhausted",
            Self::DrainTimeout { .. } => "drain-timeout",
        }
    }
}

impl SessionError {
    /// The `code` of ERR.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.name(),
            Self::Unexpected { .. } => "unexpected-frame",
            Self::Header { .. } => "invalid-header",
        }
    }
}
