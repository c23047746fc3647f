//! What the gateway remembers of a plugin's versions to judge the next one by: what the one asked for
//! that served last, what was approved, and when the newest was signed that has served. It outlives the
//! plugin's files, so that one that is taken away and put back meets the same judgement.
//!
//! ```text
//! DATA-DIR/trust/users/state.json        what is known
//! DATA-DIR/trust/users/approvals.jsonl   what was approved, a line each, the latest last
//! ```
//! `gone.rs` says what stays of versions that are gone.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

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
    /// Of the files of its schema; absent as well where there were none.
    #[serde(default)]
    pub schema: Option<String>,
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
    /// The label of the version; empty where it was not noted, and the version is that of the folder.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
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
        self.read(STATE)
    }

    fn read<T: Default + DeserializeOwned>(&self, name: &str) -> Result<T, TrustFault> {
        let path = self.folder.join(name);
        let fault = |reason: String| TrustFault {
            path: path.clone(),
            reason,
        };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| fault(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// What was noted of every other version of the same plugin, also of those whose files are gone.
    ///
    /// # Errors
    /// When one is there and cannot be read.
    pub(crate) fn others(&self) -> Result<Vec<TrustState>, TrustFault> {
        let own = self.label();
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

    /// When the newest was signed that has served of every other version of the same plugin, of those that are gone, too.
    ///
    /// # Errors
    /// As `others`.
    pub(crate) fn newest_of_others(&self) -> Result<Newest, TrustFault> {
        let mut newest = self.of_plugin().carried()?;
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

    /// Adds a line to the log of approvals.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn record(&self, record: &ApprovalRecord) -> io::Result<()> {
        self.record_all(std::slice::from_ref(record))
    }

    /// Adds lines to the log of approvals. One that has grown to `LOG_BYTES_MAX` is kept as
    /// `approvals.1.jsonl`, in the place of the one before, and a new one begins.
    fn record_all(&self, records: &[ApprovalRecord]) -> io::Result<()> {
        private_file::create_folder(&self.folder)?;
        let path = self.folder.join(LOG);
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        if length >= LOG_BYTES_MAX {
            fs::rename(&path, self.folder.join(LOG_BEFORE))?;
        }
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)?;
            lines.push(b'\n');
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(&lines)?;
        file.sync_all()
    }

    /// Every approval of the version, the latest last, also from before it was gone; what is no record is left out.
    #[must_use]
    pub(crate) fn records(&self) -> Vec<ApprovalRecord> {
        let (label, plugin) = (self.label(), self.of_plugin());
        let mut records = match plugin.folder == self.folder {
            true => Vec::new(),
            false => plugin.own_records(),
        };
        records.extend(self.own_records());
        records.retain(|record| record.version == label);
        records
    }

    /// Every line of the log, each with its version.
    fn own_records(&self) -> Vec<ApprovalRecord> {
        let logs = [LOG_BEFORE, LOG].map(|name| self.folder.join(name));
        let texts = logs.map(|path| fs::read_to_string(path).unwrap_or_default());
        let lines = texts.iter().flat_map(|text| text.lines());
        let mut records: Vec<ApprovalRecord> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        for record in &mut records {
            if record.version.is_empty() {
                self.label().clone_into(&mut record.version);
            }
        }
        records
    }

    /// Takes the approvals of a version that goes.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn take_records(&self, of: &Self) -> io::Result<()> {
        match of.own_records().as_slice() {
            [] => Ok(()),
            records => self.record_all(records),
        }
    }

    /// When the newest was signed of the versions of the plugin that are gone, where this is the plugin's folder.
    fn carried(&self) -> Result<Newest, TrustFault> {
        self.read(CARRIED)
    }

    /// Remembers when a version was signed that goes. On disk when it returns.
    ///
    /// # Errors
    /// Whatever the system says, and where what was remembered before cannot be read.
    pub(super) fn carry(&self, newest: Newest) -> io::Result<()> {
        let before = self.carried().map_err(io::Error::other)?;
        let mut carried = before.clone();
        carried.merge(newest);
        if carried == before {
            return Ok(());
        }
        private_file::create_folder(&self.folder)?;
        private_file::put(&self.folder.join(CARRIED), &serde_json::to_vec(&carried)?)
    }

    /// Whether something is known that a version would leave behind.
    pub(super) fn is_there(&self) -> bool {
        match self.of_plugin().folder == self.folder {
            true => self.folder.join(STATE).exists(),
            false => self.folder.is_dir(),
        }
    }

    /// Forgets what is known, but for approvals.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn remove_state(&self) -> io::Result<()> {
        match fs::remove_file(self.folder.join(STATE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }

    /// That of the plugin's name, which is also that of its version without a name.
    fn of_plugin(&self) -> Self {
        Self {
            folder: self.folder.with_file_name(plugin_of(self.label())),
        }
    }

    fn label(&self) -> &str {
        let label = self.folder.file_name().and_then(OsStr::to_str);
        label.unwrap_or_default()
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
        if private_file::create_folder(&target).is_ok() {
            for name in [STATE, CARRIED] {
                drop(fs::copy(entry.path().join(name), target.join(name)));
            }
        }
    }
}

/// Labels of versions of which something is known, and plugins of whose versions something is. None where that cannot be
/// read.
#[must_use]
pub(super) fn known(data_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data_dir.join(FOLDER)).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).collect()
}

pub(super) const FOLDER: &str = "trust";
const STATE: &str = "state.json";
const CARRIED: &str = "carried.json";
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
mod tests;
