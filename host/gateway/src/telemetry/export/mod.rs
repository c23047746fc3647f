//! Everything countable as Prometheus reads it (OpenMetrics 1.0). Names carry the prefix `postern_`
//! and base units; label values come from configuration and plugins, never from callers.

mod bridges;
mod certificates;
mod channels;
mod extensions;
mod methods;
mod mqtt;
mod own_metrics;
mod plugin_usage;
mod plugins;
mod sandbox;
mod services;
mod stores;
mod supply;
mod topics;
mod upstreams;
mod versions;

use std::fmt;

use postern_core::{Text, event::durable::LogInfo};
use postern_net::{
    counters::{Reading, ReadingKind},
    pool::PoolSnapshot,
    redis::RedisSnapshot,
};
use postern_wasm::{OwnMetric, SandboxSnapshot, StoreHealth, VersionStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text::encode},
    metrics::MetricType,
    registry::Registry,
};

pub(crate) use self::versions::VersionNumbers;
use super::{calls::CallNumbers, histogram::Distribution, log::LogNumbers};
use crate::{
    acme::AcmeNumbers, bridges::BridgeNumbers, certificates::ShownCertificate,
    channels::ChannelNumbers, cluster::ServiceNumbers, directory, events::EventNumbers,
    mqtt::MqttNumbers, pipeline::chain::LinkView, vyra::VyraNumbers,
};

/// All numbers at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetricsSnapshot {
    /// By service.
    pub calls: Vec<(Text, CallNumbers)>,
    /// To instances of gRPC, by service.
    pub upstream_calls: Vec<(Text, CallNumbers)>,
    pub transports: Vec<TransportNumbers>,
    /// Each version by itself.
    pub plugins: Vec<PluginNumbers>,
    /// What became of the grants and bounds of each plugin.
    pub sandbox: Vec<(String, SandboxSnapshot)>,
    /// By plugin, those of which versions were tried.
    pub versions: Vec<VersionNumbers>,
    /// In the order in which they see calls.
    pub extensions: Vec<LinkView>,
    /// By service, those with instances.
    pub clusters: Vec<ServiceNumbers>,
    pub directory: directory::Numbers,
    /// Sessions with other gateways; `None` where there is no pool.
    pub pool: Option<PoolSnapshot>,
    pub events: EventNumbers,
    pub mqtt: MqttNumbers,
    /// By their names.
    pub bridges: Vec<(String, BridgeNumbers)>,
    pub channels: Vec<ChannelNumbers>,
    pub vyra: VyraNumbers,
    /// Of durable topics.
    pub topics: Vec<LogInfo>,
    /// The store of their events.
    pub event_store: StoreNumbers,
    /// Of all listeners.
    pub certificates: Vec<ShownCertificate>,
    /// Of those that an authority issues.
    pub acme: AcmeNumbers,
    /// Octets that connections hold, as the budget counts them.
    pub held_bytes: usize,
    /// Messages that found no room in it.
    pub held_bytes_refused: u64,
    pub config_reloads_applied: u64,
    pub config_reloads_refused: u64,
    pub log: LogNumbers,
    pub is_ready: bool,
    /// Reasons against traffic or for a look, by name.
    pub reasons: Vec<(&'static str, u64)>,
    pub store: StoreNumbers,
    /// Those of others, by name.
    pub stores: Vec<(String, RedisSnapshot)>,
    /// Octets of physical memory; `None` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Seconds since 1970.
    pub started_at: f64,
}

/// The store and its disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreNumbers {
    pub is_failed: bool,
    pub failures: u64,
    pub reopened: u64,
}

/// One transport of one listener.
#[derive(Debug, Clone)]
pub(crate) struct TransportNumbers {
    pub listener: String,
    pub transport: &'static str,
    pub readings: Vec<Reading>,
}

