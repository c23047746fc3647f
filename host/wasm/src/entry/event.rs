//! Role `event-handler`: takes events, one at a time, through the pool of instances.

use std::{borrow::Cow, sync::Arc};

use postern_core::{
    Body, BoxFuture, Call, Context, Error, Text, event::Event, extension::EventHandler,
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::extension::{Nothing, OnEventFunc, OnEventParams},
    convert::{self, check_input, outcome_of},
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::no_role,
    lease::Lease,
    offload::{self, Purpose},
    role::Role,
    serving::InService,
    state::{AmbientCall, CallContext},
};

/// `event-handler.on-event`.
pub(crate) struct OnEvent(OnEventFunc);

impl Functions for OnEvent {
    const ROLE: Role = Role::EventHandler;
    const EXPORTS: &'static [Export] = &[Export::new::<OnEventParams<'static>, (Nothing,)>(
        "on-event",
    )];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [on_event] = exports::functions(funcs)?;
        Ok(Self(OnEventFunc::new(on_event, store)?))
    }
}

/// A plugin as a handler of events; every event goes to the generation in service.
pub(crate) struct PluginEvents(pub(crate) Arc<InService>);

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
                let guest = Arc::clone(&shard.generation().guest);
                let entered = Box::pin(on_event(shard, event));
                offload::run(&guest, Purpose::role("on-event"), Err, entered)
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

async fn on_event(shard: Arc<WorkerShard>, event: Event) -> Result<(), Error> {
    let limit = shard.generation().guest.spec.limits.input_bytes_max;
    check_input(event.payload.len(), limit)?;
    let mut lease = Lease::for_async(shard, None).await?;
    let Event {
        topic,
        headers,
        payload,
        publisher,
    } = event;
    let content_type = headers.get_str("content-type").map(Cow::into_owned);
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
    let (store, on_event) = instance.parts::<OnEvent>();
    let result = match on_event {
        Some(OnEvent(on_event)) => {
            let told = (&*topic, content_type.as_deref(), &*payload);
            on_event.typed().call_async(store, told).await
        }
        None => Err(no_role::<OnEvent>()),
    };
    let finished = instance.finish(result.map(|(said,)| said));
    instance.state().ambient = None;
    match finished {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            said.map_err(convert::to_error)
        }
        Err(trapped) => Err(lease.trap(trapped, Role::EventHandler)),
    }
}
