//! Role `event-handler`: takes events, one at a time, through the pool of instances.

use std::sync::Arc;

use postern_core::{
    Body, BoxFuture, Call, Context, Error, Text, event::Event, extension::EventHandler,
};

use crate::{
    component::Role,
    convert,
    handler::check_input,
    interceptor::outcome_of,
    offload::{self, Purpose},
    plugin::Plugin,
    serving::WorkerShard,
    state::{AmbientCall, CallContext},
};

/// A plugin as a handler of events; every event goes to the generation in service.
pub(crate) struct PluginEvents(pub(crate) Arc<Plugin>);

impl EventHandler for PluginEvents {
    fn on_event(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let shard = match self.0.shard() {
            Some(shard) => match shard.generation().check_role(Role::EventHandler) {
                Ok(()) => Ok(shard),
                Err(error) => Err(error),
            },
            None => Err(self.0.unavailable()),
        };
        match shard {
            Ok(shard) => {
                let entered = Box::pin(on_event(Arc::clone(&shard), event));
                offload::run(&shard, Purpose::role("on-event"), Err, entered)
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

async fn on_event(shard: Arc<WorkerShard>, event: Event) -> Result<(), Error> {
    let limit = shard.generation().guest.spec.limits.input_bytes_max;
    check_input(event.payload.len(), limit)?;
    let mut lease = shard.lease_async(None).await?;
    let Event {
        topic,
        headers,
        payload,
        publisher,
    } = event;
    let content_type = headers
        .get_str("content-type")
        .map(std::borrow::Cow::into_owned);
    let call = Call {
        service: Text::default(),
        method: topic.clone(),
        version: None,
        headers,
        body: Body::Empty,
        context: Context::from(publisher),
        http: None,
    };
    let instance = lease.begin(Some(CallContext::new(AmbientCall::Owned(Box::new(call)))));
    let (store, beside) = instance.beside();
    let result = match beside.on_event {
        Some(on_event) => {
            let told = (&*topic, content_type.as_deref(), &*payload);
            on_event.typed().call_async(&mut *store, told).await
        }
        None => Err(wasmtime::format_err!("it has no role `event-handler`")),
    };
    store.data_mut().ambient = None;
    match instance.finish(result.map(|(said,)| said)) {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            said.map_err(convert::to_error)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    }
}