/// One plugin.
#[derive(Debug, Clone)]
pub(crate) struct PluginNumbers {
    pub plugin: String,
    /// As its file's name says; `None` where that says none.
    pub version: Option<String>,
    /// 0 when none takes calls.
    pub generation: u64,
    pub is_active: bool,
    /// Whether a version of it waits for an operator.
    pub is_held: bool,
    /// Offers refused for their signatures.
    pub signature_refusals: u64,
    /// Counters of each version.
    pub versions: Vec<VersionStats>,
    /// What its guests count themselves.
    pub own_metrics: Vec<OwnMetric>,
}

/// The exposition of `numbers`, as `CONTENT_TYPE`.
#[must_use]
pub(crate) fn exposition(numbers: MetricsSnapshot) -> String {
    let mut gateway = Registry::with_prefix("postern");
    gateway.register_collector(Box::new(numbers));
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = encode(&mut text, &gateway);
    text
}

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl StoreNumbers {
    #[must_use]
    pub(crate) fn of(health: &StoreHealth) -> Self {
        Self {
            is_failed: health.is_failed(),
            failures: health.failures(),
            reopened: health.reopened(),
        }
    }
}

impl Collector for MetricsSnapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_calls(&mut encoder)?;
        self.encode_transports(&mut encoder)?;
        self.encode_plugins(&mut encoder)?;
        self.encode_sandbox(&mut encoder)?;
        self.encode_plugin_usage(&mut encoder)?;
        self.encode_own_metrics(&mut encoder)?;
        self.encode_versions(&mut encoder)?;
        self.encode_supply(&mut encoder)?;
        self.encode_extensions(&mut encoder)?;
        self.encode_services(&mut encoder)?;
        self.encode_upstreams(&mut encoder)?;
        self.encode_mqtt(&mut encoder)?;
        self.encode_bridges(&mut encoder)?;
        self.encode_topics(&mut encoder)?;
        self.encode_certificates(&mut encoder)?;
        self.encode_stores(&mut encoder)?;
        self.encode_channels(&mut encoder)?;
        self.encode_vyra(&mut encoder)?;
        self.encode_gateway(&mut encoder)
    }
}

