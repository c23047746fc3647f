//! A component in its project's folder, put there by rename: a running gateway sees whole files only.

use std::{fs, path::Path, time::Duration};

use super::outcome::{BuildError, Built};

/// Puts the component into the project's folder, unless the same one is there.
///
/// # Errors
/// `Unwritable`; what was there before stays.
pub(super) fn put(
    folder: &Path,
    name: &str,
    octets: &[u8],
    took: Duration,
) -> Result<Built, BuildError> {
    let component = folder.join(format!("{name}.wasm"));
    let changed = fs::read(&component).map_or(true, |there| there != octets);
    if changed {
        let beside = folder.join(format!(".{name}.wasm.tmp"));
        let written = fs::write(&beside, octets).and_then(|()| fs::rename(&beside, &component));
        written.map_err(|source| BuildError::Unwritable {
            path: component.clone(),
            source,
        })?;
    }
    Ok(Built {
        name: name.to_owned(),
        component,
        octets: octets.len() as u64,
        took,
        changed,
    })
}
