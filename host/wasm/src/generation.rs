//! One loaded version of a plugin: compiled code, its instances, and leases of them for calls.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Instant,
};

use postern_core::{Blame, Body, Call, Error, Kind, Retry};
use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::{
    component::{Exports, Role},
    convert::Trapped,
    describe::{CallKind, MethodInfo, ServiceInfo},
    digest::Digest,
    direct::Direct,
    instance::{Failed, Instance},
    limits::time,
    pool::{Full, Idle, Pool, Sweep, Turn},
    shard::{self, Padded},
    spec::{Mode, OnTrap},
    state::{Current, Guest, State},
    stats::Outcome,
};

/// Code that can be instantiated.
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    /// There when the component has a role that is entered directly.
    pub(crate) direct: Option<Direct>,
}

/// A version of a plugin. It lives until its last call has ended.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) digest: Digest,
    pub(crate) guest: Arc<Guest>,
    pub(crate) roles: Vec<Role>,
    /// Known once `describe` was asked.
    described: OnceLock<Described>,
    pub(crate) linked: Linked,
    pool: Pool<Box<Instance>>,
    /// Why it answers no more (`OnTrap::Stop`).
    pub(crate) stopped: OnceLock<String>,
    /// Dropped with the generation: that is how its end is known.
    _alive: oneshot::Sender<()>,
}

/// What a generation answers for.
struct Described {
    services: Vec<ServiceInfo>,
    /// Service and method of what is not unary.
    streamed: Vec<(String, String)>,
}

/// A generation in service. Each worker thread counts its calls on an `Arc` of its own, so that they
/// do not share a cache line.
pub(crate) struct Serving {
    pub(crate) generation: Arc<Generation>,
    homes: Box<[Arc<Home>]>,
}

/// One worker's hold on a generation.
pub(crate) struct Home(Padded<Arc<Generation>>);

/// An instance for the time of one call. Dropped before it is finished, it counts as cancelled and
/// the instance is not used again: the guest stands in the middle of something.
pub(crate) struct Lease {
    // Dropped first: the slot is free when the instance is gone.
    instance: Box<Instance>,
    slot: Slot,
}

/// The place that an instance takes in its pool, while it is out.
struct Slot {
    home: Arc<Home>,
    start: Instant,
    /// Whether a caller waits; `health` and `describe` are not counted among the calls.
    is_call: bool,
    end: End,
}

/// How the time of a lease ended.
#[derive(PartialEq, Eq)]
enum End {
    /// Neither answer nor trap was recorded.
    Cancelled,
    /// The call was recorded, the instance is gone.
    Retired,
    /// The instance is back in the pool.
    GivenBack,
}

