//! Stores of others, by their names in the configuration. They are looked up with each use, so that a change
//! of the configuration reaches plugins that run.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::{
    Error,
    key_value::{KeyValueStore, no_such_store},
};

type ByName = BTreeMap<String, Arc<dyn KeyValueStore>>;

/// All of them; replaced as a whole.
#[derive(Default)]
pub(crate) struct NamedStores(ArcSwap<ByName>);

impl NamedStores {
    pub(crate) fn replace(&self, stores: ByName) {
        self.0.store(Arc::new(stores));
    }

    /// # Errors
    /// `unavailable` where none has that name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<dyn KeyValueStore>, Error> {
        let stores = self.0.load();
        let found = stores.get(name).map(Arc::clone);
        found.ok_or_else(|| no_such_store(name))
    }
}

impl fmt::Debug for NamedStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.load().keys()).finish()
    }
}
