//! Frames made readable: taken apart octet by octet with every violation named, from text, captures,
//! or live between two peers. More forgiving than the decoder: what is wrong is shown, not refused.

mod capture;
mod dissect;
mod flows;
mod hex;
mod packet;
mod relay;
mod render;

pub use capture::{CaptureError, Packets, is_capture};
pub use dissect::{Dissected, Found, Stream, dissect};
pub use flows::{Flows, Seen};
pub use hex::{HexError, from_hex};
pub use relay::{Direction, Event, Relay, Sight};
pub use render::{to_json, to_text};
