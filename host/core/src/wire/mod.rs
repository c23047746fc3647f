//! The VSTP wire: frames, the decoder, the session machine, and the two kinds of link.
//!
//! # Frame
//!
//! | offset | octets | encoding | field | value |
//! |---|---|---|---|---|
//! | 0 | 2 | octets | magic | `0x56 0x54` (`VT`) |
//! | 2 | 1 | u8 | version | `0x01` |
//! | 3 | 1 | u8 | type | `0x01` to `0x08`, see [`FrameType`] |
//! | 4 | 1 | bits | flags | see [`Flags`] |
//! | 5 | 2 | u16 **little** endian | `hdr_len` | octets of the header section |
//! | 7 | 4 | u32 **big** endian | `pay_len` | octets of the payload |
//! | 11 | `hdr_len` | | header section | see below |
//! | 11 + `hdr_len` | `pay_len` | | payload | opaque |
//! | 11 + `hdr_len` + `pay_len` | 4 | u32 **big** endian | crc | CRC-32/ISO-HDLC of every octet before it |
//!
//! The smallest frame has 15 octets; the largest is [`Limits::frame_bytes_max`].
//! Checks are made in the order magic, version, size, crc, type, flags, headers; magic is not looked
//! at before 11 octets are there.
//!
//! # Header section
//!
//! | offset | octets | field |
//! |---|---|---|
//! | 0 | 1 | `key_len`, 0 to 255 |
//! | 1 | 1 | `value_len`, 0 to 255 |
//! | 2 | `key_len` | key |
//! | 2 + `key_len` | `value_len` | value |
//!
//! Entries follow each other without a gap until `hdr_len` is used up. Order and duplicates are
//! kept; a lookup takes the first. An entry with an empty key continues the value before it.
//! An entry that overruns the section is refused.
//!
//! # Header keys of the session
//!
//! | frame | header | value |
//! |---|---|---|
//! | HELLO | `agent` | free text, for logs |
//! | HELLO, WELCOME | `features` | comma list; WELCOME names those that both ends have |
//! | HELLO, WELCOME | `max-frame` | largest frame the sender accepts, decimal octets |
//! | WELCOME | `session-id` | 32 hexadecimal digits |
//! | any to a server on a datagram link | `session-id` | that of WELCOME: the address is no forgery |
//! | ERR | `code`, `reason` | name of the violation, text for people |
//! | any | `msg-id` | decimal `u64`; with REQ_ACK asks for an ACK that repeats it |
//! | any | `priority` | decimal 0 to 255, see [`priority`] |
//! | any | `x-auto-probe` | a probe of the published client; dropped after the ACK |
//!
//! # Fragment headers (datagram links)
//!
//! | header | value |
//! |---|---|
//! | `frag-id` | decimal `u8`, chosen by the sender, one per message |
//! | `frag-index` | decimal `u8`, 0 to `frag-total` - 1 |
//! | `frag-total` | decimal `u8`, 1 to 255 |
//!
//! With feature `wide` all three are `u32`, and an ACK may name the parts of a message that have
//! arrived, see [`reliable`]. HELLO on a datagram link carries a random `nonce`, which tells a new
//! client on the same port from a repeated HELLO.
//!
//! [`Limits::frame_bytes_max`]: crate::limits::Limits::frame_bytes_max

pub mod decoder;
pub mod endpoint;
pub mod fragment;
pub mod frame;
mod line;
pub mod priority;
pub mod reassembly;
pub mod reliable;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod stream;
#[cfg(test)]
pub(crate) mod vectors;

pub use decoder::Decoder;
pub use endpoint::{DeliveryMode, Endpoint, EndpointConfig, EndpointStats, SendId, Undelivered};
pub use frame::{Flags, Frame, FrameError, FrameType};
pub use reliable::RetryConfig;
pub use session::{
    CloseReason, Dialect, Features, Link, Role, SendError, Session, SessionConfig, SessionError,
    SessionEvent, SessionId,
};
pub use stream::Connection;
