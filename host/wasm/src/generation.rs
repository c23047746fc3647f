//! One loaded version of a plugin: compiled code and its instances.

mod fitness;
mod fresh;

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{Blame, Body, Call, Error, Kind, Retry, service::ServiceInfo};
use postern_system::{
    clock,
    shard::{CachePadded, Sharded},
    wait,
};
use tokio::sync::oneshot;

use crate::{
    batch_statistics::BatchStatistics,
    call_path::{BailoutCount, CallPath, InlinePath},
    digest::Digest,
    engine::Maintenance,
    instance::{Code, Failed, Instance},
    limits::time,
    pool::{Full, Idle, InstancePool, Permit},
    retirement::Retirement,
    role::Role,
    spec::Mode,
    state::{Guest, StoreState},
    stats::PluginStats,
    stream_registry::StreamRegistry,
    streamed_methods::StreamedMethods,
    trap::Trapped,
    worker_local::{AnyLocal, DirectCode, DirectFunctions, WorkerLocal},
};

/// A version of a plugin. It lives until its last call has ended.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) digest: Digest,
    pub(crate) guest: Arc<Guest>,
    pub(crate) roles: Vec<Role>,
    /// Known once `describe` was asked.
    described: OnceLock<Described>,
    code: Code,
    /// There when the component has a role that is entered directly.
    direct: Option<Direct>,
    pub(crate) pool: InstancePool<Box<Instance>>,
    pub(crate) streams: Arc<StreamRegistry>,
    inline_path: InlinePath,
    /// Instances made under another one are not used again.
    cohort: AtomicU32,
    /// Dropped with the generation: that is how its end is known.
    _alive: oneshot::Sender<()>,
}

/// The worker-local instances of one generation.
pub(crate) struct Direct {
    pub(crate) code: Arc<DirectCode>,
    /// Those of each role that has them here.
    pub(crate) local: Vec<Box<dyn AnyLocal>>,
    /// What makes those of the roles that have them for each use.
    pub(crate) per_use: Vec<MakeLocal>,
}

/// Makes the worker-local instances of one role.
pub(crate) type MakeLocal = fn(&Arc<DirectCode>) -> Box<dyn AnyLocal>;

/// A generation in service. Each worker thread counts its calls on an `Arc` of its own, so that they
/// do not share a cache line.
pub(crate) struct Serving {
    pub(crate) generation: Arc<Generation>,
    shards: Sharded<Arc<WorkerShard>>,
}

/// A generation as one worker reaches it: its own reference, and what it has seen of calls.
pub(crate) struct WorkerShard(CachePadded<(Arc<Generation>, BatchStatistics)>);

/// What a generation answers for.
struct Described {
    services: Vec<ServiceInfo>,
    streamed: StreamedMethods,
}

