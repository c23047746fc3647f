//! What a store knows: the plugin it belongs to, the call that it answers, what it has used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Body, BodyKind, BodyStream, Call, Context, Headers, HttpFacts, Text, extension::Asked,
};
use tokio::sync::mpsc;
use wasmtime::{ResourceLimiter, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    batch::Batch,
    call_path::Bailout,
    capability::{self, client::Client, events::Events, kv, log::Lines},
    convert::Stop,
    drain::Drain,
    executor::Executor,
    reply_draft::Draft,
    spec::PluginSpec,
    stats::PluginStats,
    stream_registry::Progress,
    subject::Subject,
};

/// What all instances of one generation share.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<str>,
    pub(crate) spec: PluginSpec,
    pub(crate) stats: Arc<PluginStats>,
    pub(crate) lines: Lines,
    /// There when the component imports `kv`.
    pub(crate) kv: Option<kv::Table>,
    pub(crate) client: Arc<Client>,
    pub(crate) events: Arc<Events>,
    /// Where it computes when it computes for long.
    pub(crate) executor: Arc<Executor>,
    pub(crate) drain: Drain,
}

/// Data of a store.
pub(crate) struct State {
    pub(crate) guest: Arc<Guest>,
    /// The call that is being answered; `None` while an instance starts and in `health` and
    /// `describe`.
    pub(crate) ambient: Option<CallContext>,
    /// The calls that are being answered together; each is `ambient` when the guest says so.
    pub(crate) batch: Option<Box<Batch>>,
    /// What a role beside handlers works on.
    pub(crate) subject: Option<Subject>,
    /// Whether the budget of this entry has grown by its payload.
    pub(crate) payload_counted: bool,
    pub(crate) memory: Memory,
    /// Ticks that a call on the inline path may still see; `None` on the async path.
    pub(crate) ticks_left: Option<u8>,
    /// When the guest's own time is over. Waiting for the other end moves it. `None` where its work
    /// is measured as fuel.
    time_end: Option<Instant>,
    /// Imported functions that may still be called.
    pub(crate) host_calls_left: u32,
    wasi: Option<Box<Wasi>>,
}

/// The ambient call.
pub(crate) struct CallContext {
    pub(crate) call: AmbientCall,
    /// What is set of the reply so far.
    pub(crate) reply: Draft,
    /// Of a streaming call; a unary call has its message and its answer in `handle` itself.
    pub(crate) streams: Option<Box<Streams>>,
}

/// The head of the ambient call. Kept by pointer: it goes into a store and comes out again for every
/// entry.
pub(crate) enum AmbientCall {
    /// The call itself.
    Owned(Box<Call>),
    /// What others share of it.
    Shared(Arc<Asked>),
}

pub(crate) struct Streams {
    /// `None` at its end, and while `next` waits for it.
    pub(crate) inbound: Option<BodyStream>,
    pub(crate) outbound: mpsc::Sender<Outbound>,
    pub(crate) progress: Arc<Progress>,
    /// What the body of the request is.
    pub(crate) kind: BodyKind,
    /// What follows it, once it is over.
    pub(crate) trailers: Option<Headers>,
    /// Whether the reply has begun, so that its headers are out.
    pub(crate) started: bool,
}

/// What a streaming guest sends; the first carries the head of the reply.
pub(crate) struct Outbound {
    pub(crate) head: Draft,
    pub(crate) message: Bytes,
}

/// Linear memories of one store, all together.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
    /// Whether growth was refused since the call began; a trap is then put down to that.
    pub(crate) refused: bool,
}

struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(guest: Arc<Guest>, now: Instant) -> Self {
        let limits = &guest.spec.limits;
        Self {
            ambient: None,
            batch: None,
            subject: None,
            payload_counted: false,
            memory: Memory {
                bytes: 0,
                bytes_max: limits.memory_bytes_max,
                refused: false,
            },
            ticks_left: None,
            time_end: Some(now + limits.time_max),
            host_calls_left: limits.host_calls_max,
            wasi: None,
            guest,
        }
    }

    /// Gives the guest a full allowance for its next call. Its time is counted from `start`, if at
    /// all.
    pub(crate) fn begin(&mut self, start: Option<Instant>, ambient: Option<CallContext>) {
        let limits = &self.guest.spec.limits;
        self.time_end = start.map(|start| start + limits.time_max);
        self.host_calls_left = limits.host_calls_max;
        self.memory.refused = false;
        self.payload_counted = false;
        self.subject = None;
        self.batch = None;
        self.ambient = ambient;
    }

    /// As `begin`, for calls that are answered together. Their allowance is that of one call: what
    /// needs more is made by itself.
    pub(crate) fn begin_batch(&mut self, start: Instant, batch: Box<Batch>) {
        self.begin(Some(start), None);
        self.batch = Some(batch);
    }

    /// Makes the call with this index of the batch the ambient one.
    ///
    /// # Errors
    /// `Stop::Turn` without such a call.
    pub(crate) fn turn(&mut self, index: u32) -> Result<(), Stop> {
        let Some(batch) = &mut self.batch else {
            return Err(Stop::Turn { index, n_calls: 0 });
        };
        let n_calls = batch.n_calls();
        self.ambient = batch.turn(index as usize, self.ambient.take());
        match self.ambient {
            Some(_) => Ok(()),
            None => Err(Stop::Turn { index, n_calls }),
        }
    }

    /// Takes one from what the guest may still ask of the host.
    pub(crate) fn on_host_call(&mut self) -> Result<(), Stop> {
        match self.host_calls_left.checked_sub(1) {
            Some(left) => {
                self.host_calls_left = left;
                Ok(())
            }
            None => Err(Stop::HostCalls {
                limit: self.guest.spec.limits.host_calls_max,
            }),
        }
    }

    /// When the caller stops waiting, if it does; the first of several.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if let Some(batch) = &self.batch {
            return batch.deadline();
        }
        self.ambient.as_ref()?.call.context().deadline
    }

    /// When this call ends at the latest as things stand.
    pub(crate) fn end(&self) -> Instant {
        let ends = [self.deadline(), self.time_end].into_iter().flatten();
        ends.min()
            .unwrap_or_else(|| Instant::now() + self.guest.spec.limits.time_max)
    }

    /// Gives back time in which the guest waited for the other end.
    pub(crate) fn give_back(&mut self, waited: Duration) {
        if let Some(end) = &mut self.time_end {
            *end += waited;
        }
    }

    /// What becomes of a guest that is still at work when the epoch rises.
    pub(crate) fn on_tick(&mut self, now: Instant) -> wasmtime::Result<UpdateDeadline> {
        self.check_time(now)?;
        let Some(left) = &mut self.ticks_left else {
            return Ok(UpdateDeadline::Yield(1));
        };
        *left = left.checked_sub(1).ok_or(Bailout::Overran)?;
        Ok(UpdateDeadline::Continue(1))
    }

    /// Whether the guest must stop.
    pub(crate) fn check_time(&self, now: Instant) -> Result<(), Stop> {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Stop::Deadline);
        }
        if self.time_end.is_some_and(|end| now >= end) {
            return Err(Stop::Time {
                limit: self.guest.spec.limits.time_max,
            });
        }
        Ok(())
    }
}

impl CallContext {
    /// A call that is answered in one message, or by somebody else.
    pub(crate) const fn new(call: AmbientCall) -> Self {
        Self {
            call,
            reply: None,
            streams: None,
        }
    }

    /// The body of a call that has not been handed on.
    pub(crate) const fn body(&self) -> Option<&Body> {
        match &self.call {
            AmbientCall::Owned(call) => Some(&call.body),
            AmbientCall::Shared(_) => None,
        }
    }
}

impl AmbientCall {
    pub(crate) fn service(&self) -> &Text {
        match self {
            Self::Owned(call) => &call.service,
            Self::Shared(asked) => &asked.service,
        }
    }

    pub(crate) fn method(&self) -> &Text {
        match self {
            Self::Owned(call) => &call.method,
            Self::Shared(asked) => &asked.method,
        }
    }

    /// The headers of the request.
    pub(crate) fn headers(&self) -> &Headers {
        match self {
            Self::Owned(call) => &call.headers,
            Self::Shared(asked) => &asked.headers,
        }
    }

    pub(crate) fn http(&self) -> Option<&HttpFacts> {
        match self {
            Self::Owned(call) => call.http.as_deref(),
            Self::Shared(asked) => asked.http.as_deref(),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        match self {
            Self::Owned(call) => &call.context,
            Self::Shared(asked) => &asked.context,
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_sub(current).saturating_add(desired);
        if bytes > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| {
            let context = capability::wasi::context(&self.guest);
            Box::new(Wasi {
                context,
                table: ResourceTable::new(),
            })
        });
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_limit_is_over_all_memories_and_exact() {
        let mut memory = Memory {
            bytes: 0,
            bytes_max: 3 * 65536,
            refused: false,
        };
        assert!(memory.memory_growing(0, 2 * 65536, None).unwrap());
        assert!(memory.memory_growing(0, 65536, None).unwrap());
        assert_eq!(memory.bytes, 3 * 65536);
        assert!(!memory.memory_growing(65536, 2 * 65536, None).unwrap());
        assert!(memory.refused);
        assert_eq!(memory.bytes, 3 * 65536);
    }
}
