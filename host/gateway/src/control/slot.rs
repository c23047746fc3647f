//! One plugin's place in the set: its component slot, its kept copies, what is shown of it. Whoever
//! changes it holds the lock of its offers, so that deployments of one plugin never overlap.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    route::{HttpRoute, RouteEnd},
    service::{ServiceInfo, TypeSchemas},
};
use postern_system::clock;
use postern_wasm::{Deployed, HealthReport, HealthStatus, Mode, Plugin};
use serde::Serialize;
use tokio::sync::OwnedMutexGuard;
use tracing::{debug, info};

use super::{
    offer::{OfferRefused, Offered, unix_now},
    waiting::Waiting,
};
use crate::{
    config::{Canary, Extension, Hints, Manifest, Topics},
    pipeline::chain::LinkCounts,
    plugins::{
        label::{plugin_of, version_of},
        signature::Signed,
        store::{Copy, Deployment, PluginCopies},
        trust::TrustState,
    },
    proto::ProtoSchema,
};

/// One plugin, or one version of it.
pub(super) struct PluginSlot {
    /// `users`, or `users@2` for a version.
    pub name: String,
    pub plugin: Arc<Plugin>,
    pub store: PluginCopies,
    /// Numbers of its link in the chain, over all generations.
    pub link: Arc<LinkCounts>,
    offers: Arc<tokio::sync::Mutex<OfferState>>,
    shown: Mutex<Shown>,
    /// The last offer, where it was refused and may be taken later.
    pub waiting: Mutex<Option<Waiting>>,
    signature_refusals: AtomicU64,
    /// What the next version is judged by, once something was noted.
    trust: Mutex<Option<TrustState>>,
}

/// What was offered. Only who holds its lock changes the plugin.
#[derive(Debug, Default)]
pub(super) struct OfferState {
    /// What was offered last, whatever became of it.
    pub last: Option<Deployment>,
    /// The plugin was removed; whoever waited for the lock leaves it alone.
    pub is_gone: bool,
}

/// What is known of a plugin at present.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// What takes calls.
    pub current: Option<Current>,
    /// Why the last offer does not take calls.
    pub refused: Option<OfferRefused>,
    /// What lies in the folder and was rolled back from.
    pub skipped: Option<Deployment>,
    pub health: Option<HealthReport>,
    /// Health checks in a row that failed.
    pub n_unhealthy: u32,
    /// What it will answer for, while it is deployed and nothing of it takes calls.
    pub loading: Option<Loading>,
    /// Who signed what takes calls.
    pub signed: Option<Signed>,
}

/// What a manifest promises before its component is there.
#[derive(Debug, Clone)]
pub(super) struct Loading {
    pub services: Vec<Text>,
    /// Requests over HTTP that will come to them.
    pub routes: Vec<HttpRoute>,
}

impl Loading {
    /// Of `routes`, those that come to its component: an upstream of a manifest is one.
    pub(super) fn of(services: Vec<Text>, mut routes: Vec<HttpRoute>) -> Self {
        routes.retain(|route| matches!(route.end, RouteEnd::Method(_) | RouteEnd::Upstream(_)));
        Self { services, routes }
    }
}

/// A generation that takes calls.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub deployment: Deployment,
    pub generation: u64,
    pub roles: Vec<&'static str>,
    pub services: Vec<ServiceInfo>,
    pub source: Source,
    /// Seconds since 1970.
    pub since: u64,
    pub written: Written,
    /// Requests over HTTP that come to it.
    pub routes: Vec<HttpRoute>,
}

/// What a manifest says to the gateway rather than to the component.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Its place in the chain.
    pub extension: Extension,
    /// Calls of its services.
    pub hints: Hints,
    /// Events that it takes.
    pub topics: Vec<Topics>,
    /// Schemas of the file that it names, which come before those of the component.
    pub schemas: Arc<TypeSchemas>,
    /// The schema beside it, or the one that its component has built in.
    pub proto: Option<Arc<ProtoSchema>>,
    /// How it is tried beside another version.
    pub canary: Option<Canary>,
    /// As the manifest says, or the component.
    pub instances: KeptInstances,
}

/// How instances are kept.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct KeptInstances {
    /// `pooled`, `isolated` or `single`.
    mode: &'static str,
    /// Why, where the component says it and nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

/// Where a generation came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Folder,
    LastGood,
    Rollback,
}

impl PluginSlot {
    pub(super) fn new(name: &str, plugin: Arc<Plugin>, store: PluginCopies) -> Self {
        Self {
            name: name.to_owned(),
            plugin,
            store,
            link: Arc::default(),
            offers: Arc::default(),
            shown: Mutex::default(),
            waiting: Mutex::default(),
            signature_refusals: AtomicU64::new(0),
            trust: Mutex::default(),
        }
    }

    /// Waits for whoever changes the plugin at present.
    pub(super) async fn lock_offers(&self) -> OwnedMutexGuard<OfferState> {
        Arc::clone(&self.offers).lock_owned().await
    }

    pub(super) fn shown(&self) -> Shown {
        self.shown.lock().clone()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.shown.lock().current.is_some()
    }

    /// The plugin that it is of. Services, routes and places in the chain are the plugin's.
    pub(super) fn plugin_name(&self) -> &str {
        plugin_of(&self.name)
    }

