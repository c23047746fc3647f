//! What a file of keys said when it was last good. A guard that is opened anew goes on with it, so that a file which is
//! being written at that moment is not read.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::error::GuardError;
use crate::sources::{files::FILE_BYTES_MAX, sight};

/// A file and what it said when it was last good.
pub(super) struct HeldFile {
    path: PathBuf,
    octets: Mutex<Vec<u8>>,
}

impl HeldFile {
    /// Reads it whole. Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, GuardError> {
        let octets = read_file(path)?;
        Ok(Self {
            path: path.to_owned(),
            octets: Mutex::new(octets),
        })
    }

    /// As the configuration writes it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `path` is its own, made absolute.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.path == path || std::path::absolute(&self.path).is_ok_and(|own| own == path)
    }

    pub(super) fn octets(&self) -> Vec<u8> {
        self.octets.lock().clone()
    }

    /// The same for another reader, who goes on by itself.
    pub(super) fn copy(&self) -> Self {
        Self {
            path: self.path.clone(),
            octets: Mutex::new(self.octets()),
        }
    }

    /// Whether `octets` are what it said last.
    pub(super) fn says(&self, octets: &[u8]) -> bool {
        *self.octets.lock() == octets
    }

    /// Keeps `octets`, which were good.
    pub(super) fn set(&self, octets: &[u8]) {
        *self.octets.lock() = octets.to_vec();
    }
}

impl std::fmt::Debug for HeldFile {
    /// What it says is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeldFile").field(&self.path).finish()
    }
}

/// A file of keys, whole. Blocks.
fn read_file(path: &Path) -> Result<Vec<u8>, GuardError> {
    let octets = sight::read(path, FILE_BYTES_MAX)?;
    octets.ok_or_else(|| GuardError::Absent(path.to_owned()))
}
