//! The frame of a store: the plugin that it belongs to, the call that it answers, what it may still use.
//! It knows no import and no role: what those keep in a store lies in its slots, under their own types.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{
    Body, Call, Context, Headers, HttpFacts, Kind, Origin, Peer, Text, Transport, event::Outbox,
    extension::Asked,
};
use postern_system::clock;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::{
    bindings::Failure,
    call_path::Bailout,
    convert::failure,
    drain::Drain,
    executor::Executor,
    fuel,
    guest_output::OutputTail,
    journal::Journal,
    log_rate::{Admission, LogRate},
    placement::Placements,
    reply_draft::{Drafted, ReplyDraft, ReplyState},
    slots::{Shared, Slots},
    spec::{LogLevel, OnTrap, PluginSpec},
    stats::PluginStats,
    trap::{Stop, TrapContext, Trapped},
};

/// What all instances of one generation share.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<str>,
    pub(crate) spec: PluginSpec,
    pub(crate) stats: Arc<PluginStats>,
    pub(crate) log_rate: LogRate,
    /// Where it computes when it computes for long.
    pub(crate) executor: Arc<Executor>,
    /// Where calls of each method begin.
    pub(crate) placements: Placements,
    /// The same of what is no call of a method. Apart, because a start that computes would have every
    /// call look its method up.
    pub(crate) role_placements: Placements,
    pub(crate) drain: Drain,
    /// Why it answers no more (`OnTrap::Stop`).
    pub(crate) stopped: OnceLock<String>,
    /// What its imports keep for all its instances.
    pub(crate) shared: Shared,
    /// Whether callers are told what it said before it trapped.
    pub(crate) tells_callers: bool,
    /// Roles whose budget was said to be too small, one bit each.
    pub(crate) budgets_told: AtomicU16,
}

/// Data of a store.
pub(crate) struct StoreState {
    pub(crate) guest: Arc<Guest>,
    /// The call that is being answered; `None` while an instance starts and in `health` and
    /// `describe`.
    pub(crate) ambient: Option<CallContext>,
    /// When whoever waits for this entry stops waiting.
    pub(crate) deadline: Option<Instant>,
    /// What the imports and the role of this entry work on.
    pub(crate) slots: Slots,
    /// What imports keep for as long as the store lives.
    pub(crate) kept: Slots,
    /// Whether the budget of this entry has grown by its payload.
    payload_counted: bool,
    pub(crate) memory: Memory,
    /// Ticks that a call on the inline path may still see; `None` on the async path.
    pub(crate) ticks_left: Option<u8>,
    /// When the guest's own time is over. Waiting for the other end moves it. `None` where its work
    /// is measured as fuel.
    time_end: Option<Instant>,
    /// Imported functions that may still be called.
    pub(crate) host_calls_left: u32,
    /// The end of the guest's standard error, once it has one.
    pub(crate) stderr: Option<Arc<OutputTail>>,
    /// Where its one call is recorded, or replayed from.
    pub(crate) journal: Option<Journal>,
}

/// The ambient call.
pub(crate) struct CallContext {
    pub(crate) call: AmbientCall,
    /// What is set of the reply so far.
    pub(crate) reply: Drafted,
    pub(crate) reply_state: ReplyState,
}

/// The call itself. Kept by pointer: it goes into a store and comes out again for every entry.
pub(crate) enum AmbientCall {
    Owned(Box<Call>),
    /// What others share of it.
    Shared(Arc<Asked>),
}

/// Linear memories of one store, all together.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
    /// Whether growth was refused since the call began; a trap is then put down to that.
    pub(crate) refused: bool,
}