impl MetricsSnapshot {
    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = counter(
            encoder,
            "calls",
            "Calls that ended, by service, transport and outcome",
        )?;
        for (service, numbers) in &self.calls {
            for (transport, outcome, count) in &numbers.ended {
                let labels = [
                    ("service", service.as_str()),
                    ("transport", transport.name()),
                    ("outcome", outcome.name()),
                ];
                encode_count(&mut family, &labels, *count)?;
            }
        }
        self.encode_methods(encoder)?;
        let help = "From a call's arrival to the last message of its reply";
        let mut family = histogram(encoder, "call_duration_seconds", help)?;
        for (service, numbers) in &self.calls {
            encode_durations(
                &mut family,
                &[("service", service.as_str())],
                &numbers.durations,
            )?;
        }
        let mut family = gauge(encoder, "calls_in_flight", "Calls under way")?;
        for (service, numbers) in &self.calls {
            encode_level(
                &mut family,
                &[("service", service.as_str())],
                numbers.in_flight,
            )?;
        }
        let mut family = counter(encoder, "call_request_bytes", "Octets of requests")?;
        for (service, numbers) in &self.calls {
            encode_count(
                &mut family,
                &[("service", service.as_str())],
                numbers.bytes_in,
            )?;
        }
        let mut family = counter(encoder, "call_reply_bytes", "Octets of replies")?;
        for (service, numbers) in &self.calls {
            encode_count(
                &mut family,
                &[("service", service.as_str())],
                numbers.bytes_out,
            )?;
        }
        Ok(())
    }

    fn encode_transports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // Every transport gives the same readings in the same order.
        let n_readings = self
            .transports
            .first()
            .map_or(0, |transport| transport.readings.len());
        for reading_idx in 0..n_readings {
            let of = |transport: &TransportNumbers| transport.readings.get(reading_idx).copied();
            let Some(first) = self.transports.first().and_then(of) else {
                continue;
            };
            let name = reading_name(first.name);
            let mut family = match first.kind {
                ReadingKind::Counter => counter(encoder, name, first.help)?,
                ReadingKind::Gauge => gauge(encoder, name, first.help)?,
            };
            for transport in &self.transports {
                let Some(reading) = of(transport) else {
                    continue;
                };
                let listener = transport.listener.as_str();
                let labels = [("listener", listener), ("transport", transport.transport)];
                match reading.kind {
                    ReadingKind::Counter => encode_count(&mut family, &labels, reading.value)?,
                    ReadingKind::Gauge => encode_level(&mut family, &labels, reading.value)?,
                }
            }
        }
        Ok(())
    }

    fn encode_store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = &self.store;
        let mut family = gauge(encoder, "store_failed", "1 while the store refuses writes")?;
        family.encode_gauge(&u64::from(store.is_failed))?;
        let help = "Times that the store's disk failed";
        counter(encoder, "store_failures", help)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&store.failures, None)?;
        let help = "Times that the store's file was opened again";
        counter(encoder, "store_reopened", help)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&store.reopened, None)
    }

    fn encode_gateway(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = counter(encoder, "config_reloads", "Changes of the configuration")?;
        for (result, count) in [
            ("applied", self.config_reloads_applied),
            ("refused", self.config_reloads_refused),
        ] {
            encode_count(&mut family, &[("result", result)], count)?;
        }
        let help =
            "Octets of messages that have not arrived whole or that their peer has not taken";
        let mut family = gauge(encoder, "held_bytes", help)?;
        family.encode_gauge(&u64::try_from(self.held_bytes).unwrap_or(u64::MAX))?;
        let help = "Messages refused because the bytes held were at their bound";
        counter(encoder, "held_bytes_refusals", help)?
            .encode_counter::<[(&str, &str); 0], _, u64>(&self.held_bytes_refused, None)?;
        let help = "Lines of the log that were not written, by reason";
        let mut family = counter(encoder, "log_lines_lost", help)?;
        for (reason, count) in [
            ("dropped", self.log.dropped),
            ("suppressed", self.log.suppressed),
        ] {
            encode_count(&mut family, &[("reason", reason)], count)?;
        }
        let mut family = gauge(encoder, "ready", "1 when the gateway takes traffic")?;
        family.encode_gauge(&u64::from(self.is_ready))?;
        let help = "What speaks against traffic or should be looked at, by name";
        let mut family = gauge(encoder, "readiness_reasons", help)?;
        for (reason, count) in &self.reasons {
            encode_level(&mut family, &[("reason", *reason)], *count)?;
        }
        self.encode_store(encoder)?;
        if let Some(resident_bytes) = self.resident_bytes {
            let help = "Physical memory of the process";
            let mut family = gauge(encoder, "process_resident_memory_bytes", help)?;
            family.encode_gauge(&resident_bytes)?;
        }
        let help = "When the process began, in seconds since 1970";
        encoder
            .encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&self.started_at)?;
        let mut family = gauge(encoder, "build_info", "Always 1; the labels say what runs")?;
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("profile", profile)];
        encode_level(&mut family, &labels, 1)
    }
}

/// What a reading is called outside: units last, directions as Prometheus says them.
fn reading_name(name: &'static str) -> &'static str {
    match name {
        "frames_in" => "frames_received",
        "frames_out" => "frames_sent",
        "bytes_in" => "received_bytes",
        "bytes_out" => "sent_bytes",
        name => name,
    }
}

fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn histogram<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Histogram)
}

fn encode_count(
    family: &mut MetricEncoder<'_>,
    labels: &impl prometheus_client::encoding::EncodeLabelSet,
    count: u64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<[(&str, &str); 0], _, u64>(&count, None)
}

fn encode_level(
    family: &mut MetricEncoder<'_>,
    labels: &impl prometheus_client::encoding::EncodeLabelSet,
    level: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&level)
}

fn encode_durations(
    family: &mut MetricEncoder<'_>,
    labels: &impl prometheus_client::encoding::EncodeLabelSet,
    durations: &Distribution,
) -> fmt::Result {
    let mut family = family.encode_family(labels)?;
    let (sum, count) = (durations.sum_seconds(), durations.count());
    family.encode_histogram::<[(&str, &str); 0]>(sum, count, &durations.buckets(), None)
}

#[cfg(test)]
mod tests;
