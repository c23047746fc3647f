//! The three wasmtime engines and the thread that gives them their time.
//!
//! An engine without concurrency support makes every call of a synchronous world up to three times
//! cheaper (0.42 instead of 1.16 us for `handle` with 64 octets), so it is the first choice.
//! Components that export async functions or contain async built-ins need the other one, which is
//! only built when the first of them arrives. The third counts what guests execute; it is for roles
//! that are entered directly and is built for the first component that has one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use postern_system::clock;
use wasmtime::{Config, Engine, PoolingAllocationConfig};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Instances without calls are looked for this often.
const MAINTENANCE_PERIOD: Duration = Duration::from_secs(1);
/// The tick while guests compute on threads of their own. An idle machine is woken less often.
pub(crate) const BUSY_TICK: Duration = Duration::from_millis(2);

/// Which of the engines a component was compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    Synchronous,
    Concurrent,
    Metered,
}

/// Bounds of the memory that all plugins share. Address space is reserved for them at start; memory
/// is used as instances touch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// Component instances of all plugins alive at once. Default 1,000.
    pub instances_max: u32,
    /// The largest linear memory that any plugin may be allowed, in octets. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Freed slots per kind that keep their pages for the next instance. Small, so that replacing
    /// generations again and again reuses slots instead of warming new ones. Default 16.
    pub warm_slots_max: u32,
}

/// Something that is to be looked after about every second.
pub(crate) trait Maintenance: Send + Sync {
    fn maintain(&self);
}

/// All engines, and their clock.
pub(crate) struct Engines {
    synchronous: Engine,
    /// `Concurrent` and `Metered`, once they are needed.
    later: Arc<[OnceLock<Engine>; 2]>,
    pooling: Pooling,
    tick: Duration,
    ticker: Ticker,
}

/// Raises the epoch of the engines at every tick: guests look at it and yield.
struct Ticker {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    maintained: Arc<Mutex<Vec<Weak<dyn Maintenance>>>>,
}

impl Flavor {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::Concurrent => "concurrent",
            Self::Metered => "metered",
        }
    }
}

impl Engines {
    /// `is_busy` says whether guests compute on threads of their own: they then yield to one another
    /// at `BUSY_TICK`.
    pub(crate) fn new(
        pooling: Pooling,
        tick: Duration,
        is_busy: impl Fn() -> bool + Send + 'static,
    ) -> wasmtime::Result<Self> {
        let synchronous = Engine::new(&config(&pooling, Flavor::Synchronous))?;
        let later = Arc::<[OnceLock<Engine>; 2]>::default();
        let ticker = Ticker::start(synchronous.clone(), Arc::clone(&later), tick, is_busy)?;
        Ok(Self {
            synchronous,
            later,
            pooling,
            tick,
            ticker,
        })
    }

    pub(crate) fn of(&self, flavor: Flavor) -> wasmtime::Result<Engine> {
        let [concurrent, metered] = &*self.later;
        let cell = match flavor {
            Flavor::Synchronous => return Ok(self.synchronous.clone()),
            Flavor::Concurrent => concurrent,
            Flavor::Metered => metered,
        };
        if let Some(engine) = cell.get() {
            return Ok(engine.clone());
        }
        let engine = Engine::new(&config(&self.pooling, flavor))?;
        Ok(cell.get_or_init(|| engine).clone())
    }

    /// How often the epochs rise.
    pub(crate) const fn tick(&self) -> Duration {
        self.tick
    }

    /// Has `one` called about every second for as long as it lives.
    pub(crate) fn maintain_regularly(&self, one: Weak<dyn Maintenance>) {
        self.ticker.maintained.lock().push(one);
    }
}

impl Ticker {
    fn start(
        synchronous: Engine,
        later: Arc<[OnceLock<Engine>; 2]>,
        tick: Duration,
        is_busy: impl Fn() -> bool + Send + 'static,
    ) -> wasmtime::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let maintained = Arc::new(Mutex::new(Vec::<Weak<dyn Maintenance>>::new()));
        let (stopped, looked_after) = (Arc::clone(&stop), Arc::clone(&maintained));
        let run = move || {
            let mut last_maintenance = clock::now();
            while !stopped.load(Ordering::Relaxed) {
                let tick = if is_busy() { tick.min(BUSY_TICK) } else { tick };
                thread::park_timeout(tick);
                synchronous.increment_epoch();
                for engine in later.iter().filter_map(OnceLock::get) {
                    engine.increment_epoch();
                }
                if clock::since(last_maintenance) >= MAINTENANCE_PERIOD {
                    last_maintenance = clock::now();
                    // What is dropped there may panic, which must not end everybody's time.
                    drop(catch_unwind(AssertUnwindSafe(|| maintain(&looked_after))));
                }
            }
        };
        let thread = thread::Builder::new()
            .name("postern-epoch".to_owned())
            .spawn(run)?;
        Ok(Self {
            thread: Some(thread),
            stop,
            maintained,
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last owner may go away inside maintenance, on the ticker's own thread.
        if thread.thread().id() != thread::current().id() {
            thread.thread().unpark();
            // Nothing is left to do about a panic there; its message has been printed.
            drop(thread.join());
        }
    }
}

impl Default for Pooling {
    fn default() -> Self {
        Self {
            instances_max: 1000,
            memory_bytes_max: 1024 * MIB,
            warm_slots_max: 16,
        }
    }
}

fn maintain(maintained: &Mutex<Vec<Weak<dyn Maintenance>>>) {
    let alive: Vec<_> = {
        let mut maintained = maintained.lock();
        maintained.retain(|one| one.strong_count() > 0);
        maintained.iter().filter_map(Weak::upgrade).collect()
    };
    for one in alive {
        one.maintain();
    }
}

/// Per-component limits are raised to what components of CPython and QuickJS need; warm sizes are
/// those that halved the cost of a fresh instance.
pub(crate) fn config(pooling: &Pooling, flavor: Flavor) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(pooling.instances_max)
        .total_core_instances(pooling.instances_max.saturating_mul(20))
        .total_memories(pooling.instances_max)
        .total_tables(pooling.instances_max.saturating_mul(2))
        .total_stacks(pooling.instances_max)
        .total_gc_heaps(pooling.instances_max)
        .max_unused_warm_slots(pooling.warm_slots_max)
        .max_memory_size(pooling.memory_bytes_max)
        .max_memories_per_component(8)
        .max_core_instances_per_component(100)
        .max_tables_per_component(20)
        .max_core_instance_size(4 * MIB)
        .max_component_instance_size(4 * MIB)
        .table_elements(40_000)
        .linear_memory_keep_resident(MIB)
        .table_keep_resident(256 * KIB)
        .async_stack_keep_resident(64 * KIB);
    let mut config = Config::new();
    config.allocation_strategy(pool);
    config.memory_init_cow(true);
    config.epoch_interruption(true);
    config.concurrency_support(flavor == Flavor::Concurrent);
    config.consume_fuel(flavor == Flavor::Metered);
    config
}
