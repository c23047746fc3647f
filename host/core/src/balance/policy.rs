//! Policies by name, and how they and what stands around them become one balancer.

use std::{str::FromStr, sync::Arc};

use super::{
    Balance, BalancerMemory, Set, Spill, TrafficSplit, hash_ring::HashRing,
    least_connections::LeastConnections, p2c::P2c, round_robin::RoundRobin, split::Versions,
    sticky::Sticky, weighted::Weighted, zone::ZoneAware,
};

/// How a member is picked. Each is described in the file of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    #[default]
    RoundRobin,
    Weighted,
    LeastConnections,
    P2cEwma,
    Hash {
        /// What a member may bear, in percent of its share of the calls in flight. At least 100;
        /// `None` is no bound. Default 125, as in the paper.
        load_factor_percent: Option<u32>,
    },
    Sticky,
}

/// A policy and what stands around it: versions outside, zones within, then the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub policy: Policy,
    /// Own zone first. `None` ignores zones.
    pub spill: Option<Spill>,
    pub split: Option<TrafficSplit>,
}

/// No policy has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no balancing policy \"{name}\"; there are {}", Policy::ALL.map(|p| p.name()).join(", "))]
pub struct UnknownPolicy {
    pub name: String,
}

impl Policy {
    /// Every policy, with its defaults.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastConnections,
        Self::P2cEwma,
        Self::Hash {
            load_factor_percent: Some(125),
        },
        Self::Sticky,
    ];

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::LeastConnections => "least-connections",
            Self::P2cEwma => "p2c-ewma",
            Self::Hash { .. } => "hash",
            Self::Sticky => "sticky",
        }
    }

    /// Whether it looks at the key of a call.
    #[must_use]
    pub const fn is_by_key(&self) -> bool {
        match self {
            Self::Hash { .. } | Self::Sticky => true,
            Self::RoundRobin | Self::Weighted | Self::LeastConnections | Self::P2cEwma => false,
        }
    }

    /// A balancer over `set` that goes on where the one with that memory stopped.
    #[must_use]
    pub fn build(&self, set: Arc<Set>, memory: &BalancerMemory) -> Box<dyn Balance> {
        let memory = memory.innermost();
        match *self {
            Self::RoundRobin => Box::new(RoundRobin::new(set, memory)),
            Self::Weighted => Box::new(Weighted::new(set, memory)),
            Self::LeastConnections => Box::new(LeastConnections::new(set)),
            Self::P2cEwma => Box::new(P2c::new(set)),
            Self::Hash {
                load_factor_percent,
            } => Box::new(HashRing::new(set, load_factor_percent)),
            Self::Sticky => Box::new(Sticky::new(set, memory)),
        }
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    /// The policy of that name, with its defaults. `LEAST_CONNECTIONS` is `least-connections`, as
    /// the VSP guide spells it.
    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        let plain = name.to_ascii_lowercase().replace('_', "-");
        let found = Self::ALL.into_iter().find(|policy| policy.name() == plain);
        found.ok_or_else(|| UnknownPolicy {
            name: name.to_owned(),
        })
    }
}

impl From<Policy> for Plan {
    fn from(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }
}

impl Plan {
    /// A balancer over `set`. `memory` is that of the balancer before, or the default.
    #[must_use]
    pub fn build(&self, set: &Arc<Set>, memory: &BalancerMemory) -> Box<dyn Balance> {
        let within = |memory: &BalancerMemory| self.build_within(set, memory);
        match &self.split {
            Some(split) => Box::new(Versions::new(split, set, memory, within)),
            None => within(memory),
        }
    }

    fn build_within(&self, set: &Arc<Set>, memory: &BalancerMemory) -> Box<dyn Balance> {
        let zones = self.spill;
        match zones.and_then(|spill| ZoneAware::new(spill, self.policy, set, memory)) {
            Some(zones) => Box::new(zones),
            None => self.policy.build(Arc::clone(set), memory),
        }
    }
}

#[cfg(test)]
mod tests;
