//! What a balancer is, and what outlives it.

use std::sync::Arc;

use super::{request::PickRequest, sticky_table::StickyTable};
use crate::text::Text;

/// Decides which member gets a call.
pub trait Balance: Send + Sync {
    /// The place in the set of a member for which `ask.may` holds; `None` when it holds for nobody.
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize>;

    /// What a balancer over the next set should know of this one.
    fn memory(&self) -> BalancerMemory {
        BalancerMemory::default()
    }
}

/// What outlives a set: turns, debts and places by name. Taken from one balancer and given to the
/// next; what the next has no use for is dropped.
#[derive(Debug, Clone, Default)]
pub struct BalancerMemory {
    /// Round robin: the members in the order of their turns.
    pub(super) turns: Vec<Text>,
    /// What each member, or each version, is owed.
    pub(super) credits: Vec<(Text, i64)>,
    /// Sticky: which key is where.
    pub(super) table: Option<Arc<StickyTable>>,
    /// Of the balancers inside, by what each is for.
    pub(super) inner: Vec<(Text, Self)>,
}

impl BalancerMemory {
    /// The memory of the balancer inside that is for `name`. When zones or a split have just come
    /// up, that of what was there before them.
    pub(super) fn of(&self, name: &str) -> Self {
        let found = self.inner.iter().find(|(known, _)| *known == name);
        match (found, self.inner.first()) {
            (Some((_, memory)), _) => memory.clone(),
            (None, Some((_, first))) => first.of(name),
            (None, None) => self.clone(),
        }
    }

    /// The memory of a policy itself. When zones or a split have just gone, that of the first
    /// inside.
    pub(super) fn innermost(&self) -> &Self {
        let first = self.inner.first();
        first.map_or(self, |(_, memory)| memory.innermost())
    }
}
