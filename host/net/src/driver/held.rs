//! What one connection holds of one kind, as far as it counts for the byte budget.

use crate::byte_budget::{ByteBudgetError, ConnectionBytes, HeldBytes};

/// Bytes beyond what is counted that are not looked at: short messages touch no shared number.
const UNCOUNTED: usize = 64 * 1024;

/// Counts in steps, so that only large or many messages cost anything.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: ConnectionBytes,
    counted: Option<HeldBytes>,
}

impl Held {
    pub(crate) const fn new(bytes: ConnectionBytes) -> Self {
        Self {
            bytes,
            counted: None,
        }
    }

    /// Bytes that are counted.
    pub(crate) fn counted(&self) -> usize {
        self.counted.as_ref().map_or(0, HeldBytes::len)
    }

    /// Counts so much that all but a little of `n_bytes` is counted.
    ///
    /// # Errors
    /// Where the connection or the gateway has no room; what was counted stays counted.
    pub(crate) fn try_grow_to(&mut self, n_bytes: usize) -> Result<(), ByteBudgetError> {
        let counted = self.counted();
        if n_bytes <= counted + UNCOUNTED {
            return Ok(());
        }
        match &mut self.counted {
            Some(held) => held.grow(n_bytes - counted),
            None => {
                self.counted = Some(self.bytes.hold(n_bytes)?);
                Ok(())
            }
        }
    }

    /// Counts no more than `n_bytes`.
    pub(crate) fn shrink_to(&mut self, n_bytes: usize) {
        if let Some(held) = &mut self.counted {
            if n_bytes == 0 {
                self.counted = None;
            } else {
                held.shrink_to(n_bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::byte_budget::ByteBudget;

    #[test]
    fn a_little_is_not_counted_and_much_is_refused_where_there_is_no_room() {
        let budget = Arc::new(ByteBudget::unlimited());
        let mut held = Held::new(budget.connection(4 * UNCOUNTED));
        assert!(held.try_grow_to(UNCOUNTED).is_ok());
        assert_eq!(held.counted(), 0);
        assert!(held.try_grow_to(3 * UNCOUNTED).is_ok());
        assert_eq!(held.counted(), 3 * UNCOUNTED);
        assert!(held.try_grow_to(4 * UNCOUNTED + 1).is_err());
        assert_eq!(held.counted(), 3 * UNCOUNTED);
        held.shrink_to(UNCOUNTED);
        assert!(held.try_grow_to(4 * UNCOUNTED).is_ok());
        held.shrink_to(0);
        assert_eq!((held.counted(), budget.held()), (0, 0));
    }
}
