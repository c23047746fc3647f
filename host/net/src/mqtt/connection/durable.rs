//! The stored queue of a session: what was published with QoS 1 and 2, until the client has
//! acknowledged it.
//!
//! ```text
//! consumer ─ take ─▶ events ─▶ OutgoingPublish ─▶ client
//!     ▲                                      │ PUBACK: acknowledged, in batches
//!     └── acknowledge ◀──────────────────────┘ PUBREC: kept as released, acknowledged, then PUBREL
//! ```

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    event::durable::{EventConsumer, Position, StoredEvent},
    mqtt::{OutgoingPublish, Qos, Reason, Receipt, WindowStanding, client_of},
};

use super::{
    Connection, End,
    stored_queue::{StoredQueue, publication_of},
    taking::{Received, Step},
};
use crate::{
    link::StreamLink,
    mqtt::keeping::{first_receipt, stored},
};

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
    ) -> Result<Option<OutgoingPublish>, End> {
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
    fn outgoing_of(&self, now: Instant, stored: &StoredEvent) -> Option<OutgoingPublish> {
        let publication = publication_of(now, stored)?;
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
        let mut outgoing = OutgoingPublish::new(Arc::new(publication), qos);
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
    pub(super) fn on_acknowledged(&mut self, outgoing: &OutgoingPublish) {
        let Some(position) = outgoing.position else {
            return;
        };
        match outgoing.share {
            Some(key) => {
                if let Some(share) = self.share_mut(key) {
                    share.on_handled(position);
                }
            }
            None => {
                if let Some(stored) = &mut self.stored {
                    stored.handled.push(position);
                }
            }
        }
    }

    /// PUBREC: the client has it. That is kept before it is told so.
    pub(super) fn on_received(&mut self, id: u16, outgoing: Option<OutgoingPublish>) {
        let found = outgoing
            .as_ref()
            .and_then(|outgoing| self.consumer_of(outgoing));
        let Some((consumer, position)) = found else {
            self.machine.on_received(id, &mut self.out);
            self.counts.packets_out += 1;
            return;
        };
        let is_shared = outgoing.is_some_and(|outgoing| outgoing.share.is_some());
        let state = self.session.is_durable().then(|| self.state());
        let (broker, session) = (self.broker.clone(), Arc::clone(&self.session));
        self.taking.push(Box::pin(async move {
            let is_kept = match state {
                Some(state) => broker.save_state(&session, state).await,
                None => true,
            };
            let n_acknowledged = match is_kept {
                true => consumer.acknowledge(vec![position]).await,
                false => Ok(0),
            };
            let received = Received {
                id,
                // The queue of a share may have ended.
                is_kept: is_kept && (is_shared || n_acknowledged.is_ok()),
                // Another consumer of the session has it by now.
                repeated: (!is_shared && matches!(n_acknowledged, Ok(0))).then_some(position),
            };
            Step::Received(received)
        }));
    }

    /// Where what was sent is to be acknowledged.
    fn consumer_of(
        &mut self,
        outgoing: &OutgoingPublish,
    ) -> Option<(Arc<dyn EventConsumer>, Position)> {
        let position = outgoing.position?;
        let consumer = match outgoing.share {
            Some(key) => {
                let share = self.share_mut(key)?;
                share.on_taken_over(position);
                Arc::clone(&share.member.consumer)
            }
            None => Arc::clone(&self.stored.as_ref()?.consumer),
        };
        Some((consumer, position))
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
        let session = Arc::clone(&self.session);
        self.taking.push(Box::pin(async move {
            Step::Released(id, broker.save_state(&session, state).await)
        }));
    }

    /// What the stored message of a publication with QoS 2 says of it, where the session is kept.
    pub(super) fn receipt_of(&mut self, packet_id: Option<u16>) -> Option<Receipt> {
        let packet_id = packet_id.filter(|_| self.session.is_durable())?;
        Some(self.machine.next_receipt(packet_id, first_receipt()))
    }

    /// A publication with QoS 2 is taken: its identifier is kept before PUBREC says so.
    pub(super) fn keep_received(&mut self, id: u16, receipt: Option<Receipt>, reason: Reason) {
        // Those that are kept at the same time are in what is kept last.
        self.machine.on_taken(id, receipt);
        let (state, broker) = (self.state(), self.broker.clone());
        let session = Arc::clone(&self.session);
        self.taking.push(Box::pin(async move {
            Step::Kept(id, reason, broker.save_state(&session, state).await)
        }));
    }

    /// Puts the session's state down as the newest, to be kept by its number.
    fn state(&self) -> u64 {
        let expiry_s = self.machine.negotiated().session_expiry_s;
        let state = stored(&self.session, self.machine.kept(), expiry_s, false);
        self.session.record.replace(state)
    }
}
