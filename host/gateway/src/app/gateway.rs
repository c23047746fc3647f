//! What a running gateway is, for those who look at it and those who turn it: shared by the listeners,
//! the operators' among them, and the tasks that watch files.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use postern_core::{registry::Caller, service::ServiceInfo};
use postern_net::{ByteBudget, LocalAddress, Shutdown};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    brokered::Brokered, listener::BoundAddress, listener_settings::ListenerDependencies,
    transports::Transports,
};
use crate::{
    admin::view::ServiceMetricsView,
    bridges::Bridges,
    certificates::Certificates,
    cluster::ServiceNumbers,
    config::Loaded,
    control::Control,
    directory::listing::MethodListing,
    mqtt::MqttGateway,
    pipeline::route::{Route, RouteTarget},
    readiness::{Readiness, ReadinessReason, ReasonKind},
    sources::troubles::SourceTroubles,
    stores::Stores,
    telemetry::{
        calls::CallBook,
        export::{MetricsSnapshot, StoreNumbers},
        log, process,
    },
};

/// A gateway's state.
pub(crate) struct Gateway {
    control: Arc<Control>,
    bridges: Arc<Bridges>,
    brokered: Brokered,
    book: Arc<CallBook>,
    transports: Arc<Transports>,
    bytes: Arc<ByteBudget>,
    certificates: Arc<Certificates>,
    mqtt: Arc<MqttGateway>,
    stores: Arc<Stores>,
    loaded: ArcSwap<Loaded>,
    bound_addresses: ArcSwap<BTreeMap<String, Vec<BoundAddress>>>,
    /// Where operators ask.
    admin_address: ArcSwapOption<LocalAddress>,
    troubles: Arc<SourceTroubles>,
    shutdown: Shutdown,
    /// The first stage of ending: not ready any more, and calls are still taken.
    leaving: CancellationToken,
    /// Somebody asks for the configuration to be read again.
    read_again: Notify,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    /// Seconds since 1970.
    started_at: f64,
}

