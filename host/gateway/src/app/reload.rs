//! A change of the configuration file is applied whole or not at all; either way it is logged and
//! counted, and what it does not touch goes on.
//!
//! ```text
//! version ──▶ parsed ──▶ guard opened ──▶ listeners bound ──▶ in force
//!    ▲          │            │                 │
//!    │          └────────────┴────refused──────┘
//!    └─ another version, or the same saved again; a file that it names changes; a while after what may pass
//! ```

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_system::clock;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::{
    announced, failures, gateway::Gateway, guard, listener::BindError, listeners::Listeners, rules,
    schema_watch::SchemaWatch,
};
use crate::{
    certificates::{self, Certificates, CertificatesError},
    config::{Config, LoadError, Loaded},
    control::{UpstreamSchemaError, UpstreamSchemas},
    guard::{Guard, GuardError, files_read, maintain},
    pipeline::Pipeline,
    readiness::ReasonKind,
    sources::{
        files::{FileVersion, FileWatch},
        sight::ReadError,
    },
    telemetry::log::{LogError, LogLevelHandle},
};

/// Applies changes of the configuration.
pub(crate) struct Reload {
    pub gateway: Arc<Gateway>,
    pub pipeline: Arc<Pipeline>,
    pub log: LogLevelHandle,
}

