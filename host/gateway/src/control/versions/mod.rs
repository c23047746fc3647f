//! Versions of one plugin side by side: `users.wasm`, `users@2.wasm`. Each is a slot of its own; here is which
//! of them takes the plugin's calls, which is tried beside it, and what is remembered of that.
//!
//! | what | file |
//! |---|---|
//! | which version is what, pure | `state.rs` |
//! | a version that comes, changes, goes | `arriving.rs` |
//! | what operators say | `operating.rs` |
//! | a version that is tried: its share, its counts, its copies | `trial.rs`, `split.rs`, `meter.rs`, `shadow.rs` |
//! | what the rules say of it | `judging.rs`, `postern_core::canary` |
//! | what is kept and shown | `history.rs`, `writer.rs`, `view.rs`, `showing.rs` |
//!
//! Everything else sees plugins by their names, each by the version that takes its calls. Services and routes
//! are held by the plugin.

mod arriving;
pub(crate) mod history;
mod judging;
mod meter;
mod operating;
mod shadow;
mod showing;
mod split;
mod state;
mod trial;
pub(crate) mod view;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

pub(super) use self::split::VersionSplit;
use self::{history::HistoryEntry, state::VersionState, trial::Trial, writer::VersionFiles};
use super::slot::PluginSlot;

/// Slots by label, or those that take calls by plugin.
pub(super) type SlotsByName = BTreeMap<String, Arc<PluginSlot>>;

/// The versions of every plugin.
pub(super) struct PluginVersions {
    files: VersionFiles,
    sets: Mutex<BTreeMap<String, VersionSet>>,
    /// Labels that the folder has.
    known: Mutex<BTreeSet<String>>,
    /// Held from the decision what a version becomes to where it is that. Taken before all other locks: versions
    /// of one plugin are deployed at the same time, and what one becomes depends on the others.
    changing: Mutex<()>,
}

/// The versions of one plugin.
#[derive(Default)]
struct VersionSet {
    state: VersionState,
    trial: Option<Trial>,
    /// What the file is to hold.
    kept: VersionState,
    promoted: u64,
    /// By what they were worse.
    rolled_back: BTreeMap<&'static str, u64>,
    /// Why each version is what it is, by label.
    reasons: BTreeMap<String, String>,
}

impl PluginVersions {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            files: VersionFiles::new(data_dir.join("versions")),
            sets: Mutex::default(),
            known: Mutex::default(),
            changing: Mutex::default(),
        }
    }

    /// Waits for whoever changes which version is what.
    pub(super) fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// The slot that takes the calls of each plugin, by the plugin's name. Where none does, the one that is to.
    pub(super) fn serving(&self, slots: &SlotsByName) -> SlotsByName {
        let mut sets = self.sets.lock();
        let groups = groups(slots).into_iter();
        let serving = groups.filter_map(|(plugin, group)| {
            let slot = match group.as_slice() {
                [lone] => *lone,
                _ => acting(self.set(&mut sets, plugin).state(), &group)?,
            };
            Some((plugin.to_owned(), Arc::clone(slot)))
        });
        serving.collect()
    }

    /// What stands in the place of a plugin's handler, by the plugin's name: splits between versions. Trials
    /// begin and end here.
    pub(super) fn splits(&self, slots: &SlotsByName) -> BTreeMap<String, Arc<VersionSplit>> {
        let mut sets = self.sets.lock();
        let mut splits = BTreeMap::new();
        for (plugin, group) in groups(slots) {
            if group.len() < 2 {
                if let Some(set) = sets.get_mut(plugin) {
                    set.trial = None;
                }
                continue;
            }
            let set = self.set(&mut sets, plugin);
            set.follow(&group);
            if let Some(trial) = &set.trial {
                splits.insert(plugin.to_owned(), Arc::clone(trial.split()));
            }
        }
        splits
    }

    fn set<'a>(
        &self,
        sets: &'a mut BTreeMap<String, VersionSet>,
        plugin: &str,
    ) -> &'a mut VersionSet {
        sets.entry(plugin.to_owned()).or_insert_with(|| {
            let state = self.files.kept(plugin);
            VersionSet {
                kept: state.clone(),
                state,
                ..VersionSet::default()
            }
        })
    }

    /// Changes what is remembered of `plugin`, also after a restart.
    fn change<R>(&self, plugin: &str, change: impl FnOnce(&mut VersionSet) -> R) -> R {
        let mut sets = self.sets.lock();
        let set = self.set(&mut sets, plugin);
        let result = change(set);
        let next = match set.state.is_plain() {
            true => VersionState::default(),
            false => set.state.clone(),
        };
        if next != set.kept {
            set.kept = next.clone();
            self.files.keep(plugin, next);
        }
        result
    }

    /// Adds to the history of `plugin`.
    fn note(&self, plugin: &str, entry: &HistoryEntry<'_>) {
        self.files.note(plugin, entry);
    }

    fn is_known(&self, label: &str) -> bool {
        self.known.lock().contains(label)
    }
}

impl VersionSet {
    const fn state(&self) -> &VersionState {
        &self.state
    }

    /// Tries the canary of `group` where both it and the stable version take calls.
    fn follow(&mut self, group: &[&Arc<PluginSlot>]) {
        let stable = acting(&self.state, group);
        let canary = self.state.canary.as_ref();
        let canary =
            canary.and_then(|label| group.iter().copied().find(|slot| slot.name == *label));
        let pair = stable
            .zip(canary)
            .filter(|(stable, canary)| stable.name != canary.name);
        let shown = pair.map(|(stable, canary)| (stable, stable.shown(), canary, canary.shown()));
        let able = shown.filter(|(_, old, _, new)| old.is_healthy() && new.is_healthy());
        let Some((stable, old, canary, new)) = able else {
            self.trial = None;
            return;
        };
        let (Some(old), Some(new)) = (&old.current, &new.current) else {
            self.trial = None;
            return;
        };
        let Some(settings) = &new.written.canary else {
            self.trial = None;
            return;
        };
        let (old, new) = ((&**stable, old), (&**canary, new));
        if !self
            .trial
            .as_ref()
            .is_some_and(|trial| trial.is_of(old, new))
        {
            self.trial = Some(Trial::new(old, new, settings));
        }
    }
}

/// Slots by their plugins.
fn groups(slots: &SlotsByName) -> BTreeMap<&str, Vec<&Arc<PluginSlot>>> {
    let mut groups: BTreeMap<&str, Vec<&Arc<PluginSlot>>> = BTreeMap::new();
    for slot in slots.values() {
        groups.entry(slot.plugin_name()).or_default().push(slot);
    }
    groups
}

/// The one of `group` that takes the plugin's calls: the stable one, also while it is being deployed, or who
/// stands in for it. Where none can, the one that is to.
fn acting<'a>(state: &VersionState, group: &[&'a Arc<PluginSlot>]) -> Option<&'a Arc<PluginSlot>> {
    let named = |label: &str| group.iter().copied().find(|slot| slot.name == label);
    let stable = state.stable.as_deref().and_then(named);
    if let Some(stable) = stable.filter(|slot| slot.is_serving() || slot.is_loading()) {
        return Some(stable);
    }
    let serving = group.iter().filter(|slot| slot.is_serving());
    let serving: Vec<_> = serving.map(|slot| slot.name.clone()).collect();
    let acting = state.acting(&serving).and_then(named);
    acting.or(stable).or_else(|| group.first().copied())
}

/// Versions of one plugin that the gateway has ready at one time: each holds its compiled code and an instance.
const VERSIONS_MAX: usize = 16;
