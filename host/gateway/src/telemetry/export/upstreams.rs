//! The families of metrics of calls to instances of gRPC. Each try is one; what callers see of a service is in the
//! families of calls.

use std::{collections::BTreeMap, fmt};

use prometheus_client::encoding::DescriptorEncoder;

use super::{
    MetricsSnapshot, counter, encode_count, encode_durations, encode_level, gauge, histogram,
    methods::encode_sizes,
};

impl MetricsSnapshot {
    pub(super) fn encode_upstreams(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls to instances of gRPC that ended, by service and outcome";
        let mut family = counter(encoder, "upstream_calls", help)?;
        for (service, numbers) in &self.upstream_calls {
            let mut by_outcome = BTreeMap::<_, u64>::new();
            for (_, outcome, count) in &numbers.ended {
                *by_outcome.entry(outcome.name()).or_default() += count;
            }
            for (outcome, count) in by_outcome {
                let labels = [("service", service.as_str()), ("outcome", outcome)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        let help = "The same by method; of methods that a schema describes";
        let mut family = counter(encoder, "upstream_method_calls", help)?;
        for (service, numbers) in &self.upstream_calls {
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
        let help = "From a call to an instance of gRPC to the last message of its reply";
        let mut family = histogram(encoder, "upstream_call_duration_seconds", help)?;
        for (service, numbers) in &self.upstream_calls {
            let labels = [("service", service.as_str())];
            encode_durations(&mut family, &labels, &numbers.durations)?;
        }
        let help = "Octets of each message of calls to instances of gRPC";
        let mut family = histogram(encoder, "upstream_message_bytes", help)?;
        for (service, numbers) in &self.upstream_calls {
            encode_sizes(&mut family, service, numbers)?;
        }
        let help = "Streams open with instances of gRPC";
        let mut family = gauge(encoder, "upstream_calls_in_flight", help)?;
        for (service, numbers) in &self.upstream_calls {
            let labels = [("service", service.as_str())];
            encode_level(&mut family, &labels, numbers.in_flight)?;
        }
        Ok(())
    }
}
