//! What an endpoint is told, what it reports and what it counts.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::wire::{
    fragment::{DATAGRAM_BYTES_MAX, SplitError},
    frame::Frame,
    reliable::RetryConfig,
    session::{self, CloseReason, Dialect, Features, Link, SessionConfig},
};

/// Settings of all peers of one socket.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Its `link` must be `Datagram`, and `limits.message_bytes_max` bounds what is reassembled.
    pub session: Arc<SessionConfig>,
    pub retry: RetryConfig,
    /// Peers known at the same time: so many with a validated address, and so many without. Default
    /// 10,000. Room for another is made by forgetting one of the same kind with no work under way:
    /// of those without the one that only greeted, then the one that was silent longest; of the
    /// others one that was silent for 5 s.
    pub peers_max: usize,
    /// How long an acknowledged message of a base peer is remembered, and how long a closed peer is.
    /// Default 10 s: the published client sends its last repetition after 6.8 s.
    pub duplicate_window: Duration,
    /// Largest datagram sent, in octets. Default 1200; the published receiver reads 2,400.
    pub datagram_bytes_max: usize,
}

/// How far a message is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Sent once.
    Plain,
    /// Repeated until acknowledged or given up; `Delivered` or `Undelivered` follows.
    Acknowledged,
    /// `Acknowledged` to a peer with feature `wide`, `Plain` to others: published clients never
    /// acknowledge what they receive.
    Reply,
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    pub to: SocketAddr,
    /// The address of this end that the peer knows, if it was told to `handle_datagram`.
    pub local: Option<IpAddr>,
    pub octets: Bytes,
}

/// Names a send in the events that follow it. Unique within an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

impl SendId {
    /// What the endpoint sends on its own behalf; no event follows.
    pub(super) const ECHO: Self = Self(0);
}

/// What happened to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// See `session::SessionEvent::Established`.
    Established(Dialect),
    /// The peer's address is known to be no forgery, in a session that was established before.
    Validated,
    /// A DATA frame, whole, and once however often it arrived.
    Message(Frame),
    /// The peer has the message.
    Delivered(SendId),
    /// The peer may or may not have the message; nothing is sent any more.
    Undelivered(SendId, Undelivered),
    /// See `session::SessionEvent::Pong`.
    Pong(Bytes),
    /// See `session::SessionEvent::PeerDraining`.
    PeerDraining,
    /// Nothing more comes from this peer, nor goes to it. A later datagram of its address begins a
    /// new session.
    Closed(CloseReason),
}

/// Why an acknowledged send failed, or a held one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    #[error("not acknowledged after {attempts} attempts")]
    NotAcknowledged { attempts: u32 },
    #[error("the session is closed: {0}")]
    Closed(CloseReason),
    #[error(transparent)]
    Split(#[from] SplitError),
    #[error(transparent)]
    Session(session::SendError),
    #[error("the address has not proven that it receives")]
    Unvalidated,
}

/// Why a frame is not sent at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendRefusal {
    #[error("the peer is not known")]
    UnknownPeer,
    #[error("all {limit} peers are in use")]
    TooManyPeers { limit: usize },
    #[error(
        "{needed} octets to an address that has not proven that it receives, which may be sent {left}"
    )]
    Unvalidated { needed: usize, left: usize },
    #[error(transparent)]
    Split(#[from] SplitError),
    #[error(transparent)]
    Session(#[from] session::SendError),
}

/// Counters since the start, and gauges. Of one socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Peers known, closed ones that are remembered included.
    pub peers: usize,
    /// Those of them whose addresses are not validated.
    pub peers_unvalidated: usize,
    /// Datagrams and messages not sent because their address is not validated.
    pub amplification_limited: u64,
    /// Peers forgotten to make room for others.
    pub peers_evicted: u64,
    /// Datagrams of unknown peers dropped because no room could be made.
    pub peers_refused: u64,
    pub datagrams_received: u64,
    pub datagrams_sent: u64,
    /// Whole frames handed to sessions.
    pub frames_received: u64,
    /// Datagrams sent again.
    pub retransmits: u64,
    /// Datagrams that repeated what had arrived.
    pub duplicates: u64,
    pub crc_errors: u64,
    /// Datagrams that are no frame for another reason.
    pub malformed: u64,
    /// Frames that broke the rules of the session.
    pub violations: u64,
    pub acks_sent: u64,
    pub acks_received: u64,
    pub undelivered: u64,
    /// Half-reassembled messages at present.
    pub reassembly_open: usize,
    /// Octets charged for them.
    pub reassembly_bytes: usize,
    pub reassembly_expired: u64,
    /// Half-reassembled messages dropped to make room.
    pub reassembly_evicted: u64,
    /// Fragments refused.
    pub reassembly_refused: u64,
}

impl EndpointConfig {
    /// `session` with everything that datagrams need.
    #[must_use]
    pub fn new(session: SessionConfig) -> Self {
        let features = session.features.with(Features::WIDE).with(Features::ECHO);
        Self {
            session: Arc::new(SessionConfig {
                features,
                link: Link::Datagram,
                ..session
            }),
            retry: RetryConfig::default(),
            peers_max: 10_000,
            duplicate_window: Duration::from_secs(10),
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
        }
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self::new(SessionConfig::default())
    }
}
