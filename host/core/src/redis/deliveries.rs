//! What one gateway holds of a consumer group: entries that were read, with whom each is, and when it
//! comes again. The server keeps who has read what; this decides who gets it here. Pure.
//!
//! ```text
//!            ┌──────── back-off, or released ────────┐
//! insert ─▶ ready ── take ─▶ with a member ── refuse, late ─┤
//!                                │                          └─ after `deliveries_max` ─▶ dead
//!                                └─ acknowledge ─▶ gone
//! ```
//! With `is_ordered` the entries of one lane (publisher and key) are given out one after the other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::entry::{order_key, publisher_key, stored_at_ms};
use crate::{
    event::{
        EVENT_OVERHEAD_BYTES, Event,
        durable::{ConsumerSettings, Position, Redelivery, StoredEvent},
    },
    text::Text,
};

/// How entries are given out: what of `ConsumerSettings` matters for that.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Zero: for ever.
    pub ack_wait: Duration,
    pub back_off: Vec<Duration>,
    /// 0: no bound.
    pub deliveries_max: u32,
    pub in_flight_max: usize,
    pub is_ordered: bool,
}

/// Entries of one group that this gateway holds.
#[derive(Debug)]
pub struct Deliveries {
    settings: DeliverySettings,
    held: BTreeMap<Position, Held>,
    /// What may be given out, but for its lane.
    ready: BTreeSet<Position>,
    /// What becomes ready, or late, and when.
    timers: BTreeSet<(Instant, Position)>,
    lanes: HashMap<Lane, BTreeSet<Position>>,
    n_in_flight: usize,
    dead: VecDeque<DeadDelivery>,
    n_redelivered: u64,
    /// Octets of what is held.
    n_bytes: usize,
    /// What an entry has, as those that came last had it.
    usual_bytes: usize,
}

/// An event that is not to be given out again.
#[derive(Debug, Clone)]
pub struct DeadDelivery {
    pub stored: StoredEvent,
    pub reason: Text,
}

/// Publisher and key.
type Lane = (Text, Text);

#[derive(Debug)]
struct Held {
    event: Event,
    /// Deliveries that have begun.
    n_deliveries: u32,
    lane: Option<Lane>,
    state: HeldState,
    timer: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldState {
    Ready,
    BackingOff,
    With { member: u64 },
}

impl DeliverySettings {
    #[must_use]
    pub fn of(settings: &ConsumerSettings) -> Self {
        Self {
            ack_wait: settings.ack_wait,
            back_off: settings.back_off.clone(),
            deliveries_max: settings.deliveries_max,
            in_flight_max: settings.in_flight_max.max(1),
            is_ordered: settings.is_ordered,
        }
    }

    /// The wait before the delivery after number `n_deliveries`.
    fn pause(&self, n_deliveries: u32) -> Duration {
        let idx = usize::try_from(n_deliveries.saturating_sub(1)).unwrap_or(usize::MAX);
        let pause = self.back_off.get(idx).or_else(|| self.back_off.last());
        pause.copied().unwrap_or_default()
    }
}

impl Deliveries {
    #[must_use]
    pub fn new(settings: DeliverySettings) -> Self {
        Self {
            settings,
            held: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            lanes: HashMap::new(),
            n_in_flight: 0,
            dead: VecDeque::new(),
            n_redelivered: 0,
            n_bytes: 0,
            usual_bytes: FIRST_BYTES,
        }
    }

    /// What is given out from here on is given out so.
    pub fn apply(&mut self, settings: DeliverySettings) {
        self.settings = settings;
    }

    /// Entries that may be read beside those that are held: as many as may be in flight wait here, and no
    /// more than have room. While nothing is held there is room for one.
    #[must_use]
    pub fn room(&self) -> usize {
        let n_held = self.held.len() + self.dead.len();
        let most = self.settings.in_flight_max.saturating_mul(2).min(HELD_MAX);
        let by_bytes = BYTES_MAX.saturating_sub(self.n_bytes) / self.usual_bytes.max(1);
        let at_least = usize::from(n_held == 0);
        most.saturating_sub(n_held).min(by_bytes.max(at_least))
    }

