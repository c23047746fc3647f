//! The plugin folder: which files are plugins, and which plugin a changed file belongs to.
//!
//! ```text
//! plugins/users.wasm        a plugin called users      plugins/users.toml        its manifest
//! plugins/chat/chat.wasm    a plugin called chat       plugins/chat/chat.toml    its manifest
//! ```
//! Everything else is left alone: dotfiles, editor temporaries, sources. If both forms are there, the
//! flat one counts.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;

/// What lies in the folder for one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub component: Bytes,
    pub component_path: PathBuf,
    /// Name of the manifest's file and its text.
    pub manifest: Option<(PathBuf, String)>,
}

/// A file's outward signs. What was read while they changed is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    length: u64,
    modified: Option<SystemTime>,
}

/// Why a plugin cannot be read at present.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{} changed while it was read", .0.display())]
    Changing(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has {length} octets, the limit is {COMPONENT_BYTES_MAX}", path.display())]
    TooLong { path: PathBuf, length: u64 },
}

/// Names of all plugins in `folder`, in order. A folder that is not there has none.
///
/// # Errors
/// Whatever the system says of the folder.
pub fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let names = paths.filter_map(|path| {
        if path.is_dir() {
            name_of(path.file_name())
        } else {
            plugin_of(folder, &path)
        }
    });
    Ok(names
        .filter(|name| component_path(folder, name).is_some())
        .collect())
}

/// Folders below `folder` that may hold a plugin each. They are watched, too.
#[must_use]
pub fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.is_dir() && name_of(path.file_name()).is_some())
        .collect()
}

/// The plugin whose file, or whose folder, `path` is.
#[must_use]
pub fn plugin_of(folder: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(folder).ok()?;
    let mut parts = inside.components().map(|part| part.as_os_str());
    let (first, second) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let file = Path::new(second.unwrap_or(first));
    let has_known_end = matches!(file.extension()?.to_str()?, "wasm" | "toml");
    let name = name_of(file.file_stem()).filter(|_| has_known_end);
    match second {
        None => name,
        Some(_) => name.filter(|name| first.to_str() == Some(name)),
    }
}

/// Where the component of the plugin `name` lies, if it is there.
#[must_use]
pub fn component_path(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = format!("{name}.wasm");
    [folder.join(&file), folder.join(name).join(&file)]
        .into_iter()
        .find(|path| path.is_file())
}

/// Reads the plugin `name` whole. `None` when it is not there.
///
/// # Errors
/// `Changing` when somebody wrote to it meanwhile.
pub fn read(folder: &Path, name: &str) -> Result<Option<Package>, ReadError> {
    let Some(component_path) = component_path(folder, name) else {
        return Ok(None);
    };
    let manifest_path = component_path.with_extension("toml");
    let Some(component) = read_whole(&component_path)? else {
        return Ok(None);
    };
    let manifest = read_whole(&manifest_path)?.map(|octets| {
        let text = String::from_utf8_lossy(&octets).into_owned();
        (manifest_path, text)
    });
    Ok(Some(Package {
        component: component.into(),
        component_path,
        manifest,
    }))
}

/// Outward signs of both files of a plugin.
#[must_use]
pub fn signs(folder: &Path, name: &str) -> Option<(Signs, Option<Signs>)> {
    let component_path = component_path(folder, name)?;
    let of = |path: &Path| fs::metadata(path).ok().as_ref().map(Signs::of);
    Some((
        of(&component_path)?,
        of(&component_path.with_extension("toml")),
    ))
}

impl Signs {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let unreadable = |source| ReadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let before = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(unreadable)?,
    };
    if before.len() > COMPONENT_BYTES_MAX {
        return Err(ReadError::TooLong {
            path: path.to_owned(),
            length: before.len(),
        });
    }
    let octets = fs::read(path).map_err(unreadable)?;
    let after = fs::metadata(path).map_err(unreadable)?;
    let is_whole = Signs::of(&before) == Signs::of(&after) && octets.len() as u64 == after.len();
    if is_whole {
        Ok(Some(octets))
    } else {
        Err(ReadError::Changing(path.to_owned()))
    }
}

/// A plugin's name as a file's name gives it: 1 to 64 letters, digits, `-`, `_` or `.`, the first a
/// letter or a digit.
fn name_of(stem: Option<&std::ffi::OsStr>) -> Option<String> {
    let name = stem?.to_str()?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    (begins_well && name.len() <= NAME_BYTES_MAX && name.chars().all(is_allowed))
        .then(|| name.to_owned())
}

const NAME_BYTES_MAX: usize = 64;

/// Python and JavaScript components take tens of megabytes; 256 MiB leaves room.
const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let found = plugin_of(Path::new("plugins"), &Path::new("plugins").join(path));
        assert_eq!(found.as_deref(), expected, "{path}");
    }

    #[test]
    fn knows_component_and_manifest_in_both_layouts() {
        check("users.wasm", Some("users"));
        check("users.toml", Some("users"));
        check("users/users.wasm", Some("users"));
        check("users/users.toml", Some("users"));
        check("acme.users-2_b.wasm", Some("acme.users-2_b"));
    }

    #[test]
    fn leaves_everything_else_alone() {
        for path in [
            ".users.wasm",
            ".users.wasm.swp",
            "users.wasm~",
            "#users.wasm#",
            "users.wasm.tmp",
            "users.wasm.part",
            "users",
            "4913",
            "users/Cargo.toml",
            "users/other.wasm",
            "users/target/users.wasm",
            "users/users/users.wasm",
            ".hidden/.hidden.wasm",
            "users@2.wasm",
        ] {
            check(path, None);
        }
        assert_eq!(
            plugin_of(Path::new("plugins"), Path::new("else/users.wasm")),
            None
        );
    }

    #[test]
    fn a_name_of_64_octets_passes_and_one_of_65_does_not() {
        let long = "n".repeat(64);
        check(&format!("{long}.wasm"), Some(&long));
        check(&format!("{long}n.wasm"), None);
    }

    #[test]
    fn finds_plugins_by_their_components() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("users.wasm", "flat");
        write("users/users.wasm", "nested");
        write("users.toml", "version = \"1\"");
        write("chat/chat.wasm", "chat");
        write("alone.toml", "");
        write("source/Cargo.toml", "");
        let names: Vec<_> = names(folder.path())
            .expect("readable")
            .into_iter()
            .collect();
        assert_eq!(names, ["chat", "users"]);
        let users = read(folder.path(), "users")
            .expect("readable")
            .expect("there");
        assert_eq!(users.component, "flat");
        assert_eq!(users.manifest.expect("a manifest").1, "version = \"1\"");
        assert_eq!(read(folder.path(), "alone").expect("readable"), None);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_plugins() {
        assert!(
            names(Path::new("/nonexistent/plugins"))
                .expect("no error")
                .is_empty()
        );
    }
}
