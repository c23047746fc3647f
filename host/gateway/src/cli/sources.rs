//! Watches the sources of plugin projects and says which project a change belongs to.

use std::{
    path::{Component, Path, PathBuf},
    sync::mpsc::Sender,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

use crate::build::{Language, is_source};

/// A project whose sources changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProjectChange {
    pub project: PathBuf,
}

/// Watches until it is dropped.
pub(super) struct Sources {
    _watcher: Debouncer<RecommendedWatcher, RecommendedCache>,
}

impl Sources {
    /// Sends a change for each project below `folder` whose sources are written.
    pub(super) fn watch(folder: &Path, changes: Sender<ProjectChange>) -> notify::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // Events name absolute paths.
        let root = folder.canonicalize()?;
        let shown = folder.to_owned();
        let watched = root.clone();
        let on = move |result: DebounceEventResult| {
            let Ok(events) = result else { return };
            let written = events.iter().filter(|event| is_write(&event.kind));
            let names = written
                .flat_map(|event| &event.paths)
                .filter_map(|path| project_of(&watched, path));
            let mut names: Vec<_> = names.collect();
            names.sort();
            names.dedup();
            for name in names
                .into_iter()
                .filter(|name| Language::of(&shown.join(name)).is_some())
            {
                // Nobody builds any more once the receiver is gone.
                let _ = changes.send(ProjectChange {
                    project: shown.join(name),
                });
            }
        };
        let mut watcher = new_debouncer(QUIET, None, on)?;
        watcher.watch(&root, RecursiveMode::Recursive)?;
        Ok(Self { _watcher: watcher })
    }
}

/// Name of the project whose source `path` is; `None` for what a build writes, for the component and
/// its manifest, and for what editors leave beside a file.
fn project_of(root: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root).ok()?;
    let parts: Vec<&str> = inside
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect::<Option<_>>()?;
    let [project, between @ .., file] = parts.as_slice() else {
        return None;
    };
    if !parts.iter().all(|name| is_source(name)) {
        return None;
    }
    let is_own = *file == format!("{project}.toml") && between.is_empty();
    let end = Path::new(file)
        .extension()
        .and_then(|end| end.to_str())
        .unwrap_or_default();
    let is_source = !is_own && !matches!(end, "wasm" | "swp" | "tmp" | "lock");
    is_source.then(|| (*project).to_owned())
}

fn is_write(kind: &EventKind) -> bool {
    match kind {
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    }
}

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(150);

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let root = Path::new("/plugins");
        assert_eq!(
            project_of(root, &root.join(path)).as_deref(),
            expected,
            "{path}"
        );
    }

    #[test]
    fn knows_sources_from_everything_else() {
        check("users/src/lib.rs", Some("users"));
        check("users/Cargo.toml", Some("users"));
        check("users/data/seed.json", Some("users"));
        check("users/users.wasm", None);
        check("users/users.toml", None);
        check("users/.users.wasm.tmp", None);
        check("users/Cargo.lock", None);
        check("users/target/release/users.wasm", None);
        check("users/go.mod", Some("users"));
        check("users/node_modules/x/index.js", None);
        check("users/__pycache__/plugin.pyc", None);
        check("users/.postern/sdk/go/sdk.go", None);
        check("users/src/.lib.rs.swp", None);
        check("users/src/lib.rs~", None);
        check("users.wasm", None);
        check("../elsewhere/src/lib.rs", None);
    }

    #[test]
    fn a_saved_source_names_its_project() {
        let folder = tempfile::tempdir().expect("a folder");
        let project = folder.path().join("users");
        fs::create_dir_all(project.join("src")).expect("a folder");
        fs::write(project.join("Cargo.toml"), "").expect("written");
        let (changes, changed) = mpsc::channel();
        let _sources = Sources::watch(folder.path(), changes).expect("watched");
        fs::write(project.join("src/lib.rs"), "pub fn f() {}").expect("written");
        let change = changed
            .recv_timeout(Duration::from_secs(10))
            .expect("a change");
        assert_eq!(change, ProjectChange { project });
    }
}