    /// Takes over an entry that was read. `n_deliveries` have begun before, with whomever. False where it
    /// is held already.
    pub fn insert(&mut self, position: Position, event: Event, n_deliveries: u32) -> bool {
        if self.held.contains_key(&position) {
            return false;
        }
        let n_bytes = bytes_of(&event);
        self.n_bytes += n_bytes;
        self.usual_bytes = (self.usual_bytes * 7 + n_bytes) / 8;
        let is_ordered = self.settings.is_ordered;
        let lane = is_ordered.then(|| (publisher_key(&event.publisher), order_key(&event)));
        if let Some(lane) = &lane {
            self.lanes.entry(lane.clone()).or_default().insert(position);
        }
        let held = Held {
            event,
            n_deliveries,
            lane,
            state: HeldState::Ready,
            timer: None,
        };
        self.held.insert(position, held);
        self.ready.insert(position);
        true
    }

    /// What `member` gets: at most `events_max`, the oldest first.
    pub fn take(&mut self, member: u64, events_max: usize, now: Instant) -> Vec<StoredEvent> {
        let free = self.settings.in_flight_max.saturating_sub(self.n_in_flight);
        let most = events_max.min(free);
        let mut taken = Vec::new();
        let mut passed = Vec::new();
        while taken.len() < most
            && let Some(position) = self.ready.pop_first()
        {
            if self.is_first_of_its_lane(position) {
                taken.extend(self.give(position, member, now));
            } else {
                passed.push(position);
            }
        }
        self.ready.extend(passed);
        taken
    }

    /// Entries of `positions` that are held here.
    #[must_use]
    pub fn known(&self, positions: &[Position]) -> Vec<Position> {
        let known = positions.iter().filter(|one| self.held.contains_key(one));
        known.copied().collect()
    }

    /// They were handled, or are with somebody else. Says how many of them were held.
    pub fn forget(&mut self, positions: &[Position]) -> u64 {
        let mut n_forgotten = 0;
        for position in positions {
            n_forgotten += u64::from(self.remove(*position).is_some());
        }
        n_forgotten
    }

    /// A member could not handle an event. False where it is not with a member.
    pub fn refuse(
        &mut self,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
        now: Instant,
    ) -> bool {
        if !self.is_with_a_member(position) {
            return false;
        }
        match redelivery {
            Redelivery::BackOff => self.redeliver(position, &reason, now),
            Redelivery::Released => self.release(position),
            Redelivery::Never => self.bury(position, reason),
        }
        true
    }

    /// A member went away: what it had comes again at once, and those deliveries do not count.
    pub fn on_member_gone(&mut self, member: u64) {
        let with = |held: &Held| held.state == HeldState::With { member };
        let left: Vec<_> = self.held.iter().filter(|(_, held)| with(held)).collect();
        let left: Vec<_> = left.into_iter().map(|(position, _)| *position).collect();
        for position in left {
            self.release(position);
        }
    }

