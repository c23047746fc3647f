//! What all plugins share: engines, cache of compiled code, linkers, the store, where calls and events of plugins go.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{Handler, event::EventSink};
use tokio::sync::mpsc;
use wasmtime::component::{Component, Linker};

use crate::{
    cache::{Cache, CacheError, Compiled},
    capability::{
        client::ClientImport,
        directory::{DirectoryImport, ServiceDirectory},
        events::EventsImport,
        outgoing::OutgoingImport,
    },
    compiler::Compiler,
    digest::Digest,
    engine::{Engines, Flavor, Pooling},
    executor::Executor,
    linking,
    on_trap::TrapChange,
    own_metrics::OwnMetricsTable,
    records::Records,
    state::StoreState,
    store::{Store, StoreError, StoreHealth},
    trap_notices::TrapNotices,
};

/// How plugins are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Folder for compiled code (`cache/`, private to this user) and the key/value store
    /// (`kv.redb`). Default `.postern`.
    pub data_dir: PathBuf,
    /// Folder for compiled code in the place of `cache/`, for those who have their store for a short time.
    pub cache_dir: Option<PathBuf>,
    /// How often a running guest looks up: to yield its thread, and to notice that its time is
    /// over; at most 2 ms while guests compute on threads of their own. Default 10 ms.
    pub tick: Duration,
    pub pooling: Pooling,
}

/// Runs plugins. One per process; plugins of one runtime share its slots, its store and its cache.
pub struct Runtime {
    pub(crate) engines: Engines,
    pub(crate) client: Arc<ClientImport>,
    pub(crate) events: Arc<EventsImport>,
    pub(crate) directory: Arc<DirectoryImport>,
    pub(crate) own_metrics: OwnMetricsTable,
    pub(crate) outgoing: Arc<OutgoingImport>,
    pub(crate) compiler: Compiler,
    pub(crate) executor: Arc<Executor>,
    pub(crate) trap_notices: Arc<TrapNotices>,
    cache: Cache,
    synchronous: Linker<StoreState>,
    concurrent: OnceLock<Linker<StoreState>>,
    /// Opened for the first plugin that imports it.
    store: Mutex<Option<Arc<Store>>>,
    store_health: Arc<StoreHealth>,
    data_dir: PathBuf,
    memory_bytes_max: usize,
    tells_callers: AtomicBool,
}

