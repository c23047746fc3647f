//! What there is to tell about a plugin: state, generation, services, and what happened to it.

use std::collections::VecDeque;

use postern_system::clock;

use postern_core::service::ServiceInfo;

use crate::{
    digest::Digest,
    role::Role,
    stage::{Refusal, Stage},
    stats::StatsSnapshot,
    trap_policy::TrapStatus,
};

/// Events kept.
const HISTORY_MAX: usize = 20;

/// A plugin as `plugins list` shows it.
#[derive(Debug, Clone)]
pub struct PluginStatus {
    pub name: String,
    pub state: PluginState,
    /// Of the generation in service; counted from 1.
    pub generation: Option<u64>,
    pub digest: Option<Digest>,
    pub roles: Vec<Role>,
    pub services: Vec<ServiceInfo>,
    /// Of the generation in service.
    pub instances: usize,
    /// The inline path of the generation in service; `None` where its calls never take it.
    pub inline_path: Option<InlinePathStatus>,
    /// Generations that still answer their last calls.
    pub draining: usize,
    /// Why it has stopped, where it has.
    pub stopped: Option<String>,
    /// What the traps of the generation in service do to it.
    pub traps: Option<TrapStatus>,
    /// The last deploy that failed, unless a later one succeeded.
    pub refusal: Option<RefusalRecord>,
    pub history: Vec<PluginEvent>,
    pub stats: StatsSnapshot,
}

/// Whether calls of one message begin as plain function calls on the thread that serves, or on fibers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct InlinePathStatus {
    pub open: bool,
    /// Bailouts that count against it; decays while it is open.
    pub bailouts: u32,
    /// Until it opens again, about; 0 while it is open.
    pub opens_in_seconds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// Nothing was deployed yet, or nothing that would serve.
    Empty,
    Active,
    /// A trap ended it (`on-trap = "stop"`).
    Stopped,
    Removed,
}

/// A deploy that failed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RefusalRecord {
    pub stage: Stage,
    pub reason: String,
    pub digest: Digest,
    /// Seconds since 1970.
    pub at: u64,
}

/// Something that happened to a plugin.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PluginEvent {
    /// Seconds since 1970.
    pub at: u64,
    /// The last stage reached.
    pub stage: Stage,
    pub generation: Option<u64>,
    pub digest: Option<Digest>,
    /// `None` when the stage was reached, the reason when it was not.
    pub refused: Option<String>,
}

/// What a slot remembers.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) refusal: Option<RefusalRecord>,
    pub(crate) removed: bool,
    history: VecDeque<PluginEvent>,
}

impl PluginState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Active => "active",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
        }
    }
}

impl Record {
    pub(crate) fn on_stage(
        &mut self,
        stage: Stage,
        generation: Option<u64>,
        digest: Option<Digest>,
    ) {
        self.push(PluginEvent {
            at: unix_now(),
            stage,
            generation,
            digest,
            refused: None,
        });
    }

    pub(crate) fn on_refused(&mut self, refusal: &Refusal, digest: Digest) {
        let (at, stage, reason) = (unix_now(), refusal.stage, refusal.reason.clone());
        let refused = Some(reason.clone());
        self.push(PluginEvent {
            at,
            stage,
            generation: None,
            digest: Some(digest),
            refused,
        });
        self.refusal = Some(RefusalRecord {
            stage,
            reason,
            digest,
            at,
        });
    }

    pub(crate) fn history(&self) -> Vec<PluginEvent> {
        self.history.iter().cloned().collect()
    }

    fn push(&mut self, event: PluginEvent) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(event);
    }
}

fn unix_now() -> u64 {
    clock::unix_time().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_events_are_kept() {
        let mut record = Record::default();
        for number in 0..21 {
            record.on_stage(Stage::Active, Some(number), None);
        }
        let numbers: Vec<_> = record
            .history()
            .iter()
            .filter_map(|event| event.generation)
            .collect();
        assert_eq!(numbers, (1..21).collect::<Vec<_>>());
    }
}
