//! What direct entries came to, by role, counted without a lock or a shared cache line.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    component::Role,
    shard::{self, Padded},
};

/// Roles that are entered directly, in the order of their counters.
const ROLES: [Role; 6] = [
    Role::Balancer,
    Role::RequestInterceptor,
    Role::ResponseInterceptor,
    Role::FrameExtension,
    Role::Authenticator,
    Role::Authorizer,
];

/// What became of one entry. For a balancer everything but `Answered` is a fallback to the native
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryOutcome {
    /// The guest did what it was asked.
    Answered,
    /// The guest trapped.
    Trapped,
    /// The guest had not answered when its budget was used up.
    OverBudget,
    /// A balancer picked what is not there.
    Nonsense,
    /// A balancer picked an instance that may not get this call.
    Unusable,
    /// A balancer left the pick to the native one.
    Declined,
    /// The guest trapped a short time ago and is not tried again yet.
    Quarantined,
    /// Every instance was in a call on another thread.
    Busy,
    /// No instance could be made.
    Absent,
}

/// Counters of one plugin over all its generations.
#[derive(Debug)]
pub(crate) struct EntryStats {
    shards: Box<[Padded<[Counts; ROLES.len()]>]>,
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; EntryOutcome::ALL.len()],
    nanos: AtomicU64,
}

/// The counters of one role at one time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entries {
    pub role: Role,
    /// By outcome, in the order of `EntryOutcome::ALL`.
    pub outcomes: [u64; EntryOutcome::ALL.len()],
    /// Time of all entries together, in nanoseconds; from a share of them (`sample.rs`).
    pub nanos: u64,
}

impl EntryOutcome {
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::Trapped,
        Self::OverBudget,
        Self::Nonsense,
        Self::Unusable,
        Self::Declined,
        Self::Quarantined,
        Self::Busy,
        Self::Absent,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Trapped => "trapped",
            Self::OverBudget => "over-budget",
            Self::Nonsense => "nonsense",
            Self::Unusable => "unusable",
            Self::Declined => "declined",
            Self::Quarantined => "quarantined",
            Self::Busy => "busy",
            Self::Absent => "absent",
        }
    }
}

impl Entries {
    #[must_use]
    pub fn with(&self, outcome: EntryOutcome) -> u64 {
        self.outcomes
            .get(outcome as usize)
            .copied()
            .unwrap_or_default()
    }
}

impl EntryStats {
    pub(crate) fn count(&self, role: Role, outcome: EntryOutcome, time: Duration) {
        let Some(Padded(counts)) = shard::current(&self.shards) else {
            return;
        };
        let role_idx = ROLES.iter().position(|known| *known == role);
        let Some(counts) = role_idx.and_then(|role_idx| counts.get(role_idx)) else {
            return;
        };
        if let Some(count) = counts.outcomes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
        if !time.is_zero() {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            counts.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// The roles that were entered, or should have been.
    pub(crate) fn snapshot(&self) -> Vec<Entries> {
        let of = |(role_idx, role): (usize, Role)| {
            let mut entries = Entries {
                role,
                outcomes: [0; _],
                nanos: 0,
            };
            for Padded(counts) in &self.shards {
                let Some(counts) = counts.get(role_idx) else {
                    continue;
                };
                for (sum, count) in entries.outcomes.iter_mut().zip(&counts.outcomes) {
                    *sum += count.load(Relaxed);
                }
                entries.nanos += counts.nanos.load(Relaxed);
            }
            entries
        };
        let all = ROLES.into_iter().enumerate().map(of);
        all.filter(|entries| entries.outcomes.iter().any(|count| *count > 0))
            .collect()
    }
}

impl Default for EntryStats {
    fn default() -> Self {
        Self {
            shards: (0..shard::count()).map(|_| Padded::default()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_where_their_names_do() {
        for (index, outcome) in EntryOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }

    #[test]
    fn only_roles_that_were_entered_are_told() {
        let stats = EntryStats::default();
        stats.count(Role::Balancer, EntryOutcome::Busy, Duration::from_nanos(3));
        stats.count(Role::Balancer, EntryOutcome::Busy, Duration::from_nanos(4));
        stats.count(Role::Handler, EntryOutcome::Busy, Duration::from_nanos(4));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.len(), 1);
        let [entries] = &snapshot[..] else {
            panic!("one role was entered");
        };
        assert_eq!((entries.role, entries.nanos), (Role::Balancer, 7));
        assert_eq!(entries.with(EntryOutcome::Busy), 2);
    }
}
