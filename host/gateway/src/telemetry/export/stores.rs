//! The families of metrics about stores of others.

use std::fmt;

use postern_net::redis::{RedisCounts, RedisSnapshot};
use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};

type Read = fn(&RedisCounts) -> u64;
type ReadLevel = fn(&RedisSnapshot) -> u64;

/// Counters: name, what it says, where it is.
const COUNTERS: [(&str, &str, Read); 8] = [
    ("named_store_operations", "Operations that ended", |one| {
        one.operations
    }),
    ("named_store_failures", "Operations that failed", |one| {
        one.failed
    }),
    (
        "named_store_repetitions",
        "Commands that were sent again",
        |one| one.repeated,
    ),
    (
        "named_store_connects",
        "Connections that were opened",
        |one| one.connects,
    ),
    (
        "named_store_connect_failures",
        "Connections that could not be opened",
        |one| one.connects_failed,
    ),
    (
        "named_store_appended",
        "Events that were stored in streams",
        |one| one.appended,
    ),
    (
        "named_store_claimed",
        "Events that were taken over from gateways that had died",
        |one| one.claimed,
    ),
    (
        "named_store_dead_letters",
        "Events that became dead letters",
        |one| one.dead,
    ),
];

impl MetricsSnapshot {
    pub(super) fn encode_stores(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in COUNTERS {
            let mut family = counter(encoder, name, help)?;
            for (store, snapshot) in &self.stores {
                encode_count(
                    &mut family,
                    &[("store", store.as_str())],
                    read(&snapshot.counts),
                )?;
            }
        }
        let help = "Time that operations took together";
        let kind = MetricType::Counter;
        let mut family = encoder.encode_descriptor("named_store_seconds", help, None, kind)?;
        for (store, snapshot) in &self.stores {
            let seconds = snapshot.counts.time.as_secs_f64();
            family
                .encode_family(&[("store", store.as_str())])?
                .encode_counter::<[(&str, &str); 0], _, f64>(&seconds, None)?;
        }
        let help = "Events that went to channels and came from them";
        let mut family = counter(encoder, "named_store_channel_events", help)?;
        for (store, snapshot) in &self.stores {
            let counts = snapshot.counts;
            for (direction, count) in [("out", counts.published), ("in", counts.received)] {
                let labels = [("store", store.as_str()), ("direction", direction)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        let levels: [(&str, &str, ReadLevel); 3] = [
            (
                "named_store_connected",
                "1 while the store can be asked",
                |one| u64::from(one.standing.is_connected),
            ),
            (
                "named_store_connections",
                "Connections that are open",
                |one| one.n_connections as u64,
            ),
            (
                "named_store_in_flight",
                "Commands that wait for their replies",
                |one| one.n_in_flight as u64,
            ),
        ];
        for (name, help, read) in levels {
            let mut family = gauge(encoder, name, help)?;
            for (store, snapshot) in &self.stores {
                encode_level(&mut family, &[("store", store.as_str())], read(snapshot))?;
            }
        }
        Ok(())
    }
}
