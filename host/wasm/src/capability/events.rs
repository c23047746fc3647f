//! Import `events`: a plugin tells subscribers that something has happened. Nobody is waited for, but for the
//! store of a durable topic: its result is there once the event is kept.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use postern_core::{
    BoxFuture, Error, Headers, Kind, Text,
    event::{Event, EventSink, Published},
};
use postern_system::clock;
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{Failure, extension::EVENTS},
    convert::{self, check_output, failure},
    denial::Denial,
    host_call::HostCall,
    journal::{self, HostQuestion},
    shadowed,
    state::StoreState,
    store_stats::HostImport,
    trap::Stop,
};

/// Longest topic, in octets; also the longest value that fits in one header entry.
const TOPIC_BYTES_MAX: usize = 255;

type Store<'a> = StoreContextMut<'a, StoreState>;
type Arguments<P> = (WasmStr, Option<WasmStr>, P);

/// Where events of plugins go. Set by the gateway once it takes subscriptions.
#[derive(Default)]
pub(crate) struct EventsImport {
    sink: RwLock<Option<Arc<dyn EventSink>>>,
}

impl EventsImport {
    pub(crate) fn set(&self, sink: Option<Arc<dyn EventSink>>) {
        *self.sink.write() = sink;
    }

    fn sink(&self) -> Option<Arc<dyn EventSink>> {
        self.sink.read().clone()
    }
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(EVENTS)?;
    interface.func_wrap_async(
        "publish",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmList<u8>>| {
            Box::new(async move {
                let payload = octets(&store, &payload);
                Ok((publish(store, (topic, content_type, payload)).await?,))
            })
        },
    )?;
    interface.func_wrap_async(
        "publish-text",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmStr>| {
            Box::new(async move {
                let payload = text(&store, &payload)?;
                Ok((publish(store, (topic, content_type, payload)).await?,))
            })
        },
    )
}

/// Where nothing may wait, an event of a durable topic is refused.
pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(EVENTS)?;
    interface.func_wrap(
        "publish",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmList<u8>>| {
            let payload = octets(&store, &payload);
            Ok((publish_now(store, (topic, content_type, payload))?,))
        },
    )?;
    interface.func_wrap(
        "publish-text",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmStr>| {
            let payload = text(&store, &payload)?;
            Ok((publish_now(store, (topic, content_type, payload))?,))
        },
    )
}

fn octets(store: &Store<'_>, payload: &WasmList<u8>) -> Result<Bytes, Failure> {
    let limit = store.data().guest.spec.limits.output_bytes_max;
    let checked = check_output(payload.len(), limit);
    checked.map(|()| Bytes::copy_from_slice(payload.as_le_slice(store)))
}

fn text(store: &Store<'_>, payload: &WasmStr) -> wasmtime::Result<Result<Bytes, Failure>> {
    let limit = store.data().guest.spec.limits.output_bytes_max;
    let text = payload.to_str(store)?;
    let checked = check_output(text.len(), limit);
    Ok(checked.map(|()| Bytes::copy_from_slice(text.as_bytes())))
}

async fn publish(
    mut store: Store<'_>,
    arguments: Arguments<Result<Bytes, Failure>>,
) -> wasmtime::Result<Result<u32, Failure>> {
    let written = read(&mut store, arguments)?;
    let asking = journal::asking(store.data().journal.as_ref(), |_| question_of(&written));
    let store = &mut store;
    let real = async move {
        let told = tell(store, written);
        match told {
            Ok(Published::Told(n_told)) => Ok(Ok(n_told)),
            Ok(Published::Storing(storing)) => stored(store, storing).await,
            Err(failure) => Ok(Err(failure)),
        }
    };
    Ok(journal::through(asking, real).await?)
}

fn publish_now(
    mut store: Store<'_>,
    arguments: Arguments<Result<Bytes, Failure>>,
) -> wasmtime::Result<Result<u32, Failure>> {
    let written = read(&mut store, arguments)?;
    let asking = journal::asking(store.data().journal.as_ref(), |_| question_of(&written));
    let topic = written.topic.clone();
    let real = || match tell(&store, written)? {
        Published::Told(n_told) => Ok(n_told),
        Published::Storing(_) => Err(failure(
            Kind::FailedPrecondition,
            format!(
                "topic {topic} is durable: publishing waits until the event is stored, and this role may \
                 not wait; publish it in a handler"
            ),
        )),
    };
    journal::through_now(asking, || Ok(real()))
}

