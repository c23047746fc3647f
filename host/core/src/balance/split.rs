//! Shares of traffic by version: `v1 90, v2 10`.
//!
//! By **sequence** the shares are exact: of as many calls as they add up to, each version gets its
//! share, spread over the period as in `weighted.rs`. By **key** one caller stays with one version,
//! and a share that grows at the end of the list takes callers over without moving any other.
//!
//! A version of which nobody may be picked gives its calls to the others in proportion, since an
//! answer from another version is better than none. Members of other versions, and of none, get
//! calls only when nobody of the listed versions may be picked.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Balance, BalancerMemory, PickRequest, Set, hash, weighted::Credits};
use crate::text::Text;

/// Versions and what each gets. Shares need not add up to 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSplit {
    parts: Vec<(Text, u32)>,
    by: SplitBy,
}

/// What decides which version a call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitBy {
    #[default]
    Sequence,
    /// The key of the call; a call without one goes by sequence.
    Key,
}

/// Why shares are no split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrafficSplitError {
    #[error("no version has a share above 0")]
    Nothing,
    #[error("version \"{0}\" has two shares")]
    Twice(Text),
}

/// A balancer for each version, all over the same set, so that the turns of one do not disturb
/// those of another.
pub(super) struct Versions {
    set: Arc<Set>,
    by: SplitBy,
    parts: Box<[Part]>,
    credits: Mutex<Credits>,
}

struct Part {
    version: Text,
    share: u64,
    has: Box<[bool]>,
    balance: Box<dyn Balance>,
}

impl TrafficSplit {
    /// # Errors
    /// When all shares are 0, and when a version is named twice.
    pub fn new(parts: Vec<(Text, u32)>, by: SplitBy) -> Result<Self, TrafficSplitError> {
        if parts.iter().all(|(_, share)| *share == 0) {
            return Err(TrafficSplitError::Nothing);
        }
        let mut seen = BTreeSet::new();
        let twice = parts.iter().find(|(version, _)| !seen.insert(version));
        if let Some((version, _)) = twice {
            return Err(TrafficSplitError::Twice(version.clone()));
        }
        Ok(Self { parts, by })
    }

    #[must_use]
    pub fn parts(&self) -> &[(Text, u32)] {
        &self.parts
    }
}

impl Versions {
    /// `inner` makes the balancer of one version from what it should remember.
    pub(super) fn new(
        split: &TrafficSplit,
        set: &Arc<Set>,
        memory: &BalancerMemory,
        inner: impl Fn(&BalancerMemory) -> Box<dyn Balance>,
    ) -> Self {
        let part = |(version, share): &(Text, u32)| {
            let members = set.members().iter();
            Part {
                version: version.clone(),
                share: u64::from(*share),
                has: members
                    .map(|m| m.version.as_ref() == Some(version))
                    .collect(),
                balance: inner(&memory.of(version)),
            }
        };
        let names = split.parts.iter().map(|(version, _)| version);
        Self {
            set: Arc::clone(set),
            by: split.by,
            parts: split.parts.iter().map(part).collect(),
            credits: Mutex::new(Credits::new(names, &memory.credits)),
        }
    }

    /// The share of a part of which somebody may be picked.
    fn share(&self, part: &Part, ask: &PickRequest<'_>) -> u64 {
        let members = self.set.members().iter().zip(&part.has).enumerate();
        let mut active = members.filter(|(_, (member, has))| **has && member.weight > 0);
        if part.share > 0 && active.any(|(member_idx, _)| ask.may(member_idx)) {
            part.share
        } else {
            0
        }
    }

    fn choose(&self, ask: &PickRequest<'_>) -> Option<&Part> {
        match (self.by, ask.key) {
            (SplitBy::Key, Some(key)) => self.by_key(key, ask),
            (SplitBy::Key | SplitBy::Sequence, _) => self.by_sequence(ask),
        }
    }

    fn by_key(&self, key: u64, ask: &PickRequest<'_>) -> Option<&Part> {
        let number = hash::mix(key ^ SALT);
        let part = self.at(number, |part| part.share)?;
        if self.share(part, ask) > 0 {
            return Some(part);
        }
        self.at(hash::mix(number), |part| self.share(part, ask))
    }

    /// The part in which `number` falls when the shares are laid side by side in their order.
    fn at(&self, number: u64, share: impl Fn(&Part) -> u64) -> Option<&Part> {
        let all = self.parts.iter().map(&share).sum();
        let mut rest = hash::below(number, all);
        self.parts.iter().find(|part| {
            let share = share(part);
            let is_here = rest < share;
            rest = rest.saturating_sub(share);
            is_here
        })
    }

    fn by_sequence(&self, ask: &PickRequest<'_>) -> Option<&Part> {
        let parts = self.parts.iter().enumerate();
        let shares = parts.map(|(index, part)| (index, self.share(part, ask)));
        let shares = shares.filter(|(_, share)| *share > 0);
        // As in `weighted.rs`.
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        credits.take(shares).and_then(|index| self.parts.get(index))
    }
}

impl Balance for Versions {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let Some(part) = self.choose(ask) else {
            // Whichever balancer: nobody of a listed version takes part.
            return self.parts.first()?.balance.pick(ask);
        };
        let may = |member_idx| part.has.get(member_idx) == Some(&true) && ask.may(member_idx);
        let picked = part.balance.pick(&PickRequest { may: &may, ..*ask });
        picked.or_else(|| part.balance.pick(ask))
    }

    fn memory(&self) -> BalancerMemory {
        let credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.parts.iter().map(|part| &part.version);
        let inner = self.parts.iter();
        let inner = inner.map(|part| (part.version.clone(), part.balance.memory()));
        BalancerMemory {
            credits: credits.by_name(names),
            inner: inner.collect(),
            ..BalancerMemory::default()
        }
    }
}

/// Keeps the place of a key in the split apart from its place among the members.
const SALT: u64 = 0x5350_4C49_5453_4C54;

#[cfg(test)]
mod tests;
