//! WebSocket (RFC 6455) without sockets and time: octets in, pieces of messages out, and back.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `frame` | the head of a frame and the mask |
//! | `decoder` | octets to pieces of data and control frames; every rule of section 5 |
//! | `machine` | one connection: answers to Ping and Close, keep-alive, what is to be written |
//! | `close` | close codes and the payload of Close |
//! | `utf8` | text that arrives in pieces |
//!
//! A message is never collected here: whoever wants one whole bounds it. Compression (RFC 7692) is
//! somebody else's, too; its bit goes through.

mod close;
mod decoder;
mod fault;
mod frame;
mod machine;
mod utf8;

#[cfg(test)]
mod tests;

pub use self::{
    close::{CloseCode, CloseFrame},
    decoder::{DataPiece, MessageKind, WebSocketDecoder, WebSocketPiece},
    fault::WebSocketFault,
    frame::{Opcode, WebSocketHead, apply_mask},
    machine::{ClosedBy, Outgoing, WebSocket, WebSocketTimes},
    utf8::Utf8Check,
};
