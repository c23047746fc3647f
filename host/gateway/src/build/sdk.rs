//! The SDKs and the WIT that this binary carries, written into a project's folder `.postern`:
//!
//! ```text
//! .postern/sdk/LANG/    guest-sdk/LANG of the sources that this binary was built from
//! .postern/wit/         wit/
//! ```
//! A folder that differs in one octet or one file is replaced as a whole. Nothing in it is for people to
//! change, and nothing that a project brings there is compiled.

use std::{fs, io, path::Path, sync::OnceLock};

use sha2::{Digest as _, Sha256};

use super::outcome::BuildError;

/// Name from the root of the sources, with `/` between the parts, and content.
static PACKED: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/packed.rs"));

/// The folder of a project for what others write into it.
pub(crate) const FOLDER: &str = ".postern";

/// Names a version of what is packed; not a secret, and not for people.
#[must_use]
pub(crate) fn digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let files = PACKED.iter();
        let texts: Vec<_> = files
            .flat_map(|(name, content)| [name.as_bytes(), content])
            .collect();
        digest_of(&texts)
    })
}

/// What is packed below `prefix` and is text, by the path from there.
pub(super) fn texts(prefix: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    PACKED.iter().filter_map(move |(name, content)| {
        let name = name.strip_prefix(prefix)?;
        Some((name, str::from_utf8(content).ok()?))
    })
}

/// A packed file.
pub(super) fn octets(name: &str) -> Option<&'static [u8]> {
    let mut files = PACKED.iter();
    files
        .find(|(packed, _)| *packed == name)
        .map(|(_, content)| *content)
}

/// Writes the SDK of `language` (a folder of `guest-sdk`) and the WIT into the project, unless
/// those of this binary are there.
///
/// # Errors
/// `Linked`, and `Unwritable`; a folder that could not be replaced is as it was.
pub(super) fn unpack(language: &str, project: &Path) -> Result<(), BuildError> {
    refuse_links(project)?;
    let below = project.join(FOLDER);
    let sdk = below.join("sdk").join(language);
    let wit = files_below("wit/");
    let mut own = files_below(&format!("guest-sdk/{language}/"));
    if language == RUST {
        // Its macros read the WIT in the crate's own folder.
        own.extend(
            wit.iter()
                .map(|(name, content)| (format!("wit/{name}"), *content)),
        );
    }
    put_folder(&sdk, &own)?;
    put_folder(&below.join("wit"), &wit)
}

/// Writes of what is packed below `prefix` the files that begin with one of `parts`, unless those of
/// this binary are there.
///
/// # Errors
/// As `unpack`.
pub(super) fn put(folder: &Path, prefix: &str, parts: &[&str]) -> Result<(), BuildError> {
    let mut files = files_below(prefix);
    files.retain(|(name, _)| parts.iter().any(|part| name.starts_with(part)));
    put_folder(folder, &files)
}

/// What is packed below `prefix`, by the path from there.
fn files_below(prefix: &str) -> Vec<PackedFile> {
    let files = PACKED.iter().filter_map(|(name, content)| {
        let name = name.strip_prefix(prefix)?;
        Some((name.to_owned(), *content))
    });
    files.collect()
}

/// Puts a folder in place by rename, unless that of this binary is there.
fn put_folder(folder: &Path, files: &[PackedFile]) -> Result<(), BuildError> {
    // What cannot be read is replaced.
    if holds(folder, files).unwrap_or(false) {
        return Ok(());
    }
    let beside = folder.with_extension("part~");
    let written = (|| {
        remove(&beside)?;
        for (name, content) in files {
            let path = beside.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&beside))?;
            fs::write(path, content)?;
        }
        fs::create_dir_all(&beside)?;
        remove(folder)?;
        fs::rename(&beside, folder)
    })();
    written.map_err(|source| {
        // What is left of it is of no use to anybody.
        drop(remove(&beside));
        BuildError::Unwritable {
            path: folder.to_owned(),
            source,
        }
    })
}

