//! The way of every call through the gateway: route → guard → handler → record. Fronts call it, and
//! so do plugins through their import `client`.
//!
//! Nothing on this way takes a lock: the table is read through an `ArcSwap`, counts are sharded
//! atomics, and a timer is armed only for a call that was not answered at its first poll.

pub mod answer;
pub mod record;
pub mod route;
pub mod trace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Text};

use self::{
    answer::Answer,
    record::Record,
    route::{Route, Routes, Target},
    trace::Trace,
};
use crate::{
    config::Access,
    telemetry::calls::{CallBook, CallMetrics},
};

/// What holds for every call. Replaced whole when the configuration changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Deadline of a call that names none. Default 30 s.
    pub timeout: Duration,
    /// No deadline lies further ahead than this. Default 5 min.
    pub timeout_max: Duration,
    /// Plugins that may stand between the first caller and a call. Default 8.
    pub depth_max: u8,
    /// Level of the line that each call leaves in the log. Default debug.
    pub record: Access,
}

/// Routes calls, bounds them, records them.
#[derive(Debug)]
pub struct Pipeline {
    routes: Arc<Routes>,
    settings: ArcSwap<Settings>,
    /// Calls of services that nobody offers.
    unrouted: Arc<CallMetrics>,
}

impl Pipeline {
    #[must_use]
    pub fn new(routes: Arc<Routes>, settings: Settings, book: &CallBook) -> Self {
        let unrouted = book.service(&Text::from_static(UNROUTED));
        Self {
            routes,
            settings: ArcSwap::from_pointee(settings),
            unrouted,
        }
    }

    /// Calls that begin from here on are held to `settings`.
    pub fn apply(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    fn route(&self, call: &Call, now: Instant) -> (Result<(), Error>, Option<Arc<Route>>) {
        match self.routes.find(call) {
            Ok(route) => (guard(call, now, &self.settings.load()), Some(route)),
            Err(refused) => (Err(refused.error), refused.route),
        }
    }
}

impl Handler for Pipeline {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let now = Instant::now();
        let settings = self.settings.load();
        let deadline = clamp(call.context.deadline, now, &settings);
        call.context.trace = Some(
            Trace::continue_or_begin(call.context.trace.as_deref())
                .header()
                .clone(),
        );

        let (admitted, route) = self.route(&call, now);
        let metrics = route
            .as_ref()
            .map_or(&self.unrouted, |route| &route.metrics);
        let mut record = Record::begin(
            now,
            &call,
            Arc::clone(metrics),
            route.clone(),
            settings.record,
        );
        call.context.deadline = Some(deadline);

        let live = admitted.map(|()| route.as_deref().map(|route| &route.target));
        match live {
            Ok(Some(Target::Live(handler))) => {
                record.count_request(&mut call.body);
                Box::pin(Answer::new(handler.call(call), deadline, record))
            }
            Ok(Some(Target::Down(_)) | None) => {
                record.refuse(Error::internal("a call was admitted that has no handler"))
            }
            Err(error) => record.refuse(error),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            timeout_max: Duration::from_secs(300),
            depth_max: 8,
            record: Access::Debug,
        }
    }
}

/// When the caller stops waiting: its own deadline, or the default; never later than the limit.
fn clamp(asked: Option<Instant>, now: Instant, settings: &Settings) -> Instant {
    asked.map_or_else(
        || now + settings.timeout.min(settings.timeout_max),
        |deadline| deadline.min(now + settings.timeout_max),
    )
}

/// Refuses what cannot end well.
fn guard(call: &Call, now: Instant, settings: &Settings) -> Result<(), Error> {
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
    Ok(())
}

/// Label for what no service answers. Not a name that a service can have.
const UNROUTED: &str = "-";

#[cfg(test)]
mod tests;
