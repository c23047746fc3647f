//! Copies of calls, whose answers are merely compared: what they work on, and who answers them.

use postern_core::shadow::CopiedState;

use super::Plugin;

impl Plugin {
    /// Copies of calls come to the generation in service from here on, where its spec says that it answers such. None of
    /// its instances that has answered calls before answers a copy.
    pub fn begin_copies(&self) {
        if let Some(serving) = self.in_service.load().as_ref() {
            serving.generation.begin_copies();
        }
    }

    /// What a copy of a call that comes at this moment reads and writes in the place of the key/value store.
    /// `None` where the version in service has no store.
    #[must_use]
    pub fn state_for_copy(&self) -> Option<CopiedState> {
        self.in_service.load_full()?.generation.state_for_copy()
    }
}
