//! Logs of durable topics, and the store that keeps them. Consumers are summed up: their names come from
//! callers.

use std::fmt;

use postern_core::event::durable::LogInfo;
use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};

/// A number of a log: its name, what it says, and whether it only grows.
struct LogReading {
    name: &'static str,
    help: &'static str,
    is_counter: bool,
    read: fn(&LogInfo) -> u64,
}

const READINGS: [LogReading; 9] = [
    LogReading {
        name: "topic_stored",
        help: "Events that were stored, by log",
        is_counter: true,
        read: |log| log.last.0,
    },
    LogReading {
        name: "topic_events",
        help: "Events that are kept, by log",
        is_counter: false,
        read: |log| log.n_events,
    },
    LogReading {
        name: "topic_bytes",
        help: "Octets of events that are kept, by log",
        is_counter: false,
        read: |log| log.n_bytes,
    },
    LogReading {
        name: "topic_consumers",
        help: "Durable names, by log",
        is_counter: false,
        read: |log| log.consumers.len() as u64,
    },
    LogReading {
        name: "topic_pending",
        help: "Events that wait for consumers, all together, by log",
        is_counter: false,
        read: |log| {
            log.consumers
                .iter()
                .map(|consumer| consumer.n_pending)
                .sum()
        },
    },
    LogReading {
        name: "topic_pending_max",
        help: "Events that wait for the consumer that is furthest behind, by log",
        is_counter: false,
        read: |log| {
            let pending = log.consumers.iter().map(|consumer| consumer.n_pending);
            pending.max().unwrap_or(0)
        },
    },
    LogReading {
        name: "topic_in_flight",
        help: "Events that consumers have and did not acknowledge yet, by log",
        is_counter: false,
        read: |log| {
            log.consumers
                .iter()
                .map(|consumer| consumer.n_in_flight)
                .sum()
        },
    },
    LogReading {
        name: "topic_redelivered",
        help: "Deliveries after the first, of consumers that there are, by log",
        is_counter: true,
        read: |log| {
            log.consumers
                .iter()
                .map(|consumer| consumer.n_redelivered)
                .sum()
        },
    },
    LogReading {
        name: "topic_dead",
        help: "Events that went to the dead letters, of consumers that there are, by log",
        is_counter: true,
        read: |log| log.consumers.iter().map(|consumer| consumer.n_dead).sum(),
    },
];

impl MetricsSnapshot {
    pub(super) fn encode_topics(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for LogReading {
            name,
            help,
            is_counter,
            read,
        } in READINGS
        {
            let mut family = match is_counter {
                true => counter(encoder, name, help)?,
                false => gauge(encoder, name, help)?,
            };
            for log in &self.topics {
                let labels = [("topic", log.name.as_str())];
                match is_counter {
                    true => encode_count(&mut family, &labels, read(log))?,
                    false => encode_level(&mut family, &labels, read(log))?,
                }
            }
        }
        let store = &self.event_store;
        let help = "1 while the store of events refuses writes";
        let mut family = gauge(encoder, "event_store_failed", help)?;
        family.encode_gauge(&u64::from(store.is_failed))?;
        let help = "Times that the disk of the store of events failed";
        counter(encoder, "event_store_failures", help)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&store.failures, None)?;
        let help = "Times that the file of the store of events was opened again";
        counter(encoder, "event_store_reopened", help)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&store.reopened, None)
    }
}
