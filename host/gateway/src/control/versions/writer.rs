//! The one thread that writes below `DATA-DIR/versions`: histories, and which version is what. Whoever has
//! something to write holds locks that calls wait for, so it only hands it over.
//!
//! ```text
//! note ─▶ queue ─▶ one line after the other, as they came
//! keep ─▶ states ─▶ the last of each plugin; what cannot be written stays there and is tried again
//! read, flush ─▶ queue ─▶ answered once everything that was handed over before is written
//! ```
//! It ends with its owner, after all of that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tracing::{error, warn};

use super::{
    history::{self, HistoryEntry},
    state::VersionState,
};
use crate::plugins::gone;

/// What is kept of versions on the disk.
pub(super) struct VersionFiles {
    kept: Arc<KeptStates>,
    /// `None` where the system gave no thread, and while this is dropped.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// Which version is what, by plugin.
struct KeptStates {
    folder: PathBuf,
    /// Handed over, and not on the disk as far as is known.
    unwritten: Mutex<BTreeMap<String, VersionState>>,
}

enum Request {
    Note {
        plugin: String,
        line: Vec<u8>,
    },
    Read {
        plugin: String,
        entries: oneshot::Sender<Vec<Json>>,
    },
    /// Something was handed over: the sender, if any, is told when it is written.
    Keep(Option<oneshot::Sender<()>>),
    /// These plugins are left; histories of others are kept within a bound.
    Left(BTreeSet<String>),
}

impl VersionFiles {
    /// Begins to write below `folder`, which is made when there is something to write.
    pub(super) fn new(folder: PathBuf) -> Self {
        let kept = Arc::new(KeptStates {
            folder,
            unwritten: Mutex::default(),
        });
        let (requests, received) = mpsc::channel(QUEUE_MAX);
        let writing = Arc::clone(&kept);
        let thread = thread::Builder::new().name("postern-versions".to_owned());
        let writer = thread.spawn(move || writing.run(received));
        let writer = writer.inspect_err(
            |error| error!(%error, "no thread: what becomes of versions is neither noted nor kept"),
        );
        let writer = writer.ok();
        Self {
            kept,
            requests: writer.as_ref().map(|_| requests),
            writer,
        }
    }

    /// Adds `entry` to the history of `plugin`. Waits for nothing.
    pub(super) fn note(&self, plugin: &str, entry: &HistoryEntry<'_>) {
        let line = match entry.to_line() {
            Ok(line) => line,
            Err(error) => return lacks_an_entry(plugin, &error),
        };
        let note = Request::Note {
            plugin: plugin.to_owned(),
            line,
        };
        if let Err(reason) = self.hand_over(note) {
            lacks_an_entry(plugin, &reason);
        }
    }

    /// Has `state` remembered of `plugin`, also after a restart. Waits for nothing.
    pub(super) fn keep(&self, plugin: &str, state: VersionState) {
        let mut unwritten = self.kept.unwritten.lock();
        unwritten.insert(plugin.to_owned(), state);
        drop(unwritten);
        // Where the queue is full, the writer looks after the next request in it.
        let _ = self.hand_over(Request::Keep(None));
    }

    /// A plugin has gone, and `present` are left. Waits for nothing.
    pub(super) fn keep_to(&self, present: BTreeSet<String>) {
        // Where the queue is full, the next one that goes has as much removed.
        let _ = self.hand_over(Request::Left(present));
    }

    /// What was kept last of `plugin`. Blocks where it must be read from the disk.
    pub(super) fn kept(&self, plugin: &str) -> VersionState {
        let unwritten = self.kept.unwritten.lock().get(plugin).cloned();
        unwritten.unwrap_or_else(|| self.kept.read(plugin))
    }

    /// The history of `plugin`, the latest last. What cannot be read is left out.
    pub(super) async fn history(&self, plugin: &str) -> Vec<Json> {
        let (entries, read) = oneshot::channel();
        let plugin = plugin.to_owned();
        self.ask(Request::Read { plugin, entries }).await;
        read.await.unwrap_or_default()
    }

    /// Waits until everything that was handed over is on the disk, as far as it can be written.
    pub(super) async fn flush(&self) {
        let (written, told) = oneshot::channel();
        self.ask(Request::Keep(Some(written))).await;
        // A writer that is gone writes nothing more.
        drop(told.await);
    }

    async fn ask(&self, request: Request) {
        if let Some(requests) = &self.requests {
            // Who waits for the answer learns that there is none.
            drop(requests.send(request).await);
        }
    }

    fn hand_over(&self, request: Request) -> Result<(), &'static str> {
        let Some(requests) = &self.requests else {
            return Err("nobody writes");
        };
        requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => "the disk is slower than what happens",
            TrySendError::Closed(_) => "the writer has ended",
        })
    }
}

impl Drop for VersionFiles {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A panic of it has been printed.
            drop(writer.join());
        }
    }
}

