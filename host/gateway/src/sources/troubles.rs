//! Sources that cannot be read as they should be, while what they said before stays in force. Told to
//! the readiness, which shows them as degraded: calls are answered.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use crate::readiness::{Readiness, ReasonKind};

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("it is gone")]
    Gone,
    #[error("it is a link to nothing")]
    Dangling,
    #[error("it is empty")]
    Empty,
    #[error("another folder without plugins is in its place")]
    Replaced,
    #[error("its writer has not closed it")]
    HeldOpen,
    #[error("{0}")]
    Unreadable(String),
}

/// All sources that are in trouble at present.
#[derive(Debug, Default)]
pub(crate) struct SourceTroubles {
    readiness: Readiness,
    held: Mutex<BTreeMap<PathBuf, Trouble>>,
}

impl SourceTroubles {
    /// None yet; `readiness` is told of those that come.
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self {
            readiness,
            held: Mutex::default(),
        }
    }

    /// Each source with what is wrong, by its path.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn all(&self) -> Vec<(PathBuf, Trouble)> {
        let held = self.held.lock();
        held.iter()
            .map(|(path, trouble)| (path.clone(), trouble.clone()))
            .collect()
    }

    /// Notes what is wrong with `path`.
    pub(crate) fn set(&self, path: &Path, trouble: Trouble) {
        let message = format!("{trouble}; what it said before stays in force");
        let subject = path.display().to_string();
        self.held.lock().insert(path.to_owned(), trouble);
        self.readiness.raise(ReasonKind::Source, &subject, message);
    }

    pub(crate) fn clear(&self, path: &Path) {
        if self.held.lock().remove(path).is_some() {
            let subject = path.display().to_string();
            self.readiness.clear(ReasonKind::Source, &subject);
        }
    }

    /// What is wrong at `folder` and below it is `troubles` and nothing else.
    pub(crate) fn set_below(&self, folder: &Path, troubles: BTreeMap<PathBuf, Trouble>) {
        let held = self.held.lock();
        let below = held.keys().filter(|path| path.starts_with(folder));
        let gone = below.filter(|path| !troubles.contains_key(*path));
        let gone: Vec<_> = gone.cloned().collect();
        drop(held);
        gone.iter().for_each(|path| self.clear(path));
        for (path, trouble) in troubles {
            self.set(&path, trouble);
        }
    }
}
