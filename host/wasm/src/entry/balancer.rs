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
use wasmtime::{AsContext, Store, component::Func};

use crate::{
    bindings::extension::{self as shape, CallOutcome, Done, Pick, Update},
    capability::candidates::Candidates,
    exports::{self, Export, Functions},
    outcome::{EntryOutcome, Outcome},
    role::Role,
    serving::InService,
    spec::Budgets,
    state::{AmbientCall, CallContext, StoreState},
    trap::Trapped,
    worker_local::{DirectEntry, DirectFunctions, WorkerLocal},
};

/// The functions of `balancer`.
pub(crate) struct BalancerFunctions {
    update: Update,
    pick: Pick,
    done: Done,
    /// The set that it was told last.
    set: Option<u64>,
}

impl Functions for BalancerFunctions {
    const ROLE: Role = Role::Balancer;
    const EXPORTS: &'static [Export] = &[
        Export::new::<shape::UpdateParams, ()>("update"),
        Export::new::<shape::PickParams, shape::PickResult>("pick"),
        Export::new::<shape::DoneParams, ()>("done"),
    ];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [update, pick, done] = exports::functions(funcs)?;
        Ok(Self {
            update: update.typed(&store)?,
            pick: pick.typed(&store)?,
            done: done.typed(&store)?,
            set: None,
        })
    }
}

impl DirectFunctions for BalancerFunctions {
    const QUARANTINE: bool = true;
    const ALWAYS: bool = true;
    const PER_USE: bool = true;

    const BUDGET_KEY: &'static str = "budgets.balancer";

    fn budget(budgets: &Budgets) -> Duration {
        budgets.balancer
    }
}

/// Instances that one budget of `update` is for.
const UPDATE_INSTANCES: usize = 16;

/// A plugin as the balancer of one service; every pick goes to the generation in service.
pub struct ComponentBalancer {
    plugin: Arc<InService>,
    service: Arc<str>,
    /// The instances of the generation that was asked last.
    bound: ArcSwapOption<Bound>,
    /// Numbers its sets.
    sets: AtomicU64,
}

struct Bound {
    generation: u64,
    local: WorkerLocal<BalancerFunctions>,
    /// Whether the guest asks about the call that it places.
    asks_call: bool,
    /// Whether the guest asks which instances are usable.
    asks_candidates: bool,
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
    /// What the call is to be kept by; `random` where there is none.
    pub key: Option<u64>,
    /// The call to be placed, for guests that ask about it.
    pub call: Option<&'a Call>,
    /// Whether the instance at that index may get this call.
    pub may: &'a dyn Fn(usize) -> bool,
}

impl ComponentBalancer {
    pub(crate) fn new(plugin: &Arc<InService>, service: &str) -> Arc<Self> {
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
    fn with<R>(&self, enter: impl FnOnce(&Bound) -> Option<R>) -> Option<R> {
        let serving = self.plugin.load();
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
            return enter(bound);
        }
        let code = generation.direct_code()?;
        let fresh = Arc::new(Bound {
            generation: generation.number,
            local: WorkerLocal::new(code),
            asks_call: code.imports.contains("call"),
            asks_candidates: code.imports.contains("candidates"),
        });
        self.bound.store(Some(Arc::clone(&fresh)));
        enter(&fresh)
    }
}

impl CandidateSet {
    /// The index of the instance that gets the call. `None` leaves the pick to the native balancer:
    /// the guest said so, is not there, or did not do its part.
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.balancer.with(|bound| self.pick_in(bound, ask))
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
        self.balancer.with(|bound| {
            let local = &bound.local;
            let mut entry = local.take_present()?;
            if !self.is_known(&entry) {
                return None;
            }
            let told = entry.run(1, |store, functions| {
                functions.done.call(store, (index, outcome, micros))
            });
            if let Err(trapped) = told {
                local.count(trapped.entry_outcome(), Duration::ZERO);
                local.code().guest.on_trap(&trapped);
            }
            Some(())
        });
    }

    fn pick_in(&self, bound: &Bound, ask: &Ask<'_>) -> Option<usize> {
        let local = &bound.local;
        let mut entry = match local.take_at(Some(ask.now)) {
            Ok(entry) => entry,
            Err(absent) => {
                local.on_absent(absent);
                return None;
            }
        };
        let picked = self.enter(bound, &mut entry, ask);
        let time = entry.time();
        drop(entry);
        let (outcome, index) = match picked {
            Err(trapped) => {
                local.code().guest.on_trap(&trapped);
                (trapped.entry_outcome(), None)
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
        bound: &Bound,
        entry: &mut DirectEntry<'_, BalancerFunctions>,
        ask: &Ask<'_>,
    ) -> Result<Option<u32>, Trapped> {
        if !self.is_known(entry) {
            self.update(entry)?;
        }
        let set = |state: &mut StoreState| {
            if bound.asks_call {
                let asked = ask.call.map(|call| Asked::of(call, ask.now));
                let watched = |asked| CallContext::watched(AmbientCall::Shared(asked));
                state.set_ambient(asked.map(watched));
            }
            if bound.asks_candidates {
                let n_members = self.candidates.len();
                let candidates = Candidates::new(n_members, ask.random, ask.may);
                state.slots.put(candidates);
            }
        };
        let key = ask.key.unwrap_or(ask.random);
        let result = entry.run(1, |store, functions| {
            set(store.data_mut());
            functions.pick.call(store, (key,))
        });
        if bound.asks_call
            && let Some(state) = entry.state()
        {
            state.ambient = None;
        }
        result.map(|(index,)| index)
    }

    /// Tells the guest of this list.
    fn update(&self, entry: &mut DirectEntry<'_, BalancerFunctions>) -> Result<(), Trapped> {
        let n_budgets = self.candidates.len() / UPDATE_INSTANCES + 1;
        let times = u64::try_from(n_budgets).unwrap_or(u64::MAX);
        let number = self.number;
        let candidates = self.candidates.clone();
        let tell = |store: &mut Store<StoreState>, functions: &mut BalancerFunctions| {
            functions.update.call(store, (candidates,))?;
            functions.set = Some(number);
            Ok(())
        };
        entry.run(times, tell)
    }

    fn is_known(&self, entry: &DirectEntry<'_, BalancerFunctions>) -> bool {
        let known = entry.functions().and_then(|functions| functions.set);
        known == Some(self.number)
    }
}
