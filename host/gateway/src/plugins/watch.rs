//! Watches the plugin folder and says which plugin is to be read. The system's notices come first;
//! a look at every file's outward signs, every two seconds, finds what they do not tell (network
//! and shared folders).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_system::clock;

use super::{
    folder::{self, FolderListing, PluginFiles},
    label,
    presence::{Presence, PresenceVerdict},
};
use crate::proto::SchemaSight;
use crate::sources::{
    files::HELD_OPEN_TOLD,
    links,
    notices::{FileNotice, Notices},
    settle::{Due, Notice, Settle, SettleTiming},
    sight::PathState,
    troubles::{SourceTroubles, Trouble},
    writers,
};

/// A watch on one folder.
pub(crate) struct FolderWatch {
    folder: PathBuf,
    notices: Notices,
    wanted: Arc<Mutex<Wanted>>,
    /// Which file of which plugin each name is about.
    index: BTreeMap<PathBuf, BTreeSet<(String, PathBuf)>>,
    /// Names by which the folder itself changes.
    own: Vec<PathBuf>,
    /// The folder without links, while it is there.
    real: Option<PathBuf>,
    known: WatchedPlugins,
    /// Every plugin's files at the last look.
    seen: BTreeMap<String, PluginFiles>,
    next_look: Instant,
}

/// What the watch knows of plugins, for whoever reads them.
#[derive(Debug, Clone)]
pub(crate) struct WatchedPlugins {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    troubles: Arc<SourceTroubles>,
}

#[derive(Debug)]
struct State {
    settle: Settle<String>,
    presence: Presence,
    /// Plugins that were removed from the folder.
    removed: BTreeSet<String>,
    /// Plugins that could not be read, and why.
    unread: BTreeMap<String, Unread>,
    /// What the schemas of plugins were read from, as it was then.
    schemas: BTreeMap<String, SchemaSight>,
}

/// Why a plugin could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub path: PathBuf,
    pub trouble: Trouble,
    /// Whether something that its files said is in force.
    pub is_held: bool,
}

/// Which names notices are to be about.
#[derive(Debug, Default)]
struct Wanted {
    /// Every name in these.
    folders: BTreeSet<PathBuf>,
    names: BTreeSet<PathBuf>,
}

