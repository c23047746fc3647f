//! Families of metrics of channels and of VYRA.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};

impl MetricsSnapshot {
    pub(super) fn encode_channels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = counter(
            encoder,
            "channel_events",
            "Events of a channel, by what became of them",
        )?;
        for channel in &self.channels {
            let counts = &channel.counts;
            for (outcome, count) in [
                ("acknowledged", counts.acknowledged),
                ("repeated", counts.repeated),
                ("lost", counts.lost),
                ("refused", counts.refused),
                ("received", counts.received),
                ("duplicate", counts.duplicates),
            ] {
                let labels = [("channel", channel.name.as_str()), ("outcome", outcome)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        let help = "Changes of the broker that carries";
        let mut family = counter(encoder, "channel_switches", help)?;
        for channel in &self.channels {
            let labels = [("channel", channel.name.as_str())];
            encode_count(&mut family, &labels, channel.counts.switches)?;
        }
        let help = "Events of a channel that wait, or were sent and are not acknowledged";
        let mut family = gauge(encoder, "channel_queue", help)?;
        for channel in &self.channels {
            let states = [
                ("waiting", channel.counts.waiting),
                ("in-flight", channel.counts.in_flight),
            ];
            for (state, level) in states {
                let labels = [("channel", channel.name.as_str()), ("state", state)];
                encode_level(&mut family, &labels, level)?;
            }
        }
        self.encode_channel_brokers(encoder)
    }

    fn encode_channel_brokers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 for the broker over which a channel goes";
        let mut family = gauge(encoder, "channel_current", help)?;
        for (channel, member) in self.channel_members() {
            let labels = [("channel", channel), ("broker", member.broker.as_str())];
            encode_level(&mut family, &labels, member.is_current.into())?;
        }
        let mut family = gauge(
            encoder,
            "channel_broker_well",
            "1 while a broker of a channel is well",
        )?;
        for (channel, member) in self.channel_members() {
            let labels = [("channel", channel), ("broker", member.broker.as_str())];
            encode_level(&mut family, &labels, (member.state == "well").into())?;
        }
        let mut family = counter(
            encoder,
            "channel_broker_events",
            "Events over one broker of a channel",
        )?;
        for (channel, member) in self.channel_members() {
            for (what, count) in [
                ("sent", member.sent),
                ("failed", member.failed),
                ("received", member.received),
            ] {
                let labels = [
                    ("channel", channel),
                    ("broker", member.broker.as_str()),
                    ("what", what),
                ];
                encode_count(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn channel_members(&self) -> impl Iterator<Item = (&str, &crate::channels::ChannelMemberView)> {
        self.channels.iter().flat_map(|channel| {
            let members = channel.members.iter();
            members.map(|member| (channel.name.as_str(), member))
        })
    }

    pub(super) fn encode_vyra(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests, goals and events of functions of VYRA, by what became of them";
        let mut family = counter(encoder, "vyra_messages", help)?;
        for function in &self.vyra.functions {
            for (outcome, count) in [
                ("taken", function.taken),
                ("failed", function.failed),
                ("passed-over", function.passed_over),
            ] {
                let labels = [("function", function.name.as_str()), ("outcome", outcome)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }
}
