//! The set of plugins: what was offered becomes a generation that takes calls, or a refusal with its
//! reason while the generation before goes on. Routes follow the set.
//!
//! ```text
//! offered ──▶ manifest read ──▶ deployed ──▶ services claimed ──▶ routed ──▶ kept as last good
//!    │              │               │               │
//!    │unchanged     └───────────────┴──refused──────┘ what served before serves on;
//!    └─▶ nothing                                      at a start, the last good copy does
//! ```

mod approval;
mod by_service;
mod claims;
mod deploy;
mod extensions;
mod fleet;
mod grpc_metering;
mod grpc_remote;
mod grpc_schema;
mod http_remote;
mod http_routes;
mod judge;
mod missing;
mod naming;
mod numbers;
mod offer;
mod offer_judge;
mod proof;
mod proto_schema;
mod publish;
mod recording;
mod remote;
mod remote_services;
mod requests;
mod retries;
mod schema_file;
mod serving_plugins;
mod slot;
mod starting;
mod subscribers;
mod traps;
mod upstream_schemas;
mod usage_view;
mod velithon_remote;
pub(crate) mod versions;
mod view;
mod waiting;
mod web_routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, resume_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use parking_lot::Mutex;
use postern_core::Text;
use postern_wasm::{HealthReport, HealthStatus, Plugin, Runtime, StoreHealth};
use tokio::sync::Notify;
use tracing::{info, warn};

#[cfg(test)]
pub(crate) use self::view::PluginAvailability;
use self::{
    claims::Claims,
    http_routes::MethodSchemas,
    remote_services::RemoteServices,
    slot::{PluginSlot, Source},
    subscribers::Subscribers,
    versions::PluginVersions,
};
pub(crate) use self::{
    fleet::{BuiltIn, Fleet},
    grpc_remote::GrpcUpstreams,
    http_remote::HttpUpstreams,
    missing::Missing,
    naming::NameFault,
    offer::{OfferRefused, Offered},
    recording::BegunRecording,
    requests::Requests,
    upstream_schemas::{UpstreamSchemaError, UpstreamSchemas},
    velithon_remote::VelithonUpstreams,
    view::PluginView,
};
use crate::{
    cluster::ServiceNumbers,
    config::Config,
    directory::SharedDirectory,
    events::EventService,
    pipeline::{
        chain::{Extensions, LinkView},
        route::{Route, Routes},
    },
    plugins::{
        gone, label,
        store::{self, Copy, PluginCopies},
    },
    readiness::{Readiness, ReasonKind},
    telemetry::calls::CallBook,
};

/// Owns every plugin and says who answers for which service.
pub(crate) struct Control {
    runtime: Arc<Runtime>,
    routes: Arc<Routes>,
    extensions: Arc<Extensions>,
    fleet: Fleet,
    subscribers: Subscribers,
    book: Arc<CallBook>,
    readiness: Readiness,
    data_dir: PathBuf,
    config: ArcSwap<Config>,
    claims: Mutex<Claims>,
    /// By label: plugins, and versions of them.
    slots: Mutex<BTreeMap<String, Arc<PluginSlot>>>,
    versions: PluginVersions,
    /// What routes over HTTP hold requests to.
    route_schemas: Mutex<MethodSchemas>,
    /// What other gateways say of their services beyond the directory.
    remote_services: RemoteServices,
    /// Something changed that refused offers may wait for.
    refusals: Notify,
}

/// What the folder has of a plugin at the start.
#[derive(Debug)]
pub(crate) enum FoundAtStart {
    Whole(Copy),
    /// Its files cannot be read, for this reason.
    Unread(String),
}

