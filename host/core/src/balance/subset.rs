//! Members by what is said of them: `{region: eu, tier: gold}`, version `2.1.0`.

use std::collections::BTreeMap;

use super::{Balance, Member, PickRequest, Set};
use crate::text::Text;

/// What a member must have. Nothing asked for is everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subset {
    /// Each of these, with exactly this value.
    pub metadata: BTreeMap<Text, Text>,
    /// Exactly this version. Ranges are for the directory, which knows what a version means.
    pub version: Option<Text>,
}

impl Subset {
    #[must_use]
    pub fn matches(&self, member: &Member) -> bool {
        let version = self.version.as_ref();
        let mut metadata = self.metadata.iter();
        version.is_none_or(|version| member.version.as_ref() == Some(version))
            && metadata.all(|(key, value)| member.metadata.get(key) == Some(value))
    }

    /// A pick among those that match, or among all when none of them may be picked: the caller's
    /// region first, then anywhere. For subsets that follow from the call; one that is known before
    /// gets a set of its own, see [`Set::matching`].
    pub fn prefer(&self, set: &Set, balance: &dyn Balance, ask: &PickRequest<'_>) -> Option<usize> {
        let matches = |member_idx| set.get(member_idx).is_some_and(|m| self.matches(m));
        let may = |member_idx| matches(member_idx) && ask.may(member_idx);
        let preferred = balance.pick(&PickRequest { may: &may, ..*ask });
        preferred.or_else(|| balance.pick(ask))
    }
}

impl Set {
    /// The members that match, as a set with places of its own. Loads stay shared.
    #[must_use]
    pub fn matching(&self, subset: &Subset) -> Self {
        self.filtered(|member| subset.matches(member))
    }
}

#[cfg(test)]
mod tests;