impl Gateway {
    pub(crate) fn new(
        (control, brokered): (Arc<Control>, Brokered),
        book: Arc<CallBook>,
        dependencies: &ListenerDependencies,
        stores: Arc<Stores>,
        loaded: Loaded,
        troubles: Arc<SourceTroubles>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            bridges: Arc::clone(&brokered.bridges),
            control,
            brokered,
            book,
            transports: Arc::clone(&dependencies.transports),
            bytes: Arc::clone(&dependencies.bytes),
            certificates: Arc::clone(&dependencies.certificates),
            mqtt: Arc::clone(&dependencies.mqtt),
            stores,
            loaded: ArcSwap::from_pointee(loaded),
            bound_addresses: ArcSwap::default(),
            admin_address: ArcSwapOption::empty(),
            troubles,
            shutdown,
            leaving: CancellationToken::new(),
            read_again: Notify::new(),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            started_at: process::unix_seconds(),
        }
    }

    #[must_use]
    pub(crate) const fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Brokers of others that topics go to and come from.
    #[must_use]
    pub(crate) const fn bridges(&self) -> &Arc<Bridges> {
        &self.bridges
    }

    /// Begins and ends bridges, channels and VYRA as the configuration in force says. Must be called on a
    /// runtime.
    pub(crate) fn apply_brokered(&self) {
        let loaded = self.loaded();
        self.bridges.apply(&loaded.config, &self.certificates);
        let services = self.brokered.apply(&loaded.config);
        self.control.set_brokered(services);
    }

    /// Channels, and modules of VYRA.
    #[must_use]
    pub(crate) const fn brokered(&self) -> &Brokered {
        &self.brokered
    }

    /// What listeners show and dialers are shown.
    #[must_use]
    pub(crate) const fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Sessions of MQTT.
    #[must_use]
    pub(crate) const fn mqtt(&self) -> &Arc<MqttGateway> {
        &self.mqtt
    }

    /// The stores of others.
    #[must_use]
    pub(crate) const fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// The configuration in force.
    #[must_use]
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Where each listener listens, by its name.
    pub(crate) fn bound_addresses(&self) -> Arc<BTreeMap<String, Vec<BoundAddress>>> {
        self.bound_addresses.load_full()
    }

    /// Files and folders that cannot be read as they should be.
    #[must_use]
    pub(crate) const fn troubles(&self) -> &Arc<SourceTroubles> {
        &self.troubles
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Says that it is not ready, takes calls for `drain-delay` more, then nothing new, finishes
    /// what is in flight, ends.
    pub(crate) fn drain(&self) {
        self.leaving.cancel();
        // Whoever watches its health is told at once.
        drop(self.unready_reasons());
    }

    /// Completes when the gateway is about to end, and takes calls for `drain-delay` more.
    pub(crate) async fn leaving(&self) {
        tokio::select! {
            () = self.leaving.cancelled() => {}
            () = self.shutdown.draining() => {}
        }
    }

    /// Begins the drain that `drain` asked for once `drain-delay` is over. Completes when the
    /// gateway drains, whoever began it.
    pub(crate) async fn leave(&self) {
        let delayed = async {
            self.leaving.cancelled().await;
            let delay = self.loaded().config.drain_delay;
            if !delay.is_zero() {
                info!(?delay, "not ready; calls are still taken");
                tokio::time::sleep(delay).await;
            }
        };
        tokio::select! {
            () = delayed => self.shutdown.drain(),
            () = self.shutdown.draining() => {}
        }
    }

    /// Asks for the configuration, and the files that it names, to be read now.
    pub(crate) fn read_again(&self) {
        self.read_again.notify_one();
    }

    /// Completes when somebody has asked for that.
    pub(crate) async fn asked_to_read_again(&self) {
        self.read_again.notified().await;
    }

    /// Why the gateway should get no traffic; empty when it should.
    #[must_use]
    pub(crate) fn unready_reasons(&self) -> Vec<ReadinessReason> {
        // Whatever began the drain, a signal or an operator, is told here before anything else is.
        if self.shutdown.is_draining() {
            let message = "calls in flight are finished, no new ones are taken";
            self.readiness().raise(ReasonKind::Draining, "", message);
        } else if self.leaving.is_cancelled() {
            let message = "no new calls will be taken soon (drain-delay), go elsewhere";
            self.readiness().raise(ReasonKind::Draining, "", message);
        }
        self.readiness().unready()
    }

    /// What speaks against traffic, and what is degraded.
    #[must_use]
    pub(crate) fn readiness(&self) -> &Readiness {
        self.control.readiness()
    }

    /// Every service by name, with who answers and how calls went.
    #[must_use]
    pub(crate) fn services(&self) -> Vec<ServiceMetricsView> {
        let clusters = self.control.clusters();
        let cluster = |route: &Route| {
            let mut clusters = clusters.iter();
            clusters.find(|cluster| route.service == *cluster.service.as_str())
        };
        let described = self.control.described(Caller::Trusted);
        let routes = self.control.routes().into_values();
        routes
            .map(|route| {
                let info = described.get(&route.service);
                service_view(&route, cluster(&route).cloned(), info)
            })
            .collect()
    }

    /// Everything countable at this moment.
    #[must_use]
    pub(crate) fn numbers(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            calls: self.book.numbers(),
            upstream_calls: self.control.fleet().grpc().numbers(),
            transports: self.transports.numbers(),
            plugins: self.control.numbers(),
            sandbox: self.control.sandbox_numbers(),
            versions: self.control.version_numbers(),
            extensions: self.control.extensions(),
            clusters: self.control.clusters(),
            directory: self.control.directory().numbers(),
            pool: Some(self.control.fleet().pool().snapshot()),
            events: self.control.events().numbers(),
            mqtt: self.mqtt.numbers(),
            bridges: self.bridges.numbers(),
            channels: self.brokered.channels.view(),
            vyra: self.brokered.vyra.view(),
            topics: self.control.events().topics().numbers(),
            event_store: StoreNumbers::of(self.control.events().topics().health()),
            certificates: self.certificates.shown(),
            acme: self.certificates.acme().numbers(),
            held_bytes: self.bytes.held(),
            held_bytes_refused: self.bytes.n_refused(),
            config_reloads_applied: self.reloads_applied.load(Relaxed),
            config_reloads_refused: self.reloads_refused.load(Relaxed),
            log: log::numbers(),
            is_ready: self.unready_reasons().is_empty(),
            reasons: self
                .readiness()
                .counts()
                .map(|(kind, count)| (kind.name(), count))
                .into(),
            store: StoreNumbers::of(self.control.store_health()),
            stores: self.stores.numbers(),
            resident_bytes: process::resident_bytes(),
            started_at: self.started_at,
        }
    }

    /// Takes where every listener was bound, and which should be open and are not.
    pub(crate) fn set_bound_addresses(
        &self,
        bound_addresses: BTreeMap<String, Vec<BoundAddress>>,
        lost: BTreeMap<String, String>,
    ) {
        let mut reasons = lost;
        if bound_addresses.is_empty() {
            reasons.insert(String::new(), "no listener is open".to_owned());
        }
        self.readiness().replace(ReasonKind::Listeners, reasons);
        self.bound_addresses.store(Arc::new(bound_addresses));
    }

    pub(crate) fn set_admin_address(&self, address: Option<LocalAddress>) {
        self.admin_address.store(address.map(Arc::new));
    }

    /// Where operators ask, once it is open.
    #[must_use]
    pub(crate) fn admin_address(&self) -> Option<Arc<LocalAddress>> {
        self.admin_address.load_full()
    }

    pub(crate) fn set_started(&self) {
        self.readiness().clear(ReasonKind::Starting, "");
    }

    pub(crate) fn set_loaded(&self, loaded: Loaded) {
        self.bytes
            .set_bytes_max(loaded.config.calls.held_bytes_max.octets());
        self.loaded.store(Arc::new(loaded));
        self.certificates.acme().on_changed();
        self.reloads_applied.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused_reload(&self) {
        self.reloads_refused.fetch_add(1, Relaxed);
    }
}

fn service_view(
    route: &Route,
    cluster: Option<ServiceNumbers>,
    info: Option<&ServiceInfo>,
) -> ServiceMetricsView {
    let methods = route.methods.as_ref();
    let described = info.into_iter().flat_map(|info| &info.methods);
    ServiceMetricsView {
        name: route.service.to_string(),
        version: route.version.as_ref().map(ToString::to_string),
        plugin: route.plugin.to_string(),
        generation: route.generation,
        is_live: match (&route.target, &cluster) {
            (RouteTarget::Live(_), _) => true,
            (RouteTarget::Cluster(_), Some(cluster)) => !cluster.instances.is_empty(),
            (RouteTarget::Cluster(_), None) | (RouteTarget::Down(_) | RouteTarget::Loading, _) => {
                false
            }
        },
        reason: match &route.target {
            RouteTarget::Live(_) | RouteTarget::Cluster(_) => None,
            RouteTarget::Down(reason) => Some(reason.to_string()),
            RouteTarget::Loading => Some("its plugin is loading".to_owned()),
        },
        methods: methods.map(|methods| methods.iter().map(ToString::to_string).collect()),
        described: described.map(MethodListing::from).collect(),
        calls: route.metrics.numbers().into(),
        cluster,
    }
}
