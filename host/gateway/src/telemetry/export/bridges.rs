//! Numbers of bridges to brokers of others.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};

impl MetricsSnapshot {
    pub(super) fn encode_bridges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while the bridge's broker is connected";
        let mut family = gauge(encoder, "bridge_connected", help)?;
        for (bridge, numbers) in &self.bridges {
            let labels = [("bridge", bridge.as_str())];
            encode_level(&mut family, &labels, u64::from(numbers.is_connected))?;
        }
        let help = "Messages that wait for the bridge's broker, or for its acknowledgement";
        let mut family = gauge(encoder, "bridge_queued", help)?;
        for (bridge, numbers) in &self.bridges {
            encode_level(&mut family, &[("bridge", bridge.as_str())], numbers.queued)?;
        }
        let help = "Messages of a bridge by direction and what became of them";
        let mut family = counter(encoder, "bridge_messages", help)?;
        for (bridge, numbers) in &self.bridges {
            for (direction, outcome, count) in [
                ("in", "published", numbers.taken),
                ("in", "refused", numbers.refused),
                ("in", "ignored", numbers.ignored),
                ("in", "looped", numbers.looped),
                ("out", "acknowledged", numbers.sent),
                ("out", "refused", numbers.unsent),
                ("out", "dropped", numbers.dropped),
            ] {
                let labels = [
                    ("bridge", bridge.as_str()),
                    ("direction", direction),
                    ("outcome", outcome),
                ];
                encode_count(&mut family, &labels, count)?;
            }
        }
        let help = "Changes of a bridge's connection";
        let mut family = counter(encoder, "bridge_connections", help)?;
        for (bridge, numbers) in &self.bridges {
            for (change, count) in [("connected", numbers.connects), ("lost", numbers.losses)] {
                let labels = [("bridge", bridge.as_str()), ("change", change)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }
}
