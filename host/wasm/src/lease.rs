//! Leases: an instance for the time of one call, and what becomes of it afterwards.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{Blame, Error, Kind, extension::Step};
use postern_system::clock;

use crate::{
    call_path::CallPath,
    convert::outcome_of,
    exports::Functions,
    generation::{Direct, Serving, WorkerShard},
    instance::{Instance, no_role},
    journal::Journal,
    offload::{self, Purpose},
    outcome::Outcome,
    placement::Placement,
    pool::Permit,
    question::{self, Question},
    retirement::Retirement,
    role::Role,
    spec::Mode,
    state::{CallContext, Guest},
    trap::Trapped,
};

/// An instance for the time of one call. Dropped before it is finished, it counts as cancelled and
/// the instance is not used again: the guest stands in the middle of something.
pub(crate) struct Lease {
    // Dropped first: the slot is free when the instance is gone.
    instance: Box<Instance>,
    slot: Slot,
}

/// A leased instance as its pool counts it.
struct Slot {
    shard: Arc<WorkerShard>,
    start: Instant,
    /// Whether a caller waits; `health` and `describe` are not counted among the calls.
    is_call: bool,
    /// Whether it is beyond what the pool may have, and not counted there.
    is_spare: bool,
    end: End,
}

/// How the time of a lease ended.
#[derive(PartialEq, Eq)]
enum End {
    /// Neither answer nor trap was recorded.
    Cancelled,
    /// The call was recorded, the instance is gone.
    Retired(Retirement),
    /// The instance is back in the pool.
    GivenBack,
}

impl Lease {
    /// An idle instance for `path`, if there is one and nothing stands against using it.
    pub(crate) fn try_new(
        shard: Arc<WorkerShard>,
        path: CallPath,
    ) -> Result<Self, Arc<WorkerShard>> {
        let generation = shard.generation();
        if generation.guest.traps.is_barred() {
            return Err(shard);
        }
        match generation
            .pool
            .try_take_idle(|instance| instance.path == path && generation.is_current(instance))
        {
            Some(instance) => Ok(Self::of(shard, instance)),
            None => Err(shard),
        }
    }

    /// An instance, one for `path` if such a one is idle or may be made; waits in the queue while all are at work.
    ///
    /// # Errors
    /// `unavailable` when the plugin has stopped, `resource-exhausted` when none came in time, and
    /// what kept a new one from starting.
    pub(crate) async fn new(
        shard: Arc<WorkerShard>,
        deadline: Option<Instant>,
        path: CallPath,
    ) -> Result<Self, Error> {
        let generation = shard.generation();
        generation.check_running()?;
        let permit = match generation.pool.try_take(|instance| instance.path == path) {
            Some(permit) => permit,
            None => generation.wait(deadline).await?,
        };
        let instance = match permit {
            Permit::Ready(instance) if generation.is_current(&instance) => instance,
            Permit::Ready(instance) => {
                // Its memory is free before the next one takes some.
                drop(instance);
                generation.guest.stats.on_retired(Retirement::Copies, 1);
                make(&shard, path).await?
            }
            Permit::Make => make(&shard, path).await?,
        };
        Ok(Self::of(shard, instance))
    }

    /// An instance that may wait.
    ///
    /// # Errors
    /// As `new`.
    pub(crate) async fn for_async(
        shard: Arc<WorkerShard>,
        deadline: Option<Instant>,
    ) -> Result<Self, Error> {
        let lease = Self::new(shard, deadline, CallPath::Async).await?;
        if lease.is_async() {
            Ok(lease)
        } else {
            lease.renew().await
        }
    }

    /// An instance that may wait, also while all others are at work: then one beyond `max`, which
    /// ends with its lease. A `single` plugin has none beyond its one.
    ///
    /// # Errors
    /// As `new`.
    pub(crate) async fn spare(
        shard: Arc<WorkerShard>,
        deadline: Option<Instant>,
    ) -> Result<Self, Error> {
        let generation = shard.generation();
        let guest = &generation.guest;
        let is_single = guest.spec.instances.mode == Mode::Single;
        if is_single || guest.traps.is_barred() || generation.pool.has_room() {
            return Self::for_async(shard, deadline).await;
        }
        let instance = generation.instantiate(CallPath::Async).await?;
        let mut lease = Self::of(shard, instance);
        lease.slot.is_spare = true;
        Ok(lease)
    }

    /// An instance of its own for a call that goes by `journal`, beyond those of the pool.
    ///
    /// # Errors
    /// What kept it from starting.
    pub(crate) async fn journaled(
        shard: Arc<WorkerShard>,
        journal: Journal,
    ) -> Result<Self, Error> {
        let entered = Arc::clone(&shard);
        let make = async move { entered.generation().instantiate_journaled(journal).await };
        let guest = &shard.generation().guest;
        let made = offload::run(guest, Purpose::role("start"), Err, Box::pin(make)).await;
        let mut lease = Self::of(shard, made?);
        lease.slot.is_spare = true;
        Ok(lease)
    }

