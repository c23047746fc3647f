//! Follows single files: every version that counts is read and given out once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_system::clock;
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    links,
    notices::{FileNotice, Notices},
    settle::{Due, Notice, Settle, SettleTiming},
    sight::{self, PathState, ReadError},
    troubles::{SourceTroubles, Trouble},
};

/// A watch on some files.
pub(crate) struct FileWatch {
    notices: Notices,
    /// Names and folders that the notices are to be about.
    wanted: Arc<Mutex<BTreeSet<PathBuf>>>,
    settle: Settle<PathBuf>,
    timing: SettleTiming,
    look_interval: Duration,
    next_look: Instant,
    files: BTreeMap<PathBuf, WatchedFile>,
    /// Files to compare with what was read of them, though nothing told of a change.
    checks: BTreeSet<PathBuf>,
    reading: Option<Reading>,
    /// Where to tell of files that cannot be read; `None` where it does not matter.
    troubles: Option<Arc<SourceTroubles>>,
}

/// A file's content that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    /// Whether the content differs from the version before. A file that was only touched has none
    /// that does, but whoever refused it may try it again.
    pub is_new: bool,
}

struct WatchedFile {
    /// Every name by which a change is told.
    names: Vec<PathBuf>,
    sight: PathState,
    /// Of what was read last.
    digest: Option<[u8; 32]>,
    /// Whether something that it said is in force.
    is_held: bool,
    away_since: Option<Instant>,
    /// Whether reading it failed, so that each look tries again.
    has_failed: bool,
}

struct Reading {
    path: PathBuf,
    /// Asked for by a look that found nothing: only other content is a version.
    is_check: bool,
    task: JoinHandle<Result<Option<Vec<u8>>, ReadError>>,
}

impl FileWatch {
    /// A watch on nothing yet, which looks every `look_interval` where no notices come.
    pub(crate) fn new(
        settle: Duration,
        look_interval: Duration,
        troubles: Option<Arc<SourceTroubles>>,
    ) -> Self {
        let wanted = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let is_wanted = Arc::clone(&wanted);
        let timing = SettleTiming::new(settle);
        Self {
            notices: Notices::new(move |path| is_wanted.lock().contains(path)),
            wanted,
            settle: Settle::new(timing),
            timing,
            look_interval,
            next_look: clock::now() + look_interval,
            files: BTreeMap::new(),
            checks: BTreeSet::new(),
            reading: None,
            troubles,
        }
    }

