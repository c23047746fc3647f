//! The way of every call through the gateway. Fronts call it, and so do plugins through their import
//! `client`.
//!
//! ```text
//! trace ─▶ bounds ─▶ [identify ─▶ intercept ─▶ authorize ─▶ admit] ─▶ route ─▶ handler ─▶ record
//! ```
//!
//! What is in brackets is there when the configuration or a plugin asks for it (`interceptor_run.rs`); a call
//! that nothing stands in the way of pays nothing for it. Nothing on that way takes a lock: the table
//! is read through an `ArcSwap`, counts are sharded atomics, and a timer is armed only for a call that
//! was not answered at its first poll. It is the only one for the deadline on the whole way.

pub(crate) mod answer;
mod authentic;
mod batch;
pub(crate) mod chain;
mod frames;
mod interceptor_run;
mod permission;
pub(crate) mod record;
pub(crate) mod route;
mod trace;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard as ArcGuard};
use postern_core::{
    Blame, Body, BoxFuture, Call, Context, Error, Handler, Kind, Reply, Text, Transport,
    bounded::{Panicked, contain},
};
use postern_system::clock;
use tracing::error;

use self::{
    answer::{CallBounds, CallFuture},
    batch::BatchEntry,
    chain::{Chain, Extensions},
    frames::ListenerFrames,
    interceptor_run::{CallGuard, InterceptorRun},
    record::CallRecord,
    route::{Route, RouteRefused, RouteTarget, Routes},
};
use crate::{
    config::AccessLog,
    guard::{Failures, Guard, Moment, Sender},
    telemetry::calls::CallBook,
};

/// What holds for every call. Replaced whole when the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelineSettings {
    /// Deadline of a call that names none. Default 30 s.
    pub timeout: Duration,
    /// No deadline lies further ahead than this. Default 5 min.
    pub timeout_max: Duration,
    /// Plugins that may stand between the first caller and a call. Default 8.
    pub depth_max: u8,
    /// Longest message of a call or a reply, whoever sends it. Default 8 MiB.
    pub body_bytes_max: usize,
    /// Level of the line that each call leaves in the log. Default debug.
    pub record: AccessLog,
}

/// Routes calls, bounds them, records them.
pub(crate) struct Pipeline {
    routes: Arc<Routes>,
    extensions: Arc<Extensions>,
    rules: ArcSwap<PipelineRules>,
    /// Takes the calls of services that nobody offers into the books.
    unrouted: Arc<Route>,
}

/// What the configuration says about every call.
#[derive(Debug, Default)]
pub(crate) struct PipelineRules {
    pub settings: PipelineSettings,
    /// Absent where nothing is asked of callers.
    pub guard: Option<Arc<Guard>>,
    /// Counts credentials that are not good. The guard's own where there is one, and kept over changes.
    pub failures: Option<Arc<Failures>>,
}

/// The calls of one listener, on their way through the pipeline.
pub(crate) struct ListenerHandler {
    pipeline: Arc<Pipeline>,
    listener: Text,
}

impl Pipeline {
    #[must_use]
    pub(crate) fn new(
        routes: Arc<Routes>,
        extensions: Arc<Extensions>,
        rules: PipelineRules,
        book: &CallBook,
    ) -> Self {
        let service = Text::from_static(UNROUTED);
        let unrouted = Arc::new(Route {
            metrics: book.service(&service),
            service,
            version: None,
            plugin: Text::default(),
            generation: 0,
            methods: None,
            target: RouteTarget::Down(Text::from_static("nobody offers it")),
        });
        Self {
            routes,
            extensions,
            rules: ArcSwap::from_pointee(rules),
            unrouted,
        }
    }

    /// Calls that begin from here on are held to `rules`.
    pub(crate) fn apply(&self, rules: PipelineRules) {
        self.rules.store(Arc::new(rules));
    }

    /// What the configuration says about every call at present.
    #[must_use]
    pub(crate) fn rules(&self) -> Arc<PipelineRules> {
        self.rules.load_full()
    }