    fn of(shard: Arc<WorkerShard>, instance: Box<Instance>) -> Self {
        let slot = Slot {
            start: clock::now(),
            is_call: false,
            is_spare: false,
            end: End::Cancelled,
            shard,
        };
        Self { instance, slot }
    }

    pub(crate) const fn shard(&self) -> &Arc<WorkerShard> {
        &self.slot.shard
    }

    /// How long it has been out.
    pub(crate) fn time(&self) -> Duration {
        self.slot.time(clock::now())
    }

    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.slot.shard.generation().guest
    }

    /// The instance, ready for a call.
    pub(crate) fn begin(&mut self, ambient: Option<CallContext>) -> &mut Instance {
        self.slot.is_call = ambient.is_some();
        let n_calls = usize::from(self.slot.is_call);
        self.instance.begin(self.slot.start, n_calls, ambient);
        &mut self.instance
    }

    /// The instance, ready for so many calls that are answered together.
    pub(crate) fn begin_batch(&mut self, n_calls: usize) -> &mut Instance {
        self.instance.begin(self.slot.start, n_calls, None);
        &mut self.instance
    }

    pub(crate) fn instance(&mut self) -> &mut Instance {
        &mut self.instance
    }

    /// How a call of one message is begun.
    pub(crate) fn path(&self) -> CallPath {
        match self.instance.path {
            CallPath::Inline => self.slot.shard.generation().path(),
            CallPath::Async => CallPath::Async,
        }
    }

    /// Whether the instance may wait.
    pub(crate) fn is_async(&self) -> bool {
        self.instance.path == CallPath::Async
    }

    /// The same lease with another instance in the same slot, one that may wait, and what is left of
    /// the time.
    pub(crate) async fn renew(self) -> Result<Self, Error> {
        let Self {
            mut instance,
            mut slot,
        } = self;
        let ambient = instance.take_ambient();
        // Its memory is free before the next one takes some.
        drop(instance);
        let generation = slot.shard.generation();
        let instance = match generation.instantiate(CallPath::Async).await {
            Ok(instance) => instance,
            Err(error) => {
                slot.record(Outcome::Refused, clock::now(), CallPath::Async);
                slot.end = End::Retired(Retirement::Path);
                return Err(error);
            }
        };
        generation.guest.stats.on_retired(Retirement::Path, 1);
        let mut lease = Self { instance, slot };
        lease.begin(ambient);
        Ok(lease)
    }

    /// Puts an instance back that was not called.
    pub(crate) fn hand_back(self) {
        self.give_back(clock::now());
    }

    /// Records an answer, be it a failure, and puts the instance back.
    pub(crate) fn finish(self, outcome: Outcome) {
        self.finish_told(outcome, |_, _| ());
    }

    /// As `finish`; `told` is told how long the instance was out.
    pub(crate) fn finish_told(mut self, outcome: Outcome, told: impl FnOnce(&Guest, Duration)) {
        self.settle();
        let now = clock::now();
        let time = self.slot.time(now);
        if self.slot.is_call {
            self.guest()
                .stats
                .on_call(outcome, time, self.instance.path);
            if !self.is_async() {
                self.slot.shard.batch_statistics().on_call(time);
            }
        }
        told(self.guest(), time);
        self.give_back(now);
    }

    /// Records the answers of a batch, `n_failed` of them failures, and puts the instance back. Each
    /// call has taken an equal part of the time.
    /// Says how long that is.
    pub(crate) fn finish_batch(mut self, n_calls: usize, n_failed: usize) -> Duration {
        self.settle();
        let now = clock::now();
        let n_parts = u32::try_from(n_calls).unwrap_or(u32::MAX).max(1);
        let time = self.slot.time(now) / n_parts;
        self.slot.shard.batch_statistics().on_call(time);
        self.guest().stats.on_batch(n_calls, n_failed, time);
        self.give_back(now);
        time
    }

    /// Drops the instance. What was begun with it is as if it had never been.
    pub(crate) fn undo(mut self) {
        self.guest().stats.on_batch_undone();
        self.slot.end = End::Retired(Retirement::Undone);
        self.slot.shard.batch_statistics().on_undone();
    }

    /// Records a trap of a guest that was entered for `role`, and drops the instance, which cannot be
    /// entered again.
    pub(crate) fn trap(self, trapped: Trapped, role: Role) -> Error {
        let mut lease = self;
        lease.settle();
        let Self { mut slot, instance } = lease;
        slot.end = End::Retired(Retirement::Trapped);
        let generation = slot.shard.generation();
        let guest = &generation.guest;
        slot.record(trapped.outcome(), clock::now(), instance.path);
        guest.stats.on_trap(trapped.reason);
        guest.tell_trap(&trapped, role.name());
        guest.on_trap(&trapped);
        trapped.into_error(&guest.plugin, guest.tells_callers)
    }

    /// Asks a role through the pool, on a fiber.
    async fn ask<Q: Question>(shard: Arc<WorkerShard>, question: Q) -> Q::Answer {
        let plugin = Arc::clone(&shard.generation().guest.plugin);
        let mut lease = match Self::for_async(shard, question.deadline()).await {
            Ok(lease) => lease,
            Err(error) => return question.refuse(error),
        };
        lease.slot.is_call = true;
        let instance = lease.begin_batch(1);
        let params = question.begin(instance.state());
        let (store, functions) = instance.parts::<Q::Functions>();
        let result = match functions {
            Some(functions) => Q::enter_async(functions, store, params).await,
            None => Err(no_role::<Q::Functions>()),
        };
        // Before the call is taken out, whose names a trap is told with.
        let finished = instance.finish(result);
        let kept = Q::end(instance.state());
        let said = match finished {
            Ok(said) => {
                lease.finish(outcome_of(&said));
                Ok(said)
            }
            Err(trapped) => Err(lease.trap(trapped, Q::Functions::ROLE)),
        };
        Q::answer(kept, said, &plugin)
    }

    /// What the guest has done in this entry is so: its call has ended.
    fn settle(&mut self) {
        let state = self.instance.state();
        state.effects.apply();
        state.host_calls.hand_in();
    }

    fn give_back(self, now: Instant) {
        let Self {
            mut slot,
            mut instance,
        } = self;
        let generation = slot.shard.generation();
        let unfit = match slot.is_spare {
            true => Some(Retirement::Spare),
            false => generation.unfit(&instance),
        };
        slot.end = match unfit {
            Some(why) => End::Retired(why),
            None => {
                instance.last_used = now;
                generation.pool.give_back(instance);
                End::GivenBack
            }
        };
    }
}

