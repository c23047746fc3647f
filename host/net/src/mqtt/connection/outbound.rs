//! What the client is sent: retained messages first, then what waits in its inbox and its stored queue.

use std::{task::Context, time::Instant};

use postern_core::mqtt::{OutgoingPublish, SendOutcome};

use super::{Connection, End};
use crate::link::StreamLink;

impl<S: StreamLink> Connection<S> {
    /// True where there is more to be sent once the output has room.
    pub(super) fn poll_outbound(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<bool, End> {
        self.machine.resend(now, &mut self.out);
        self.send_retained(now);
        loop {
            if self.is_output_full() {
                self.check_ending(cx)?;
                break;
            }
            if self.waiting.is_empty() {
                let taken = self
                    .session
                    .take(&mut self.waiting, WAITING_MAX, cx.waker());
                if let Some(ending) = taken {
                    return Err(Self::on_ending(ending));
                }
                if self.waiting.is_empty() {
                    break;
                }
            }
            if !self.send_waiting(now) {
                self.check_ending(cx)?;
                break;
            }
        }
        let has_other_shares = self.poll_shares();
        self.send_stored(cx, now)?;
        self.send_shared(cx, now)?;
        self.poll_acknowledging(cx)?;
        Ok(has_other_shares)
    }

    /// Registers for the end while what waits is not taken.
    fn check_ending(&mut self, cx: &Context<'_>) -> Result<(), End> {
        let ending = self.session.take(&mut self.waiting, 0, cx.waker());
        ending.map_or(Ok(()), |ending| Err(Self::on_ending(ending)))
    }

    /// False where the client's window is full before the end.
    fn send_waiting(&mut self, now: Instant) -> bool {
        while !self.is_output_full() {
            let Some(outgoing) = self.waiting.pop_front() else {
                return true;
            };
            if let Some(outgoing) = self.send(now, outgoing) {
                self.waiting.push_front(outgoing);
                return false;
            }
        }
        true
    }

    fn send_retained(&mut self, now: Instant) {
        while !self.is_output_full() {
            let Some(outgoing) = self.retained.pop(&self.broker) else {
                return;
            };
            if let Some(outgoing) = self.send(now, outgoing) {
                self.retained.push_front(outgoing);
                return;
            }
        }
    }

    fn send_stored(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        if let Some(held) = self.stored.as_mut().and_then(|stored| stored.take_held())
            && let Some(held) = self.send(now, held)
        {
            self.hold_back(held);
            return Ok(());
        }
        while !self.is_output_full() && self.machine.has_window() {
            let Some(outgoing) = self.poll_stored(cx, now)? else {
                return Ok(());
            };
            if let Some(position) = outgoing.position {
                self.session.set_sent_up_to(position.0);
            }
            if let Some(outgoing) = self.send(now, outgoing) {
                self.hold_back(outgoing);
                return Ok(());
            }
        }
        Ok(())
    }

    fn hold_back(&mut self, outgoing: OutgoingPublish) {
        if let Some(stored) = &mut self.stored {
            stored.hold_back(outgoing);
        }
    }

    /// Gives back what has to wait for an acknowledgement.
    pub(super) fn send(
        &mut self,
        now: Instant,
        outgoing: OutgoingPublish,
    ) -> Option<OutgoingPublish> {
        match self.machine.send(now, outgoing, &mut self.out) {
            SendOutcome::Sent => {
                self.counts.sent += 1;
                self.counts.packets_out += 1;
                None
            }
            SendOutcome::Dropped(outgoing) => {
                self.counts.dropped += 1;
                self.on_acknowledged(&outgoing);
                None
            }
            SendOutcome::Full(outgoing) => Some(outgoing),
        }
    }
}

/// PublishOutcome from the inbox at a time.
const WAITING_MAX: usize = 1024;
