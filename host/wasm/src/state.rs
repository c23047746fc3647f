//! The frame of a store: the plugin that it belongs to, the call that it answers, what it may still use.
//! It knows no import and no role: what those keep in a store lies in its slots, under their own types.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{Body, Context, Kind, Origin, Peer, Transport, event::Outbox, extension::Asked};
use postern_system::clock;
use wasmtime::{StoreContextMut, UpdateDeadline};

pub(crate) use crate::ambient_call::AmbientCall;
use crate::{
    allowance::{Allowance, UsedUp},
    bindings::Failure,
    call_path::Bailout,
    convert::failure,
    denial::Denial,
    drain::Drain,
    effects::Effects,
    executor::Executor,
    fuel,
    guest_output::OutputTail,
    journal::Journal,
    limits::octets,
    log_rate::{Admission, LogRate},
    memory::Memory,
    placement::Placements,
    plugin_name::plugin_of_slot,
    reply_draft::{Drafted, ReplyDraft, ReplyState},
    sandbox_stats::SandboxStats,
    slots::{Shared, Slots},
    spec::{LogLevel, PluginSpec},
    stats::PluginStats,
    store_stats::{CountedMemory, HostCallTally, HostImport},
    trap::{Stop, TrapContext, Trapped},
    trap_notices::TrapNotices,
    trap_policy::TrapPolicy,
    waited::Waited,
};

