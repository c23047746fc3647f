//! One instance of a component: a store and the functions of its roles. Serves one call at a time.

use std::time::Instant;

use postern_core::Text;
use wasmtime::{
    Store,
    component::{ComponentExportIndex, Func, Instance as Raw, InstancePre},
};

use crate::{
    batch::Batch,
    bindings::{
        Check, Failure, HandleBatchFunc, HandleFunc, HandleResult, HandleStreamFunc, Report,
        Service, Services,
    },
    call_path::{Bailout, CallPath, TICKS_MAX},
    component::Exports,
    convert::Trapped,
    pooled::Beside,
    reply_draft::Draft,
    state::{AmbientCall, CallContext, State},
};

/// An instantiated component.
pub(crate) struct Instance {
    /// How it is entered for a call of one message.
    pub(crate) path: CallPath,
    store: Store<State>,
    functions: Functions,
    /// Calls served.
    pub(crate) n_calls: u32,
    /// When the last call ended.
    pub(crate) last_used: Instant,
    /// Memory when it was new.
    fresh_bytes: usize,
}

/// The functions of the roles that the component has.
struct Functions {
    handle: Option<HandleFunc>,
    handle_batch: Option<HandleBatchFunc>,
    handle_stream: Option<HandleStreamFunc>,
    check: Option<Check>,
    services: Option<Services>,
    beside: Beside,
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
    Bailout,
    /// The slots that all plugins share are used up.
    Exhausted(String),
}

