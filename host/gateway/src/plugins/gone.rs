//! What stays known of versions and plugins whose files are gone.
//!
//! | what is gone | what stays |
//! | --- | --- |
//! | a version, and another of its plugin has served | when it was signed, and its approvals, with the plugin |
//! | the version of a plugin that goes last | all that is known of it |
//! | more plugins than `GONE_MAX` | all of them; no plugin of a name that is not known is taken |
//!
//! Whoever can write into the plugin folder chooses what goes, when, and how many. So nothing is forgotten that the next
//! version would have been held for: a version whose folder went is judged like one under a new name, by the other that
//! has served, and no number of names pushes a plugin out. What is left to grow is one folder a plugin.
//!
//! ```text
//! DATA-DIR/trust/users@1/...            of a version, until it is gone
//! DATA-DIR/trust/users/carried.json     when the newest was signed of those that are gone
//! DATA-DIR/trust/users/approvals.jsonl  their approvals, and those of the version without a name
//! ```

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use super::{
    label::plugin_of,
    trust::{self, TrustFiles},
};

/// The files of the version `label` are gone: forgets what the plugin's other versions make needless.
///
/// # Errors
/// Whatever the system says, and where what is known cannot be read; then it stays.
pub(crate) fn forget_version(data_dir: &Path, label: &str) -> io::Result<()> {
    // Two that go at one time would each find the other.
    let _one_at_a_time = FORGETTING.lock();
    let own = TrustFiles::new(data_dir, label);
    if !own.is_there() {
        return Ok(());
    }
    let state = own.state().map_err(io::Error::other)?;
    let others = own.others().map_err(io::Error::other)?;
    let is_judged_by_another = others.iter().any(|other| other.served.is_some());
    if state.served.is_some() && !is_judged_by_another {
        return Ok(());
    }
    let plugin = TrustFiles::new(data_dir, plugin_of(label));
    plugin.carry(state.newest)?;
    if label == plugin_of(label) {
        return own.remove_state();
    }
    plugin.take_records(&own)?;
    own.remove()
}

/// Versions that can be forgotten as soon as they are known to be gone.
#[must_use]
pub(crate) fn needless(data_dir: &Path) -> BTreeSet<String> {
    let labels = trust::known(data_dir).into_iter();
    let needless = labels.filter(|label| {
        let files = TrustFiles::new(data_dir, label);
        let others = files.others().unwrap_or_default();
        files.is_there() && others.iter().any(|other| other.served.is_some())
    });
    needless.collect()
}

/// Whether so many plugins are remembered that are not `present` that nothing of `plugin` is to be remembered, of which
/// nothing is known yet.
#[must_use]
pub(crate) fn is_full_for(data_dir: &Path, plugin: &str, present: &BTreeSet<String>) -> bool {
    let known = trust::known(data_dir);
    let known: BTreeSet<_> = known.iter().map(|label| plugin_of(label)).collect();
    let gone = known.iter().filter(|known| !present.contains(**known));
    !known.contains(plugin) && gone.count() >= GONE_MAX
}

/// Why nothing of a plugin is taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "{GONE_MAX} plugins are remembered whose files are gone, which is the limit, and no plugin of a new name is taken: \
     remove the folders of those that will not come back below {}", folder.display()
)]
pub(crate) struct TooManyGone {
    folder: PathBuf,
}

impl TooManyGone {
    pub(crate) fn below(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join(trust::FOLDER),
        }
    }
}

