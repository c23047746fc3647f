//! A plugin: a named slot that holds one generation in service. What was in service before is not
//! remembered here: whoever owns the components deploys an earlier one again.

mod copies;
pub(crate) mod recording;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Kind, Reply,
    extension::{
        Authenticator, Authorizer, EventHandler, FrameExtension, RequestInterceptor,
        ResponseInterceptor,
    },
    service::ServiceInfo,
};
use postern_system::clock;
use tokio::sync::oneshot;

use crate::{
    coded_call,
    digest::Digest,
    engine::Maintenance,
    entry::{
        async_stream::HandleAsync,
        balancer::{BalancerFunctions, ComponentBalancer},
        batch::{self, HandleBatch},
        describe::Services,
        event::{OnEvent, PluginEvents},
        first_answers,
        frame::{Framing, PluginFrames},
        handler::Handle,
        health::{self, Check, HealthReport},
        identity::{Authenticate, Authorize, PluginAuthenticator, PluginAuthorizer},
        interceptor::{OnRequest, OnResponse, PluginRequests, PluginResponses},
        role_call::call_one,
        schemas::Schemas,
        stream::HandleStream,
        text::HandleText,
        web::{HandleIncoming, HandleRequest},
    },
    generation::{Generation, WorkerShard},
    linking::RoleSpec,
    on_trap::TrapState,
    own_metrics::OwnMetric,
    recorder::RecorderSlot,
    reload::{Loader, ReadyGeneration, told_version},
    role::Role,
    runtime::Runtime,
    sandbox_stats::SandboxSnapshot,
    serving::InService,
    spec::PluginSpec,
    stage::{Deployed, Refusal, Stage},
    stats_table::StatsTable,
    status::{InlinePathStatus, PluginState, PluginStatus, Record},
    trap_policy::TrapStatus,
};

/// The roles that there are, one line each.
const ROLES: [RoleSpec; Role::ALL.len()] = [
    RoleSpec::pooled::<Handle>(),
    RoleSpec::pooled::<HandleText>(),
    RoleSpec::pooled::<HandleBatch>(),
    RoleSpec::pooled::<HandleStream>(),
    RoleSpec::pooled::<HandleAsync>(),
    RoleSpec::pooled::<HandleIncoming>(),
    RoleSpec::pooled::<HandleRequest>(),
    RoleSpec::direct::<BalancerFunctions>(),
    RoleSpec::direct::<OnRequest>(),
    RoleSpec::direct::<OnResponse>(),
    RoleSpec::direct::<Framing>(),
    RoleSpec::direct::<Authenticate>(),
    RoleSpec::direct::<Authorize>(),
    RoleSpec::pooled::<OnEvent>(),
    RoleSpec::pooled::<Check>(),
    RoleSpec::pooled::<Services>(),
    RoleSpec::pooled::<Schemas>(),
];

/// A slot for one plugin. As a `Handler` it calls the generation in service.
pub struct Plugin {
    loader: Loader,
    in_service: Arc<InService>,
    /// One deploy or removal at a time.
    deploying: tokio::sync::Mutex<()>,
    record: Mutex<Record>,
    /// Tells of the end of each generation that was put into service.
    ended: Mutex<Vec<oneshot::Receiver<()>>>,
    numbers: AtomicU64,
    recorder: RecorderSlot,
}

