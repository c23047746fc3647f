//! One consumer: what it was given, what it acknowledged, what comes again and when.
//!
//! ```text
//!                              released ┌──────────┐
//!                                       ▼          │
//!  offered ──▶ ready ──deliver──▶ with a member ───┤ acknowledged ─▶ gone
//!                ▲                      │ refused, or `ack_wait` over
//!                └─── back-off ◀────────┤
//!                                       └─ `deliveries_max` reached, or refused for good ─▶ dead
//!                                                             its dead letter is kept ─▶ gone
//! ```
//!
//! The consumer looks at the log's events in their order. What it has looked at and is not in its
//! window was acknowledged, or was none of its events; so the window is all that has to be remembered.
//! Ordered, an event is ready only while it is the first of its publisher and key in the window.

mod pending;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use self::pending::{Pending, PendingStanding};
use super::{ConsumerSettings, ConsumerStart, DeadEvent, OrderKey, Position, Redelivery};
use crate::{event::TopicPattern, text::Text};

/// Events that a consumer looks at beyond those that it may give out at a time: those that wait for
/// their back-off, or for another one before them.
pub const WAITING_MAX: usize = 1024;

/// One of those that take from a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// The state of one consumer.
#[derive(Debug)]
pub struct ConsumerState {
    settings: ConsumerSettings,
    /// Each pattern with the position behind which it counts.
    since: Vec<(TopicPattern, Position)>,
    /// The last event that was looked at.
    looked: Position,
    /// Behind which every pattern counts.
    settled: Position,
    /// The last one that was ever looked at, restarts included.
    reached: Position,
    /// Not acknowledged before a restart and not looked at again yet, with deliveries.
    restored: BTreeMap<Position, u32>,
    window: BTreeMap<Position, Pending>,
    /// Of an ordered consumer: what the window has of each publisher and key.
    queues: HashMap<OrderKey, VecDeque<Position>>,
    ready: BTreeSet<Position>,
    timers: BTreeSet<(Instant, Position)>,
    /// Dead ones that are due.
    dying: Vec<Position>,
    n_held: usize,
    counts: ConsumerCounts,
}

/// What happened to a consumer's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerCounts {
    /// Deliveries after the first.
    pub n_redelivered: u64,
    pub n_dead: u64,
    /// Events that the log dropped before they were acknowledged.
    pub n_lost: u64,
}

impl ConsumerState {
    /// One that nobody knew. `last` is the newest position of its log.
    #[must_use]
    pub fn new(settings: ConsumerSettings, last: Position) -> Self {
        let begin = match settings.start {
            ConsumerStart::First => Position(0),
            ConsumerStart::New => last,
            ConsumerStart::After(position) => position.min(last),
        };
        let since = settings.patterns.iter().map(|one| (one.clone(), begin));
        Self {
            since: since.collect(),
            settings,
            looked: begin,
            settled: begin,
            reached: begin,
            restored: BTreeMap::new(),
            window: BTreeMap::new(),
            queues: HashMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            dying: Vec::new(),
            n_held: 0,
            counts: ConsumerCounts::default(),
        }
    }

    /// Takes other settings; a pattern that is new counts behind `last`. Says whether patterns changed.
    pub fn apply(&mut self, settings: ConsumerSettings, last: Position) -> bool {
        let known: HashMap<_, _> = self.since.drain(..).collect();
        let with_since = |pattern: &TopicPattern| {
            let since = known.get(pattern).copied();
            (pattern.clone(), since.unwrap_or(last))
        };
        self.since = settings.patterns.iter().map(with_since).collect();
        self.settle();
        let is_same = self.settings.patterns == settings.patterns;
        self.settings = settings;
        !is_same
    }

    #[must_use]
    pub const fn settings(&self) -> &ConsumerSettings {
        &self.settings
    }

    #[must_use]
    pub const fn counts(&self) -> ConsumerCounts {
        self.counts
    }

    /// Whether the event at `position` is for this consumer.
    #[must_use]
    pub fn wants(&self, position: Position, topic: &str) -> bool {
        let mut since = self.since.iter();
        since.any(|(pattern, since)| *since < position && pattern.matches(topic))
    }

    /// As `wants`, where one of the patterns is known to match the event's topic.
    #[must_use]
    pub fn wants_matching(&self, position: Position, topic: &str) -> bool {
        position > self.settled || self.wants(position, topic)
    }

    /// Whether it was acknowledged before the restart.
    #[must_use]
    pub fn is_acknowledged(&self, position: Position) -> bool {
        position <= self.reached
            && !self.restored.contains_key(&position)
            && !self.window.contains_key(&position)
    }

    /// Behind which position it looks next.
    #[must_use]
    pub const fn looked(&self) -> Position {
        self.looked
    }