impl Slot {
    fn record(&self, outcome: Outcome, now: Instant, path: CallPath) {
        if self.is_call {
            let stats = &self.shard.generation().guest.stats;
            stats.on_call(outcome, self.time(now), path);
        }
    }

    fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let generation = self.shard.generation();
        let stats = &generation.guest.stats;
        let why = match self.end {
            End::GivenBack => return,
            End::Cancelled => {
                // Only a guest that waits can be given up.
                self.record(Outcome::Cancelled, clock::now(), CallPath::Async);
                Retirement::Cancelled
            }
            End::Retired(why) => why,
        };
        stats.on_retired(why, 1);
        if !self.is_spare {
            generation.pool.release();
        }
    }
}

/// Asks a role of the generation in service: at once where it is entered directly, else through the
/// pool.
pub(crate) fn ask<Q: Question>(serving: Result<&Serving, Error>, question: Q) -> Step<Q::Answer> {
    let checked = serving.and_then(|serving| {
        serving.generation.check_role(Q::Functions::ROLE)?;
        Ok(serving)
    });
    let serving = match checked {
        Ok(serving) => serving,
        Err(error) => return Step::Done(question.refuse(error)),
    };
    let generation = &serving.generation;
    match generation.local() {
        Some(local) => Step::Done(question::ask(local, question)),
        None => {
            let asked = Box::pin(Lease::ask(serving.shard(), question));
            let purpose = Purpose::role(Q::NAME);
            Step::Later(offload::run(&generation.guest, purpose, Q::lose, asked))
        }
    }
}

/// Makes instances ahead of the first calls: two, or as many as there may be; one for each path
/// where there are two. An `isolated` plugin makes one, which shows that it can. Roles that are
/// entered directly get theirs.
pub(crate) async fn warm(shard: &Arc<WorkerShard>) -> Result<(), Error> {
    let generation = shard.generation();
    let instances = &generation.guest.spec.instances;
    let n_instances = match instances.mode {
        Mode::Pooled => instances.max.min(2),
        Mode::Isolated | Mode::Single => 1,
    };
    let mut made = Vec::new();
    let paths = [generation.path(), CallPath::Async].into_iter();
    for path in paths.take(n_instances) {
        let Some(Permit::Make) = generation.pool.try_make() else {
            break;
        };
        made.push(make(shard, path).await?);
    }
    for instance in made {
        generation.pool.give_back(instance);
    }
    if generation.direct().is_none() {
        return Ok(());
    }
    let entered = Arc::clone(shard);
    // It computes without a fiber, for 100 ms a role at most.
    let warm = async move {
        let direct = entered.generation().direct();
        let warmed = direct.map_or(Ok(()), Direct::warm);
        warmed.map_err(|trapped| Error::new(Kind::Internal, Blame::Guest, trapped.told()))
    };
    let (guest, purpose) = (&generation.guest, Purpose::role("start-direct"));
    offload::run_at(Placement::Offloaded, guest, purpose, Err, Box::pin(warm)).await
}

/// Makes an instance by a permit of the pool. Its start functions may compute.
async fn make(shard: &Arc<WorkerShard>, path: CallPath) -> Result<Box<Instance>, Error> {
    let entered = Arc::clone(shard);
    let make = async move { entered.generation().make(path).await };
    let guest = &shard.generation().guest;
    offload::run(guest, Purpose::role("start"), Err, Box::pin(make)).await
}
