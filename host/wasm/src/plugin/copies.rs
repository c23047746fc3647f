//! Copies of calls: what they work on in the place of what their calls do.

use std::sync::Arc;

use postern_core::shadow::CopiedState;

use super::Plugin;
use crate::{kv_overlay::KvOverlay, kv_table::Table};

impl Plugin {
    /// What a copy of a call that comes at this moment reads and writes in the place of the key/value store.
    /// `None` where the version in service has no store.
    #[must_use]
    pub fn state_for_copy(&self) -> Option<CopiedState> {
        let serving = self.in_service.load_full()?;
        let table = serving.generation.guest.shared.get::<Table>()?;
        Some(Arc::new(KvOverlay::new(table)))
    }
}
