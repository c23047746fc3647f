//! Calls of a plugin recorded, and replayed by what serves.

use postern_wasm::{CallRecording, CallReplayer, RecordingFilter, ReplayTerms};

use super::Control;

/// A recording that has begun.
pub(crate) struct BegunRecording {
    /// Of which version: calls of others are not in it.
    pub label: String,
    pub calls: CallRecording,
}

impl Control {
    /// Begins to record calls of the version that `name` names, or that takes the calls of the plugin; `None`
    /// where there is no such thing.
    pub(crate) fn record(
        &self,
        name: &str,
        filter: RecordingFilter,
    ) -> Option<Result<BegunRecording, String>> {
        let slot = self.in_force(name)?;
        let label = slot.name.clone();
        let recorded = slot.plugin.record(filter);
        Some(recorded.map(|calls| BegunRecording { label, calls }))
    }

    /// The digest of the manifest under which the component of this digest serves as the version `label`, where it
    /// has one.
    pub(crate) fn manifest_of(&self, label: &str, component: &str) -> Option<String> {
        let current = self.slot_of(label)?.shown().current?.deployment;
        current.manifest.filter(|_| current.component == component)
    }

    /// Replays records by what serves of what `name` names, as `record`; `None` where there is no such thing.
    pub(crate) fn replayer(
        &self,
        name: &str,
        terms: ReplayTerms,
    ) -> Option<Result<CallReplayer, String>> {
        Some(self.in_force(name)?.plugin.replayer(terms))
    }
}
