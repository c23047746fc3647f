//! How calls and entries end, and why an instance is stopped: the words of counters and errors.

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The guest answered.
    Ok,
    /// The guest answered with a failure.
    Failed,
    /// The guest trapped or passed a limit.
    Trapped,
    /// The guest took longer than its time limit or the caller's deadline.
    TimedOut,
    /// The caller went away.
    Cancelled,
    /// No instance was free in time.
    Refused,
}

/// Why an instance was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrapReason {
    MemoryLimit,
    TableLimit,
    TimeLimit,
    CpuLimit,
    StreamTimeLimit,
    Deadline,
    OutputLimit,
    HostCallLimit,
    LogLimit,
    Unreachable,
    StackOverflow,
    MemoryAccess,
    Arithmetic,
    Exit,
    Other,
}

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

impl Outcome {
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Failed,
        Self::Trapped,
        Self::TimedOut,
        Self::Cancelled,
        Self::Refused,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Trapped => "trapped",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }
}

impl TrapReason {
    pub const ALL: [Self; 15] = [
        Self::MemoryLimit,
        Self::TableLimit,
        Self::TimeLimit,
        Self::CpuLimit,
        Self::StreamTimeLimit,
        Self::Deadline,
        Self::OutputLimit,
        Self::HostCallLimit,
        Self::LogLimit,
        Self::Unreachable,
        Self::StackOverflow,
        Self::MemoryAccess,
        Self::Arithmetic,
        Self::Exit,
        Self::Other,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryLimit => "memory-limit",
            Self::TableLimit => "table-limit",
            Self::TimeLimit => "time-limit",
            Self::CpuLimit => "cpu-limit",
            Self::StreamTimeLimit => "stream-time-limit",
            Self::Deadline => "deadline",
            Self::OutputLimit => "output-limit",
            Self::HostCallLimit => "host-call-limit",
            Self::LogLimit => "log-limit",
            Self::Unreachable => "unreachable",
            Self::StackOverflow => "stack-overflow",
            Self::MemoryAccess => "memory-access",
            Self::Arithmetic => "arithmetic",
            Self::Exit => "exit",
            Self::Other => "other",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_where_their_names_do() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, reason) in TrapReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, outcome) in EntryOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