impl Instance {
    /// Instantiates. Start functions of the guest run within the time limit that `state` holds.
    pub(crate) async fn new(
        path: CallPath,
        pre: &InstancePre<State>,
        exports: &Exports,
        state: State,
        now: Instant,
    ) -> Result<Self, Failed> {
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|mut store| store.data_mut().on_tick(Instant::now()));
        store.set_epoch_deadline(1);
        let functions = match pre.instantiate_async(&mut store).await {
            Ok(raw) => Functions::find(&raw, &mut store, exports),
            Err(error) => Err(error),
        };
        match functions {
            Ok(functions) => {
                let fresh_bytes = store.data().memory.bytes;
                Ok(Self {
                    path,
                    store,
                    functions,
                    n_calls: 0,
                    last_used: now,
                    fresh_bytes,
                })
            }
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                Err(Failed::Exhausted(format!("{error:#}")))
            }
            Err(error) if error.is::<Bailout>() => Err(Failed::Bailout),
            Err(error) => Err(Failed::Guest(Trapped::read(&error, store.data()))),
        }
    }

    /// Calls `handler.handle`.
    pub(crate) async fn handle(
        &mut self,
        service: &str,
        method: &str,
        body: &[u8],
    ) -> Result<HandleResult, Trapped> {
        let Some(handle) = self.functions.handle else {
            return Err(Trapped::no_role("handler"));
        };
        let result = handle
            .typed()
            .call_async(&mut self.store, (service, method, body))
            .await;
        self.finish(result.map(|(answer,)| answer))
    }

    /// Calls `handler.handle` of an instance for the inline path.
    pub(crate) fn handle_inline(
        &mut self,
        service: &str,
        method: &str,
        body: &[u8],
    ) -> Result<HandleResult, InlineError> {
        let Some(handle) = self.functions.handle else {
            return Err(InlineError::Trapped(Trapped::no_role("handler")));
        };
        self.inline(|store| {
            let (answer,) = handle.typed().call(store, (service, method, body))?;
            Ok(answer)
        })
    }

    /// Calls `batch-handler.handle-batch` of an instance for the inline path.
    pub(crate) fn handle_batch_inline(
        &mut self,
        service: &str,
        method: &str,
        bodies: &[u8],
        lengths: &[u32],
    ) -> Result<Vec<HandleResult>, InlineError> {
        let Some(handle) = self.functions.handle_batch else {
            return Err(InlineError::Trapped(Trapped::no_role("batch-handler")));
        };
        self.inline(|store| {
            let params = (service, method, bodies, lengths);
            let (answers,) = handle.typed().call(store, params)?;
            Ok(answers)
        })
    }

    fn inline<T>(
        &mut self,
        enter: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, InlineError> {
        self.store.data_mut().ticks_left = Some(TICKS_MAX);
        let result = enter(&mut self.store);
        self.store.data_mut().ticks_left = None;
        result.map_err(|error| match error.downcast_ref::<Bailout>() {
            Some(bailout) => InlineError::Bailout(*bailout),
            None => InlineError::Trapped(Trapped::read(&error, self.store.data())),
        })
    }

    /// Calls `stream-handler.handle-stream`.
    pub(crate) async fn handle_stream(
        &mut self,
        service: &str,
        method: &str,
    ) -> Result<Result<(), Failure>, Trapped> {
        let Some(handle) = self.functions.handle_stream else {
            return Err(Trapped::no_role("stream-handler"));
        };
        let result = handle
            .typed()
            .call_async(&mut self.store, (service, method))
            .await;
        self.finish(result.map(|(answer,)| answer))
    }

    /// Calls `health.check`; `None` without that role.
    pub(crate) async fn check(&mut self) -> Option<Result<Report, Trapped>> {
        let result = self
            .functions
            .check
            .as_ref()?
            .call_async(&mut self.store, ())
            .await;
        Some(self.finish(result.map(|(report,)| report)))
    }

    /// Calls `describe.services`; `None` without that role.
    pub(crate) async fn services(&mut self) -> Option<Result<Vec<Service>, Trapped>> {
        let result = self
            .functions
            .services
            .as_ref()?
            .call_async(&mut self.store, ())
            .await;
        Some(self.finish(result.map(|(services,)| services)))
    }

    /// The store and the functions of the roles beside handlers.
    pub(crate) const fn beside(&mut self) -> (&mut Store<State>, &Beside) {
        (&mut self.store, &self.functions.beside)
    }

    /// Gives the guest a full allowance and puts `ambient` in place for the next call.
    pub(crate) fn begin(&mut self, now: Instant, ambient: Option<CallContext>) {
        self.n_calls = self.n_calls.saturating_add(u32::from(ambient.is_some()));
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin(Some(now), ambient);
    }

    /// As `begin`, for calls that are answered together.
    pub(crate) fn begin_batch(&mut self, now: Instant, batch: Box<Batch>) {
        let n_calls = u32::try_from(batch.n_calls()).unwrap_or(u32::MAX);
        self.n_calls = self.n_calls.saturating_add(n_calls);
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin_batch(now, batch);
    }

    /// Takes the batch out.
    pub(crate) fn end_batch(&mut self) -> Batch {
        let state = self.store.data_mut();
        let mut batch = state
            .batch
            .take()
            .map_or_else(Batch::default, |batch| *batch);
        batch.put_back(state.ambient.take());
        batch
    }

    /// Names the call that has begun.
    pub(crate) fn set_names(&mut self, service: &Text, method: &Text) {
        let ambient = self.store.data_mut().ambient.as_mut();
        if let Some(AmbientCall::Owned(call)) = ambient.map(|ambient| &mut ambient.call) {
            call.service = service.clone();
            call.method = method.clone();
        }
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
    pub(crate) fn end(&mut self) -> Draft {
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

    pub(crate) fn finish<T>(&self, result: wasmtime::Result<T>) -> Result<T, Trapped> {
        result.map_err(|error| Trapped::read(&error, self.store.data()))
    }
}

impl Functions {
    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let handle = func(raw, store, exports.handle)?;
        let handle_batch = func(raw, store, exports.handle_batch)?;
        let handle_stream = func(raw, store, exports.handle_stream)?;
        let check = func(raw, store, exports.check)?;
        let services = func(raw, store, exports.services)?;
        Ok(Self {
            handle: handle
                .map(|func| HandleFunc::new(func, &*store))
                .transpose()?,
            handle_batch: handle_batch
                .map(|func| HandleBatchFunc::new(func, &*store))
                .transpose()?,
            handle_stream: handle_stream
                .map(|func| HandleStreamFunc::new(func, &*store))
                .transpose()?,
            check: check.map(|func| func.typed(&*store)).transpose()?,
            services: services.map(|func| func.typed(&*store)).transpose()?,
            beside: Beside::find(raw, store, exports)?,
        })
    }
}

fn func(
    raw: &Raw,
    store: &mut Store<State>,
    index: Option<ComponentExportIndex>,
) -> wasmtime::Result<Option<Func>> {
    let Some(index) = index else { return Ok(None) };
    let missing = || wasmtime::format_err!("an export of the component is missing in its instance");
    raw.get_func(store, index).map(Some).ok_or_else(missing)
}
