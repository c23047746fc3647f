//! Delivery over datagrams that may be lost, repeated and reordered: what is sent is repeated until
//! it is acknowledged or given up; what arrives is handed on once.
//!
//! | header of ACK | value |
//! |---|---|
//! | `msg-id` | the whole message arrived |
//! | `sack` | `msg-id` of a message of which parts have arrived (feature `wide`) |
//! | `sack-epoch` | grows when the receiver begins the message anew and has forgotten what it had |
//! | `sack-next` | of the fragments below this index ... |
//! | `sack-missing` | ... those in this list (`3,7-9`) are missing and the others have arrived |

mod congestion;
mod incoming;
mod message;
mod outgoing;
mod replay;
mod sack;

use std::time::Duration;

pub(super) use self::{
    incoming::{Arrival, Incoming},
    outgoing::Outgoing,
    sack::{RANGES_MAX, Sack},
};
use super::frame::{Flags, Frame, FrameType};
use crate::headers::{HeaderError, Headers};

/// Header that numbers an acknowledged message.
pub(super) const MSG_ID_KEY: &str = "msg-id";

/// When a message is sent again and when it is given up. The defaults are those of the published
/// client (`reference`: VSTP facts, acknowledgement): transmissions at 0, 2.1, 4.3 and 6.7 s,
/// failure at 8.7 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// Repetitions after the first transmission. Default 3.
    pub max_retries: u32,
    /// Pause before the first repetition, doubled before each further one. Default 100 ms.
    pub retry_delay: Duration,
    /// The pause grows no further. Default 5 s.
    pub max_retry_delay: Duration,
    /// How long an acknowledgement is awaited after each transmission. Default 2 s.
    pub ack_timeout: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retries: 3,
            retry_delay: Duration::from_millis(100),
            max_retry_delay: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(2),
        }
    }
}

impl RetryConfig {
    /// The pause before repetition `retry_idx`, which counts from 0.
    #[must_use]
    pub fn pause(&self, retry_idx: u32) -> Duration {
        let factor = 1_u32.checked_shl(retry_idx).unwrap_or(u32::MAX);
        self.retry_delay
            .saturating_mul(factor)
            .min(self.max_retry_delay)
    }

    /// From the first transmission to giving up, when nothing is heard.
    #[must_use]
    pub fn give_up_after(&self) -> Duration {
        let waits = self
            .ack_timeout
            .saturating_mul(self.max_retries.saturating_add(1));
        let mut pauses = Duration::ZERO;
        for retry_idx in 0..self.max_retries {
            let pause = self.pause(retry_idx);
            pauses = pauses.saturating_add(pause);
            if pause == self.max_retry_delay {
                let rest = self.max_retries - retry_idx - 1;
                pauses = pauses.saturating_add(pause.saturating_mul(rest));
                break;
            }
        }
        waits.saturating_add(pauses)
    }
}

/// The number of `frame` when its sender wants it acknowledged: REQ_ACK is set and the first
/// `msg-id` parses as the published receiver parses it.
#[must_use]
pub(super) fn requested_ack(frame: &Frame) -> Option<u64> {
    if !frame.flags.contains(Flags::REQ_ACK) {
        return None;
    }
    msg_id(&frame.headers)
}

/// The number that an ACK names.
#[must_use]
pub(super) fn msg_id(headers: &Headers) -> Option<u64> {
    headers.get_str(MSG_ID_KEY)?.parse().ok()
}

/// The ACK of message `id`: no flags, the number in canonical decimal, nothing else.
#[must_use]
pub(super) fn ack(id: u64) -> Frame {
    let mut headers = Headers::new();
    // Cannot fail: at most 20 digits.
    let _ = headers.push(MSG_ID_KEY, id.to_string());
    Frame {
        headers,
        ..Frame::new(FrameType::Ack)
    }
}

/// `frame` as message `id`: flag REQ_ACK, and `msg-id` after the application's headers. One that is
/// there already is dropped, because receivers take the first.
///
/// # Errors
/// `SectionTooLong` when the headers leave no room.
pub(super) fn numbered(mut frame: Frame, id: u64) -> Result<Frame, HeaderError> {
    frame.headers = frame.headers.without(|key| key == MSG_ID_KEY.as_bytes());
    frame.headers.push(MSG_ID_KEY, id.to_string())?;
    frame.flags = frame.flags.union(Flags::REQ_ACK);
    Ok(frame)
}

#[cfg(test)]
mod tests;
