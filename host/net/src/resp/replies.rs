//! Answers in the order of their requests, whichever is ready first.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures_util::{StreamExt, stream::FuturesUnordered};
use postern_core::{
    BoxFuture,
    resp::{Lane, RespValue, RespVersion},
};

/// Answers that are being made, and those that wait for one before them.
#[derive(Default)]
pub(super) struct Replies {
    slots: VecDeque<Slot>,
    /// Number of the first slot.
    first: u64,
    running: FuturesUnordered<Running>,
    /// What those that are running may go on beside.
    lane: Option<Lane>,
    waiting_bytes: usize,
}

enum Slot {
    Running { is_told: bool },
    Done(RespValue),
    Untold,
}

struct Running {
    number: u64,
    future: BoxFuture<RespValue>,
}

impl Replies {
    /// Requests that have no answer yet, or whose answer waits.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Octets of answers that wait for one before them.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether a request of `lane` may begin.
    pub(super) fn has_room_for(&self, lane: Lane) -> bool {
        match (self.lane, lane) {
            (None, _) => true,
            (Some(Lane::Shared(running)), Lane::Shared(next)) => running == next,
            (Some(Lane::Shared(_) | Lane::Free), Lane::Free) => true,
            (Some(Lane::Free), Lane::Shared(_) | Lane::Alone)
            | (Some(Lane::Shared(_)), Lane::Alone)
            | (Some(Lane::Alone), _) => false,
        }
    }

    /// Whether what is running begins nothing beside it.
    pub(super) fn is_alone(&self) -> bool {
        self.lane == Some(Lane::Alone)
    }

    pub(super) fn push(&mut self, value: RespValue) {
        self.waiting_bytes += value.n_bytes();
        self.slots.push_back(Slot::Done(value));
    }

    /// Polls the future once in place; what is not ready goes on beside the others.
    pub(super) fn push_later(
        &mut self,
        cx: &mut Context<'_>,
        mut future: BoxFuture<RespValue>,
        lane: Lane,
        is_told: bool,
    ) {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            if is_told {
                self.push(value);
            }
            return;
        }
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot::Running { is_told });
        self.running.push(Running { number, future });
        // What is free says nothing about those that come after it.
        self.lane = match (self.lane, lane) {
            (Some(running), Lane::Free) => Some(running),
            (_, lane) => Some(lane),
        };
    }

    /// Encodes the answers that may be given, until `output` has `bytes_max` octets; whether there was
    /// one.
    pub(super) fn poll_encode(
        &mut self,
        cx: &mut Context<'_>,
        version: impl Fn() -> RespVersion,
        output: &mut BytesMut,
        bytes_max: usize,
    ) -> bool {
        while let Poll::Ready(Some((number, value))) = self.running.poll_next_unpin(cx) {
            self.settle(number, value);
        }
        if self.running.is_empty() {
            self.lane = None;
        }
        let n_before = self.slots.len();
        while output.len() < bytes_max {
            match self.slots.front() {
                None | Some(Slot::Running { .. }) => break,
                Some(Slot::Done(_) | Slot::Untold) => {}
            }
            self.first += 1;
            if let Some(Slot::Done(value)) = self.slots.pop_front() {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(value.n_bytes());
                value.encode(version(), output);
            }
        }
        self.slots.len() < n_before
    }

    fn settle(&mut self, number: u64, value: RespValue) {
        let idx = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get_mut(idx) else {
            return;
        };
        let is_told = matches!(slot, Slot::Running { is_told: true });
        if is_told {
            self.waiting_bytes += value.n_bytes();
            *slot = Slot::Done(value);
        } else {
            *slot = Slot::Untold;
        }
    }
}

impl Future for Running {
    type Output = (u64, RespValue);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(u64, RespValue)> {
        let number = self.number;
        self.future.as_mut().poll(cx).map(|value| (number, value))
    }
}
