//! What is being taken of a client's, in the order in which it came: publications that are stored,
//! subscriptions that are kept. What needs no wait passes by, unless something is before it.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::stream::{FuturesOrdered, Stream};
use postern_core::{
    BoxFuture,
    mqtt::{Publication, Qos, Reason, SubscriptionOptions, encode_suback, encode_unsuback},
};

use super::{Connection, End, durable::StoredQueue};
use crate::{
    link::StreamLink,
    mqtt::{Taken, routes::Route},
};

/// Takes no memory while there is nothing.
#[derive(Default)]
pub(super) struct Taking(Option<Box<FuturesOrdered<BoxFuture<Step>>>>);

/// What was waited for.
pub(super) enum Step {
    Published(Box<Publishing>, Taken),
    /// A publication with QoS 2 is taken, and its identifier is kept, where that is so.
    Kept(u16, Reason, bool),
    /// Of a PUBREC.
    Received(u16, bool),
    /// Of a PUBREL.
    Released(u16, bool),
    Subscribed(Box<Subscribed>),
}

/// A publication on its way.
pub(super) struct Publishing {
    pub(super) publication: Arc<Publication>,
    pub(super) route: Arc<Route>,
    /// With QoS 1 and 2.
    pub(super) id: Option<u16>,
}

/// What a SUBSCRIBE or UNSUBSCRIBE has come to.
pub(super) struct Subscribed {
    pub(super) id: u16,
    pub(super) reasons: Vec<Reason>,
    pub(super) is_unsubscribe: bool,
    pub(super) retained: Vec<(Arc<Publication>, SubscriptionOptions)>,
    /// Where the session is durable: its queue, or why it has none.
    pub(super) stored: Option<Result<Option<StoredQueue>, String>>,
}

impl Taking {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |steps| steps.len())
    }

    pub(super) fn push(&mut self, step: BoxFuture<Step>) {
        self.0.get_or_insert_default().push_back(step);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Some(steps) = &mut self.0 else {
            return Poll::Pending;
        };
        match std::pin::Pin::new(&mut **steps).poll_next(cx) {
            Poll::Ready(Some(step)) => Poll::Ready(step),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

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
            Step::Received(id, true) => {
                self.machine.on_received(id, &mut self.out);
                Ok(())
            }
            Step::Released(id, true) => {
                self.machine.on_released(id, &mut self.out);
                Ok(())
            }
            Step::Received(_, false) | Step::Released(_, false) => {
                Err(End::with(Reason::UNSPECIFIED, NOT_STORED))
            }
            Step::Subscribed(subscribed) => self.on_subscribed(*subscribed),
        }
    }

    fn on_subscribed(&mut self, subscribed: Subscribed) -> Result<(), End> {
        let Subscribed {
            id,
            reasons,
            is_unsubscribe,
            retained,
            stored,
        } = subscribed;
        match stored {
            None => {}
            Some(Ok(queue)) => self.replace_stored(queue),
            Some(Err(text)) => return Err(End::with(Reason::UNSPECIFIED, text)),
        }
        let version = self.machine.negotiated().version;
        match is_unsubscribe {
            true => encode_unsuback(self.out.tail(), version, id, &reasons),
            false => encode_suback(self.out.tail(), version, id, &reasons),
        }
        self.counts.packets_out += 1;
        self.retained.extend(retained);
        Ok(())
    }
}

/// What a client is told whose session could not be written.
pub(super) const NOT_STORED: &str = "the session was not stored";
