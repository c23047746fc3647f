//! Calls of a plugin recorded, and replayed by what serves.

use postern_wasm::{CallRecording, CallReplayer, RecordingFilter, ReplayTerms};

use super::Control;

impl Control {
    /// Begins to record calls of the plugin `name`; `None` where there is no such plugin.
    pub(crate) fn record(
        &self,
        name: &str,
        filter: RecordingFilter,
    ) -> Option<Result<CallRecording, String>> {
        let slot = self.slots.lock().get(name).cloned()?;
        Some(slot.plugin.record(filter))
    }

    /// The digest of the manifest under which the component of this digest serves, where it has one.
    pub(crate) fn manifest_of(&self, name: &str, component: &str) -> Option<String> {
        let slot = self.slots.lock().get(name).cloned()?;
        let current = slot.shown().current?.deployment;
        current.manifest.filter(|_| current.component == component)
    }

    /// Replays records by what serves of the plugin `name`; `None` where there is no such plugin.
    pub(crate) fn replayer(
        &self,
        name: &str,
        terms: ReplayTerms,
    ) -> Option<Result<CallReplayer, String>> {
        let slot = self.slots.lock().get(name).cloned()?;
        Some(slot.plugin.replayer(terms))
    }
}
