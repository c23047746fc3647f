//! What a running gateway is, for those who look at it and those who turn it: shared by the doors,
//! the operators' door and the tasks that watch files.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use postern_net::Shutdown;

use super::{door::Place, transports::Transports};
use crate::{
    admin::view::{Reason, ServiceView},
    cluster::ServiceNumbers,
    config::Loaded,
    control::Control,
    pipeline::route::{Route, Target},
    sources::troubles::{SourceTroubles, Trouble},
    telemetry::{calls::CallBook, export::Numbers, process},
};

/// A gateway's state.
pub struct Gateway {
    control: Arc<Control>,
    book: Arc<CallBook>,
    transports: Arc<Transports>,
    loaded: ArcSwap<Loaded>,
    places: ArcSwap<BTreeMap<String, Vec<Place>>>,
    troubles: Arc<SourceTroubles>,
    shutdown: Shutdown,
    has_started: AtomicBool,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    /// Seconds since 1970.
    started_at: f64,
}

impl Gateway {
    pub(crate) fn new(
        control: Arc<Control>,
        book: Arc<CallBook>,
        transports: Arc<Transports>,
        loaded: Loaded,
        troubles: Arc<SourceTroubles>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            control,
            book,
            transports,
            loaded: ArcSwap::from_pointee(loaded),
            places: ArcSwap::default(),
            troubles,
            shutdown,
            has_started: AtomicBool::new(false),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            started_at: process::unix_seconds(),
        }
    }

    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The configuration in force.
    #[must_use]
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Where each door listens, by the listener's name.
    #[must_use]
    pub fn places(&self) -> Arc<BTreeMap<String, Vec<Place>>> {
        self.places.load_full()
    }

    /// Files and folders that cannot be read as they should be.
    #[must_use]
    pub const fn troubles(&self) -> &Arc<SourceTroubles> {
        &self.troubles
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Takes nothing new, finishes what is in flight, ends.
    pub fn drain(&self) {
        self.shutdown.drain();
    }

    /// Why the gateway should get no traffic; empty when it should.
    #[must_use]
    pub fn unready_reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut add = |name, message: &str| {
            reasons.push(Reason {
                name,
                message: message.to_owned(),
            })
        };
        if !self.has_started.load(Relaxed) {
            add("starting", "plugins in the folder are being deployed");
        }
        if self.shutdown.is_draining() {
            add(
                "draining",
                "calls in flight are finished, no new ones are taken",
            );
        }
        if self.places.load().is_empty() {
            add("listeners", "no listener is open");
        }
        let troubles = self.troubles.all().into_iter();
        // A slow writer is no reason to send traffic elsewhere.
        for (path, trouble) in troubles.filter(|(_, trouble)| *trouble != Trouble::HeldOpen) {
            let path = path.display();
            add(
                "source",
                &format!("{path}: {trouble}; what it said before stays in force"),
            );
        }
        reasons
    }

    /// Every service by name, with who answers and how calls went.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        let clusters = self.control.clusters();
        let cluster = |route: &Route| {
            let mut clusters = clusters.iter();
            clusters.find(|cluster| route.service == *cluster.service.as_str())
        };
        let routes = self.control.routes().into_values();
        routes
            .map(|route| service_view(&route, cluster(&route).cloned()))
            .collect()
    }

    /// Everything countable at this moment.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers {
            calls: self.book.numbers(),
            transports: self.transports.numbers(),
            plugins: self.control.numbers(),
            extensions: self.control.extensions(),
            clusters: self.control.clusters(),
            directory: self.control.directory().numbers(),
            pool: Some(self.control.fleet().pool().snapshot()),
            events: self.control.events().numbers(),
            config_reloads_applied: self.reloads_applied.load(Relaxed),
            config_reloads_refused: self.reloads_refused.load(Relaxed),
            is_ready: self.unready_reasons().is_empty(),
            resident_bytes: process::resident_bytes(),
            started_at: self.started_at,
        }
    }

    pub(crate) fn set_places(&self, places: BTreeMap<String, Vec<Place>>) {
        self.places.store(Arc::new(places));
    }

    pub(crate) fn set_started(&self) {
        self.has_started.store(true, Relaxed);
    }

    pub(crate) fn set_loaded(&self, loaded: Loaded) {
        self.loaded.store(Arc::new(loaded));
        self.reloads_applied.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused_reload(&self) {
        self.reloads_refused.fetch_add(1, Relaxed);
    }
}

fn service_view(route: &Route, cluster: Option<ServiceNumbers>) -> ServiceView {
    let methods = route.methods.as_ref();
    ServiceView {
        name: route.service.to_string(),
        version: route.version.as_ref().map(ToString::to_string),
        plugin: route.plugin.to_string(),
        generation: route.generation,
        is_live: match (&route.target, &cluster) {
            (Target::Live(_), _) => true,
            (Target::Cluster(_), Some(cluster)) => !cluster.instances.is_empty(),
            (Target::Cluster(_), None) | (Target::Down(_), _) => false,
        },
        reason: match &route.target {
            Target::Live(_) | Target::Cluster(_) => None,
            Target::Down(reason) => Some(reason.to_string()),
        },
        methods: methods.map(|methods| methods.iter().map(ToString::to_string).collect()),
        calls: route.metrics.numbers().into(),
        cluster,
    }
}
