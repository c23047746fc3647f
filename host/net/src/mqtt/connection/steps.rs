//! What follows when something of the client's is taken.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use postern_core::mqtt::{Qos, Reason, encode_suback, encode_unsuback};

use super::{
    Connection, End,
    taking::{NOT_STORED, Received, Step, Subscribed},
};
use crate::link::StreamLink;

impl<S: StreamLink> Connection<S> {
    /// True where something was done.
    pub(super) fn poll_taking(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        let mut is_busy = false;
        while let Poll::Ready(step) = self.taking.poll(cx) {
            is_busy = true;
            self.on_step(now, step)?;
        }
        Ok(is_busy)
    }

    pub(super) fn on_step(&mut self, now: Instant, step: Step) -> Result<(), End> {
        match step {
            Step::Published(publishing, taken) => self.on_taken(now, *publishing, taken),
            Step::Kept(id, reason, is_kept) => {
                let reason = if is_kept { reason } else { Reason::UNSPECIFIED };
                self.acknowledge(id, Qos::ExactlyOnce, reason, NOT_STORED)
            }
            Step::Received(received) => self.on_kept(&received),
            Step::Released(id, true) => {
                self.machine.on_released(id, &mut self.out);
                Ok(())
            }
            Step::Released(_, false) => Err(End::with(Reason::UNSPECIFIED, NOT_STORED)),
            Step::Subscribed(subscribed) => self.on_subscribed(*subscribed),
            Step::Shares(Ok(members)) => {
                self.on_shares(members);
                Ok(())
            }
            Step::Shares(Err(text)) => Err(End::with(Reason::UNSPECIFIED, text)),
        }
    }

    /// That the client has a message is kept, or is not.
    fn on_kept(&mut self, received: &Received) -> Result<(), End> {
        if !received.is_kept {
            return Err(End::with(Reason::UNSPECIFIED, NOT_STORED));
        }
        if let Some(position) = received.repeated {
            self.machine.on_repeated(position);
        }
        self.machine.on_received(received.id, &mut self.out);
        Ok(())
    }

    fn on_subscribed(&mut self, subscribed: Subscribed) -> Result<(), End> {
        let Subscribed {
            id,
            reasons,
            is_unsubscribe,
            retained,
            stored,
            shares,
        } = subscribed;
        match stored {
            None => {}
            Some(Ok(queue)) => self.replace_stored(queue),
            Some(Err(text)) => return Err(End::with(Reason::UNSPECIFIED, text)),
        }
        self.on_shares(shares);
        let version = self.machine.negotiated().version;
        match is_unsubscribe {
            true => encode_unsuback(self.out.tail(), version, id, &reasons),
            false => encode_suback(self.out.tail(), version, id, &reasons),
        }
        self.counts.packets_out += 1;
        for (filter, options) in retained {
            self.retained.push(filter, options);
        }
        Ok(())
    }
}
