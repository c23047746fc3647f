//! Import `client`: calls of other services through the gateway's own pipeline.
//!
//! A call needs a grant, inherits what is left of the deadline and the caller's identity, and knows
//! how many plugins stand above it, so that a circle of plugins ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;
use postern_core::{
    Body, Call, Context, Handler, Headers, Kind, Origin, Peer, Reply, Transport, event::Outbox,
    headers::HeadersBuilder,
};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList},
};

use super::wait;
use crate::{
    bindings::{self, Failure, Options},
    convert::{self, Stop, failure},
    limits::time,
    state::State,
};

type Store<'a> = StoreContextMut<'a, State>;
type Arguments = (String, String, WasmList<u8>, Option<Options>);

/// Where calls of plugins go. Set by the gateway once its pipeline stands.
#[derive(Default)]
pub(crate) struct Client {
    pipeline: RwLock<Option<Arc<dyn Handler>>>,
}

impl Client {
    pub(crate) fn set(&self, pipeline: Option<Arc<dyn Handler>>) {
        *self.pipeline.write() = pipeline;
    }

    fn pipeline(&self) -> Option<Arc<dyn Handler>> {
        self.pipeline.read().clone()
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CLIENT)?;
    interface.func_wrap_async("call", |store: Store<'_>, arguments: Arguments| {
        Box::new(async move { Ok((call(store, arguments).await?,)) })
    })
}

async fn call(
    mut store: Store<'_>,
    arguments: Arguments,
) -> Result<Result<Vec<u8>, Failure>, Stop> {
    store.data_mut().on_host_call()?;
    let (pipeline, call, now) = match prepare(&store, arguments) {
        Ok(prepared) => prepared,
        Err(failure) => return Ok(Err(failure)),
    };
    let limit = store.data().guest.spec.limits.input_bytes_max;
    let deadline = call.context.deadline;
    let answer = async {
        let Reply { body, .. } = pipeline.call(call).await?;
        body.into_one(limit).await
    };
    match wait::until(deadline, Stop::Deadline, answer).await {
        Ok((answer, _)) => Ok(answer.map(Vec::from).map_err(convert::to_failure)),
        Err(_) => {
            // At its own end a guest stops; at a shorter timeout that it chose it goes on.
            store.data().check_time(Instant::now())?;
            let message = format!("no answer within {}", time(now.elapsed()));
            Ok(Err(failure(Kind::DeadlineExceeded, message)))
        }
    }
}

/// The call to make, where it goes, and when it began.
fn prepare(
    store: &Store<'_>,
    (service, method, body, options): Arguments,
) -> Result<(Arc<dyn Handler>, Call, Instant), Failure> {
    let state = store.data();
    permit(state, &service)?;
    let unavailable = || {
        failure(
            Kind::Unavailable,
            "the gateway takes no calls of plugins yet",
        )
    };
    let pipeline = state.guest.client.pipeline().ok_or_else(unavailable)?;
    let options = options.unwrap_or_default();
    let now = Instant::now();
    let wanted = options
        .timeout_ms
        .and_then(|ms| now.checked_add(Duration::from_millis(ms)));
    let end = state.end();
    let call = Call {
        service: service.into(),
        method: method.into(),
        version: None,
        headers: to_headers(&options.headers)?,
        body: Body::One(Bytes::copy_from_slice(body.as_le_slice(store))),
        context: context(state, wanted.map_or(end, |wanted| wanted.min(end))),
        http: None,
    };
    Ok((pipeline, call, now))
}

/// Whether the guest may call `service`.
fn permit(state: &State, service: &str) -> Result<(), Failure> {
    let guest = &state.guest;
    if !guest.spec.grants.allows_service(service) {
        let message = format!("plugin {} has no grant for service {service}", guest.plugin);
        return Err(failure(Kind::PermissionDenied, message));
    }
    check_depth(state)
}

/// Refuses the guest when too many plugins stand between the first caller and it.
pub(super) fn check_depth(state: &State) -> Result<(), Failure> {
    let depth = state
        .ambient
        .as_ref()
        .map_or(0, |ambient| ambient.call.context().depth);
    let limit = state.guest.spec.limits.depth_max;
    if depth >= limit {
        let message = format!("{depth} plugins call one another, the limit is {limit}");
        return Err(failure(Kind::ResourceExhausted, message));
    }
    Ok(())
}

/// The context of a call made while `state` answers another.
pub(super) fn context(state: &State, deadline: Instant) -> Context {
    let peer = Peer::new(Transport::Plugin, Origin::Local).with_session(&*state.guest.plugin);
    let peer = Arc::new(peer);
    let deadline = Some(deadline);
    match &state.ambient {
        None => Context {
            deadline,
            peer,
            depth: 1,
            ..Context::default()
        },
        Some(ambient) => Context {
            deadline,
            peer,
            // Events of a plugin go to its role.
            outbox: Outbox::closed(),
            depth: ambient.call.context().depth.saturating_add(1),
            ..ambient.call.context().clone()
        },
    }
}

fn to_headers(pairs: &[(String, String)]) -> Result<Headers, Failure> {
    let mut headers = HeadersBuilder::default();
    for (name, value) in pairs {
        let pushed = headers.push(name, value);
        pushed.map_err(|error| failure(Kind::InvalidArgument, error.to_string()))?;
    }
    Ok(headers.build())
}
