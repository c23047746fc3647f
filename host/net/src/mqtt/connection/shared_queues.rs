//! What a client takes of stored shared subscriptions.
//!
//! ```text
//! queue of the share ─ take ─▶ OutgoingPublish ─▶ client ─ PUBACK, PUBCOMP ─▶ acknowledged
//!        ▲                           │ the member leaves
//!        └──── to another member ◀───┘ but for QoS 2, which waits for the client to come back
//! ```

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Error, Kind, Text,
    event::durable::{Position, Redelivery, StoredEvent},
    mqtt::{OutgoingPublish, Qos, Reason, ShareKey},
};

use super::{
    Connection, End,
    stored_queue::{StoredQueue, publication_of},
    taking::Step,
};
use crate::{
    link::StreamLink,
    mqtt::share_member::{HeldShare, ShareMember},
};

/// One share that the client takes from.
pub(super) struct SharedQueue {
    pub(super) member: ShareMember,
    queue: StoredQueue,
    /// Given to this member, and not acknowledged.
    open: BTreeSet<Position>,
}

impl SharedQueue {
    fn new(member: ShareMember, in_flight_max: u16) -> Self {
        let consumer = Arc::clone(&member.consumer);
        Self {
            member,
            queue: StoredQueue::new(consumer, in_flight_max.min(TAKEN_MAX)),
            open: BTreeSet::new(),
        }
    }

    /// One of an earlier connection of the client's.
    pub(super) fn of_held(held: HeldShare, in_flight_max: u16) -> Self {
        Self {
            open: held.positions.into_iter().collect(),
            ..Self::new(held.member, in_flight_max)
        }
    }

    pub(super) fn on_handled(&mut self, position: Position) {
        self.open.remove(&position);
        self.queue.handled.push(position);
    }

    /// It is acknowledged apart from the others.
    pub(super) fn on_taken_over(&mut self, position: Position) {
        self.open.remove(&position);
    }

    /// The next event; none while there is none.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Result<Option<StoredEvent>, Error> {
        match self.queue.poll_event(cx) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(event)) => {
                self.open.insert(event.position);
                Ok(Some(event))
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// The member leaves. What it has is another's, but for `kept`, which is given back here.
    pub(super) async fn leave(self, kept: BTreeSet<Position>) -> Option<HeldShare> {
        let Self {
            member,
            queue,
            mut open,
        } = self;
        open.extend(queue.unsent());
        queue.finish().await;
        if kept.is_empty() {
            return None;
        }
        for position in open.difference(&kept) {
            let released = Redelivery::Released;
            let refused = member.consumer.refuse(*position, released, Text::default());
            // What cannot be released is when the member is dropped.
            let _ = refused.await;
        }
        Some(HeldShare {
            member,
            positions: kept.into_iter().collect(),
        })
    }
}

impl<S: StreamLink> Connection<S> {
    /// Asks which shares there are, where that has changed. True where it has.
    pub(super) fn poll_shares(&mut self) -> bool {
        if !self.session.take_shares_changed() {
            return false;
        }
        let known = self.known_shares();
        let (broker, session) = (self.broker.clone(), Arc::clone(&self.session));
        self.taking.push(Box::pin(async move {
            let opened = broker.open_shares(&session, &known).await;
            Step::Shares(opened.map_err(|error| not_opened(&error)))
        }));
        true
    }

    pub(super) fn known_shares(&self) -> Vec<ShareKey> {
        let known = self.shares.iter().map(|share| share.member.key);
        known.collect()
    }

    /// Takes from `members` as well, and no more from what the client is not subscribed to.
    pub(super) fn on_shares(&mut self, members: Vec<ShareMember>) {
        for member in members {
            if !self.known_shares().contains(&member.key) {
                let in_flight_max = self.limits.in_flight_max;
                self.shares.push(SharedQueue::new(member, in_flight_max));
            }
        }
        let subscriptions = self.session.subscriptions.lock();
        let is_wanted = |share: &SharedQueue| subscriptions.contains_key(&share.member.filter);
        self.shares.retain(is_wanted);
    }

    /// Sends what shares have for this client, as far as there is room.
    pub(super) fn send_shared(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        let mut idx = 0;
        while !self.is_output_full() && self.machine.has_window() {
            let Some(share) = self.shares.get_mut(idx) else {
                break;
            };
            if let Some(held) = share.queue.take_held() {
                self.send_share_event(now, idx, held);
                continue;
            }
            let event = match share.poll_event(cx) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    idx += 1;
                    continue;
                }
                Err(error) if error.kind == Kind::NotFound => {
                    // Its last subscription has ended, this client's as well.
                    self.shares.remove(idx);
                    continue;
                }
                Err(error) => {
                    let text = format!("the queue of a share cannot be read: {error}");
                    return Err(End::with(Reason::UNSPECIFIED, text));
                }
            };
            match self.outgoing_of_share(now, idx, &event) {
                Some(outgoing) => self.send_share_event(now, idx, outgoing),
                None => self.on_share_handled(idx, event.position),
            }
        }
        self.poll_shares_acknowledging(cx)
    }

    fn send_share_event(&mut self, now: Instant, idx: usize, outgoing: OutgoingPublish) {
        let (qos, position) = (outgoing.qos, outgoing.position);
        let unsent = self.send(now, outgoing);
        match (unsent, self.shares.get_mut(idx)) {
            (Some(outgoing), Some(share)) => share.queue.hold_back(outgoing),
            // Nobody acknowledges it.
            (None, Some(share)) if qos == Qos::AtMostOnce => {
                position.into_iter().for_each(|at| share.on_handled(at));
            }
            (_, _) => {}
        }
    }

    fn on_share_handled(&mut self, idx: usize, position: Position) {
        if let Some(share) = self.shares.get_mut(idx) {
            share.on_handled(position);
        }
    }

    /// None for what nobody is to get any more.
    fn outgoing_of_share(
        &self,
        now: Instant,
        idx: usize,
        event: &StoredEvent,
    ) -> Option<OutgoingPublish> {
        let member = &self.shares.get(idx)?.member;
        let publication = publication_of(now, event)?;
        let subscriptions = self.session.subscriptions.lock();
        let options = subscriptions.get(&member.filter).copied();
        drop(subscriptions);
        let options = options.unwrap_or_default();
        let qos = publication.qos.min(options.qos);
        let mut outgoing = OutgoingPublish::new(Arc::new(publication), qos);
        outgoing.position = Some(event.position);
        outgoing.share = Some(member.key);
        outgoing.is_duplicate = event.n_deliveries > 1;
        outgoing.subscription_ids = options.id.map(|id| Arc::from([id]));
        Some(outgoing)
    }

    fn poll_shares_acknowledging(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for share in &mut self.shares {
            match share.queue.poll_acknowledging(cx) {
                Poll::Ready(Err(error)) if error.kind != Kind::NotFound => {
                    let text = format!("an acknowledgement of a share was not stored: {error}");
                    return Err(End::with(Reason::UNSPECIFIED, text));
                }
                Poll::Ready(_) | Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// The share that something came by.
    pub(super) fn share_mut(&mut self, key: ShareKey) -> Option<&mut SharedQueue> {
        self.shares.iter_mut().find(|share| share.member.key == key)
    }
}

/// What a client is told whose shares cannot be read.
pub(super) fn not_opened(error: &Error) -> String {
    format!("the queue of a shared subscription was not opened: {error}")
}

/// Messages that a member takes at a time: what it has, the others do not get.
const TAKEN_MAX: u16 = 16;