impl Generation {
    /// A generation without instances yet, and what tells of its end: receiving fails when the
    /// generation is gone.
    pub(crate) fn new(
        number: u64,
        digest: Digest,
        guest: Arc<Guest>,
        code: Code,
        direct: Option<Direct>,
    ) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        let instances = &guest.spec.instances;
        let generation = Self {
            number,
            digest,
            roles: code.exports.roles(),
            described: OnceLock::new(),
            pool: InstancePool::new(instances.live_max(), instances.queue_max),
            streams: Arc::new(StreamRegistry::new(instances)),
            inline_path: InlinePath::default(),
            cohort: AtomicU32::new(0),
            code,
            direct,
            guest,
            _alive: alive,
        };
        (Arc::new(generation), ended)
    }

    /// Instances alive or being made.
    pub(crate) fn n_instances(&self) -> usize {
        self.pool.live()
    }

    /// Whether `call` is one for a role of many messages. Where a component has both roles: when
    /// the request is a stream of messages, or `describe` says that the method is not unary. Octets
    /// that flow are collected for a unary method.
    pub(crate) fn streams(&self, call: &Call) -> bool {
        let has_handler = self.answers_messages();
        if !has_handler || !self.streams_messages() {
            return !has_handler;
        }
        let is_streamed = || {
            let described = self.described.get();
            described.is_some_and(|described| described.streamed.has(&call.service, &call.method))
        };
        matches!(call.body, Body::Messages(_)) || is_streamed()
    }

    /// Keeps what `describe` said.
    pub(crate) fn set_services(&self, services: Vec<ServiceInfo>) {
        let streamed = StreamedMethods::of(&services);
        let described = Described { services, streamed };
        self.described.get_or_init(|| described);
    }

    /// What it answers for; empty before it was asked.
    pub(crate) fn services(&self) -> &[ServiceInfo] {
        self.described
            .get()
            .map_or(&[], |described| &described.services)
    }

    pub(crate) const fn has(&self, role: Role) -> bool {
        self.code.exports.has(role)
    }

    /// Whether it answers calls at all.
    pub(crate) const fn handles(&self) -> bool {
        self.answers_messages() || self.streams_messages() || self.answers_requests()
    }

    /// Whether it answers requests of HTTP as they are.
    pub(crate) const fn answers_requests(&self) -> bool {
        self.has(Role::IncomingHandler) || self.has(Role::HttpHandler)
    }

    /// Whether `call` is answered as a request of HTTP: it is one that is handed on, or there is no other
    /// role for it.
    pub(crate) fn takes_as_request(&self, call: &Call) -> bool {
        let answers_calls = self.answers_messages() || self.streams_messages();
        self.answers_requests() && (call.is_forwarded() || !answers_calls)
    }

    /// Whether it has a role for calls of many messages.
    const fn streams_messages(&self) -> bool {
        self.has(Role::StreamHandler) || self.has(Role::AsyncStreamHandler)
    }

    /// Whether it has a role for calls of one message.
    const fn answers_messages(&self) -> bool {
        self.has(Role::Handler) || self.has(Role::TextHandler)
    }

    /// Whether it can be entered as `role` at all.
    pub(crate) fn check_role(&self, role: Role) -> Result<(), Error> {
        self.check_running()?;
        if self.has(role) {
            return Ok(());
        }
        let (plugin, role) = (&self.guest.plugin, role.name());
        let message = format!("the version of plugin {plugin} in service has no role {role}");
        Err(Error::unavailable(Blame::Gateway, message))
    }

    /// Whether no traps keep it from taking calls.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        self.guest.refusal().map_or(Ok(()), Err)
    }

    /// Whether it has one role and not another. One that has just taken over from a generation with
    /// both is still asked about the one that it has given up.
    pub(crate) const fn has_only(&self, role: Role, other: Role) -> bool {
        self.has(role) && !self.has(other)
    }

    /// Its worker-local instances for the role of `F`, where that is entered directly.
    pub(crate) fn local<F: DirectFunctions>(&self) -> Option<&WorkerLocal<F>> {
        let local = self.direct.as_ref()?.local.iter();
        let mut local = local.map(|local| &**local as &dyn Any);
        local.find_map(|local| local.downcast_ref())
    }

    pub(crate) const fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// The code for direct entries.
    pub(crate) fn direct_code(&self) -> Option<&Arc<DirectCode>> {
        Some(&self.direct.as_ref()?.code)
    }

    /// The path on which calls of one message begin. State that a `single` instance keeps would be
    /// lost with a bailout.
    pub(crate) fn path(&self) -> CallPath {
        if self.may_be_inline() && self.inline_path.is_open() {
            CallPath::Inline
        } else {
            CallPath::Async
        }
    }

    fn may_be_inline(&self) -> bool {
        self.code.has_inline() && self.guest.spec.instances.mode != Mode::Single
    }

    /// What counts against its inline path, and whether that is open; `None` where it has none.
    pub(crate) fn inline_path(&self) -> Option<(bool, BailoutCount)> {
        let path = &self.inline_path;
        self.may_be_inline()
            .then(|| (path.is_open(), path.bailouts()))
    }

    /// Whether calls that arrive together may be answered in one entry: by an instance that others
    /// may use, and that can be dropped with all that it has done.
    pub(crate) fn batches(&self) -> bool {
        self.has(Role::BatchHandler)
            && self.has(Role::Handler)
            && self.guest.spec.instances.mode == Mode::Pooled
            && self.path() == CallPath::Inline
    }

    /// Begins no more calls on the inline path for a while.
    pub(crate) fn close_inline_path(&self) {
        if let Some(rounds) = self.inline_path.on_bailout() {
            let (plugin, generation) = (&self.guest.plugin, self.number);
            tracing::debug!(%plugin, generation, seconds = rounds, "calls go to the async path");
        }
    }

    /// Makes an instance by a permit of the pool, which is given back if that fails.
    pub(crate) async fn make(&self, path: CallPath) -> Result<Box<Instance>, Error> {
        let permit = MakePermit(Some(&self.pool));
        let instance = self.instantiate(path).await?;
        permit.used();
        Ok(instance)
    }

    /// Makes an instance for `path`, or for the async path where it cannot start otherwise.
    pub(crate) async fn instantiate(&self, path: CallPath) -> Result<Box<Instance>, Error> {
        let stats = &self.guest.stats;
        let mut made = self.start(path).await;
        if let Err(Failed::Bailout(bailout)) = made {
            stats.on_bailout(bailout);
            self.close_inline_path();
            made = self.start(CallPath::Async).await;
        }
        match made {
            Ok(instance) => {
                stats.on_made();
                Ok(Box::new(instance))
            }
            Err(Failed::Bailout(_)) => {
                let message = "an instance for the async path has bailed out";
                Err(Error::internal(message))
            }
            Err(Failed::Guest(trapped)) => {
                stats.on_trap(trapped.reason);
                self.guest.tell_trap(&trapped, "start");
                self.guest.on_trap(&trapped);
                Err(trapped.into_error(&self.guest.plugin, self.guest.tells_callers))
            }
            Err(Failed::Exhausted(reason)) => {
                let message = format!(
                    "no slot for an instance of plugin {}: {reason}",
                    self.guest.plugin
                );
                let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, message);
                Err(error.with_retry(Retry::Elsewhere))
            }
        }
    }

    async fn start(&self, path: CallPath) -> Result<Instance, Failed> {
        let now = clock::now();
        let state = StoreState::new(Arc::clone(&self.guest), now);
        let cohort = self.cohort.load(Relaxed);
        Instance::new(&self.code, path, state, (now, cohort)).await
    }

    /// Waits for an instance for as long as the manifest says, at the longest until `deadline`.
    pub(crate) async fn wait(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Permit<Box<Instance>>, Error> {
        let start = clock::now();
        let (plugin, stats) = (&self.guest.plugin, &self.guest.stats);
        let instances = &self.guest.spec.instances;
        let refuse = |message: String| {
            stats.on_refused();
            let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, message);
            error.with_retry(Retry::Elsewhere)
        };
        let mut waiter = self.pool.enqueue().map_err(|Full| {
            let queue_max = instances.queue_max;
            refuse(format!(
                "{queue_max} calls already wait for an instance of plugin {plugin}"
            ))
        })?;
        let _waiting = Waiting::new(stats);
        let permit = wait::before(deadline, waiter.permit());
        let permit = tokio::time::timeout(instances.queue_time_max, permit).await;
        let waited = clock::since(start);
        stats.on_queue_wait(waited);
        let permit = permit.ok().flatten().and_then(|(permit, _)| permit);
        permit.ok_or_else(|| {
            let max = self.pool.live();
            let message = format!(
                "all {max} instances of plugin {plugin} were busy for {}",
                time(waited)
            );
            refuse(message)
        })
    }

    /// The generation is out of service: its calls have `limit`.
    pub(crate) fn begin_drain(&self, limit: Duration) {
        self.guest.drain.begin(clock::now(), limit);
        if limit.is_zero() {
            self.cut();
        }
    }

    /// Cuts off the calls that are left.
    fn cut(&self) {
        let guest = &self.guest;
        if guest.drain.cut() {
            let (plugin, generation) = (&guest.plugin, self.number);
            tracing::warn!(%plugin, generation, "calls of a generation out of service are cut off");
        }
        self.streams.end_all(guest);
    }
}

