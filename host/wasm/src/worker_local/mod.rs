//! Worker-local instances: one per worker thread and role, made when it is first needed, made anew after a
//! trap. They are entered directly: a plain call on the thread that serves, without a fiber, a pool or a
//! timer, for roles whose answer a call waits for and whose work takes microseconds.
//!
//! ```text
//! WorkerLocal ─► WorkerSlot of this thread ─► Entry (locked) ─► run ─► answer, or a trap
//!                           │ empty: make an instance               │
//!                           └ in quarantine: nobody                 └ the instance is gone
//! ```
//! An endless loop ends when its fuel is used up; what wasmtime does not count (a slow host) ends by
//! the epoch. Functions that may wait are traps with names (`linking.rs`).

mod quarantine;
mod sample;

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use postern_core::{Blame, Error};
use postern_system::{
    clock,
    shard::{CachePadded, Sharded},
};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, component::InstancePre};

use self::{quarantine::Quarantine, sample::weight};
use crate::{
    exports::{Exports, Functions},
    fuel,
    limits::time,
    outcome::{EntryOutcome, TrapReason},
    retirement::Retirement,
    spec::{Budgets, Mode},
    state::{Guest, StoreState},
    trap::Trapped,
};

/// The most time for an instance to start on a thread that serves.
const START_MAX: Duration = Duration::from_millis(100);
/// How long a caller waits for a slot while all are in a call: a few ticks of the scheduler.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// Entries in a row over the budget until that is told. One may be late while its runtime collects.
const OVER_BUDGET_TOLD: u32 = 5;
/// Ticks beyond the budget until the epoch ends an entry: half a second at the shortest tick (2 ms,
/// while others compute). Fuel ends it sooner unless the thread was put to sleep, which must not look
/// like a fault of the guest.
const TICKS_SPARE: u64 = 250;

/// The functions of a role that is entered directly.
pub(crate) trait DirectFunctions: Functions {
    /// Whether a trap keeps a slot empty for a while. True where something else decides meanwhile;
    /// elsewhere one caller's bad request would shut others out.
    const QUARANTINE: bool = false;
    /// Whether it is never entered through the pool, where a guest may wait.
    const ALWAYS: bool = false;
    /// Whether each use has instances of its own, so that the generation keeps none.
    const PER_USE: bool = false;

    /// The key of the manifest that says how much time one entry has.
    const BUDGET_KEY: &'static str;

    /// Time for one entry.
    fn budget(budgets: &Budgets) -> Duration;
}

/// Code of one generation that can be entered directly.
pub(crate) struct DirectCode {
    pub(crate) guest: Arc<Guest>,
    pub(crate) pre: InstancePre<StoreState>,
    pub(crate) exports: Exports,
    /// Our interfaces that the component imports.
    pub(crate) imports: BTreeSet<String>,
    /// How often the engine's epoch rises.
    pub(crate) tick: Duration,
}

/// Instances of one role, whichever it is.
pub(crate) trait AnyLocal: Any + Send + Sync {
    /// Makes one instance: a component that cannot start is found before it serves.
    fn warm(&self) -> Result<(), Trapped>;
}

/// The worker-local instances of one role in one generation.
pub(crate) struct WorkerLocal<F> {
    code: Arc<DirectCode>,
    slots: Sharded<CachePadded<Mutex<WorkerSlot<F>>>>,
    fuel: u64,
    ticks: u64,
    budget: Duration,
    /// Entries in a row that were over it.
    n_over_budget: AtomicU32,
    /// Whether an instance serves one entry only.
    is_isolated: bool,
}

struct WorkerSlot<F> {
    instance: Option<Instance<F>>,
    n_entries: u32,
    quarantine: Quarantine,
}

struct Instance<F> {
    store: Store<StoreState>,
    functions: F,
    /// Memory when it was new, in octets.
    fresh_bytes: usize,
    live: Live,
}

/// Counts an instance as alive for as long as it lives.
struct Live {
    guest: Arc<Guest>,
    /// Why it ends when it does.
    end: Retirement,
}

