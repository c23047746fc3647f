//! A frame as one line of text, for logs, `inspect` and the vectors.
//!
//! ```text
//! TYPE FLAGS [key=value, ...] payload
//! DATA REQ_ACK [msg-id=123] Hello
//! ```

use std::fmt;

use super::frame::Frame;

/// More octets than this are shown by their number alone.
const SHOWN_BYTES_MAX: usize = 64;
/// More equal octets than this are shown as `200 x 61`.
const RUN_BYTES_MAX: usize = 16;

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} [", self.kind, self.flags)?;
        for (entry_idx, (key, value)) in self.headers.entries().enumerate() {
            let separator = if entry_idx == 0 { "" } else { ", " };
            write!(f, "{separator}{}={}", Octets(key), Octets(value))?;
        }
        f.write_str("]")?;
        if self.payload.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", Octets(&self.payload))
        }
    }
}

/// Octets of a peer, made harmless and short.
struct Octets<'a>(&'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(octets) = self;
        match octets.first() {
            Some(first) if octets.len() > RUN_BYTES_MAX && octets.iter().all(|o| o == first) => {
                write!(f, "{} x {first:02x}", octets.len())
            }
            _ if octets.len() > SHOWN_BYTES_MAX => write!(f, "{} octets", octets.len()),
            _ => write!(f, "{}", octets.escape_ascii()),
        }
    }
}
