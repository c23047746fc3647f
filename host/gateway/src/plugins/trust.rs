//! What the gateway remembers of a plugin's versions to judge the next one by: what the one asked for
//! that served last, what was approved, and when the newest was signed that has served. It outlives the
//! plugin's files, so that one that is taken away and put back meets the same judgement.
//!
//! ```text
//! DATA-DIR/trust/users/state.json        what is known
//! DATA-DIR/trust/users/approvals.jsonl   what was approved, a line each, the latest last
//! ```

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    asks::{Asks, Growth},
    claimed::Claimed,
    label::plugin_of,
    signature::{Newest, Signed},
};
use crate::private_file;

/// What is remembered of one plugin.
#[derive(Debug, Clone)]
pub(crate) struct TrustFiles {
    folder: PathBuf,
}

/// What versions are judged by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TrustState {
    /// What served last.
    pub served: Option<Served>,
    /// What an operator approved, by `HeldOffer::approval`; the latest last, at most `APPROVED_MAX`.
    pub approved: Vec<String>,
    /// When the newest was signed that has served.
    pub newest: Newest,
}

/// A version that took calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// `Copy::content_digest`.
    pub digest: String,
    /// Of the component alone; absent where it was noted by a gateway that did not note it.
    #[serde(default)]
    pub component: Option<String>,
    /// Of the manifest alone; absent as well where there was none.
    #[serde(default)]
    pub manifest: Option<String>,
    pub asks: Asks,
    /// Absent where it was noted by a gateway that did not note it.
    #[serde(default)]
    pub claimed: Option<Claimed>,
}

/// One line of the log of approvals. Only operators add to it, so nobody else can push lines out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApprovalRecord {
    /// Seconds since 1970.
    pub at: u64,
    /// Who approved it, as far as the gateway knows: `uid 1000 (ada)`, `certificate "CN=ada"`.
    #[serde(default = "unknown")]
    pub by: String,
    /// Of component and manifest together, 64 hex digits: `Copy::content_digest`.
    pub digest: String,
    /// Of the component alone.
    pub component: String,
    /// What it asked for beyond what served.
    pub growth: Vec<Growth>,
}

/// Why nothing is known of a plugin that was known before.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read, so nothing new of the plugin is taken: {reason}; mend it or remove it", path.display())]
pub(crate) struct TrustFault {
    path: PathBuf,
    reason: String,
}

/// Who approved what was approved before it was recorded.
fn unknown() -> String {
    "unknown".to_owned()
}

impl TrustFiles {
    #[must_use]
    pub(crate) fn new(data_dir: &Path, plugin: &str) -> Self {
        Self {
            folder: data_dir.join(FOLDER).join(plugin),
        }
    }