/// What a guest wants to tell.
struct WrittenEvent {
    topic: Text,
    content_type: Option<String>,
    payload: Result<Bytes, Failure>,
}

fn read(
    store: &mut Store<'_>,
    (topic, content_type, payload): Arguments<Result<Bytes, Failure>>,
) -> wasmtime::Result<WrittenEvent> {
    store.data_mut().on_host_call_of(HostImport::Events)?;
    let topic = Text::from(&*topic.to_str(&*store)?);
    let content_type = match content_type {
        Some(text) => Some(text.to_str(&*store)?.into_owned()),
        None => None,
    };
    Ok(WrittenEvent {
        topic,
        content_type,
        payload,
    })
}

/// What a journal writes of it.
fn question_of(written: &WrittenEvent) -> HostQuestion {
    let question = HostQuestion::effect("events.publish").text(&*written.topic);
    let question = question.about().option(written.content_type.clone());
    question.option(written.payload.as_ref().ok().cloned())
}

fn tell(store: &Store<'_>, written: WrittenEvent) -> Result<Published, Failure> {
    let WrittenEvent {
        topic,
        content_type,
        payload,
    } = written;
    let payload = permit(store.data(), &topic).and(payload)?;
    if shadowed::is_shadow(store.data().context()) {
        // As where nobody subscribes.
        return Ok(Published::Told(0));
    }
    let events = store.data().guest.shared.get::<Arc<EventsImport>>();
    let Some(sink) = events.and_then(|events| events.sink()) else {
        let message = "the gateway takes no events of plugins yet";
        return Err(failure(Kind::Unavailable, message));
    };
    let mut headers = Headers::new();
    if let Some(content_type) = content_type
        && let Err(error) = headers.push("content-type", content_type)
    {
        return Err(failure(Kind::InvalidArgument, error.to_string()));
    }
    let end = store.data().end();
    let event = Event {
        topic,
        headers,
        payload,
        publisher: store.data().context_of_own_call(end).into(),
    };
    sink.publish(event).map_err(convert::to_failure)
}

/// Waits until the event is stored, at most until the call's end. What was begun is then still done.
async fn stored(
    store: &mut Store<'_>,
    storing: BoxFuture<Result<u32, Error>>,
) -> Result<Result<u32, Failure>, Stop> {
    let guest = &store.data().guest;
    let begun = HostCall::begin(&guest.sandbox, &guest.spec.limits, &guest.plugin);
    let host_call = match begun {
        Ok(host_call) => host_call,
        Err(failure) => return Ok(Err(failure)),
    };
    let end = store.data().end();
    let result = tokio::time::timeout_at(end.min(host_call.end()).into(), storing).await;
    let stats = store.data().host_calls.stats();
    stats.on_wait(HostImport::Events, host_call.time());
    match result {
        Ok(result) => Ok(result.map_err(convert::to_failure)),
        Err(_) => {
            // Where it is not the guest's own end that came, the guest is told and goes on.
            store.data().check_time(clock::now())?;
            match host_call.late() {
                Some(late) => Ok(Err(late)),
                None => Err(store.data().check_time(end).err().unwrap_or(Stop::Deadline)),
            }
        }
    }
}

/// Whether the guest may publish under `topic`.
fn permit(state: &StoreState, topic: &str) -> Result<(), Failure> {
    let guest = &state.guest;
    let length = topic.len();
    if !(1..=TOPIC_BYTES_MAX).contains(&length) {
        let message = format!("topic of {length} octets is not within 1 to {TOPIC_BYTES_MAX}");
        return Err(failure(Kind::InvalidArgument, message));
    }
    if !guest.spec.grants.allows_topic(topic) {
        return Err(guest.deny(&Denial {
            grant: "events",
            what: "topic",
            name: topic,
            value: topic,
        }));
    }
    state.check_depth()
}
