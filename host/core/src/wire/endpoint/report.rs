//! What the sender of a message with feature `wide` is told while its fragments arrive.

use std::time::{Duration, Instant};

use super::peer::Peer;
use crate::wire::{reassembly::ReassemblyProgress, reliable::Sack};

/// Fragments of a message after which the sender is told what has arrived.
const SACK_EVERY: u32 = 4;
/// And how long after the first of them at the latest.
const SACK_DELAY: Duration = Duration::from_millis(5);
/// Messages whose senders are to be told; more are not put together at the same time
/// (`Limits::reassembly_sessions_per_peer_max`).
pub(super) const REPORTS_MAX: usize = 64;

/// What the sender of a message will be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    msg_id: u64,
    n_new: u32,
    last_index: u32,
    due: Option<Instant>,
}

impl Report {
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Peer {
    /// A fragment of message `msg_id` was kept, or (`is_new` false) was there already. True when the
    /// sender is to be told at once.
    pub(super) fn on_fragment(
        &mut self,
        now: Instant,
        fragment_id: u32,
        index: u32,
        msg_id: u64,
        is_new: bool,
    ) -> bool {
        let last_index = index.checked_sub(1).unwrap_or(u32::MAX);
        if self.reports.len() == REPORTS_MAX && !self.reports.contains_key(&fragment_id) {
            // Most likely dropped by the reassembly; its next fragment begins another report.
            self.reports.pop_first();
        }
        let first = Report {
            msg_id,
            n_new: 0,
            last_index,
            due: None,
        };
        let report = self.reports.entry(fragment_id).or_insert(first);
        report.n_new += 1;
        let is_gap = report.last_index.wrapping_add(1) != index;
        report.last_index = index;
        if !is_new || is_gap || report.n_new >= SACK_EVERY {
            return true;
        }
        report.due.get_or_insert(now + SACK_DELAY);
        false
    }

    /// The message is complete; an ACK says so.
    pub(super) fn on_complete(&mut self, fragment_id: u32) {
        self.reports.remove(&fragment_id);
    }

    /// Messages whose report is due at `now`.
    pub(super) fn due_reports(&self, now: Instant) -> Vec<u32> {
        let due = self
            .reports
            .iter()
            .filter(|(_, report)| report.due.is_some_and(|at| at <= now));
        due.map(|(id, _)| *id).collect()
    }

    /// Tells the sender; `None` forgets a message that is no longer being reassembled.
    pub(super) fn report(&mut self, fragment_id: u32, progress: Option<ReassemblyProgress>) {
        let Some(progress) = progress else {
            self.reports.remove(&fragment_id);
            return;
        };
        let Some(report) = self.reports.get_mut(&fragment_id) else {
            return;
        };
        (report.n_new, report.due) = (0, None);
        let sack = Sack {
            id: report.msg_id,
            progress,
        };
        if let Ok(frame) = sack.to_frame() {
            self.push_ack(frame);
        }
    }
}