/// Why a change is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("{key} cannot change while the gateway runs; restart it")]
    Cold { key: &'static str },
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error(transparent)]
    Schemas(#[from] UpstreamSchemaError),
    #[error("{0}")]
    Topics(postern_core::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A version of the configuration that is not in force.
struct Refused {
    version: FileVersion,
    reason: String,
    /// Files that it names: a change of one of them may help.
    needs: BTreeSet<PathBuf>,
    /// When to try again what may pass by itself.
    retry: Option<Retry>,
}

/// When something is tried again by itself: each pause is twice the one before.
#[derive(Debug, Clone, Copy)]
struct Retry {
    pause: Duration,
    at: Instant,
}

/// Every file that the configuration is made of.
struct Files {
    configuration: FileWatch,
    /// Of the guard in force.
    keys: FileWatch,
    /// Of the listeners and dialers in force.
    certificates: CertificateWatch,
    /// Of schemas of services elsewhere.
    schemas: SchemaWatch,
    /// Of a configuration that was refused.
    needed: FileWatch,
}

struct CertificateWatch {
    /// Of listeners and dialers.
    named: FileWatch,
    /// Of what an authority issues. They may come to be at any time, and nothing is wrong until then.
    issued: FileWatch,
}

impl Reload {
    /// Follows the file for ever.
    pub(crate) async fn follow(self, mut listeners: Listeners) -> Listeners {
        let mut files = Files::open(&self.gateway);
        let draining = self.gateway.shutdown().clone();
        let mut refused: Option<Refused> = None;
        // Listeners that should be open and are not.
        let mut lost: Option<Retry> = None;
        let mut redeploys = JoinSet::new();
        let mut guard = self.pipeline.rules().guard.clone();
        files.follow_keys(guard.as_deref());
        loop {
            let failures = self.pipeline.rules().failures.clone();
            let again = refused.as_ref().and_then(|refused| refused.retry);
            let (version, before) = tokio::select! {
                version = files.configuration.next() => (version, None),
                _ = files.needed.next() => {
                    let Some(before) = refused.take() else { continue };
                    (before.version.clone(), Some(before))
                }
                version = files.certificates.next() => {
                    let certificates = self.gateway.certificates();
                    certificates.on_version(&version, self.gateway.readiness());
                    continue;
                }
                () = files.schemas.next() => {
                    files.schemas.read(&self.gateway).await;
                    continue;
                }
                () = self.gateway.asked_to_read_again() => {
                    files.read_again();
                    continue;
                }
                () = until(again) => {
                    let Some(before) = refused.take() else { continue };
                    (before.version.clone(), Some(before))
                }
                () = until(lost) => {
                    self.open_lost(&mut listeners);
                    lost = Retry::while_lost(&listeners, lost.map(Retry::next));
                    continue;
                }
                () = maintain(guard.clone(), failures, &mut files.keys) => continue,
                Some(ended) = redeploys.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "deploying plugins again ended by a panic");
                    }
                    continue;
                }
                () = draining.draining() => return listeners,
            };
            refused = tokio::select! {
                refused = self.on_version(&mut listeners, &mut redeploys, version, before) => refused,
                () = draining.draining() => return listeners,
            };
            lost = Retry::while_lost(&listeners, lost);
            files.needed.set(
                &refused
                    .as_ref()
                    .map_or_else(BTreeSet::new, |refused| refused.needs.clone()),
            );
            files.certificates.set(self.gateway.certificates());
            files.schemas.follow(&self.gateway);
            let after = self.pipeline.rules().guard.clone();
            let which = |guard: Option<&Arc<Guard>>| guard.map(Arc::as_ptr);
            if which(guard.as_ref()) != which(after.as_ref()) {
                guard = after;
                files.follow_keys(guard.as_deref());
            }
        }
    }

    /// Applies `version`, which was refused `before` where it is tried again by itself.
    async fn on_version(
        &self,
        listeners: &mut Listeners,
        redeploys: &mut JoinSet<()>,
        version: FileVersion,
        before: Option<Refused>,
    ) -> Option<Refused> {
        let (error, needs) = match self.load(&version) {
            Err(error) => (error, BTreeSet::new()),
            Ok(after) => {
                let mut needs = files_read(&after.config.auth);
                needs.extend(certificates::files_of(&after.config));
                needs.extend(UpstreamSchemas::paths(&after.config).cloned());
                match self.apply(listeners, redeploys, after).await {
                    Ok(has_changed) => {
                        match has_changed {
                            true => info!("configuration applied"),
                            false => {
                                debug!("the configuration is as it was");
                                self.open_lost(listeners);
                            }
                        }
                        self.gateway.readiness().clear(ReasonKind::Config, "");
                        return None;
                    }
                    Err(error) => (error, needs),
                }
            }
        };
        let reason = error.to_string();
        if before
            .as_ref()
            .is_some_and(|before| before.reason == reason)
        {
            debug!(%reason, "configuration refused again");
        } else {
            self.gateway.count_refused_reload();
            warn!(%reason, "configuration refused, the one before stays in force");
            let readiness = self.gateway.readiness();
            readiness.raise(ReasonKind::Config, "", reason.as_str());
        }
        let retry = before.and_then(|before| before.retry);
        let retry = retry.map_or_else(Retry::first, Retry::next);
        Some(Refused {
            version,
            reason,
            needs,
            retry: error.may_pass().then_some(retry),
        })
    }

    /// Tries to open listeners that should be open and are not.
    fn open_lost(&self, listeners: &mut Listeners) {
        if listeners.open_lost() {
            self.on_bound(listeners);
        }
    }

    /// Listeners have opened or closed.
    fn on_bound(&self, listeners: &Listeners) {
        let addresses = announced(&listeners.bound_addresses());
        self.gateway
            .set_bound_addresses(listeners.bound_addresses(), listeners.lost());
        self.gateway.control().directory().set_addresses(addresses);
    }

    fn load(&self, version: &FileVersion) -> Result<Loaded, ReloadError> {
        let text = String::from_utf8(version.bytes.clone());
        let text = text.map_err(|_| ReloadError::NotText(version.path.clone()))?;
        Ok(self.gateway.loaded().with_text(text)?)
    }

    /// Says whether anything changed. Plugins are deployed again in `redeploys`: keys are followed and
    /// signals seen meanwhile.
    async fn apply(
        &self,
        listeners: &mut Listeners,
        redeploys: &mut JoinSet<()>,
        after: Loaded,
    ) -> Result<bool, ReloadError> {
        let before = self.gateway.loaded();
        if after.config == before.config {
            return Ok(false);
        }
        check_cold(&before.config, &after.config)?;
        // What can fail comes first; what follows cannot.
        let rules_before = self.pipeline.rules();
        let failures = failures(&after.config, rules_before.failures.as_ref());
        let guard = {
            let (config, failures) = (after.config.clone(), Arc::clone(&failures));
            let opening = move || guard(&config, rules_before.guard.as_deref(), &failures);
            let opened = tokio::task::spawn_blocking(opening).await;
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        };
        let certificates = {
            let (certificates, config) = (
                Arc::clone(self.gateway.certificates()),
                after.config.clone(),
            );
            let preparing = move || certificates.prepare(&config);
            let prepared = tokio::task::spawn_blocking(preparing).await;
            prepared.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        };
        let schemas = {
            let before = self.gateway.control().fleet().grpc().schemas();
            let config = after.config.clone();
            let reading = move || UpstreamSchemas::read(&config, &before);
            let read = tokio::task::spawn_blocking(reading).await;
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        };
        let topics = Arc::clone(self.gateway.control().events().topics());
        let logs = topics.prepare(&after.config).await;
        let logs = logs.map_err(ReloadError::Topics)?;
        self.log.apply(&after.config.log)?;
        let undo = self.gateway.certificates().apply(certificates);
        if let Err(error) = listeners.apply(&after.config).await {
            drop(self.gateway.certificates().apply(undo));
            self.log.apply(&before.config.log)?;
            self.on_bound(listeners);
            return Err(error.into());
        }
        self.on_bound(listeners);
        self.gateway.certificates().tell(self.gateway.readiness());
        let certificates = self.gateway.certificates();
        self.gateway.stores().apply(&after.config, certificates);
        self.pipeline.apply(rules(&after.config, guard, failures));
        self.gateway.control().fleet().grpc().set_schemas(schemas);
        topics.apply(logs);
        self.gateway.mqtt().apply(&after.config);
        self.apply_to_plugins(redeploys, &before, &after);
        self.gateway.set_loaded(after);
        self.gateway.apply_brokered();
        Ok(true)
    }

    fn apply_to_plugins(&self, redeploys: &mut JoinSet<()>, before: &Loaded, after: &Loaded) {
        let control = self.gateway.control();
        control.apply(after.config.clone());
        let (old, new) = (&before.config, &after.config);
        let is_same = old.plugins.limits == new.plugins.limits
            && old.plugins.instances == new.plugins.instances
            && old.plugins.kv == new.plugins.kv
            && old.plugins.approval == new.plugins.approval
            && old.plugins.signatures == new.plugins.signatures
            && old.calls == new.calls;
        if !is_same {
            let control = Arc::clone(control);
            redeploys.spawn(async move { control.redeploy().await });
        }
    }
}

