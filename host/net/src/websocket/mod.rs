//! WebSocket on real streams: upgraded connections of the HTTP listener, and sessions that are dialled.
//!
//! ```text
//! http/upgrade.rs ─▶ handshake ─▶ Channel ─┬─▶ WebSocketLink: the octets of a VSTP session  (/vstp)
//!        dial.rs ─▶ handshake ─┘           └─▶ json: calls as text messages                 (/ws/…)
//! ```
//! The rules of RFC 6455 are `postern_core::websocket`; compression (RFC 7692) is here, because what it
//! needs is no part of the core.
//!
//! **Invariant:** nothing of a message is kept here but what is being unpacked, in pieces: whoever takes
//! it whole counts it first.

mod channel;
mod config;
mod deflate;
mod dial;
mod extension;
mod handshake;
mod json;
mod link;

pub(crate) use self::{
    channel::{Channel, ChannelConfig},
    dial::{AskedWebSocket, open},
    handshake::{Accepted, HandshakeFault, accept},
    json::{CallForm, JsonDependencies, JsonLimits, MessageHead, serve as serve_json},
    link::WebSocketLink,
};
pub use self::{
    config::WebSocketConfig,
    dial::{SecureWebSocketDialer, WebSocketDialer},
};

/// The path of VSTP sessions.
pub const SESSION_PATH: &str = "/vstp";
/// Subprotocol of VSTP sessions, by our own choice: none is registered.
pub const SESSION_PROTOCOL: &str = "vstp";
/// What the paths of calls begin with; service and method follow.
pub const CALLS_PATH: &str = "/ws";
/// Subprotocol of calls in text messages.
pub const CALLS_PROTOCOL: &str = "vstp.json";
