//! What a session's consumer has given out, and what is to be said of it.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant, UNIX_EPOCH},
};

use postern_core::{
    BoxFuture, Error,
    event::durable::{EventConsumer, Position, StoredEvent},
    mqtt::{OutgoingPublish, Publication},
};
use postern_system::clock;

/// A member of the session's consumer, and what it was given.
pub(super) struct StoredQueue {
    pub(super) consumer: Arc<dyn EventConsumer>,
    events_max: usize,
    taking: Option<BoxFuture<Result<Vec<StoredEvent>, Error>>>,
    events: VecDeque<StoredEvent>,
    /// Its packet identifier is in use, or the client's window is full.
    held: Option<OutgoingPublish>,
    /// Handled, and not acknowledged to the consumer.
    pub(super) handled: Vec<Position>,
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

    pub(super) fn hold_back(&mut self, outgoing: OutgoingPublish) {
        self.held = Some(outgoing);
    }

    pub(super) fn take_held(&mut self) -> Option<OutgoingPublish> {
        self.held.take()
    }

    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<StoredEvent, Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Ok(event));
        }
        let (consumer, events_max) = (&self.consumer, self.events_max);
        let taking = self.taking.get_or_insert_with(|| consumer.take(events_max));
        let taken = ready!(taking.as_mut().poll(cx));
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
    pub(super) fn poll_acknowledging(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if self.acknowledging.is_none() {
                if self.handled.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let handled = std::mem::take(&mut self.handled);
                self.acknowledging = Some(self.consumer.acknowledge(handled));
            }
            if let Some(acknowledging) = &mut self.acknowledging {
                ready!(acknowledging.as_mut().poll(cx))?;
                self.acknowledging = None;
            }
        }
    }

    /// What it was given and the client was not sent.
    pub(super) fn unsent(&self) -> Vec<Position> {
        let held = self.held.as_ref().and_then(|held| held.position);
        let events = self.events.iter().map(|event| event.position);
        events.chain(held).collect()
    }

    /// Acknowledges what was handled.
    pub(super) async fn finish(mut self) {
        let finished = std::future::poll_fn(|cx| self.poll_acknowledging(cx));
        if let Err(error) = finished.await {
            tracing::warn!(%error, "acknowledgements of an MQTT session were not stored");
        }
    }
}

/// A stored event as it is to be sent; none where nobody is to get it any more.
pub(super) fn publication_of(now: Instant, stored: &StoredEvent) -> Option<Publication> {
    let wall = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = wall.saturating_sub(Duration::from_millis(stored.stored_at_ms));
    let publication = Publication::of_event(&stored.event, now, age);
    (!publication.is_expired(now)).then_some(publication)
}
