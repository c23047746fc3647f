//! The families of metrics of methods, and of the messages of calls.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};

use super::{MetricsSnapshot, counter, encode_count, encode_durations, histogram};
use crate::telemetry::calls::CallNumbers;

impl MetricsSnapshot {
    pub(super) fn encode_methods(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help =
            "Calls that ended, by method and outcome; of methods that their service says it has";
        let mut family = counter(encoder, "method_calls", help)?;
        for (service, numbers) in &self.calls {
            for (method, numbers) in &numbers.methods {
                for (outcome, count) in &numbers.ended {
                    let labels = [
                        ("service", service.as_str()),
                        ("method", method.as_str()),
                        ("outcome", outcome.name()),
                    ];
                    encode_count(&mut family, &labels, *count)?;
                }
            }
        }
        let help = "From a call's arrival to the last message of its reply, by method";
        let mut family = histogram(encoder, "method_call_duration_seconds", help)?;
        for (service, numbers) in &self.calls {
            for (method, numbers) in &numbers.methods {
                let labels = [("service", service.as_str()), ("method", method.as_str())];
                encode_durations(&mut family, &labels, &numbers.durations)?;
            }
        }
        let mut family = histogram(encoder, "call_message_bytes", "Octets of each message")?;
        for (service, numbers) in &self.calls {
            encode_sizes(&mut family, service, numbers)?;
        }
        Ok(())
    }
}

/// The messages of `service` in both directions.
pub(super) fn encode_sizes(
    family: &mut MetricEncoder<'_>,
    service: &str,
    numbers: &CallNumbers,
) -> fmt::Result {
    for (direction, sizes) in [
        ("request", &numbers.sizes_in),
        ("reply", &numbers.sizes_out),
    ] {
        let labels = [("service", service), ("direction", direction)];
        let mut family = family.encode_family(&labels)?;
        let (sum, count) = (sizes.sum(), sizes.count());
        family.encode_histogram::<[(&str, &str); 0]>(sum, count, &sizes.buckets(), None)?;
    }
    Ok(())
}
