//! The way of one offer: manifest read, schema compiled, component deployed, services claimed, generation
//! routed and kept.

use std::{collections::BTreeSet, io, sync::Arc};

use postern_core::{Text, route::HttpRoute, service::ServiceInfo};
use postern_wasm::{PluginSpec, ReadyGeneration};
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{
    Control,
    claims::Taken,
    http_routes,
    offer::{Needs, OfferRefused, Offered},
    proto_schema, schema_file,
    slot::{KeptInstances, Loading, OfferState, PluginSlot, Source, Written},
    web_routes,
};
use crate::{
    config::{Config, Faults, InstanceMode, Manifest},
    plugins::{
        claimed::Claimed,
        reuse,
        signature::Signed,
        store::{Copy, DeploymentState},
    },
    proto::ProtoSchema,
};

/// How far an offer came before its services were claimed.
pub(super) enum Prepared {
    Generation {
        generation: Box<PreparedGeneration>,
        copy: Copy,
        source: Source,
    },
    Nothing(Offered),
}

/// A generation that could take calls, with what its manifest says. One that is dropped has changed
/// nothing.
pub(super) struct PreparedGeneration {
    ready: ReadyGeneration,
    written: Written,
    routes: Vec<HttpRoute>,
    signed: Option<Signed>,
}

impl Control {
    /// What `copy` will answer for is known from here on, as far as its manifest says it: whoever calls it
    /// before is told that it is loading. Does nothing for a plugin that takes calls.
    pub(super) fn note_loading(&self, slot: &PluginSlot, copy: &Copy) {
        if slot.is_serving() {
            return;
        }
        let config = self.config.load();
        // What is wrong with it is told by whoever deploys it.
        let manifest =
            read_manifest(slot, copy, &config).unwrap_or_else(|_| Manifest::absent(&config));
        let (services, routes) = promised(slot.plugin_name(), &manifest, None, None);
        slot.set_loading(Some(Loading::of(services, routes)));
    }

    /// The same with what its schema says beyond its manifest, which is known before its component is compiled.
    fn note_promised(&self, slot: &PluginSlot, services: Vec<Text>, routes: &[HttpRoute]) {
        if slot.is_serving() || !slot.is_loading() {
            return;
        }
        slot.set_loading(Some(Loading::of(services, routes.to_vec())));
        self.publish();
    }

    /// From an offer to a generation that could take calls.
    pub(super) async fn prepare(
        &self,
        slot: &PluginSlot,
        offers: &mut OfferState,
        copy: Copy,
    ) -> Prepared {
        let offer = copy.deployment();
        let is_first = offers.last.is_none();
        // What was refused for something beside its octets is looked at again.
        if offers.last.replace(offer.clone()).as_ref() == Some(&offer) && !slot.is_waiting() {
            return Prepared::Nothing(Offered::Unchanged);
        }
        // Copies are of a life before as long as nothing serves.
        let state = if is_first || !slot.is_serving() {
            slot.store.state()
        } else {
            DeploymentState::default()
        };
        if state.skipped.as_ref() == Some(&offer)
            && let Some(good) = state.good.as_ref().and_then(|good| slot.store.load(good))
            && let Ok(generation) = self.start_up(slot, &good).await
        {
            slot.set_skipped(state.skipped);
            return Prepared::Generation {
                generation: Box::new(generation),
                copy: good,
                source: Source::Rollback,
            };
        }
        let mut refused = match self.start_up_new(slot, &copy).await {
            Ok(generation) => {
                return Prepared::Generation {
                    generation: Box::new(generation),
                    copy,
                    source: Source::Folder,
                };
            }
            Err(refused) => refused,
        };
        let good = state
            .good
            .filter(|good| *good != offer && !slot.is_serving());
        let Some(good) = good.and_then(|good| slot.store.load(&good)) else {
            slot.set_waiting(&copy, &refused);
            return Prepared::Nothing(Offered::Refused(refused));
        };
        slot.tell(&Offered::Refused(refused.clone()));
        match self.start_up(slot, &good).await {
            Ok(generation) => {
                slot.set_waiting(&copy, &refused);
                warn!(
                    plugin = slot.name,
                    reason = refused.reason,
                    "what lies in the folder was refused, the last good copy serves"
                );
                Prepared::Generation {
                    generation: Box::new(generation),
                    copy: good,
                    source: Source::LastGood,
                }
            }
            Err(other) => {
                // What lifts the copy's refusal is worth a try as well.
                refused.needs.merge(&other.needs);
                slot.set_waiting(&copy, &refused);
                Prepared::Nothing(Offered::Refused(refused))
            }
        }
    }