    /// The frame extensions of `listener`.
    #[must_use]
    pub(crate) fn frames(&self, listener: &str) -> ListenerFrames {
        ListenerFrames::new(Arc::clone(&self.extensions), listener)
    }

    /// Whether there are frame extensions at all.
    #[must_use]
    pub(crate) fn sees_frames(&self) -> Arc<AtomicBool> {
        self.extensions.sees_frames()
    }

    /// The way of the calls that come through `listener`.
    #[must_use]
    pub(crate) fn listener_handler(self: &Arc<Self>, listener: &str) -> ListenerHandler {
        ListenerHandler {
            pipeline: Arc::clone(self),
            listener: listener.into(),
        }
    }

    /// Answers a call that came through `listener`; one that a plugin makes has none.
    fn answer(&self, call: Call, listener: Option<&Text>) -> BoxFuture<Result<Reply, Error>> {
        let answering = contain(|| self.begin(call, listener));
        answering.unwrap_or_else(|panicked| broken(&panicked))
    }

    /// Answers calls that came through `listener` together.
    fn answer_batch(
        &self,
        calls: Vec<Call>,
        listener: Option<&Text>,
    ) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let n_calls = calls.len();
        let answering = contain(|| self.begin_batch(calls, listener));
        answering.unwrap_or_else(|panicked| (0..n_calls).map(|_| broken(&panicked)).collect())
    }

    /// In line, with the two functions that hand a call on: it has 400 bytes.
    #[inline(always)]
    fn begin(&self, mut call: Call, listener: Option<&Text>) -> BoxFuture<Result<Reply, Error>> {
        let (rules, now) = (self.rules.load(), clock::now());
        match (self.enter(&mut call, &rules, now), self.in_the_way(&rules)) {
            (Ok(entry), None) => entry.handle(call),
            (Ok(entry), Some(chain)) => self.travel(call, entry, &rules, chain, listener, now),
            (Err(refused), _) => refused,
        }
    }

    fn begin_batch(
        &self,
        mut calls: Vec<Call>,
        listener: Option<&Text>,
    ) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let (rules, now) = (self.rules.load(), clock::now());
        let enter = |call: &mut Call| self.enter(call, &rules, now);
        let entries: Vec<_> = calls.iter_mut().map(enter).collect();
        let Some(chain) = self.in_the_way(&rules) else {
            return batch::handle(calls, entries);
        };
        let calls = calls.into_iter().zip(entries);
        let answer = |(call, entry)| match entry {
            Ok(entry) => self.travel(call, entry, &rules, Arc::clone(&chain), listener, now),
            Err(refused) => refused,
        };
        calls.map(answer).collect()
    }

    /// What stands between calls and handlers; `None` where neither plugins nor a guard do.
    fn in_the_way(&self, rules: &PipelineRules) -> Option<Arc<Chain>> {
        let chain = self.extensions.load();
        let is_clear = rules.guard.is_none() && chain.links().is_empty();
        (!is_clear).then(|| ArcGuard::into_inner(chain))
    }

    /// Finds the way of a call, begins its record and bounds it.
    ///
    /// # Errors
    /// The answer of a call that cannot end well.
    #[inline]
    fn enter(
        &self,
        call: &mut Call,
        rules: &PipelineRules,
        now: Instant,
    ) -> Result<BatchEntry, BoxFuture<Result<Reply, Error>>> {
        let settings = &rules.settings;
        call.context.trace = Some(trace::continue_or_begin(call.context.trace));
        let (route, refusal) = match self.routes.find(call) {
            Ok(route) => (route, None),
            Err(RouteRefused { error, route }) => (
                route.unwrap_or_else(|| Arc::clone(&self.unrouted)),
                Some(Box::new(error)),
            ),
        };
        let mut record = CallRecord::begin(now, call, route, settings.record);
        if let Err(error) = bound(call, now, settings) {
            return Err(record.refuse(error));
        }
        if rules.guard.is_none() {
            // Nobody can say that it is a gateway.
            bound_priority(call);
        }
        // A request that is forwarded takes as long as its octets flow: its back sees to silence. That of
        // a plugin is a guest, whose head has a deadline.
        let is_forwarded = call.is_forwarded();
        let is_bounded = call.context.deadline.is_some() || record.route().is_plugin();
        let has_deadline = !is_forwarded || is_bounded;
        let deadline = has_deadline.then(|| clamp(call.context.deadline, now, settings));
        call.context.deadline = deadline;
        record.count_request(&mut call.body, settings.body_bytes_max);
        Ok(BatchEntry {
            bounds: CallBounds {
                deadline,
                is_deadline_of_head: call.context.is_deadline_of_head,
                body_bytes_max: settings.body_bytes_max,
                is_forwarded,
            },
            record,
            refusal,
        })
    }

    /// Answers a call in whose way something stands.
    fn travel(
        &self,
        call: Call,
        entry: BatchEntry,
        rules: &PipelineRules,
        chain: Arc<Chain>,
        listener: Option<&Text>,
        now: Instant,
    ) -> BoxFuture<Result<Reply, Error>> {
        let BatchEntry {
            bounds,
            record,
            refusal,
        } = entry;
        let run = InterceptorRun {
            guard: rules.guard.clone().map(|guard| CallGuard {
                guard,
                now: Moment::at(now),
            }),
            sender: Sender::Caller,
            failures: if chain.authenticates() {
                rules.failures.clone()
            } else {
                None
            },
            chain: chain.activate(&call, listener.map(Text::as_str), now),
            deadline: bounds.deadline,
            route: Arc::clone(record.route()),
            decision_log: record.decision_log().clone(),
            refusal,
        };
        let made = Box::pin(run.make(Box::new(call)));
        Box::pin(CallFuture::new(made, bounds, record))
    }
}

