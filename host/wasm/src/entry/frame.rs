//! Role `frame-extension`: sees VSTP frames below the calls.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Error,
    extension::{FrameDirection, FrameExtension, FrameHead, FrameVerdict},
    wire::{Frame, FrameType},
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::extension::{self as shape, HandleFrame, ShouldHandle},
    capability::frame::Framed,
    convert,
    exports::{self, Export, Functions},
    role::Role,
    serving::InService,
    spec::Budgets,
    worker_local::{DirectFunctions, WorkerLocal},
};

/// The functions of `frame-extension`.
pub(crate) struct Framing {
    should_handle: ShouldHandle,
    handle_frame: HandleFrame,
}

impl Functions for Framing {
    const ROLE: Role = Role::FrameExtension;
    const EXPORTS: &'static [Export] = &[
        Export::new::<shape::ShouldHandleParams, (bool,)>("should-handle"),
        Export::new::<(), shape::HandleFrameResult>("handle-frame"),
    ];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [should_handle, handle_frame] = exports::functions(funcs)?;
        Ok(Self {
            should_handle: should_handle.typed(&store)?,
            handle_frame: handle_frame.typed(&store)?,
        })
    }
}

impl DirectFunctions for Framing {
    const ALWAYS: bool = true;

    const BUDGET_KEY: &'static str = "budgets.frame-extension";

    fn budget(budgets: &Budgets) -> Duration {
        budgets.frame_extension
    }
}

/// A plugin as a frame extension; every frame goes to the generation in service.
pub(crate) struct PluginFrames(pub(crate) Arc<InService>);

impl PluginFrames {
    fn with<R>(&self, enter: impl FnOnce(Result<&WorkerLocal<Framing>, Error>) -> R) -> R {
        self.0.with(|serving| {
            let local = serving.and_then(|serving| {
                let generation = &serving.generation;
                generation.check_role(Role::FrameExtension)?;
                generation.local().ok_or_else(|| self.0.unavailable())
            });
            enter(local)
        })
    }
}

impl FrameExtension for PluginFrames {
    fn should_handle(&self, head: &FrameHead) -> Result<bool, Error> {
        self.with(|found| {
            let local = found?;
            let mut entry = local.take().map_err(|absent| local.on_absent(absent))?;
            let head = shown(head);
            let result = entry.run(1, |store, functions| {
                functions.should_handle.call(store, (head,))
            });
            let time = entry.time();
            drop(entry);
            let (wanted,) = local.settle(time, result)?;
            Ok(wanted)
        })
    }

    fn handle(&self, _: FrameDirection, frame: Frame) -> FrameVerdict {
        self.with(|found| match found {
            Ok(local) => handle(local, frame),
            Err(error) => FrameVerdict::Broken(frame, error),
        })
    }
}

fn handle(local: &WorkerLocal<Framing>, frame: Frame) -> FrameVerdict {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return FrameVerdict::Broken(frame, local.on_absent(absent)),
    };
    let result = entry.run(1, |store, functions| {
        store.data_mut().slots.put(Framed::new(frame));
        let verdict = functions.handle_frame.call(store, ());
        verdict.map(|(verdict,)| verdict)
    });
    let framed: Option<Framed> = entry.state().and_then(|state| state.slots.take());
    let time = entry.time();
    drop(entry);
    let result = local.settle(time, result);
    let Some(framed) = framed else {
        let lost = Error::internal("a frame extension's store has lost its frame");
        return FrameVerdict::Refuse(lost);
    };
    match result {
        Ok(Ok(shape::Verdict::Pass)) => FrameVerdict::Pass(framed.into_changed()),
        Ok(Ok(shape::Verdict::Drop)) => FrameVerdict::Drop,
        Ok(Err(failure)) => FrameVerdict::Refuse(convert::to_error(failure)),
        Err(error) => FrameVerdict::Broken(framed.into_given(), error),
    }
}

fn shown(head: &FrameHead) -> shape::FrameHead {
    let kind = match head.kind {
        FrameType::Hello => shape::FrameKind::Hello,
        FrameType::Welcome => shape::FrameKind::Welcome,
        FrameType::Data => shape::FrameKind::Data,
        FrameType::Ping => shape::FrameKind::Ping,
        FrameType::Pong => shape::FrameKind::Pong,
        FrameType::Bye => shape::FrameKind::Bye,
        FrameType::Ack => shape::FrameKind::Ack,
        FrameType::Err => shape::FrameKind::Err,
    };
    let direction = match head.direction {
        FrameDirection::Inbound => shape::Direction::Inbound,
        FrameDirection::Outbound => shape::Direction::Outbound,
    };
    shape::FrameHead {
        kind,
        direction,
        flag_bits: head.flags.bits(),
        header_bytes: u32::try_from(head.header_bytes).unwrap_or(u32::MAX),
        payload_bytes: u32::try_from(head.payload_bytes).unwrap_or(u32::MAX),
    }
}
