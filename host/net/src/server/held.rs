//! What messages in flight hold of their peer's share of bytes, however they came.

use postern_core::wire::Frame;

use crate::{ByteBudgetError, ConnectionBytes};

/// Whether a message is long enough to be counted.
pub(super) fn is_long(frame: &Frame) -> bool {
    message_bytes(frame) >= HELD_BYTES_MIN
}

/// Counts a message as held until nobody has its payload any more, or says why there is no room.
pub(super) fn hold(
    bytes: &ConnectionBytes,
    mut frame: Frame,
) -> Result<Frame, (Frame, ByteBudgetError)> {
    match bytes.hold(message_bytes(&frame)) {
        Ok(held) => {
            frame.payload = held.attach_to(frame.payload);
            Ok(frame)
        }
        Err(error) => Err((frame, error)),
    }
}

fn message_bytes(frame: &Frame) -> usize {
    frame.headers.section().len() + frame.payload.len()
}

/// Shorter messages are not counted: `calls_in_flight_max` of them are 4 MiB.
const HELD_BYTES_MIN: usize = 4096;