/// Removes the oldest files of `folder` with this end, those of plugins that are `present` left out, but for so many.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn keep_latest(
    folder: &Path,
    end: &str,
    present: &BTreeSet<String>,
    n_kept: usize,
) -> io::Result<()> {
    let mut gone = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let is_of_gone = stem.is_some_and(|plugin| !present.contains(plugin));
        if is_of_gone && path.extension().is_some_and(|found| found == end) {
            gone.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    gone.sort();
    let n_surplus = gone.len().saturating_sub(n_kept);
    for (_, path) in gone.iter().take(n_surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

static FORGETTING: Mutex<()> = Mutex::new(());

/// Plugins that are remembered beside those that are there. Far more than come and go by themselves; each takes some
/// kilobytes, at most 1 MiB for what its manifest asked for and 2 MiB of approvals.
pub(crate) const GONE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::plugins::{
        asks::Asks,
        signature::Newest,
        trust::{ApprovalRecord, Served, TrustState},
    };

    /// A folder in which `label` has served and was signed then.
    fn served(folder: &TempDir, label: &str, signed_at: u64) {
        let state = TrustState {
            served: Some(Served {
                digest: label.to_owned(),
                component: None,
                manifest: None,
                schema: None,
                asks: Asks::default(),
                claimed: None,
            }),
            newest: Newest {
                component: Some(signed_at),
                ..Newest::default()
            },
            ..TrustState::default()
        };
        let files = TrustFiles::new(folder.path(), label);
        files.note(&state).expect("written");
    }

    fn approved(folder: &TempDir, label: &str, at: u64) {
        let record = ApprovalRecord {
            at,
            by: "uid 7".to_owned(),
            version: label.to_owned(),
            digest: "d".to_owned(),
            component: "c".to_owned(),
            growth: Vec::new(),
        };
        let files = TrustFiles::new(folder.path(), label);
        files.record(&record).expect("written");
    }

    fn known(folder: &TempDir) -> Vec<String> {
        trust::known(folder.path()).into_iter().collect()
    }

    fn times(folder: &TempDir, label: &str) -> Vec<u64> {
        let records = TrustFiles::new(folder.path(), label).records();
        records.into_iter().map(|record| record.at).collect()
    }

    #[test]
    fn a_version_is_forgotten_where_another_has_served_but_for_its_time_and_its_approvals() {
        let folder = tempfile::tempdir().expect("a folder");
        for (label, at) in [("users", 5), ("users@1", 9), ("users@2", 7)] {
            served(&folder, label, at);
            approved(&folder, label, at);
        }
        assert_eq!(needless(folder.path()).len(), 3);
        for label in ["users@1", "users", "users@3"] {
            forget_version(folder.path(), label).expect("forgotten");
        }
        // The plugin's own folder holds what was carried.
        assert_eq!(known(&folder), ["users", "users@2"]);
        let own = TrustFiles::new(folder.path(), "users");
        assert_eq!(own.state().expect("nothing"), TrustState::default());
        let last = TrustFiles::new(folder.path(), "users@2");
        let newest = last.newest_of_others().expect("readable");
        assert_eq!(newest.component, Some(9));
        assert_eq!(
            (times(&folder, "users"), times(&folder, "users@1")),
            (vec![5], vec![9])
        );
        assert_eq!(times(&folder, "users@2"), [7]);
        // Whatever comes is judged by what went last.
        forget_version(folder.path(), "users@2").expect("it stays");
        let left = own.others().expect("readable");
        assert_eq!(left.len(), 1);
        assert!(left[0].served.is_some());
    }

    #[test]
    fn what_a_plugin_keeps_of_those_that_are_gone_is_not_needless() {
        let folder = tempfile::tempdir().expect("a folder");
        served(&folder, "users", 5);
        served(&folder, "users@1", 5);
        assert_eq!(
            needless(folder.path()),
            ["users", "users@1"].map(str::to_owned).into()
        );
        forget_version(folder.path(), "users").expect("forgotten");
        assert!(needless(folder.path()).is_empty());
    }

    #[test]
    fn of_versions_that_go_at_one_time_one_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let labels = ["a@1", "a@2", "a@3", "a@4"];
        for label in labels {
            served(&folder, label, 1);
        }
        std::thread::scope(|scope| {
            for label in labels {
                scope.spawn(|| forget_version(folder.path(), label).expect("forgotten"));
            }
        });
        let left = known(&folder).into_iter().filter(|label| label != "a");
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn what_was_approved_and_never_served_goes_with_its_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TrustFiles::new(folder.path(), "users@1");
        let mut state = TrustState::default();
        state.approve("d");
        files.note(&state).expect("written");
        forget_version(folder.path(), "users@1").expect("forgotten");
        assert_eq!(files.state().expect("nothing"), TrustState::default());
    }

    #[test]
    fn what_cannot_be_read_is_not_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        served(&folder, "users@1", 1);
        served(&folder, "users@2", 1);
        let torn = folder.path().join("trust/users@2/state.json");
        fs::write(&torn, "{").expect("written");
        for label in ["users@1", "users@2"] {
            forget_version(folder.path(), label).expect_err("who knows what it asked for");
        }
        assert_eq!(known(&folder), ["users@1", "users@2"]);
    }

    #[test]
    fn as_many_plugins_that_are_gone_are_remembered_and_none_is_pushed_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |label: String| fs::create_dir_all(folder.path().join("trust").join(label));
        for n in 1..GONE_MAX {
            make(format!("p{n}")).expect("made");
        }
        make("here@1".to_owned()).expect("made");
        let present = BTreeSet::from(["here".to_owned()]);
        let is_full = |plugin: &str| is_full_for(folder.path(), plugin, &present);
        assert!(!is_full("new"), "one more has room");
        make("one-more".to_owned()).expect("made");
        assert!(is_full("new"));
        assert!(!is_full("p7") && !is_full("here"), "they are known");
    }

    #[test]
    fn the_latest_files_of_plugins_that_are_gone_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for (n, name) in ["here.log", "old.log", "new.log", "newest.log", "old.json"]
            .iter()
            .enumerate()
        {
            let file = fs::File::create(folder.path().join(name)).expect("made");
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            file.set_modified(time).expect("set");
        }
        let present = BTreeSet::from(["here".to_owned()]);
        keep_latest(folder.path(), "log", &present, 2).expect("removed");
        let left = fs::read_dir(folder.path()).expect("readable").flatten();
        let left: BTreeSet<_> = left.map(|entry| entry.file_name()).collect();
        let expected = ["here.log", "new.log", "newest.log", "old.json"];
        assert_eq!(left, expected.map(Into::into).into());
    }
}