    /// Follows `path`, of which `held` is in force. What it holds beyond that is a version, also if
    /// it was written before anybody watched.
    pub(crate) fn add(&mut self, path: &Path, held: Option<&[u8]>) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.insert(
            path,
            held.map(|held| Sha256::digest(held).into()),
            held.is_some(),
        );
        self.watch_names();
    }

    /// Follows `paths` and no others. What is known of those that stay is kept.
    pub(crate) fn set(&mut self, paths: &BTreeSet<PathBuf>) {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let paths: BTreeSet<PathBuf> = paths.iter().map(absolute).collect();
        let gone = self.files.keys().filter(|path| !paths.contains(*path));
        for path in gone.cloned().collect::<Vec<_>>() {
            self.files.remove(&path);
            self.settle.forget(&path);
            self.clear_trouble(&path);
        }
        for path in paths {
            if !self.files.contains_key(&path) {
                self.insert(path, None, self.troubles.is_some());
            }
        }
        self.watch_names();
    }

    /// Gives out what every file holds, whether it has changed or not.
    pub(crate) fn read_again(&mut self) {
        let now = clock::now();
        for path in self.files.keys() {
            self.settle.again(path.clone(), now);
        }
    }

    /// How often to look where no notices come.
    pub(crate) fn set_look_interval(&mut self, look_interval: Duration) {
        self.look_interval = look_interval;
        self.next_look = self.next_look.min(clock::now() + look_interval);
    }

    /// The next version. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> FileVersion {
        loop {
            if let Some(reading) = &mut self.reading {
                let outcome = (&mut reading.task).await;
                while let Some(told) = self.notices.try_next() {
                    self.on_told(&told);
                }
                let Some(Reading { path, is_check, .. }) = self.reading.take() else {
                    continue;
                };
                let outcome = outcome.unwrap_or_else(|panic| {
                    let (path, source) = (path.clone(), std::io::Error::other(panic));
                    Err(ReadError::Unreadable { path, source })
                });
                if let Some(version) = self.on_read(path, is_check, outcome) {
                    return version;
                }
                continue;
            }
            let now = clock::now();
            if let Some(due) = self.settle.poll_due(now) {
                self.on_due(now, due);
                continue;
            }
            if let Some(path) = self.checks.pop_first() {
                self.check(path);
                continue;
            }
            let due = self.settle.poll_timeout().unwrap_or(self.next_look);
            let wake = due.min(self.next_look);
            tokio::select! {
                told = self.notices.next() => self.on_told(&told),
                () = tokio::time::sleep_until(wake.into()) => {
                    if wake >= self.next_look {
                        self.look();
                    }
                }
            }
        }
    }

    fn insert(&mut self, path: PathBuf, digest: Option<[u8; 32]>, is_held: bool) {
        let file = WatchedFile {
            names: Vec::new(),
            sight: PathState::of(&path),
            digest,
            is_held,
            away_since: None,
            has_failed: false,
        };
        self.files.insert(path.clone(), file);
        self.notice(&path, Notice::Differs);
    }

    fn notice(&mut self, path: &Path, notice: Notice) {
        let now = clock::now();
        self.settle.on_notice(now, path.to_owned(), path, notice);
    }

    /// Finds every file's names again and hears of their folders.
    fn watch_names(&mut self) {
        let (mut wanted, mut folders) = (BTreeSet::new(), BTreeSet::new());
        for (path, file) in &mut self.files {
            file.names = links::names(path);
            folders.extend(
                file.names
                    .iter()
                    .filter_map(|name| name.parent())
                    .map(Path::to_owned),
            );
            wanted.extend(file.names.iter().cloned());
        }
        wanted.extend(folders.iter().cloned());
        *self.wanted.lock() = wanted;
        self.notices.watch(&folders);
    }

    fn on_told(&mut self, told: &FileNotice) {
        let (path, notice) = match told {
            FileNotice::Lost => {
                self.next_look = clock::now();
                return;
            }
            FileNotice::Of { path, notice } => (path, *notice),
        };
        let files = self.files.iter();
        let concerned = files.filter(|(_, file)| {
            file.names
                .iter()
                .any(|name| name == path || name.parent() == Some(path))
        });
        for file in concerned.map(|(file, _)| file.clone()).collect::<Vec<_>>() {
            self.notice(&file, notice);
        }
        if notice.is_of_names() {
            if matches!(notice, Notice::Replaced | Notice::Removed) {
                self.notices.on_moved(path);
            }
            self.watch_names();
        }
    }

    fn look(&mut self) {
        let now = clock::now();
        self.next_look = now + self.look_interval;
        self.watch_names();
        for path in self.files.keys().cloned().collect::<Vec<_>>() {
            let sight = PathState::of(&path);
            let Some(file) = self.files.get_mut(&path) else {
                continue;
            };
            if file.sight != sight || file.has_failed {
                file.sight = sight;
                self.notice(&path, Notice::Differs);
            } else {
                self.checks.insert(path);
            }
        }
        let held_open = self.settle.open_for(now, HELD_OPEN_TOLD);
        let held_open: Vec<_> = held_open
            .into_iter()
            .map(|(path, _)| path.clone())
            .collect();
        for path in held_open {
            self.trouble(&path, Trouble::HeldOpen);
        }
    }

    /// Pages that are mapped are written without a notice, and without a new time until they are
    /// written back.
    fn check(&mut self, path: PathBuf) {
        let sight = self.files.get(&path).map(|file| file.sight);
        let is_short = matches!(sight, Some(PathState::There(stamp)) if stamp.is_short());
        if is_short && !self.settle.is_changing(&path) {
            self.read(path, true);
        }
    }

    fn on_due(&mut self, now: Instant, due: Due<PathBuf>) {
        let path = due.unit;
        let Some(file) = self.files.get_mut(&path) else {
            return;
        };
        let (before, sight) = (file.sight, PathState::of(&path));
        file.sight = sight;
        if due.is_by_look && before != sight {
            // Without notices, rest alone says that nobody writes.
            return self.notice(&path, Notice::Differs);
        }
        let trouble = match sight {
            PathState::There(_) => {
                file.away_since = None;
                return self.read(path, false);
            }
            PathState::Special => return,
            PathState::Absent => Trouble::Gone,
            PathState::Dangling => Trouble::Dangling,
            PathState::Unreadable(kind) => Trouble::Unreadable(kind.to_string()),
        };
        let since = *file.away_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.timing.settle {
            self.settle.again(path, since + self.timing.settle);
        } else {
            self.trouble(&path, trouble);
        }
    }

    fn read(&mut self, path: PathBuf, is_check: bool) {
        let reading = path.clone();
        self.reading = Some(Reading {
            path,
            is_check,
            task: spawn_blocking(move || sight::read(&reading, FILE_BYTES_MAX)),
        });
    }

    fn on_read(
        &mut self,
        path: PathBuf,
        is_check: bool,
        outcome: Result<Option<Vec<u8>>, ReadError>,
    ) -> Option<FileVersion> {
        let file = self.files.get_mut(&path)?;
        // Whoever writes meanwhile may have made half of it.
        if self.settle.is_changing(&path) {
            return None;
        }
        file.has_failed = outcome.is_err();
        let bytes = match outcome {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(ReadError::Changing(_)) => {
                self.notice(&path, Notice::Differs);
                return None;
            }
            Err(ReadError::Empty(_)) => {
                self.trouble(&path, Trouble::Empty);
                return None;
            }
            Err(error @ (ReadError::Unreadable { .. } | ReadError::TooLong { .. })) => {
                self.trouble(&path, Trouble::Unreadable(error.to_string()));
                return None;
            }
        };
        let digest = Some(Sha256::digest(&bytes).into());
        let is_new = file.digest != digest;
        if is_check {
            if is_new {
                self.notice(&path, Notice::Differs);
            }
            return None;
        }
        file.digest = digest;
        file.is_held = true;
        self.clear_trouble(&path);
        Some(FileVersion {
            path,
            bytes,
            is_new,
        })
    }

    fn trouble(&self, path: &Path, trouble: Trouble) {
        let is_held = self.files.get(path).is_some_and(|file| file.is_held);
        if let Some(troubles) = self.troubles.as_ref().filter(|_| is_held) {
            troubles.set(path, trouble);
        }
    }

    fn clear_trouble(&self, path: &Path) {
        if let Some(troubles) = &self.troubles {
            troubles.clear(path);
        }
    }

    #[cfg(test)]
    pub(crate) fn silence(&mut self) {
        self.notices.silence();
    }

    /// Remembers other content of every file than was read, as if a mapping had changed it since.
    #[cfg(test)]
    pub(crate) fn misremember(&mut self) {
        for file in self.files.values_mut() {
            file.digest = None;
        }
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        for path in self.files.keys() {
            self.clear_trouble(path);
        }
    }
}

/// No configuration and no file of keys comes near it.
pub(crate) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A writer that is at work writes more often.
pub(crate) const HELD_OPEN_TOLD: Duration = Duration::from_secs(5);
