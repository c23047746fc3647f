//! Why instances end: the words of their counter.

/// Why an instance was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retirement {
    /// The guest trapped, or passed a limit.
    Trapped,
    /// Its call was given up in the middle.
    Cancelled,
    /// It has answered as many calls as it may.
    Calls,
    /// Its memory has grown by more than it may.
    Growth,
    /// Every call has an instance of its own.
    Isolated,
    /// It was one beyond the pool, for a question about health.
    Spare,
    /// It had no call for a while.
    Idle,
    /// One for the other call path takes its place.
    Path,
    /// Calls that it was to answer together are made one by one.
    Undone,
    /// Copies of calls come, and it has answered calls before.
    Copies,
    /// Its generation is out of service.
    Generation,
}

impl Retirement {
    pub const ALL: [Self; 11] = [
        Self::Trapped,
        Self::Cancelled,
        Self::Calls,
        Self::Growth,
        Self::Isolated,
        Self::Spare,
        Self::Idle,
        Self::Path,
        Self::Undone,
        Self::Copies,
        Self::Generation,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trapped => "trapped",
            Self::Cancelled => "cancelled",
            Self::Calls => "calls",
            Self::Growth => "growth",
            Self::Isolated => "isolated",
            Self::Spare => "spare",
            Self::Idle => "idle",
            Self::Path => "path",
            Self::Undone => "undone",
            Self::Copies => "copies",
            Self::Generation => "generation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_where_their_names_do() {
        for (index, retirement) in Retirement::ALL.into_iter().enumerate() {
            assert_eq!(retirement as usize, index);
        }
    }
}