impl FolderWatch {
    /// Begins to watch `folder`, which may come to be later. What lies there at this moment counts
    /// as seen.
    #[must_use]
    pub(crate) fn new(folder: &Path, settle: Duration, troubles: Arc<SourceTroubles>) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let (wanted, now) = (Arc::<Mutex<Wanted>>::default(), clock::now());
        let is_wanted = Arc::clone(&wanted);
        let state = State {
            settle: Settle::new(SettleTiming::new(settle)),
            presence: Presence::new(settle, now),
            removed: BTreeSet::new(),
            unread: BTreeMap::new(),
            schemas: BTreeMap::new(),
        };
        let mut watch = Self {
            notices: Notices::new(move |path| is_wanted.lock().has(path)),
            wanted,
            index: BTreeMap::new(),
            own: Vec::new(),
            real: None,
            known: WatchedPlugins {
                folder: folder.clone(),
                state: Arc::new(Mutex::new(state)),
                troubles,
            },
            folder,
            seen: BTreeMap::new(),
            next_look: now + LOOK_INTERVAL,
        };
        watch.look(false);
        watch.note_writers();
        watch
    }

    /// Whoever wrote before the watch began is waited for like one that was noticed.
    fn note_writers(&self) {
        let files = self.seen.iter().flat_map(|(name, found)| {
            let component = found.component_path.clone();
            let manifest = component.with_extension("toml");
            let signatures = [&component, &manifest].map(|file| folder::signature_of(file));
            let files = [component, manifest].into_iter().chain(signatures);
            files.map(|file| (file, name.clone())).collect::<Vec<_>>()
        });
        let files: BTreeMap<_, _> = files.collect();
        let mut state = self.known.state.lock();
        for file in writers::being_written(files.keys().cloned()) {
            if let Some(name) = files.get(&file) {
                let now = clock::now();
                state
                    .settle
                    .on_notice(now, name.clone(), &file, Notice::Written);
            }
        }
    }

    /// The folder had these plugins before the start. One that it has not is to be found removed,
    /// unless the folder is away or empty.
    pub(crate) fn expect(&mut self, names: &BTreeSet<String>) {
        let now = clock::now();
        let mut state = self.known.state.lock();
        for name in names {
            state.presence.expect(now, name);
        }
    }

    /// What is known of its plugins from here on.
    pub(crate) fn watched(&self) -> WatchedPlugins {
        self.known.clone()
    }

    /// The next plugin to read, or to find removed. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            let due = self.known.state.lock().settle.poll_due(clock::now());
            if let Some(due) = due {
                if let Some(plugin) = self.on_due(due) {
                    return plugin;
                }
                continue;
            }
            let due = self.known.state.lock().settle.poll_timeout();
            let wake = due.map_or(self.next_look, |due| due.min(self.next_look));
            tokio::select! {
                told = self.notices.next() => self.on_told(told),
                () = tokio::time::sleep_until(wake.into()) => {
                    if wake >= self.next_look {
                        self.next_look = clock::now() + LOOK_INTERVAL;
                        self.look(true);
                        self.known.retry();
                        self.known.tell();
                    }
                }
            }
        }
    }

    /// Has `plugin` read again soon.
    pub(crate) fn again(&mut self, plugin: String) {
        let mut state = self.known.state.lock();
        let at = clock::now() + AGAIN_PAUSE;
        state.settle.again(plugin, at);
    }

    fn on_due(&mut self, due: Due<String>) -> Option<String> {
        let before = self.seen.get(&due.unit).cloned();
        let plugin = due.unit;
        self.look(true);
        let now = clock::now();
        let mut state = self.known.state.lock();
        if !due.is_by_look {
            // What the look found is what is read.
            state.settle.forget(&plugin);
        } else if self.seen.get(&plugin) != before.as_ref() {
            // Noted by the look: without notices, rest alone says that nobody writes.
            return None;
        }
        let plugin = match state.presence.judge(now, &plugin) {
            PresenceVerdict::Read => Some(plugin),
            PresenceVerdict::Removed => {
                state.removed.insert(plugin.clone());
                state.unread.remove(&plugin);
                Some(plugin)
            }
            PresenceVerdict::Wait(at) => {
                state.settle.again(plugin, at);
                None
            }
            PresenceVerdict::Kept => None,
        };
        drop(state);
        self.known.tell();
        plugin
    }

    fn on_told(&mut self, told: FileNotice) {
        let mut is_of_names = false;
        let mut next = Some(told);
        // One look for all that was told already.
        while let Some(told) = next {
            match told {
                FileNotice::Lost => self.next_look = clock::now(),
                FileNotice::Of { path, notice } => is_of_names |= self.on_notice(&path, notice),
            }
            next = self.notices.try_next();
        }
        if is_of_names {
            self.look(true);
        }
    }

    /// Says whether names may stand for something else.
    fn on_notice(&mut self, path: &Path, notice: Notice) -> bool {
        let now = clock::now();
        let mut state = self.known.state.lock();
        let has_moved = matches!(notice, Notice::Replaced | Notice::Removed);
        let is_folder =
            self.real.as_deref() == Some(path) || self.own.iter().any(|own| own == path);
        if is_folder && has_moved {
            state.presence.on_replaced(now);
        }
        if let Some(files) = self.index.get(path) {
            for (plugin, file) in files {
                state.settle.on_notice(now, plugin.clone(), file, notice);
            }
        } else if let Some(real) = &self.real
            && let Some(plugin) = folder::plugin_of(real, path)
            && let Ok(file) = path.strip_prefix(real)
        {
            let file = self.folder.join(file);
            state.settle.on_notice(now, plugin, &file, notice);
        }
        if has_moved {
            self.notices.on_moved(path);
        }
        notice.is_of_names()
    }

    /// Looks at the folder. Whatever differs from the look before is noted, unless it is the first.
    fn look(&mut self, is_change: bool) {
        let now = clock::now();
        let mut listing = folder::list(&self.folder);
        if self.watch_names(listing.as_ref().ok().and_then(Option::as_ref)) {
            // Nobody told of changes between the listing and the watch.
            listing = folder::list(&self.folder);
        }
        let mut state = self.known.state.lock();
        let plugins = match listing {
            Ok(Some(listing)) => listing,
            Ok(None) => return state.presence.on_away(now, Trouble::Gone),
            Err(error) => {
                let trouble = Trouble::Unreadable(error.to_string());
                return state.presence.on_away(now, trouble);
            }
        };
        let (identity, plugins) = (plugins.identity, plugins.plugins);
        let components = plugins.iter();
        let components = components.map(|(name, found)| (name.as_str(), found.component));
        state.presence.on_look(now, identity, components);
        for (name, found) in &plugins {
            if found.component != PathState::Dangling {
                state.removed.remove(name);
            }
            let before = self.seen.get(name);
            if !is_change || before == Some(found) {
                continue;
            }
            for path in differing(before, found) {
                state
                    .settle
                    .on_notice(now, name.clone(), &path, Notice::Differs);
            }
        }
        for (name, before) in self
            .seen
            .iter()
            .filter(|(name, _)| !plugins.contains_key(*name))
        {
            let path = &before.component_path;
            state
                .settle
                .on_notice(now, name.clone(), path, Notice::Differs);
        }
        let State {
            settle, schemas, ..
        } = &mut *state;
        schemas.retain(|name, _| plugins.contains_key(name));
        for (name, sight) in schemas {
            for path in sight.changed() {
                settle.on_notice(now, name.clone(), &path, Notice::Differs);
            }
        }
        self.seen = plugins;
    }

    /// Hears of every folder that a name of a plugin's file, or a link to it, lies in. Says whether
    /// one of them was not watched before.
    fn watch_names(&mut self, listing: Option<&FolderListing>) -> bool {
        self.own = links::names(&self.folder);
        let mut wanted = Wanted {
            folders: BTreeSet::new(),
            names: self.own.iter().cloned().collect(),
        };
        self.index.clear();
        self.real = listing.map(|listing| listing.real.clone());
        if let Some(FolderListing { real, names, .. }) = listing {
            wanted.folders.insert(real.clone());
            for name in names {
                let [flat, flat_toml, nested, nested_toml] = folder::files(Path::new(""), name);
                let mut files = match real.join(label::plugin_of(name)).is_dir() {
                    true => vec![flat, flat_toml, nested, nested_toml],
                    false => vec![flat, flat_toml],
                };
                let signatures = files.iter().map(|file| folder::signature_of(file));
                files.extend(signatures.collect::<Vec<_>>());
                for file in files {
                    for told in links::names_below(real.clone(), &file) {
                        let files = self.index.entry(told).or_default();
                        files.insert((name.clone(), self.folder.join(&file)));
                    }
                }
            }
            for (name, path) in self.known.schema_paths() {
                let Ok(file) = path.strip_prefix(&self.folder) else {
                    continue;
                };
                if path.is_dir() {
                    // What comes into it is told by its own name.
                    wanted.folders.insert(real.join(file));
                    continue;
                }
                for told in links::names_below(real.clone(), file) {
                    let files = self.index.entry(told).or_default();
                    files.insert((name.clone(), path.clone()));
                }
            }
            wanted.names.extend(self.index.keys().cloned());
        }
        let mut folders = wanted.folders.clone();
        let parents = wanted.names.iter().filter_map(|name| name.parent());
        folders.extend(parents.map(Path::to_owned));
        // A folder that goes away tells that itself.
        wanted.names.extend(folders.iter().cloned());
        *self.wanted.lock() = wanted;
        self.notices.watch(&folders)
    }
}

