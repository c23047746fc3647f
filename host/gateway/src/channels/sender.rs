//! The task that sends the events of a channel: it looks how the brokers are, changes over, sends what
//! waits, and tells whoever waits what became of it.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use postern_core::{
    Blame, BoxFuture, Error, Retry,
    channel::{ChannelQueue, ChannelSwitch, EVENT_ID, SendFailure},
    event::Event,
};
use postern_system::{clock, random};
use serde_json::json;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::channel::{ChannelCounts, ChannelEvents, EventChannel, Outbound, failure_of};

/// What became of one try.
struct Tried {
    number: u64,
    member: usize,
    outcome: Result<(), Error>,
}

struct Sender {
    channel: Arc<EventChannel>,
    events: Arc<dyn ChannelEvents>,
    queue: ChannelQueue<Outbound>,
    trying: FuturesUnordered<BoxFuture<Tried>>,
    /// Whether a broker was of use at the last look.
    was_usable: bool,
    /// Since the last change of brokers.
    n_repeated: u64,
    n_lost: u64,
}

/// Must be called on a runtime.
pub(super) fn start(
    channel: &Arc<EventChannel>,
    outbound: mpsc::Receiver<Outbound>,
    events: &Arc<dyn ChannelEvents>,
) -> AbortOnDropHandle<()> {
    let settings = &channel.settings;
    let sender = Sender {
        channel: Arc::clone(channel),
        events: Arc::clone(events),
        queue: ChannelQueue::new(settings.core_delivery(), settings.queue()),
        trying: FuturesUnordered::new(),
        was_usable: false,
        n_repeated: 0,
        n_lost: 0,
    };
    AbortOnDropHandle::new(tokio::spawn(sender.run(outbound)))
}

