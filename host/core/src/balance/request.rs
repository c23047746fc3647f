//! What a balancer is asked.

use std::time::Instant;

/// What a pick may depend on.
#[derive(Clone, Copy)]
pub struct PickRequest<'a> {
    pub now: Instant,
    /// Chance: even over 64 bits, new for each pick.
    pub random: u64,
    /// [`hash()`] of what the call is to be kept by. Policies by key use `random` when it is
    /// absent.
    pub key: Option<u64>,
    /// Whether the member at that place can be picked: alive, breaker closed, not tried yet. Asked
    /// several times in a pick, at times under a lock: it must be quick, change nothing and not
    /// pick itself.
    pub may: &'a dyn Fn(usize) -> bool,
}

impl PickRequest<'_> {
    pub(super) fn may(&self, member_idx: usize) -> bool {
        (self.may)(member_idx)
    }
}
