//! What came of replaying one call, as it is shown and sent.

use postern_wasm::{AskChange, RecordedCall, ReplayedCall};
use serde::{Deserialize, Serialize};

use super::{ReplyDifference, difference::compare, line::RecordingHeader};

/// The replay of one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallReport {
    /// Where the call stands in its file.
    pub line: u64,
    /// `users/Get`.
    pub method: String,
    /// Whether the reply is the same bit for bit, and nothing was asked that was not recorded.
    pub is_equal: bool,
    /// How the reply differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reply: Vec<ReplyDifference>,
    /// What was asked otherwise, and counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// What was asked otherwise, and says nothing against the version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it could not be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// The replays of many calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayCounts {
    pub equal: u64,
    /// Of those that are not equal: the reply differs.
    pub reply: u64,
    /// Of those that are not equal: the reply is the same, but the host was asked otherwise.
    pub asked: u64,
    /// They could not be replayed.
    pub fault: u64,
}

/// What came of replaying `recorded`, which stands in `line` behind `header`.
pub(crate) fn report(
    line: u64,
    header: &RecordingHeader,
    recorded: &RecordedCall,
    replayed: &Result<ReplayedCall, String>,
) -> CallReport {
    let request = &recorded.request;
    let mut report = CallReport {
        line,
        method: format!("{}/{}", request.service, request.method),
        is_equal: false,
        reply: Vec::new(),
        asked: Vec::new(),
        notes: Vec::new(),
        fault: None,
    };
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(fault) => {
            report.fault = Some(fault.clone());
            return report;
        }
    };
    let before = recorded.outcome.clone().without_headers(&header.left_out);
    report.reply = compare(&before, &replayed.outcome);
    for difference in &replayed.asked {
        let told = match difference.change.is_note() {
            true => &mut report.notes,
            false => &mut report.asked,
        };
        told.push(difference.to_string());
    }
    if let Some(call) = &replayed.call
        && call.host.lines != recorded.host.lines
    {
        let (before, after) = (recorded.host.lines.len(), call.host.lines.len());
        let note = format!("wrote other lines to the log: {after}, recorded were {before}");
        report.notes.push(note);
    }
    report.is_equal = report.reply.is_empty() && report.asked.is_empty();
    if !report.is_equal && !request.left_out.is_empty() {
        let names = request.left_out.join(", ");
        report.notes.push(format!(
            "the caller sent {names}, which the recording does not hold (record --with-credentials)"
        ));
    }
    report
}

/// What the file is to say of a call from here on: what came of the replay, where that differs. A replay that
/// was told of nothing but what is unavailable is no record; `report` then says so.
pub(crate) fn accept(
    recorded: RecordedCall,
    replayed: Result<ReplayedCall, String>,
    report: &mut CallReport,
) -> RecordedCall {
    let Ok(replayed) = replayed else {
        return recorded;
    };
    if report.is_equal {
        return recorded;
    }
    let is_unrecorded = |change| change == AskChange::Unrecorded;
    let mut changes = replayed.asked.iter().map(|asked| asked.change);
    match replayed.call {
        Some(call) if !changes.any(is_unrecorded) => call,
        Some(_) | None => {
            let reason = "not accepted: it asked for what was not recorded; record it anew";
            report.fault = Some(reason.to_owned());
            recorded
        }
    }
}

impl ReplayCounts {
    pub(crate) fn count(&mut self, report: &CallReport) {
        let count = if report.fault.is_some() {
            &mut self.fault
        } else if report.is_equal {
            &mut self.equal
        } else if report.reply.is_empty() {
            &mut self.asked
        } else {
            &mut self.reply
        };
        *count += 1;
    }

    pub(crate) const fn total(&self) -> u64 {
        self.equal + self.differed()
    }

    pub(crate) const fn differed(&self) -> u64 {
        self.reply + self.asked + self.fault
    }
}

#[cfg(test)]
mod tests {
    use postern_wasm::{AskChange, AskDifference};

    use super::*;
    use crate::recording::line::tests::{call, header};

    fn replayed(changes: &[AskChange]) -> ReplayedCall {
        let asked = changes.iter().map(|change| AskDifference {
            change: *change,
            question: "kv.get \"a\"".to_owned(),
            recorded: None,
        });
        let call = call("Get");
        ReplayedCall {
            outcome: call.outcome.clone(),
            call: Some(call),
            asked: asked.collect(),
        }
    }

    fn reported(replayed: Result<ReplayedCall, String>) -> (CallReport, ReplayCounts) {
        let report = report(7, &header(), &call("Get"), &replayed);
        let mut counts = ReplayCounts::default();
        counts.count(&report);
        (report, counts)
    }

    #[test]
    fn notes_leave_a_call_equal_and_other_questions_do_not() {
        let (equal, counts) = reported(Ok(replayed(&[AskChange::Again, AskChange::NotRead])));
        assert!(equal.is_equal && equal.notes.len() == 2);
        assert_eq!((counts.equal, counts.total()), (1, 1));
        let (differs, counts) = reported(Ok(replayed(&[AskChange::NotDone])));
        assert_eq!(
            differs.asked,
            ["did not ask for kv.get \"a\", which was recorded"]
        );
        assert_eq!((counts.asked, counts.differed()), (1, 1));
        assert_eq!(differs.method, "users/Get");
    }

    #[test]
    fn what_differs_is_accepted_unless_it_was_told_of_nothing() {
        let accepted = |changes: &[AskChange]| {
            let mut replayed = replayed(changes);
            let other = call("Other");
            replayed.call = Some(other.clone());
            let (mut report, _) = reported(Ok(replayed.clone()));
            let kept = accept(call("Get"), Ok(replayed), &mut report);
            (kept == other, report.fault.is_some())
        };
        assert_eq!(accepted(&[AskChange::Changed]), (true, false));
        assert_eq!(accepted(&[AskChange::Unrecorded]), (false, true));
        assert_eq!(accepted(&[AskChange::Again]), (false, false), "it is equal");
    }

    #[test]
    fn a_call_that_cannot_be_replayed_is_a_fault() {
        let (report, counts) = reported(Err("no".to_owned()));
        assert_eq!(report.fault.as_deref(), Some("no"));
        assert_eq!((counts.fault, report.is_equal), (1, false));
    }
}
