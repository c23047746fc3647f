//! Roles beside handlers through the pool of instances: for guests that may wait, in a fiber, within
//! the plugin's time limit.

use wasmtime::{
    Store,
    component::{Func, Instance as Raw},
};

use crate::{
    bindings::{
        HandleStreamFunc,
        extension::{Authenticate, OnEventFunc, OnRequest, OnResponse},
    },
    component::{Exports, Role},
    direct::functions,
    state::State,
};

/// The functions of one instance that are neither a handler's nor about the plugin itself.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) on_request: Option<OnRequest>,
    pub(crate) on_response: Option<OnResponse>,
    pub(crate) authenticate: Option<Authenticate>,
    pub(crate) authorize: Option<HandleStreamFunc>,
    pub(crate) on_event: Option<OnEventFunc>,
}

impl Beside {
    pub(crate) fn find(
        raw: &Raw,
        store: &mut Store<State>,
        exports: &Exports,
    ) -> wasmtime::Result<Self> {
        let mut beside = Self::default();
        let mut only = |role| -> wasmtime::Result<Option<Func>> {
            if !exports.has(role) {
                return Ok(None);
            }
            let [func] = functions(raw, store, exports, role)?;
            Ok(Some(func))
        };
        let on_request = only(Role::RequestInterceptor)?;
        let on_response = only(Role::ResponseInterceptor)?;
        let authenticate = only(Role::Authenticator)?;
        let authorize = only(Role::Authorizer)?;
        let on_event = only(Role::EventHandler)?;
        beside.on_request = on_request.map(|func| func.typed(&*store)).transpose()?;
        beside.on_response = on_response.map(|func| func.typed(&*store)).transpose()?;
        beside.authenticate = authenticate.map(|func| func.typed(&*store)).transpose()?;
        beside.authorize = authorize
            .map(|func| HandleStreamFunc::new(func, &*store))
            .transpose()?;
        beside.on_event = on_event
            .map(|func| OnEventFunc::new(func, &*store))
            .transpose()?;
        Ok(beside)
    }
}
