//! Something that the configuration makes for each service: what holds for all of them, and what some have
//! of their own. Read without a lock.

use std::{collections::BTreeMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::Text;

use crate::config::{Config, Service};

pub(super) struct ByService<T>(ArcSwap<Made<T>>);

#[derive(Debug, Default)]
struct Made<T> {
    default: Arc<T>,
    own: BTreeMap<Text, Arc<T>>,
}

impl<T> ByService<T> {
    /// Makes it anew of what `config` says. `make` is given what holds so far, and gives it back where
    /// nothing is new.
    pub(super) fn apply(&self, config: &Config, make: impl Fn(&Arc<T>, &Service) -> Arc<T>) {
        let before = self.0.load_full();
        let own = config.services.own().map(|(name, service)| {
            let before = before.own.get(name).unwrap_or(&before.default);
            (Text::from(name), make(before, service))
        });
        self.0.store(Arc::new(Made {
            own: own.collect(),
            default: make(&before.default, &config.services.default),
        }));
    }

    pub(super) fn of(&self, service: &Text) -> Arc<T> {
        let made = self.0.load();
        Arc::clone(made.own.get(service).unwrap_or(&made.default))
    }
}

impl<T: Default> Default for ByService<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for ByService<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByService").field(&*self.0.load()).finish()
    }
}