/// Whether a folder has these files as they are, and no others.
fn holds(folder: &Path, files: &[PackedFile]) -> io::Result<bool> {
    let mut n_files = 0;
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let kind = fs::symlink_metadata(&path)?;
        if kind.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if kind.is_file() {
            n_files += 1;
        } else {
            return Ok(false);
        }
    }
    let is_same = |(name, content): &PackedFile| {
        let there = fs::read(folder.join(name));
        there.is_ok_and(|there| there == *content)
    };
    Ok(n_files == files.len() && files.iter().all(is_same))
}

/// Refuses links in the folder of a project for what builds write: they would lead a build out of it.
///
/// # Errors
/// `Linked` with the first that was found.
pub(super) fn refuse_links(project: &Path) -> Result<(), BuildError> {
    let mut left = vec![project.join(FOLDER)];
    while let Some(path) = left.pop() {
        refuse_link(&path)?;
        // A file has no entries, and another build may just have removed a folder.
        let entries = fs::read_dir(&path).into_iter().flatten();
        left.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    Ok(())
}

/// Refuses a link at `path`; what is not there is none.
///
/// # Errors
/// `Linked`.
pub(super) fn refuse_link(path: &Path) -> Result<(), BuildError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(BuildError::Linked(path.to_owned())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Removes a folder; one that is not there is removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Names what several texts are together.
pub(super) fn digest_of(texts: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.as_ref().len() as u64).to_le_bytes());
        hash.update(text.as_ref());
    }
    hex(&hash.finalize())
}

fn hex(octets: &[u8]) -> String {
    let digits = octets.iter().map(|octet| format!("{octet:02x}"));
    digits.collect()
}

type PackedFile = (String, &'static [u8]);

const RUST: &str = "rust";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_gets_the_sdk_once_and_again_when_it_differs() {
        let project = tempfile::tempdir().expect("a folder");
        unpack("rust", project.path()).expect("written");
        let sdk = project.path().join(".postern/sdk/rust");
        let manifest = fs::read_to_string(sdk.join("Cargo.toml")).expect("there");
        assert!(manifest.contains("name = \"postern-guest\""));
        assert!(sdk.join("macros/src/lib.rs").is_file());
        assert!(!sdk.join("tests").exists());
        let names: Vec<_> = texts("wit/").map(|(name, _)| name).collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(sdk.join("wit").join(name).is_file(), "{name}");
            assert!(
                project.path().join(".postern/wit").join(name).is_file(),
                "{name}"
            );
        }

        let path = sdk.join("Cargo.toml");
        let modified = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let file = fs::File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(modified))
            .expect("set");
        let is_first = || {
            let metadata = fs::metadata(&path).expect("there");
            metadata.modified().expect("a time") == modified
        };
        unpack("rust", project.path()).expect("there");
        assert!(is_first(), "an equal folder stays");

        fs::write(sdk.join("src/own.rs"), "").expect("written");
        unpack("rust", project.path()).expect("written");
        assert!(!is_first() && !sdk.join("src/own.rs").exists());

        let source = sdk.join("src/lib.rs");
        let text = fs::read(&source).expect("there");
        let mut other = text.clone();
        other.extend_from_slice(b"// of another\n");
        fs::write(&source, other).expect("written");
        unpack("rust", project.path()).expect("written");
        assert_eq!(fs::read(&source).expect("there"), text);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_where_a_build_writes_is_refused_and_what_it_leads_to_stays() {
        for linked in [".postern", ".postern/sdk", ".postern/build/wit"] {
            let (project, home) = (tempfile::tempdir(), tempfile::tempdir());
            let (project, home) = (project.expect("a folder"), home.expect("a folder"));
            let own = home.path().join("rust/own");
            fs::create_dir_all(home.path().join("rust")).expect("a folder");
            fs::write(&own, "kept").expect("written");
            let link = project.path().join(linked);
            fs::create_dir_all(link.parent().expect("a folder")).expect("a folder");
            std::os::unix::fs::symlink(home.path(), &link).expect("linked");
            let refused = unpack("rust", project.path()).expect_err("a link");
            assert!(
                matches!(&refused, BuildError::Linked(path) if *path == link),
                "{linked}: {refused}"
            );
            assert!(own.exists(), "{linked}");
        }
    }
}