impl Serving {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        let shard = || {
            let generation = Arc::clone(&generation);
            Arc::new(WorkerShard(CachePadded::new((
                generation,
                BatchStatistics::default(),
            ))))
        };
        Self {
            shards: Sharded::per_thread(shard),
            generation,
        }
    }

    /// That of this thread.
    pub(crate) fn shard(&self) -> Arc<WorkerShard> {
        Arc::clone(self.shards.mine())
    }
}

impl WorkerShard {
    pub(crate) fn generation(&self) -> &Generation {
        &self.0.0
    }

    pub(crate) fn batch_statistics(&self) -> &BatchStatistics {
        &self.0.1
    }

    /// How many calls may be answered in one entry at present.
    pub(crate) fn batch_max(&self) -> usize {
        let generation = self.generation();
        if generation.batches() {
            let batch_max = generation.guest.spec.instances.batch_max;
            self.batch_statistics().batch_max().min(batch_max)
        } else {
            1
        }
    }
}

impl Direct {
    /// Makes one instance for each use: a component that cannot start is found before it serves.
    pub(crate) fn warm(&self) -> Result<(), Trapped> {
        for local in &self.local {
            local.warm()?;
        }
        for new in &self.per_use {
            new(&self.code).warm()?;
        }
        Ok(())
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // What is still in the pool goes with it.
        let stats = &self.guest.stats;
        stats.on_retired(Retirement::Generation, self.pool.live());
    }
}

impl Maintenance for Generation {
    fn maintain(&self) {
        let (guest, now) = (&self.guest, clock::now());
        let instances = &guest.spec.instances;
        if instances.mode == Mode::Pooled {
            let n_retired = self.pool.retire_idle(now, instances.idle_max);
            guest.stats.on_retired(Retirement::Idle, n_retired);
        }
        guest.tell_trap_change(guest.traps.on_time(now));
        guest.placements.on_round();
        guest.role_placements.on_round();
        if self.inline_path.on_round() {
            // Instances for the inline path replace them.
            let n_retired = self
                .pool
                .retire(|instance| instance.path == CallPath::Async);
            guest.stats.on_retired(Retirement::Path, n_retired);
        }
        if guest.drain.is_over(now) {
            self.cut();
        } else {
            self.streams.end_stalled(guest, now);
        }
    }
}

impl Idle for Box<Instance> {
    fn last_used(&self) -> Instant {
        self.last_used
    }
}

/// A permit to make an instance, given back unless it is used.
struct MakePermit<'a>(Option<&'a InstancePool<Box<Instance>>>);

impl MakePermit<'_> {
    fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for MakePermit<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.release();
        }
    }
}

/// Counts a call as waiting for as long as it lives.
struct Waiting<'a>(&'a PluginStats);

impl<'a> Waiting<'a> {
    fn new(stats: &'a PluginStats) -> Self {
        stats.queue_length.fetch_add(1, Relaxed);
        Self(stats)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue_length.fetch_sub(1, Relaxed);
    }
}