/// A slot with an instance in it, held by this thread. Dropping it lets go of an instance that
/// trapped or has grown too much.
pub(crate) struct DirectEntry<'a, F: DirectFunctions> {
    local: &'a WorkerLocal<F>,
    slot: MutexGuard<'a, WorkerSlot<F>>,
    /// When it is, if its caller knows.
    now: Option<Instant>,
    /// When it began and how many entries it stands for; `None` where it is not timed.
    timer: Option<(Instant, u32)>,
    has_trapped: bool,
}

/// Why there is nobody to enter.
#[derive(Debug)]
pub(crate) enum Absent {
    Busy,
    Quarantined,
    /// No instance could be made; the guest's fault or that of the slots all plugins share.
    Failed(Trapped),
}

impl<F: DirectFunctions> WorkerLocal<F> {
    pub(crate) fn new(code: &Arc<DirectCode>) -> Self {
        let budget = F::budget(&code.guest.spec.budgets);
        let payload = fuel::time_of(code.guest.spec.limits.input_bytes_max);
        Self {
            slots: Sharded::per_thread(CachePadded::default),
            fuel: fuel::of(budget),
            ticks: ticks(budget + payload, code.tick),
            budget,
            n_over_budget: AtomicU32::new(0),
            is_isolated: code.guest.spec.instances.mode == Mode::Isolated && !F::QUARANTINE,
            code: Arc::clone(code),
        }
    }

    pub(crate) fn code(&self) -> &DirectCode {
        &self.code
    }