impl Plugin {
    /// An empty slot.
    #[must_use]
    pub fn new(runtime: &Arc<Runtime>, name: &str) -> Self {
        let loader = Loader {
            runtime: Arc::clone(runtime),
            plugin: name.into(),
            stats: Arc::default(),
            sandbox: Arc::default(),
            own_metrics: runtime.own_metrics.of(name),
            roles: &ROLES,
        };
        Self {
            loader,
            in_service: InService::new(name),
            deploying: tokio::sync::Mutex::default(),
            record: Mutex::default(),
            ended: Mutex::default(),
            numbers: AtomicU64::new(0),
            recorder: RecorderSlot::default(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.loader.plugin
    }

    /// Puts the component `source` into service: compiled or taken from the cache, imports checked,
    /// linked, warmed, asked for its health. The generation before it ends with its last call.
    ///
    /// # Errors
    /// The stage that was not reached, and why. The generation before stays in service.
    pub async fn deploy(&self, source: Bytes, spec: PluginSpec) -> Result<Deployed, Refusal> {
        let _deploying = self.deploying.lock().await;
        let ready = self.prepare(source, spec).await?;
        Ok(self.activate(ready))
    }

    /// As `deploy`, up to where the component could take calls: `activate` lets it, and until then
    /// nothing has changed.
    ///
    /// # Errors
    /// As `deploy`.
    pub async fn prepare(
        &self,
        source: Bytes,
        spec: PluginSpec,
    ) -> Result<ReadyGeneration, Refusal> {
        let digest = Digest::of(&source);
        let version = told_version(&spec, &digest);
        let number = self.numbers.fetch_add(1, Relaxed) + 1;
        let on_stage = |stage| {
            self.record
                .lock()
                .on_stage(stage, Some(number), Some(digest))
        };
        let prepared = async {
            let ready = self.loader.prepare(source, digest, spec, number, on_stage);
            let ready = ready.await?;
            first_answers::check(&ready.serving).await?;
            self.loader.tell_version(&ready.serving.generation);
            on_stage(Stage::Healthy);
            Ok(ready)
        };
        prepared.await.inspect_err(|refusal: &Refusal| {
            self.loader.stats.on_refused(&version);
            self.record.lock().on_refused(refusal, digest);
            let digest = digest.short();
            tracing::warn!(plugin = self.name(), %digest, stage = %refusal.stage, reason = %refusal.reason, "component refused");
        })
    }

    /// Puts `ready`, which this plugin prepared, into service. The generation before it ends with its
    /// last call.
    pub fn activate(&self, ready: ReadyGeneration) -> Deployed {
        let ReadyGeneration {
            serving,
            ended,
            cached,
        } = ready;
        let generation = Arc::clone(&serving.generation);
        let (number, digest) = (generation.number, generation.digest);
        let maintained: Arc<dyn Maintenance> = Arc::clone(&generation) as _;
        self.loader
            .runtime
            .engines
            .maintain_regularly(Arc::downgrade(&maintained));
        drop(maintained);
        generation.guest.traps.activate();
        self.track(ended);
        let before = self.in_service.replace(Some(serving));
        if let Some(before) = before {
            before
                .generation
                .begin_drain(generation.guest.spec.drain_max);
        }
        generation.guest.stats.reloads_ok.fetch_add(1, Relaxed);
        {
            let mut record = self.record.lock();
            record.refusal = None;
            record.removed = false;
            record.on_stage(Stage::Active, Some(number), Some(digest));
        }
        tracing::info!(plugin = self.name(), generation = number, digest = %digest.short(), cached, "component in service");
        Deployed {
            generation: number,
            digest,
            roles: generation.roles.clone(),
            services: generation.services().to_vec(),
            cached,
        }
    }

    /// Takes the plugin out of service and waits until its last call has ended, or was cut off.
    pub async fn remove(&self) {
        let deploying = self.deploying.lock().await;
        if let Some(before) = self.in_service.replace(None) {
            let limit = before.generation.guest.spec.drain_max;
            before.generation.begin_drain(limit);
            drop(before);
            let mut record = self.record.lock();
            record.removed = true;
            record.on_stage(Stage::Removed, None, None);
        }
        let ended = std::mem::take(&mut *self.ended.lock());
        for generation in ended {
            // Nothing is ever sent: the sender is dropped with the generation.
            drop(generation.await);
        }
        drop(deploying);
    }

    /// Asks the generation in service for its health; it has `limit` to answer. Where every instance
    /// is at work one more is made for the question; a `single` plugin, or one for which there is no
    /// slot, is then `Busy`, which is not ill.
    ///
    /// # Errors
    /// `unavailable` when there is none, `deadline-exceeded` without an answer; otherwise as a call.
    pub async fn check_health(&self, limit: Duration) -> Result<HealthReport, Error> {
        let shard = self.in_service.shard();
        let shard = shard.ok_or_else(|| self.in_service.unavailable())?;
        health::check(shard, limit).await
    }

    #[must_use]
    pub fn status(&self) -> PluginStatus {
        let active = self.in_service.load_full();
        let generation = active.as_ref().map(|serving| &serving.generation);
        let traps = generation.map(|generation| generation.guest.traps.status(clock::now()));
        let stopped = traps.as_ref().and_then(|traps| match traps.state {
            TrapState::Stopped => traps.reason.clone(),
            TrapState::Serving | TrapState::Closed | TrapState::Trying | TrapState::Quarantined => {
                None
            }
        });
        let record = self.record.lock();
        let state = match generation {
            Some(_) if stopped.is_some() => PluginState::Stopped,
            Some(_) => PluginState::Active,
            None if record.removed => PluginState::Removed,
            None => PluginState::Empty,
        };
        PluginStatus {
            name: self.name().to_owned(),
            state,
            generation: generation.map(|generation| generation.number),
            digest: generation.map(|generation| generation.digest),
            roles: generation
                .map(|generation| generation.roles.clone())
                .unwrap_or_default(),
            services: generation
                .map(|generation| generation.services().to_vec())
                .unwrap_or_default(),
            instances: generation.map_or(0, |generation| generation.n_instances()),
            inline_path: generation.and_then(|generation| inline_path(generation)),
            draining: self.n_alive().saturating_sub(usize::from(active.is_some())),
            stopped,
            traps,
            refusal: record.refusal.clone(),
            history: record.history(),
            stats: self.loader.stats.snapshot(),
        }
    }

    /// What the generation in service answers for; nothing without one.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceInfo> {
        let active = self.in_service.load();
        active
            .as_ref()
            .map(|serving| serving.generation.services().to_vec())
            .unwrap_or_default()
    }

    /// Has the generation in service take calls again that its traps have kept from that. Says whether
    /// it was kept.
    pub fn release(&self) -> bool {
        let active = self.in_service.load();
        let guest = active.as_ref().map(|serving| &serving.generation.guest);
        let changed = guest.and_then(|guest| Some((guest, guest.traps.release()?)));
        if let Some((guest, to)) = changed {
            guest.tell_trap_change(Some(to));
        }
        changed.is_some()
    }

    /// Whether its traps keep the generation in service from taking calls, and why.
    #[must_use]
    pub fn trap_status(&self) -> Option<TrapStatus> {
        let active = self.in_service.load();
        let serving = active.as_ref()?;
        Some(serving.generation.guest.traps.status(clock::now()))
    }

    /// Counters of grants and bounds over all generations.
    #[must_use]
    pub fn sandbox(&self) -> SandboxSnapshot {
        self.loader.sandbox.snapshot()
    }

    /// Counters over all generations.
    #[must_use]
    pub fn stats(&self) -> &StatsTable {
        &self.loader.stats
    }

    /// What its guests count themselves.
    #[must_use]
    pub fn own_metrics(&self) -> Vec<OwnMetric> {
        self.loader.own_metrics.snapshot()
    }

    /// The generation in service, if it answers calls.
    fn answering(&self) -> Result<Arc<WorkerShard>, Error> {
        let shard = self.in_service.shard();
        let shard = shard.ok_or_else(|| self.in_service.unavailable())?;
        if shard.generation().handles() {
            return Ok(shard);
        }
        let message = format!("plugin {} answers no calls", self.name());
        Err(Error::new(Kind::Unimplemented, Blame::Gateway, message))
    }

    /// Remembers a generation until it ends, and forgets those that have.
    fn track(&self, ended: oneshot::Receiver<()>) {
        let mut all = self.ended.lock();
        all.retain_mut(is_alive);
        all.push(ended);
    }

    fn n_alive(&self) -> usize {
        let mut all = self.ended.lock();
        all.retain_mut(is_alive);
        all.len()
    }
}

/// A plugin in each of its roles. What is given out follows the plugin: every call of it goes to the
/// generation in service.
impl Plugin {
    /// The plugin as an interceptor of requests, if the generation in service is one.
    #[must_use]
    pub fn request_interceptor(&self) -> Option<Arc<dyn RequestInterceptor>> {
        self.in_service
            .has(Role::RequestInterceptor)
            .then(|| Arc::new(PluginRequests(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as an interceptor of responses, if the generation in service is one.
    #[must_use]
    pub fn response_interceptor(&self) -> Option<Arc<dyn ResponseInterceptor>> {
        self.in_service
            .has(Role::ResponseInterceptor)
            .then(|| Arc::new(PluginResponses(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as a frame extension, if the generation in service is one.
    #[must_use]
    pub fn frame_extension(&self) -> Option<Arc<dyn FrameExtension>> {
        self.in_service
            .has(Role::FrameExtension)
            .then(|| Arc::new(PluginFrames(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as an authenticator, if the generation in service is one.
    #[must_use]
    pub fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        self.in_service
            .has(Role::Authenticator)
            .then(|| Arc::new(PluginAuthenticator(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as an authorizer, if the generation in service is one.
    #[must_use]
    pub fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        self.in_service
            .has(Role::Authorizer)
            .then(|| Arc::new(PluginAuthorizer(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as a handler of events, if the generation in service is one.
    #[must_use]
    pub fn event_handler(&self) -> Option<Arc<dyn EventHandler>> {
        self.in_service
            .has(Role::EventHandler)
            .then(|| Arc::new(PluginEvents(Arc::clone(&self.in_service))) as _)
    }

    /// The plugin as the balancer of `service`, if the generation in service is one.
    #[must_use]
    pub fn balancer(&self, service: &str) -> Option<Arc<ComponentBalancer>> {
        self.in_service
            .has(Role::Balancer)
            .then(|| ComponentBalancer::new(&self.in_service, service))
    }
}

impl Handler for Plugin {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let shard = match self.answering() {
            Ok(shard) => shard,
            Err(error) => return coded_call::refused(error),
        };
        match coded_call::conversion(&shard.generation().guest.spec, &call) {
            Ok(None) => self.enter(shard, call),
            Ok(Some(conversion)) => {
                coded_call::call(conversion, call, |call| self.enter(shard, call))
            }
            Err(error) => coded_call::refused(error),
        }
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let Ok(shard) = self.answering() else {
            return calls.into_iter().map(|call| self.call(call)).collect();
        };
        let spec = &shard.generation().guest.spec;
        match spec.schema {
            None => self.enter_batch(&shard, calls),
            Some(_) => coded_call::call_batch(spec, calls, |calls| self.enter_batch(&shard, calls)),
        }
    }
}

impl Plugin {
    /// Answers a call as the guest is to see it.
    fn enter(&self, shard: Arc<WorkerShard>, call: Call) -> BoxFuture<Result<Reply, Error>> {
        // Its octets move once: from here on it is handed on by pointer.
        if self.recorder.is_on() {
            recording::call(&self.recorder, shard, call)
        } else {
            call_one(shard, Box::new(call))
        }
    }

    /// As `enter`, for calls that came together.
    fn enter_batch(
        &self,
        shard: &Arc<WorkerShard>,
        calls: Vec<Call>,
    ) -> Vec<BoxFuture<Result<Reply, Error>>> {
        if self.recorder.is_on() {
            return recording::call_batch(&self.recorder, shard, calls);
        }
        batch::call(shard, calls, |call| {
            call_one(Arc::clone(shard), Box::new(call))
        })
    }
}

fn inline_path(generation: &Generation) -> Option<InlinePathStatus> {
    let (open, bailouts) = generation.inline_path()?;
    Some(InlinePathStatus {
        open,
        bailouts: bailouts.count,
        opens_in_seconds: if open { 0 } else { bailouts.rounds_left },
    })
}

fn is_alive(ended: &mut oneshot::Receiver<()>) -> bool {
    matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}
