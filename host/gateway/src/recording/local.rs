//! Replays by a component of this machine, without a gateway: compiled into the user's cache, with a store
//! of its own that is removed afterwards.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_wasm::{
    CallReplayer, Plugin, RecordedCall, ReplayedCall, Runtime, RuntimeConfig, RuntimeError,
};

use super::line::RecordingHeader;
use crate::{
    config::{Config, Manifest},
    plugins::folder::Package,
};

/// A component that replays calls.
pub(crate) struct LocalReplay {
    plugin: Plugin,
    runtime: Arc<Runtime>,
    _scratch: Scratch,
    /// The terms of the calls that came last, and what replays under them.
    replayer: Option<(Arc<RecordingHeader>, CallReplayer)>,
}

/// Why a component cannot replay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalReplayError {
    #[error("no folder for the replay below {path}: {source}", path = path.display())]
    NoFolder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("{name}.toml: {faults}")]
    Manifest { name: String, faults: String },
    #[error("the component is refused: {0}")]
    Refused(String),
}

impl LocalReplay {
    /// Brings up the component of `package` under the name `plugin`, which errors name. `compiled` is where
    /// compiled code is kept.
    ///
    /// # Errors
    /// Everything in `LocalReplayError`.
    pub(crate) async fn new(
        plugin: &str,
        package: Package,
        config: &Config,
        compiled: Option<PathBuf>,
    ) -> Result<Self, LocalReplayError> {
        let scratch = Scratch::new()?;
        let manifest = match &package.manifest {
            None => Manifest::absent(config),
            Some((_, text)) => {
                let name = format!("{plugin}.toml");
                Manifest::parse(&name, text, config).map_err(|faults| {
                    LocalReplayError::Manifest {
                        name: plugin.to_owned(),
                        faults: faults.to_string(),
                    }
                })?
            }
        };
        let runtime = Runtime::new(RuntimeConfig {
            data_dir: scratch.0.clone(),
            cache_dir: compiled,
            ..RuntimeConfig::default()
        })?;
        let plugin = Plugin::new(&runtime, plugin);
        let deployed = plugin
            .deploy(package.component, manifest.spec(config, false))
            .await;
        deployed.map_err(|refusal| {
            let text = format!("{}: {}", refusal.stage, refusal.reason);
            LocalReplayError::Refused(text)
        })?;
        Ok(Self {
            plugin,
            runtime,
            _scratch: scratch,
            replayer: None,
        })
    }

    /// Replays one call, which stands behind `header`.
    ///
    /// # Errors
    /// Why it cannot be replayed.
    pub(crate) async fn replay(
        &mut self,
        header: &Arc<RecordingHeader>,
        call: &RecordedCall,
    ) -> Result<ReplayedCall, String> {
        let known = self.replayer.take();
        let replayer = match known {
            Some((of, replayer)) if Arc::ptr_eq(&of, header) => replayer,
            Some(_) | None => self.plugin.replayer(header.terms())?,
        };
        let replayed = replayer.replay(call).await;
        self.replayer = Some((Arc::clone(header), replayer));
        replayed
    }

    /// Takes it down.
    pub(crate) async fn close(mut self) {
        self.replayer = None;
        self.plugin.remove().await;
        self.runtime.shutdown();
    }
}

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, LocalReplayError> {
        let parent = std::env::temp_dir();
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let id = std::process::id();
        let mut paths = (0..SCRATCH_TRIES).map(|n| parent.join(format!("postern-replay-{id}-{n}")));
        // Whatever a process of the same number has left is not touched.
        let made = paths.find_map(|path: PathBuf| match builder.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            made => Some(made.map(|()| path)),
        });
        let made = made.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()));
        let path: &Path = &parent;
        made.map(Self).map_err(|source| LocalReplayError::NoFolder {
            path: path.to_owned(),
            source,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the folder for such things.
        drop(fs::remove_dir_all(&self.0));
    }
}

const SCRATCH_TRIES: usize = 1000;