impl Wanted {
    fn has(&self, path: &Path) -> bool {
        let in_folder = |folder: &Path| self.folders.contains(folder);
        self.names.contains(path) || path.parent().is_some_and(in_folder)
    }
}

impl WatchedPlugins {
    /// Whether a file of `plugin` changes at this moment, so that what was read does not count.
    pub(crate) fn is_changing(&self, plugin: &str) -> bool {
        let state = self.state.lock();
        state.settle.is_changing(&plugin.to_owned())
    }

    /// Whether somebody removed `plugin` on purpose.
    pub(crate) fn is_removed(&self, plugin: &str) -> bool {
        self.state.lock().removed.contains(plugin)
    }

    /// Notes that `plugin` was read, and what its schema was read from where it is there.
    pub(crate) fn on_read(&self, plugin: &str, schema: Option<SchemaSight>) {
        let mut state = self.state.lock();
        state.unread.remove(plugin);
        match schema {
            Some(sight) => drop(state.schemas.insert(plugin.to_owned(), sight)),
            None => drop(state.schemas.remove(plugin)),
        }
        drop(state);
        self.tell();
    }

    /// What schemas were read from, with the plugins that have them.
    fn schema_paths(&self) -> Vec<(String, PathBuf)> {
        let state = self.state.lock();
        let all = state.schemas.iter();
        let paths =
            all.flat_map(|(name, sight)| sight.paths().map(|path| (name.clone(), path.to_owned())));
        paths.collect()
    }