impl Generation {
    /// A generation without instances yet, and what tells of its end: receiving fails when the
    /// generation is gone.
    pub(crate) fn new(
        number: u64,
        digest: Digest,
        guest: Arc<Guest>,
        linked: Linked,
    ) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        let instances = &guest.spec.instances;
        let max = if instances.mode == Mode::Single {
            1
        } else {
            instances.max
        };
        let generation = Self {
            number,
            digest,
            roles: linked.exports.roles(),
            described: OnceLock::new(),
            pool: Pool::new(max, instances.queue_max),
            stopped: OnceLock::new(),
            linked,
            guest,
            _alive: alive,
        };
        (Arc::new(generation), ended)
    }

    /// Makes instances ahead of the first calls: two, or as many as there may be. An `isolated`
    /// plugin makes one, which shows that it can.
    pub(crate) async fn warm(&self) -> Result<(), Error> {
        let instances = &self.guest.spec.instances;
        let n_instances = match instances.mode {
            Mode::Pooled => instances.max.min(2),
            Mode::Isolated | Mode::Single => 1,
        };
        let mut made = Vec::new();
        for _ in 0..n_instances {
            let Some(Turn::Make) = self.pool.try_take() else {
                break;
            };
            made.push(self.make().await?);
        }
        for instance in made {
            self.pool.give_back(instance);
        }
        Ok(())
    }

    /// Instances alive or being made.
    pub(crate) fn n_instances(&self) -> usize {
        self.pool.live()
    }

    /// Whether `call` is one for the role `stream-handler`. Where a component has both roles: when
    /// the request is a stream, or `describe` says that the method is not unary.
    pub(crate) fn streams(&self, call: &Call) -> bool {
        let exports = &self.linked.exports;
        if exports.handle.is_none() || exports.handle_stream.is_none() {
            return exports.handle.is_none();
        }
        let is_named = |(service, method): &(String, String)| {
            call.method == *method.as_str() && call.service == *service.as_str()
        };
        matches!(call.body, Body::Many(_)) || self.streamed().iter().any(is_named)
    }

    /// Keeps what `describe` said.
    pub(crate) fn set_services(&self, services: Vec<ServiceInfo>) {
        let streamed = services.iter().flat_map(|service| {
            let streamed = |method: &&MethodInfo| method.kind != CallKind::Unary;
            let methods = service.methods.iter().filter(streamed);
            methods.map(|method| (service.name.clone(), method.name.clone()))
        });
        let described = Described {
            streamed: streamed.collect(),
            services,
        };
        self.described.get_or_init(|| described);
    }

    fn streamed(&self) -> &[(String, String)] {
        self.described
            .get()
            .map_or(&[], |described| &described.streamed)
    }

    /// What it answers for; empty before it was asked.
    pub(crate) fn services(&self) -> &[ServiceInfo] {
        self.described
            .get()
            .map_or(&[], |described| &described.services)
    }

    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// Makes an instance on leave from the pool; the leave is given back if it fails.
    async fn make(&self) -> Result<Box<Instance>, Error> {
        let leave = Leave(Some(&self.pool));
        let stats = &self.guest.stats;
        let now = Instant::now();
        let state = State::new(Arc::clone(&self.guest), now);
        match Instance::new(&self.linked.pre, &self.linked.exports, state, now).await {
            Ok(instance) => {
                leave.used();
                stats.instances_live.fetch_add(1, Relaxed);
                stats.instances_created.fetch_add(1, Relaxed);
                stats.on_memory(instance.memory_bytes());
                Ok(Box::new(instance))
            }
            Err(Failed::Guest(trapped)) => {
                stats.on_trap(trapped.reason);
                Err(trapped.into_error(&self.guest.plugin))
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

    /// Waits for an instance until the caller's deadline, or for as long as the manifest says.
    async fn wait(&self, deadline: Option<Instant>) -> Result<Turn<Box<Instance>>, Error> {
        let start = Instant::now();
        let (plugin, stats) = (&self.guest.plugin, &self.guest.stats);
        let instances = &self.guest.spec.instances;
        let refuse = |message: String| {
            stats.on_refused();
            let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, message);
            error.with_retry(Retry::Elsewhere)
        };
        let mut place = self.pool.enqueue().map_err(|Full| {
            let queue_max = instances.queue_max;
            refuse(format!(
                "{queue_max} calls already wait for an instance of plugin {plugin}"
            ))
        })?;
        let _waiting = Waiting::new(stats);
        let until = deadline.unwrap_or(start + instances.queue_time_max);
        let turn = tokio::time::timeout_at(until.into(), place.turn()).await;
        let waited = start.elapsed();
        stats.on_queue_wait(waited);
        turn.ok().flatten().ok_or_else(|| {
            let max = self.pool.live();
            let message = format!(
                "all {max} instances of plugin {plugin} were busy for {}",
                time(waited)
            );
            refuse(message)
        })
    }

    /// Whether an instance may serve another call.
    fn is_fit(&self, instance: &Instance) -> bool {
        let instances = &self.guest.spec.instances;
        match instances.mode {
            Mode::Single => true,
            Mode::Isolated => false,
            Mode::Pooled => {
                instance.n_calls < instances.calls_max
                    && instance.growth_bytes() <= instances.growth_bytes_max
            }
        }
    }
}

impl Serving {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        let home = |_| Arc::new(Home(Padded(Arc::clone(&generation))));
        Self {
            homes: (0..shard::count()).map(home).collect(),
            generation,
        }
    }

    /// This thread's hold.
    pub(crate) fn home(&self) -> Option<Arc<Home>> {
        shard::current(&self.homes).map(Arc::clone)
    }
}

impl Home {
    pub(crate) fn generation(&self) -> &Generation {
        &self.0.0
    }

    /// An idle instance, if there is one and nothing stands against using it.
    pub(crate) fn try_lease(self: Arc<Self>) -> Result<Lease, Arc<Self>> {
        let generation = self.generation();
        if generation.stopped().is_some() {
            return Err(self);
        }
        match generation.pool.try_take_idle() {
            Some(instance) => Ok(self.lease_of(instance)),
            None => Err(self),
        }
    }

