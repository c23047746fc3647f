//! Brings what lies in the plugin folder to the control, at the start and at every change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::task::{JoinSet, spawn_blocking};
use tracing::{debug, warn};

use super::{
    folder::{self, ReadError},
    store::Copy,
    watch::{FolderWatch, Unread, WatchedPlugins},
};
use crate::{
    control::{Control, FoundAtStart},
    sources::troubles::{SourceTroubles, Trouble},
};

/// The folder's way to the control.
pub(crate) struct Deployer {
    control: Arc<Control>,
    folder: PathBuf,
    watch: Option<FolderWatch>,
    watched: Option<WatchedPlugins>,
}

impl Deployer {
    /// `quiet` is how long a file that is being written must be left alone; `None` does not watch.
    pub(crate) fn new(
        control: Arc<Control>,
        folder: PathBuf,
        quiet: Option<Duration>,
        troubles: Arc<SourceTroubles>,
    ) -> Self {
        // The watch begins before the first reading, so that no change falls between the two.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let watch = quiet.map(|quiet| {
            let mut watch = FolderWatch::new(&folder, quiet, troubles);
            // Copies of a plugin that was removed meanwhile go by the same rule as at any time.
            watch.expect(&control.kept());
            watch
        });
        Self {
            control,
            folder,
            watched: watch.as_ref().map(FolderWatch::watched),
            watch,
        }
    }

    /// Deploys everything that lies in the folder; of what cannot be read, the last good copy.
    pub(crate) async fn start(&mut self) {
        let names = match folder::names(&self.folder) {
            Ok(names) => names,
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "cannot read the plugin folder");
                BTreeSet::new()
            }
        };
        let (mut found, mut unread) = (Vec::new(), BTreeMap::new());
        for name in names {
            match self.read(&name).await {
                Ok(Some(copy)) => found.push((name, FoundAtStart::Whole(copy))),
                Ok(None) => {}
                Err(error) => {
                    found.push((name.clone(), FoundAtStart::Unread(error.to_string())));
                    unread.insert(name, error);
                }
            }
        }
        self.control.start(found).await;
        for (name, error) in unread {
            self.on_unreadable(&name, error);
        }
    }

    /// Follows the folder for ever, where it is watched. Plugins do not wait for each other; changes of
    /// one plugin are taken one after the other, so that the last one read is the last one deployed.
    pub(crate) async fn follow(mut self) {
        let Some(mut watch) = self.watch.take() else {
            return std::future::pending().await;
        };
        let this = Arc::new(self);
        let mut updates = JoinSet::new();
        let (mut busy, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let mut names = HashMap::new();
        loop {
            tokio::select! {
                name = watch.next() => {
                    if busy.insert(name.clone()) {
                        let task = updates.spawn(Arc::clone(&this).update(name.clone()));
                        names.insert(task.id(), name);
                    } else {
                        waiting.insert(name);
                    }
                }
                Some(ended) = updates.join_next_with_id() => {
                    let (task, is_whole) = ended.unwrap_or_else(|error| {
                        warn!(%error, "a deployment ended by a panic");
                        (error.id(), true)
                    });
                    let Some(name) = names.remove(&task) else { continue };
                    busy.remove(&name);
                    if waiting.remove(&name) || !is_whole {
                        watch.again(name);
                    }
                }
            }
        }
    }

    /// Brings one plugin to what lies in the folder; says whether nobody wrote to its files meanwhile.
    async fn update(self: Arc<Self>, name: String) -> bool {
        let mut is_whole = true;
        match self.read_signed(&name).await {
            Ok(Some(copy)) => drop(self.control.offer(&name, copy).await),
            // The folder is away, or was replaced: the plugin stays.
            Ok(None) if !self.is_removed(&name) => {}
            Ok(None) => drop(self.control.withdraw(&name).await),
            Err(error) => {
                is_whole = !matches!(error, ReadError::Changing(_));
                self.on_unreadable(&name, error);
            }
        }
        is_whole
    }

    /// As `read`. What is not signed as it must be is read again after a while: a component, a manifest and
    /// their signatures are put there one after the other.
    async fn read_signed(&self, name: &str) -> Result<Option<Copy>, ReadError> {
        let copy = self.read(name).await?;
        let pause = match &copy {
            Some(copy) => self.control.pause_for_signature(name, copy).await,
            None => None,
        };
        let Some(pause) = pause else { return Ok(copy) };
        tokio::time::sleep(pause).await;
        self.read(name).await
    }

    async fn read(&self, name: &str) -> Result<Option<Copy>, ReadError> {
        let (folder, plugin) = (self.folder.clone(), name.to_owned());
        let reading = spawn_blocking(move || {
            let package = folder::read(&folder, &plugin)?;
            Ok(package.map(|package| (package.schema_sight.clone(), Copy::from(package))))
        });
        let read = reading.await.unwrap_or_else(|error| {
            let (path, source) = (self.folder.clone(), io::Error::other(error));
            Err(ReadError::Unreadable { path, source })
        })?;
        match &self.watched {
            Some(watched) if watched.is_changing(name) => {
                Err(ReadError::Changing(self.folder.join(name)))
            }
            Some(watched) => {
                let (sight, copy) = read.unzip();
                watched.on_read(name, sight);
                Ok(copy)
            }
            None => Ok(read.map(|(_, copy)| copy)),
        }
    }

    fn is_removed(&self, name: &str) -> bool {
        let mut watched = self.watched.iter();
        watched.any(|watched| watched.is_removed(name))
    }

    fn on_unreadable(&self, name: &str, error: ReadError) {
        let trouble = match &error {
            ReadError::Changing(_) => return debug!(plugin = name, %error, "reading again"),
            ReadError::Empty(path) => (path.clone(), Trouble::Empty),
            ReadError::Unreadable { path, source } => {
                (path.clone(), Trouble::Unreadable(source.to_string()))
            }
            ReadError::TooLong { path, .. } => {
                (path.clone(), Trouble::Unreadable(error.to_string()))
            }
        };
        let (path, trouble) = trouble;
        let is_held = self.control.has_version(name);
        let unread = Unread {
            path,
            trouble,
            is_held,
        };
        let watched = self.watched.as_ref();
        let is_new = watched.is_none_or(|watched| watched.on_unread(name, unread));
        // Of one that has been read before, the trouble tells.
        if is_new && !is_held {
            warn!(plugin = name, folder = %self.folder.display(), %error, "plugin not read");
        }
    }
}
