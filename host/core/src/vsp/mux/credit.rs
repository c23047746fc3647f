//! Credit of one direction of a call, as its sender and as its receiver count it.

/// Octets that each direction of a call may send before it is granted more.
pub const CREDIT_INITIAL: u32 = 65_536;
/// What an item costs beside its octets: about what it takes to hold one.
pub const ITEM_COST: usize = 64;

/// More credit than this at a time is an error of the peer: nobody has such a window.
const CREDIT_MAX: i64 = i32::MAX as i64;

/// The sender's side.
#[derive(Debug)]
pub(super) struct Spending {
    /// Below zero after an item that was larger than what was left.
    left: i64,
    /// An item was refused, and whoever sent it waits.
    blocked: bool,
}

/// The receiver's side.
#[derive(Debug)]
pub(super) struct Grants {
    window: i64,
    /// What the peer may still send, as it counts too.
    left: i64,
    /// Taken by the reader and not yet granted again.
    consumed: i64,
}

impl Default for Spending {
    fn default() -> Self {
        Self {
            left: CREDIT_INITIAL.into(),
            blocked: false,
        }
    }
}

impl Spending {
    /// Pays for an item; false when there is no credit left.
    pub(super) fn try_spend(&mut self, payload_bytes: usize) -> bool {
        self.blocked = self.left <= 0;
        if !self.blocked {
            self.left = self.left.saturating_sub(cost(payload_bytes));
        }
        !self.blocked
    }

    /// Takes credit from the peer: `Some(true)` when whoever is blocked may go on, `None` when it is
    /// more than anyone may have.
    pub(super) fn earn(&mut self, credit: u32) -> Option<bool> {
        self.left = self.left.saturating_add(credit.into());
        if self.left > CREDIT_MAX {
            return None;
        }
        let freed = self.blocked && self.left > 0;
        self.blocked &= !freed;
        Some(freed)
    }
}

impl Grants {
    /// A window, and what must be granted beyond the initial credit.
    pub(super) fn new(window_bytes: u32) -> (Self, u32) {
        let window_bytes = window_bytes.max(CREDIT_INITIAL);
        let window = i64::from(window_bytes);
        (
            Self {
                window,
                left: window,
                consumed: 0,
            },
            window_bytes - CREDIT_INITIAL,
        )
    }

    /// Counts an item that came; false when the peer had no credit for it.
    pub(super) fn receive(&mut self, payload_bytes: usize) -> bool {
        let had_credit = self.left > 0;
        self.left = self.left.saturating_sub(cost(payload_bytes));
        had_credit
    }

    /// Counts an item that was taken; the credit to grant, in steps of half a window.
    pub(super) fn consume(&mut self, payload_bytes: usize) -> Option<u32> {
        self.consumed = self.consumed.saturating_add(cost(payload_bytes));
        if self.consumed < self.window / 2 {
            return None;
        }
        let credit = u32::try_from(self.consumed).unwrap_or(u32::MAX);
        self.consumed -= i64::from(credit);
        self.left = self.left.saturating_add(credit.into());
        Some(credit)
    }
}

fn cost(payload_bytes: usize) -> i64 {
    i64::try_from(payload_bytes.saturating_add(ITEM_COST)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_octet_of_credit_buys_one_item_of_any_size() {
        let mut spending = Spending::default();
        assert!(spending.try_spend(CREDIT_INITIAL as usize - ITEM_COST - 1));
        assert!(spending.try_spend(1_000_000), "one octet is left");
        assert!(!spending.try_spend(0), "a debt of 1,000,063");
        assert_eq!(
            spending.earn(1_000_063),
            Some(false),
            "nothing owed, nothing left"
        );
        assert_eq!(spending.earn(1), Some(true));
        assert_eq!(spending.earn(1), Some(false), "told once");
    }

    #[test]
    fn a_window_used_up_to_its_end_takes_no_item() {
        let (mut grants, extra) = Grants::new(100_000);
        assert_eq!(extra, 100_000 - CREDIT_INITIAL);
        assert!(grants.receive(100_000 - ITEM_COST));
        assert!(!grants.receive(0));
    }

    #[test]
    fn credit_is_granted_in_steps_of_half_a_window() {
        let (mut grants, _) = Grants::new(CREDIT_INITIAL);
        let half = CREDIT_INITIAL / 2;
        assert_eq!(grants.consume(half as usize - ITEM_COST - 1), None);
        assert_eq!(grants.consume(0), Some(half - 1 + 64));
        assert_eq!(grants.consume(0), None);
    }

    #[test]
    fn credit_of_2_gib_is_the_most_and_one_more_is_refused() {
        let most = u32::try_from(CREDIT_MAX).expect("below 2^32") - CREDIT_INITIAL;
        assert_eq!(Spending::default().earn(most), Some(false));
        assert_eq!(Spending::default().earn(most + 1), None);
    }
}