impl KeptStates {
    fn run(&self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.blocking_recv() {
            match request {
                Request::Note { plugin, line } => {
                    if let Err(error) = history::append(&self.folder, &plugin, &line) {
                        lacks_an_entry(&plugin, &error);
                    }
                    self.write_all();
                }
                // Whoever asked may have gone away.
                Request::Read { plugin, entries } => {
                    drop(entries.send(history::read(&self.folder, &plugin)));
                }
                Request::Left(present) => {
                    let kept = gone::keep_latest(&self.folder, "log", &present, GONE_LOGS_MAX);
                    if let Err(error) = kept {
                        warn!(%error, "histories of plugins that are gone stay on the disk");
                    }
                }
                Request::Keep(told) => {
                    self.write_all();
                    if let Some(told) = told {
                        // As above.
                        let _ = told.send(());
                    }
                }
            }
        }
        self.write_all();
    }

    /// Writes what waits. What cannot be written goes on waiting.
    fn write_all(&self) {
        let waiting = self.unwritten.lock().clone();
        for (plugin, state) in waiting {
            if let Err(error) = self.write(&plugin, &state) {
                warn!(plugin, %error, "which version is what would not survive a restart");
                continue;
            }
            let mut unwritten = self.unwritten.lock();
            // Another may have come meanwhile.
            if unwritten.get(&plugin) == Some(&state) {
                unwritten.remove(&plugin);
            }
        }
    }

    fn read(&self, plugin: &str) -> VersionState {
        let text = fs::read(self.path(plugin)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// On disk when it returns, whole or not at all.
    fn write(&self, plugin: &str, state: &VersionState) -> io::Result<()> {
        let path = self.path(plugin);
        if *state == VersionState::default() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            };
        }
        fs::create_dir_all(&self.folder)?;
        let beside = self.folder.join(format!("{plugin}.json.writing"));
        let file = fs::File::create(&beside)?;
        serde_json::to_writer(&file, state)?;
        file.sync_all()?;
        fs::rename(beside, path)
    }

    fn path(&self, plugin: &str) -> PathBuf {
        self.folder.join(format!("{plugin}.json"))
    }
}

fn lacks_an_entry(plugin: &str, reason: &dyn fmt::Display) {
    warn!(plugin, error = %reason, "the history of its versions lacks an entry");
}

/// Histories of plugins that are gone; the others are removed, the oldest first.
const GONE_LOGS_MAX: usize = 256;
/// What may wait to be written: each is 1.5 KiB at most.
const QUEUE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{
        fs::OpenOptions,
        io::{BufRead as _, BufReader},
        process::Command,
    };

    use tempfile::TempDir;

    use super::*;

    fn files() -> (TempDir, VersionFiles) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = VersionFiles::new(folder.path().join("versions"));
        (folder, files)
    }

    fn stable(label: &str) -> VersionState {
        VersionState {
            stable: Some(label.to_owned()),
            ..VersionState::default()
        }
    }

    fn note(files: &VersionFiles, at: u64) {
        let entry = HistoryEntry {
            at,
            ..HistoryEntry::new("users", "pinned", "operator")
        };
        files.note("users", &entry);
    }

    #[tokio::test]
    async fn nobody_waits_for_the_disk_and_what_was_noted_is_written_in_order() {
        let (folder, files) = files();
        let path = folder.path().join("versions/users.log");
        fs::create_dir_all(folder.path().join("versions")).expect("made");
        // Whoever opens a pipe to write waits for a reader.
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        for at in 0..100 {
            note(&files, at);
        }
        files.keep("users", stable("users@1"));
        assert_eq!(
            files.kept("users"),
            stable("users@1"),
            "as if it were written"
        );
        let state = folder.path().join("versions/users.json");
        assert!(!state.exists());
        let reader = OpenOptions::new().read(true).write(true).open(&path);
        let reader = BufReader::new(reader.expect("a pipe"));
        files.flush().await;
        assert!(state.exists());
        let lines = reader.lines().take(100).map(|line| line.expect("a line"));
        let entries = lines.map(|line| serde_json::from_str::<Json>(&line).expect("JSON"));
        let times: Vec<_> = entries.map(|entry| entry["at"].as_u64()).collect();
        assert_eq!(times, (0..100).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_handed_over_is_written_before_its_owner_ends() {
        let (folder, files) = files();
        for at in 0..QUEUE_MAX as u64 {
            note(&files, at);
        }
        files.keep("users", stable("users@1"));
        files.keep("users", stable("users@2"));
        drop(files);
        let read = history::read(&folder.path().join("versions"), "users");
        let times: Vec<_> = read
            .iter()
            .filter_map(|entry| entry["at"].as_u64())
            .collect();
        assert_eq!(times, (0..QUEUE_MAX as u64).collect::<Vec<_>>());
        let again = VersionFiles::new(folder.path().join("versions"));
        assert_eq!(again.kept("users"), stable("users@2"));
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_later() {
        let (folder, files) = files();
        // A file in the place of the folder.
        fs::write(folder.path().join("versions"), "").expect("written");
        files.keep("users", stable("users@1"));
        files.flush().await;
        fs::remove_file(folder.path().join("versions")).expect("there");
        files.flush().await;
        drop(files);
        let again = VersionFiles::new(folder.path().join("versions"));
        assert_eq!(again.kept("users"), stable("users@1"));
    }
}
