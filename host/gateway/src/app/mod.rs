//! A gateway from its configuration to its end: everything is built here, in the order in which one
//! part needs another, and taken down in the reverse.
//!
//! ```text
//! log → runtime → control → pipeline → listeners open → plugins deployed → ready
//! signal → not ready (drain-delay) → listeners drain (bounded) → plugins end → operators' listener closes → end
//! ```

mod background;
pub(crate) mod brokered;
mod check;
pub(crate) mod gateway;
pub(crate) mod http_listener;
mod issuing;
pub(crate) mod listener;
mod listener_settings;
mod listeners;
mod mqtt_listener;
mod parts;
mod redis_listener;
mod reload;
mod restart_key;
mod schema_watch;
mod signals;
mod sockets;
mod transports;
mod velithon_listener;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use postern_core::{
    Transport,
    registry::{Address, directory::ConfigError},
};
use postern_net::{
    ByteBudget, LocalAddress, PassedSockets, Shutdown, SocketListener, dial, pool::PoolConfigError,
};
use postern_system::clock;
use postern_wasm::{Runtime, RuntimeError, StoreError};
use tracing::{info, warn};

pub(crate) use self::check::{Checked, check, check_component};
use self::{
    brokered::Brokered,
    gateway::Gateway,
    listener::{ADMIN, BindError, BoundAddress},
    listener_settings::ListenerDependencies,
    listeners::Listeners,
    parts::Parts,
    reload::Reload,
    restart_key::restart_key,
    signals::Signals,
    sockets::OwnerError,
};
use crate::{
    certificates::CertificatesError,
    config::{Config, Faults, ListenAddress, Loaded},
    control::{Control, Missing, UpstreamSchemaError},
    events::EventStoreError,
    guard::{Failures, Guard, GuardError},
    pipeline::{Pipeline, PipelineRules, PipelineSettings},
    plugins::deployer::Deployer,
    proto::PoolDetails,
    sources::troubles::SourceTroubles,
    telemetry::log::{self, LogError, LogLevelHandle},
};

/// A gateway whose listeners are open.
pub(crate) struct App {
    gateway: Arc<Gateway>,
    pipeline: Arc<Pipeline>,
    control: Arc<Control>,
    runtime: Arc<Runtime>,
    listeners: Listeners,
    admin: Option<SocketListener>,
    deployer: Deployer,
    log: LogLevelHandle,
}

