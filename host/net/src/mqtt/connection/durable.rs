//! The stored queue of a session: what was published with QoS 1 and 2, until the client has
//! acknowledged it.
//!
//! ```text
//! consumer ─ take ─▶ events ─▶ Outgoing ─▶ client
//!     ▲                                      │ PUBACK: acknowledged, in batches
//!     └── acknowledge ◀──────────────────────┘ PUBREC: kept as released, acknowledged, then PUBREL
//! ```

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, UNIX_EPOCH},
};

use postern_core::{
    BoxFuture, Error,
    event::durable::{EventConsumer, Position, StoredEvent},
    mqtt::{Outgoing, Publication, Qos, Reason, WindowStanding, client_of},
};
use postern_system::clock;

use super::{Connection, End, taking::Step};
use crate::{
    link::StreamLink,
    mqtt::sessions,
};

/// A member of the session's consumer, and what it was given.
pub(crate) struct StoredQueue {
    consumer: Arc<dyn EventConsumer>,
    events_max: usize,
    taking: Option<BoxFuture<Result<Vec<StoredEvent>, Error>>>,
    events: VecDeque<StoredEvent>,
    /// Its packet identifier is in use, or the client's window is full.
    held: Option<Outgoing>,
    /// Handled, and not acknowledged to the consumer.
    handled: Vec<Position>,
    acknowledging: Option<BoxFuture<Result<u64, Error>>>,
}

impl StoredQueue {
    pub(super) fn new(consumer: Arc<dyn EventConsumer>, in_flight_max: u16) -> Self {
        Self {
            consumer,
            events_max: in_flight_max.into(),
            taking: None,
            events: VecDeque::new(),
            held: None,
            handled: Vec::new(),
            acknowledging: None,
        }
    }

    pub(super) fn hold_back(&mut self, outgoing: Outgoing) {
        self.held = Some(outgoing);
    }

    pub(super) fn take_held(&mut self) -> Option<Outgoing> {
        self.held.take()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<StoredEvent, Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Ok(event));
        }
        let (consumer, events_max) = (&self.consumer, self.events_max);
        let taking = self.taking.get_or_insert_with(|| consumer.take(events_max));
        let taken = std::task::ready!(taking.as_mut().poll(cx));
        self.taking = None;
        self.events = taken?.into();
        match self.events.pop_front() {
            Some(event) => Poll::Ready(Ok(event)),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// One batch is on its way at a time; what comes meanwhile is the next.
    fn poll_acknowledging(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.acknowledging.is_none() {
                if self.handled.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let handled = std::mem::take(&mut self.handled);
                self.acknowledging = Some(self.consumer.acknowledge(handled));
            }
            if let Some(acknowledging) = &mut self.acknowledging {
                std::task::ready!(acknowledging.as_mut().poll(cx))?;
                self.acknowledging = None;
            }
        }
    }

    /// Acknowledges what was handled.
    pub(super) async fn finish(mut self) {
        let finished = std::future::poll_fn(|cx| self.poll_acknowledging(cx));
        if let Err(error) = finished.await {
            tracing::warn!(%error, "acknowledgements of an MQTT session were not stored");
        }
    }
}

impl<S: StreamLink> Connection<S> {
    /// A consumer with other filters: what was with the one before it comes again.
    pub(super) fn replace_stored(&mut self, queue: Option<StoredQueue>) {
        let handled = self.stored.take().map(|before| before.handled);
        self.stored = queue.map(Box::new);
        if let (Some(queue), Some(handled)) = (&mut self.stored, handled) {
            queue.handled = handled;
        }
    }

