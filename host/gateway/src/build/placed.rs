//! A component in its project's folder, put there by rename: a running gateway sees whole files only.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

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
        let written = write_new(&beside, octets).and_then(|()| fs::rename(&beside, &component));
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

/// Writes a file in the place of what has its name. A link is replaced, not followed.
fn write_new(path: &Path, octets: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(octets)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_a_project_brings_is_replaced_and_its_target_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("own");
        fs::write(&own, "kept").expect("written");
        for name in [".greeter.wasm.tmp", "greeter.wasm"] {
            std::os::unix::fs::symlink(&own, folder.path().join(name)).expect("linked");
        }
        let built = put(folder.path(), "greeter", b"component", Duration::ZERO).expect("written");
        assert!(built.changed);
        assert_eq!(fs::read(&own).expect("there"), b"kept");
        let metadata = fs::symlink_metadata(&built.component).expect("there");
        assert!(metadata.is_file());
    }
}