/// Where a gateway serves, for people.
#[derive(Debug, Clone)]
pub(crate) struct ServingAddresses {
    /// By the listener's name.
    pub listeners: BTreeMap<String, Vec<BoundAddress>>,
    pub admin: Option<LocalAddress>,
    pub plugin_folder: PathBuf,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("data-dir {}: {source}", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("components cannot be run: {0}")]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("directory: {0}")]
    Directory(#[from] ConfigError),
    #[error("schemas of the gateway's own services: {0}")]
    Schemas(#[from] Faults),
    #[error("directory: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Events(#[from] EventStoreError),
    #[error("{0}")]
    Topics(postern_core::Error),
    #[error("mqtt: {0}")]
    Mqtt(postern_core::Error),
    #[error("stores: {0}")]
    KeyValues(#[from] postern_core::Error),
    #[error("pool: {0}")]
    Pool(#[from] PoolConfigError),
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error(transparent)]
    UpstreamSchemas(#[from] UpstreamSchemaError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("signals cannot be followed: {0}")]
    Signals(io::Error),
}

/// Starts a gateway and serves until `shutdown` or a signal; `announce` is told where. Listeners may
/// be given sockets that were `passed`.
///
/// # Errors
/// Why it does not start.
pub(crate) async fn run(
    loaded: Loaded,
    passed: PassedSockets,
    shutdown: Shutdown,
    announce: impl FnOnce(&ServingAddresses),
) -> Result<(), StartError> {
    // Before anything is opened: a signal that comes meanwhile counts afterwards.
    let signals = Signals::new().map_err(StartError::Signals)?;
    // Boxed: what is built on the way is large, and nobody else's concern.
    let app = Box::pin(App::start(loaded, passed, shutdown)).await?;
    announce(&app.serving());
    let gateway = Arc::clone(app.gateway());
    tokio::select! {
        () = app.serve() => Ok(()),
        never = signals.follow(&gateway) => match never {},
    }
}

fn tell_service_links(loaded: &Loaded) {
    let links = loaded.service_links();
    if !links.is_empty() {
        let variables = links.join(" ");
        info!(%variables, "service links of an orchestrator, no keys: left alone");
    }
}

impl App {
    /// Builds everything and opens the listeners. Calls are answered `unavailable` or `not-found` until
    /// `serve` has deployed the plugins.
    ///
    /// # Errors
    /// Why it does not start; nothing is left behind.
    pub(crate) async fn start(
        loaded: Loaded,
        passed: PassedSockets,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let config = loaded.config.clone();
        let log = log::install(&config.log)?;
        tell_service_links(&loaded);
        let Parts {
            runtime,
            control,
            pipeline,
            book,
            certificates,
            mqtt,
            redis,
            stores,
        } = Parts::build(&config).await?;
        if loaded.is_development {
            runtime.tell_callers();
        }

        stores.set_events(control.events().clone());
        stores.apply(&config, &certificates);
        let dependencies = ListenerDependencies {
            pipeline: Arc::clone(&pipeline),
            transports: Arc::default(),
            bytes: Arc::new(ByteBudget::new(config.calls.held_bytes_max.octets())),
            certificates,
            passed: Arc::new(passed),
            restart_key: restart_key(&runtime.records("quic")?).await?,
            routes: control.fleet().http_routes().clone(),
            methods: control.known_methods(),
            details: Arc::new(PoolDetails::new(Arc::clone(control.fleet().schemas()))),
            mqtt,
            redis,
        };
        let mut listeners = Listeners::new(dependencies.clone(), shutdown.clone());
        listeners.apply(&config).await?;
        let addresses = announced(&listeners.bound_addresses());
        control.directory().set_addresses(addresses);
        let admin = bind_admin(&config, &dependencies.passed)?;
        warn_of_unused(&config, &dependencies.passed);
        let troubles = Arc::new(SourceTroubles::new(control.readiness().clone()));
        let deployer = deployer(&config, &control, &troubles);
        let tls = dependencies.certificates.upstream();
        let brokered = Brokered::new(control.events(), &pipeline, &stores, tls);
        let gateway = Gateway::new(
            (Arc::clone(&control), brokered),
            book,
            &dependencies,
            stores,
            loaded,
            troubles,
            shutdown.clone(),
        );
        let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
        gateway.set_admin_address(admin_address);
        gateway.set_bound_addresses(listeners.bound_addresses(), listeners.lost());
        Ok(Self {
            gateway: Arc::new(gateway),
            pipeline,
            control,
            runtime,
            listeners,
            admin,
            deployer,
            log,
        })
    }

    /// What is shared with whoever looks at the gateway.
    #[must_use]
    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    #[must_use]
    pub(crate) fn serving(&self) -> ServingAddresses {
        let admin = self
            .admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        ServingAddresses {
            listeners: self.listeners.bound_addresses(),
            admin,
            plugin_folder: self.gateway.loaded().config.plugins.folder.clone(),
        }
    }

    /// Deploys the plugins and serves until the shutdown has drained.
    pub(crate) async fn serve(mut self) {
        // The operators' listener outlives the others: it shows how they drain.
        let last = Shutdown::new();
        let mut tasks = background::spawn(&self.gateway, self.admin, &last);
        let reload = Reload {
            gateway: Arc::clone(&self.gateway),
            pipeline: Arc::clone(&self.pipeline),
            log: self.log,
        };
        let following = reload.follow(self.listeners);
        let plugins = async {
            self.deployer.start().await;
            // Whoever is to handle what comes from brokers is there.
            self.gateway.apply_brokered();
            for Missing { subject, reason } in self.control.missing() {
                warn!(subject, reason, "asked for and not there: serving without");
            }
            self.gateway.set_started();
            info!(plugins = self.control.names().len(), "ready");
            tokio::join!(
                self.deployer.follow(),
                self.control.follow_directory(),
                self.control.follow_remote_services(),
                self.control.follow_schemas(),
                self.control.follow_refusals(),
                self.control.follow_traps(),
                self.control.follow_versions(),
                background::check_health(&self.gateway)
            );
        };
        let listeners = tokio::select! {
            listeners = following => listeners,
            // Never ends by itself.
            () = plugins => return,
        };
        listeners.closed().await;
        close(&self.gateway).await;
        self.runtime.shutdown();
        last.drain();
        while tasks.join_next().await.is_some() {}
        info!("ended");
    }
}

/// Ends what calls went through, in the reverse order of its making: none is under way any more.
async fn close(gateway: &Gateway) {
    let control = gateway.control();
    gateway.mqtt().close(gateway.shutdown().ended()).await;
    gateway.brokered().close().await;
    // Calls have ended; what is open to other gateways is closed in order.
    control.fleet().pool().close().await;
    let limit = gateway.loaded().config.plugins.drain_timeout;
    tokio::select! {
        biased;
        () = control.close() => {}
        () = gateway.shutdown().ended() => warn!("calls of plugins are cut off"),
        () = tokio::time::sleep(limit) => warn!("calls of plugins took too long and are cut off"),
    }
    control.versions_written().await;
    control.events().topics().close().await;
    gateway.stores().close();
}

/// What the configuration says about every call.
fn rules(config: &Config, guard: Option<Arc<Guard>>, failures: Arc<Failures>) -> PipelineRules {
    let settings = PipelineSettings {
        timeout: config.calls.timeout,
        timeout_max: config.calls.timeout_max,
        depth_max: config.calls.depth_max,
        body_bytes_max: config.calls.body_bytes_max.octets(),
        record: config.log.access,
    };
    PipelineRules {
        settings,
        guard,
        failures: Some(failures),
    }
}

/// The count of credentials that are not good: that from `before`, while its bounds are the same.
fn failures(config: &Config, before: Option<&Arc<Failures>>) -> Arc<Failures> {
    let same = before.filter(|before| before.fits(&config.auth));
    let new = || Arc::new(Failures::new(&config.auth, clock::now()));
    same.map_or_else(new, Arc::clone)
}

/// The guard that the configuration asks for, if it asks for one. Reads the files that it names.
fn guard(
    config: &Config,
    before: Option<&Guard>,
    failures: &Arc<Failures>,
) -> Result<Option<Arc<Guard>>, GuardError> {
    if !Guard::is_asked_for(config) {
        return Ok(None);
    }
    let guard = Guard::open(config, before, Arc::clone(failures), clock::now())?;
    Ok(Some(Arc::new(guard)))
}

/// Where other gateways reach this one: its VSTP listeners, one address per transport.
fn announced(bound_addresses: &BTreeMap<String, Vec<BoundAddress>>) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    for bound in bound_addresses.values().flatten() {
        let transport = bound.transport;
        if dial::dialer(transport).is_err() {
            continue;
        }
        // Unix sockets are for this machine.
        let Some(address) = bound.address.socket_addr() else {
            continue;
        };
        let (host, port) = (address.ip().to_string(), address.port());
        if addresses
            .iter()
            .all(|address| address.transport != transport)
            && let Ok(address) = Address::new(transport, host, port)
        {
            addresses.push(address);
        }
    }
    addresses
}

fn deployer(config: &Config, control: &Arc<Control>, troubles: &Arc<SourceTroubles>) -> Deployer {
    let plugins = &config.plugins;
    let quiet = plugins.watch.then_some(plugins.settle);
    let (control, troubles) = (Arc::clone(control), Arc::clone(troubles));
    Deployer::new(control, plugins.folder.clone(), quiet, troubles)
}

fn bind_admin(
    config: &Config,
    passed: &PassedSockets,
) -> Result<Option<SocketListener>, BindError> {
    let admin = &config.admin;
    if !admin.enabled {
        return Ok(None);
    }
    let bound = sockets::stream(&admin.address, &admin.unix, passed).and_then(|listener| {
        let local = listener.local_addr()?;
        sockets::check_place(&local, admin.tls.is_on(), admin.insecure, ADMIN)?;
        Ok((listener, local))
    });
    let (listener, address) = bound.map_err(|source| BindError {
        was_closed: false,
        listener: ADMIN.to_owned(),
        transport: Transport::Http,
        address: admin.address.clone(),
        source,
    })?;
    let reached = address.socket_addr();
    if admin.insecure
        && !admin.tls.is_on()
        && reached.is_some_and(|address| !address.ip().is_loopback())
    {
        warn!(%address, "the admin listener is plain, and other machines may reach it");
    }
    Ok(Some(listener))
}

/// Who connects to a socket that nobody accepts from waits for ever.
fn warn_of_unused(config: &Config, passed: &PassedSockets) {
    let listeners = config.listeners.values();
    let addresses = listeners
        .filter(|listener| listener.enabled)
        .map(|listener| &listener.address);
    let admin = config.admin.enabled.then_some(&config.admin.address);
    let used: Vec<_> = addresses.chain(admin).collect();
    for name in passed.names() {
        if !used.contains(&&ListenAddress::Passed(name.to_owned())) {
            warn!(
                socket = name,
                "passed, and no listener has the address systemd:{name}"
            );
        }
    }
}

#[cfg(test)]
mod tests;
