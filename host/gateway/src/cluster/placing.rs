//! Balancers that are not native: the place where a component's pick comes in.

use std::sync::Arc;

use postern_core::{
    Call,
    balance::{Balance, PickRequest, Set},
};

use super::verdict::Verdict;

/// Makes balancers out of plugins.
pub(crate) trait BalancerSource: Send + Sync {
    /// The plugin of that name as a balancer of `service` over `set`; `None` when no such plugin is in service,
    /// and then the native balancer decides until the next rebuild. What the plugin does not decide
    /// `fallback` does.
    fn balancer(
        &self,
        plugin: &str,
        service: &str,
        set: &Arc<Set>,
        fallback: Box<dyn Balance>,
    ) -> Option<Arc<dyn PlacedBalance>>;
}

/// A balancer that may look at the call and is told how its picks fared. It is for one set: an index
/// means the set that it was made over. Its `memory` is that of its native fallback.
pub(crate) trait PlacedBalance: Balance {
    /// As `pick`, for a call. Says who decided.
    fn place(&self, ask: &PickRequest<'_>, call: &Call) -> Option<Pick>;

    /// A try that this balancer placed has ended. Dropped tries are not told.
    fn done(&self, index: usize, verdict: Verdict, micros: u64);
}

/// A member and who decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pick {
    pub index: usize,
    pub by: Picker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picker {
    Component,
    /// The native balancer in the component's stead.
    Native,
}