    /// An instance, at once if there is one, in turn otherwise.
    ///
    /// # Errors
    /// `unavailable` when the plugin has stopped, `resource-exhausted` when none came in time, and
    /// what kept a new one from starting.
    pub(crate) async fn lease(self: Arc<Self>, deadline: Option<Instant>) -> Result<Lease, Error> {
        let generation = self.generation();
        if let Some(reason) = generation.stopped() {
            let message = format!("plugin {} has stopped: {reason}", generation.guest.plugin);
            return Err(Error::unavailable(Blame::Guest, message));
        }
        let turn = match generation.pool.try_take() {
            Some(turn) => turn,
            None => generation.wait(deadline).await?,
        };
        let instance = match turn {
            Turn::Ready(instance) => instance,
            Turn::Make => generation.make().await?,
        };
        Ok(self.lease_of(instance))
    }

    fn lease_of(self: Arc<Self>, instance: Box<Instance>) -> Lease {
        let slot = Slot {
            start: Instant::now(),
            is_call: false,
            end: End::Cancelled,
            home: self,
        };
        Lease { instance, slot }
    }
}

impl Lease {
    pub(crate) fn guest(&self) -> &Guest {
        &self.slot.home.generation().guest
    }

    /// The instance, ready for a call.
    pub(crate) fn begin(&mut self, current: Option<Current>) -> &mut Instance {
        self.slot.is_call = current.is_some();
        self.instance.begin(self.slot.start, current);
        &mut self.instance
    }

    pub(crate) fn instance(&mut self) -> &mut Instance {
        &mut self.instance
    }

    /// Puts an instance back that was not called.
    pub(crate) fn hand_back(self) {
        self.give_back(Instant::now());
    }

    /// Records an answer, be it a failure, and puts the instance back.
    pub(crate) fn finish(self, outcome: Outcome) {
        let now = Instant::now();
        self.slot.record(outcome, now);
        self.guest().stats.on_memory(self.instance.memory_bytes());
        self.give_back(now);
    }

    /// Records a trap and drops the instance, which cannot be entered again.
    pub(crate) fn trap(self, trapped: Trapped) -> Error {
        let Self { mut slot, instance } = self;
        slot.end = End::Retired;
        let generation = slot.home.generation();
        let guest = &generation.guest;
        slot.record(trapped.outcome(), Instant::now());
        guest.stats.on_trap(trapped.reason);
        guest.stats.on_memory(instance.memory_bytes());
        tracing::debug!(plugin = %guest.plugin, reason = %trapped.text, "instance stopped");
        if guest.spec.on_trap == OnTrap::Stop {
            generation.stopped.get_or_init(|| trapped.text.clone());
        }
        trapped.into_error(&guest.plugin)
    }

    fn give_back(self, now: Instant) {
        let Self {
            mut slot,
            mut instance,
        } = self;
        let generation = slot.home.generation();
        if generation.is_fit(&instance) {
            instance.last_used = now;
            generation.pool.give_back(instance);
            slot.end = End::GivenBack;
        } else {
            slot.end = End::Retired;
        }
    }
}

impl Slot {
    fn record(&self, outcome: Outcome, now: Instant) {
        if self.is_call {
            let stats = &self.home.generation().guest.stats;
            stats.on_call(outcome, now.saturating_duration_since(self.start));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let generation = self.home.generation();
        let stats = &generation.guest.stats;
        match self.end {
            End::GivenBack => return,
            End::Cancelled => self.record(Outcome::Cancelled, Instant::now()),
            End::Retired => {}
        }
        stats.instances_live.fetch_sub(1, Relaxed);
        generation.pool.release();
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // What is still in the pool goes with it.
        self.guest
            .stats
            .instances_live
            .fetch_sub(self.pool.live(), SeqCst);
    }
}

impl Sweep for Generation {
    fn sweep(&self) {
        let instances = &self.guest.spec.instances;
        if instances.mode == Mode::Pooled {
            let n_retired = self.pool.retire_idle(Instant::now(), instances.idle_max);
            self.guest
                .stats
                .instances_live
                .fetch_sub(n_retired, Relaxed);
        }
    }
}

impl Idle for Box<Instance> {
    fn last_used(&self) -> Instant {
        self.last_used
    }
}

/// Leave to make an instance, given back unless used.
struct Leave<'a>(Option<&'a Pool<Box<Instance>>>);

impl Leave<'_> {
    fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.release();
        }
    }
}

/// Counts a call as waiting for as long as it lives.
struct Waiting<'a>(&'a crate::stats::PluginStats);

impl<'a> Waiting<'a> {
    fn new(stats: &'a crate::stats::PluginStats) -> Self {
        stats.queue_length.fetch_add(1, Relaxed);
        Self(stats)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue_length.fetch_sub(1, Relaxed);
    }
}