    /// Notes that `plugin` could not be read; it is tried again at every look. Says whether the
    /// reason is another one than before.
    pub(crate) fn on_unread(&self, plugin: &str, unread: Unread) -> bool {
        let mut state = self.state.lock();
        let before = state.unread.insert(plugin.to_owned(), unread.clone());
        drop(state);
        self.tell();
        before != Some(unread)
    }

    /// Has plugins that could not be read, and those that are missed, looked at again.
    fn retry(&self) {
        let mut state = self.state.lock();
        let missed = state.presence.missed().map(str::to_owned);
        let again: BTreeSet<String> = state.unread.keys().cloned().chain(missed).collect();
        for plugin in again {
            if !state.settle.is_changing(&plugin) {
                state.settle.again(plugin, clock::now());
            }
        }
    }

    /// Tells what is wrong below the folder at this moment, and only that.
    fn tell(&self) {
        let (now, state) = (clock::now(), self.state.lock());
        let unread = state.unread.values().filter(|unread| unread.is_held);
        let mut troubles: BTreeMap<_, _> = unread
            .map(|unread| (unread.path.clone(), unread.trouble.clone()))
            .collect();
        for (_, file) in state.settle.open_for(now, HELD_OPEN_TOLD) {
            troubles.insert(file.to_owned(), Trouble::HeldOpen);
        }
        for plugin in state.presence.dangling() {
            let [component, ..] = folder::files(&self.folder, plugin);
            troubles.insert(component, Trouble::Dangling);
        }
        if let Some(trouble) = state.presence.trouble(now) {
            troubles.insert(self.folder.clone(), trouble);
        }
        drop(state);
        self.troubles.set_below(&self.folder, troubles);
    }
}

/// The files of a plugin that are not as they were at the look before.
fn differing(before: Option<&PluginFiles>, found: &PluginFiles) -> Vec<PathBuf> {
    let component = &found.component_path;
    let manifest = component.with_extension("toml");
    let signatures = [component, &manifest].map(|file| folder::signature_of(file));
    let was_at = before.map(|before| (&before.component_path, before.component));
    let was = |of: fn(&PluginFiles) -> PathState| before.map_or(PathState::Absent, of);
    let [component_signature, manifest_signature] = signatures;
    let differs = [
        (
            component.clone(),
            was_at != Some((component, found.component)),
        ),
        (manifest, was(|files| files.manifest) != found.manifest),
        (
            component_signature,
            was(|files| files.signatures[0]) != found.signatures[0],
        ),
        (
            manifest_signature,
            was(|files| files.signatures[1]) != found.signatures[1],
        ),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(path, _)| path).collect()
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Whoever asks for another reading has just seen a file change under its hands.
const AGAIN_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
