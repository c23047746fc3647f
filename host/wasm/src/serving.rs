//! Which generation of a plugin is in service, as everybody sees it who calls the plugin.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use postern_core::{Blame, Error};

use crate::{
    generation::{Serving, WorkerShard},
    role::Role,
};

/// A plugin's generation in service, if it has one.
pub(crate) struct InService {
    pub(crate) plugin: Arc<str>,
    active: ArcSwapOption<Serving>,
}

impl InService {
    pub(crate) fn new(plugin: &str) -> Arc<Self> {
        Arc::new(Self {
            plugin: plugin.into(),
            active: ArcSwapOption::empty(),
        })
    }

    /// Puts another generation into service, or none; gives the one before.
    pub(crate) fn replace(&self, serving: Option<Serving>) -> Option<Arc<Serving>> {
        self.active.swap(serving.map(Arc::new))
    }

    /// The generation in service, for as long as an entry takes.
    pub(crate) fn load(&self) -> Guard<Option<Arc<Serving>>> {
        self.active.load()
    }

    pub(crate) fn load_full(&self) -> Option<Arc<Serving>> {
        self.active.load_full()
    }

    /// Gives `enter` the generation in service, or what a caller is told where there is none.
    pub(crate) fn with<R>(&self, enter: impl FnOnce(Result<&Serving, Error>) -> R) -> R {
        let serving = self.load();
        enter(serving.as_deref().ok_or_else(|| self.unavailable()))
    }

    /// The generation in service, as this thread reaches it.
    pub(crate) fn shard(&self) -> Option<Arc<WorkerShard>> {
        Some(self.active.load().as_ref()?.shard())
    }

    /// Whether the generation in service has `role`.
    pub(crate) fn has(&self, role: Role) -> bool {
        let serving = self.load();
        serving
            .as_ref()
            .is_some_and(|serving| serving.generation.has(role))
    }

    pub(crate) fn unavailable(&self) -> Error {
        let message = format!("plugin {} has no version in service", self.plugin);
        Error::unavailable(Blame::Gateway, message)
    }
}