    /// The next publication of the stored queue that the client is to get.
    pub(super) fn poll_stored(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<Option<Outgoing>, End> {
        loop {
            let Some(stored) = &mut self.stored else {
                return Ok(None);
            };
            let event = match stored.poll_event(cx) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Ok(event)) => event,
                Poll::Ready(Err(error)) => {
                    let text = format!("the session's queue cannot be read: {error}");
                    return Err(End::with(Reason::UNSPECIFIED, text));
                }
            };
            match self.machine.kept().window.standing(event.position) {
                Some(WindowStanding::Sent) => continue,
                Some(WindowStanding::Released) => {}
                None => {
                    if let Some(outgoing) = self.outgoing_of(now, &event) {
                        return Ok(Some(outgoing));
                    }
                }
            }
            if let Some(stored) = &mut self.stored {
                stored.handled.push(event.position);
            }
        }
    }

    /// None for what the client does not want after all.
    fn outgoing_of(&self, now: Instant, stored: &StoredEvent) -> Option<Outgoing> {
        let wall = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = wall.saturating_sub(Duration::from_millis(stored.stored_at_ms));
        let publication = Publication::of_event(&stored.event, now, age);
        if publication.is_expired(now) {
            return None;
        }
        let (mut qos, mut ids, mut is_wanted) = (Qos::AtMostOnce, Vec::new(), false);
        let is_own = client_of(&stored.event).is_some_and(|id| id == self.session.client_id);
        let subscriptions = self.session.subscriptions.lock();
        for (filter, options) in &*subscriptions {
            if filter.group.is_none() && filter.filter.matches(&publication.topic.name) {
                qos = qos.max(options.qos);
                ids.extend(options.id);
                is_wanted |= !(options.no_local && is_own);
            }
        }
        drop(subscriptions);
        let qos = qos.min(publication.qos);
        // With QoS 0 it came by the inbox.
        if !is_wanted || qos == Qos::AtMostOnce {
            return None;
        }
        let mut outgoing = Outgoing::new(Arc::new(publication), qos);
        outgoing.position = Some(stored.position);
        outgoing.is_duplicate =
            stored.n_deliveries > 1 || stored.position.0 <= self.session.sent_up_to();
        outgoing.subscription_ids = (!ids.is_empty()).then(|| Arc::from(ids));
        Some(outgoing)
    }

    /// Has the consumer told what the client has handled.
    pub(super) fn poll_acknowledging(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        match stored.poll_acknowledging(cx) {
            Poll::Ready(Err(error)) => {
                let text = format!("an acknowledgement was not stored: {error}");
                Err(End::with(Reason::UNSPECIFIED, text))
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// PUBACK, or a PUBREC that refuses, or it cannot be sent at all.
    pub(super) fn on_acknowledged(&mut self, outgoing: &Outgoing) {
        if let (Some(position), Some(stored)) = (outgoing.position, &mut self.stored) {
            stored.handled.push(position);
        }
    }

    /// PUBREC: the client has it. That is kept before it is told so.
    pub(super) fn on_received(&mut self, id: u16, outgoing: Option<Outgoing>) {
        let position = outgoing.and_then(|outgoing| outgoing.position);
        let (Some(position), Some(stored)) = (position, &self.stored) else {
            self.machine.on_received(id, &mut self.out);
            self.counts.packets_out += 1;
            return;
        };
        let consumer = Arc::clone(&stored.consumer);
        let state = self.state();
        let broker = self.broker.clone();
        self.taking.push(Box::pin(async move {
            let is_kept = broker.save_state(state).await
                && consumer.acknowledge(vec![position]).await.is_ok();
            Step::Received(id, is_kept)
        }));
    }

    /// PUBREL: the identifier is free again once that is kept.
    pub(super) fn on_released(&mut self, id: u16) {
        self.machine.release(id);
        if !self.session.is_durable() {
            self.machine.on_released(id, &mut self.out);
            self.counts.packets_out += 1;
            return;
        }
        let (state, broker) = (self.state(), self.broker.clone());
        self.taking.push(Box::pin(async move {
            Step::Released(id, broker.save_state(state).await)
        }));
    }

    /// A publication with QoS 2 is taken: its identifier is kept before PUBREC says so.
    pub(super) fn keep_received(&mut self, id: u16, reason: Reason) {
        let (mut state, broker) = (self.state(), self.broker.clone());
        state.received.push(id);
        self.taking.push(Box::pin(async move {
            Step::Kept(id, reason, broker.save_state(state).await)
        }));
    }

    fn state(&self) -> crate::mqtt::StoredSession {
        let expiry_s = self.machine.negotiated().session_expiry_s;
        sessions::stored(&self.session, self.machine.kept(), expiry_s, false)
    }
}