impl Handler for Pipeline {
    /// Answers a call that a plugin makes.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.answer(call, None)
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        self.answer_batch(calls, None)
    }
}

impl Handler for ListenerHandler {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.pipeline.answer(call, Some(&self.listener))
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        self.pipeline.answer_batch(calls, Some(&self.listener))
    }
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            timeout_max: Duration::from_secs(300),
            depth_max: 8,
            body_bytes_max: 8 * 1024 * 1024,
            record: AccessLog::Debug,
        }
    }
}

/// When the caller stops waiting: its own deadline, or the default; never later than the limit.
fn clamp(asked: Option<Instant>, now: Instant, settings: &PipelineSettings) -> Instant {
    asked.map_or_else(
        || now + settings.timeout.min(settings.timeout_max),
        |deadline| deadline.min(now + settings.timeout_max),
    )
}

/// Takes back urgency beyond that of any call, which only another gateway can vouch for. A plugin's
/// call has that of the call that it is made for.
fn bound_priority(call: &mut Call) {
    let usual = Context::USUAL_PRIORITY;
    if call.context.priority > usual && call.context.peer.transport != Transport::Plugin {
        call.context.priority = usual;
    }
}

/// Refuses what cannot end well.
fn bound(call: &Call, now: Instant, settings: &PipelineSettings) -> Result<(), Error> {
    let (depth, limit) = (call.context.depth, settings.depth_max);
    if depth > limit {
        let message = format!("{depth} plugins call one another, the limit is {limit}");
        return Err(Error::new(Kind::FailedPrecondition, Blame::Guest, message));
    }
    if call
        .context
        .deadline
        .is_some_and(|deadline| deadline <= now)
    {
        let message = "the deadline had passed before the call began";
        return Err(Error::deadline_exceeded(Blame::Client, message));
    }
    match &call.body {
        Body::One(message) => {
            answer::check_length(message.len(), settings.body_bytes_max, || Blame::Client)
        }
        // Those of a stream are looked at as they come.
        Body::Empty | Body::Messages(_) | Body::Octets(_) => Ok(()),
    }
}

/// The answer of a call that could not even be started.
fn broken(panicked: &Panicked) -> BoxFuture<Result<Reply, Error>> {
    error!(
        panic = panicked.message,
        "a call panicked while it was started"
    );
    Box::pin(std::future::ready(Err(panicked.clone().into())))
}

/// Label for what no service answers. Not a name that a service can have.
const UNROUTED: &str = "-";

#[cfg(test)]
mod tests;