    /// From the last good copy to a generation that could take calls, because what lies in the folder
    /// cannot be read for the given reason.
    pub(super) async fn prepare_good(
        &self,
        slot: &PluginSlot,
        good: Copy,
        reason: String,
    ) -> Prepared {
        let refused = OfferRefused::new("", reason);
        slot.tell(&Offered::Refused(refused.clone()));
        match self.start_up(slot, &good).await {
            Ok(generation) => {
                warn!(
                    plugin = slot.name,
                    reason = refused.reason,
                    "what lies in the folder cannot be read, the last good copy serves"
                );
                Prepared::Generation {
                    generation: Box::new(generation),
                    copy: good,
                    source: Source::LastGood,
                }
            }
            Err(other) => {
                slot.set_waiting(&good, &other);
                Prepared::Nothing(Offered::Refused(refused))
            }
        }
    }

    /// A manifest is read and a component brought up to where it could take calls; it has served before.
    pub(super) async fn start_up(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
    ) -> Result<PreparedGeneration, OfferRefused> {
        self.start_up_admitted(slot, copy, false).await
    }

    /// As `start_up`, for what lies in the folder.
    async fn start_up_new(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
    ) -> Result<PreparedGeneration, OfferRefused> {
        self.start_up_admitted(slot, copy, true).await
    }

    async fn start_up_admitted(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
        is_new: bool,
    ) -> Result<PreparedGeneration, OfferRefused> {
        self.check_versions(slot, copy)?;
        let config = self.config.load_full();
        let manifest = offered_manifest(slot, copy, &config)?;
        let proto = offered_schema(slot, copy).await?;
        let plugin = slot.plugin_name();
        let (services, promised_routes) = promised(plugin, &manifest, proto.as_deref(), None);
        let is_silent = manifest.service.0.is_empty() && proto.is_none();
        let named = services.iter().map(Text::as_str).filter(|_| !is_silent);
        let promised_claims = Claimed::of(named, &promised_routes);
        // Nothing of it runs before that.
        let signed = self.admit(slot, copy, (&promised_claims, is_new)).await?;
        if proto.is_some() {
            self.note_promised(slot, services, &promised_routes);
        }
        let answers_once = answers_once(copy, manifest.instances.mode).await;
        let schema = proto.as_deref();
        let spec = PluginSpec {
            schema: schema.map(|schema| proto_schema::of_plugin(schema, manifest.payload)),
            ..manifest.spec(&config, answers_once.is_some())
        };
        let instances = KeptInstances::of(spec.instances.mode, answers_once);
        let ready = slot.plugin.prepare(copy.component.clone(), spec).await;
        let ready = ready.map_err(|refusal| {
            let needs = refusal.needs.clone();
            OfferRefused::new(&copy.digest, refusal).until(needs)
        })?;
        let refused = |reason: String| OfferRefused::new(&copy.digest, reason);
        let (services, answers) = (ready.services(), Some(ready.answers_requests()));
        let routes = web_routes::with_ends(plugin, &manifest.routes, services, answers);
        let routes = routes.and_then(|routes| http_routes::of_manifest(plugin, &routes, services));
        let mut routes = routes.map_err(refused)?;
        routes.extend(proto_schema::routes(plugin, schema, services));
        if is_new {
            let services = services.iter().map(|service| &*service.name);
            let claimed = Claimed::of(services, &routes);
            let (_, own_routes) = promised(plugin, &Manifest::absent(&config), None, answers);
            let own = Claimed::of([plugin], &own_routes);
            self.admit_claims(slot, copy, (&promised_claims, claimed, own))
                .await?;
        }
        let schemas = schema_file::read(&config.plugins.folder, manifest.schemas.as_deref());
        let schemas = schemas.await.map_err(|reason| {
            // The file may be there later, or be mended.
            let needs = Needs {
                time: true,
                ..Needs::default()
            };
            refused(reason).until(needs)
        })?;
        schema_file::check(ready.services())
            .await
            .map_err(refused)?;
        Ok(PreparedGeneration {
            ready,
            written: Written {
                proto,
                ..Written::of(manifest, schemas, instances)
            },
            routes,
            signed,
        })
    }

    /// A generation claims its services and takes their calls; whatever became of the offer is noted
    /// and shown in the routes.
    pub(super) async fn activate(&self, slot: &PluginSlot, prepared: Prepared) -> Offered {
        slot.set_loading(None);
        let (mut good, mut served) = (None, None);
        let offered = match prepared {
            Prepared::Nothing(offered) => offered,
            Prepared::Generation {
                generation,
                copy,
                source,
            } => match self.take_over(slot, *generation, &copy, source) {
                Ok(()) => {
                    served = Some((copy.clone(), source));
                    if source != Source::LastGood {
                        slot.end_waiting();
                    }
                    good = (source == Source::Folder).then_some(copy);
                    if source == Source::Rollback {
                        Offered::Skipped
                    } else {
                        Offered::Deployed
                    }
                }
                Err(taken) => {
                    let refused = OfferRefused::taken(&copy, taken);
                    // The offer is what lies in the folder, whichever copy could not be taken.
                    if source == Source::Folder {
                        slot.set_waiting(&copy, &refused);
                    }
                    Offered::Refused(refused)
                }
            },
        };
        slot.tell(&offered);
        self.note_offered(slot, &offered);
        if slot.is_waiting() {
            // There is another time, or another folder, to look at.
            self.refusals.notify_one();
        }
        self.publish();
        // Calls go there from here on; writing megabytes to the disk does not delay them.
        if let Some(copy) = good {
            keep(slot, copy).await;
        }
        // After that, so that the last good copy is no older than what is known to have served.
        if let Some((copy, source)) = served {
            self.note_served(slot, &copy, (source, slot.shown().signed))
                .await;
        }
        offered
    }

