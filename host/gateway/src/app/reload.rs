//! A change of the configuration file is applied whole or not at all; either way it is logged and
//! counted, and what it does not touch goes on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{announced, door::BindError, gateway::Gateway, guard, listeners::Listeners, rules};
use crate::{
    config::{Config, LoadError, Loaded},
    guard::{Guard, GuardError, refresh},
    pipeline::Pipeline,
    telemetry::log::{LogError, LogLevel},
};

/// Applies changes of the configuration.
pub(crate) struct Reload {
    pub gateway: Arc<Gateway>,
    pub pipeline: Arc<Pipeline>,
    pub log: LogLevel,
}

/// Why a change is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{key} cannot change while the gateway runs; restart it")]
    Cold { key: &'static str },
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Reload {
    /// Follows the file for ever.
    pub(crate) async fn follow(self, mut listeners: Listeners) -> Listeners {
        let mut changes = Changes::since(&self.gateway.loaded());
        let draining = self.gateway.shutdown().clone();
        let mut guard = self.pipeline.rules().guard.clone();
        loop {
            tokio::select! {
                () = changes.next() => {
                    self.on_change(&mut listeners).await;
                    guard = self.pipeline.rules().guard.clone();
                }
                () = self.gateway.asked_to_read_again() => {
                    self.on_change(&mut listeners).await;
                    guard = self.pipeline.rules().guard.clone();
                    read_key_files(guard.clone()).await;
                }
                () = keep_fresh(guard.clone()) => {}
                () = draining.draining() => return listeners,
            }
        }
    }

    async fn on_change(&self, listeners: &mut Listeners) {
        match self.apply(listeners).await {
            Ok(false) => debug!("the configuration is as it was"),
            Ok(true) => info!("configuration applied"),
            Err(error) => {
                self.gateway.count_refused_reload();
                warn!(reason = %error, "configuration refused, the one before stays in force");
            }
        }
    }

    /// Says whether anything changed.
    async fn apply(&self, listeners: &mut Listeners) -> Result<bool, ReloadError> {
        let before = self.gateway.loaded();
        let after = before.reload()?;
        if after.config == before.config {
            return Ok(false);
        }
        check_cold(&before.config, &after.config)?;
        // What can fail comes first; what follows cannot.
        let guard = {
            let (config, before) = (after.config.clone(), self.pipeline.rules().guard.clone());
            let opening = move || guard(&config, before.as_deref());
            let opened = tokio::task::spawn_blocking(opening).await;
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        };
        self.log.apply(&after.config.log)?;
        if let Err(error) = listeners.apply(&after.config).await {
            self.log.apply(&before.config.log)?;
            self.gateway.set_places(listeners.places());
            return Err(error.into());
        }
        self.gateway.set_places(listeners.places());
        let addresses = announced(&listeners.places());
        self.gateway.control().directory().set_addresses(addresses);
        self.pipeline.apply(rules(&after.config, guard));
        self.apply_to_plugins(&before, &after).await;
        self.gateway.set_loaded(after);
        Ok(true)
    }

    async fn apply_to_plugins(&self, before: &Loaded, after: &Loaded) {
        let control = self.gateway.control();
        control.apply(after.config.clone());
        let (old, new) = (&before.config, &after.config);
        let is_same = old.plugins.limits == new.plugins.limits
            && old.plugins.instances == new.plugins.instances
            && old.calls == new.calls;
        if !is_same {
            control.redeploy().await;
        }
    }
}

/// Fetches keys and reads files again, where there is a guard. Never completes.
async fn keep_fresh(guard: Option<Arc<Guard>>) {
    match guard {
        Some(guard) => refresh(guard).await,
        None => std::future::pending().await,
    }
}

/// Reads the files of keys now. Keys that cannot be read leave those from before.
async fn read_key_files(guard: Option<Arc<Guard>>) {
    let Some(guard) = guard else { return };
    let reading = tokio::task::spawn_blocking(move || guard.reread());
    if let Err(error) = reading.await {
        warn!(%error, "reading files of keys panicked");
    }
}

/// Keys that are read once.
fn check_cold(before: &Config, after: &Config) -> Result<(), ReloadError> {
    let changed = [
        ("data-dir", before.data_dir != after.data_dir),
        (
            "plugins.folder",
            before.plugins.folder != after.plugins.folder,
        ),
        ("plugins.watch", before.plugins.watch != after.plugins.watch),
        (
            "plugins.settle",
            before.plugins.settle != after.plugins.settle,
        ),
        (
            "plugins.health-interval",
            before.plugins.health_interval != after.plugins.health_interval,
        ),
        ("pool", before.pool != after.pool),
        ("admin.enabled", before.admin.enabled != after.admin.enabled),
        ("admin.address", before.admin.address != after.admin.address),
        ("log.format", before.log.format != after.log.format),
    ];
    match changed.into_iter().find(|(_, has_changed)| *has_changed) {
        Some((key, _)) => Err(ReloadError::Cold { key }),
        None => Ok(()),
    }
}

/// Changes of one file, however an editor makes them.
struct Changes {
    file: PathBuf,
    /// Owns the notices; `None` where the system gives none.
    _watcher: Option<notify::RecommendedWatcher>,
    notices: mpsc::UnboundedReceiver<()>,
    seen: Option<Vec<u8>>,
}

impl Changes {
    /// Whatever the file holds beyond what was loaded is a change, also one made before anybody
    /// watched.
    fn since(loaded: &Loaded) -> Self {
        let file = loaded.file_to_watch();
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let (sender, notices) = mpsc::unbounded_channel();
        let name = file.file_name().map(ToOwned::to_owned);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let concerns = |event: &notify::Event| {
                event
                    .paths
                    .iter()
                    .any(|path| path.file_name() == name.as_deref())
            };
            if event.is_ok_and(|event| !event.kind.is_access() && concerns(&event)) {
                // Fails only when nobody follows the file any more.
                let _ = sender.send(());
            }
        });
        // The folder, not the file: editors replace the file by another.
        let folder = file.parent().map(ToOwned::to_owned).unwrap_or_default();
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watcher
            .inspect_err(
                |error| warn!(%error, "no notices of a changed configuration, looking instead"),
            )
            .ok();
        let seen = loaded
            .file
            .as_ref()
            .map(|_| loaded.text.clone().into_bytes());
        Self {
            file,
            _watcher: watcher,
            notices,
            seen,
        }
    }

    /// Completes when the file holds something else than before.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.notices.recv() => {
                    tokio::time::sleep(PAUSE).await;
                    while self.notices.try_recv().is_ok() {}
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let held = tokio::fs::read(&self.file).await.ok();
            // An editor may take the file away for a moment.
            if held.is_some() && held != self.seen {
                self.seen = held;
                return;
            }
        }
    }
}

/// Editors write, rename and touch in quick succession.
const PAUSE: Duration = Duration::from_millis(50);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