/// Why no plugin can be run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("engine: {0}")]
    Engine(String),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl Runtime {
    /// Builds the engine, reserves its address space and opens the cache.
    ///
    /// # Errors
    /// `Engine` when the address space cannot be reserved, `Cache` when the cache folder is not
    /// private or cannot be made.
    pub fn new(config: RuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        let failed = |error: wasmtime::Error| RuntimeError::Engine(format!("{error:#}"));
        let cache_dir = config.cache_dir;
        let cache = Cache::open(&cache_dir.unwrap_or_else(|| config.data_dir.join(CACHE)))?;
        let memory_bytes_max = config.pooling.memory_bytes_max;
        let no_thread = |error: std::io::Error| RuntimeError::Engine(error.to_string());
        let executor = Arc::new(Executor::start().map_err(no_thread)?);
        let is_busy = executor.is_busy();
        let engines = Engines::new(config.pooling, config.tick, is_busy).map_err(failed)?;
        let engine = engines.of(Flavor::Synchronous).map_err(failed)?;
        let synchronous = linking::linker(&engine).map_err(failed)?;
        let compiler = Compiler::start().map_err(no_thread)?;
        Ok(Arc::new(Self {
            engines,
            compiler,
            executor,
            cache,
            synchronous,
            concurrent: OnceLock::new(),
            client: Arc::default(),
            events: Arc::default(),
            directory: Arc::default(),
            own_metrics: OwnMetricsTable::default(),
            outgoing: Arc::default(),
            store: Mutex::new(None),
            store_health: Arc::default(),
            trap_notices: Arc::default(),
            data_dir: config.data_dir,
            memory_bytes_max,
            tells_callers: AtomicBool::new(false),
        }))
    }

    /// Whether a runtime could keep compiled code below `data_dir`, which must be there. Leaves it as
    /// it was.
    ///
    /// # Errors
    /// As `new`.
    pub fn check_cache(data_dir: &Path) -> Result<(), RuntimeError> {
        let folder = data_dir.join(CACHE);
        let was_there = folder.exists();
        Cache::open(&folder)?;
        if !was_there {
            // Nobody has written into it; one that is not empty belongs to a gateway that began.
            drop(std::fs::remove_dir(&folder));
        }
        Ok(())
    }

    /// Whether a runtime could open the store below `data_dir`. One that is not there could be made
    /// where `check_cache` is content, and one that another process has open is good.
    ///
    /// # Errors
    /// As `records`.
    pub fn check_store(data_dir: &Path) -> Result<(), StoreError> {
        let file = data_dir.join(STORE);
        if !file.exists() {
            return Ok(());
        }
        match Store::open(&file, &Arc::default()) {
            Err(error) if error.is_open_elsewhere() => Ok(()),
            opened => opened.map(drop),
        }
    }

    /// Sends the calls that plugins make (import `client`) to `pipeline`. Until then they get
    /// `unavailable`.
    ///
    /// The pipeline usually holds plugins, and those hold the runtime; `shutdown` opens that circle.
    pub fn set_client(&self, pipeline: Arc<dyn Handler>) {
        self.client.set(Some(pipeline));
    }

    /// Sends the events that plugins publish (import `events`) to `sink`. Until then they get
    /// `unavailable`. `shutdown` lets go of it.
    pub fn set_events(&self, sink: Arc<dyn EventSink>) {
        self.events.set(Some(sink));
    }

    /// Where plugins look services up (import `directory`). Until then they get `unavailable`.
    /// `shutdown` lets go of it.
    pub fn set_directory(&self, directory: Arc<dyn ServiceDirectory>) {
        self.directory.set(Some(directory));
    }

    /// Sends the requests over HTTP that plugins make (import `wasi:http`) to `sender`, as forwarded calls:
    /// `HttpFacts` say method, scheme, authority and target. Plugins are granted servers before; that a
    /// name does not lead to an address of this machine or of its network is for `sender` to see to.
    /// `shutdown` lets go of it.
    pub fn set_outgoing(&self, sender: Arc<dyn Handler>) {
        self.outgoing.set(Some(sender));
    }

    /// Whoever calls a plugin that traps is told the line in which it said why, from the next deployment of
    /// that plugin on: for those who develop it.
    pub fn tell_callers(&self) {
        self.tells_callers.store(true, Relaxed);
    }

    pub(crate) fn tells_callers(&self) -> bool {
        self.tells_callers.load(Relaxed)
    }

    /// Tells of each change that traps make to a plugin in service. There is one who is told.
    #[must_use]
    pub fn trap_changes(&self) -> Option<mpsc::Receiver<TrapChange>> {
        self.trap_notices.take()
    }

    /// Lets go of the pipeline, of the events and of the store, once plugins have been removed.
    pub fn shutdown(&self) {
        self.client.set(None);
        self.events.set(None);
        self.directory.set(None);
        self.outgoing.set(None);
        *self.store.lock() = None;
    }

    /// A table in which the gateway keeps what must outlive it. Opens the store.
    ///
    /// # Errors
    /// What the store says, for instance that another process has it open.
    pub fn records(&self, table: &str) -> Result<Records, StoreError> {
        Ok(Records::new(self.store()?, table))
    }

    /// How the store is, over all its openings.
    #[must_use]
    pub const fn store_health(&self) -> &Arc<StoreHealth> {
        &self.store_health
    }

    /// The most memory that a plugin may be allowed, in octets.
    pub(crate) const fn memory_bytes_max(&self) -> usize {
        self.memory_bytes_max
    }

    pub(crate) fn compile(&self, digest: &Digest, source: &[u8]) -> wasmtime::Result<Compiled> {
        self.cache.compile(&self.engines, digest, source)
    }

    /// The component of `source`, or of the cache alone, for direct entry.
    pub(crate) fn compile_metered(
        &self,
        digest: &Digest,
        source: &[u8],
    ) -> wasmtime::Result<Component> {
        self.cache.compile_metered(&self.engines, digest, source)
    }

    pub(crate) fn load(&self, digest: &Digest) -> wasmtime::Result<Option<Compiled>> {
        self.cache.load(&self.engines, digest)
    }

    pub(crate) fn linker(&self, flavor: Flavor) -> wasmtime::Result<&Linker<StoreState>> {
        match flavor {
            // What is metered is linked for each component (`linking::direct_linker`).
            Flavor::Synchronous | Flavor::Metered => Ok(&self.synchronous),
            Flavor::Concurrent => {
                if let Some(linker) = self.concurrent.get() {
                    return Ok(linker);
                }
                let linker = linking::concurrent_linker(&self.engines.of(flavor)?)?;
                Ok(self.concurrent.get_or_init(|| linker))
            }
        }
    }

    pub(crate) fn store(&self) -> Result<Arc<Store>, StoreError> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(Store::open(&self.data_dir.join(STORE), &self.store_health)?);
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            data_dir: ".postern".into(),
            cache_dir: None,
            tick: Duration::from_millis(10),
            pooling: Pooling::default(),
        }
    }
}

const CACHE: &str = "cache";
const STORE: &str = "kv.redb";
