//! Role `balancer`: decides which instance of a service gets a call.
//!
//! A [`ComponentBalancer`] is for one service. A [`CandidateSet`] is one list of its instances:
//! whoever holds the list asks it, so that an index always means the list it was picked from. A pick
//! that the guest does not make is `None`, counted with its reason, and the native balancer's to
//! make.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use postern_core::{Call, extension::Asked};
use wasmtime::Store;

use crate::{
    bindings::extension::{self as shape, CallOutcome},
    component::Role,
    convert::Trapped,
    direct::{Balance, Entry, WorkerLocal, stats::EntryOutcome},
    generation::Generation,
    interceptor::ambient,
    plugin::Plugin,
    state::State,
    stats::Outcome,
    subject::{Candidates, Subject},
};

/// Instances that one budget of `update` is for.
const UPDATE_INSTANCES: usize = 16;

/// A plugin as the balancer of one service; every pick goes to the generation in service.
pub struct ComponentBalancer {
    plugin: Arc<Plugin>,
    service: Arc<str>,
    /// The instances of the generation that was asked last.
    bound: ArcSwapOption<Bound>,
    /// Numbers its sets.
    sets: AtomicU64,
}

struct Bound {
    generation: u64,
    local: WorkerLocal<Balance>,
}

/// One list of instances of a service, as its balancer knows it.
pub struct CandidateSet {
    balancer: Arc<ComponentBalancer>,
    number: u64,
    candidates: Vec<shape::Candidate>,
}

/// One thing that can answer for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its name in the directory.
    pub id: String,
    /// Share relative to the others.
    pub weight: u32,
    pub zone: Option<String>,
    pub version: Option<String>,
    pub metadata: Vec<(String, String)>,
}

/// What a pick may depend on.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub now: Instant,
    /// Chance, new for each pick.
    pub random: u64,
    /// What the call is to be kept by; `random` takes its place when there is none.
    pub key: Option<u64>,
    /// The call to be placed, for guests that ask about it.
    pub call: Option<&'a Call>,
    /// Whether the instance at that index may get this call.
    pub may: &'a dyn Fn(usize) -> bool,
}

impl ComponentBalancer {
    pub(crate) fn new(plugin: &Arc<Plugin>, service: &str) -> Arc<Self> {
        Arc::new(Self {
            plugin: Arc::clone(plugin),
            service: service.into(),
            bound: ArcSwapOption::empty(),
            sets: AtomicU64::new(0),
        })
    }

    /// The service that it is for.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// A list of instances to pick from. The guest is told of it at the next pick of each worker.
    #[must_use]
    pub fn set(self: &Arc<Self>, candidates: Vec<Candidate>) -> CandidateSet {
        let candidates = candidates.into_iter().map(|candidate| shape::Candidate {
            id: candidate.id,
            weight: candidate.weight,
            zone: candidate.zone,
            version: candidate.version,
            metadata: candidate.metadata,
        });
        CandidateSet {
            number: self.sets.fetch_add(1, Relaxed) + 1,
            candidates: candidates.collect(),
            balancer: Arc::clone(self),
        }
    }

    /// Gives `enter` the instances of the generation in service; `None` without one that can balance.
    fn with<R>(
        &self,
        enter: impl FnOnce(&Generation, &WorkerLocal<Balance>) -> Option<R>,
    ) -> Option<R> {
        let serving = self.plugin.serving();
        let Some(serving) = serving.as_ref() else {
            // Nothing of a generation that is out of service is kept.
            self.bound.store(None);
            return None;
        };
        let generation = &serving.generation;
        generation.check_role(Role::Balancer).ok()?;
        let bound = self.bound.load();
        // A thread that still holds the generation before does not bring its instances back.
        if let Some(bound) = &*bound
            && bound.generation >= generation.number
        {
            return enter(generation, &bound.local);
        }
        let code = &generation.direct()?.code;
        let fresh = Arc::new(Bound {
            generation: generation.number,
            local: WorkerLocal::new(code),
        });
        self.bound.store(Some(Arc::clone(&fresh)));
        enter(generation, &fresh.local)
    }
}

