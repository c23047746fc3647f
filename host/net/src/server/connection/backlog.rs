//! Replies that found the session congested. Bounded by the calls in flight, and by the byte budget.

use std::collections::VecDeque;

use postern_core::wire::Frame;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.encoded_len();
        self.frames.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.encoded_len();
        Some(frame)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
