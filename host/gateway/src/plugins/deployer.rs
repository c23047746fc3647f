//! Brings what lies in the plugin folder to the control, at the start and at every change.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinSet, spawn_blocking};
use tracing::{debug, warn};

use super::{
    folder::{self, ReadError},
    store::Copy,
    watch::Watch,
};
use crate::control::Control;

/// The folder's way to the control.
pub(crate) struct Deployer {
    control: Arc<Control>,
    folder: PathBuf,
    watch: Option<Watch>,
    unread: Unread,
}

/// Plugins that could not be read, each with when it is read again: descriptors or a mount may be
/// wanting for a while. The pause doubles with each failure.
#[derive(Default)]
struct Unread(BTreeMap<String, (Instant, Duration)>);

/// A plugin that was brought to what lies in the folder.
struct Updated {
    name: String,
    read: Reading,
}

/// How a plugin's files were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Whole,
    /// Somebody wrote to them.
    Changing,
    /// The system did not give them.
    Failed,
}

impl Unread {
    fn on_failure(&mut self, now: Instant, name: &str) {
        let before = self.0.get(name).map(|(_, pause)| *pause);
        let pause = before.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.0.insert(name.to_owned(), (now + pause, pause));
    }

    /// Waits for the time of the first, which stays in until it was read. Pending without any.
    async fn next(&mut self) -> String {
        let first = self.0.iter_mut().min_by_key(|(_, (at, _))| *at);
        let Some((name, (at, pause))) = first else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until((*at).into()).await;
        *at = Instant::now() + *pause;
        name.clone()
    }
}

impl Deployer {
    /// `quiet` is how long a file that is being written must be left alone; `None` does not watch.
    pub(crate) fn new(control: Arc<Control>, folder: PathBuf, quiet: Option<Duration>) -> Self {
        // The watch begins before the first reading, so that no change falls between the two.
        let watch = quiet.map(|quiet| Watch::new(&folder, quiet));
        Self {
            control,
            folder,
            watch,
            unread: Unread::default(),
        }
    }

    /// Deploys everything that lies in the folder.
    pub(crate) async fn start(&mut self) {
        let names = match folder::names(&self.folder) {
            Ok(names) => names,
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "cannot read the plugin folder");
                BTreeSet::new()
            }
        };
        // An empty folder may be one that is not mounted yet.
        if !names.is_empty() {
            self.control.forget_others(&names);
        }
        let mut copies = Vec::new();
        for name in names {
            match self.read(&name).await {
                Ok(Some(copy)) => copies.push((name, copy)),
                Ok(None) => {}
                Err(error) => {
                    self.on_unreadable(&name, &error);
                    self.unread.on_failure(Instant::now(), &name);
                }
            }
        }
        self.control.start(copies).await;
    }

    /// Follows the folder for ever, where it is watched, and reads again what could not be read.
    /// Plugins do not wait for each other; changes of one plugin are taken one after the other, so
    /// that the last one read is the last one deployed.
    pub(crate) async fn follow(mut self) {
        let mut watch = self.watch.take();
        let mut unread = std::mem::take(&mut self.unread);
        let this = Arc::new(self);
        let mut updates = JoinSet::new();
        let (mut busy, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        loop {
            tokio::select! {
                name = next(&mut watch, &mut unread) => {
                    if busy.insert(name.clone()) {
                        updates.spawn(Arc::clone(&this).update(name));
                    } else {
                        waiting.insert(name);
                    }
                }
                Some(ended) = updates.join_next() => {
                    let Ok(Updated { name, read }) = ended else {
                        // A panic has no name: every plugin may be updated again.
                        warn!("a deployment ended by a panic");
                        busy.clear();
                        continue;
                    };
                    busy.remove(&name);
                    if read == Reading::Failed {
                        unread.on_failure(Instant::now(), &name);
                    } else {
                        unread.0.remove(&name);
                    }
                    if (waiting.remove(&name) || read == Reading::Changing)
                        && let Some(watch) = &mut watch
                    {
                        watch.again(name);
                    }
                }
            }
        }
    }

    /// Brings one plugin to what lies in the folder.
    async fn update(self: Arc<Self>, name: String) -> Updated {
        let read = match self.read(&name).await {
            Ok(Some(copy)) => {
                self.control.offer(&name, copy).await;
                Reading::Whole
            }
            Ok(None) => {
                self.control.withdraw(&name).await;
                Reading::Whole
            }
            Err(error) => {
                self.on_unreadable(&name, &error);
                match error {
                    ReadError::Changing(_) => Reading::Changing,
                    ReadError::Unreadable { .. } => Reading::Failed,
                    // It stays too long until it is changed.
                    ReadError::TooLong { .. } => Reading::Whole,
                }
            }
        };
        Updated { name, read }
    }

    async fn read(&self, name: &str) -> Result<Option<Copy>, ReadError> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        let reading = spawn_blocking(move || {
            let package = folder::read(&folder, &name)?;
            Ok(package.map(|package| {
                let manifest = package.manifest.map(|(_, text)| text);
                Copy::new(package.component, manifest)
            }))
        });
        reading.await.unwrap_or_else(|error| {
            let (path, source) = (self.folder.clone(), io::Error::other(error));
            Err(ReadError::Unreadable { path, source })
        })
    }

    fn on_unreadable(&self, name: &str, error: &ReadError) {
        match error {
            ReadError::Changing(_) => debug!(plugin = name, %error, "reading again"),
            ReadError::Unreadable { .. } | ReadError::TooLong { .. } => {
                warn!(plugin = name, folder = %self.folder.display(), %error, "plugin not read");
            }
        }
    }
}

/// The next plugin to read, because it changed or because it could not be read.
async fn next(watch: &mut Option<Watch>, unread: &mut Unread) -> String {
    let changed = async {
        match watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        name = changed => name,
        name = unread.next() => name,
    }
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
