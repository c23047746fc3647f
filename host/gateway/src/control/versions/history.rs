//! What happened to the versions of a plugin and who did it: one JSON object a line, the latest last, in
//! `DATA-DIR/versions/NAME.log`. Only ever appended to; a file of more than `BYTES_MAX` loses its older half.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value as Json;

use super::trial::TrialFigures;
use crate::control::offer::unix_now;

/// The histories of all plugins.
pub(crate) struct VersionHistory {
    folder: PathBuf,
    /// One line at a time.
    writing: Mutex<()>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HistoryEntry<'a> {
    /// Seconds since 1970.
    pub at: u64,
    /// The file's name without its end: `users` or `users@2`.
    pub version: &'a str,
    /// `deployed`, `canary`, `shadow`, `held`, `approved`, `refused`, `promoted`, `rolled-back`, `pinned`,
    /// `unpinned`, `removed`.
    pub event: &'static str,
    /// `folder`, `operator` or `rule`.
    pub by: &'static str,
    /// Which operator, of an approval.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub who: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'a str,
    /// What both versions had counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<&'a TrialFigures>,
}

impl<'a> HistoryEntry<'a> {
    pub(crate) fn new(version: &'a str, event: &'static str, by: &'static str) -> Self {
        Self {
            at: unix_now(),
            version,
            event,
            by,
            who: "",
            why: "",
            figures: None,
        }
    }

    /// The begin of `why`: the faults of a manifest may be as long as the manifest.
    #[must_use]
    pub(crate) fn because(self, why: &'a str) -> Self {
        let end = why.floor_char_boundary(WHY_BYTES_MAX);
        let why = why.get(..end).unwrap_or_default();
        Self { why, ..self }
    }
}

impl VersionHistory {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            writing: Mutex::default(),
        }
    }

    /// Adds `entry` to the history of `plugin`.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn append(&self, plugin: &str, entry: &HistoryEntry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let _writing = self.writing.lock();
        let path = self.path(plugin);
        fs::create_dir_all(&self.folder)?;
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(&line)?;
        if file.metadata()?.len() > BYTES_MAX {
            drop(file);
            halve(&path)?;
        }
        Ok(())
    }

    /// The history of `plugin`, the latest last. What cannot be read is left out.
    pub(super) fn read(&self, plugin: &str) -> Vec<Json> {
        let text = fs::read(self.path(plugin)).unwrap_or_default();
        let lines = text.split(|octet| *octet == b'\n');
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    fn path(&self, plugin: &str) -> PathBuf {
        self.folder.join(format!("{plugin}.log"))
    }
}

/// Keeps the later half of a file, from the beginning of a line on.
fn halve(path: &Path) -> io::Result<()> {
    let text = fs::read(path)?;
    let later = text.get(text.len() / 2..).unwrap_or_default();
    let begin = later.iter().position(|octet| *octet == b'\n');
    let kept = begin.and_then(|begin| later.get(begin + 1..));
    let beside = path.with_extension("log.writing");
    fs::write(&beside, kept.unwrap_or_default())?;
    fs::rename(beside, path)
}

/// About a thousand entries.
const BYTES_MAX: u64 = 256 * 1024;
/// Of the reason of one, so that a long one does not push the others out.
const WHY_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_entries_are_kept_within_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = VersionHistory::new(folder.path());
        let why = "x".repeat(1000);
        for at in 0..400 {
            let entry = HistoryEntry {
                at,
                ..HistoryEntry::new("users@2", "promoted", "rule").because(&why)
            };
            history.append("users", &entry).expect("written");
        }
        let path = folder.path().join("users.log");
        assert!(fs::metadata(path).expect("there").len() <= BYTES_MAX);
        let read = history.read("users");
        let times: Vec<_> = read.iter().map(|entry| entry["at"].as_u64()).collect();
        assert!((100..400).contains(&read.len()), "{}", read.len());
        assert!(times.is_sorted() && times.last() == Some(&Some(399)));
        assert_eq!(read[0]["why"], why.as_str(), "lines are whole");
        assert!(history.read("others").is_empty());
    }

    #[test]
    fn a_long_reason_is_cut_and_pushes_nothing_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = VersionHistory::new(folder.path());
        let pinned = HistoryEntry::new("users", "pinned", "operator");
        history.append("users", &pinned).expect("written");
        let why = "é".repeat(1024 * 1024);
        let refused = HistoryEntry::new("users", "refused", "folder").because(&why);
        history.append("users", &refused).expect("written");
        let read = history.read("users");
        assert_eq!(read.len(), 2, "what an operator did is still there");
        assert_eq!(read[1]["why"].as_str().map(str::len), Some(WHY_BYTES_MAX));
    }

    #[test]
    fn a_line_that_was_cut_off_costs_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = VersionHistory::new(folder.path());
        let entry = HistoryEntry::new("users", "pinned", "operator");
        history.append("users", &entry).expect("written");
        let path = folder.path().join("users.log");
        let mut text = fs::read(&path).expect("there");
        text.extend_from_slice(b"{\"at\":1,\n");
        fs::write(&path, text).expect("written");
        history.append("users", &entry).expect("written");
        assert_eq!(history.read("users").len(), 2);
    }
}