    /// What was noted last; nothing where nothing was.
    ///
    /// # Errors
    /// When it is there and cannot be read: what is not known is not taken for nothing.
    pub(crate) fn state(&self) -> Result<TrustState, TrustFault> {
        let path = self.folder.join(STATE);
        let fault = |reason: String| TrustFault {
            path: path.clone(),
            reason,
        };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| fault(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(TrustState::default()),
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// What was noted of every other version of the same plugin, also of those whose files are gone.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub(crate) fn others(&self) -> Result<Vec<TrustState>, TrustFault> {
        let own = self.folder.file_name().and_then(OsStr::to_str);
        let own = own.unwrap_or_default();
        let all = self.folder.parent().unwrap_or(&self.folder);
        let fault = |error: io::Error| TrustFault {
            path: all.to_owned(),
            reason: error.to_string(),
        };
        let entries = match fs::read_dir(all) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(fault)?,
        };
        let mut states = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name();
            let is_other = |name: &&str| *name != own && plugin_of(name) == plugin_of(own);
            if name.to_str().filter(is_other).is_some() {
                let folder = entry.path();
                states.push(Self { folder }.state()?);
            }
        }
        Ok(states)
    }

    /// When the newest was signed that has served of every other version of the same plugin.
    ///
    /// # Errors
    /// As `others`.
    pub(crate) fn newest_of_others(&self) -> Result<Newest, TrustFault> {
        let mut newest = Newest::default();
        for other in self.others()? {
            newest.merge(other.newest);
        }
        Ok(newest)
    }

    /// On disk when it returns.
    ///
    /// # Errors
    /// Whatever the system says; what was noted before stays.
    pub(crate) fn note(&self, state: &TrustState) -> io::Result<()> {
        private_file::create_folder(&self.folder)?;
        private_file::put(&self.folder.join(STATE), &serde_json::to_vec(state)?)
    }

    /// Adds a line to the log of approvals. One that has grown to `LOG_BYTES_MAX` is kept as
    /// `approvals.1.jsonl`, in the place of the one before, and a new one begins.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn record(&self, record: &ApprovalRecord) -> io::Result<()> {
        private_file::create_folder(&self.folder)?;
        let path = self.folder.join(LOG);
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        if length >= LOG_BYTES_MAX {
            fs::rename(&path, self.folder.join(LOG_BEFORE))?;
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(&line)?;
        file.sync_all()
    }

    /// Every line of the log, the latest last; what is no record is left out.
    #[must_use]
    pub(crate) fn records(&self) -> Vec<ApprovalRecord> {
        let logs = [LOG_BEFORE, LOG].map(|name| self.folder.join(name));
        let texts = logs.map(|path| fs::read_to_string(path).unwrap_or_default());
        let lines = texts.iter().flat_map(|text| text.lines());
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl TrustState {
    #[must_use]
    pub(crate) fn is_approved(&self, digest: &str) -> bool {
        self.approved.iter().any(|approved| approved == digest)
    }

    pub(crate) fn approve(&mut self, digest: &str) {
        self.approved.retain(|approved| approved != digest);
        self.approved.push(digest.to_owned());
        let surplus = self.approved.len().saturating_sub(APPROVED_MAX);
        self.approved.drain(..surplus);
    }

    /// A version takes calls.
    pub(crate) fn on_served(&mut self, served: Served, signed: Option<&Signed>) {
        self.served = Some(served);
        if let Some(signed) = signed {
            self.newest.on_served(signed);
        }
    }
}

/// Whether `text` begins a digest, and says enough of it to mean one version.
#[must_use]
pub(crate) fn is_digest_start(text: &str) -> bool {
    let is_digits = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    (DIGEST_DIGITS_MIN..=DIGEST_DIGITS_MAX).contains(&text.len()) && is_digits
}

/// Copies what is known of every plugin below `from` to `to`, both data folders. What cannot be copied is
/// judged as if nothing were known.
pub(crate) fn copy(from: &Path, to: &Path) {
    let entries = fs::read_dir(from.join(FOLDER)).into_iter().flatten();
    for entry in entries.flatten() {
        let target = to.join(FOLDER).join(entry.file_name());
        let copied = private_file::create_folder(&target)
            .and_then(|()| fs::copy(entry.path().join(STATE), target.join(STATE)));
        drop(copied);
    }
}

const FOLDER: &str = "trust";
const STATE: &str = "state.json";
const LOG: &str = "approvals.jsonl";
const LOG_BEFORE: &str = "approvals.1.jsonl";

/// Digits that mean one version: 32 bits.
pub(crate) const DIGEST_DIGITS_MIN: usize = 8;
/// Those of a whole digest.
pub(crate) const DIGEST_DIGITS_MAX: usize = 64;
/// Versions that are approved and wait, or served and may come back.
const APPROVED_MAX: usize = 32;
/// Some thousand records.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, TrustFiles) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = TrustFiles::new(folder.path(), "users");
        (folder, files)
    }

    fn record(n: u64) -> ApprovalRecord {
        ApprovalRecord {
            at: n,
            by: "uid 0 (root)".to_owned(),
            digest: "d".repeat(64),
            component: "c".repeat(64),
            growth: Vec::new(),
        }
    }

    #[test]
    fn what_is_noted_is_read_again_and_nothing_is_where_nothing_was() {
        let (folder, files) = files();
        assert_eq!(files.state().expect("nothing"), TrustState::default());
        let mut state = TrustState::default();
        state.approve("one");
        let served = Served {
            digest: "two".to_owned(),
            component: Some("three".to_owned()),
            manifest: None,
            asks: Asks::of(b"", Some("[grants]\nkv = \"s\"\n")),
            claimed: Some(Claimed::of(["users"], &[])),
        };
        state.on_served(served, None);
        files.note(&state).expect("written");
        assert_eq!(files.state().expect("readable"), state);
        let other = tempfile::tempdir().expect("a folder");
        copy(folder.path(), other.path());
        let copied = TrustFiles::new(other.path(), "users");
        assert_eq!(copied.state().expect("readable"), state);
    }

    #[test]
    fn other_versions_of_a_plugin_are_found_and_other_plugins_are_not() {
        let (folder, files) = files();
        assert_eq!(files.others().expect("none"), []);
        let of = |label: &str| {
            let mut state = TrustState::default();
            state.approve(label);
            let files = TrustFiles::new(folder.path(), label);
            files.note(&state).expect("written");
            state
        };
        of("users");
        of("users2");
        of("user");
        let mut expected = vec![of("users@1"), of("users@next")];
        let mut found = files.others().expect("readable");
        found.sort_by(|a, b| a.approved.cmp(&b.approved));
        expected.sort_by(|a, b| a.approved.cmp(&b.approved));
        assert_eq!(found, expected);
        let torn = folder.path().join("trust/users@1").join(STATE);
        fs::write(torn, "{").expect("written");
        assert!(files.others().is_err(), "nobody knows what it asked for");
    }

    #[test]
    fn what_a_gateway_noted_that_knew_less_is_read() {
        let (_folder, files) = files();
        files.note(&TrustState::default()).expect("written");
        let noted = "{\"served\":{\"digest\":\"d\",\"asks\":{}}}";
        fs::write(files.folder.join(STATE), noted).expect("written");
        let served = files.state().expect("readable").served.expect("it served");
        assert_eq!(served.claimed, None);
        let line = "{\"at\":7,\"digest\":\"d\",\"component\":\"c\",\"growth\":[]}\n";
        fs::write(files.folder.join(LOG), line).expect("written");
        let by: Vec<_> = files
            .records()
            .into_iter()
            .map(|record| record.by)
            .collect();
        assert_eq!(by, ["unknown"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let (_folder, files) = files();
        files.note(&TrustState::default()).expect("written");
        fs::write(files.folder.join(STATE), "{\"approved\":").expect("written");
        let fault = files.state().expect_err("it is torn").to_string();
        assert!(fault.contains("state.json cannot be read"), "{fault}");
    }

    #[test]
    fn approvals_are_bounded_and_the_oldest_goes() {
        let mut state = TrustState::default();
        for n in 0..=APPROVED_MAX {
            state.approve(&n.to_string());
        }
        assert!(!state.is_approved("0") && state.is_approved("1"));
        assert_eq!(state.approved.len(), APPROVED_MAX);
        state.approve("1");
        assert_eq!(state.approved.last().map(String::as_str), Some("1"));
    }

    #[test]
    fn the_log_is_bounded_and_loses_no_line_of_late() {
        let (_folder, files) = files();
        files.record(&record(0)).expect("written");
        let full = "x".repeat(usize::try_from(LOG_BYTES_MAX).expect("small"));
        let mut text = fs::read_to_string(files.folder.join(LOG)).expect("readable");
        text += &full;
        fs::write(files.folder.join(LOG), text).expect("written");
        files.record(&record(1)).expect("written");
        assert_eq!(files.records(), [record(0), record(1)]);
        let length = fs::metadata(files.folder.join(LOG)).expect("there").len();
        assert!(length < 1024, "{length}");
    }
}