    /// A slot with an instance in it: this thread's, or another's while this one is taken.
    pub(crate) fn take(&self) -> Result<DirectEntry<'_, F>, Absent> {
        self.take_at(None)
    }

    /// As `take`, at the time `now`, or that of the clock when it is needed.
    pub(crate) fn take_at(&self, now: Option<Instant>) -> Result<DirectEntry<'_, F>, Absent> {
        let mut entry = self.slot().ok_or(Absent::Busy)?;
        entry.now = now;
        entry.start_timer();
        if entry.slot.instance.is_some() {
            return Ok(entry);
        }
        let now = now.unwrap_or_else(clock::now);
        if entry.slot.quarantine.holds(now) {
            return Err(Absent::Quarantined);
        }
        match self.make() {
            Ok(instance) => {
                entry.slot.instance = Some(instance);
                Ok(entry)
            }
            Err(trapped) => {
                self.code.guest.stats.on_trap(trapped.reason);
                entry.slot.quarantine.on_trap(now);
                Err(Absent::Failed(trapped))
            }
        }
    }

    /// As `take`, only where there is an instance and its slot is free; not timed.
    pub(crate) fn take_present(&self) -> Option<DirectEntry<'_, F>> {
        let own = self.slots.mine();
        let slot = own.try_lock().filter(|slot| slot.instance.is_some())?;
        Some(self.entry(slot))
    }

    /// Counts what became of an entry.
    pub(crate) fn count(&self, outcome: EntryOutcome, time: Duration) {
        let entries = &self.code.guest.stats.entries;
        entries.count(F::ROLE, outcome, time);
        match outcome {
            EntryOutcome::OverBudget => self.on_over_budget(),
            EntryOutcome::Answered
            | EntryOutcome::Declined
            | EntryOutcome::Nonsense
            | EntryOutcome::Unusable => {
                // Read before it is written: all threads share it.
                if self.n_over_budget.load(Relaxed) != 0 {
                    self.n_over_budget.store(0, Relaxed);
                }
            }
            EntryOutcome::Trapped
            | EntryOutcome::Quarantined
            | EntryOutcome::Busy
            | EntryOutcome::Absent => {}
        }
    }

    /// Says which key to raise, once for a role of a generation, when the guest is late again and again.
    fn on_over_budget(&self) {
        let guest = &self.code.guest;
        if self.n_over_budget.fetch_add(1, Relaxed) + 1 < OVER_BUDGET_TOLD {
            return;
        }
        let bit = F::ROLE.bit();
        if guest.budgets_told.fetch_or(bit, Relaxed) & bit == 0 {
            let (plugin, role, key) = (&*guest.plugin, F::ROLE.name(), F::BUDGET_KEY);
            let budget = time(self.budget);
            tracing::warn!(
                plugin,
                role,
                "its budget of {budget} is always passed, so it does not count; raise {key} in its manifest"
            );
        }
    }

    /// Counts that there was nobody to enter, and says so to the caller.
    pub(crate) fn on_absent(&self, absent: Absent) -> Error {
        let plugin = &self.code.guest.plugin;
        let (outcome, reason) = match absent {
            Absent::Busy => (EntryOutcome::Busy, "every instance is in a call".to_owned()),
            Absent::Quarantined => (
                EntryOutcome::Quarantined,
                "it trapped a short time ago".to_owned(),
            ),
            Absent::Failed(trapped) => (EntryOutcome::Absent, trapped.text),
        };
        self.count(outcome, Duration::ZERO);
        let message = format!("role {} of plugin {plugin}: {reason}", F::ROLE.name());
        Error::unavailable(Blame::Guest, message)
    }

    /// Counts an entry that took `time`, and makes an error of a trap.
    pub(crate) fn settle<T>(&self, time: Duration, result: Result<T, Trapped>) -> Result<T, Error> {
        let outcome = match &result {
            Ok(_) => EntryOutcome::Answered,
            Err(trapped) => trapped.entry_outcome(),
        };
        self.count(outcome, time);
        result.map_err(|trapped| {
            self.code.guest.on_trap(&trapped);
            let guest = &self.code.guest;
            trapped.into_error(&guest.plugin, guest.tells_callers)
        })
    }

    fn slot(&self) -> Option<DirectEntry<'_, F>> {
        let own = self.slots.mine();
        if let Some(slot) = own.try_lock() {
            return Some(self.entry(slot));
        }
        let mut others = self.slots.iter();
        let free = others.find_map(|slot| slot.try_lock());
        let slot = free.or_else(|| own.try_lock_for(WAIT_MAX))?;
        Some(self.entry(slot))
    }

    const fn entry<'a>(&'a self, slot: MutexGuard<'a, WorkerSlot<F>>) -> DirectEntry<'a, F> {
        DirectEntry {
            local: self,
            slot,
            now: None,
            timer: None,
            has_trapped: false,
        }
    }

    fn make(&self) -> Result<Instance<F>, Trapped> {
        let guest = &self.code.guest;
        let now = clock::now();
        let state = StoreState::new(Arc::clone(guest), now);
        let mut store = Store::new(self.code.pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        let time = guest.spec.limits.time_max.min(START_MAX);
        store.set_epoch_deadline(ticks(time, self.code.tick));
        let made = store.set_fuel(fuel::of(time)).and_then(|()| {
            let raw = self.code.pre.instantiate(&mut store)?;
            self.code.exports.functions::<F, _>(&raw, &mut store)
        });
        match made {
            Ok(functions) => {
                let fresh_bytes = store.data().memory.bytes;
                Ok(Instance {
                    store,
                    functions,
                    fresh_bytes,
                    live: Live::new(guest),
                })
            }
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                let text = format!("no slot for an instance: {error:#}");
                Err(Trapped::new(TrapReason::Other, text))
            }
            Err(error) => {
                let trapped = trapped(&error, store.data(), time);
                guest.tell_trap(&trapped, "start");
                Err(trapped)
            }
        }
    }
}