    /// `generation` claims its services and takes the plugin's calls.
    ///
    /// # Errors
    /// When another plugin holds one of them; then nothing has changed.
    pub(super) fn take_over(
        &self,
        slot: &PluginSlot,
        generation: PreparedGeneration,
        copy: &Copy,
        source: Source,
    ) -> Result<(), Taken> {
        let PreparedGeneration {
            ready,
            written,
            routes,
            signed,
        } = generation;
        let services = ready.services().iter();
        let services: BTreeSet<_> = services.map(|service| service.name.to_string()).collect();
        let deployment = copy.deployment();
        let _changing = self.versions.lock_changes();
        let claimed = self.claim_version(slot, &deployment, &written, (services, &routes));
        let arrival =
            claimed.inspect_err(|taken| warn!(plugin = slot.name, %taken, "component refused"))?;
        let deployed = slot.plugin.activate(ready);
        slot.set_current(&deployed, (written, routes), copy, source);
        self.enter_version(slot, &deployment, &arrival);
        slot.set_signed(signed);
        // It may have let go of what others wait for.
        self.refusals.notify_one();
        Ok(())
    }
}

/// The services and routes that `manifest` and the schema promise for a component of which nothing is known,
/// or whether it answers requests of HTTP itself.
fn promised(
    plugin: &str,
    manifest: &Manifest,
    schema: Option<&ProtoSchema>,
    answers: Option<bool>,
) -> (Vec<Text>, Vec<HttpRoute>) {
    let written = manifest.service.0.iter();
    let mut services: Vec<Text> = written.map(|name| Text::from(name.as_str())).collect();
    if services.is_empty() {
        let declared = schema.iter().flat_map(|schema| schema.services().iter());
        services.extend(declared.map(|service| service.name.clone()));
    }
    if services.is_empty() {
        services.push(plugin.into());
    }
    let infos = services.iter().map(|name| ServiceInfo {
        name: name.clone(),
        ..ServiceInfo::default()
    });
    let infos: Vec<_> = infos.collect();
    let routes = web_routes::with_ends(plugin, &manifest.routes, &infos, answers);
    let routes = routes.and_then(|routes| http_routes::of_manifest(plugin, &routes, &infos));
    // What is wrong with them is told by whoever deploys them.
    let mut routes = routes.unwrap_or_default();
    routes.extend(proto_schema::routes(plugin, schema, &infos));
    (services, routes)
}

/// The manifest of an offer.
fn offered_manifest(
    slot: &PluginSlot,
    copy: &Copy,
    config: &Config,
) -> Result<Manifest, OfferRefused> {
    read_manifest(slot, copy, config).map_err(|faults| {
        warn!(plugin = slot.name, %faults, "manifest refused");
        let needs = Needs {
            settings: true,
            ..Needs::default()
        };
        OfferRefused::new(&copy.digest, format!("manifest: {faults}")).until(needs)
    })
}

/// The protobuf schema of an offer, where it has one. Another one is another offer.
async fn offered_schema(
    slot: &PluginSlot,
    copy: &Copy,
) -> Result<Option<Arc<ProtoSchema>>, OfferRefused> {
    proto_schema::compile(copy).await.map_err(|faults| {
        warn!(plugin = slot.name, %faults, "schema refused");
        OfferRefused::new(&copy.digest, format!("schema: {faults}"))
    })
}

fn read_manifest(slot: &PluginSlot, copy: &Copy, config: &Config) -> Result<Manifest, Faults> {
    match &copy.manifest {
        Some(text) => Manifest::parse(&format!("{}.toml", slot.name), text, config),
        None => Ok(Manifest::absent(config)),
    }
}

/// Keeps `copy` as last good one; the caller holds the lock of the plugin's offers, so copies do not overtake each
/// other.
async fn keep(slot: &PluginSlot, copy: Copy) {
    let store = slot.store.clone();
    let kept = spawn_blocking(move || store.keep(&copy)).await;
    if let Err(error) = kept.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        warn!(plugin = slot.name, %error, "this generation is not kept as last good copy");
    }
}

/// Why an instance of `copy` answers one request only, where its manifest leaves that to the component.
async fn answers_once(copy: &Copy, mode: InstanceMode) -> Option<&'static str> {
    match mode {
        InstanceMode::Auto => {
            let component = copy.component.clone();
            let reading = spawn_blocking(move || reuse::answers_once(&component));
            reading.await.unwrap_or_default()
        }
        InstanceMode::Pooled | InstanceMode::Isolated | InstanceMode::Single => None,
    }
}
