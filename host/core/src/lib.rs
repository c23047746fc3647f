//! The pure part of Postern. Every decision is a function of (state, input, now); nothing here
//! opens a socket, reads a clock, sleeps or spawns. It builds for `wasm32-unknown-unknown`.

pub mod balance;
pub mod body;
pub mod bounded;
pub mod call;
pub mod canary;
pub mod channel;
pub mod compare;
pub mod error;
pub mod event;
pub mod extension;
pub mod fuzz;
pub mod handler;
pub mod headers;
pub mod http;
pub mod json;
pub mod key_value;
pub mod limits;
pub mod message;
pub mod message_codec;
pub mod mqtt;
pub mod origin;
pub mod peer;
pub mod quantile;
pub mod redis;
pub mod registry;
pub mod resilience;
pub mod resp;
pub mod route;
pub mod service;
pub mod shadow;
#[cfg(test)]
mod simulation;
pub mod testing;
pub mod text;
pub mod tls;
pub mod trace;
pub mod transport;
pub mod velithon;
pub mod vsp;
pub mod vyra;
pub mod websocket;
pub mod wire;

pub use body::{Body, BodyKind, BodySource, BodyStream};
pub use call::{Call, Context, Reply};
pub use error::{Blame, Error, Kind, Retry, Symptom};
pub use handler::{BoxFuture, Handler};
pub use headers::Headers;
pub use http::{HttpFacts, HttpStatus};
pub use message::{Message, MessageKind};
pub use origin::{Origin, UnixPeer};
pub use peer::{Peer, Principal};
pub use text::Text;
pub use trace::TraceContext;
pub use transport::Transport;
