//! A gateway from its configuration to its end: everything is built here, in the order in which one
//! part needs another, and taken down in the reverse.
//!
//! ```text
//! log → runtime → control → pipeline → doors open → plugins deployed → ready
//! signal → doors drain (bounded) → plugins end → operators' door closes → end
//! ```

pub mod door;
pub mod gateway;
mod listeners;
mod reload;
mod signals;
mod transports;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{
    Handler, Text,
    registry::{Address, address::Scheme, directory::ConfigError},
};
use postern_net::{ClientConfig, Pool, Shutdown, http::Catalog, pool::PoolConfigError};
use postern_wasm::{Runtime, RuntimeConfig, RuntimeError, StoreError};
use tokio::{net::TcpListener, task::JoinSet};
use tracing::{info, warn};

use self::{
    door::{ADMIN, BindError, Inside, Place},
    gateway::Gateway,
    listeners::Listeners,
    reload::Reload,
    transports::Transports,
};
use crate::{
    admin,
    config::{Config, Loaded},
    control::{BuiltIn, Control, Fleet},
    directory::{self, Directory, probes, service},
    events::{self, Events},
    guard::{Guard, GuardError},
    pipeline::{Pipeline, Rules, Settings, chain::Extensions, route::Routes},
    plugins::deployer::Deployer,
    sources::troubles::SourceTroubles,
    telemetry::{
        calls::CallBook,
        log::{self, LogError, LogLevel},
    },
};

/// A gateway whose doors are open.
pub struct App {
    gateway: Arc<Gateway>,
    pipeline: Arc<Pipeline>,
    control: Arc<Control>,
    runtime: Arc<Runtime>,
    listeners: Listeners,
    admin: Option<TcpListener>,
    deployer: Deployer,
    log: LogLevel,
}

