//! A goal and its course.
//!
//! ```text
//! ACCEPTED ─▶ EXECUTING ─┬─▶ SUCCEEDED   result kept and told
//!                        ├─▶ ABORTED     told by the state alone
//!                        └─▶ CANCELED    told by the state alone
//! ```

use bytes::Bytes;

/// How far a goal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoalStatus {
    Accepted,
    Executing,
    Succeeded,
    Aborted,
    Canceled,
}

/// What is told of a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoalItem {
    Feedback(Bytes),
    Result(Bytes),
}

/// Makes feedback and a result of the items of a stream: the last item is the result, so that each is known
/// to be feedback when the next one comes.
#[derive(Debug, Default)]
pub struct GoalItems {
    last: Option<Bytes>,
}

impl GoalStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Executing => "EXECUTING",
            Self::Succeeded => "SUCCEEDED",
            Self::Aborted => "ABORTED",
            Self::Canceled => "CANCELED",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Accepted,
            Self::Executing,
            Self::Succeeded,
            Self::Aborted,
            Self::Canceled,
        ];
        all.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Accepted | Self::Executing => false,
            Self::Succeeded | Self::Aborted | Self::Canceled => true,
        }
    }
}

impl GoalItems {
    /// The next item of the stream.
    pub fn push(&mut self, item: Bytes) -> Option<GoalItem> {
        self.last.replace(item).map(GoalItem::Feedback)
    }

    /// The stream has ended in order. One without items has an empty object as its result.
    #[must_use]
    pub fn finish(self) -> GoalItem {
        GoalItem::Result(self.last.unwrap_or_else(|| Bytes::from_static(b"{}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_items_but_the_last_are_feedback() {
        let mut items = GoalItems::default();
        assert_eq!(items.push("1".into()), None);
        assert_eq!(items.push("2".into()), Some(GoalItem::Feedback("1".into())));
        assert_eq!(items.finish(), GoalItem::Result("2".into()));
        assert_eq!(GoalItems::default().finish(), GoalItem::Result("{}".into()));
    }

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for name in ["ACCEPTED", "EXECUTING", "SUCCEEDED", "ABORTED", "CANCELED"] {
            let status = GoalStatus::from_name(name).expect(name);
            assert_eq!(status.name(), name);
            assert_eq!(status.is_over(), !matches!(name, "ACCEPTED" | "EXECUTING"));
        }
        assert_eq!(GoalStatus::from_name("CANCELLED"), None);
    }
}
