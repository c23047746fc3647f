//! Import `client`: calls of other services through the gateway's own pipeline.
//!
//! A call needs a grant, inherits what is left of the deadline and the caller's identity, and knows
//! how many plugins stand above it, so that a circle of plugins ends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::RwLock;
use postern_core::{Body, Call, Handler, Headers, Kind, Reply, headers::HeadersBuilder};
use postern_system::{clock, wait};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{self, Failure, Options},
    convert::{self, failure, text_of},
    denial::Denial,
    host_call::HostCall,
    journal::{self, HostQuestion, Journal},
    limits::time,
    shadowed,
    state::StoreState,
    store_stats::HostImport,
    trap::Stop,
};

type Store<'a> = StoreContextMut<'a, StoreState>;
type Arguments<B> = (String, String, B, Option<Options>);

/// Where calls of plugins go. Set by the gateway once its pipeline stands.
#[derive(Default)]
pub(crate) struct ClientImport {
    pipeline: RwLock<Option<Arc<dyn Handler>>>,
}

impl ClientImport {
    pub(crate) fn set(&self, pipeline: Option<Arc<dyn Handler>>) {
        *self.pipeline.write() = pipeline;
    }

    fn pipeline(&self) -> Option<Arc<dyn Handler>> {
        self.pipeline.read().clone()
    }
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CLIENT)?;
    interface.func_wrap_async(
        "call",
        |store: Store<'_>, (service, method, body, options): Arguments<WasmList<u8>>| {
            Box::new(async move {
                let body = Bytes::copy_from_slice(body.as_le_slice(&store));
                Ok((call(store, (service, method, body, options)).await?,))
            })
        },
    )?;
    interface.func_wrap_async(
        "call-text",
        |store: Store<'_>, (service, method, body, options): Arguments<WasmStr>| {
            Box::new(async move {
                let body = Bytes::copy_from_slice(body.to_str(&store)?.as_bytes());
                let reply = call(store, (service, method, body, options)).await?;
                let text = |reply| text_of(reply, Kind::FailedPrecondition, "reply");
                Ok((reply.and_then(text),))
            })
        },
    )
}

async fn call(
    mut store: Store<'_>,
    arguments: Arguments<Bytes>,
) -> Result<Result<Vec<u8>, Failure>, Stop> {
    store.data_mut().on_host_call_of(HostImport::Client)?;
    let journal = store.data().journal.as_ref();
    let asking = journal::asking(journal, |journal| question_of(journal, &arguments));
    journal::through(asking, send(store, arguments)).await
}

/// What a journal writes of a call: service, method and body say what it is about.
fn question_of(
    journal: &Journal,
    (service, method, body, options): &Arguments<Bytes>,
) -> HostQuestion {
    let question = HostQuestion::effect("client.call")
        .text(service)
        .text(method);
    let question = question.octets(body.clone()).about();
    let Some(options) = options else {
        return question;
    };
    let timeout = options.timeout_ms.map(|ms| format!("timeout {ms} ms"));
    let headers = options.headers.iter();
    let headers = headers.filter(|(name, _)| journal.keeps(name));
    let headers = headers.map(|(name, value)| format!("{name}: {value}"));
    headers
        .chain(timeout)
        .fold(question, |question, text| question.text(text))
}

async fn send(
    store: Store<'_>,
    arguments: Arguments<Bytes>,
) -> Result<Result<Vec<u8>, Failure>, Stop> {
    let prepared = host_call(store.data())
        .and_then(|host_call| Ok((prepare(&store, &host_call, arguments)?, host_call)));
    let ((pipeline, call), host_call) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return Ok(Err(failure)),
    };
    let limit = store.data().guest.spec.limits.input_bytes_max;
    let deadline = call.context.deadline;
    let answer = async {
        let Reply { body, .. } = pipeline.call(call).await?;
        body.into_one(limit).await
    };
    // The pipeline ends it at its deadline.
    let answered = wait::before(deadline, answer).await;
    let stats = store.data().host_calls.stats();
    stats.on_wait(HostImport::Client, host_call.time());
    let Some((answer, _)) = answered else {
        store.data().check_time(clock::now())?;
        let message = || format!("no answer within {}", time(host_call.time()));
        let late = host_call.late();
        return Ok(Err(
            late.unwrap_or_else(|| failure(Kind::DeadlineExceeded, message()))
        ));
    };
    if answer
        .as_ref()
        .is_err_and(|error| error.kind == Kind::DeadlineExceeded)
    {
        // At its own end a guest stops; at a shorter one of this call it goes on.
        store.data().check_time(clock::now())?;
        if let Some(late) = host_call.late() {
            return Ok(Err(late));
        }
    }
    Ok(answer.map(Vec::from).map_err(convert::to_failure))
}

/// A call of the host by `state`'s guest.
fn host_call(state: &StoreState) -> Result<HostCall, Failure> {
    let guest = &state.guest;
    HostCall::begin(&guest.sandbox, &guest.spec.limits, &guest.plugin)
}

/// The call to make, and where it goes.
fn prepare(
    store: &Store<'_>,
    host_call: &HostCall,
    (service, method, body, options): Arguments<Bytes>,
) -> Result<(Arc<dyn Handler>, Call), Failure> {
    let state = store.data();
    permit(state, &service)?;
    shadowed::permit(state.context(), "a call of another service")?;
    let unavailable = || {
        failure(
            Kind::Unavailable,
            "the gateway takes no calls of plugins yet",
        )
    };
    let pipeline = state
        .guest
        .shared
        .get::<Arc<ClientImport>>()
        .and_then(|client| client.pipeline());
    let pipeline = pipeline.ok_or_else(unavailable)?;
    let options = options.unwrap_or_default();
    let now = clock::now();
    let wanted = options
        .timeout_ms
        .and_then(|ms| now.checked_add(Duration::from_millis(ms)));
    let end = state.end().min(host_call.end());
    let call = Call {
        service: service.into(),
        method: method.into(),
        version: None,
        headers: to_headers(&options.headers)?,
        body: Body::One(body),
        context: state.context_of_own_call(wanted.map_or(end, |wanted| wanted.min(end))),
        http: None,
    };
    Ok((pipeline, call))
}

/// Whether the guest may call `service`.
fn permit(state: &StoreState, service: &str) -> Result<(), Failure> {
    let guest = &state.guest;
    if !guest.spec.grants.allows_service(service) {
        return Err(guest.deny(&Denial {
            grant: "services",
            what: "service",
            name: service,
            value: service,
        }));
    }
    state.check_depth()
}

fn to_headers(pairs: &[(String, String)]) -> Result<Headers, Failure> {
    let mut headers = HeadersBuilder::default();
    for (name, value) in pairs {
        let pushed = headers.push(name, value);
        pushed.map_err(|error| failure(Kind::InvalidArgument, error.to_string()))?;
    }
    Ok(headers.build())
}