impl Retry {
    fn first() -> Self {
        Self {
            pause: PASSING_PAUSE,
            at: clock::now() + PASSING_PAUSE,
        }
    }

    fn next(self) -> Self {
        let pause = (self.pause * 2).min(PASSING_PAUSE_MAX);
        Self {
            pause,
            at: clock::now() + pause,
        }
    }

    /// The pause that is under way, or the first, while a listener is missing.
    fn while_lost(listeners: &Listeners, under_way: Option<Self>) -> Option<Self> {
        let is_lost = !listeners.lost().is_empty();
        is_lost.then(|| under_way.unwrap_or_else(Self::first))
    }
}

impl ReloadError {
    /// Whether it may go away without a change of any file.
    fn may_pass(&self) -> bool {
        match self {
            Self::Bind(error) => !error.was_closed,
            Self::Guard(GuardError::File(ReadError::Unreadable { .. }))
            | Self::Certificates(CertificatesError::File {
                source: ReadError::Unreadable { .. },
                ..
            })
            | Self::Topics(_) => true,
            Self::Load(_)
            | Self::NotText(_)
            | Self::Cold { .. }
            | Self::Guard(_)
            | Self::Certificates(_)
            | Self::Schemas(_)
            | Self::Log(_) => false,
        }
    }
}

impl Files {
    fn open(gateway: &Gateway) -> Self {
        let loaded = gateway.loaded();
        let (settle, troubles) = (loaded.config.plugins.settle, gateway.troubles());
        let interval = loaded.config.auth.files_interval;
        let mut configuration = FileWatch::new(settle, LOOK_INTERVAL, Some(Arc::clone(troubles)));
        let held = loaded.file.as_ref().map(|_| loaded.text.as_bytes());
        configuration.add(loaded.file_to_watch(), held);
        let mut certificates = CertificateWatch {
            named: FileWatch::new(settle, LOOK_INTERVAL, Some(Arc::clone(troubles))),
            issued: FileWatch::new(settle, LOOK_INTERVAL, None),
        };
        certificates.set(gateway.certificates());
        Self {
            configuration,
            certificates,
            schemas: SchemaWatch::new(gateway),
            keys: FileWatch::new(settle, interval, Some(Arc::clone(troubles))),
            needed: FileWatch::new(settle, LOOK_INTERVAL, None),
        }
    }

    /// Takes every file as if it had just been saved.
    fn read_again(&mut self) {
        self.configuration.read_again();
        self.keys.read_again();
        self.certificates.read_again();
        self.schemas.read_again();
    }

    fn follow_keys(&mut self, guard: Option<&Guard>) {
        let files = guard.map(Guard::files).unwrap_or_default();
        self.keys.set(&files);
        if let Some(guard) = guard {
            self.keys.set_look_interval(guard.files_interval());
        }
    }
}

impl CertificateWatch {
    fn set(&mut self, certificates: &Certificates) {
        self.named.set(&certificates.files());
        self.issued.set(&certificates.issued_files());
    }

    async fn next(&mut self) -> FileVersion {
        tokio::select! {
            version = self.named.next() => version,
            version = self.issued.next() => version,
        }
    }

    fn read_again(&mut self) {
        self.named.read_again();
        self.issued.read_again();
    }
}

async fn until(retry: Option<Retry>) {
    match retry {
        Some(retry) => tokio::time::sleep_until(retry.at.into()).await,
        None => std::future::pending().await,
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
        (
            "admin.tls.certificate-file",
            before.admin.tls.is_on() != after.admin.tls.is_on(),
        ),
        ("admin.address", before.admin.address != after.admin.address),
        ("admin.unix", before.admin.unix != after.admin.unix),
        ("log.format", before.log.format != after.log.format),
    ];
    match changed.into_iter().find(|(_, has_changed)| *has_changed) {
        Some((key, _)) => Err(ReloadError::Cold { key }),
        None => Ok(()),
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Another process lets go of a port within seconds, or keeps it for long.
const PASSING_PAUSE: Duration = Duration::from_secs(1);
const PASSING_PAUSE_MAX: Duration = Duration::from_secs(30);