impl Guest {
    /// Whether one more log line is within the rate. Counts it, and tells of those that were dropped before it.
    pub(crate) fn admit_line(&self) -> bool {
        match self.log_rate.admit(clock::now()) {
            Admission::Dropped => {
                self.stats.log_lines_dropped.fetch_add(1, Relaxed);
                false
            }
            Admission::Kept { n_dropped_before } => {
                self.stats.log_lines.fetch_add(1, Relaxed);
                if n_dropped_before > 0 {
                    let limit = self.spec.limits.log_lines_per_second;
                    tracing::warn!(
                        target: "plugin",
                        plugin = %self.plugin,
                        "{n_dropped_before} lines over the rate of {limit} a second were dropped"
                    );
                }
                true
            }
        }
    }

    /// Tells of a trap, within the plugin's rate.
    pub(crate) fn tell_trap(&self, trapped: &Trapped, role: &str) {
        let admits = || self.spec.log_level <= LogLevel::Warn && self.admit_line();
        trapped.tell(&self.plugin, role, admits);
    }

    /// What a trap means for the plugin (`OnTrap`).
    pub(crate) fn on_trap(&self, trapped: &Trapped) {
        if self.spec.on_trap == OnTrap::Stop {
            self.stopped.get_or_init(|| trapped.text.clone());
        }
    }

    pub(crate) fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }
}

impl StoreState {
    pub(crate) fn new(guest: Arc<Guest>, now: Instant) -> Self {
        let limits = &guest.spec.limits;
        Self {
            ambient: None,
            deadline: None,
            slots: Slots::default(),
            kept: Slots::default(),
            payload_counted: false,
            memory: Memory {
                bytes: 0,
                bytes_max: limits.memory_bytes_max,
                refused: false,
            },
            ticks_left: None,
            time_end: Some(now + limits.time_max),
            host_calls_left: limits.host_calls_max,
            stderr: None,
            journal: None,
            guest,
        }
    }

    /// Gives the guest a full allowance for its next entry. Its time is counted from `start`, if at
    /// all.
    pub(crate) fn begin(&mut self, start: Option<Instant>, ambient: Option<CallContext>) {
        let limits = &self.guest.spec.limits;
        self.time_end = start.map(|start| start + limits.time_max);
        self.host_calls_left = limits.host_calls_max;
        self.memory.refused = false;
        self.payload_counted = false;
        if let Some(stderr) = &self.stderr {
            stderr.clear();
        }
        self.slots.clear();
        self.set_ambient(ambient);
    }

    /// Puts a call in place; whoever waits for the entry waits until its deadline.
    pub(crate) fn set_ambient(&mut self, ambient: Option<CallContext>) {
        let context = ambient.as_ref().map(|ambient| ambient.call.context());
        self.deadline = context.and_then(|context| context.deadline);
        self.ambient = ambient;
    }

    /// What is set of the reply, before its first message.
    ///
    /// # Errors
    /// When `what` cannot be set, as the guest is told.
    pub(crate) fn reply_head(&mut self, what: &'static str) -> Result<&mut ReplyDraft, Failure> {
        let ambient = self.replying()?;
        ambient.reply_state.check_head(what)?;
        Ok(ambient.reply.get_or_insert_default())
    }

    /// What is set of the reply, whether its first message is out or not.
    ///
    /// # Errors
    /// When nothing can be set, as the guest is told.
    pub(crate) fn reply_draft(&mut self) -> Result<&mut ReplyDraft, Failure> {
        let ambient = self.replying()?;
        ambient.reply_state.check_own()?;
        Ok(ambient.reply.get_or_insert_default())
    }