impl Control {
    #[must_use]
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        routes: Arc<Routes>,
        extensions: Arc<Extensions>,
        fleet: Fleet,
        events: EventService,
        book: Arc<CallBook>,
        config: Config,
    ) -> Self {
        let readiness = Readiness::default();
        let message = "plugins in the folder are being deployed";
        readiness.raise(ReasonKind::Starting, "", message);
        Self {
            runtime,
            routes,
            extensions,
            fleet,
            subscribers: Subscribers::new(events),
            book,
            readiness,
            versions: PluginVersions::new(&config.data_dir),
            data_dir: config.data_dir.clone(),
            config: ArcSwap::from_pointee(config),
            claims: Mutex::default(),
            slots: Mutex::default(),
            route_schemas: Mutex::default(),
            remote_services: RemoteServices::default(),
            refusals: Notify::new(),
        }
    }

    /// Labels of versions of which something is kept that goes with them.
    #[must_use]
    pub(crate) fn kept(&self) -> BTreeSet<String> {
        let mut kept = store::kept(&self.data_dir);
        kept.extend(gone::needless(&self.data_dir));
        kept
    }

    /// Deploys everything that lies in the folder at the start, several plugins at a time. Where two claim
    /// one service, the first by name has it. Of a plugin whose files cannot be read, the last good
    /// copy is deployed. Versions of one plugin are judged and taken one after the other (`starting.rs`).
    pub(crate) async fn start(&self, mut found: Vec<(String, FoundAtStart)>) {
        found.sort_by_cached_key(|(name, _)| label::at_start(name));
        self.note_known(found.iter().map(|(name, _)| name));
        for (name, found) in &found {
            if let FoundAtStart::Whole(copy) = found {
                self.note_loading(&self.slot(name), copy);
            }
        }
        starting::tell_order(&found, &self.kept());
        // With the routes of what is built in and what is elsewhere, also where nothing was found.
        self.publish();
        let mut prepared = stream::iter(starting::in_order(found))
            .map(|(waiter, name, found)| async move {
                let taking = waiter.wait().await;
                let good = match &found {
                    FoundAtStart::Whole(_) => None,
                    // One that has nothing to start is not in the set.
                    FoundAtStart::Unread(_) => Some(self.store(&name).load_good()?),
                };
                let slot = self.slot(&name);
                let mut offers = slot.lock_offers().await;
                let prepared = match (found, good) {
                    (FoundAtStart::Whole(copy), _) => self.prepare(&slot, &mut offers, copy).await,
                    (FoundAtStart::Unread(reason), Some(good)) => {
                        self.prepare_good(&slot, good, reason).await
                    }
                    (FoundAtStart::Unread(_), None) => return None,
                };
                Some((taking, slot, offers, prepared))
            })
            .buffered(START_AT_ONCE);
        while let Some(prepared) = prepared.next().await {
            if let Some((taking, slot, _offers, prepared)) = prepared {
                self.activate(&slot, prepared).await;
                taking.end();
            }
        }
        self.routes.set_complete();
        // What offers were refused for may have changed while others were deployed.
        self.refusals.notify_one();
        let (slots, config) = (self.serving(), self.config.load());
        self.judge(&slots, &config);
    }

    /// Takes what lies in the folder for the plugin `name`.
    pub(crate) async fn offer(&self, name: &str, copy: Copy) -> Offered {
        self.note_known(std::iter::once(&name.to_owned()));
        loop {
            let slot = self.slot(name);
            let mut offers = slot.lock_offers().await;
            // One that was removed while this waited is not in the set any more.
            if !offers.is_gone {
                if !slot.is_serving() {
                    self.note_loading(&slot, &copy);
                    self.publish();
                }
                let preparing = AssertUnwindSafe(self.prepare(&slot, &mut offers, copy));
                let prepared = preparing.catch_unwind().await.unwrap_or_else(|panic| {
                    // It comes to nothing, and nobody is to wait for it.
                    slot.set_loading(None);
                    self.publish();
                    resume_unwind(panic)
                });
                return self.activate(&slot, prepared).await;
            }
        }
    }

    /// Ends the plugin `name`: no new calls, those in flight finish. Says whether it was there.
    pub(crate) async fn withdraw(&self, name: &str) -> bool {
        let Some(slot) = self.slot_of(name) else {
            // It may have been in the folder in a life before.
            self.remove_version(name);
            self.clear(name, &self.store(name));
            self.forget_version(name).await;
            return false;
        };
        {
            let mut offers = slot.lock_offers().await;
            offers.is_gone = true;
            // Before one of the same name can come.
            self.forget_version(name).await;
            self.slots.lock().remove(name);
        }
        self.remove_version(name);
        self.refusals.notify_one();
        self.publish();
        self.clear(name, &slot.store);
        info!(plugin = name, "plugin removed");
        // Its calls are cut off when the drain timeout is over.
        let limit = self.config.load().plugins.drain_timeout + CUT_OFF_MAX;
        if tokio::time::timeout(limit, slot.plugin.remove())
            .await
            .is_err()
        {
            let limit_s = limit.as_secs_f64();
            warn!(
                plugin = name,
                limit_s, "calls of a removed plugin take longer than they may"
            );
        }
        true
    }

    fn store(&self, name: &str) -> PluginCopies {
        PluginCopies::new(&self.data_dir, name)
    }

    fn clear(&self, name: &str, store: &PluginCopies) {
        if let Err(error) = store.clear() {
            warn!(plugin = name, %error, "copies of a removed plugin stay on the disk");
        }
    }

    /// The generation before takes the calls of the plugin `name` again, also after a restart. What
    /// lies in the folder is not started until it changes.
    ///
    /// # Errors
    /// When there is no such plugin, none before, or the one before does not start.
    async fn rollback_generation(&self, name: &str) -> Result<(), OfferRefused> {
        self.rollback_if(name, |_| true).await
    }

    /// As `rollback_generation`, where what is in service is still what is to be gone back from.
    async fn rollback_if(
        &self,
        name: &str,
        is_wanted: impl Fn(&PluginSlot) -> bool,
    ) -> Result<(), OfferRefused> {
        let Some(slot) = self.slot_of(name) else {
            return Err(OfferRefused::new("", self.unknown(name)));
        };
        let offers = slot.lock_offers().await;
        if offers.is_gone {
            return Err(OfferRefused::new(
                "",
                format!("plugin {name} was removed meanwhile"),
            ));
        }
        if !is_wanted(&slot) {
            let reason = format!("another version of plugin {name} is in service meanwhile");
            return Err(OfferRefused::new("", reason));
        }
        let Some(before) = slot.store.load_before() else {
            return Err(OfferRefused::new(
                "",
                format!("plugin {name} has no generation before this one"),
            ));
        };
        // It is forgotten as the one before only once it serves: whatever fails until then costs nothing.
        let generation = self.start_up(&slot, &before).await?;
        let (in_folder, to) = (offers.last.clone(), before.deployment());
        let skipped = in_folder.filter(|offered| *offered != to);
        self.take_over(&slot, generation, &before, Source::Rollback)
            .map_err(|taken| OfferRefused::taken(&before, taken))?;
        slot.set_skipped(skipped.clone());
        slot.end_waiting();
        self.publish();
        self.note_served(&slot, &before, (Source::Rollback, None))
            .await;
        if let Err(error) = slot.store.keep_rollback(&to, skipped) {
            warn!(plugin = name, %error, "the rollback will not survive a restart");
        }
        slot.tell(&Offered::Deployed);
        Ok(())
    }

    /// Holds deployments from here on to `config`; the directory, the policies of services and the
    /// chain of extensions at once.
    pub(crate) fn apply(&self, config: Config) {
        let applied = self.fleet.directory().apply(&config);
        for key in applied.at_next_start {
            warn!(key, "takes effect at the next start");
        }
        let hub = self.events().hub();
        hub.apply(config.events.to_hub(config.calls.depth_max));
        self.config.store(Arc::new(config));
        self.publish();
    }

    /// Replaces the services that are answered over brokers of others.
    pub(crate) fn set_brokered(&self, services: Vec<BuiltIn>) {
        self.fleet.set_brokered(services);
        self.publish();
    }

    /// How the store is that plugins and the directory write.
    #[must_use]
    pub(crate) fn store_health(&self) -> &StoreHealth {
        self.runtime.store_health()
    }

    /// What speaks against traffic, for every part that knows of something.
    #[must_use]
    pub(crate) const fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    #[must_use]
    pub(crate) const fn events(&self) -> &EventService {
        self.subscribers.events()
    }

    /// Follows the directory for ever: what changes there changes the routes.
    pub(crate) async fn follow_directory(&self) {
        let mut changes = self.fleet.directory().changes();
        loop {
            changes.borrow_and_update();
            // The first time, what changed since the routes were made and nobody has told.
            self.publish_routes();
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    #[must_use]
    pub(crate) fn directory(&self) -> &Arc<SharedDirectory> {
        self.fleet.directory()
    }

    /// Services with their instances, by name.
    #[must_use]
    pub(crate) fn clusters(&self) -> Vec<ServiceNumbers> {
        self.fleet.numbers()
    }

    pub(crate) const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The plugins that stand in the way of calls and frames, in order.
    #[must_use]
    pub(crate) fn extensions(&self) -> Vec<LinkView> {
        let chain = self.extensions.chain();
        chain.links().iter().map(LinkView::from).collect()
    }

    /// Asks every plugin that takes calls for its health; one that says no, twice in a row, gets no
    /// calls until it says yes.
    pub(crate) async fn check_health(&self) {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        let serving = slots.into_iter().filter(|slot| slot.is_serving());
        let changes =
            join_all(serving.map(|slot| async move { self.check_one(&slot).await })).await;
        if changes.contains(&true) {
            self.publish();
        }
    }

    /// Every plugin by name.
    #[must_use]
    pub(crate) fn plugins(&self) -> Vec<PluginView> {
        let slots = self.slots.lock().clone();
        let view = |slot: &PluginSlot| PluginView::of(slot, self.version_view(slot));
        slots.values().map(|slot| view(slot)).collect()
    }

    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        self.slots.lock().keys().cloned().collect()
    }

    /// Every route by service.
    #[must_use]
    pub(crate) fn routes(&self) -> BTreeMap<Text, Arc<Route>> {
        self.routes.all()
    }

    /// Ends every plugin.
    pub(crate) async fn close(&self) {
        self.subscribers.end();
        let slots = std::mem::take(&mut *self.slots.lock());
        join_all(slots.values().map(|slot| slot.plugin.remove())).await;
    }

    /// Says whether the plugin's health has changed sides.
    async fn check_one(&self, slot: &PluginSlot) -> bool {
        let limit = self.config.load().plugins.health_timeout;
        let not_serving = |message: String| HealthReport {
            status: HealthStatus::NotServing,
            message: Some(message),
        };
        let report = match slot.plugin.check_health(limit).await {
            Ok(report) => report,
            Err(error) => not_serving(error.message.into_owned()),
        };
        let (status, message) = (report.status.name(), report.message.clone());
        let has_changed = slot.set_health(report);
        if has_changed {
            warn!(
                plugin = slot.name,
                status, message, "plugin changed its health"
            );
        }
        has_changed
    }

    /// The slot of the plugin `name`, made when it is new.
    fn slot(&self, name: &str) -> Arc<PluginSlot> {
        let mut slots = self.slots.lock();
        let new = || {
            let plugin = Arc::new(Plugin::new(&self.runtime, name));
            Arc::new(PluginSlot::new(
                name,
                plugin,
                PluginCopies::new(&self.data_dir, name),
            ))
        };
        Arc::clone(slots.entry(name.to_owned()).or_insert_with(new))
    }
}

/// From the end of a drain timeout until the calls that were cut off have ended: it is looked at about
/// every second, and a guest that computes returns at its next tick.
const CUT_OFF_MAX: Duration = Duration::from_secs(3);

/// Plugins that are deployed at the same time when the gateway starts. Compiling uses every core.
const START_AT_ONCE: usize = 4;