/// What all instances of one generation share.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<str>,
    pub(crate) spec: PluginSpec,
    pub(crate) stats: Arc<PluginStats>,
    pub(crate) sandbox: Arc<SandboxStats>,
    pub(crate) log_rate: LogRate,
    /// Where it computes when it computes for long.
    pub(crate) executor: Arc<Executor>,
    /// Where calls of each method begin.
    pub(crate) placements: Placements,
    /// The same of what is no call of a method. Apart, because a start that computes would have every
    /// call look its method up.
    pub(crate) role_placements: Placements,
    pub(crate) drain: Drain,
    /// Whether its traps keep it from taking calls.
    pub(crate) traps: TrapPolicy,
    /// Where changes of that are told.
    pub(crate) trap_notices: Arc<TrapNotices>,
    /// What its imports keep for all its instances.
    pub(crate) shared: Shared,
    /// Whether callers are told what it said before it trapped.
    pub(crate) tells_callers: bool,
    /// Roles whose budget was said to be too small, one bit each.
    pub(crate) budgets_told: AtomicU32,
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
    /// What the guest may still use.
    allowance: Allowance,
    /// Time in which this entry waited for the other end, where that is told from outside.
    pub(crate) waited: Option<Arc<Waited>>,
    pub(crate) host_calls: HostCallTally,
    /// What others see once the call has ended.
    pub(crate) effects: Effects,
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
                    let bytes = octets(self.spec.limits.log_bytes_per_second);
                    tracing::warn!(
                        target: "plugin",
                        plugin = %self.plugin,
                        "{n_dropped_before} lines over the rate of {limit} and {bytes} a second were dropped"
                    );
                }
                true
            }
        }
    }

    /// Whether it may open `what` at all, which it can go on with in a later entry. Where copies come to it, it may
    /// only in a call: what it opened while it started, or was asked for its health, a copy would find.
    /// Whatever calls left open is gone by then (`Generation::begin_copies`).
    pub(crate) fn may_open(&self, is_in_call: bool, what: &str) -> bool {
        let may = is_in_call || !self.spec.answers_copies;
        if !may && self.spec.log_level <= LogLevel::Warn && self.admit_line() {
            tracing::warn!(
                target: "plugin",
                plugin = %self.plugin,
                "{what} outside of a call is refused: copies of calls come to this version, and would find it open"
            );
        }
        may
    }

    /// Tells of a trap, within the plugin's rate.
    pub(crate) fn tell_trap(&self, trapped: &Trapped, role: &str) {
        let admits = || self.spec.log_level <= LogLevel::Warn && self.admit_line();
        trapped.tell(&self.plugin, role, admits);
    }

    /// Refuses what the plugin is not granted: the guest gets the failure, the log and a counter are told.
    pub(crate) fn deny(&self, denial: &Denial<'_>) -> Failure {
        self.sandbox.on_denied(denial.grant);
        let message = denial.message(&self.plugin);
        if self.spec.log_level <= LogLevel::Warn && self.admit_line() {
            let (plugin, grant) = (&*self.plugin, denial.grant);
            tracing::warn!(target: "plugin", plugin, grant, "denied: {message}");
        }
        failure(Kind::PermissionDenied, message)
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
            memory: Memory::new(limits, CountedMemory::new(&guest.stats.stores)),
            ticks_left: None,
            allowance: Allowance::new(limits, Some(now)),
            host_calls: HostCallTally::new(&guest.stats.stores),
            effects: Effects::default(),
            waited: None,
            stderr: None,
            journal: None,
            guest,
        }
    }

    /// Gives the guest a full allowance for its next entry. Its time is counted from `start`, if at
    /// all.
    pub(crate) fn begin(&mut self, start: Option<Instant>, ambient: Option<CallContext>) {
        let limits = &self.guest.spec.limits;
        self.allowance = Allowance::new(limits, start);
        self.memory.refused = None;
        self.waited = None;
        self.payload_counted = false;
        if let Some(stderr) = &self.stderr {
            stderr.clear();
        }
        self.slots.clear();
        self.effects.forget();
        self.set_ambient(ambient);
    }

    /// Puts a call in place; whoever waits for the entry waits until its deadline.
    pub(crate) fn set_ambient(&mut self, ambient: Option<CallContext>) {
        let context = ambient.as_ref().map(|ambient| ambient.call.context());
        self.deadline = context.and_then(|context| context.deadline);
        self.ambient = ambient;
    }

    /// That of the call that is being answered.
    pub(crate) fn context(&self) -> Option<&Context> {
        self.ambient.as_ref().map(|ambient| ambient.call.context())
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

    /// As `on_host_call`; counted for `import`.
    pub(crate) fn on_host_call_of(&mut self, import: HostImport) -> Result<(), Stop> {
        self.host_calls.count(import);
        self.on_host_call()
    }

    /// Takes one from what the guest may still ask of the host.
    pub(crate) fn on_host_call(&mut self) -> Result<(), Stop> {
        let taken = self.allowance.take_host_call();
        taken.map_err(|used_up| self.stop_for(used_up))
    }

    /// Takes so many octets from what the guest may log and print.
    pub(crate) fn on_logged(&mut self, octets: usize) -> Result<(), Stop> {
        let printed = self.stderr.as_ref().map_or(0, |tail| tail.printed_bytes());
        let limits = &self.guest.spec.limits;
        let taken = self.allowance.take_logged(limits, octets, printed);
        taken.map_err(|used_up| self.stop_for(used_up))
    }

    /// The entry is a stream, which began at `start`.
    pub(crate) fn begin_stream(&mut self, start: Instant) {
        self.allowance.begin_stream(&self.guest.spec.limits, start);
    }

    /// A message of the stream has crossed: the guest has a full allowance until the next.
    pub(crate) fn on_message(&mut self) {
        self.allowance.renew(&self.guest.spec.limits, clock::now());
        if let Some(tail) = &self.stderr {
            tail.forget_printed();
        }
    }

    /// When this call ends at the latest as things stand.
    pub(crate) fn end(&self) -> Instant {
        let waited = self.waited();
        let own = self.allowance.end().map(|end| end + waited);
        let ends = self.deadline.into_iter().chain(own);
        ends.min()
            .unwrap_or_else(|| clock::now() + self.guest.spec.limits.time_max)
    }

    /// Gives back time in which the guest waited for the other end.
    pub(crate) fn give_back(&mut self, waited: Duration) {
        self.host_calls.hand_in();
        self.allowance.give_back(waited);
    }

    /// How long it waited for the other end, as far as that is told from outside.
    fn waited(&self) -> Duration {
        let waited = self.waited.as_ref();
        waited.map_or(Duration::ZERO, |waited| waited.total(clock::now()))
    }

    /// Gives a full allowance where a piece of a body has crossed, as a message of a stream does.
    pub(crate) fn note_crossings(&mut self) {
        let waited = self.waited.as_ref();
        if let Some(time) = waited.and_then(|waited| waited.take_crossed(clock::now())) {
            self.allowance.give_back(time);
            self.on_message();
        }
    }

    /// What becomes of a guest that is still at work when the epoch rises.
    pub(crate) fn on_tick(&mut self, now: Instant) -> wasmtime::Result<UpdateDeadline> {
        self.note_crossings();
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
        let now = now.checked_sub(self.waited()).unwrap_or(now);
        let checked = self.allowance.check(&self.guest.spec.limits, now);
        checked.map_err(|used_up| self.stop_for(used_up))
    }

    /// Why a guest stops that has used up its allowance.
    fn stop_for(&self, used_up: UsedUp) -> Stop {
        let limits = &self.guest.spec.limits;
        match used_up {
            UsedUp::Time => Stop::Time {
                limit: limits.time_max,
            },
            UsedUp::StreamTime => Stop::Stream {
                limit: limits.stream_time_max,
            },
            UsedUp::Cpu => Stop::Cpu {
                limit: limits.cpu_max,
            },
            UsedUp::HostCalls => Stop::HostCalls {
                limit: limits.host_calls_max,
            },
            UsedUp::Log => Stop::Logged {
                limit: limits.log_call_bytes_max,
            },
        }
    }

    /// Reads what wasmtime reports after a call into this store failed.
    pub(crate) fn trapped(&self, error: &wasmtime::Error) -> Trapped {
        let mut trapped = Trapped::read(error, self.memory.refused);
        trapped.text = self.memory.told(trapped.text);
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
        let peer = Peer::new(Transport::Plugin, Origin::Local)
            .with_session(plugin_of_slot(&self.guest.plugin));
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
