//! The folder of the user's for what builds share: `$XDG_CACHE_HOME/postern`, or `~/.cache/postern`.
//!
//! ```text
//! tools/NAME-DIGEST/            a set of pinned tools, whole when it holds the file `.complete`
//! locks/NAME.lock               held while somebody installs
//! components/DIGEST.wasm        components by the digest of sources, tools and folder
//! ```
//! All of it may be removed while nothing is being built.

use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use postern_system::clock;

use super::{
    outcome::{BuildError, BuildProgress},
    sdk,
};

/// What builds of all projects share.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
}

/// Tools in pinned versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToolSet<'a> {
    /// Names the folder.
    pub name: &'static str,
    /// As people know them: `componentize-py 0.25.1`.
    pub shown: &'static str,
    /// Everything that decides what is installed.
    pub pins: &'a [&'a str],
}

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Cache {
    /// The user's own.
    ///
    /// # Errors
    /// `NoCache` when the environment names no folder for it.
    pub(super) fn of_user() -> Result<Self, BuildError> {
        let absolute = |name: &str| {
            let path = env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let caches = absolute("XDG_CACHE_HOME");
        let caches = caches.or_else(|| Some(absolute("HOME")?.join(".cache")));
        let root = caches.ok_or(BuildError::NoCache)?.join("postern");
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(super) fn in_folder(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The folder of a set of tools. What is missing is made by `install`, by one process at a time,
    /// and is used once it is whole.
    ///
    /// # Errors
    /// Those of `install`, and `Unwritable`.
    pub(super) fn tools(
        &self,
        set: ToolSet<'_>,
        on: &mut dyn FnMut(BuildProgress),
        install: impl FnOnce(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        let name = format!("{}-{}", set.name, short(&sdk::digest_of(set.pins)));
        let folder = self.root.join("tools").join(&name);
        if folder.join(COMPLETE).exists() {
            return Ok(folder);
        }
        let lock = self.root.join("locks").join(format!("{name}.lock"));
        let _lock = Lock::take(&lock, set.shown, on)?;
        if folder.join(COMPLETE).exists() {
            return Ok(folder);
        }
        on(BuildProgress::InstallingTools {
            tools: set.shown.to_owned(),
        });
        let unwritable = |source| BuildError::Unwritable {
            path: folder.clone(),
            source,
        };
        sdk::remove(&folder).map_err(unwritable)?;
        fs::create_dir_all(&folder).map_err(unwritable)?;
        let installed = install(&folder)
            .and_then(|()| fs::write(folder.join(COMPLETE), set.shown).map_err(unwritable));
        if installed.is_err() {
            // What is there of it is not used; the next build begins anew.
            drop(sdk::remove(&folder));
        }
        installed.map(|()| folder)
    }

    /// A folder that a tool keeps its own cache in.
    pub(super) fn of_tool(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The component that was kept under `digest`.
    pub(super) fn component(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.component_path(digest);
        let component = fs::read(&path).ok()?;
        // Which was used last decides which is kept; one that nobody may write to is used as well.
        drop(
            File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(clock::wall())),
        );
        Some(component)
    }

    /// Keeps a component under `digest`. The ones that were not used for longest make room.
    pub(super) fn keep(&self, digest: &str, component: &[u8]) -> Result<(), BuildError> {
        let path = self.component_path(digest);
        let written = (|| {
            let folder = path.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder)?;
            let beside = folder.join(format!(".{}.{}", short(digest), std::process::id()));
            fs::write(&beside, component)?;
            fs::rename(&beside, &path)?;
            make_room(folder, COMPONENTS_MAX)
        })();
        written.map_err(|source| BuildError::Unwritable { path, source })
    }

    fn component_path(&self, digest: &str) -> PathBuf {
        self.root.join("components").join(format!("{digest}.wasm"))
    }
}

impl Lock {
    /// Waits until nobody else holds the lock at `path`. `what` is told to who has to wait.
    ///
    /// # Errors
    /// `Unwritable` when there can be no such file.
    pub(super) fn take(
        path: &Path,
        what: &str,
        on: &mut dyn FnMut(BuildProgress),
    ) -> Result<Self, BuildError> {
        let locked = (|| {
            fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new(".")))?;
            let file = File::options().create(true).append(true).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let what = what.to_owned();
                    on(BuildProgress::Waiting { what });
                    file.lock()?;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            Ok(Self { _file: file })
        })();
        locked.map_err(|source| BuildError::Unwritable {
            path: path.to_owned(),
            source,
        })
    }
}

/// Removes all but the `n_max` newest files of `folder`.
fn make_room(folder: &Path, n_max: usize) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Other builds put files here and remove them at the same time.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        match modified {
            Ok(modified) => files.push((modified, entry.path())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.sort();
    let n_over = files.len().saturating_sub(n_max);
    for (_, path) in files.into_iter().take(n_over) {
        remove_file(&path)?;
    }
    Ok(())
}

/// Removes a file; one that is not there is removed.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// In a folder of tools, once all of them are there.
const COMPLETE: &str = ".complete";
/// Components of Python have some 18 MiB: at most 2 GiB.
const COMPONENTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::mpsc, thread, time::Duration};

    use super::*;

    const SET: ToolSet<'static> = ToolSet {
        name: "tool",
        shown: "tool 1.0",
        pins: &["tool==1.0"],
    };

    #[test]
    fn tools_are_installed_once_and_anew_when_a_pin_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        let n_installed = Cell::new(0);
        let install = |folder: &Path| {
            n_installed.set(n_installed.get() + 1);
            fs::write(folder.join("tool"), "").expect("written");
            Ok(())
        };
        let mut told = Vec::new();
        let first = cache.tools(SET, &mut |progress| told.push(progress), install);
        let first = first.expect("installed");
        assert!(first.join("tool").is_file());
        let tools = "tool 1.0".to_owned();
        assert_eq!(told, [BuildProgress::InstallingTools { tools }]);
        let again = cache.tools(SET, &mut |_| (), install).expect("there");
        assert_eq!((again, n_installed.get()), (first.clone(), 1));
        let pins: &[&str] = &["tool==1.1"];
        let other = ToolSet { pins, ..SET };
        let other = cache.tools(other, &mut |_| (), install).expect("installed");
        assert_eq!(n_installed.get(), 2);
        assert_ne!(other, first);
    }

    #[test]
    fn what_was_not_installed_whole_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        let failed = cache.tools(SET, &mut |_| (), |folder| {
            fs::write(folder.join("half"), "").expect("written");
            Err(BuildError::NoCache)
        });
        assert!(failed.is_err());
        // A process that was killed leaves as much.
        let name = fs::read_dir(folder.path().join("tools"))
            .expect("a folder")
            .next();
        assert!(name.is_none(), "{name:?}");
        let whole = cache.tools(SET, &mut |_| (), |folder| {
            assert!(!folder.join("half").exists());
            Ok(())
        });
        assert!(whole.is_ok());
    }

    #[test]
    fn who_comes_second_waits_and_finds_the_tools() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        let name = format!("tool-{}", short(&sdk::digest_of(SET.pins)));
        let lock = folder.path().join(format!("locks/{name}.lock"));
        let held = Lock::take(&lock, "tool", &mut |_| ()).expect("free");
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                let on = &mut |progress| tell.send(progress).expect("it is heard");
                cache.tools(SET, on, |_| panic!("it is there by then"))
            });
            let what = SET.shown.to_owned();
            assert_eq!(told.recv(), Ok(BuildProgress::Waiting { what }));
            let tools = folder.path().join("tools").join(&name);
            fs::create_dir_all(&tools).expect("a folder");
            fs::write(tools.join(COMPLETE), "").expect("written");
            drop(held);
            let found = second.join().expect("it ends");
            assert_eq!(found.expect("found"), tools);
        });
    }

    #[test]
    fn components_are_kept_by_digest_and_the_oldest_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::in_folder(folder.path());
        assert_eq!(cache.component("aa"), None);
        cache.keep("aa", b"one").expect("kept");
        assert_eq!(cache.component("aa"), Some(b"one".to_vec()));
        let kept = folder.path().join("components");
        for (age, name) in [(30, "old"), (20, "used"), (10, "new")] {
            let file = File::create(kept.join(name)).expect("made");
            let modified = clock::wall() - Duration::from_secs(age);
            file.set_modified(modified).expect("set");
        }
        make_room(&kept, 3).expect("made");
        let names = |n_max| {
            make_room(&kept, n_max).expect("made");
            let names = fs::read_dir(&kept).expect("a folder");
            let mut names: Vec<_> = names
                .map(|name| name.expect("a name").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(3), ["aa.wasm", "new", "used"]);
        remove_file(&kept.join("old")).expect("another build has removed it");
        assert_eq!(names(1), ["aa.wasm"]);
    }
}
