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
    route::{Refused, Route, Routes, Target},
    trace::Trace,
};
use crate::{config::Access, telemetry::calls::CallBook};

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
    /// Takes the calls of services that nobody offers into the books.
    unrouted: Arc<Route>,
}

impl Pipeline {
    #[must_use]
    pub fn new(routes: Arc<Routes>, settings: Settings, book: &CallBook) -> Self {
        let service = Text::from_static(UNROUTED);
        let unrouted = Arc::new(Route {
            metrics: book.service(&service),
            service,
            version: None,
            plugin: Text::default(),
            generation: 0,
            methods: None,
            target: Target::Down(Text::from_static("nobody offers it")),
        });
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
}

impl Handler for Pipeline {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let now = Instant::now();
        let settings = self.settings.load();
        let trace = Trace::continue_or_begin(call.context.trace.as_deref());
        call.context.trace = Some(trace.into_header());
        let (route, admitted) = match self.routes.find(&call) {
            Ok(route) => (route, guard(&call, now, &settings)),
            Err(Refused { error, route }) => (
                route.unwrap_or_else(|| Arc::clone(&self.unrouted)),
                Err(error),
            ),
        };
        let mut record = Record::begin(now, &call, route, settings.record);
        if let Err(error) = admitted {
            return record.refuse(error);
        }
        let deadline = clamp(call.context.deadline, now, &settings);
        call.context.deadline = Some(deadline);
        record.count_request(&mut call.body);
        let Target::Live(handler) = &record.route().target else {
            return record.refuse(Error::internal("a call was admitted that has no handler"));
        };
        let answering = handler.call(call);
        Box::pin(Answer::new(answering, deadline, record))
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
