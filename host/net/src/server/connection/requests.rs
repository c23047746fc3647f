//! What requests in flight hold of a connection's share of bytes.

use super::ServedConnection;
use crate::link::StreamLink;

impl<S: StreamLink> ServedConnection<S> {
    /// Whether the requests in flight leave room for another. The last call to end is a wake-up; what
    /// it held may be let go of a moment later, so without calls nothing is in the way. Messages of
    /// streams have their credit, and one reader does not hold up the others. A body that is being
    /// collected would never end if its connection were not read; the share bounds it.
    pub(super) fn has_room_for_calls(&self) -> bool {
        let unread = self
            .streaming
            .as_ref()
            .map_or(0, |streaming| streaming.held_unread());
        let of_requests = self
            .bytes
            .held()
            .saturating_sub(self.line.held_bytes() + unread + self.bytes.kept());
        self.calls.len() == 0 || of_requests < self.shared.config.held_bytes_max / REQUESTS_SHARE
    }
}

/// The part of what a connection may hold, as its inverse, that requests in flight may take before it
/// is read no more: another one, replies and half a frame must find room beside them.
const REQUESTS_SHARE: usize = 4;
