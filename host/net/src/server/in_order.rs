//! Replies to requests without `correlation-id`. Their caller pairs them by order alone, so they leave
//! in the order of the requests, however long each took.
//!
//! ```text
//! admit ──▶ | done | done | open | done | open |   the front leaves once it is done
//! ```
//! Bounded by the connection, which is not read while as many replies wait here as it may have calls
//! in flight, or as many bytes as its queue may hold.

use std::collections::VecDeque;

use postern_core::wire::Frame;

/// The replies of one connection that have an order.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    /// From the next to leave on.
    replies: VecDeque<Option<Done>>,
    /// Of the first of `replies`.
    first: u64,
    n_done: usize,
    bytes: usize,
}

/// Where a reply stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position(u64);

/// A reply that may leave; no frame where an extension dropped it.
#[derive(Debug)]
struct Done(Option<Frame>);

impl InOrder {
    /// Reserves the place of a reply.
    pub(super) fn admit(&mut self) -> Position {
        self.replies.push_back(None);
        Position(self.first + (self.replies.len() as u64 - 1))
    }

    /// The reply is there.
    pub(super) fn finish(&mut self, position: Position, frame: Option<Frame>) {
        let index = position.0.checked_sub(self.first);
        let reply = index
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.replies.get_mut(index));
        if let Some(reply) = reply
            && reply.is_none()
        {
            self.n_done += 1;
            self.bytes += frame.as_ref().map_or(0, Frame::encoded_len);
            *reply = Some(Done(frame));
        }
    }

    /// The next reply whose turn it is; `Some(None)` for one that is not to be sent.
    pub(super) fn pop(&mut self) -> Option<Option<Frame>> {
        let front = self.replies.front_mut()?;
        let Done(frame) = front.take()?;
        self.replies.pop_front();
        self.first += 1;
        self.n_done -= 1;
        self.bytes -= frame.as_ref().map_or(0, Frame::encoded_len);
        Some(frame)
    }

    /// Whether `pop` has something to give.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.replies.front(), Some(Some(_)))
    }

    /// Replies that wait for others, and their bytes.
    pub(super) const fn waiting(&self) -> (usize, usize) {
        (self.n_done, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use postern_core::Headers;

    use super::*;

    fn frame(payload: &'static str) -> Frame {
        Frame::data(Headers::new(), payload)
    }

    fn popped(replies: &mut InOrder) -> Vec<Option<Frame>> {
        std::iter::from_fn(|| replies.pop()).collect()
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut replies = InOrder::default();
        let [first, second, third] = std::array::from_fn(|_| replies.admit());
        replies.finish(third, Some(frame("3")));
        replies.finish(second, None);
        assert_eq!(popped(&mut replies), []);
        assert_eq!(replies.waiting(), (2, frame("3").encoded_len()));
        replies.finish(first, Some(frame("1")));
        let expected = [Some(frame("1")), None, Some(frame("3"))];
        assert_eq!(popped(&mut replies), expected);
        assert_eq!(replies.waiting(), (0, 0));
    }

    #[test]
    fn a_position_is_good_for_one_reply() {
        let mut replies = InOrder::default();
        let first = replies.admit();
        replies.finish(first, Some(frame("1")));
        replies.finish(first, Some(frame("again")));
        assert_eq!(popped(&mut replies), [Some(frame("1"))]);
        replies.finish(first, Some(frame("late")));
        let second = replies.admit();
        assert_ne!(first, second);
        assert_eq!(popped(&mut replies), []);
    }
}
