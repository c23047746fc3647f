//! What happened to the versions of a plugin and who did it: one JSON object a line, the latest last, in
//! `DATA-DIR/versions/NAME.log`. Only ever appended to, by one thread (`writer.rs`); a file of more than
//! `BYTES_MAX` loses its older half.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value as Json;

use super::trial::TrialFigures;
use crate::control::offer::unix_now;

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
    /// Which operator, as far as the connection says: `uid 1000 (ada)`.
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

    /// With its LF.
    pub(super) fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Adds a line to the history of `plugin` in `folder`.
///
/// # Errors
/// Whatever the system says.
pub(super) fn append(folder: &Path, plugin: &str, line: &[u8]) -> io::Result<()> {
    let path = path(folder, plugin);
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(line)?;
    if file.metadata()?.len() > BYTES_MAX {
        drop(file);
        halve(&path)?;
    }
    Ok(())
}

/// The history of `plugin` in `folder`, the latest last. What cannot be read is left out.
pub(super) fn read(folder: &Path, plugin: &str) -> Vec<Json> {
    let text = fs::read(path(folder, plugin)).unwrap_or_default();
    let lines = text.split(|octet| *octet == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

fn path(folder: &Path, plugin: &str) -> PathBuf {
    folder.join(format!("{plugin}.log"))
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

    fn add(folder: &Path, entry: &HistoryEntry<'_>) {
        let line = entry.to_line().expect("JSON");
        append(folder, "users", &line).expect("written");
    }

    #[test]
    fn the_latest_entries_are_kept_within_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let why = "x".repeat(1000);
        for at in 0..400 {
            let entry = HistoryEntry {
                at,
                ..HistoryEntry::new("users@2", "promoted", "rule").because(&why)
            };
            add(folder.path(), &entry);
        }
        let path = folder.path().join("users.log");
        assert!(fs::metadata(path).expect("there").len() <= BYTES_MAX);
        let kept = read(folder.path(), "users");
        let times: Vec<_> = kept.iter().map(|entry| entry["at"].as_u64()).collect();
        assert!((100..400).contains(&kept.len()), "{}", kept.len());
        assert!(times.is_sorted() && times.last() == Some(&Some(399)));
        assert_eq!(kept[0]["why"], why.as_str(), "lines are whole");
        assert!(read(folder.path(), "others").is_empty());
    }

    #[test]
    fn a_long_reason_is_cut_and_pushes_nothing_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let pinned = HistoryEntry::new("users", "pinned", "operator");
        add(folder.path(), &pinned);
        let why = "é".repeat(1024 * 1024);
        let refused = HistoryEntry::new("users", "refused", "folder").because(&why);
        add(folder.path(), &refused);
        let kept = read(folder.path(), "users");
        assert_eq!(kept.len(), 2, "what an operator did is still there");
        assert_eq!(kept[1]["why"].as_str().map(str::len), Some(WHY_BYTES_MAX));
    }

    #[test]
    fn a_line_that_was_cut_off_costs_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let entry = HistoryEntry::new("users", "pinned", "operator");
        add(folder.path(), &entry);
        let path = folder.path().join("users.log");
        let mut text = fs::read(&path).expect("there");
        text.extend_from_slice(b"{\"at\":1,\n");
        fs::write(&path, text).expect("written");
        add(folder.path(), &entry);
        assert_eq!(read(folder.path(), "users").len(), 2);
    }
}