    /// The call that the guest replies to.
    ///
    /// # Errors
    /// When there is none, as the guest is told.
    pub(crate) fn replying(&mut self) -> Result<&mut CallContext, Failure> {
        let none = || failure(Kind::FailedPrecondition, "there is no call to reply to");
        self.ambient.as_mut().ok_or_else(none)
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

    /// When this call ends at the latest as things stand.
    pub(crate) fn end(&self) -> Instant {
        let ends = [self.deadline, self.time_end].into_iter().flatten();
        ends.min()
            .unwrap_or_else(|| clock::now() + self.guest.spec.limits.time_max)
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
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Stop::Deadline);
        }
        if self.time_end.is_some_and(|end| now >= end) {
            return Err(Stop::Time {
                limit: self.guest.spec.limits.time_max,
            });
        }
        Ok(())
    }

    /// Reads what wasmtime reports after a call into this store failed.
    pub(crate) fn trapped(&self, error: &wasmtime::Error) -> Trapped {
        let memory = &self.memory;
        let trapped = Trapped::read(error, memory.refused.then_some(memory.bytes_max));
        trapped.with_context(self.trap_context())
    }

    /// A guest that is stopped for what it has answered.
    pub(crate) fn stopped(&self, stop: Stop) -> Trapped {
        Trapped::from(stop).with_context(self.trap_context())
    }

    fn trap_context(&self) -> TrapContext {
        let stderr = self.stderr.as_ref().map(|tail| tail.text());
        let stderr = stderr.unwrap_or_default();
        let Some(ambient) = &self.ambient else {
            return TrapContext {
                stderr,
                ..TrapContext::default()
            };
        };
        TrapContext {
            service: ambient.call.service().to_string(),
            method: ambient.call.method().to_string(),
            correlation: ambient.call.context().correlation.to_string(),
            trace: ambient.trace_id().unwrap_or_default(),
            stderr,
        }
    }

    /// Refuses the guest when too many plugins stand between the first caller and it.
    pub(crate) fn check_depth(&self) -> Result<(), Failure> {
        let ambient = self.ambient.as_ref();
        let depth = ambient.map_or(0, |ambient| ambient.call.context().depth);
        let limit = self.guest.spec.limits.depth_max;
        if depth >= limit {
            let message = format!("{depth} plugins call one another, the limit is {limit}");
            return Err(failure(Kind::ResourceExhausted, message));
        }
        Ok(())
    }

    /// The context of a call that the guest makes while it answers the ambient one.
    pub(crate) fn context_of_own_call(&self, deadline: Instant) -> Context {
        let peer = Peer::new(Transport::Plugin, Origin::Local).with_session(&*self.guest.plugin);
        let peer = Arc::new(peer);
        let deadline = Some(deadline);
        match &self.ambient {
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
                is_deadline_of_head: false,
                depth: ambient.call.context().depth.saturating_add(1),
                ..ambient.call.context().clone()
            },
        }
    }
}

impl CallContext {
    /// A call that is answered here.
    pub(crate) const fn new(call: AmbientCall) -> Self {
        Self {
            call,
            reply: None,
            reply_state: ReplyState::Open,
        }
    }

    /// A call that is answered by somebody else, for those who see its reply.
    pub(crate) const fn watched(call: AmbientCall) -> Self {
        Self {
            call,
            reply: None,
            reply_state: ReplyState::Watched,
        }
    }

    /// What others ask about.
    pub(crate) fn asked(asked: &Arc<Asked>) -> Self {
        Self::new(AmbientCall::Shared(Arc::clone(asked)))
    }

    /// The trace id, as `traceparent` writes it.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let trace = self.call.context().trace?;
        Some(format!("{:032x}", trace.trace_id))
    }

    /// The body of a call that has not been handed on.
    pub(crate) const fn body(&self) -> Option<&Body> {
        match &self.call {
            AmbientCall::Owned(call) => Some(&call.body),
            AmbientCall::Shared(_) => None,
        }
    }
}

/// A payload crosses into the guest: its budget grows, once in an entry. Without a meter there is
/// nothing to do.
pub(crate) fn on_payload(
    store: &mut StoreContextMut<'_, StoreState>,
    octets: usize,
) -> wasmtime::Result<()> {
    let Ok(left) = store.get_fuel() else {
        return Ok(());
    };
    let counted = std::mem::replace(&mut store.data_mut().payload_counted, true);
    if counted {
        return Ok(());
    }
    store.set_fuel(left.saturating_add(fuel::of(fuel::time_of(octets))))
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