impl CandidateSet {
    /// The index of the instance that gets the call. `None` leaves the pick to the native balancer:
    /// the guest said so, is not there, or did not do its part.
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.balancer
            .with(|generation, local| self.pick_in(generation, local, ask))
    }

    /// Tells how a call that `pick` has placed ended. Not told where this worker's instance is busy,
    /// is gone, or knows another list.
    pub fn done(&self, index: usize, outcome: Outcome, time: Duration) {
        let Ok(index) = u32::try_from(index) else {
            return;
        };
        let outcome = match outcome {
            Outcome::Ok => CallOutcome::Success,
            Outcome::TimedOut => CallOutcome::Timeout,
            Outcome::Failed | Outcome::Trapped | Outcome::Cancelled | Outcome::Refused => {
                CallOutcome::Failure
            }
        };
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.balancer.with(|generation, local| {
            let mut entry = local.take_present()?;
            if !self.is_known(&entry) {
                return None;
            }
            let told = entry.run(
                1,
                |_| {},
                |store, functions| functions.done.call(store, (index, outcome, micros)),
            );
            if let Err(trapped) = told {
                local.count(EntryOutcome::of(&trapped), Duration::ZERO);
                generation.on_direct_trap(&trapped);
            }
            Some(())
        });
    }

    fn pick_in(
        &self,
        generation: &Generation,
        local: &WorkerLocal<Balance>,
        ask: &Ask<'_>,
    ) -> Option<usize> {
        let mut entry = match local.take_at(Some(ask.now)) {
            Ok(entry) => entry,
            Err(absent) => {
                local.on_absent(absent);
                return None;
            }
        };
        let picked = self.enter(local, &mut entry, ask);
        let time = entry.time();
        drop(entry);
        let (outcome, index) = match picked {
            Err(trapped) => {
                generation.on_direct_trap(&trapped);
                (EntryOutcome::of(&trapped), None)
            }
            Ok(None) => (EntryOutcome::Declined, None),
            Ok(Some(index)) => match usize::try_from(index) {
                Ok(index) if index >= self.candidates.len() => (EntryOutcome::Nonsense, None),
                Ok(index) if (ask.may)(index) => (EntryOutcome::Answered, Some(index)),
                Ok(_) => (EntryOutcome::Unusable, None),
                Err(_) => (EntryOutcome::Nonsense, None),
            },
        };
        local.count(outcome, time);
        index
    }

    fn enter(
        &self,
        local: &WorkerLocal<Balance>,
        entry: &mut Entry<'_, Balance>,
        ask: &Ask<'_>,
    ) -> Result<Option<u32>, Trapped> {
        if !self.is_known(entry) {
            self.update(entry)?;
        }
        let code = local.code();
        let set = |state: &mut State| {
            if code.asks_call {
                let asked = ask.call.map(|call| Asked::of(call, ask.now));
                state.ambient = asked.as_ref().map(ambient);
            }
            if code.asks_candidates {
                let n_members = self.candidates.len();
                let candidates = Candidates::new(n_members, ask.random, ask.may);
                state.subject = Some(Subject::Candidates(candidates));
            }
        };
        let key = ask.key.unwrap_or(ask.random);
        let result = entry.run(1, set, |store, functions| {
            functions.pick.call(store, (key,))
        });
        if code.asks_call
            && let Some(state) = entry.state()
        {
            state.ambient = None;
        }
        result.map(|(index,)| index)
    }

    /// Tells the guest of this list.
    fn update(&self, entry: &mut Entry<'_, Balance>) -> Result<(), Trapped> {
        let n_budgets = self.candidates.len() / UPDATE_INSTANCES + 1;
        let times = u64::try_from(n_budgets).unwrap_or(u64::MAX);
        let number = self.number;
        let candidates = self.candidates.clone();
        let tell = |store: &mut Store<State>, functions: &mut Balance| {
            functions.update.call(store, (candidates,))?;
            functions.set = Some(number);
            Ok(())
        };
        entry.run(times, |_| {}, tell)
    }

    fn is_known(&self, entry: &Entry<'_, Balance>) -> bool {
        let known = entry.functions().and_then(|functions| functions.set);
        known == Some(self.number)
    }
}
