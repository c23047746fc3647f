//! Channels: events and calls over the first of several brokers that works.
//!
//! ```text
//! hub, durable log, publisher ─▶ outlet ─▶ sender ─▶ the broker that carries   (one at a time)
//!                                            │ selector: failover, return
//! hub ◀─ receiver ◀─ each of the brokers that are there                        (all at once)
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `channel` | what the tasks of a channel share |
//! | `member` | makes and keeps the brokers of a channel |
//! | `sender` | the task that sends, selects and tells |
//! | `outlet` | where events for a channel come from |
//! | `receiver` | what comes in |
//! | `service` | calls over a channel |
//! | `view` | what operators are shown |
//!
//! **Invariant:** a channel that is applied again as it was goes on as it was, with its connections.

mod channel;
mod member;
mod outlet;
mod receiver;
mod sender;
mod service;
#[cfg(test)]
mod tests;
mod view;

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error,
    channel::{ChannelSelector, RecentIds},
    event::Event,
    service::ServiceInfo,
};
use postern_net::tls::ClientTls;
use postern_system::clock;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::{
    channel::ChannelEvents,
    member::BrokerSource,
    view::{ChannelMemberView, ChannelNumbers},
};
use self::{
    channel::{ChannelCounts, EventChannel},
    member::Member,
    outlet::Outlet,
    service::ChannelService,
};
use crate::{
    config::{ChannelSettings, Config},
    control::BuiltIn,
    events::EventRelay,
};

/// All channels of a gateway.
pub(crate) struct Channels {
    events: Arc<dyn ChannelEvents>,
    brokers: Arc<dyn BrokerSource>,
    tls: Arc<ClientTls>,
    running: Mutex<BTreeMap<String, Running>>,
}

/// A channel at work. Dropping it ends its tasks.
struct Running {
    settings: ChannelSettings,
    wanted: Vec<member::Wanted>,
    channel: Arc<EventChannel>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Channels {
    pub(crate) fn new(
        events: Arc<dyn ChannelEvents>,
        brokers: Arc<dyn BrokerSource>,
        tls: Arc<ClientTls>,
    ) -> Self {
        Self {
            events,
            brokers,
            tls,
            running: Mutex::default(),
        }
    }

    /// Begins, changes and ends channels as `config` says, and gives the services that go over them. Must
    /// be called on a runtime.
    pub(crate) fn apply(&self, config: &Config) -> Vec<BuiltIn> {
        let mut running = self.running.lock();
        running.retain(|name, _| config.channels.contains_key(name));
        for (name, settings) in &config.channels {
            let wanted = member::wanted(settings, config);
            let is_same = running
                .get(name)
                .is_some_and(|before| before.settings == *settings && before.wanted == wanted);
            if is_same {
                continue;
            }
            // The one before ends first: two of them would both have what comes in.
            running.remove(name);
            let open =
                |wanted: &member::Wanted| wanted.open(settings, self.brokers.as_ref(), &self.tls);
            let members = wanted.iter().filter_map(open).collect();
            let begun = self.begin(name, settings, members);
            running.insert(name.clone(), Running { wanted, ..begun });
        }
        let services = running.values().flat_map(|channel| {
            let services = channel.settings.services.iter();
            services.map(|service| built_in(service, &channel.channel))
        });
        services.collect()
    }

    /// Ends all channels.
    pub(crate) fn close(&self) {
        let ended = std::mem::take(&mut *self.running.lock());
        drop(ended);
    }

    /// Channels that an event is to be acknowledged by before its publisher is answered.
    fn acknowledging(&self, event: &Event) -> Vec<Arc<EventChannel>> {
        let running = self.running.lock();
        let channels = running.values().map(|running| &running.channel);
        let found = channels.filter(|channel| channel.acknowledges(event));
        found.cloned().collect()
    }

    fn begin(&self, name: &str, settings: &ChannelSettings, members: Vec<Member>) -> Running {
        let now = clock::now();
        let (outbound, taken) = mpsc::channel(settings.queue_max.clamp(1, OUTBOUND_MAX));
        let selector = ChannelSelector::new(settings.failover(), members.len(), now);
        let received = RecentIds::new(settings.duplicates_max, settings.duplicates_age);
        let channel = Arc::new(EventChannel {
            name: name.into(),
            patterns: settings
                .topics
                .iter()
                .map(|topic| topic.0.clone())
                .collect(),
            settings: settings.clone(),
            members,
            selector: Mutex::new(selector),
            received: Mutex::new(received),
            outbound,
            counts: ChannelCounts::default(),
        });
        let mut tasks = vec![sender::start(&channel, taken, &self.events)];
        if settings.goes_out() && !settings.topics.is_empty() {
            let outlet = Outlet::new(&channel, &self.events);
            tasks.extend(outlet.start());
        }
        if settings.comes_in() && !settings.topics.is_empty() {
            tasks.extend(receiver::start(&channel, &self.events));
        }
        Running {
            settings: settings.clone(),
            wanted: Vec::new(),
            channel,
            _tasks: tasks,
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.running.lock();
        f.debug_set().entries(running.keys()).finish()
    }
}

impl EventRelay for Channels {
    fn relay(&self, event: &Event) -> Option<BoxFuture<Result<(), Error>>> {
        let channels = self.acknowledging(event);
        if channels.is_empty() {
            return None;
        }
        let event = event.clone();
        Some(Box::pin(async move {
            let publishing = channels
                .iter()
                .map(|channel| channel.publish(event.clone()));
            try_join_all(publishing).await.map(drop)
        }))
    }
}

/// What answers for `service` over a channel.
fn built_in(service: &str, channel: &Arc<EventChannel>) -> BuiltIn {
    BuiltIn {
        info: ServiceInfo {
            name: service.into(),
            summary: format!("Answered over channel {}.", channel.name).into(),
            ..ServiceInfo::default()
        },
        handler: Arc::new(ChannelService::new(Arc::clone(channel))),
    }
}

/// Events between their publishers and the task that sends them.
const OUTBOUND_MAX: usize = 1024;