impl<F: DirectFunctions> DirectEntry<'_, F> {
    pub(crate) fn functions(&self) -> Option<&F> {
        let instance = self.slot.instance.as_ref()?;
        Some(&instance.functions)
    }

    /// Has `enter` enter the guest, with a budget `times` the usual one. A guest that traps is not entered
    /// again; what it worked on is still in the store.
    pub(crate) fn run<R>(
        &mut self,
        times: u64,
        enter: impl FnOnce(&mut Store<StoreState>, &mut F) -> wasmtime::Result<R>,
    ) -> Result<R, Trapped> {
        let Some(Instance {
            store, functions, ..
        }) = &mut self.slot.instance
        else {
            return Err(Trapped::no_role(F::ROLE.name()));
        };
        store.set_epoch_deadline(self.local.ticks);
        store.data_mut().begin(None, None);
        let fuelled = store.set_fuel(self.local.fuel.saturating_mul(times));
        fuelled
            .and_then(|()| enter(store, functions))
            .map_err(|error| {
                self.has_trapped = true;
                let trapped = trapped(&error, store.data(), self.local.budget);
                let guest = &self.local.code.guest;
                guest.stats.on_trap(trapped.reason);
                if trapped.reason != TrapReason::TimeLimit {
                    // One that is late often is told of once (`count`).
                    guest.tell_trap(&trapped, F::ROLE.name());
                }
                trapped
            })
    }

    /// Drops the instance.
    fn end(&mut self, why: Retirement) {
        if let Some(instance) = &mut self.slot.instance {
            instance.live.end = why;
        }
        self.slot.instance = None;
    }

    fn start_timer(&mut self) {
        let n_entries = self.slot.n_entries;
        self.slot.n_entries = n_entries.wrapping_add(1);
        self.timer = weight(n_entries).map(|weight| (clock::now(), weight));
    }

    /// What this entry has taken so far, for itself and those that it stands for.
    pub(crate) fn time(&self) -> Duration {
        let timer = self.timer;
        timer.map_or(Duration::ZERO, |(start, weight)| {
            clock::since(start).saturating_mul(weight)
        })
    }

    /// What the guest worked on.
    pub(crate) fn state(&mut self) -> Option<&mut StoreState> {
        let instance = self.slot.instance.as_mut()?;
        Some(instance.store.data_mut())
    }
}

impl<F: DirectFunctions> Drop for DirectEntry<'_, F> {
    fn drop(&mut self) {
        if self.has_trapped {
            self.end(Retirement::Trapped);
            if F::QUARANTINE {
                let now = self.now.unwrap_or_else(clock::now);
                self.slot.quarantine.on_trap(now);
            }
            return;
        }
        let Some(instance) = &mut self.slot.instance else {
            return;
        };
        instance.store.data_mut().host_calls.hand_in();
        let growth = (instance.store.data().memory.bytes).saturating_sub(instance.fresh_bytes);
        if self.local.is_isolated {
            self.end(Retirement::Isolated);
        } else if growth > self.local.code.guest.spec.instances.growth_bytes_max {
            self.end(Retirement::Growth);
        }
    }
}

impl<F: DirectFunctions> AnyLocal for WorkerLocal<F> {
    fn warm(&self) -> Result<(), Trapped> {
        match self.take() {
            Err(Absent::Failed(trapped)) => Err(trapped),
            Ok(_) | Err(Absent::Busy | Absent::Quarantined) => Ok(()),
        }
    }
}

impl<F> Default for WorkerSlot<F> {
    fn default() -> Self {
        Self {
            instance: None,
            n_entries: 0,
            quarantine: Quarantine::default(),
        }
    }
}

impl Live {
    fn new(guest: &Arc<Guest>) -> Self {
        guest.stats.on_made();
        Self {
            guest: Arc::clone(guest),
            end: Retirement::Generation,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.guest.stats.on_retired(self.end, 1);
    }
}

/// Reads a trap; one by fuel or epoch is put down to the budget.
fn trapped(error: &wasmtime::Error, state: &StoreState, budget: Duration) -> Trapped {
    let trap = error.downcast_ref::<Trap>();
    if trap.is_some_and(|trap| matches!(trap, Trap::OutOfFuel | Trap::Interrupt)) {
        let text = format!("budget of {}", time(budget));
        return Trapped::new(TrapReason::TimeLimit, text);
    }
    state.trapped(error)
}

fn ticks(time: Duration, tick: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(tick.as_nanos().max(1));
    let most = u64::from(u32::MAX);
    u64::try_from(ticks).unwrap_or(most).min(most) + TICKS_SPARE
}