impl Sender {
    async fn run(mut self, mut outbound: mpsc::Receiver<Outbound>) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.look();
            self.send();
            self.count();
            let wake = self.wake_at().map(tokio::time::Instant::from_std);
            let mut alarm = pin!(async move {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            });
            tokio::select! {
                Some(tried) = self.trying.next() => self.on_tried(tried),
                Some(event) = outbound.recv(), if self.queue.has_room() => {
                    self.take(event);
                    // What has come together is sent together.
                    while self.queue.has_room() && let Ok(event) = outbound.try_recv() {
                        self.take(event);
                    }
                }
                _ = looks.tick() => {}
                () = &mut alarm => {}
            }
        }
    }

    fn take(&mut self, mut outbound: Outbound) {
        let id = stamp(&mut outbound.event);
        if let Some(id) = id.filter(|_| self.channel.settings.comes_in()) {
            // A broker may give it back, and a peer may send it on.
            self.channel.received.lock().insert(clock::now(), &id);
        }
        let deadline = outbound.deadline;
        if let Err(outbound) = self.queue.try_push(outbound, deadline) {
            // Cannot be: there was room.
            self.give_up(outbound, self.channel.full());
        }
    }

    /// Looks how the brokers are, and changes over where it is time to.
    fn look(&mut self) {
        let now = clock::now();
        let channel = Arc::clone(&self.channel);
        let mut selector = channel.selector.lock();
        for (member, broker) in channel.members.iter().enumerate() {
            let (is_connected, is_anew) = broker.look();
            if is_anew {
                selector.on_reconnected(now, member);
            }
            selector.handle_connection(now, member, is_connected);
        }
        let switch = selector.handle_timeout(now);
        let is_usable = selector.usable().is_some();
        drop(selector);
        if let Some(switch) = switch {
            self.tell_switch(switch);
        } else if self.was_usable && !is_usable {
            let channel = &channel.name;
            warn!(%channel, "the broker of the channel is away: events wait");
        } else if is_usable && !self.was_usable {
            info!(channel = %channel.name, "the broker of the channel is well again");
        }
        self.was_usable = is_usable;
        for outbound in self.queue.take_expired(now) {
            let limit = self.channel.settings.publish_timeout;
            let message = format!(
                "no broker of channel {} took the event within {limit:?} (publish-timeout)",
                self.channel.name
            );
            self.give_up(outbound, Error::unavailable(Blame::Upstream, message));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let selector = self.channel.selector.lock();
        let at = selector.poll_timeout();
        drop(selector);
        at.into_iter().chain(self.queue.poll_timeout()).min()
    }

    /// Sends what may be sent to the broker that carries.
    fn send(&mut self) {
        let usable = self.channel.selector.lock().usable();
        let Some((member, broker)) =
            usable.and_then(|member| Some((member, self.channel.members.get(member)?)))
        else {
            return;
        };
        while let Some((number, outbound)) = self.queue.poll_send() {
            let event = outbound.event.clone();
            if self.channel.settings.comes_in() {
                broker.on_sending(&event);
            } else {
                broker.n_sent.fetch_add(1, Relaxed);
            }
            let (limit, sending) = (
                self.channel.settings.failover_after,
                broker.broker.publish(event),
            );
            let label = broker.label.clone();
            self.trying.push(Box::pin(async move {
                let outcome = tokio::time::timeout(limit, sending).await;
                let outcome = outcome.unwrap_or_else(|_| {
                    let message =
                        format!("{label} acknowledged nothing within {limit:?} (failover-after)");
                    let error = Error::deadline_exceeded(Blame::Upstream, message);
                    Err(error.with_retry(Retry::IfIdempotent))
                });
                Tried {
                    number,
                    member,
                    outcome,
                }
            }));
        }
    }

    fn on_tried(&mut self, tried: Tried) {
        let Tried {
            number,
            member,
            outcome,
        } = tried;
        let now = clock::now();
        let counts = &self.channel.counts;
        let error = match outcome {
            Ok(()) => {
                self.channel.selector.lock().on_success(now, member);
                ChannelCounts::add(&counts.acknowledged);
                if let Some(outbound) = self.queue.on_acknowledged(number) {
                    outbound.tell(Ok(()));
                }
                return;
            }
            Err(error) => error,
        };
        let failure = failure_of(&error);
        if failure != SendFailure::Refused {
            self.channel.selector.lock().on_failure(now, member);
            if let Some(broker) = self.channel.members.get(member) {
                broker.n_failed.fetch_add(1, Relaxed);
                debug!(channel = %self.channel.name, broker = %broker.label, %error, "an event was not acknowledged");
            }
        }
        match self.queue.on_failed(number, failure) {
            Some(outbound) => self.give_up(outbound, error),
            None => {
                ChannelCounts::add(&counts.repeated);
                self.n_repeated += 1;
            }
        }
    }

    /// Nothing more is done for an event: whoever waits is told, and where nobody does, operators are.
    fn give_up(&mut self, outbound: Outbound, error: Error) {
        let counts = &self.channel.counts;
        match failure_of(&error) {
            SendFailure::Refused => ChannelCounts::add(&counts.refused),
            SendFailure::NotSent | SendFailure::Unknown => {
                ChannelCounts::add(&counts.lost);
                self.n_lost += 1;
            }
        }
        if outbound.done.is_none() {
            let (channel, topic) = (&self.channel.name, &outbound.event.topic);
            // The next change of brokers tells how many there were.
            match self.n_lost {
                0 | 1 => warn!(%channel, %topic, %error, "an event is given up"),
                _ => debug!(%channel, %topic, %error, "an event is given up"),
            }
        }
        outbound.tell(Err(error));
    }

    /// Tells of a change in the log and as an event, with what became of events since the one before.
    fn tell_switch(&mut self, switch: ChannelSwitch) {
        ChannelCounts::add(&self.channel.counts.switches);
        let label = |member: usize| {
            let member = self.channel.members.get(member);
            member.map(|member| member.label.to_string())
        };
        let name = &self.channel.name;
        let (from, to) = (switch.from.and_then(label), label(switch.to));
        let (in_flight, waiting) = (self.queue.n_in_flight(), self.queue.n_waiting());
        let (repeated, lost) = (self.n_repeated, self.n_lost);
        info!(
            channel = %name,
            from = from.as_deref().unwrap_or("none"),
            to = to.as_deref().unwrap_or_default(),
            in_flight,
            waiting,
            repeated,
            lost,
            "the channel goes over another broker"
        );
        let payload = json!({
            "channel": name.as_str(),
            "from": from,
            "to": to,
            "in-flight": in_flight,
            "waiting": waiting,
            "repeated": repeated,
            "lost": lost,
            "at": clock::unix_time().as_secs(),
        });
        (self.n_repeated, self.n_lost) = (0, 0);
        let topic = format!("channel.{name}.switched");
        self.events
            .publish_own(Event::own(&topic, payload.to_string()));
    }

    fn count(&self) {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let counts = &self.channel.counts;
        counts
            .waiting
            .store(number(self.queue.n_waiting()), Relaxed);
        counts
            .in_flight
            .store(number(self.queue.n_in_flight()), Relaxed);
    }
}

/// Gives an event an id where it has none, by which it is known when it is sent again.
fn stamp(event: &mut Event) -> Option<String> {
    if let Some(id) = event.headers.get_str(EVENT_ID) {
        return Some(id.into_owned());
    }
    let id = format!("{:032x}", random::secret());
    // An event whose headers are full goes without.
    event.headers.push(EVENT_ID, &id).ok()?;
    Some(id)
}

/// How often brokers are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
