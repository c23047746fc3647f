//! One instance of a component: a store and the functions of its roles. Serves one call at a time.

use std::{any::Any, time::Instant};

use postern_system::clock;
use wasmtime::{
    Store,
    component::{Instance as Raw, InstancePre},
};

use crate::{
    call_path::{Bailout, CallPath, TICKS_MAX},
    exports::{Exports, Functions},
    reply_draft::Drafted,
    state::{CallContext, StoreState},
    trap::Trapped,
};

/// An instantiated component.
pub(crate) struct Instance {
    /// The path that it is for.
    pub(crate) path: CallPath,
    store: Store<StoreState>,
    /// Those of each role.
    functions: Vec<Box<dyn Any + Send>>,
    /// Calls served.
    pub(crate) n_calls: u32,
    /// `Generation::cohort` when it was made.
    pub(crate) cohort: u32,
    /// When the last call ended.
    pub(crate) last_used: Instant,
    /// Memory when it was new.
    fresh_bytes: usize,
}

/// Finds the functions of one role in an instance.
pub(crate) type Find =
    fn(&Exports, &Raw, &mut Store<StoreState>) -> wasmtime::Result<Box<dyn Any + Send>>;

/// Code from which instances are made.
pub(crate) struct Code {
    pub(crate) exports: Exports,
    /// For each role that is entered through the pool.
    pub(crate) find: Vec<Find>,
    pub(crate) pre: InstancePre<StoreState>,
    /// The same for the inline path, where the component may have it.
    pub(crate) inline: Option<InstancePre<StoreState>>,
}

/// Why a call on the inline path gave no answer.
pub(crate) enum InlineError {
    Trapped(Trapped),
    /// The instance is of no use any more, the call can be begun anew.
    Bailout(Bailout),
}

/// Why there is no instance.
pub(crate) enum Failed {
    /// The guest's fault: it trapped while it started, or does not fit.
    Guest(Trapped),
    /// It cannot start on the inline path.
    Bailout(Bailout),
    /// The slots that all plugins share are used up.
    Exhausted(String),
}

impl Code {
    /// Whether instances can be made for the inline path.
    pub(crate) const fn has_inline(&self) -> bool {
        self.inline.is_some()
    }
}

impl Instance {
    /// Instantiates `code` for `path`, or for the async path where there is no other. Start functions
    /// of the guest run within the time limit that `state` holds.
    pub(crate) async fn new(
        code: &Code,
        path: CallPath,
        state: StoreState,
        (now, cohort): (Instant, u32),
    ) -> Result<Self, Failed> {
        let (path, pre) = match (path, &code.inline) {
            (CallPath::Inline, Some(inline)) => (CallPath::Inline, inline),
            (CallPath::Inline, None) | (CallPath::Async, _) => (CallPath::Async, &code.pre),
        };
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|mut store| store.data_mut().on_tick(clock::now()));
        store.set_epoch_deadline(1);
        let functions = match pre.instantiate_async(&mut store).await {
            Ok(raw) => {
                let find = code.find.iter();
                find.map(|find| find(&code.exports, &raw, &mut store))
                    .collect()
            }
            Err(error) => Err(error),
        };
        match functions {
            Ok(functions) => Ok(Self {
                path,
                fresh_bytes: store.data().memory.bytes,
                store,
                functions,
                n_calls: 0,
                cohort,
                last_used: now,
            }),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Failed::Exhausted(format!("{error:#}")))
            }
            Err(error) => Err(match error.downcast_ref::<Bailout>() {
                Some(bailout) => Failed::Bailout(*bailout),
                None => Failed::Guest(store.data().trapped(&error)),
            }),
        }
    }

    /// The store, and the functions of one role, if the component has it.
    pub(crate) fn parts<F: Functions>(&mut self) -> (&mut Store<StoreState>, Option<&F>) {
        let mut functions = self.functions.iter();
        let functions = functions.find_map(|functions| functions.downcast_ref());
        (&mut self.store, functions)
    }

    /// Enters the guest on the inline path, for which the instance was made.
    pub(crate) fn enter_inline<F: Functions, T>(
        &mut self,
        enter: impl FnOnce(&mut Store<StoreState>, &F) -> wasmtime::Result<T>,
    ) -> Result<T, InlineError> {
        let (store, functions) = self.parts::<F>();
        let Some(functions) = functions else {
            return Err(InlineError::Trapped(Trapped::no_role(F::ROLE.name())));
        };
        store.data_mut().ticks_left = Some(TICKS_MAX);
        let result = enter(store, functions);
        store.data_mut().ticks_left = None;
        result.map_err(|error| match error.downcast_ref::<Bailout>() {
            Some(bailout) => InlineError::Bailout(*bailout),
            None => InlineError::Trapped(store.data().trapped(&error)),
        })
    }

    pub(crate) fn state(&mut self) -> &mut StoreState {
        self.store.data_mut()
    }

    /// Gives the guest a full allowance and puts `ambient` in place for the next entry, which is for
    /// `n_calls`.
    pub(crate) fn begin(&mut self, now: Instant, n_calls: usize, ambient: Option<CallContext>) {
        let n_calls = u32::try_from(n_calls).unwrap_or(u32::MAX);
        self.n_calls = self.n_calls.saturating_add(n_calls);
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin(Some(now), ambient);
    }

    /// It is not used again once its call has ended.
    pub(crate) const fn retire(&mut self) {
        self.n_calls = u32::MAX;
    }

    /// Reads what an entry on the async path came to.
    pub(crate) fn finish<T>(&self, result: wasmtime::Result<T>) -> Result<T, Trapped> {
        result.map_err(|error| self.store.data().trapped(&error))
    }

    /// Takes the call out, as it was before the guest began with it.
    pub(crate) fn take_ambient(&mut self) -> Option<CallContext> {
        let ambient = self.store.data_mut().ambient.take()?;
        Some(CallContext {
            reply: None,
            ..ambient
        })
    }

    /// Ends the call and gives what the guest has set of the reply.
    pub(crate) fn end(&mut self) -> Drafted {
        self.store.data_mut().ambient.take()?.reply
    }

    /// Size of all its linear memories, in octets.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes
    }

    /// Memory beyond that of a fresh instance, in octets.
    pub(crate) fn growth_bytes(&self) -> usize {
        self.memory_bytes().saturating_sub(self.fresh_bytes)
    }
}

/// What a call of a role says that the component does not have.
pub(crate) fn no_role<F: Functions>() -> wasmtime::Error {
    wasmtime::format_err!("it has no role `{}`", F::ROLE.name())
}

/// Finds the functions of the role of `F`.
pub(crate) fn find<F: Functions>(
    exports: &Exports,
    raw: &Raw,
    store: &mut Store<StoreState>,
) -> wasmtime::Result<Box<dyn Any + Send>> {
    Ok(Box::new(exports.functions::<F, _>(raw, store)?))
}