/// Where a gateway serves, for people.
#[derive(Debug, Clone)]
pub struct Serving {
    /// By the listener's name.
    pub listeners: BTreeMap<String, Vec<Place>>,
    pub admin: Option<SocketAddr>,
    pub plugin_folder: PathBuf,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    #[error("directory: {0}")]
    Store(#[from] StoreError),
    #[error("pool: {0}")]
    Pool(#[from] PoolConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("signals cannot be followed: {0}")]
    Signals(io::Error),
}

/// Starts a gateway and serves until `shutdown` or a signal; `announce` is told where.
///
/// # Errors
/// Why it does not start.
pub async fn run(
    loaded: Loaded,
    shutdown: Shutdown,
    announce: impl FnOnce(&Serving),
) -> Result<(), StartError> {
    let app = App::start(loaded, shutdown.clone()).await?;
    announce(&app.serving());
    let serving = app.serve();
    tokio::select! {
        () = serving => Ok(()),
        Err(error) = follow_signals(shutdown) => Err(StartError::Signals(error)),
    }
}

impl App {
    /// Builds everything and opens the doors. Calls are answered `unavailable` or `not-found` until
    /// `serve` has deployed the plugins.
    ///
    /// # Errors
    /// Why it does not start; nothing is left behind.
    pub async fn start(loaded: Loaded, shutdown: Shutdown) -> Result<Self, StartError> {
        let config = loaded.config.clone();
        let log = log::install(&config.log)?;
        let runtime = start_runtime(&config)?;
        let guard = guard(&config, None)?;
        let (routes, book) = (Arc::<Routes>::default(), Arc::<CallBook>::default());
        let extensions = Arc::<Extensions>::default();
        let events = Events::new(config.events.to_hub(config.calls.depth_max));
        runtime.set_events(Arc::new(events.hub().clone()));
        let fleet = start_fleet(&config, &runtime, &events).await?;
        let control = Arc::new(Control::new(
            Arc::clone(&runtime),
            Arc::clone(&routes),
            Arc::clone(&extensions),
            fleet,
            events,
            Arc::clone(&book),
            config.clone(),
        ));
        let rules = rules(&config, guard);
        let pipeline = Arc::new(Pipeline::new(routes, extensions, rules, &book));
        runtime.set_client(Arc::clone(&pipeline) as Arc<dyn Handler>);

        let transports = Arc::<Transports>::default();
        let inside = Inside {
            pipeline: Arc::clone(&pipeline),
            catalog: Arc::clone(&control) as Arc<dyn Catalog>,
            transports: Arc::clone(&transports),
        };
        let mut listeners = Listeners::new(inside, shutdown.clone());
        listeners.apply(&config).await?;
        let addresses = announced(&listeners.places());
        control.directory().set_addresses(addresses);
        let admin = bind_admin(&config).await?;
        let quiet = config.plugins.watch.then_some(config.plugins.settle);
        let troubles = Arc::<SourceTroubles>::default();
        let deployer = Deployer::new(
            Arc::clone(&control),
            config.plugins.folder.clone(),
            quiet,
            Arc::clone(&troubles),
        );
        let gateway = Gateway::new(
            Arc::clone(&control),
            book,
            transports,
            loaded,
            troubles,
            shutdown.clone(),
        );
        gateway.set_places(listeners.places());
        let gateway = Arc::new(gateway);
        Ok(Self {
            gateway,
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
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    #[must_use]
    pub fn serving(&self) -> Serving {
        let admin = self
            .admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        Serving {
            listeners: self.listeners.places(),
            admin,
            plugin_folder: self.gateway.loaded().config.plugins.folder.clone(),
        }
    }

    /// Deploys the plugins and serves until the shutdown has drained.
    pub async fn serve(mut self) {
        // The operators' door outlives the others: it shows how they drain.
        let last = Shutdown::new();
        let mut tasks = JoinSet::new();
        if let Some(listener) = self.admin {
            tasks.spawn(serve_admin(
                listener,
                Arc::clone(&self.gateway),
                last.clone(),
            ));
        }
        let fleet = self.control.fleet();
        let directory = fleet.directory();
        let shutdown = self.gateway.shutdown();
        tasks.spawn(Arc::clone(directory).run(shutdown.clone()));
        tasks.spawn(probes::run(
            Arc::clone(directory),
            fleet.signs(),
            shutdown.clone(),
        ));
        let (events, draining) = (self.control.events().clone(), shutdown.clone());
        tasks.spawn(async move {
            draining.draining().await;
            // Subscriptions would hold the drain up.
            events.end_all();
        });
        let reload = Reload {
            gateway: Arc::clone(&self.gateway),
            pipeline: Arc::clone(&self.pipeline),
            log: self.log,
        };
        let following = reload.follow(self.listeners);
        let plugins = async {
            self.deployer.start().await;
            self.gateway.set_started();
            info!(plugins = self.control.names().len(), "ready");
            tokio::join!(
                self.deployer.follow(),
                self.control.follow_directory(),
                check_health(&self.control, &self.gateway)
            );
        };
        let listeners = tokio::select! {
            listeners = following => listeners,
            // Never ends by itself.
            () = plugins => return,
        };
        listeners.closed().await;
        // Calls have ended; what is open to other gateways is closed in order.
        self.control.fleet().pool().close().await;
        let limit = self.gateway.loaded().config.plugins.drain_timeout;
        tokio::select! {
            () = self.control.close() => {}
            () = self.gateway.shutdown().ended() => warn!("calls of plugins are cut off"),
            () = tokio::time::sleep(limit) => warn!("calls of plugins took too long and are cut off"),
        }
        self.runtime.shutdown();
        last.drain();
        while tasks.join_next().await.is_some() {}
        info!("ended");
    }
}

/// What the configuration says about every call.
fn rules(config: &Config, guard: Option<Arc<Guard>>) -> Rules {
    let settings = Settings {
        timeout: config.calls.timeout,
        timeout_max: config.calls.timeout_max,
        depth_max: config.calls.depth_max,
        record: config.log.access,
    };
    Rules { settings, guard }
}

/// The guard that the configuration asks for, if it asks for one. Reads the files that it names.
fn guard(config: &Config, before: Option<&Guard>) -> Result<Option<Arc<Guard>>, GuardError> {
    if !Guard::is_asked_for(config) {
        return Ok(None);
    }
    let guard = Guard::open(config, before, Instant::now())?;
    Ok(Some(Arc::new(guard)))
}

fn start_runtime(config: &Config) -> Result<Arc<Runtime>, StartError> {
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::DataDir {
        path: path.clone(),
        source,
    })?;
    Ok(Runtime::new(RuntimeConfig {
        data_dir: path,
        ..RuntimeConfig::default()
    })?)
}

/// Everybody who can answer calls: the directory with what is still leased from the life before, and
/// the sessions to what is elsewhere.
async fn start_fleet(
    config: &Config,
    runtime: &Runtime,
    events: &Events,
) -> Result<Fleet, StartError> {
    let directory = Directory::new(config)?;
    directory.restore(runtime.records("directory")?).await?;
    let pool = Pool::new(config.pool.to_config(), ClientConfig::default())?;
    let methods = service::METHODS.map(|(name, _)| Text::from_static(name));
    let built_in = BuiltIn {
        name: service::SERVICE,
        methods: methods.into(),
        handler: Arc::new(directory::Service::new(Arc::clone(&directory))),
    };
    let publish_and_subscribe = BuiltIn {
        name: "events",
        methods: events::METHODS.map(Text::from_static).into(),
        handler: Arc::new(events.clone()),
    };
    let built_in = vec![built_in, publish_and_subscribe];
    Ok(Fleet::new(config, directory, pool, built_in))
}

/// Where other gateways reach this one: its VSTP listeners, one address per scheme.
fn announced(places: &BTreeMap<String, Vec<Place>>) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    for place in places.values().flatten() {
        let scheme = match place.transport {
            door::TCP => Scheme::Tcp,
            door::UDP => Scheme::Udp,
            _ => continue,
        };
        let (host, port) = (place.address.ip().to_string(), place.address.port());
        if addresses.iter().all(|address| address.scheme != scheme)
            && let Ok(address) = Address::new(scheme, host, port)
        {
            addresses.push(address);
        }
    }
    addresses
}

async fn bind_admin(config: &Config) -> Result<Option<TcpListener>, BindError> {
    if !config.admin.enabled {
        return Ok(None);
    }
    let address = config.admin.address;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            listener: ADMIN.to_owned(),
            transport: door::HTTP,
            address,
            source,
        })?;
    Ok(Some(listener))
}

async fn serve_admin(listener: TcpListener, gateway: Arc<Gateway>, last: Shutdown) {
    let served = axum::serve(listener, admin::router(gateway));
    let draining = last.clone();
    let served = served.with_graceful_shutdown(async move { draining.draining().await });
    let limit = async {
        last.draining().await;
        tokio::time::sleep(ADMIN_DRAIN).await;
    };
    tokio::select! {
        result = served.into_future() => {
            if let Err(error) = result {
                warn!(%error, "the operators' door closed by itself");
            }
        }
        () = limit => {}
    }
}

async fn check_health(control: &Control, gateway: &Gateway) {
    let mut interval = tokio::time::interval(gateway.loaded().config.plugins.health_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once, and deployments have just asked.
    interval.tick().await;
    loop {
        interval.tick().await;
        control.check_health().await;
    }
}

/// Ends with an error only.
async fn follow_signals(shutdown: Shutdown) -> io::Result<()> {
    signals::follow(shutdown).await?;
    std::future::pending().await
}

/// For what operators have under way when everything else has ended.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
