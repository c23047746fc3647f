//! What last worked, kept per plugin, so that a restart over a broken file starts what served before
//! it, and a rollback survives a restart.
//!
//! ```text
//! DATA-DIR/plugins/users/state.json       which digest serves, which served before, which is skipped
//! DATA-DIR/plugins/users/DIGEST.wasm      the component
//! DATA-DIR/plugins/users/DIGEST.toml      its manifest, where it had one
//! ```
//! Every file is written beside its place and renamed, so that a crash leaves the old one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The copies of one plugin.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// Digests, as 64 hex digits, and what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Serves, or served last.
    pub good: Option<String>,
    /// Served before that.
    pub before: Option<String>,
    /// Rolled back from: not started though it lies in the plugin folder.
    pub skipped: Option<String>,
}

/// A component and its manifest's text, as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub digest: String,
    pub component: Bytes,
    pub manifest: Option<String>,
}

impl Store {
    #[must_use]
    pub fn new(data_dir: &Path, plugin: &str) -> Self {
        Self {
            folder: data_dir.join("plugins").join(plugin),
        }
    }

    /// What was noted last; nothing when nothing was, or when it cannot be read.
    #[must_use]
    pub fn state(&self) -> State {
        let text = fs::read(self.folder.join(STATE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The copy of `digest`, if it is kept.
    #[must_use]
    pub fn load(&self, digest: &str) -> Option<Copy> {
        let component = fs::read(self.path(digest, "wasm")).ok()?.into();
        let manifest = fs::read_to_string(self.path(digest, "toml")).ok();
        Some(Copy {
            digest: digest.to_owned(),
            component,
            manifest,
        })
    }

    /// Keeps `copy` as what serves; what served before it is kept for a rollback, anything older is
    /// dropped.
    ///
    /// # Errors
    /// Whatever the system says; what was kept before stays.
    pub fn keep(&self, copy: &Copy) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.write(&self.path(&copy.digest, "wasm"), &copy.component)?;
        let manifest_path = self.path(&copy.digest, "toml");
        match &copy.manifest {
            Some(text) => self.write(&manifest_path, text.as_bytes())?,
            None => remove_if_there(&manifest_path)?,
        }
        let old = self.state();
        let is_same = old.good.as_deref() == Some(copy.digest.as_str());
        let before = if is_same { old.before } else { old.good };
        self.note(&State {
            good: Some(copy.digest.clone()),
            before,
            skipped: None,
        })
    }

    /// Notes that the copy before serves again and that `skipped` is not to be started.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn keep_rollback(&self, to: &str, skipped: Option<String>) -> io::Result<()> {
        self.note(&State {
            good: Some(to.to_owned()),
            before: None,
            skipped,
        })
    }

    /// Forgets the plugin.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn note(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_vec(state)?;
        self.write(&self.folder.join(STATE), &text)?;
        self.drop_older(state)
    }

    fn drop_older(&self, state: &State) -> io::Result<()> {
        let kept = [state.good.as_deref(), state.before.as_deref()];
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let is_copy = path
                .extension()
                .is_some_and(|end| end == "wasm" || end == "toml");
            if is_copy && !kept.contains(&stem) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{extension}"))
    }

    fn write(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let beside = self.folder.join(".writing");
        fs::write(&beside, octets)?;
        fs::rename(beside, path)
    }
}

/// Forgets every plugin that `is_known` does not accept.
///
/// # Errors
/// Whatever the system says.
pub fn clear_unknown(data_dir: &Path, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(data_dir.join("plugins")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| !is_known(name)) {
            Store::new(data_dir, name).clear()?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

const STATE: &str = "state.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(digest: &str, manifest: Option<&str>) -> Copy {
        let component = Bytes::from(format!("component {digest}"));
        Copy {
            digest: digest.to_owned(),
            component,
            manifest: manifest.map(str::to_owned),
        }
    }

    fn names(store: &Store) -> Vec<String> {
        let entries = fs::read_dir(&store.folder).expect("there");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn keeps_what_serves_and_what_served_before_and_nothing_older() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path(), "users");
        for digest in ["a", "b", "c"] {
            store
                .keep(&copy(digest, Some("version = \"1\"")))
                .expect("kept");
        }
        assert_eq!(
            names(&store),
            ["b.toml", "b.wasm", "c.toml", "c.wasm", "state.json"]
        );
        let state = store.state();
        assert_eq!(
            (state.good.as_deref(), state.before.as_deref()),
            (Some("c"), Some("b"))
        );
        assert_eq!(store.load("c"), Some(copy("c", Some("version = \"1\""))));
        assert_eq!(store.load("a"), None);
    }

    #[test]
    fn keeping_the_same_again_does_not_forget_what_was_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path(), "users");
        for digest in ["a", "b", "b"] {
            store.keep(&copy(digest, None)).expect("kept");
        }
        assert_eq!(store.state().before.as_deref(), Some("a"));
    }

    #[test]
    fn a_rollback_is_remembered_with_what_it_skips() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path(), "users");
        store.keep(&copy("a", None)).expect("kept");
        store.keep(&copy("b", None)).expect("kept");
        store
            .keep_rollback("a", Some("b".to_owned()))
            .expect("noted");
        let expected = State {
            good: Some("a".into()),
            before: None,
            skipped: Some("b".into()),
        };
        assert_eq!(store.state(), expected);
        assert_eq!(names(&store), ["a.wasm", "state.json"]);
    }

    #[test]
    fn a_broken_note_counts_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path(), "users");
        fs::create_dir_all(&store.folder).expect("created");
        fs::write(store.folder.join(STATE), "{\"good\":").expect("written");
        assert_eq!(store.state(), State::default());
    }

    #[test]
    fn forgets_plugins_that_are_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        for plugin in ["users", "chat"] {
            Store::new(folder.path(), plugin)
                .keep(&copy("a", None))
                .expect("kept");
        }
        clear_unknown(folder.path(), |name| name == "users").expect("cleared");
        assert!(Store::new(folder.path(), "users").load("a").is_some());
        assert!(Store::new(folder.path(), "chat").load("a").is_none());
        clear_unknown(Path::new("/nonexistent"), |_| true).expect("nothing to do");
    }
}
