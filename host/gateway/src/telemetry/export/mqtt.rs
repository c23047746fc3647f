//! The families of metrics about clients of MQTT.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};

impl MetricsSnapshot {
    pub(super) fn encode_mqtt(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = &self.mqtt;
        let broker = &numbers.broker;
        let help = "Sessions of MQTT clients at present";
        let mut family = gauge(encoder, "mqtt_sessions", help)?;
        let away = broker.sessions.saturating_sub(broker.clients_connected);
        for (state, level) in [("connected", broker.clients_connected), ("away", away)] {
            encode_level(&mut family, &[("state", state)], level)?;
        }
        for (name, help, level) in [
            (
                "mqtt_subscriptions",
                "Subscriptions of MQTT clients at present",
                broker.subscriptions,
            ),
            (
                "mqtt_retained",
                "Retained messages at present",
                broker.retained,
            ),
            (
                "mqtt_retained_bytes",
                "Octets of retained messages",
                numbers.retained_bytes,
            ),
            (
                "mqtt_queued",
                "Messages that wait for MQTT clients",
                broker.queued,
            ),
        ] {
            gauge(encoder, name, help)?.encode_gauge(&level)?;
        }
        let help =
            "Messages of MQTT by what became of them; dropped ones found a full queue or expired";
        let mut family = counter(encoder, "mqtt_messages", help)?;
        for (outcome, count) in [
            ("received", broker.received),
            ("sent", broker.sent),
            ("dropped", broker.dropped),
        ] {
            encode_count(&mut family, &[("outcome", outcome)], count)?;
        }
        for (name, help, count) in [
            ("mqtt_calls", "Publishes that were calls", numbers.calls),
            (
                "mqtt_calls_failed",
                "Publishes that failed as calls",
                numbers.calls_failed,
            ),
        ] {
            let mut family = counter(encoder, name, help)?;
            family.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
        }
        Ok(())
    }
}
