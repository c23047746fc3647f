//! Frames made readable: taken apart octet by octet with every violation named, from text, captures,
//! or live between two peers. More forgiving than the decoder: what is wrong is shown, not refused.

mod capture;
mod dissect;
mod flows;
mod hex;
mod packet;
mod relay;
mod render;

pub(crate) use capture::{Packets, is_capture};
pub(crate) use dissect::{Stream, StreamPrefix};
pub(crate) use flows::Flows;
pub(crate) use hex::from_hex;
pub(crate) use relay::{Relay, RelayDirection, RelayEvent, Relayed};
pub(crate) use render::{to_json, to_text};
