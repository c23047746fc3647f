//! QUIC: a session on the first stream of a connection, its streaming calls on streams of their own,
//! events that may be lost as datagrams. QUIC does what TCP does for other streams, and TLS 1.3; the
//! session is the same machine.
//!
//! ```text
//! connection ─┬ stream 0: HELLO, calls, replies, PING, BYE       driver::Line
//!             ├ a stream for each streaming call                 CallStreams
//!             └ datagrams: events that may be lost               Datagrams
//! ```

mod call_streams;
mod code;
mod config;
mod congestion;
mod datagrams;
mod dialer;
mod link;
mod listener;
mod restart;
mod session;

pub(crate) use self::{
    call_streams::{CallStreamEvent, CallStreams, CallStreamsConfig, QueueRoom},
    link::QuicLink,
    listener::{QuicConnection, QuicHandshake, QuicIncoming},
    session::QuicSession,
};
pub use self::{
    config::{ALPN, QuicConfig, QuicConfigError},
    dialer::QuicDialer,
    listener::{QuicControl, QuicListener, QuicTls},
    restart::RestartKey,
};
