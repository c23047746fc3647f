//! Who can be picked: an immutable list of members, each with a weight that may still be rising.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    PickRequest, hash,
    load::{InFlight, Load},
    slow_start::{SlowStart, WHOLE},
};
use crate::text::Text;

/// One thing that can answer a call.
#[derive(Debug, Clone)]
pub struct Member {
    /// Unique in its set, and the same for the same instance in every set.
    pub id: Text,
    /// Share of the calls relative to the others. 0 stands by: it is picked when nobody else may
    /// be.
    pub weight: u32,
    pub zone: Option<Text>,
    pub metadata: BTreeMap<Text, Text>,
    pub version: Option<Text>,
    /// When it became available, for slow start.
    pub since: Instant,
    pub load: Arc<Load>,
}

/// The members of one service in the caller's order; a balancer answers with a place in it.
#[derive(Debug, Clone, Default)]
pub struct Set {
    members: Vec<Member>,
    /// Full weights, side by side: a pick reads them all and of most members nothing else.
    weights: Box<[u32]>,
    zone: Option<Text>,
    slow_start: SlowStart,
    /// When the last member has its full weight; `None` when all have.
    warm_at: Option<Instant>,
}

/// What members weigh at one instant.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    set: &'a Set,
    full: &'a [u32],
    /// `None` when all have their full weight.
    rising_at: Option<Instant>,
}

impl Member {
    /// A member of weight 1 that is available from `now` on and of which nothing else is known.
    #[must_use]
    pub fn new(id: impl Into<Text>, now: Instant) -> Self {
        Self {
            id: id.into(),
            weight: 1,
            zone: None,
            metadata: BTreeMap::new(),
            version: None,
            since: now,
            load: Arc::new(Load::new(now)),
        }
    }

    /// Counts a call as in flight at this member.
    pub fn begin(&self) -> InFlight {
        self.load.begin()
    }
}

impl Set {
    /// A set without slow start, of a gateway that is in no zone.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        Self {
            weights: members.iter().map(|member| member.weight).collect(),
            members,
            ..Self::default()
        }
    }

    /// The zone of the gateway itself.
    #[must_use]
    pub fn in_zone(self, zone: Option<Text>) -> Self {
        Self { zone, ..self }
    }

    #[must_use]
    pub fn with_slow_start(self, slow_start: SlowStart) -> Self {
        let ends = |member: &Member| slow_start.ends(member.since);
        Self {
            warm_at: self.members.iter().filter_map(ends).max(),
            slow_start,
            ..self
        }
    }

    /// Weights by id, over those that the members came with. Others keep theirs.
    #[must_use]
    pub fn with_weights(mut self, weights: &BTreeMap<Text, u32>) -> Self {
        for (member, kept) in self.members.iter_mut().zip(&mut self.weights) {
            if let Some(weight) = weights.get(&member.id) {
                (member.weight, *kept) = (*weight, *weight);
            }
        }
        self
    }

    /// Members that `previous` had too keep their loads, with the calls in flight and the response
    /// times.
    #[must_use]
    pub fn with_loads_of(mut self, previous: &Self) -> Self {
        let loads: BTreeMap<&Text, &Arc<Load>> = previous
            .members
            .iter()
            .map(|member| (&member.id, &member.load))
            .collect();
        for member in &mut self.members {
            if let Some(load) = loads.get(&member.id) {
                member.load = Arc::clone(load);
            }
        }
        self
    }

    pub(super) fn filtered(&self, holds: impl Fn(&Member) -> bool) -> Self {
        let members = self.members.iter().filter(|member| holds(member));
        Self::new(members.cloned().collect())
            .in_zone(self.zone.clone())
            .with_slow_start(self.slow_start)
    }

    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    #[must_use]
    pub fn get(&self, member_idx: usize) -> Option<&Member> {
        self.members.get(member_idx)
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The zone of the gateway.
    #[must_use]
    pub const fn zone(&self) -> Option<&Text> {
        self.zone.as_ref()
    }

    /// Whether every member has its full weight at `now`.
    #[must_use]
    pub fn is_warm(&self, now: Instant) -> bool {
        self.warm_at.is_none_or(|at| at <= now)
    }

    /// The weights at `now`: looks at the clock once for all members.
    pub(super) fn weights(&self, now: Instant) -> Weights<'_> {
        Weights {
            set: self,
            full: &self.weights,
            rising_at: (!self.is_warm(now)).then_some(now),
        }
    }

    /// Whether it has weight at all; others stand by.
    pub(super) fn takes_part(&self, member_idx: usize) -> bool {
        self.weights.get(member_idx) > Some(&0)
    }

    /// Any member that may be picked, beginning at a place that `number` names; one that stands by
    /// only when there is no other. For when a policy finds nobody.
    pub(super) fn any(&self, number: u64, ask: &PickRequest<'_>) -> Option<usize> {
        let start = hash::place(number, self.len());
        let mut standby = None;
        for member_idx in (start..self.len()).chain(0..start) {
            if !ask.may(member_idx) {
                continue;
            }
            if self.takes_part(member_idx) {
                return Some(member_idx);
            }
            standby = standby.or(Some(member_idx));
        }
        standby
    }
}

impl Weights<'_> {
    /// A member's weight, in parts of `WHOLE`. 0 only when it stands by, or is not there.
    pub(super) fn of(&self, member_idx: usize) -> u64 {
        let full = self.full.get(member_idx).copied().unwrap_or(0);
        let parts = match self.rising_at {
            None => WHOLE,
            Some(now) => self.parts(member_idx, now),
        };
        u64::from(full) * parts
    }

    /// The share of its weight that a member has, in parts of `WHOLE`.
    fn parts(&self, member_idx: usize, now: Instant) -> u64 {
        let since = self.set.get(member_idx).map(|member| member.since);
        let age = since.map(|since| now.saturating_duration_since(since));
        age.map_or(WHOLE, |age| self.set.slow_start.parts(age))
    }

    /// Whether chance gives a member the turn that it would have with its full weight.
    pub(super) fn takes_turn(&self, member_idx: usize, random: u64) -> bool {
        let chance = |now| {
            let number = hash::nth(random, member_idx as u64);
            hash::below(number, WHOLE) < self.parts(member_idx, now)
        };
        self.set.takes_part(member_idx) && self.rising_at.is_none_or(chance)
    }

    /// All members that take part and may be picked, with their weights.
    pub(super) fn of_all<'a>(
        self,
        ask: &'a PickRequest<'_>,
    ) -> impl Iterator<Item = (usize, u64)> + 'a
    where
        Self: 'a,
    {
        (0..self.full.len())
            .map(move |member_idx| (member_idx, self.of(member_idx)))
            .filter(|(member_idx, weight)| *weight > 0 && ask.may(*member_idx))
    }
}

#[cfg(test)]
mod tests;
