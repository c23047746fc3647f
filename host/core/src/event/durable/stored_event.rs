//! An event as a log keeps it, and where.

use std::fmt;

use crate::event::Event;

/// Where an event lies in its log. Counts from 1, in the order of storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The one behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before it; of the first, none.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event as a log keeps it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub position: Position,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at_ms: u64,
    /// How often it was given out, this time included.
    pub n_deliveries: u32,
    pub event: Event,
}
