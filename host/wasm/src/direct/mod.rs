//! Direct entry into a component: a plain call on the thread that serves, without a fiber, a pool
//! or a timer. For roles whose answer a call waits for and whose work takes microseconds.
//!
//! ```text
//! WorkerLocal ─► WorkerSlot of this thread ─► Entry (locked) ─► run ─► answer, or a trap
//!                                  │ empty: make an instance       │
//!                                  └ in quarantine: nobody         └ the instance is gone
//! ```
//! An endless loop ends when its fuel is used up; what wasmtime does not count (a slow host) ends by
//! the epoch. Functions that may wait are traps with names (`capability::direct_linker`).

pub(crate) mod fuel;
mod quarantine;
mod sample;
pub(crate) mod stats;
mod worker_local;

use std::{sync::Arc, time::Duration};

use wasmtime::{
    Store,
    component::{Func, Instance as Raw, InstancePre},
};

pub(crate) use self::worker_local::{Entry, WorkerLocal};
use crate::{
    bindings::{
        HandleStreamFunc,
        extension::{
            Authenticate, Done, HandleFrame, OnRequest, OnResponse, Pick, ShouldHandle, Update,
        },
    },
    component::{Exports, Role},
    convert::Trapped,
    state::{Guest, State},
};

/// Code of one generation that can be entered directly.
pub(crate) struct Code {
    pub(crate) guest: Arc<Guest>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    /// How often the engine's epoch rises.
    pub(crate) tick: Duration,
    /// Whether a balancer asks about the call that it places.
    pub(crate) asks_call: bool,
    /// Whether a balancer asks which instances are usable.
    pub(crate) asks_candidates: bool,
}

/// The worker-local instances of one generation. Those of a balancer belong to the service that it is for.
pub(crate) struct Direct {
    pub(crate) code: Arc<Code>,
    pub(crate) request_interceptor: Option<WorkerLocal<RequestIntercept>>,
    pub(crate) response_interceptor: Option<WorkerLocal<ResponseIntercept>>,
    pub(crate) frame_extension: Option<WorkerLocal<Framing>>,
    pub(crate) authenticator: Option<WorkerLocal<Authentication>>,
    pub(crate) authorizer: Option<WorkerLocal<Authorization>>,
}

/// The functions of one role.
pub(crate) trait Functions: Sized + Send + 'static {
    const ROLE: Role;
    /// Whether a trap keeps a slot empty for a while. True where something else decides meanwhile;
    /// elsewhere one caller's bad request would close the door for others.
    const QUARANTINE: bool = false;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self>;

    /// Time for one entry.
    fn budget(guest: &Guest) -> Duration;
}

/// Role `balancer`.
pub(crate) struct Balance {
    pub(crate) update: Update,
    pub(crate) pick: Pick,
    pub(crate) done: Done,
    /// The set that it was told last.
    pub(crate) set: Option<u64>,
}

/// Role `request-interceptor`.
pub(crate) struct RequestIntercept {
    pub(crate) on_request: OnRequest,
}

/// Role `response-interceptor`.
pub(crate) struct ResponseIntercept {
    pub(crate) on_response: OnResponse,
}

/// Role `frame-extension`.
pub(crate) struct Framing {
    pub(crate) should_handle: ShouldHandle,
    pub(crate) handle_frame: HandleFrame,
}

/// Role `authenticator`.
pub(crate) struct Authentication {
    pub(crate) authenticate: Authenticate,
}

/// Role `authorizer`. Its function has the shape of `handle-stream`.
pub(crate) struct Authorization {
    pub(crate) authorize: HandleStreamFunc,
}

impl Direct {
    /// Instances for every role of `code` that is entered directly. `may_wait`: whether the component
    /// wants what a direct entry cannot give.
    pub(crate) fn new(code: Arc<Code>, may_wait: bool) -> Self {
        let budgets = &code.guest.spec.budgets;
        let direct =
            |role, budget: Duration| !may_wait && !budget.is_zero() && code.exports.has(role);
        let requests = direct(Role::RequestInterceptor, budgets.interceptor);
        let responses = direct(Role::ResponseInterceptor, budgets.interceptor);
        let authenticates = direct(Role::Authenticator, budgets.authenticator);
        let authorizes = direct(Role::Authorizer, budgets.authorizer);
        let frames = code.exports.has(Role::FrameExtension);
        Self {
            request_interceptor: requests.then(|| WorkerLocal::new(&code)),
            response_interceptor: responses.then(|| WorkerLocal::new(&code)),
            frame_extension: frames.then(|| WorkerLocal::new(&code)),
            authenticator: authenticates.then(|| WorkerLocal::new(&code)),
            authorizer: authorizes.then(|| WorkerLocal::new(&code)),
            code,
        }
    }

    /// Makes one instance for each use: a component that cannot start is found before it serves.
    pub(crate) fn warm(&self) -> Result<(), Trapped> {
        if let Some(local) = &self.request_interceptor {
            local.warm()?;
        }
        if let Some(local) = &self.response_interceptor {
            local.warm()?;
        }
        if let Some(local) = &self.frame_extension {
            local.warm()?;
        }
        if let Some(local) = &self.authenticator {
            local.warm()?;
        }
        if let Some(local) = &self.authorizer {
            local.warm()?;
        }
        if self.code.exports.has(Role::Balancer) {
            WorkerLocal::<Balance>::new(&self.code).warm()?;
        }
        Ok(())
    }
}

impl Functions for Balance {
    const ROLE: Role = Role::Balancer;
    const QUARANTINE: bool = true;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [update, pick, done] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            update: update.typed(&*store)?,
            pick: pick.typed(&*store)?,
            done: done.typed(&*store)?,
            set: None,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.balancer
    }
}

impl Functions for RequestIntercept {
    const ROLE: Role = Role::RequestInterceptor;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [on_request] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            on_request: on_request.typed(&*store)?,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.interceptor
    }
}

impl Functions for ResponseIntercept {
    const ROLE: Role = Role::ResponseInterceptor;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [on_response] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            on_response: on_response.typed(&*store)?,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.interceptor
    }
}

impl Functions for Framing {
    const ROLE: Role = Role::FrameExtension;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [should_handle, handle_frame] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            should_handle: should_handle.typed(&*store)?,
            handle_frame: handle_frame.typed(&*store)?,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.frame_extension
    }
}

impl Functions for Authentication {
    const ROLE: Role = Role::Authenticator;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [authenticate] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            authenticate: authenticate.typed(&*store)?,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.authenticator
    }
}

impl Functions for Authorization {
    const ROLE: Role = Role::Authorizer;

    fn find(raw: &Raw, store: &mut Store<State>, exports: &Exports) -> wasmtime::Result<Self> {
        let [authorize] = functions(raw, store, exports, Self::ROLE)?;
        Ok(Self {
            authorize: HandleStreamFunc::new(authorize, &*store)?,
        })
    }

    fn budget(guest: &Guest) -> Duration {
        guest.spec.budgets.authorizer
    }
}

/// The functions of `role` in an instance of a component that has it.
pub(crate) fn functions<const N: usize>(
    raw: &Raw,
    store: &mut Store<State>,
    exports: &Exports,
    role: Role,
) -> wasmtime::Result<[Func; N]> {
    let missing = || wasmtime::format_err!("the component has no role `{}`", role.name());
    let indices: [_; N] = exports.of(role).ok_or_else(missing)?;
    let mut found = Vec::with_capacity(N);
    for index in indices {
        found.push(raw.get_func(&mut *store, index).ok_or_else(missing)?);
    }
    <[Func; N]>::try_from(found).map_err(|_| missing())
}
