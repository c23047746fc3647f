//! `check`: builds what `run` builds and deploys what it deploys, in a folder of its own, and binds
//! and serves nothing.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_wasm::Runtime;

use super::{StartError, parts::Parts};
use crate::{
    config::{
        Auth, ChallengeKind, Config, ListenAddress, Loaded,
        tls::{ListenerTls, UpstreamTls},
    },
    control::{FoundAtStart, Missing, PluginView},
    events::{EventStore, store_file},
    plugins::{deployer::Deployer, folder::Package, trust},
    telemetry::log,
};

/// What a gateway would be like.
#[derive(Debug)]
pub(crate) struct Checked {
    pub plugins: Vec<PluginView>,
    /// What it would serve without.
    pub missing: Vec<Missing>,
    /// What it would serve with, and somebody should look at.
    pub warnings: Vec<String>,
}

/// Builds a gateway of `loaded` and its plugins, and takes it down again.
///
/// # Errors
/// Why it would not start, in the words of `run`.
pub(crate) async fn check(loaded: &Loaded) -> Result<Checked, StartError> {
    let config = &loaded.config;
    log::check(&config.log)?;
    check_data_dir(&config.data_dir)?;
    let scratch = Scratch::new()?;
    let parts = Parts::build(&scratch.take_in(config)).await?;
    let folder = config.plugins.folder.clone();
    Deployer::new(Arc::clone(&parts.control), folder, None, Arc::default())
        .start()
        .await;
    let expiring = parts.certificates.expiring().into_iter();
    let expiring = expiring.map(|(file, message)| format!("{file}: {message}"));
    let checked = Checked {
        warnings: expiring.chain(unasked(config)).collect(),
        plugins: parts.control.plugins(),
        missing: parts.control.missing(),
    };
    parts.close().await;
    Ok(checked)
}

/// Where no listener is at the port at which an authority asks, something else must pass that on.
fn unasked(config: &Config) -> Option<String> {
    let kinds = &config.acme.challenges;
    let is_asked = |kind: &ChallengeKind| {
        let mut ports = config.answering(*kind).map(|address| match address {
            ListenAddress::Ip(ip) => Some(ip.port()),
            ListenAddress::Unix(_) | ListenAddress::Passed(_) => None,
        });
        ports.any(|port| port.is_none_or(|port| port == kind.port()))
    };
    if config.acme_names().is_empty() || kinds.iter().any(is_asked) {
        return None;
    }
    let asked = kinds.iter().map(|kind| {
        let addresses: Vec<_> = config.answering(*kind).map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        format!(
            "{} is asked at port {} and answered at {addresses}",
            kind.name(),
            kind.port()
        )
    });
    let asked: Vec<_> = asked.collect();
    let asked = asked.join("; ");
    Some(format!("acme: {asked}: something in front must pass it on"))
}

/// Deploys one component with its manifest, and takes it down again. Files of keys and certificates
/// are not looked at.
///
/// # Errors
/// As `check`.
pub(crate) async fn check_component(
    loaded: &Loaded,
    name: &str,
    package: Package,
) -> Result<Option<PluginView>, StartError> {
    let scratch = Scratch::new()?;
    let mut config = Config {
        auth: Auth::default(),
        upstream_tls: UpstreamTls::default(),
        ..scratch.take_in(&loaded.config)
    };
    config.admin.tls = ListenerTls::default();
    for listener in config.listeners.values_mut() {
        listener.tls = ListenerTls::default();
    }
    let parts = Parts::build(&config).await?;
    parts
        .control
        .start(vec![(name.to_owned(), FoundAtStart::Whole(package.into()))])
        .await;
    let plugin = parts.control.version(name);
    parts.close().await;
    Ok(plugin)
}

impl Parts {
    async fn close(self) {
        self.control.close().await;
        self.control.events().topics().close().await;
        self.runtime.shutdown();
    }
}

/// Whether `run` could write there. A gateway that runs there is in nobody's way; a folder that is
/// made for the check is removed again.
fn check_data_dir(path: &Path) -> Result<(), StartError> {
    let unusable = |source| StartError::DataDir {
        path: path.to_owned(),
        source,
    };
    let absent = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let made: Vec<_> = absent.map(Path::to_owned).collect();
    let checked = fs::create_dir_all(path)
        .map_err(unusable)
        .and_then(|()| Ok(Runtime::check_cache(path)?))
        .and_then(|()| Ok(Runtime::check_store(path)?))
        .and_then(|()| Ok(EventStore::check(&store_file(path))?));
    for folder in made {
        // One that somebody uses meanwhile is not empty and stays.
        drop(fs::remove_dir(folder));
    }
    checked
}

/// A private folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, StartError> {
        let parent = std::env::temp_dir();
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let id = std::process::id();
        let mut paths = (0..SCRATCH_TRIES).map(|n| parent.join(format!("postern-check-{id}-{n}")));
        // Whatever a process of the same number has left is not touched.
        let made = paths.find_map(|path| match builder.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            made => Some(made.map(|()| path)),
        });
        let made = made.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()));
        let made = made.map_err(|source| StartError::DataDir {
            path: parent,
            source,
        })?;
        Ok(Self(made))
    }

    /// `config` with what it writes in here.
    fn take_in(&self, config: &Config) -> Config {
        let mut scratch = Config {
            data_dir: self.0.clone(),
            ..config.clone()
        };
        // Versions are judged by what is known of those that served.
        trust::copy(&config.data_dir, &self.0);
        // What was issued is read where it lies, and nothing is asked for.
        let issued = config.acme.folder.clone();
        scratch.acme.folder = Some(issued.unwrap_or_else(|| config.data_dir.join("acme")));
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the folder for such things.
        drop(fs::remove_dir_all(&self.0));
    }
}

const SCRATCH_TRIES: usize = 1000;