    /// Everything up to here was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Position {
        let open = self.window.keys().next().into_iter();
        let first = open.chain(self.restored.keys().next()).min();
        first.map_or_else(|| self.looked.max(self.reached), |first| first.previous())
    }

    /// How many more events it looks at, so that `wanted` can be given out.
    #[must_use]
    pub fn room(&self, wanted: usize) -> usize {
        let free = self.settings.in_flight_max.saturating_sub(self.n_held);
        let wanted = wanted.min(free).saturating_sub(self.ready.len());
        let window_max = self.settings.in_flight_max.saturating_add(WAITING_MAX);
        wanted.min(window_max.saturating_sub(self.window.len()))
    }

    /// The event at `position` is one of its own.
    pub fn offer(&mut self, position: Position, key: OrderKey) {
        if position <= self.looked {
            return;
        }
        let n_deliveries = self.restored.get(&position).copied();
        let is_known = position <= self.reached;
        self.look_up_to(position);
        if is_known && n_deliveries.is_none() {
            return;
        }
        let pending = Pending::new(key, n_deliveries.unwrap_or(0));
        self.window.insert(position, pending);
        if self.settings.is_ordered {
            self.queues.entry(key).or_default().push_back(position);
        }
        self.make_ready(position);
    }

    /// None of the events up to `position` that were not offered are its own.
    pub fn look_up_to(&mut self, position: Position) {
        if position > self.looked {
            self.looked = position;
            self.reached = self.reached.max(position);
            self.restored = self.restored.split_off(&position.next());
        }
    }

    /// Gives out at most `events_max` events, each with its number of deliveries.
    pub fn deliver(
        &mut self,
        now: Instant,
        member: MemberId,
        events_max: usize,
    ) -> Vec<(Position, u32)> {
        let free = self.settings.in_flight_max.saturating_sub(self.n_held);
        let mut given = Vec::new();
        while given.len() < events_max.min(free)
            && let Some(position) = self.ready.pop_first()
        {
            let Some(pending) = self.window.get_mut(&position) else {
                continue;
            };
            let wait = self.settings.ack_wait;
            let until = (!wait.is_zero()).then(|| now + wait);
            pending.standing = PendingStanding::Held { member, until };
            pending.n_deliveries = pending.n_deliveries.saturating_add(1);
            self.timers.extend(until.map(|until| (until, position)));
            self.counts.n_redelivered += u64::from(pending.n_deliveries > 1);
            given.push((position, pending.n_deliveries));
        }
        self.n_held += given.len();
        given
    }

    /// Says whether the event was one that had been given out and was not acknowledged yet.
    pub fn acknowledge(&mut self, position: Position) -> bool {
        // Given out before a restart.
        if self.restored.get(&position).is_some_and(|n| *n > 0) {
            return self.restored.remove(&position).is_some();
        }
        let given = self.window.get(&position).is_some_and(|pending| {
            pending.n_deliveries > 0 && !matches!(pending.standing, PendingStanding::Dead { .. })
        });
        given && self.remove(position)
    }

    /// Says whether the event was with a member.
    pub fn refuse(
        &mut self,
        now: Instant,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
    ) -> bool {
        let Some(pending) = self.window.get_mut(&position) else {
            return false;
        };
        if !matches!(pending.standing, PendingStanding::Held { .. }) {
            return false;
        }
        match redelivery {
            Redelivery::Released => {
                pending.n_deliveries = pending.n_deliveries.saturating_sub(1);
                self.set(position, PendingStanding::Ready);
            }
            Redelivery::BackOff => self.fail(now, position, reason),
            Redelivery::Never => self.bury(now, position, reason),
        }
        true
    }

    /// A member went away: what it has is ready again.
    pub fn release(&mut self, member: MemberId) {
        let is_of = |pending: &Pending| matches!(pending.standing, PendingStanding::Held { member: holder, .. } if holder == member);
        let held: Vec<_> = self
            .window
            .iter()
            .filter(|(_, pending)| is_of(pending))
            .map(|(position, _)| *position)
            .collect();
        for position in held {
            if let Some(pending) = self.window.get_mut(&position) {
                pending.n_deliveries = pending.n_deliveries.saturating_sub(1);
            }
            self.set(position, PendingStanding::Ready);
        }
    }

    /// What is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, position)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            let Some(pending) = self.window.get_mut(&position) else {
                continue;
            };
            match &mut pending.standing {
                PendingStanding::Held { .. } => {
                    let wait = self.settings.ack_wait;
                    let reason = format!("not acknowledged within {wait:?}").into();
                    self.fail(now, position, reason);
                }
                PendingStanding::BackOff { .. } => self.set(position, PendingStanding::Ready),
                PendingStanding::Dead { until, .. } => {
                    *until = None;
                    self.dying.push(position);
                }
                PendingStanding::Ready => {}
            }
        }
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether `poll_dead` has something.
    #[must_use]
    pub const fn has_dead(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Events whose dead letters are to be kept, as of the last `handle_timeout`. Each is given once,
    /// until `on_dead_letter_failed`.
    pub fn poll_dead(&mut self) -> Vec<DeadEvent> {
        let dead = |position: &Position| {
            let pending = self.window.get(position)?;
            let PendingStanding::Dead { reason, .. } = &pending.standing else {
                return None;
            };
            Some(DeadEvent {
                position: *position,
                n_deliveries: pending.n_deliveries,
                reason: reason.clone(),
            })
        };
        let found = self.dying.iter().filter_map(dead).collect();
        self.dying.clear();
        found
    }

    /// The dead letter is kept, so the event is done with.
    pub fn on_dead_letter_kept(&mut self, position: Position) {
        let is_dead = self.window.get(&position).is_some_and(Pending::is_dead);
        if is_dead && self.remove(position) {
            self.counts.n_dead += 1;
        }
    }

    /// The dead letter could not be kept; it is tried again.
    pub fn on_dead_letter_failed(&mut self, now: Instant, position: Position) {
        let pending = self.window.get_mut(&position);
        if let Some(PendingStanding::Dead { until, .. }) = pending.map(|one| &mut one.standing) {
            let again = now + DEAD_LETTER_PAUSE;
            *until = Some(again);
            self.timers.insert((again, position));
        }
    }

    /// The log's events before `first` are gone.
    pub fn on_trimmed(&mut self, first: Position) -> Vec<Position> {
        let before = |key: &Position| *key < first;
        let lost: Vec<_> = self.window.keys().copied().take_while(before).collect();
        for position in &lost {
            self.on_gone(*position);
        }
        let n_restored = self.restored.len();
        self.restored = self.restored.split_off(&first);
        self.counts.n_lost += (n_restored - self.restored.len()) as u64;
        self.look_up_to(first.previous());
        lost
    }

    /// The event at `position` is not in the log any more.
    pub fn on_gone(&mut self, position: Position) {
        if self.remove(position) {
            self.counts.n_lost += 1;
        }
    }

    /// An event was lost before it was looked at.
    pub const fn on_passed_over(&mut self) {
        self.counts.n_lost += 1;
    }

    /// Events in the window that are with no member.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.window.len() - self.n_held + self.restored.len()
    }

    #[must_use]
    pub const fn n_in_flight(&self) -> usize {
        self.n_held
    }

    /// Whether anything can be given out without looking further.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty() && self.n_held < self.settings.in_flight_max
    }

    /// Positions of the window, in order.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        self.window.keys().copied()
    }

    /// Refused, or late: once more after its back-off, or never.
    fn fail(&mut self, now: Instant, position: Position, reason: Text) {
        let Some(pending) = self.window.get(&position) else {
            return;
        };
        let n = pending.n_deliveries;
        let limit = self.settings.deliveries_max;
        if limit > 0 && n >= limit {
            return self.bury(now, position, reason);
        }
        let wait = self.back_off(n);
        if wait.is_zero() {
            return self.set(position, PendingStanding::Ready);
        }
        self.set(position, PendingStanding::BackOff { until: now + wait });
    }

    fn bury(&mut self, now: Instant, position: Position, reason: Text) {
        let until = Some(now);
        self.set(position, PendingStanding::Dead { reason, until });
    }

    /// The wait before the delivery after the `n`th.
    fn back_off(&self, n: u32) -> Duration {
        let waits = &self.settings.back_off;
        let idx = usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = waits.get(idx).or_else(|| waits.last());
        wait.copied().unwrap_or_default()
    }

    /// Changes how it stands with an event, and what follows from it.
    fn set(&mut self, position: Position, standing: PendingStanding) {
        let Some(pending) = self.window.get_mut(&position) else {
            return;
        };
        let before = std::mem::replace(&mut pending.standing, standing);
        let due = pending.standing.until();
        let is_ready = matches!(pending.standing, PendingStanding::Ready);
        if let Some(until) = before.until() {
            self.timers.remove(&(until, position));
        }
        self.timers.extend(due.map(|due| (due, position)));
        if matches!(before, PendingStanding::Held { .. }) {
            self.n_held -= 1;
        }
        if is_ready {
            self.make_ready(position);
        }
    }

    /// It may be given out, if nothing stands before it.
    fn make_ready(&mut self, position: Position) {
        let Some(pending) = self.window.get(&position) else {
            return;
        };
        let is_first = match self.queues.get(&pending.key) {
            Some(queue) => queue.front() == Some(&position),
            None => true,
        };
        if is_first {
            self.ready.insert(position);
        }
    }

    fn settle(&mut self) {
        let since = self.since.iter().map(|(_, since)| *since);
        self.settled = since.max().unwrap_or_default();
    }

    fn remove(&mut self, position: Position) -> bool {
        let Some(pending) = self.window.remove(&position) else {
            return false;
        };
        self.ready.remove(&position);
        if let Some(until) = pending.standing.until() {
            self.timers.remove(&(until, position));
        }
        if matches!(pending.standing, PendingStanding::Held { .. }) {
            self.n_held -= 1;
        }
        let Some(queue) = self.queues.get_mut(&pending.key) else {
            return true;
        };
        queue.retain(|one| *one != position);
        let Some(first) = queue.front().copied() else {
            self.queues.remove(&pending.key);
            return true;
        };
        let is_ready = |first: &Pending| matches!(first.standing, PendingStanding::Ready);
        if self.window.get(&first).is_some_and(is_ready) {
            self.ready.insert(first);
        }
        true
    }
}

/// Before a dead letter that could not be kept is tried again.
const DEAD_LETTER_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
