//! RESP, the protocol of Redis, as a server speaks it: requests out of octets, replies into octets,
//! and what both mean without a socket, a clock or a store. Versions 2 and 3, as
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/> has them; texts of errors are those
//! of Redis 7.0.
//!
//! ```text
//! octets ─▶ RespDecoder ─▶ RespRequest ─▶ RespCommand::of ─▶ (a front) ─▶ RespValue::encode ─▶ octets
//!           request.rs                     command.rs                      value.rs
//! ```
//! A request is a list of strings: it has no depth. Its strings are slices of what was read.

pub mod arguments;
mod command;
mod glob;
mod inline;
mod options;
mod request;
mod stream_id;
mod stream_options;
mod subscriptions;
#[cfg(test)]
mod tests;
mod value;

pub use self::{
    arguments::RespError,
    command::{CommandAccess, Lane, RespCommand, Unknown},
    glob::{glob_literal_prefix, glob_matches},
    options::{ExpireOptions, Expiry, GetExOptions, ScanOptions, SetCondition, SetOptions},
    request::{RespDecoder, RespFault, RespLimits, RespRequest},
    stream_id::{RangeEnd, StreamId, range_from, range_until},
    stream_options::{
        AddOptions, ClaimOptions, GroupConsumer, PendingOptions, ReadOptions, StreamStart,
    },
    subscriptions::{ChannelKind, Subscribed, Subscriptions},
    value::{RespValue, RespVersion, encode_event, sanitized},
};
