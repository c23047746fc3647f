//! Where a component was pulled from, as whoever put it there noted it: `.NAME.origin` beside the component. It
//! is shown and decides nothing.

use std::path::{Path, PathBuf};

use postern_wasm::Digest;
use serde::{Deserialize, Serialize};

use super::folder;
use crate::sources::sight;

#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    reference: String,
    /// Of the component that came from there, 64 hex digits.
    component: String,
}

/// Where the note about the component at `path` lies.
pub(crate) fn path_of(path: &Path) -> PathBuf {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.origin"))
}

/// What is noted of `component`, which came from `reference`.
pub(crate) fn note(reference: &str, component: &[u8]) -> Vec<u8> {
    let origin = Origin {
        reference: reference.to_owned(),
        component: Digest::of(component).to_string(),
    };
    serde_json::to_vec(&origin).unwrap_or_default()
}

/// Where the component of the plugin `name` came from that has the digest `component`; `None` where nothing
/// says so. Blocks for a short file.
pub(crate) fn read(folder: &Path, name: &str, component: &str) -> Option<String> {
    let [flat, _, nested, _] = folder::files(folder, name);
    let notes = [flat, nested].map(|path| path_of(&path));
    let mut origins = notes.iter().filter_map(|path| {
        let octets = sight::read(path, ORIGIN_BYTES_MAX).ok()??;
        serde_json::from_slice::<Origin>(&octets).ok()
    });
    let origin = origins.find(|origin| origin.component == component)?;
    let is_shown = |c: char| c.is_ascii_graphic();
    origin
        .reference
        .chars()
        .all(is_shown)
        .then_some(origin.reference)
}

/// A reference has some hundred octets.
const ORIGIN_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_origin_of_a_component_is_that_of_its_octets() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = path_of(&folder.path().join("users.wasm"));
        assert_eq!(path, folder.path().join(".users.origin"));
        let reference = "oci://registry.example/users:1";
        fs::write(&path, note(reference, b"component")).expect("written");
        let digest = |octets: &[u8]| Digest::of(octets).to_string();
        let found = |octets: &[u8]| read(folder.path(), "users", &digest(octets));
        assert_eq!(found(b"component").as_deref(), Some(reference));
        assert_eq!(found(b"another"), None);
        fs::write(&path, note("oci://\u{1b}[2J", b"component")).expect("written");
        assert_eq!(found(b"component"), None, "it would steer a terminal");
    }
}
