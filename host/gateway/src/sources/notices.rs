//! Notices of the system about names in folders: which folders to hear of, and what is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{settle::Notice, sight::FileIdentity};

/// What the system told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileNotice {
    /// `path` is a name in a watched folder, or the folder itself.
    Of { path: PathBuf, notice: Notice },
    /// Some notices were lost: only a look helps.
    Lost,
}

/// Hears of changes in folders.
pub(crate) struct Notices {
    /// `None` where the system gives no notices.
    watcher: Option<RecommendedWatcher>,
    told: mpsc::UnboundedReceiver<FileNotice>,
    /// Folders without links in their paths, and which they were when their watch began.
    watched: BTreeMap<PathBuf, FileIdentity>,
}

impl Notices {
    /// Tells of names that `is_wanted` accepts; it is asked on the watcher's thread.
    pub(crate) fn new(is_wanted: impl Fn(&Path) -> bool + Send + 'static) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else {
                // Fails only when nobody listens any more, here and below.
                let _ = sender.send(FileNotice::Lost);
                return;
            };
            if event.need_rescan() {
                let _ = sender.send(FileNotice::Lost);
            }
            let Some(notice) = notice(event.kind) else {
                return;
            };
            for path in event.paths.into_iter().filter(|path| is_wanted(path)) {
                let _ = sender.send(FileNotice::Of { path, notice });
            }
        });
        let watcher = watcher
            .inspect_err(|error| warn!(%error, "no notices of changed files, looking instead"))
            .ok();
        Self {
            watcher,
            told,
            watched: BTreeMap::new(),
        }
    }

    /// What was told next. Never completes where the system tells nothing.
    pub(crate) async fn next(&mut self) -> FileNotice {
        match self.told.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    /// What was told already.
    pub(crate) fn try_next(&mut self) -> Option<FileNotice> {
        self.told.try_recv().ok()
    }

    /// Hears of `folders` from here on, and of no others. A folder that another has taken the place
    /// of is watched anew. Says whether any watch is new.
    pub(crate) fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let mut is_any_new = false;
        let identity = |path: &Path| fs::metadata(path).ok().as_ref().map(FileIdentity::of);
        let gone = |(path, was): &(&PathBuf, &FileIdentity)| {
            !folders.contains(*path) || identity(path).as_ref() != Some(*was)
        };
        let gone: Vec<_> = self.watched.iter().filter(gone).collect();
        let gone: Vec<_> = gone.into_iter().map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.watched.remove(&path);
            // The watch of a folder that was removed has ended by itself.
            let _ = watcher.unwatch(&path);
        }
        for path in folders {
            let Some(identity) = identity(path).filter(|_| !self.watched.contains_key(path)) else {
                continue;
            };
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), identity);
                    is_any_new = true;
                }
                Err(error) => debug!(path = %path.display(), %error, "no notices from this folder"),
            }
        }
        is_any_new
    }

    /// `path` was renamed or removed. Where it is a watched folder, or one above, the watches below
    /// it end: they follow the folder that it was, if any.
    pub(crate) fn on_moved(&mut self, path: &Path) {
        let below = self
            .watched
            .keys()
            .filter(|folder| folder.starts_with(path));
        let below: Vec<_> = below.cloned().collect();
        for folder in &below {
            self.watched.remove(folder);
            if let Some(watcher) = &mut self.watcher {
                let _ = watcher.unwatch(folder);
            }
        }
    }

    /// Lets the system tell nothing any more.
    #[cfg(test)]
    pub(crate) fn silence(&mut self) {
        self.watcher = None;
    }
}

impl Notice {
    /// Whether it may have changed what names stand for.
    pub(crate) const fn is_of_names(self) -> bool {
        match self {
            Self::Replaced | Self::Created | Self::Removed => true,
            Self::Written | Self::Closed | Self::Differs => false,
        }
    }
}

/// What an event says of a file; `None` when it says nothing of its content.
fn notice(kind: EventKind) -> Option<Notice> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Notice::Closed),
        // Comes after the notices of both names.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
            Some(Notice::Removed)
        }
        EventKind::Modify(ModifyKind::Name(_)) => Some(Notice::Replaced),
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Metadata(_)) => Some(Notice::Created),
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Some(Notice::Written),
    }
}
