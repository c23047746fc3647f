//! Nobody gets what no pattern of theirs matches, and every event is accounted for.
//!
//! | octet | then | what happens |
//! |---|---|---|
//! | 0 | owner, n, n times length and text | a subscription to these topics |
//! | 1 | length, topic, length, payload | an event |
//! | 2 | which | that subscription is read once |
//! | 3 | which | it is ended by its owner |
//! | 4 | which | it is dropped by its reader |
//! | 5 | which | what it read last did not arrive |

use std::{
    pin::Pin,
    str,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;

use super::Script;
use crate::{
    Headers, Text,
    event::{
        Delivery, Event, Hub, HubConfig, Publisher, QueueBounds, Subscription, TopicPattern,
        check_topic,
    },
};

const EVENTS_MAX: usize = 4;
const SUBSCRIPTIONS_MAX: usize = 8;

/// The octets are a script of the table above.
pub fn events(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mut run = Run {
        hub: Hub::new(HubConfig {
            subscriptions_max: SUBSCRIPTIONS_MAX,
            subscriptions_per_owner_max: 4,
            topics_max: 4,
            queue: QueueBounds {
                events_max: EVENTS_MAX,
                bytes_max: 4096,
            },
            ..HubConfig::default()
        }),
        readers: Vec::new(),
        n_offered: 0,
    };
    while !script.is_empty() {
        match script.octet() % 6 {
            0 => run.subscribe(&mut script),
            1 => run.publish(&mut script),
            2 => run.read(script.octet()),
            3 => run.end(script.octet()),
            4 => run.drop_reader(script.octet()),
            _ => run.fail(script.octet()),
        }
        run.check();
    }
}

struct Run {
    hub: Hub,
    readers: Vec<Reader>,
    n_offered: u64,
}

struct Reader {
    subscription: Subscription,
    owner: Text,
    topics: Vec<TopicPattern>,
    last: Option<Delivery>,
}

impl Run {
    fn subscribe(&mut self, script: &mut Script<'_>) {
        let owner = Text::from((script.octet() % 3).to_string());
        let n_topics = script.octet() % 6;
        let mut topics = Vec::new();
        for _ in 0..n_topics {
            let length = script.octet();
            let text = str::from_utf8(script.octets(length.into())).unwrap_or_default();
            topics.extend(TopicPattern::new(text));
        }
        let Ok(subscription) = self.hub.subscribe(&owner, topics.clone(), None) else {
            return;
        };
        assert!(!topics.is_empty(), "a subscription to nothing");
        self.readers.push(Reader {
            subscription,
            owner,
            topics,
            last: None,
        });
    }

    fn publish(&mut self, script: &mut Script<'_>) {
        let length = script.octet();
        let topic = Bytes::copy_from_slice(script.octets(length.into()));
        let length = script.octet();
        let payload = Bytes::copy_from_slice(script.octets(length.into()));
        let Ok(topic) = Text::from_utf8(topic) else {
            return;
        };
        let infos = self.hub.subscriptions();
        let wants = |topics: &[TopicPattern]| topics.iter().any(|pattern| pattern.matches(&topic));
        let n_wanted = infos.iter().filter(|info| wants(&info.topics)).count();
        let event = Event {
            topic: topic.clone(),
            headers: Headers::new(),
            payload,
            publisher: Publisher::default(),
        };
        match self.hub.publish(event) {
            Ok(n) => {
                assert!(check_topic(&topic).is_ok(), "{topic:?} is no topic");
                assert_eq!(usize::try_from(n), Ok(n_wanted), "{topic:?}");
                self.n_offered += u64::from(n);
            }
            Err(_) => assert!(check_topic(&topic).is_err(), "{topic:?} was refused"),
        }
    }

    fn read(&mut self, which: u8) {
        let Some(reader) = self.reader(which) else {
            return;
        };
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Some(delivery)) = Pin::new(&mut reader.subscription).poll_next(&mut cx) {
            let topic = &delivery.event.topic;
            let is_wanted = reader.topics.iter().any(|pattern| pattern.matches(topic));
            assert!(is_wanted, "{topic:?} is for somebody else");
            reader.last = Some(delivery);
        }
    }

    fn end(&mut self, which: u8) {
        let hub = self.hub.clone();
        if let Some(reader) = self.reader(which) {
            let _ = hub.unsubscribe(&reader.owner, reader.subscription.id());
            assert!(!hub.unsubscribe(&reader.owner, reader.subscription.id()));
            // What it read last is delivered: nobody is there to be told otherwise.
            reader.last = None;
        }
    }

    fn drop_reader(&mut self, which: u8) {
        let which = usize::from(which);
        if which < self.readers.len() {
            drop(self.readers.swap_remove(which));
        }
    }

    fn fail(&mut self, which: u8) {
        if let Some(reader) = self.reader(which)
            && let Some(delivery) = reader.last.take()
        {
            reader.subscription.on_undelivered(&delivery);
        }
    }

    fn reader(&mut self, which: u8) -> Option<&mut Reader> {
        self.readers.get_mut(usize::from(which))
    }

    fn check(&self) {
        let totals = self.hub.totals();
        assert_eq!(totals.offered, self.n_offered);
        assert_eq!(
            totals.offered,
            totals.delivered + totals.dropped + totals.queued
        );
        let infos = self.hub.subscriptions();
        assert!(infos.len() <= SUBSCRIPTIONS_MAX);
        for info in infos {
            assert!(info.counts.queued <= EVENTS_MAX as u64);
        }
        if self.readers.is_empty() {
            assert!(self.hub.patterns().is_empty(), "patterns without readers");
        }
    }
}
