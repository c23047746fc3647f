//! A generation in service, as each worker thread holds it: how calls enter it and get instances.

use std::{sync::Arc, time::Instant};

use postern_core::{Blame, BoxFuture, Call, Error, Kind, Reply};

use crate::{
    batch::BatchStatistics,
    call_path::CallPath,
    direct::Direct,
    generation::Generation,
    handler,
    instance::Instance,
    lease::Lease,
    offload::{self, Purpose},
    placement::Placement,
    pool::Permit,
    shard::{self, Padded},
    spec::Mode,
    stream,
};

/// A generation in service. Each worker thread counts its calls on an `Arc` of its own, so that they
/// do not share a cache line.
pub(crate) struct Serving {
    pub(crate) generation: Arc<Generation>,
    shards: Box<[Arc<WorkerShard>]>,
}

/// One worker's hold on a generation.
pub(crate) struct WorkerShard(Padded<(Arc<Generation>, BatchStatistics)>);

impl Serving {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        let shard = |_| {
            Arc::new(WorkerShard(Padded((
                Arc::clone(&generation),
                BatchStatistics::default(),
            ))))
        };
        Self {
            shards: (0..shard::count()).map(shard).collect(),
            generation,
        }
    }

    /// This thread's hold.
    pub(crate) fn shard(&self) -> Option<Arc<WorkerShard>> {
        shard::current(&self.shards).map(Arc::clone)
    }
}

impl WorkerShard {
    /// Makes instances ahead of the first calls: two, or as many as there may be; one for each path
    /// where there are two. An `isolated` plugin makes one, which shows that it can. Roles that are
    /// entered directly get theirs.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<(), Error> {
        let generation = self.generation();
        let instances = &generation.guest.spec.instances;
        let n_instances = match instances.mode {
            Mode::Pooled => instances.max.min(2),
            Mode::Isolated | Mode::Single => 1,
        };
        let mut made = Vec::new();
        for path in [generation.path(), CallPath::Async]
            .into_iter()
            .take(n_instances)
        {
            let Some(Permit::Make) = generation.pool.try_make() else {
                break;
            };
            made.push(self.make(path).await?);
        }
        for instance in made {
            generation.pool.give_back(instance);
        }
        if generation.direct().is_none() {
            return Ok(());
        }
        let entered = Arc::clone(self);
        // It computes without a fiber, for 100 ms a role at most.
        let warm = async move {
            let generation = entered.generation();
            let warmed = generation.direct().map_or(Ok(()), Direct::warm);
            warmed.map_err(|trapped| Error::new(Kind::Internal, Blame::Guest, trapped.text))
        };
        let purpose = Purpose::role("start-direct");
        offload::run_at(Placement::Offloaded, self, purpose, Err, Box::pin(warm)).await
    }

    /// Makes an instance on leave from the pool. Its start functions may compute.
    async fn make(self: &Arc<Self>, path: CallPath) -> Result<Box<Instance>, Error> {
        let entered = Arc::clone(self);
        let make = async move { entered.generation().make(path).await };
        offload::run(self, Purpose::role("start"), Err, Box::pin(make)).await
    }

    pub(crate) fn generation(&self) -> &Generation {
        let Padded((generation, _)) = &self.0;
        generation
    }

    pub(crate) const fn batch_statistics(&self) -> &BatchStatistics {
        let Padded((_, statistics)) = &self.0;
        statistics
    }

    /// Answers a call of the role `handler` or `stream-handler`.
    pub(crate) fn call(self: Arc<Self>, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if self.generation().streams(&call) {
            Box::pin(stream::call(self, call))
        } else {
            handler::call(self, call)
        }
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

    /// An idle instance for `path`, if there is one and nothing stands against using it.
    pub(crate) fn try_lease(self: Arc<Self>, path: CallPath) -> Result<Lease, Arc<Self>> {
        let generation = self.generation();
        if generation.stopped().is_some() {
            return Err(self);
        }
        match generation
            .pool
            .try_take_idle(|instance| instance.path == path)
        {
            Some(instance) => Ok(Lease::new(self, instance)),
            None => Err(self),
        }
    }

    /// An instance that may wait, also while all others are at work: then one beyond `max`, which
    /// ends with its lease. A `single` plugin has none beyond its one.
    ///
    /// # Errors
    /// As `lease`.
    pub(crate) async fn lease_spare(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<Lease, Error> {
        let generation = self.generation();
        let is_single = generation.guest.spec.instances.mode == Mode::Single;
        if is_single || generation.stopped().is_some() || generation.pool.has_room() {
            return self.lease_async(deadline).await;
        }
        let instance = generation.instantiate(CallPath::Async).await?;
        Ok(Lease::spare(self, instance))
    }

    /// An instance that may wait.
    ///
    /// # Errors
    /// As `lease`.
    pub(crate) async fn lease_async(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<Lease, Error> {
        let lease = self.lease(deadline, CallPath::Async).await?;
        if lease.is_async() {
            Ok(lease)
        } else {
            lease.renew().await
        }
    }

    /// An instance, one for `path` if such a one is idle or may be made; in turn while all are at work.
    ///
    /// # Errors
    /// `unavailable` when the plugin has stopped, `resource-exhausted` when none came in time, and
    /// what kept a new one from starting.
    pub(crate) async fn lease(
        self: Arc<Self>,
        deadline: Option<Instant>,
        path: CallPath,
    ) -> Result<Lease, Error> {
        let generation = self.generation();
        if let Some(reason) = generation.stopped() {
            let message = format!("plugin {} has stopped: {reason}", generation.guest.plugin);
            return Err(Error::unavailable(Blame::Guest, message));
        }
        let permit = match generation.pool.try_take(|instance| instance.path == path) {
            Some(permit) => permit,
            None => generation.wait(deadline).await?,
        };
        let instance = match permit {
            Permit::Ready(instance) => instance,
            Permit::Make => self.make(path).await?,
        };
        Ok(Lease::new(self, instance))
    }
}