    /// When something becomes ready or late by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, position)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, position));
            let Some(held) = self.held.get_mut(&position) else {
                continue;
            };
            held.timer = None;
            match held.state {
                HeldState::Ready => {}
                HeldState::BackingOff => {
                    held.state = HeldState::Ready;
                    self.ready.insert(position);
                }
                HeldState::With { .. } => {
                    let reason = Text::from_static("not acknowledged in time");
                    self.redeliver(position, &reason, now);
                }
            }
        }
    }

    /// The next event that is to become a dead letter; it is this one again until `on_buried`.
    #[must_use]
    pub fn next_dead(&self) -> Option<&DeadDelivery> {
        self.dead.front()
    }

    /// It is a dead letter.
    pub fn on_buried(&mut self) {
        self.dead.pop_front();
    }

    /// Everything that is held here, dead letters that are not written yet included.
    #[must_use]
    pub fn positions(&self) -> BTreeSet<Position> {
        let dead = self.dead.iter().map(|dead| dead.stored.position);
        self.held.keys().copied().chain(dead).collect()
    }

    #[must_use]
    pub const fn n_in_flight(&self) -> usize {
        self.n_in_flight
    }

    /// Deliveries after the first of an event.
    #[must_use]
    pub const fn n_redelivered(&self) -> u64 {
        self.n_redelivered
    }

    fn is_with_a_member(&self, position: Position) -> bool {
        let held = self.held.get(&position);
        held.is_some_and(|held| matches!(held.state, HeldState::With { .. }))
    }

    fn is_first_of_its_lane(&self, position: Position) -> bool {
        let lane = self.held.get(&position).and_then(|held| held.lane.as_ref());
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        lane.is_none_or(|lane| lane.first() == Some(&position))
    }

    fn give(&mut self, position: Position, member: u64, now: Instant) -> Option<StoredEvent> {
        let ack_wait = self.settings.ack_wait;
        let held = self.held.get_mut(&position)?;
        held.state = HeldState::With { member };
        held.n_deliveries = held.n_deliveries.saturating_add(1);
        self.n_in_flight += 1;
        self.n_redelivered += u64::from(held.n_deliveries > 1);
        let stored = held.stored(position);
        if !ack_wait.is_zero() {
            self.set_timer(position, now.checked_add(ack_wait));
        }
        Some(stored)
    }

    fn release(&mut self, position: Position) {
        if self.take_back(position)
            && let Some(held) = self.held.get_mut(&position)
        {
            held.n_deliveries = held.n_deliveries.saturating_sub(1);
            held.state = HeldState::Ready;
            self.ready.insert(position);
        }
    }

    fn redeliver(&mut self, position: Position, reason: &Text, now: Instant) {
        let most = self.settings.deliveries_max;
        let n_deliveries = self.held.get(&position).map_or(0, |held| held.n_deliveries);
        if most != 0 && n_deliveries >= most {
            let reason = format!("{reason}, {n_deliveries} deliveries of {most}");
            self.bury(position, reason.into());
            return;
        }
        if !self.take_back(position) {
            return;
        }
        let pause = self.settings.pause(n_deliveries);
        if let Some(held) = self.held.get_mut(&position) {
            held.state = HeldState::BackingOff;
        }
        self.set_timer(position, now.checked_add(pause));
    }

    fn bury(&mut self, position: Position, reason: Text) {
        if let Some(held) = self.remove(position) {
            let stored = held.stored(position);
            self.dead.push_back(DeadDelivery { stored, reason });
        }
    }

    /// From its member. False where it is with none.
    fn take_back(&mut self, position: Position) -> bool {
        let is_with = self.is_with_a_member(position);
        if is_with {
            self.n_in_flight -= 1;
            self.set_timer(position, None);
        }
        is_with
    }

    fn remove(&mut self, position: Position) -> Option<Held> {
        self.take_back(position);
        self.set_timer(position, None);
        self.ready.remove(&position);
        let held = self.held.remove(&position)?;
        self.n_bytes -= bytes_of(&held.event);
        if let Some(lane) = &held.lane
            && let Some(positions) = self.lanes.get_mut(lane)
        {
            positions.remove(&position);
            if positions.is_empty() {
                self.lanes.remove(lane);
            }
        }
        Some(held)
    }

    fn set_timer(&mut self, position: Position, at: Option<Instant>) {
        let Some(held) = self.held.get_mut(&position) else {
            return;
        };
        if let Some(before) = held.timer.take() {
            self.timers.remove(&(before, position));
        }
        if let Some(at) = at {
            held.timer = Some(at);
            self.timers.insert((at, position));
        }
    }
}

impl Held {
    fn stored(&self, position: Position) -> StoredEvent {
        StoredEvent {
            position,
            stored_at_ms: stored_at_ms(position),
            n_deliveries: self.n_deliveries,
            event: self.event.clone(),
        }
    }
}

fn bytes_of(event: &Event) -> usize {
    let headers = event.headers.section().len();
    EVENT_OVERHEAD_BYTES + event.topic.len() + headers + event.payload.len()
}

/// Entries that one group holds here, whatever may be in flight.
const HELD_MAX: usize = 4096;
/// Octets of them, but for what the last read had beyond that.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Of an entry, as long as none has come: the largest event that a gateway takes by default.
const FIRST_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
