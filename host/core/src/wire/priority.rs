//! The queue of outgoing frames: the more urgent first, first in first out among equals. Bounded by
//! `Limits::{queue_messages_max, queue_bytes_max}`.
//!
//! | frame | priority |
//! |---|---|
//! | ERR | 255 |
//! | ACK | 200 |
//! | HELLO, WELCOME, BYE | 150 |
//! | PING, PONG | 100 |
//! | DATA | 50 |
//!
//! Header `priority` (decimal, 0 to 255) overrides the table, which is that of the VSTP
//! architecture guide.

use std::collections::VecDeque;

use super::frame::{Frame, FrameType};

/// An emptied lane gives back what it holds beyond this many frames.
const LANE_KEPT: usize = 256;

/// Frames that wait to be written.
///
/// One lane per priority in use, most urgent first. A session that sends DATA alone has one lane, so
/// that a push and a pop are those of a `VecDeque` and allocate nothing once it has grown.
#[derive(Debug)]
pub(super) struct PriorityQueue {
    lanes: Vec<Lane>,
    n_frames: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    priority: u8,
    frames: VecDeque<Frame>,
}

/// The priority of `frame`: its header, or that of its type.
#[must_use]
pub fn of(frame: &Frame) -> u8 {
    let default = of_type(frame.kind);
    if frame.headers.is_empty() {
        return default;
    }
    // A number of three digits is never continued, so that the raw entries will do.
    let mut entries = frame.headers.entries();
    match entries.find(|(key, _)| *key == b"priority") {
        Some((_, value)) => parse(value).unwrap_or(default),
        None => default,
    }
}

/// The priority of a frame that says nothing else.
#[must_use]
pub const fn of_type(kind: FrameType) -> u8 {
    match kind {
        FrameType::Err => 255,
        FrameType::Ack => 200,
        FrameType::Hello | FrameType::Welcome | FrameType::Bye => 150,
        FrameType::Ping | FrameType::Pong => 100,
        FrameType::Data => 50,
    }
}

impl PriorityQueue {
    pub(super) const fn new() -> Self {
        Self {
            lanes: Vec::new(),
            n_frames: 0,
            bytes: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.n_frames
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.n_frames == 0
    }

    /// Octets on the wire of everything queued.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let priority = of(&frame);
        self.n_frames += 1;
        self.bytes += frame.encoded_len();
        // Sorted by falling priority; a session uses one to four of them.
        let lane_idx = self.lanes.iter().position(|lane| lane.priority <= priority);
        let lane_idx = lane_idx.unwrap_or(self.lanes.len());
        match self.lanes.get_mut(lane_idx) {
            Some(lane) if lane.priority == priority => lane.frames.push_back(frame),
            _ => self.lanes.insert(
                lane_idx,
                Lane {
                    priority,
                    frames: VecDeque::from([frame]),
                },
            ),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        for lane in &mut self.lanes {
            let Some(frame) = lane.frames.pop_front() else {
                continue;
            };
            self.n_frames -= 1;
            self.bytes -= frame.encoded_len();
            if lane.frames.is_empty() && lane.frames.capacity() > LANE_KEPT {
                lane.frames.shrink_to(LANE_KEPT);
            }
            return Some(frame);
        }
        None
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }
}

fn parse(value: &[u8]) -> Option<u8> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    fn data(priority: Option<&str>, payload: &'static str) -> Frame {
        let mut headers = Headers::new();
        if let Some(priority) = priority {
            headers.push("priority", priority).expect("short header");
        }
        Frame::data(headers, payload)
    }

    fn order(frames: Vec<Frame>) -> Vec<Frame> {
        let mut queue = PriorityQueue::new();
        frames.into_iter().for_each(|frame| queue.push(frame));
        let popped = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        popped
    }

    #[test]
    fn equals_leave_in_the_order_they_came() {
        let frames = vec![data(None, "1"), data(Some("50"), "2"), data(None, "3")];
        assert_eq!(order(frames.clone()), frames);
    }

    #[test]
    fn types_leave_in_the_order_of_the_table() {
        let mut types = FrameType::ALL.map(Frame::new).to_vec();
        types.reverse();
        let kinds: Vec<_> = order(types).into_iter().map(|frame| frame.kind).collect();
        use FrameType::{Ack, Bye, Data, Err, Hello, Ping, Pong, Welcome};
        assert_eq!(kinds, [Err, Ack, Bye, Welcome, Hello, Pong, Ping, Data]);
    }

    #[test]
    fn the_header_overrides_the_type() {
        let [first, last] = [data(Some("255"), "1"), data(Some("0"), "0")];
        let ping = Frame::new(FrameType::Ping);
        let expected = vec![first.clone(), ping.clone(), last.clone()];
        assert_eq!(order(vec![last, ping, first]), expected);
    }

    #[test]
    fn a_priority_that_is_no_octet_counts_as_absent() {
        for value in ["256", "-1", "", "high"] {
            assert_eq!(of(&data(Some(value), "")), 50, "{value:?}");
        }
    }
}