    pub(super) fn version(&self) -> Option<&str> {
        version_of(&self.name)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.shown.lock().loading.is_some()
    }

    /// It is being deployed, or not any more.
    pub(super) fn set_loading(&self, loading: Option<Loading>) {
        self.shown.lock().loading = loading;
    }

    /// `deployed`, of whose manifest `written` and `routes` are, takes calls.
    pub(super) fn set_current(
        &self,
        deployed: &Deployed,
        (written, routes): (Written, Vec<HttpRoute>),
        copy: &Copy,
        source: Source,
    ) {
        let current = Current {
            deployment: copy.deployment(),
            generation: deployed.generation,
            roles: deployed.roles.iter().map(|role| role.name()).collect(),
            services: with_schemas(&deployed.services, &written.schemas),
            source,
            since: unix_now(),
            written,
            routes,
        };
        let mut shown = self.shown.lock();
        shown.current = Some(current);
        shown.health = None;
        shown.n_unhealthy = 0;
        if source == Source::Folder {
            shown.refused = None;
            shown.skipped = None;
        }
    }

    /// What takes calls is signed so.
    pub(super) fn set_signed(&self, signed: Option<Signed>) {
        self.shown.lock().signed = signed;
    }

    pub(super) fn trust(&self) -> Option<TrustState> {
        self.trust.lock().clone()
    }

    pub(super) fn set_trust(&self, state: TrustState) {
        *self.trust.lock() = Some(state);
    }

    pub(super) fn count_signature_refusal(&self) {
        self.signature_refusals.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn signature_refusals(&self) -> u64 {
        self.signature_refusals.load(Ordering::Relaxed)
    }

    /// Why what lies in the folder is not what takes calls.
    pub(super) fn set_refused(&self, refused: Option<OfferRefused>) {
        self.shown.lock().refused = refused;
    }

    pub(super) fn set_skipped(&self, deployment: Option<Deployment>) {
        self.shown.lock().skipped = deployment;
    }

    /// `copy` was refused: it waits for what the refusal depends on.
    pub(super) fn set_waiting(&self, copy: &Copy, refused: &OfferRefused) {
        let mut waiting = self.waiting.lock();
        *waiting = if refused.needs.is_empty() {
            None
        } else {
            let (copy, needs) = (copy.clone(), refused.needs.clone());
            let next = Waiting::new(clock::now(), copy, needs, waiting.as_ref());
            Some(next)
        };
    }

    /// Whether the last offer was refused and is worth another try.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.lock().is_some()
    }

    /// Nothing waits: what was offered last takes calls, or something else was asked for.
    pub(super) fn end_waiting(&self) {
        *self.waiting.lock() = None;
    }

    /// Notes the result of a health check; says whether the plugin changed sides.
    pub(super) fn set_health(&self, report: HealthReport) -> bool {
        let mut shown = self.shown.lock();
        let was_healthy = shown.is_healthy();
        shown.n_unhealthy = match report.status {
            HealthStatus::Serving | HealthStatus::Degraded => 0,
            // Says nothing about the guest: what was known stays.
            HealthStatus::Busy => shown.n_unhealthy,
            HealthStatus::NotServing => shown.n_unhealthy.saturating_add(1),
        };
        shown.health = Some(report);
        was_healthy != shown.is_healthy()
    }

    /// Notes and logs what became of an offer. The component slot logs its own part.
    pub(super) fn tell(&self, outcome: &Offered) {
        let plugin = self.name.as_str();
        match outcome {
            Offered::Deployed => debug!(plugin, "plugin takes calls"),
            Offered::Unchanged => debug!(plugin, "plugin is as it was"),
            Offered::Skipped => info!(plugin, "plugin was rolled back from, the one before serves"),
            Offered::Refused(refused) => {
                debug!(plugin, reason = refused.reason, "plugin refused");
                self.shown.lock().refused = Some(refused.clone());
            }
        }
    }
}

impl KeptInstances {
    pub(super) const fn of(mode: Mode, why: Option<&'static str>) -> Self {
        let mode = match mode {
            Mode::Pooled => "pooled",
            Mode::Isolated => "isolated",
            Mode::Single => "single",
        };
        Self { mode, why }
    }
}

impl Written {
    pub(super) fn of(
        manifest: Manifest,
        schemas: Arc<TypeSchemas>,
        instances: KeptInstances,
    ) -> Self {
        Self {
            extension: manifest.extension,
            hints: manifest.policy,
            topics: manifest.topics,
            schemas,
            proto: None,
            canary: manifest.canary.0,
            instances,
        }
    }
}

impl Shown {
    /// Whether calls are to go there: one failed check may be chance.
    pub(super) fn is_healthy(&self) -> bool {
        self.n_unhealthy < UNHEALTHY_MAX
    }
}

impl Source {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::LastGood => "last-good",
            Self::Rollback => "rollback",
        }
    }
}

/// The services, with the schemas of a manifest before those of the component.
fn with_schemas(services: &[ServiceInfo], file: &Arc<TypeSchemas>) -> Vec<ServiceInfo> {
    let with = |service: &ServiceInfo| {
        let mut with = ServiceInfo {
            schemas: Arc::clone(file),
            ..service.clone()
        };
        with.add_schemas(&service.schemas);
        with
    };
    services.iter().map(with).collect()
}

/// Failed checks in a row after which a plugin takes no calls.
const UNHEALTHY_MAX: u32 = 2;
