//! Watches the plugin folder and says which plugin is to be read. The system's notices come first;
//! a look at every file's length and time, every two seconds, finds what it does not tell (network
//! and shared folders).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    folder::{self, Signs},
    settle::{Settle, Sight},
};

/// A watch on one folder.
pub struct Watch {
    folder: PathBuf,
    /// `None` where the system gives no notices.
    watcher: Option<RecommendedWatcher>,
    notices: mpsc::UnboundedReceiver<Event>,
    /// Folders that give notices.
    watched: BTreeSet<PathBuf>,
    settle: Settle,
    /// Every plugin's files at the last look.
    seen: BTreeMap<String, (Signs, Option<Signs>)>,
    next_look: Instant,
}

impl Watch {
    /// Begins to watch `folder`, which may come to be later. What lies there at this moment counts
    /// as seen.
    #[must_use]
    pub fn new(folder: &Path, quiet: Duration) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let (sender, notices) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                // Fails only when the watch has ended.
                let _ = sender.send(event);
            }
        });
        let watcher = watcher
            .inspect_err(|error| warn!(%error, "no notices of changed files, looking instead"))
            .ok();
        let mut watch = Self {
            folder,
            watcher,
            notices,
            watched: BTreeSet::new(),
            settle: Settle::new(quiet),
            seen: BTreeMap::new(),
            next_look: Instant::now() + LOOK_INTERVAL,
        };
        watch.watch_folders();
        watch.look_at_all(false);
        watch
    }

    /// The next plugin to read. Dropping the future loses nothing.
    pub async fn next(&mut self) -> String {
        loop {
            let now = Instant::now();
            if let Some(plugin) = self.settle.poll_due(now) {
                if let Some(signs) = folder::signs(&self.folder, &plugin) {
                    self.seen.insert(plugin.clone(), signs);
                } else {
                    self.seen.remove(&plugin);
                }
                return plugin;
            }
            let wake = self
                .settle
                .poll_timeout()
                .map_or(self.next_look, |due| due.min(self.next_look));
            tokio::select! {
                Some(event) = self.notices.recv() => self.on_event(&event),
                () = tokio::time::sleep_until(wake.into()) => {
                    if wake >= self.next_look {
                        self.next_look = Instant::now() + LOOK_INTERVAL;
                        self.watch_folders();
                        self.look_at_all(true);
                    }
                }
            }
        }
    }

    /// Reads `plugin` again after the quiet time.
    pub fn again(&mut self, plugin: String) {
        self.settle.on_sight(Instant::now(), plugin, Sight::Writing);
    }

    fn on_event(&mut self, event: &Event) {
        if event.need_rescan() {
            self.next_look = Instant::now();
        }
        let Some(sight) = sight(event.kind) else {
            return;
        };
        for path in &event.paths {
            if path.parent() == Some(&self.folder) && path.extension().is_none() {
                // A folder came or went, with whatever lies in it.
                self.watch_folders();
                self.look_at_all(true);
            }
            if let Some(plugin) = folder::plugin_of(&self.folder, path) {
                self.settle.on_sight(Instant::now(), plugin, sight);
            }
        }
    }

    /// Notes every plugin whose files differ from the last look.
    fn look_at_all(&mut self, is_change: bool) {
        let names = folder::names(&self.folder).unwrap_or_default();
        let gone: Vec<_> = self
            .seen
            .keys()
            .filter(|name| !names.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.seen.remove(&name);
            self.settle.on_sight(Instant::now(), name, Sight::Complete);
        }
        for name in names {
            let Some(signs) = folder::signs(&self.folder, &name) else {
                continue;
            };
            let is_new = self.seen.insert(name.clone(), signs) != Some(signs);
            if is_new && is_change {
                self.settle.on_sight(Instant::now(), name, Sight::Differs);
            }
        }
    }

    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut present = BTreeSet::new();
        if self.folder.is_dir() {
            present.insert(self.folder.clone());
            present.extend(folder::subfolders(&self.folder));
        }
        for path in present.difference(&self.watched) {
            if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
                warn!(path = %path.display(), %error, "no notices from this folder, looking instead");
            }
        }
        self.watched = present;
    }
}

/// What an event says of a file; `None` when it says nothing new.
fn sight(kind: EventKind) -> Option<Sight> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => Some(Sight::Complete),
        EventKind::Access(_) => None,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
            Some(Sight::Writing)
        }
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    const QUIET: Duration = Duration::from_millis(300);
    const SOON: Duration = Duration::from_millis(150);
    const PATIENCE: Duration = Duration::from_secs(10);
    /// Far below a quiet time of `PATIENCE`, and enough on a busy machine.
    const AT_ONCE: Duration = Duration::from_secs(4);

    async fn next_within(watch: &mut Watch, limit: Duration) -> Option<String> {
        tokio::time::timeout(limit, watch.next()).await.ok()
    }

    #[tokio::test]
    async fn a_renamed_file_is_seen_once_and_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path(), PATIENCE);
        fs::write(folder.path().join(".users.tmp"), "component").expect("written");
        fs::rename(
            folder.path().join(".users.tmp"),
            folder.path().join("users.wasm"),
        )
        .expect("renamed");
        assert_eq!(
            next_within(&mut watch, AT_ONCE).await.as_deref(),
            Some("users")
        );
        assert_eq!(next_within(&mut watch, QUIET * 2).await, None);
    }

    #[tokio::test]
    async fn a_copied_file_is_seen_when_it_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path(), PATIENCE);
        let mut file = fs::File::create(folder.path().join("users.wasm")).expect("created");
        io::Write::write_all(&mut file, b"half").expect("written");
        assert_eq!(
            next_within(&mut watch, SOON).await,
            None,
            "still being written"
        );
        io::Write::write_all(&mut file, b"whole").expect("written");
        drop(file);
        assert_eq!(
            next_within(&mut watch, AT_ONCE).await.as_deref(),
            Some("users")
        );
    }

    #[tokio::test]
    async fn a_removed_file_and_a_changed_manifest_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("users.wasm"), "component").expect("written");
        let mut watch = Watch::new(folder.path(), PATIENCE);
        fs::write(folder.path().join("users.toml"), "").expect("written");
        assert_eq!(
            next_within(&mut watch, AT_ONCE).await.as_deref(),
            Some("users")
        );
        fs::remove_file(folder.path().join("users.wasm")).expect("removed");
        assert_eq!(
            next_within(&mut watch, AT_ONCE).await.as_deref(),
            Some("users")
        );
    }

    #[tokio::test]
    async fn a_folder_that_comes_later_is_watched_from_then_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path(), QUIET);
        let sub = folder.path().join("chat");
        fs::create_dir(&sub).expect("created");
        assert_eq!(next_within(&mut watch, SOON).await, None);
        fs::write(sub.join("chat.wasm"), "component").expect("written");
        assert_eq!(
            next_within(&mut watch, PATIENCE).await.as_deref(),
            Some("chat")
        );
    }

    #[tokio::test]
    async fn without_notices_a_look_finds_the_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path(), QUIET);
        watch.watcher = None;
        fs::write(folder.path().join("users.wasm"), "component").expect("written");
        assert_eq!(
            next_within(&mut watch, PATIENCE).await.as_deref(),
            Some("users")
        );
    }

    #[tokio::test]
    async fn temporaries_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::new(folder.path(), QUIET);
        for name in [".users.wasm.swp", "users.wasm~", "users.wasm.tmp", "4913"] {
            fs::write(folder.path().join(name), "text").expect("written");
        }
        assert_eq!(next_within(&mut watch, QUIET * 3).await, None);
    }
}
