//! Import `events`: a plugin tells subscribers that something has happened. Nobody is waited for.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use postern_core::{
    Headers, Kind, Text,
    event::{Event, EventSink},
};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{Failure, extension::EVENTS},
    convert::{self, check_output, failure},
    denial::Denial,
    journal::{self, HostQuestion},
    shadowed,
    state::StoreState,
    store_stats::HostImport,
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
    interface.func_wrap(
        "publish",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmList<u8>>| {
            let limit = store.data().guest.spec.limits.output_bytes_max;
            let checked = check_output(payload.len(), limit);
            let payload = checked.map(|()| Bytes::copy_from_slice(payload.as_le_slice(&store)));
            Ok((publish(store, (topic, content_type, payload))?,))
        },
    )?;
    interface.func_wrap(
        "publish-text",
        |store: Store<'_>, (topic, content_type, payload): Arguments<WasmStr>| {
            let limit = store.data().guest.spec.limits.output_bytes_max;
            let payload = {
                let text = payload.to_str(&store)?;
                let checked = check_output(text.len(), limit);
                checked.map(|()| Bytes::copy_from_slice(text.as_bytes()))
            };
            Ok((publish(store, (topic, content_type, payload))?,))
        },
    )
}

fn publish(
    mut store: Store<'_>,
    (topic, content_type, payload): Arguments<Result<Bytes, Failure>>,
) -> wasmtime::Result<Result<u32, Failure>> {
    store.data_mut().on_host_call_of(HostImport::Events)?;
    let topic = Text::from(&*topic.to_str(&store)?);
    let content_type = match content_type {
        Some(text) => Some(text.to_str(&store)?.into_owned()),
        None => None,
    };
    let asking = journal::asking(store.data().journal.as_ref(), |_| {
        let question = HostQuestion::effect("events.publish").text(&*topic).about();
        let question = question.option(content_type.clone());
        question.option(payload.as_ref().ok().cloned())
    });
    let real = || tell(&store, topic, content_type, payload);
    journal::through_now(asking, || Ok(real()))
}

fn tell(
    store: &Store<'_>,
    topic: Text,
    content_type: Option<String>,
    payload: Result<Bytes, Failure>,
) -> Result<u32, Failure> {
    let payload = permit(store.data(), &topic).and(payload)?;
    if shadowed::is_shadow(store.data().context()) {
        // As where nobody subscribes.
        return Ok(0);
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
