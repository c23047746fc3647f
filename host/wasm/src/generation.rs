//! One loaded version of a plugin: compiled code and its instances.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use postern_core::{Blame, Body, Call, Error, Kind, Retry};
use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::{
    call_path::CallPath,
    component::{Exports, Role},
    describe::{CallKind, MethodInfo, ServiceInfo},
    digest::Digest,
    direct::Direct,
    instance::{Failed, Instance},
    limits::time,
    placement::Placements,
    pool::{Full, Idle, Maintenance, Permit, Pool},
    spec::Mode,
    state::{Guest, State},
    stream_registry::StreamRegistry,
};

/// Code that can be instantiated.
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<State>,
    /// The same for the inline path, where the component may have it.
    pub(crate) inline: Option<InstancePre<State>>,
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
    pub(crate) pool: Pool<Box<Instance>>,
    pub(crate) streams: Arc<StreamRegistry>,
    /// Where calls of each method begin.
    pub(crate) placements: Placements,
    /// Whether a call has shown that the inline path is not for this component.
    bailed_out: AtomicBool,
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
        let generation = Self {
            number,
            digest,
            roles: linked.exports.roles(),
            described: OnceLock::new(),
            pool: Pool::new(instances.live_max(), instances.queue_max),
            streams: Arc::new(StreamRegistry::new(instances)),
            placements: Placements::new(),
            bailed_out: AtomicBool::new(false),
            stopped: OnceLock::new(),
            linked,
            guest,
            _alive: alive,
        };
        (Arc::new(generation), ended)
    }

    /// Instances alive or being made.
    pub(crate) fn n_instances(&self) -> usize {
        self.pool.live()
    }

    /// Whether `call` is one for the role `stream-handler`. Where a component has both roles: when
    /// the request is a stream of messages, or `describe` says that the method is not unary. Octets
    /// that flow are collected for a unary method.
    pub(crate) fn streams(&self, call: &Call) -> bool {
        let exports = &self.linked.exports;
        if exports.handle.is_none() || exports.handle_stream.is_none() {
            return exports.handle.is_none();
        }
        let is_named = |(service, method): &(String, String)| {
            call.method == *method.as_str() && call.service == *service.as_str()
        };
        matches!(call.body, Body::Messages(_)) || self.streamed().iter().any(is_named)
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

    /// The path on which calls of one message begin. State that a `single` instance keeps would be
    /// lost with a bailout.
    pub(crate) fn path(&self) -> CallPath {
        let is_inline = self.linked.inline.is_some()
            && self.guest.spec.instances.mode != Mode::Single
            && !self.bailed_out.load(Relaxed);
        if is_inline {
            CallPath::Inline
        } else {
            CallPath::Async
        }
    }

    /// Whether calls that arrive together may be answered in one entry: by an instance that others
    /// may use, and that can be dropped with all that it has done.
    pub(crate) fn batches(&self) -> bool {
        self.linked.exports.handle_batch.is_some()
            && self.guest.spec.instances.mode == Mode::Pooled
            && self.path() == CallPath::Inline
    }

    /// Begins no more calls on the inline path.
    pub(crate) fn bail_out(&self) {
        if !self.bailed_out.swap(true, Relaxed) {
            let plugin = &self.guest.plugin;
            tracing::debug!(%plugin, generation = self.number, "calls go to the async path");
        }
    }

    /// Makes an instance on leave from the pool; the leave is given back if it fails.
    pub(crate) async fn make(&self, path: CallPath) -> Result<Box<Instance>, Error> {
        let leave = Leave(Some(&self.pool));
        let instance = self.instantiate(path).await?;
        leave.used();
        Ok(instance)
    }

    /// Makes an instance for `path`, or for the async path where it cannot start otherwise.
    pub(crate) async fn instantiate(&self, path: CallPath) -> Result<Box<Instance>, Error> {
        let stats = &self.guest.stats;
        let mut made = self.start(path).await;
        if matches!(made, Err(Failed::Bailout)) {
            self.bail_out();
            made = self.start(CallPath::Async).await;
        }
        match made {
            Ok(instance) => {
                stats.instances_live.fetch_add(1, Relaxed);
                stats.instances_created.fetch_add(1, Relaxed);
                stats.on_memory(instance.memory_bytes());
                Ok(Box::new(instance))
            }
            Err(Failed::Bailout) => {
                let message = "an instance for the async path has bailed out";
                Err(Error::internal(message))
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

    async fn start(&self, path: CallPath) -> Result<Instance, Failed> {
        let now = Instant::now();
        let state = State::new(Arc::clone(&self.guest), now);
        let Linked {
            pre,
            inline,
            exports,
            ..
        } = &self.linked;
        match (path, inline) {
            (CallPath::Inline, Some(inline)) => {
                Instance::new(CallPath::Inline, inline, exports, state, now).await
            }
            (CallPath::Inline, None) | (CallPath::Async, _) => {
                Instance::new(CallPath::Async, pre, exports, state, now).await
            }
        }
    }

    /// Waits for an instance for as long as the manifest says, at the longest until `deadline`.
    pub(crate) async fn wait(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Permit<Box<Instance>>, Error> {
        let start = Instant::now();
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
        let longest = start + instances.queue_time_max;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        let permit = tokio::time::timeout_at(until.into(), waiter.permit()).await;
        let waited = start.elapsed();
        stats.on_queue_wait(waited);
        permit.ok().flatten().ok_or_else(|| {
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
        self.guest.drain.begin(Instant::now(), limit);
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

    /// Whether an instance may serve another call.
    pub(crate) fn is_fit(&self, instance: &Instance) -> bool {
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

impl Drop for Generation {
    fn drop(&mut self) {
        // What is still in the pool goes with it.
        self.guest
            .stats
            .instances_live
            .fetch_sub(self.pool.live(), SeqCst);
    }
}

impl Maintenance for Generation {
    fn maintain(&self) {
        let (guest, now) = (&self.guest, Instant::now());
        let instances = &guest.spec.instances;
        if instances.mode == Mode::Pooled {
            let n_retired = self.pool.retire_idle(now, instances.idle_max);
            guest.stats.instances_live.fetch_sub(n_retired, Relaxed);
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
