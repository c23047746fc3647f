//! The gateway's own zone first, others when it is short or busy.
//!
//! A call stays in the own zone unless one of these holds:
//!
//! 1. **Short.** Of the zone's weight only the share `s` may be picked, and `s` is under
//!    `minimum_percent`: then the call stays with chance `s / minimum`. At the default of 70 % a
//!    zone that has lost half of its weight keeps 71 % of its calls, so that what is left of it
//!    bears at most 1 / 0.7 of its usual load. (Envoy's overprovisioning of 1.4 says the same.)
//!    Weight in slow start counts as not there. The chance is drawn from the key where there is
//!    one, so that a key does not wander.
//! 2. **Busy.** Its members have `busy_calls` in flight each, on average, and more for their weight
//!    than the others have. Below that nobody waits and leaving the zone gains nothing; above it
//!    the zones fill evenly.
//!
//! It leaves also when nobody there may be picked, and it stays when nobody elsewhere may. Calls in
//! flight are this gateway's own. A gateway without a zone, and a set that is all in one zone or
//! has no member in the own one, is balanced as if there were no zones.

use std::sync::Arc;

use super::{Balance, BalancerMemory, PickRequest, Policy, Set, hash, slow_start::WHOLE};
use crate::text::Text;

/// When calls leave the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spill {
    /// Share of the zone's weight under which calls leave, in percent. Default 70; 0 never.
    pub minimum_percent: u8,
    /// Calls in flight per member from which calls leave. Default 32.
    pub busy_calls: u32,
}

/// Two balancers over the same set, so that calls that leave do not disturb the turns of those that
/// stay.
pub(super) struct ZoneAware {
    set: Arc<Set>,
    is_near: Box<[bool]>,
    spill: Spill,
    near: Box<dyn Balance>,
    far: Box<dyn Balance>,
}

/// What one side has. Weights in parts of 1024.
#[derive(Default)]
struct Side {
    weight: u64,
    weight_available: u64,
    n_available: u64,
    n_calls: u64,
}

impl ZoneAware {
    /// `None` when zones make no difference.
    pub(super) fn new(
        spill: Spill,
        policy: Policy,
        set: &Arc<Set>,
        memory: &BalancerMemory,
    ) -> Option<Self> {
        let zone = set.zone()?;
        let is_near = |zone_of: &Option<Text>| zone_of.as_ref() == Some(zone);
        let members = set.members().iter();
        let is_near: Box<[bool]> = members.map(|member| is_near(&member.zone)).collect();
        if !is_near.contains(&true) || !is_near.contains(&false) {
            return None;
        }
        let inner = |name| policy.build(Arc::clone(set), &memory.of(name));
        Some(Self {
            set: Arc::clone(set),
            is_near,
            spill,
            near: inner(NEAR),
            far: inner(FAR),
        })
    }

    fn is_near(&self, member_idx: usize) -> bool {
        self.is_near.get(member_idx) == Some(&true)
    }

    fn leaves(&self, ask: &PickRequest<'_>) -> bool {
        let weights = self.set.weights(ask.now);
        let [mut near, mut far] = [Side::default(), Side::default()];
        for (member_idx, member) in self.set.members().iter().enumerate() {
            let is_near = self.is_near(member_idx);
            let side = if is_near { &mut near } else { &mut far };
            side.weight += u64::from(member.weight) * WHOLE;
            if member.weight > 0 && ask.may(member_idx) {
                side.weight_available += weights.of(member_idx);
                side.n_available += 1;
                side.n_calls += u64::from(member.load.in_flight());
            }
        }
        if near.n_available == 0 || far.n_available == 0 {
            return far.n_available > 0;
        }
        self.is_short(&near, ask) || self.is_busy(&near, &far)
    }

    fn is_short(&self, near: &Side, ask: &PickRequest<'_>) -> bool {
        let enough = near
            .weight
            .saturating_mul(self.spill.minimum_percent.into());
        let available = near.weight_available.saturating_mul(100);
        let chance = hash::nth(ask.key.unwrap_or(ask.random), STEP);
        available < enough && hash::below(chance, enough) >= available
    }

    fn is_busy(&self, near: &Side, far: &Side) -> bool {
        let busy_calls = u64::from(self.spill.busy_calls) * near.n_available;
        near.n_calls >= busy_calls && near.calls_by_weight() > far.calls_by_weight()
    }
}

impl Balance for ZoneAware {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let leaves = self.leaves(ask);
        let may = |member_idx| self.is_near(member_idx) != leaves && ask.may(member_idx);
        let side = if leaves { &self.far } else { &self.near };
        side.pick(&PickRequest { may: &may, ..*ask })
            .or_else(|| side.pick(ask))
    }

    fn memory(&self) -> BalancerMemory {
        let inner = [(NEAR, &self.near), (FAR, &self.far)];
        let inner = inner.map(|(name, side)| (Text::from_static(name), side.memory()));
        BalancerMemory {
            inner: inner.into(),
            ..BalancerMemory::default()
        }
    }
}

impl Side {
    fn calls_by_weight(&self) -> f64 {
        self.n_calls as f64 / self.weight_available as f64
    }
}

impl Default for Spill {
    fn default() -> Self {
        Self {
            minimum_percent: 70,
            busy_calls: 32,
        }
    }
}

const NEAR: &str = "near";
const FAR: &str = "far";
/// Keeps the chance of leaving apart from those that a policy draws: it counts from 0 up.
const STEP: u64 = 1 << 32;

#[cfg(test)]
mod tests;
